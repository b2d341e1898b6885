"""Mask2Former: queries look only where their last mask was, at one scale after the other.

    c5, c4, c3 ── 1×1, 256 ── 6 × deformable attention over all three ──┬── p5, p4, p3 ── places ──┐
                                                                        │                          ▼
    c2 ── 1×1, 256 ───────────────────────────────────── + ×2 ──────────┘   100 queries ── 9 × (look, confer, think)
                                                         │                        ▲                │
                                                         3×3                      └── mask > 0? ◀──┤ after each layer
                                                         │                                         ├─ class ─┐
                                                         1×1 ── pixels (256, H/4, W/4) ── × ───────┴─ mask ──┴─ Σ ─▶ (B, classes,
                                                                                                                       H/4, W/4)
Why: MaskFormer's queries need long to learn where to look; a first mask, however bad, tells them.
Paper: Cheng et al., CVPR 2022, https://arxiv.org/abs/2112.01527, section 3; the deformable attention is that of Zhu et al.,
"Deformable DETR", ICLR 2021, https://arxiv.org/abs/2010.04159, section 4.1.
Differs from the paper: where a query may look is read off pixels that were resized first, the same numbers for less work; see
also `segnb.parts.queries` and `segnb.losses.matching`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, group_norm, resize_like
from segnb.losses.matching import SetLoss
from segnb.parts.queries import Answer, MaskClassifier, QueryLayer, check_width, for_each, sine_positions

LOSS = SetLoss(class_weight=2.0, mask_weight=5.0, dice_weight=5.0, points=12544)
LEVELS = 3  # at which queries look
Size = tuple[int, int]


def split_levels(tokens: Tensor, sizes: Sequence[Size]) -> list[Tensor]:
    """Cut tokens (B, N, C) into the maps (B, C, h, w) that they were joined of; as copies, see `segnb.blocks.crop`."""
    maps, start = [], 0
    for height, width in sizes:
        end = start + height * width
        part = F.pad(tokens, (0, 0, -start, end - tokens.shape[1]))
        maps.append(part.mT.reshape(tokens.shape[0], tokens.shape[2], height, width))
        start = end
    return maps


def centres(height: int, width: int, like: Tensor) -> Tensor:
    """(x, y) of every pixel's centre from 0 to 1, (h·w, 2)."""
    y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) / height
    x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / width
    return torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], dim=2).flatten(0, 1)


class DeformableAttention(nn.Module):
    """Every pixel looks at a few places near it in every level, and chooses them itself: (B, N, C) -> (B, N, C).

    Args:
        width: C.
        heads: parts of the channels that look elsewhere each.
        points: places in each level for each head.
    """

    def __init__(self, width: int, heads: int, points: int = 4) -> None:
        super().__init__()
        self.heads, self.points = heads, points
        self.offset = nn.Linear(width, heads * LEVELS * points * 2)
        self.weigh = nn.Linear(width, heads * LEVELS * points)
        self.value = nn.Linear(width, width)
        self.project = nn.Linear(width, width)
        # At first every head looks in a direction of its own, and each of its points a pixel further.
        angle = torch.arange(heads) * (2 * math.pi / heads)
        direction = torch.stack([angle.cos(), angle.sin()], dim=1)
        direction = direction / direction.abs().amax(dim=1, keepdim=True)
        steps = torch.arange(1, points + 1)[:, None] * direction[:, None, None]  # (heads, 1, points, 2)
        self.offset.bias = nn.Parameter(steps.expand(-1, LEVELS, -1, -1).flatten().clone())
        for weight in (self.offset.weight, self.weigh.weight, self.weigh.bias):
            nn.init.zeros_(weight)

    def forward(self, query: Tensor, x: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Gather from the levels in x, whose maps have these sizes; ``query`` is x with positions."""
        weights = self.weigh(query).unflatten(2, (self.heads, LEVELS * self.points)).softmax(dim=3)
        weights = weights.unflatten(3, (LEVELS, self.points)).transpose(1, 2)  # (B, heads, N, levels, points)
        offsets = self.offset(query).unflatten(2, (self.heads, LEVELS, self.points, 2)).transpose(1, 2)
        origin = torch.cat([centres(*size, x) for size in sizes])[:, None]  # (N, 1, 2)
        gathered = []
        for level, value in enumerate(split_levels(self.value(x), sizes)):
            (height, width), step = sizes[level], offsets[:, :, :, level]
            place = origin + torch.stack([step[..., 0] / width, step[..., 1] / height], dim=4)
            heads = value.unflatten(1, (self.heads, x.shape[2] // self.heads)).flatten(0, 1)
            seen = F.grid_sample(
                heads, 2 * place.flatten(0, 1) - 1, align_corners=False
            )  # (B·heads, C/heads, N, points)
            gathered.append((seen * weights[:, :, :, level].flatten(0, 1).unsqueeze(1)).sum(dim=3))
        joined = torch.stack(gathered).sum(dim=0).unflatten(0, (x.shape[0], self.heads)).flatten(1, 2)
        return self.project(joined.mT)


class DeformableLayer(nn.Module):
    """Pixels of all levels look around, and think: (B, N, C) -> (B, N, C)."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.look = DeformableAttention(width, heads)
        self.think = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, width))
        self.norm_look, self.norm_think = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor, positions: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Update the tokens of all levels."""
        x = self.norm_look(x + self.look(x + positions, x, sizes))
        return self.norm_think(x + self.think(x))


class Fuse(nn.Module):
    """Let three levels learn from each other, and climb from the finest of them: (c2, c3, c4, c5) -> pixels, (p5, p4, p3)."""

    def __init__(self, in_channels: Sequence[int], width: int, heads: int, hidden: int, layers: int) -> None:
        super().__init__()
        finest, *coarser = in_channels
        self.project = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 1), group_norm(width)) for channels in coarser[::-1]
        )
        self.levels = nn.Parameter(torch.randn(LEVELS, width))
        self.relate = nn.ModuleList(DeformableLayer(width, heads, hidden) for _ in range(layers))
        self.lateral = nn.Sequential(nn.Conv2d(finest, width, 1, bias=False), group_norm(width))
        self.refine = ConvNormAct(width, width, norm=group_norm)
        self.embed = nn.Conv2d(width, width, 1)

    def forward(self, features: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Relate c3…c5, coarse to fine, then add c2."""
        finest, *coarser = features
        maps = [project(level) for project, level in zip(self.project, coarser[::-1], strict=True)]
        sizes = [(level.shape[2], level.shape[3]) for level in maps]
        positions = torch.cat([sine_positions(x) + name for x, name in zip(maps, self.levels, strict=True)], dim=1)
        x = torch.cat([level.flatten(2).mT for level in maps], dim=1)
        for relate in self.relate:
            x = relate(x, positions, sizes)
        maps = split_levels(x, sizes)
        lateral = self.lateral(finest)
        return self.embed(self.refine(lateral + resize_like(maps[-1], lateral))), maps


