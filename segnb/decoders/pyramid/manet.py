"""MA-Net: a U-Net that attends, to places on the coarsest map and to channels at every skip.

    c5 (B, C5, H/32, W/32) ─ position attention: every pixel gathers from all ─┐
    c4 (B, C4, H/16, W/16) ─────────────────────────────────────────────── fuse ─┐           256 channels
    c3 (B, C3, H/8,  W/8)  ─────────────────────────────────────────────────── fuse ─ … ─┐   128
    c2 (B, C2, H/4,  W/4)  ────────────────────────────────────────────────────────── fuse …  64
    c1 (B, C1, H/2,  W/2)  ────────────────────────────────────────────────────────── fuse …  32
                                             ×2, 2 × conv (no skip at H × W) …  16 ── classify ─▶ (B, classes, H, W)

    fuse:  coarse ─ 3×3, 1×1 ─ ×2 ─┬─ × ─ concat ─ 2 × conv ─▶
                                   ├─ w ─┤    │
           skip ───────────────────┴─ w ─┘ ───┘      w: a weight for each channel, read off its mean

Why: coarse and fine maps see different things; each tells which of the coarse map's channels count.
Paper: Fan et al., IEEE Access 2020, https://doi.org/10.1109/ACCESS.2020.3025372, section III.
Differs from the paper: any encoder, nearest ×2, no 3×3 convolution before the position attention.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from segnb.blocks import ChannelWeights, ConvNormAct, UpBlock, interpolation_mode, norm_layer, resize_like, u_widths


class PositionAttention(nn.Module):
    """Every pixel gathers from the pixels it asks for, wherever they are: (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, channels: int, width: int, *, scrambled: bool) -> None:
        super().__init__()
        self.scrambled = scrambled
        self.query = nn.Conv2d(channels, width, 1)
        self.key = nn.Conv2d(channels, width, 1)
        self.value = nn.Conv2d(channels, channels, 3, padding=1)
        self.mix = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Add to each pixel what it gathered."""
        query, key, value = (project(x).flatten(2).mT for project in (self.query, self.key, self.value))
        likeness = query @ key.mT  # (B, h·w, h·w)
        if self.scrambled:
            weights = likeness.flatten(1).softmax(dim=1).reshape(likeness.shape)
            gathered = (weights @ value).reshape(x.shape)
        else:
            gathered = (likeness.softmax(dim=2) @ value).mT.reshape(x.shape)
        return self.mix(x + gathered)


class Fuse(nn.Module):
    """Join a skip after weighing the coarse map's channels by both: (B, in, h, w), (B, skip, H, W) -> (B, out, H, W)."""

    def __init__(
        self, in_channels: int, skip: int, out_channels: int, *, norm: Callable[[int], nn.Module], interpolation: str
    ) -> None:
        super().__init__()
        self.interpolation = interpolation_mode(interpolation)
        self.project = nn.Sequential(
            ConvNormAct(in_channels, in_channels, norm=norm),
            ConvNormAct(in_channels, skip, kernel_size=1, norm=norm),
        )
        self.weigh_by_coarse = ChannelWeights(skip)
        self.weigh_by_skip = ChannelWeights(skip)
        self.mix = nn.Sequential(
            ConvNormAct(2 * skip, out_channels, norm=norm), ConvNormAct(out_channels, out_channels, norm=norm)
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return the finer map, of the skip's size."""
        x = resize_like(self.project(x), skip, mode=self.interpolation)
        x = x * (self.weigh_by_coarse(x) + self.weigh_by_skip(skip))
        return self.mix(torch.cat([x, skip], dim=1))


class MANet(nn.Module):
    """MA-Net decoder over one to five levels.

    Args:
        in_channels: channels of each level, fine to coarse: (C1, C2, C3, C4, C5); 0 where the encoder has no such level.
        classes: channels of the returned logits.
        decoder_channels: channels after each step, coarse to fine; None for as many of 256, 128, 64, 32, 16 as there are
            levels, always 16 at the picture's size.
        decoder_use_norm: normalisation after each convolution, see `norm_layer`.
        decoder_pab_channels: channels in which pixels are compared by the position attention.
        decoder_interpolation: ``"nearest"`` or ``"bilinear"``, how a map is doubled.
        scrambled_attention: the position attention of SMP's released weights, to be used with them only. There, the weights of
            all pairs of pixels add up to one (so what a pixel gathers fades as pictures grow), and the gathered values,
            (B, h·w, C) in memory, are read as if they were (B, C, h, w), so a pixel gets values of other pixels and channels.
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
        decoder_pab_channels: int = 64,
        decoder_interpolation: str = "nearest",
        scrambled_attention: bool = False,
    ) -> None:
        super().__init__()
        widths = u_widths(decoder_channels, in_channels)
        settings = {"norm": norm_layer(decoder_use_norm), "interpolation": decoder_interpolation}
        *skips, deepest = in_channels
        self.attend = PositionAttention(deepest, decoder_pab_channels, scrambled=scrambled_attention)
        self.steps = nn.ModuleList(
            (Fuse if channels[1] else UpBlock)(*channels, **settings)  # without a skip there is nothing to fuse
            for channels in zip([deepest, *widths[:-1]], [*skips[::-1], None], widths, strict=True)
        )
        self.classify = nn.Conv2d(widths[-1], classes, kernel_size=3, padding=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn features, fine to coarse, into logits (B, classes, H, W)."""
        *skips, deepest = features
        *climb, finish = self.steps
        x = self.attend(deepest)
        for step, skip in zip(climb, skips[::-1], strict=True):
            x = step(x, skip)
        return self.classify(finish(x))
