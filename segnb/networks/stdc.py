"""STDC: blocks that concatenate what they saw near and far; a loss on edges teaches the fine level what a second branch would.

    image ── 3×3 ── 3×3 ── blocks ── c3 (256, H/8) ── blocks ── c4 (512, H/16) ── blocks ── c5 (1024, H/32)
             each of stride 2

    c5 ─┬─ mean ── 1×1, 128 ─┐
        └─ refine ────────── + ── ×2 ── 3×3 ─┬─ guess (stage)
    c4 ─── refine ────────────────────────── + ── ×2 ── 3×3 ─┬─ guess (stage)
    c3 ─┬────────────────────────────────────────────────── join ── 3×3, 256 ── classify ─▶ (B, classes, H/8, W/8)
        └─ edge or no edge (for the detail loss)

    block:  x ── 1×1, ½ ─┬─ 3×3, ¼ ─┬─ 3×3, ⅛ ─┬─ 3×3, ⅛ ─┐          refine and join: as in BiSeNet
                         └──────────┴──────────┴──────────┴─ concat ─▶

Why: BiSeNet's second branch costs time in use; a loss on where labels change costs time in training only.
Paper: Fan et al., CVPR 2021, https://arxiv.org/abs/2104.13188, sections 3.1 to 3.3; the loss is `segnb.losses.detail`.
Differs from the paper: the detail head has two channels, for no and for yes, as in MMSegmentation's weights; their difference is
what the loss reads. `fit` weighs the stages 0.4, the paper 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, PooledBatchNorm, Stages, resize_like
from segnb.errors import SegnbError
from segnb.losses.detail import detail
from segnb.parts.attention import classifier
from segnb.parts.contexts import AttentionRefinement

BLOCKS = {1: (2, 2, 2), 2: (4, 5, 3)}  # at stride 8, 16 and 32


class Block(nn.Module):
    """See farther and farther with fewer and fewer channels, and keep all: (B, in, h, w) -> (B, out, h/stride, w/stride)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        half, quarter, eighth = (out_channels // share for share in (2, 4, 8))
        self.narrow = ConvNormAct(in_channels, half, 1)
        self.shrink, self.pool = nn.Identity(), nn.Identity()
        if stride == 2:
            self.shrink = ConvNormAct(half, half, stride=2, groups=half, act=nn.Identity)
            self.pool = nn.AvgPool2d(3, stride=2, padding=1)
        widths = ((half, quarter), (quarter, eighth), (eighth, eighth))
        self.look = nn.ModuleList(ConvNormAct(before, after) for before, after in widths)

    def forward(self, x: Tensor) -> Tensor:
        """Join four views, near to far."""
        near = self.narrow(x)
        x, views = self.shrink(near), [self.pool(near)]
        for look in self.look:
            x = look(x)
            views.append(x)
        return torch.cat(views, dim=1)


class Join(nn.Module):
    """Join two maps and strengthen the channels that matter here: (B, a, h, w), (B, b, h, w) -> (B, out, h, w)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.mix = ConvNormAct(in_channels, out_channels, 1)
        narrow = max(1, out_channels // 4)
        self.weigh = nn.Sequential(
            nn.Conv2d(out_channels, narrow, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(narrow, out_channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Return the joined map."""
        x = self.mix(torch.cat([fine, coarse], dim=1))
        return x + x * self.weigh(x.mean((2, 3), keepdim=True))


class STDC(nn.Module):
    """Short-term dense concatenation network, whole.

    Args:
        in_channels: channels of the picture, (C,).
        classes: channels of the returned logits.
        variant: 1 for STDC1, 2 for the deeper STDC2.
        width: channels at stride 4, a multiple of 2; the levels have 4, 8 and 16 times as many.
        dropout: probability of dropping a whole channel before each classifier.
    """

    sees_picture = True
    strides = ()
    align_corners = True

    def __init__(
        self, in_channels: Sequence[int], classes: int, *, variant: int = 1, width: int = 64, dropout: float = 0.1
    ) -> None:
        super().__init__()
        (picture,) = in_channels
        if variant not in BLOCKS:
            raise SegnbError(f"variant={variant!r}: give 1 for STDC1 or 2 for STDC2.")
        c3, c4, c5 = 4 * width, 8 * width, 16 * width
        self.shrink = nn.Sequential(
            ConvNormAct(picture, width // 2, stride=2), ConvNormAct(width // 2, width, stride=2)
        )
        self.levels = nn.ModuleList(
            nn.Sequential(Block(before, after, 2), *(Block(after, after, 1) for _ in range(count - 1)))
            for before, after, count in zip((width, c3, c4), (c3, c4, c5), BLOCKS[variant], strict=True)
        )
        inner = 2 * width
        self.summarise = ConvNormAct(c5, inner, 1, norm=PooledBatchNorm)
        self.refine = nn.ModuleList(AttentionRefinement(level, inner) for level in (c5, c4))
        self.smooth = nn.ModuleList(ConvNormAct(inner, inner) for _ in self.refine)
        self.guess = nn.ModuleList(
            nn.Sequential(ConvNormAct(inner, width), *classifier(width, classes, dropout)) for _ in self.refine
        )
        self.find_detail = nn.Sequential(ConvNormAct(c3, width), *classifier(width, 2, dropout))
        self.join = Join(c3 + inner, 2 * inner)
        self.mix = ConvNormAct(2 * inner, 2 * inner)
        self.classify = classifier(2 * inner, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (image,) into logits (B, classes, H/8, W/8)."""
        fine, context = self.read(features)
        return self.classify(self.mix(self.join(fine, context[-1])))

    def forward_all(self, features: list[Tensor]) -> Stages:
        """Logits at H/16, at H/8 and of both joined; clue: the detail head's two channels (B, 2, H/8, W/8)."""
        fine, context = self.read(features)
        guesses = [guess(x) for guess, x in zip(self.guess, context, strict=True)]
        return Stages(
            [*guesses, self.classify(self.mix(self.join(fine, context[-1])))], {"detail": self.find_detail(fine)}
        )

    def own_loss(self, clues: dict[str, Tensor], labels: Tensor) -> Tensor:
        """Compute the detail loss."""
        no, yes = clues["detail"].split(1, dim=1)
        return detail(yes - no, labels)

    def read(self, features: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Give the finest level, and the context that comes back from the coarse ones, at H/16 and at H/8."""
        (image,) = features
        c3, c4, c5 = self.climb(self.shrink(image))
        seen, context = self.summarise(c5.mean((2, 3), keepdim=True)), []
        for refine, smooth, level, finer in zip(self.refine, self.smooth, (c5, c4), (c4, c3), strict=True):
            seen = smooth(resize_like(refine(level) + seen, finer, mode="nearest"))
            context.append(seen)
        return c3, context

    def climb(self, x: Tensor) -> list[Tensor]:
        """Give all levels, fine to coarse."""
        levels = []
        for level in self.levels:
            x = level(x)
            levels.append(x)
        return levels
