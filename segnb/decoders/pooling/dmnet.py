"""DMNet: filters of four sizes that are made from the picture itself.

    c5 (B, C5, H/8, W/8) ─┬─ filter of 1×1 ─ 512 ─┐
    (dilated)             ├─ filter of 3×3 ─ 512 ─┤
                          ├─ filter of 5×5 ─ 512 ─┼─ concat ─ 3×3, 512 ─ classify ─▶ (B, classes, H/8, W/8)
                          ├─ filter of 7×7 ─ 512 ─┤
                          └───────────────────────┘

    filter:  c5 ─┬─ means of k×k windows ─ 1×1, 512 ─ one k×k kernel for each channel ─┐
                 └─ 1×1, 512 ──────────────────────────────────────────────────────────┴─ depthwise conv ─ norm ─ ReLU ─▶

Why: what to look for at a scale depends on the picture; a fixed filter is the same for all of them.
Paper: He, Deng and Qiao, ICCV 2019, https://openaccess.thecvf.com/content_ICCV_2019/html/He_Dynamic_Multi-Scale_Filters_for_Semantic_Segmentation_ICCV_2019_paper.html,
section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, pool_to_grid
from segnb.parts.attention import classifier


class DynamicFilter(nn.Module):
    """Filter a map by kernels made from it: (B, in, h, w) -> (B, width, h, w).

    Args:
        in_channels: channels of the map.
        width: channels of the result.
        side: side of the kernels, odd.
    """

    def __init__(self, in_channels: int, width: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.make_kernel = nn.Conv2d(in_channels, width, 1)
        self.narrow = ConvNormAct(in_channels, width, 1)
        self.activate = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """Make a kernel for each channel of each picture, and apply it."""
        kernel = self.make_kernel(pool_to_grid(x, self.side))  # (B, width, side, side)
        x = self.narrow(x)
        height, width = x.shape[-2:]
        padded = F.pad(x, (self.side // 2,) * 4)
        # As shifted maps: a convolution with a group for each channel of each picture cannot be exported for any batch.
        shifted = (
            padded[:, :, row : row + height, column : column + width] * kernel[:, :, row, column, None, None]
            for row in range(self.side)
            for column in range(self.side)
        )
        return self.activate(sum(shifted))


class DMNet(nn.Module):
    """Dynamic multi-scale filters on one dilated level.

    Args:
        in_channels: channels of that level: (C5,).
        classes: channels of the returned logits.
        width: channels of each filter's result.
        dropout: probability of dropping a whole channel before the classifier.
        encoder_output_stride: stride of the map: 8 as in the paper, or 16 or 32 for coarser and cheaper ones.
    """

    strides = (32,)
    sides = (1, 3, 5, 7)

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
        self.filters = nn.ModuleList(DynamicFilter(channels, width, side) for side in self.sides)
        self.mix = ConvNormAct(channels + width * len(self.sides), width)
        self.classify = classifier(width, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (c5,) into logits (B, classes, H/8, W/8)."""
        (coarse,) = features
        return self.classify(self.mix(torch.cat([coarse, *(look(coarse) for look in self.filters)], dim=1)))
