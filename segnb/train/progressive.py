"""Progressive picture size: most epochs learn on pictures of half the size, the last ones on the pictures as they are.

    epoch      1    2    3    4    5    6    7    8    9  │ 10
    size      ½×½  ½×½  ½×½  ½×½  ½×½  ½×½  ½×½  ½×½  ½×½ │ 1×1        a step at half size takes a quarter of the time

What a road or a cell looks like is learnt as well from small pictures; the last epochs add the fine edges. The schedule of the
learning rate counts pixels, not steps: a whole step moves it on as far as four at half size, so that the rate is not yet spent
when whole pictures come. Validation always sees whole pictures. The very first step is a whole one, too: if memory does not
suffice, that shows at once.

Source: Tan & Le, EfficientNetV2, ICML 2021, https://arxiv.org/abs/2104.00298, section 4, where the size grows in more stages; and
Touvron et al., NeurIPS 2019, https://arxiv.org/abs/1906.06423: why the last epochs must see the final size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

SHARE = 0.9  # of the epochs, for "auto"
LEAST = 96  # pixels of the shorter side at half size, for "auto": in smaller pictures objects would vanish
SPEED = 4  # times as fast a step is at half size

Batch = tuple[Tensor, Tensor]


class Progression:
    """Decides which batches are halved.

    Args:
        progressive: share of the epochs, or ``"auto"``.
    """

    def __init__(self, progressive: float | str) -> None:
        self.auto = progressive == "auto"
        self.share = SHARE if self.auto else float(progressive)
        self.large_enough = not self.auto  # "auto" knows it when it has seen a batch

    def look(self, group: Sequence[Batch]) -> bool:
        """Notice whether the pictures are large enough to be halved; say whether that is news."""
        before = self.large_enough
        if self.auto:
            self.large_enough = all(min(images.shape[-2:]) >= 2 * LEAST for images, _ in group)
        return self.large_enough != before

    def half_epochs(self, epochs: int) -> int:
        """Count the epochs, of so many, that learn on pictures of half the size; never all of them."""
        return int(self.share * epochs) if self.large_enough else 0

    def stride(self, epoch: int, epochs: int) -> int:
        """How far a step of an epoch, from 1, moves the schedule of the learning rate on: by its pixels."""
        half = self.half_epochs(epochs)
        return SPEED if half and epoch > half else 1


def halve(images: Tensor, labels: Tensor) -> Batch:
    """Bring a batch to half its size.

    Args:
        images: (B, C, H, W) uint8 or float.
        labels: (B, H, W), or (B, K, H, W) for multilabel.

    Returns:
        The means of 2×2 pixels, in the images' type, and the label of one of the four, the same for the whole batch and drawn
        anew each time: always the same one would shift all masks by half a pixel. An odd last row or column is left out.
    """
    small = avg_pool2d(images.float(), 2)
    if not images.is_floating_point():
        small = small.round()
    height, width = small.shape[-2:]
    down, right = torch.randint(2, (2,)).tolist()
    chosen = labels[..., down::2, right::2][..., :height, :width]
    return small.to(images.dtype), chosen.contiguous()
