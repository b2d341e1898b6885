"""OCRNet: a first guess tells what each class looks like in this picture; every pixel then asks the classes.

    levels ─ resized, concat (B, ΣC, h, w) ─┬─ mix ─ guess (stage) ─ softmax over pixels ─┐   (classes, h·w)
                                            └─ 3×3, 512 ─ x ──────────────────────────────┴─ × ─ regions (512, classes)
                                                          │                                            │
                                                          ├─ query (256, h·w) ─── attend ──── key, value (256, classes)
                                                          │                          │
                                                          └──────────────── concat ──┴─ 1×1, 512 ─ classify ─▶ (B, classes, h, w)

Why: "this pixel looks like the road of this picture" is a better question than "is it like that other pixel?".
Paper: Yuan, Chen and Wang, ECCV 2020, https://arxiv.org/abs/1909.11065, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, Stages, resize_like
from segnb.parts.attention import attend, classifier


class RegionAttention(nn.Module):
    """Every pixel attends to a vector for each class: (B, C, h, w), (B, C, classes, 1) -> (B, C, h, w).

    Args:
        channels: C.
        inner: channels of queries, keys and values.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.query = nn.Sequential(ConvNormAct(channels, inner, 1), ConvNormAct(inner, inner, 1))
        self.key = nn.Sequential(ConvNormAct(channels, inner, 1), ConvNormAct(inner, inner, 1))
        self.value = ConvNormAct(channels, inner, 1)
        self.project = ConvNormAct(inner, channels, 1)
        self.mix = ConvNormAct(2 * channels, channels, 1)

    def forward(self, x: Tensor, regions: Tensor) -> Tensor:
        """Join to each pixel what it learns from the regions."""
        learnt = self.project(attend(self.query(x), self.key(regions), self.value(regions)))
        return self.mix(torch.cat([learnt, x], dim=1))


class OCRNet(nn.Module):
    """Object-contextual representations over four levels.

    Args:
        in_channels: channels of each level, fine to coarse: (C2, C3, C4, C5).
        classes: channels of the returned logits.
        width: channels of the pixels and regions.
        inner: channels of queries, keys and values.
        dropout: probability of dropping a whole channel before each classifier.
    """

    strides = (4, 8, 16, 32)

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        width: int = 512,
        inner: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        channels = sum(in_channels)
        self.guess = nn.Sequential(ConvNormAct(channels, channels, 1), *classifier(channels, classes, dropout))
        self.narrow = ConvNormAct(channels, width)
        self.ask_regions = RegionAttention(width, inner)
        self.classify = classifier(width, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn c2…c5 into logits (B, classes, H/4, W/4)."""
        return self.forward_all(features).logits[-1]

    def forward_all(self, features: list[Tensor]) -> Stages:
        """The first guess, and the logits after asking the regions that it marks."""
        joined = torch.cat([resize_like(level, features[0]) for level in features], dim=1)
        guess, x = self.guess(joined), self.narrow(joined)
        belongs = guess.flatten(2).softmax(dim=2)  # (B, classes, h·w): each class spreads over the pixels
        regions = (x.flatten(2) @ belongs.mT)[..., None]  # (B, width, classes, 1)
        return Stages([guess, self.classify(self.ask_regions(x, regions))], {})
