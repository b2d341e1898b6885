"""DeepLabV3: look at one dilated map through windows of several sizes at once.

    c5 (B, C5, H/8, W/8) ─┬─ 1×1 ──────────────┐
    (dilated, so not      ├─ 3×3, rate 12 ─────┤
    H/32)                 ├─ 3×3, rate 24 ─────┼─ concat ─ 1×1 ─ 3×3 ─ classify ─▶ (B, classes, H/8, W/8)
                          ├─ 3×3, rate 36 ─────┤
                          └─ global mean, 1×1 ─┘

Why several rates: things come in all sizes, and a dilated window grows without adding weights or losing resolution.
Paper: Chen et al., 2017, https://arxiv.org/abs/1706.05587, section 3.3 and figure 5; rates (6, 12, 18), doubled at stride 8.
Differs from the paper: one 3×3 convolution before the classifier, as in the weights of torchvision and SMP, or a 3×3 in the place
of the 1×1 that joins, as in MMSegmentation's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from segnb.blocks import ASPP, ConvNormAct


class DeepLabV3(nn.Module):
    """DeepLabV3 decoder over one dilated level.

    Args:
        in_channels: channels of that level: (C5,).
        classes: channels of the returned logits.
        decoder_channels: width of the pooling.
        encoder_output_stride: stride of the map: 8, or 16 for coarser and about three times cheaper ones.
        decoder_atrous_rates: dilation of each 3×3 window.
        decoder_aspp_separable: whether the windows are depthwise convolutions followed by 1×1 ones.
        decoder_aspp_dropout: probability of dropping a value after the pooling.
        refine: join what was seen by a 1×1 convolution and refine it by a 3×3 one; False joins it by a 3×3 one, for weights
            released by MMSegmentation.
        align_corners: how logits are enlarged; True for weights released by SMP.
    """

    strides = (32,)

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        decoder_channels: int = 256,
        encoder_output_stride: int = 8,
        decoder_atrous_rates: Sequence[int] = (12, 24, 36),
        decoder_aspp_separable: bool = False,
        decoder_aspp_dropout: float = 0.5,
        refine: bool = True,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        (channels,) = in_channels
        self.pool = ASPP(
            channels,
            decoder_channels,
            decoder_atrous_rates,
            window=partial(ConvNormAct, separable=decoder_aspp_separable),
            dropout=decoder_aspp_dropout,
            kernel_size=1 if refine else 3,
        )
        self.refine = ConvNormAct(decoder_channels, decoder_channels) if refine else nn.Identity()
        self.classify = nn.Conv2d(decoder_channels, classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (c5,) into logits (B, classes, H/8, W/8)."""
        (coarse,) = features
        return self.classify(self.refine(self.pool(coarse)))
