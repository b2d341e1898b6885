"""BiSeNet: a short path keeps the places, a deep one tells what is there; each channel of both is weighed where they meet.

    image (B, C, H, W) ── 7×7 ── 3×3 ── 3×3 ── 1×1 ── d (128, H/8)          the first three of stride 2

    c5 (B, C5, H/32, W/32) ─┬─ mean ── 1×1, 128 ─┐
                            └─ refine ────────── + ── ×2 ── 3×3 ─┬─ guess (stage)
    c4 (B, C4, H/16, W/16) ─── refine ────────────────────────── + ── ×2 ── 3×3 ─┬─ guess (stage)
    d ───────────────────────────────────────────────────────────────────────── join ── 3×3, 256 ── classify
                                                                                           ─▶ (B, classes, H/8, W/8)

    refine:  3×3, 128 ── x ─┬─ mean ── 1×1 ── sigmoid ─┐           join:  concat ── 1×1, 256 ── x ── x + x · weights,
                            └──────────────────────────┴─ · ─▶            weights as in refine

Why: a network for the whole picture is fast only if it soon gets coarse, and then edges are lost; three layers that stay fine
are cheap and keep them. The deep, "context" path is any encoder, so this is a decoder that sees the picture, too.
Paper: Yu et al., ECCV 2018, https://arxiv.org/abs/1808.00897, section 3.
Differs from the paper: the weights of the joined map come from one 1×1 convolution with normalisation instead of two without, and
a 3×3 convolution precedes the classifier, both as in MMSegmentation's weights. `fit` weighs the stages 0.4, the paper 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, PooledBatchNorm, Stages, resize_like
from segnb.parts.attention import classifier
from segnb.parts.contexts import AttentionRefinement


class Join(nn.Module):
    """Join two maps and strengthen the channels that matter here: (B, first, h, w), (B, second, h, w) -> (B, width, h, w).

    Args:
        in_channels: channels of both maps together.
        width: channels of the result.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.mix = ConvNormAct(in_channels, width, 1)
        self.weigh = nn.Sequential(ConvNormAct(width, width, 1, norm=PooledBatchNorm), nn.Sigmoid())

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Return the joined map."""
        x = self.mix(torch.cat([fine, coarse], dim=1))
        return x + x * self.weigh(x.mean((2, 3), keepdim=True))


class BiSeNetV1(nn.Module):
    """Spatial path on the picture, context path on the two deepest levels.

    Args:
        in_channels: channels of the picture and of both levels: (C, C4, C5).
        classes: channels of the returned logits.
        width: channels of each path.
        dropout: probability of dropping a whole channel before each classifier.
    """

    sees_picture = True
    strides = (16, 32)

    def __init__(self, in_channels: Sequence[int], classes: int, *, width: int = 128, dropout: float = 0.1) -> None:
        super().__init__()
        picture, fine, coarse = in_channels
        half = max(1, width // 2)
        self.keep_places = nn.Sequential(
            ConvNormAct(picture, half, 7, stride=2),
            ConvNormAct(half, half, stride=2),
            ConvNormAct(half, half, stride=2),
            ConvNormAct(half, width, 1),
        )
        self.summarise = ConvNormAct(coarse, width, 1, norm=PooledBatchNorm)
        self.refine = nn.ModuleList(AttentionRefinement(channels, width) for channels in (coarse, fine))
        self.smooth = nn.ModuleList(ConvNormAct(width, width) for _ in self.refine)
        self.guess = nn.ModuleList(
            nn.Sequential(ConvNormAct(width, half), *classifier(half, classes, dropout)) for _ in self.refine
        )
        self.join = Join(2 * width, 2 * width)
        self.mix = ConvNormAct(2 * width, 2 * width)
        self.classify = classifier(2 * width, classes, dropout)

    @classmethod
    def strides_for(cls, depth: int, settings: Mapping[str, Any]) -> tuple[int, ...]:
        """Say which levels to read, given the encoder's depth and the options: the two deepest."""
        return 2 ** (depth - 1), 2**depth

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (image, c4, c5) into logits (B, classes, H/8, W/8)."""
        joined, _ = self.read(features)
        return self.classify(self.mix(joined))

    def forward_all(self, features: list[Tensor]) -> Stages:
        """Logits of the context path at H/16 and at H/8, and of both paths."""
        joined, context = self.read(features)
        guesses = [guess(x) for guess, x in zip(self.guess, context, strict=True)]
        return Stages([*guesses, self.classify(self.mix(joined))], {})

    def read(self, features: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Follow both paths: the joined map (B, 2·width, H/8, W/8), and the context path's on the way to it, H/16 and H/8."""
        image, fine, coarse = features
        places = self.keep_places(image)
        seen, context = self.summarise(coarse.mean((2, 3), keepdim=True)), []
        levels, finer = (coarse, fine), (fine, places)
        for refine, smooth, level, target in zip(self.refine, self.smooth, levels, finer, strict=True):
            seen = smooth(resize_like(refine(level) + seen, target, mode="nearest"))
            context.append(seen)
        return self.join(places, seen), context
