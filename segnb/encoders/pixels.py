"""No encoder: what a network with a backbone of its own reads is the picture."""

from __future__ import annotations

from collections.abc import Sequence

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from segnb.encoders.encoder import spread


class Pixels(nn.Module):
    """Stands where other models have their encoder: an image (B, C, H, W) -> no maps at all.

    Args:
        in_channels: channels of the image.
        mean, std: of red, green and blue, for pixels scaled to 0..1; by default ImageNet's.

    Attributes:
        mean, std: one value per image channel.
    """

    name = None
    raw = False

    def __init__(
        self,
        in_channels: int,
        mean: Sequence[float] = IMAGENET_DEFAULT_MEAN,
        std: Sequence[float] = IMAGENET_DEFAULT_STD,
    ) -> None:
        super().__init__()
        self.levels: tuple[int, ...] = ()
        self.strides: tuple[int, ...] = ()
        self.channels: list[int] = []
        self.mean = spread(mean, in_channels)
        self.std = spread(std, in_channels)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Leave the image to the network."""
        return []
