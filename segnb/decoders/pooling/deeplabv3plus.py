"""DeepLabV3+: look at the coarse map through windows of several sizes, then sharpen with one fine map.

    c5 (B, C5, H/16, W/16) ─┬─ 1×1 ──────────────┐
    (dilated, so not H/32)  ├─ 3×3, rate 12 ─────┤
                            ├─ 3×3, rate 24 ─────┼─ concat ─ 1×1 ─ 3×3 ─ ×4 ─┐
                            ├─ 3×3, rate 36 ─────┤                           ├─ concat ─ 3×3 ─ classify ─▶ (B, classes, H/4, W/4)
                            └─ global mean, 1×1 ─┘                           │
    c2 (B, C2, H/4,  W/4)  ── 1×1, 48 channels ──────────────────────────────┘

Every 3×3 is separable. Why dilation: a wide view without losing resolution or adding weights.
Paper: Chen et al., ECCV 2018, https://arxiv.org/abs/1802.02611, section 3.1 and figure 2.
Differs from the paper: rates (12, 24, 36) at output stride 16 and one 3×3 convolution after the concatenation, as in
released weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segnb.blocks import ASPP, ConvNormAct, resize_like


class DeepLabV3Plus(nn.Module):
    """DeepLabV3+ decoder over one fine and one dilated coarse level.

    Args:
        in_channels: channels of the two levels: (C2, C5).
        classes: channels of the returned logits.
        decoder_channels: width of the pooling and of the fusion.
        encoder_output_stride: 16, or 8 for finer and about three times dearer features.
        decoder_atrous_rates: dilation of each 3×3 window.
        decoder_aspp_separable: whether the windows are depthwise convolutions followed by 1×1 ones.
        decoder_aspp_dropout: probability of dropping a value after the pooling.
        align_corners: how maps and logits are enlarged; True for weights released by SMP.
    """

    strides = (4, 32)

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        decoder_channels: int = 256,
        encoder_output_stride: int = 16,
        decoder_atrous_rates: Sequence[int] = (12, 24, 36),
        decoder_aspp_separable: bool = True,
        decoder_aspp_dropout: float = 0.5,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        fine, coarse = in_channels
        self.pool = ASPP(
            coarse,
            decoder_channels,
            decoder_atrous_rates,
            separable=decoder_aspp_separable,
            dropout=decoder_aspp_dropout,
        )
        self.refine = ConvNormAct(decoder_channels, decoder_channels, separable=True)
        self.project = ConvNormAct(fine, 48, kernel_size=1)
        self.mix = ConvNormAct(decoder_channels + 48, decoder_channels, separable=True)
        self.classify = nn.Conv2d(decoder_channels, classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (c2, c5) into logits (B, classes, H/4, W/4)."""
        fine, coarse = features
        context = self.refine(self.pool(coarse))
        context = resize_like(context, fine, align_corners=self.align_corners)
        return self.classify(self.mix(torch.cat([context, self.project(fine)], dim=1)))
