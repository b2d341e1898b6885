"""DeepLabV3+: look at the coarse map through windows of several sizes, then sharpen with one fine map.

    c5 (B, C5, H/16, W/16) ─┬─ 1×1 ──────────────┐
    (dilated, so not H/32)  ├─ 3×3, rate 12 ─────┤
                            ├─ 3×3, rate 24 ─────┼─ concat ─ 1×1 ─ 3×3 ─ ×4 ─┐
                            ├─ 3×3, rate 36 ─────┤                           ├─ concat ─ 3×3 ─ classify ─▶ (B, classes, H/4, W/4)
                            └─ global mean, 1×1 ─┘                           │
    c2 (B, C2, H/4,  W/4)  ── 1×1, 48 channels ──────────────────────────────┘

Every 3×3 is separable. Why dilation: a wide view without losing resolution or adding weights.
Paper: Chen et al., ECCV 2018, https://arxiv.org/abs/1802.02611, section 3.1 and figure 2.
Differs from the paper: rates (12, 24, 36) at output stride 16, and the second 3×3 convolution before the concatenation, as in the
weights of SMP; `refine_after` has both after it, as the paper and MMSegmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

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
        decoder_fine_channels: channels that the fine level is projected to.
        refine_after: convolve twice after the fine level has joined, instead of once before and once after; what was seen is
            joined by a 3×3 convolution, and depthwise ones are normalised, too. For weights released by MMSegmentation.
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
        decoder_fine_channels: int = 48,
        refine_after: bool = False,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        fine, coarse = in_channels
        width, joined = decoder_channels, decoder_channels + decoder_fine_channels
        window = partial(ConvNormAct, separable=True, norm_depthwise=refine_after)
        self.pool = ASPP(
            coarse,
            width,
            decoder_atrous_rates,
            window=window if decoder_aspp_separable else ConvNormAct,
            dropout=decoder_aspp_dropout,
            kernel_size=3 if refine_after else 1,
        )
        self.refine = nn.Identity() if refine_after else window(width, width)
        self.project = ConvNormAct(fine, decoder_fine_channels, kernel_size=1)
        self.mix = nn.Sequential(window(joined, width), window(width, width)) if refine_after else window(joined, width)
        self.classify = nn.Conv2d(decoder_channels, classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (c2, c5) into logits (B, classes, H/4, W/4)."""
        fine, coarse = features
        context = self.refine(self.pool(coarse))
        context = resize_like(context, fine, align_corners=self.align_corners)
        return self.classify(self.mix(torch.cat([context, self.project(fine)], dim=1)))
