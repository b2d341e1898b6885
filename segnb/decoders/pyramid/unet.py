"""U-Net: climb back from coarse to fine, meeting at each step the encoder's map of the same size.

    c5 (B, C5, H/32, W/32) ── ×2 ──┐
    c4 (B, C4, H/16, W/16) ─concat─┴─ 2 × conv ── ×2 ──┐            256 channels
    c3 (B, C3, H/8,  W/8)  ─────────────────── concat ─┴─ … ──┐     128
    c2 (B, C2, H/4,  W/4)  ───────────────────────── concat ──┴─ …   64
    c1 (B, C1, H/2,  W/2)  ─────────────────────────────── concat …  32
                                  ×2, 2 × conv (no skip at H × W) …  16 ── classify ─▶ (B, classes, H, W)

Why the skips: the coarse maps know what is there, the fine maps know where exactly.
Paper: Ronneberger et al., MICCAI 2015, https://arxiv.org/abs/1505.04597, section 2 and figure 1.
Differs from the paper: any encoder instead of the plain one, padded convolutions, nearest ×2 instead of transposed convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from segnb.blocks import ConvNormAct, UpBlock, attention_layer, norm_layer, u_widths


class UNet(nn.Module):
    """U-Net decoder over one to five levels.

    Args:
        in_channels: channels of each level, fine to coarse: (C1, C2, C3, C4, C5); 0 where the encoder has no such level.
        classes: channels of the returned logits.
        decoder_channels: channels after each step, coarse to fine; None for as many of 256, 128, 64, 32, 16 as there are
            levels, always 16 at the picture's size.
        decoder_use_norm: normalisation after each convolution, see `norm_layer`.
        decoder_attention_type: ``"scse"`` weighs channels and pixels before and after the convolutions of a step, see `SCSE`.
        decoder_interpolation: ``"nearest"`` or ``"bilinear"``, how a map is doubled.
        decoder_center_block: convolve the coarsest map twice before the climb, as SMP does with its VGG encoders.
    """

    strides = (2, 4, 8, 16, 32)
    least_depth = 1

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        decoder_channels: Sequence[int] | None = None,
        decoder_use_norm: str | bool = "batchnorm",
        decoder_attention_type: str | None = None,
        decoder_interpolation: str = "nearest",
        decoder_center_block: bool = False,
    ) -> None:
        super().__init__()
        widths = u_widths(decoder_channels, in_channels)
        norm, attention = norm_layer(decoder_use_norm), attention_layer(decoder_attention_type)
        *skips, deepest = in_channels
        conv = partial(ConvNormAct, deepest, deepest, norm=norm)
        self.center = nn.Sequential(conv(), conv()) if decoder_center_block else nn.Identity()
        self.blocks = nn.ModuleList(
            UpBlock(*channels, norm=norm, attention=attention, interpolation=decoder_interpolation)
            for channels in zip([deepest, *widths[:-1]], [*skips[::-1], None], widths, strict=True)
        )
        self.classify = nn.Conv2d(widths[-1], classes, kernel_size=3, padding=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn features, fine to coarse, into logits (B, classes, H, W)."""
        *skips, deepest = features
        *climb, finish = self.blocks
        x = self.center(deepest)
        for step, skip in zip(climb, skips[::-1], strict=True):
            x = step(x, skip)
        return self.classify(finish(x))
