"""APCNet: every pixel says itself how much of each window's mean it wants, for windows of four sizes.

    c5 (B, C5, H/8, W/8) ─┬─ context of 1×1 windows ─ 512 ─┐
    (dilated)             ├─ context of 2×2 windows ─ 512 ─┤
                          ├─ context of 3×3 windows ─ 512 ─┼─ concat ─ 3×3, 512 ─ classify ─▶ (B, classes, H/8, W/8)
                          ├─ context of 6×6 windows ─ 512 ─┤
                          └────────────────────────────────┘

    context:  c5 ─┬─ means of s×s windows ─ 1×1, 512 ──────────── (512, s·s) ─┐
                  └─ 1×1, 512 ─ x ─┬─ + its own mean ─ 1×1 ─ sigmoid (s·s, h·w) ─┴─ × ─ 1×1, 512 ─┐
                                   └──────────────────────────────────────────────────────────────┴─ + ─ 1×1, 512 ─▶

Why: in PSPNet all pixels of a window get the same mean, whether it helps them or not.
Paper: He et al., CVPR 2019, https://openaccess.thecvf.com/content_CVPR_2019/html/He_Adaptive_Pyramid_Context_Network_for_Semantic_Segmentation_CVPR_2019_paper.html,
section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, PooledBatchNorm, pool_to_grid
from segnb.parts.attention import classifier


class AdaptiveContext(nn.Module):
    """Give each pixel the mixture of window means that it asks for: (B, in, h, w) -> (B, width, h, w).

    Args:
        in_channels: channels of the map.
        width: channels of the result.
        bins: windows along each side.
    """

    def __init__(self, in_channels: int, width: int, bins: int) -> None:
        super().__init__()
        self.bins = bins
        norm = PooledBatchNorm if bins == 1 else nn.BatchNorm2d
        self.narrow_means = ConvNormAct(in_channels, width, 1, norm=norm)
        self.narrow = ConvNormAct(in_channels, width, 1)
        self.summarise = ConvNormAct(width, width, 1, norm=PooledBatchNorm)
        self.ask = nn.Conv2d(width, bins * bins, 1)
        self.join = ConvNormAct(width, width, 1)
        self.mix = ConvNormAct(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the means for each pixel, and add them to it."""
        means = self.narrow_means(pool_to_grid(x, self.bins)).flatten(2)  # (B, width, bins²)
        x = self.narrow(x)
        weights = self.ask(x + self.summarise(x.mean((2, 3), keepdim=True))).sigmoid().flatten(2)  # (B, bins², h·w)
        context = self.join((means @ weights).reshape(x.shape))
        return self.mix((context + x).relu())


class APCNet(nn.Module):
    """Adaptive pyramid context on one dilated level.

    Args:
        in_channels: channels of that level: (C5,).
        classes: channels of the returned logits.
        width: channels of each context.
        dropout: probability of dropping a whole channel before the classifier.
        encoder_output_stride: stride of the map: 8 as in the paper, or 16 or 32 for coarser and cheaper ones.
    """

    strides = (32,)
    grids = (1, 2, 3, 6)

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        width: int = 512,
        dropout: float = 0.1,
        encoder_output_stride: int = 8,
    ) -> None:
        super().__init__()
        (channels,) = in_channels
        self.look = nn.ModuleList(AdaptiveContext(channels, width, bins) for bins in self.grids)
        self.mix = ConvNormAct(channels + width * len(self.grids), width)
        self.classify = classifier(width, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (c5,) into logits (B, classes, H/8, W/8)."""
        (coarse,) = features
        return self.classify(self.mix(torch.cat([coarse, *(look(coarse) for look in self.look)], dim=1)))
