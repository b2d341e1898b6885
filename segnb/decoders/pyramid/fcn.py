"""FCN: classify every pixel of one coarse, dilated map, and enlarge the result.

    c5 (B, C5, H/8, W/8) ── 3×3, C5 → C5/4 ── dropout ── 1×1 classify ─▶ (B, classes, H/8, W/8)
    (dilated, so not H/32)

    convs=3:  c5 ─┬─ 3×3, C5/4 ── 3×3, C5/4 ─┐
                  └──────────────────────────┴─ concat ── 3×3, C5/4 ── dropout ── 1×1 classify ─▶

Why it matters: it was the first to show that a classifier becomes a segmenter when its last layers are convolutions. As a second
head on c4 it still helps others to train (Zhao et al., CVPR 2017, section 3.3).
Paper: Long, Shelhamer and Darrell, CVPR 2015, https://arxiv.org/abs/1411.4038, section 3.
Differs from the paper: a dilated encoder instead of skips and learnt enlarging, and a quarter of the channels before the
classifier, as in torchvision's released weights, or three convolutions as in MMSegmentation's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from segnb.blocks import ConvNormAct
from segnb.errors import SegnbError
from segnb.parts.attention import RelateBetween

# What stands before the classifier, by the number of its convolutions, called with channels and width.
MIXES: dict[int, Callable[[int, int], nn.Module]] = {
    0: lambda channels, width: nn.Identity(),
    1: ConvNormAct,
    3: lambda channels, width: RelateBetween(channels, width, nn.Identity()),
}


class FCN(nn.Module):
    """Fully convolutional head on one level.

    Args:
        in_channels: channels of that level: (C5,).
        classes: channels of the returned logits.
        convs: 3×3 convolutions before the classifier: 1; 3, of which the last sees the level beside what the first two made of
            it, for MMSegmentation's weights; or 0 for a linear classifier of the level, as Segmenter's simpler decoder.
        width: channels before the classifier; None for a quarter of the level's.
        encoder_output_stride: stride of the map: 8, or 16 or 32 for coarser and cheaper ones.
        dropout: probability of dropping a value before the classifier.
    """

    strides = (32,)

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        convs: int = 1,
        width: int | None = None,
        encoder_output_stride: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if convs not in MIXES:
            raise SegnbError(f"convs={convs!r}: give 0, 1 or 3.")
        (channels,) = in_channels
        width = (width or channels // 4) if convs else channels
        self.mix = MIXES[convs](channels, width)
        self.classify = nn.Sequential(nn.Dropout(dropout), nn.Conv2d(width, classes, 1))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (c5,) into logits (B, classes, H/8, W/8)."""
        (coarse,) = features
        return self.classify(self.mix(coarse))
