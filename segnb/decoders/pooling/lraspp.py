"""LR-ASPP: let the whole picture say which channels of the coarse map matter, add a look at a finer one, and nothing else.

    c3 (B, C3, H/8,  W/8)  ───────────────────────────────────────┐
    c5 (B, C5, H/16, W/16) ─┬─ 1×1, 128 ────────────┐             ├─ concat ─ classify ─▶ (B, classes, H/8, W/8)
    (dilated, so not H/32)  └─ global mean ─ 1×1 ─ σ ┴─ × ── ×2 ──┘

Why so little: it was made for telephones, for encoders whose last layers are all that the time allows for.
Paper: Howard et al., ICCV 2019, https://arxiv.org/abs/1905.02244, section 6.4 and figure 10.
Differs from the paper: the mean is over the whole map instead of windows of 49×49, as in torchvision's released weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, resize_like


class ClassifyEach(nn.Module):
    """Classify two groups of channels, each by its own layer, and add: (B, fine + coarse, H, W) -> (B, classes, H, W)."""

    def __init__(self, fine: int, coarse: int, classes: int) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(fine, classes, 1), nn.Conv2d(coarse, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both opinions."""
        fine, coarse = x.split([self.fine.in_channels, self.coarse.in_channels], dim=1)
        return self.fine(fine) + self.coarse(coarse)


class LRASPP(nn.Module):
    """Lite reduced atrous spatial pyramid pooling over one fine and one dilated coarse level.

    Args:
        in_channels: channels of the two levels: (C3, C5).
        classes: channels of the returned logits.
        decoder_channels: width of the coarse branch.
        encoder_output_stride: stride of the coarse map: 16, or 8 for finer and dearer features, 32 for cheaper ones.
    """

    strides = (8, 32)
    least_depth = 4

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        decoder_channels: int = 128,
        encoder_output_stride: int = 16,
    ) -> None:
        super().__init__()
        fine, coarse = in_channels
        self.project = ConvNormAct(coarse, decoder_channels, kernel_size=1)
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(coarse, decoder_channels, 1, bias=False), nn.Sigmoid()
        )
        self.classify = ClassifyEach(fine, decoder_channels, classes)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (c3, c5) into logits (B, classes, H/8, W/8)."""
        fine, coarse = features
        context = self.project(coarse) * self.weigh(coarse)
        return self.classify(torch.cat([fine, resize_like(context, fine)], dim=1))
