"""BiSeNet V2: a wide and shallow branch for details, a narrow and deep one for meaning; each guides the other at its own size.

    image ─┬─ detail: eight wide 3×3, three of stride 2 ─ d (128, H/8)
           └─ semantic: stem ─ (16, H/4) ─ (32, H/8) ─ (64, H/16) ─ (128, H/32) ─ + mean ─ s (128, H/32)
                                  │           │            │             │
                                guess       guess        guess         guess       stages, for training only: the "booster"

    d ─ keep ─────────────────────────── × ─────────────── + ── 3×3 ── 3×3, 1024 ── classify ─▶ (B, classes, H/8, W/8)
    s ─ project ─ ×4 ─ sigmoid ──────────┘                 │
    d ─ shrink, by 4 ────────────────────── × ──── ×4 ─────┘
    s ─ keep ─ sigmoid ─────────────────────┘

    gather and expand:  x ─┬─ 3×3 ─ 3×3 of each channel, to 6 times as many ─ 1×1 ─┐
                           └─ (stride 2: 3×3 of each channel ─ 1×1) ───────────────┴─ + ─ relu ─▶

Why: details want many channels but few layers, meaning wants many layers but few channels; apart, each gets what it wants.
Paper: Yu et al., IJCV 2021, https://arxiv.org/abs/2004.02147, sections 4 and 5.
Differs from the paper: a ReLU after each 3×3 of each channel, and normalisation at the end of the context, as in MMSegmentation's
weights. `fit` weighs the stages 0.4, the paper 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, PooledBatchNorm, Stages, resize_like
from segnb.parts.attention import classifier

EXPANSION = 6
ConvNorm = partial(ConvNormAct, act=nn.Identity)


class Stem(nn.Module):
    """Two ways to become four times smaller, convolution and maximum, side by side: (B, in, H, W) -> (B, width, H/4, W/4)."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        half = max(1, width // 2)
        self.shrink = ConvNormAct(in_channels, width, stride=2)
        self.convolve = nn.Sequential(ConvNormAct(width, half, 1), ConvNormAct(half, width, stride=2))
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.mix = ConvNormAct(2 * width, width)

    def forward(self, image: Tensor) -> Tensor:
        """Shrink the picture."""
        x = self.shrink(image)
        return self.mix(torch.cat([self.convolve(x), self.pool(x)], dim=1))


class GatherExpand(nn.Module):
    """Gather, expand the channels cheaply, project: (B, in, h, w) -> (B, out, h/stride, w/stride); stride 1 keeps in = out."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        wide = EXPANSION * in_channels
        self.gather = ConvNormAct(in_channels, in_channels)
        self.expand: nn.Module = nn.Sequential(ConvNormAct(in_channels, wide, groups=in_channels))
        self.shortcut: nn.Module = nn.Identity()
        if stride == 2:
            self.expand = nn.Sequential(
                ConvNorm(in_channels, wide, stride=2, groups=in_channels), ConvNormAct(wide, wide, groups=wide)
            )
            self.shortcut = nn.Sequential(
                ConvNorm(in_channels, in_channels, stride=2, groups=in_channels), ConvNorm(in_channels, out_channels, 1)
            )
        self.project = ConvNorm(wide, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Add what was gathered to the map, or to the map made smaller."""
        return (self.project(self.expand(self.gather(x))) + self.shortcut(x)).relu()


class Context(nn.Module):
    """Add to every pixel what the whole map shows: (B, C, h, w) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.summarise = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), PooledBatchNorm(channels), ConvNormAct(channels, channels, 1, norm=PooledBatchNorm)
        )
        self.mix = ConvNormAct(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Join map and summary."""
        return self.mix(x + self.summarise(x))


class GuidedAggregation(nn.Module):
    """Each branch weighs the other, once at either size: (B, C, H/8, W/8), (B, C, H/32, W/32) -> (B, C, H/8, W/8)."""

    def __init__(self, channels: int) -> None:
        super().__init__()

        def keep() -> nn.Sequential:
            return nn.Sequential(ConvNorm(channels, channels, groups=channels), nn.Conv2d(channels, channels, 1))

        self.keep_detail, self.keep_meaning = keep(), keep()
        self.shrink = nn.Sequential(ConvNorm(channels, channels, stride=2), nn.AvgPool2d(3, stride=2, padding=1))
        self.project = ConvNorm(channels, channels)
        self.mix = ConvNormAct(channels, channels)

    def forward(self, detail: Tensor, meaning: Tensor) -> Tensor:
        """Guide details by meaning at the fine size, meaning by details at the coarse one, and add."""
        fine = self.keep_detail(detail) * resize_like(self.project(meaning), detail).sigmoid()
        coarse = self.shrink(detail) * self.keep_meaning(meaning).sigmoid()
        return self.mix(fine + resize_like(coarse, fine))


class BiSeNetV2(nn.Module):
    """Bilateral network with guided aggregation, whole.

    Args:
        in_channels: channels of the picture, (C,).
        classes: channels of the returned logits.
        width: channels with which both branches end; all others are fixed shares and multiples of it.
        dropout: probability of dropping a whole channel before each classifier.
    """

    sees_picture = True
    strides = ()

    def __init__(self, in_channels: Sequence[int], classes: int, *, width: int = 128, dropout: float = 0.1) -> None:
        super().__init__()
        (picture,) = in_channels
        half = max(1, width // 2)
        self.detail = nn.ModuleList(
            nn.Sequential(ConvNormAct(before, after, stride=2), *(ConvNormAct(after, after) for _ in range(more)))
            for before, after, more in ((picture, half, 1), (half, half, 2), (half, width, 2))
        )
        c2, c3, c4, c5 = self.widths = [max(1, width // share) for share in (8, 4, 2, 1)]
        self.semantic = nn.ModuleList(
            [
                Stem(picture, c2),
                nn.Sequential(GatherExpand(c2, c3, 2), GatherExpand(c3, c3, 1)),
                nn.Sequential(GatherExpand(c3, c4, 2), GatherExpand(c4, c4, 1)),
                nn.Sequential(GatherExpand(c4, c5, 2), *(GatherExpand(c5, c5, 1) for _ in range(3))),
            ]
        )
        self.context = Context(c5)
        self.aggregate = GuidedAggregation(width)
        self.guess = nn.ModuleList(
            nn.Sequential(ConvNormAct(level, wide), ConvNormAct(wide, wide), *classifier(wide, classes, dropout))
            for level, wide in zip(self.widths, (c2, half, 2 * width, 8 * width), strict=True)
        )
        self.mix = ConvNormAct(width, 8 * width)
        self.classify = classifier(8 * width, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (image,) into logits (B, classes, H/8, W/8)."""
        return self.decide(*self.read(features))

    def forward_all(self, features: list[Tensor]) -> Stages:
        """Logits of each level of the semantic branch, fine to coarse, and the final ones."""
        detail, levels = self.read(features)
        guesses = [guess(level) for guess, level in zip(self.guess, levels, strict=True)]
        return Stages([*guesses, self.decide(detail, levels)], {})

    def read(self, features: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Follow both branches: the details (B, width, H/8, W/8), and the semantic levels H/4 to H/32."""
        (image,) = features
        detail, levels = image, [image]
        for stage in self.detail:
            detail = stage(detail)
        for stage in self.semantic:
            levels.append(stage(levels[-1]))
        return detail, levels[1:]

    def decide(self, detail: Tensor, levels: list[Tensor]) -> Tensor:
        """Join both branches into logits."""
        return self.classify(self.mix(self.aggregate(detail, self.context(levels[-1]))))
