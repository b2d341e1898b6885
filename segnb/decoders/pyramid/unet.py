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

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, resize_like
from segnb.errors import SegnbError


class UNetBlock(nn.Module):
    """Enlarge, join the skip, convolve twice: (B, in, h, w), (B, skip, 2h, 2w) -> (B, out, 2h, 2w)."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            ConvNormAct(in_channels + skip_channels, out_channels), ConvNormAct(out_channels, out_channels)
        )

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Return the finer map; without a skip, exactly twice the size."""
        if skip is None:
            return self.mix(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.mix(torch.cat([resize_like(x, skip, mode="nearest"), skip], dim=1))


class UNet(nn.Module):
    """U-Net decoder over five levels.

    Args:
        in_channels: channels of each level, fine to coarse: (C1, C2, C3, C4, C5); 0 where the encoder has no such level.
        classes: channels of the returned logits.
        decoder_channels: channels after each block, coarse to fine.
    """

    strides = (2, 4, 8, 16, 32)

    def __init__(
        self, in_channels: Sequence[int], classes: int, *, decoder_channels: Sequence[int] = (256, 128, 64, 32, 16)
    ) -> None:
        super().__init__()
        *skips, deepest = in_channels
        if len(decoder_channels) != len(in_channels):
            raise SegnbError(f"decoder_channels={decoder_channels!r}: give {len(in_channels)} numbers, coarse to fine.")
        inputs = [deepest, *decoder_channels[:-1]]
        self.blocks = nn.ModuleList(
            UNetBlock(*channels) for channels in zip(inputs, [*skips[::-1], 0], decoder_channels, strict=True)
        )
        self.classify = nn.Conv2d(decoder_channels[-1], classes, kernel_size=3, padding=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn features, fine to coarse, into logits (B, classes, H, W)."""
        *skips, x = features
        for block, skip in zip(self.blocks, [*skips[::-1], None], strict=True):
            x = block(x, skip if skip is not None and skip.shape[1] else None)
        return self.classify(x)
