"""MaskFormer: a hundred queries look at the picture; each answers with one class and one mask.

    c5 (B, C5, H/32, W/32) ─┬─ 1×1, 256 ─ places ─────────────────┐
                            │                                     ▼
                            │          100 queries ──── 6 × (confer, look, think) ─┬─ linear ─ class (100, classes + 1) ─┐
                            │                                                      └─ MLP ─ (100, 256) ─┐                │
                            └─ 3×3, 256 ─ ×2 ─ + ─ 3×3 ─ ×2 ─ + ─ 3×3 ─ ×2 ─ + ─ 3×3 ─ 3×3 ─ pixels ────┴─ × ─ masks ────┴─ Σ
    c4, c3, c2 ───────────── each 1×1, 256 ──────┴──────────────┴──────────────┘                                             │
                                                                                                                             ▼
                                                                                                       (B, classes, H/4, W/4)
Why: to say once "this region is road" is another question than to say it for every pixel; the same model then does instances too.
Paper: Cheng, Schwing and Kirillov, NeurIPS 2021, https://arxiv.org/abs/2107.06278, sections 3.3, 3.4 and 4.1.
Differs from the paper: see `segnb.parts.queries` and `segnb.losses.matching`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, group_norm, resize_like
from segnb.losses.matching import SetLoss
from segnb.parts.queries import Answer, MaskClassifier, QueryLayer, check_width, for_each, sine_positions

LOSS = SetLoss(class_weight=1.0, mask_weight=20.0, dice_weight=1.0, focal=True)


class Climb(nn.Module):
    """A pyramid of which only the finest map is kept: features, fine to coarse, -> (B, width, H/4, W/4).

    Args:
        in_channels: channels of each level, fine to coarse.
        width: channels of the pyramid.
    """

    def __init__(self, in_channels: Sequence[int], width: int) -> None:
        super().__init__()
        *finer, coarsest = in_channels
        self.narrow = ConvNormAct(coarsest, width, norm=group_norm)
        # Coarse to fine, the order in which they are used.
        self.project = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), group_norm(width)) for channels in finer[::-1]
        )
        self.refine = nn.ModuleList(ConvNormAct(width, width, norm=group_norm) for _ in finer)
        self.embed = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Climb from the coarsest level to the finest."""
        *finer, coarsest = features
        x = self.narrow(coarsest)
        for project, refine, level in zip(self.project, self.refine, finer[::-1], strict=True):
            projected = project(level)
            x = refine(projected + resize_like(x, projected, mode="nearest"))
        return self.embed(x)


class MaskFormer(MaskClassifier):
    """Mask classification with a transformer decoder over four levels.

    Args:
        in_channels: channels of each level, fine to coarse: (C2, C3, C4, C5).
        classes: channels of the returned logits.
        multilabel: whether classes may overlap.
        width: channels of queries and pixels, a multiple of 4 and of the heads.
        queries: how many; a picture can have as many segments.
        layers: how often the queries confer, look and think.
        heads: of each attention.
        hidden: channels inside each layer's MLP.
        dropout: probability of dropping a value of what a layer adds.
    """

    strides = (4, 8, 16, 32)

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        multilabel: bool,
        width: int = 256,
        queries: int = 100,
        layers: int = 6,
        heads: int = 8,
        hidden: int = 2048,
        dropout: float = 0.1,
    ) -> None:
        check_width(width, heads)
        super().__init__(width, classes, multilabel=multilabel, loss=LOSS)
        self.climb = Climb(in_channels, width)
        self.see = nn.Conv2d(in_channels[-1], width, 1)
        self.names = nn.Parameter(torch.randn(queries, width))
        self.layers = nn.ModuleList(
            QueryLayer(width, heads, hidden, look_first=False, dropout=dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def ask(self, features: list[Tensor], *, only_last: bool) -> list[Answer]:
        """Let the queries look at c5, and join c2…c5 to the pixels that their masks are made of."""
        pixels, seen = self.climb(features), self.see(features[-1])
        places, positions = seen.flatten(2).mT, sine_positions(seen)
        names = for_each(seen, self.names)
        x = torch.zeros_like(names)
        answers = []
        for layer in self.layers:
            x = layer(x, names, places, positions)
            answers.append((x, pixels))
        asked = answers[-1:] if only_last else answers
        return [(self.norm(queries), pixels) for queries, pixels in asked]
