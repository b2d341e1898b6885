"""PSPNet: tell every pixel what the whole picture, its halves, thirds and sixths look like.

    c5 (B, C, H/8, W/8) ─┬─ mean of 1×1 window ──── 1×1, C/4 ── enlarge ─┐
    (dilated, so not     ├─ means of 2×2 windows ── 1×1, C/4 ── enlarge ─┤
    H/32)                ├─ means of 3×3 windows ── 1×1, C/4 ── enlarge ─┼─ concat (2·C) ─ 1×1, 512 ─ classify
                         ├─ means of 6×6 windows ── 1×1, C/4 ── enlarge ─┤                            │
                         └───────────────────────────────────────────────┘                            ▼
                                                                                           (B, classes, H/8, W/8)

Why: a boat and a car look alike from close by; the water around it tells them apart.
Paper: Zhao et al., CVPR 2017, https://arxiv.org/abs/1612.01105, section 3.2 and figure 3.
Differs from the paper: a 1×1 convolution and a 3×3 classifier instead of 3×3 and 1×1, and no normalisation of the single window,
as in SMP's weights; `as_published` is the paper's, as in MMSegmentation's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, norm_layer, pool_to_grid, resize_like
from segnb.parts.contexts import PyramidPooling


class PSPNet(nn.Module):
    """Pyramid pooling over one dilated level.

    Args:
        in_channels: channels of that level: (C5,).
        classes: channels of the returned logits.
        psp_out_channels: channels before the classifier, and of each look through windows if ``as_published``.
        psp_dropout: probability of dropping a whole channel before the classifier.
        decoder_use_norm: normalisation layer, see `segnb.blocks.norm_layer`.
        as_published: the paper's layers, for weights released by MMSegmentation; False for those of SMP, which are cheaper.
        encoder_output_stride: stride of the map: 8 as in the paper, or 16 or 32 for coarser and cheaper ones.
        align_corners: how windows and logits are enlarged; True for weights released by SMP.
    """

    strides = (32,)
    grids = (1, 2, 3, 6)

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        psp_out_channels: int = 512,
        psp_dropout: float = 0.2,
        decoder_use_norm: str | bool = "batchnorm",
        as_published: bool = False,
        encoder_output_stride: int = 8,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        norm, width = norm_layer(decoder_use_norm), psp_out_channels
        (channels,) = in_channels
        share = max(1, channels // len(self.grids))
        self.look = nn.ModuleList()
        if as_published:
            self.mix = PyramidPooling(channels, width, norm, align_corners=align_corners)
        else:
            norms = [nn.Identity if bins == 1 else norm for bins in self.grids]
            self.look.extend(ConvNormAct(channels, share, kernel_size=1, norm=each) for each in norms)
            self.mix = ConvNormAct(channels + share * len(self.grids), width, kernel_size=1, norm=norm)
        side = 1 if as_published else 3
        self.classify = nn.Sequential(nn.Dropout2d(psp_dropout), nn.Conv2d(width, classes, side, padding=side // 2))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (c5,) into logits (B, classes, H/8, W/8)."""
        (x,) = features
        return self.classify(self.mix(self.join_windows(x) if self.look else x))

    def join_windows(self, x: Tensor) -> Tensor:
        """Look through every grid of windows: (B, C, h, w) -> (B, 2 · C, h, w)."""
        windows = [look(pool_to_grid(x, bins)) for look, bins in zip(self.look, self.grids, strict=True)]
        return torch.cat([*(resize_like(window, x, align_corners=self.align_corners) for window in windows), x], dim=1)