class Mask2Former(MaskClassifier):
    """Mask classification with masked attention and deformable attention over four levels.

    Args:
        in_channels: channels of each level, fine to coarse: (C2, C3, C4, C5).
        classes: channels of the returned logits.
        multilabel: whether classes may overlap.
        width: channels of queries and pixels, a multiple of 4 and of the heads.
        queries: how many; a picture can have as many segments.
        layers: how often the queries look, confer and think; each time at the next of three levels.
        pixel_layers: how often the pixels of c3…c5 look at each other.
        heads: of each attention.
        hidden: channels inside the MLP of each layer of queries; half as many inside those of pixels.
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
        layers: int = 9,
        pixel_layers: int = 6,
        heads: int = 8,
        hidden: int = 2048,
    ) -> None:
        check_width(width, heads)
        super().__init__(width, classes, multilabel=multilabel, loss=LOSS)
        self.fuse = Fuse(in_channels, width, heads, hidden // 2, pixel_layers)
        self.levels = nn.Parameter(torch.randn(LEVELS, width))
        self.queries = nn.Parameter(torch.randn(queries, width))
        self.names = nn.Parameter(torch.randn(queries, width))
        self.layers = nn.ModuleList(QueryLayer(width, heads, hidden, look_first=True) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def ask(self, features: list[Tensor], *, only_last: bool) -> list[Answer]:
        """Let the queries look at p5, p4, p3, p5, …, each where its mask is so far."""
        pixels, maps = self.fuse(features)
        places = [level.flatten(2).mT + name for level, name in zip(maps, self.levels, strict=True)]
        positions = [sine_positions(level) for level in maps]
        shrunk = [resize_like(pixels.detach(), level) for level in maps]
        x, names = for_each(pixels, self.queries), for_each(pixels, self.names)
        answers = [(self.norm(x), pixels)]
        for number, layer in enumerate(self.layers):
            level = number % LEVELS
            allowed = self.allow(answers[-1][0], shrunk[level])
            x = layer(x, names, places[level], positions[level], allowed)
            answers.append((self.norm(x), pixels))
        return answers

    @torch.no_grad()
    def allow(self, queries: Tensor, pixels: Tensor) -> Tensor:
        """Say where each query may look, (B, Q, h·w): inside its mask, or everywhere if that is empty."""
        inside = self.classify.masks(queries) @ pixels.flatten(2) >= 0
        return inside | ~inside.any(dim=2, keepdim=True)
