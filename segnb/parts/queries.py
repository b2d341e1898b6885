"""What the decoders share that classify masks: queries look at the picture, and each answers with one class and one mask.

    features ── ask ──┬─ queries (B, Q, C) ─┬─ linear ─ class logits (B, Q, K + 1), the last for "no object" ─┐
                      │                     └─ MLP ─── × ── mask logits (B, Q, h, w) ─────────────────────────┴─ Σ ─▶ (B, K, h, w)
                      └─ pixels (B, C, h, w) ──────────┘

The score of a class at a pixel is the sum over all queries of the chance that the query is of that class and its mask is there.
Source: Cheng, Schwing and Kirillov, "MaskFormer", NeurIPS 2021, https://arxiv.org/abs/2107.06278, sections 3.3 and 3.4.
Differs from the paper: the scores are enlarged to the picture, not the masks.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segnb.blocks import Stages
from segnb.errors import SegnbError
from segnb.losses.matching import SetLoss

# Queries (B, Q, C) after a layer, and the pixels (B, C, h, w) that their masks are made of.
Answer = tuple[Tensor, Tensor]
LEAST = 1e-6  # a score has a logarithm


def sine_positions(like: Tensor) -> Tensor:
    """Describe each pixel's place by waves of different lengths: for a map (B, C, h, w), (1, h·w, C).

    Rows have the first half of the channels, columns the second; sine and cosine alternate.

    Source: Carion et al., "DETR", ECCV 2020, https://arxiv.org/abs/2005.12872, appendix A.4.
    """
    channels, height, width = like.shape[1:]
    frequencies = 2 * math.pi / 10000 ** (torch.arange(channels // 4, device=like.device) * (4 / channels))
    sides = []
    for length in (height, width):
        places = torch.arange(1, length + 1, device=like.device) / (length + 1e-6)
        angles = places[:, None] * frequencies
        sides.append(torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1))  # (length, C / 2)
    rows, columns = sides
    rows, columns = rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1).unsqueeze(0).to(like.dtype)


def for_each(pictures: Tensor, learnt: Tensor) -> Tensor:
    """Repeat what is learnt for each picture: (B, ...), (Q, C) -> (B, Q, C).

    As copies: torch's counter of operations cannot follow a weight itself, or a view of it, into a layer in inference mode.
    """
    return learnt.repeat(pictures.shape[0], 1, 1)


def check_width(width: int, heads: int) -> None:
    """Refuse a width that attention heads or positions cannot share out."""
    if width < 1 or width % heads or width % 4:
        raise SegnbError(f"width={width!r} with heads={heads!r}: give a multiple of 4 and of the number of heads.")


class Attention(nn.Module):
    """Every query gathers values from the places whose keys are like it: (B, Q, C), (B, N, C), (B, N, C) -> (B, Q, C).

    Args:
        width: C.
        heads: how many parts of the channels compare by themselves.

    Source: Vaswani et al., NeurIPS 2017, https://arxiv.org/abs/1706.03762, section 3.2.2.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.shape = (heads, width // heads)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.project = nn.Linear(width, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Gather; ``allowed`` (B, Q, N) says where each query may look, None everywhere."""
        projected = self.query(query), self.key(key), self.value(value)
        heads = [x.unflatten(2, self.shape).transpose(1, 2) for x in projected]
        mask = None if allowed is None else allowed.unsqueeze(1)
        gathered = F.scaled_dot_product_attention(*heads, attn_mask=mask)
        return self.project(gathered.transpose(1, 2).flatten(2))


class QueryLayer(nn.Module):
    """Queries look at the picture, confer, and think: (B, Q, C) -> (B, Q, C).

    Args:
        width: C.
        heads: of both attentions.
        hidden: channels inside the MLP.
        look_first: whether they look before they confer, as in Mask2Former; DETR's and MaskFormer's confer first.
        dropout: probability of dropping a value of what is added.
    """

    def __init__(self, width: int, heads: int, hidden: int, *, look_first: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.look_first = look_first
        self.look = Attention(width, heads)
        self.confer = Attention(width, heads)
        self.think = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout), nn.Linear(hidden, width)
        )
        self.norm_look, self.norm_confer, self.norm_think = (nn.LayerNorm(width) for _ in range(3))
        self.drop = nn.Dropout(dropout)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(
        self, x: Tensor, names: Tensor, places: Tensor, positions: Tensor, allowed: Tensor | None = None
    ) -> Tensor:
        """Update the queries.

        Args:
            x: the queries, (B, Q, C).
            names: what tells them apart, learnt, (B, Q, C).
            places: the picture, (B, N, C).
            positions: of the places, (1, N, C).
            allowed: (B, Q, N), where each query may look; None everywhere.
        """
        if not self.look_first:
            x = self.ask_each_other(x, names)
        x = self.norm_look(x + self.drop(self.look(x + names, places + positions, places, allowed)))
        if self.look_first:
            x = self.ask_each_other(x, names)
        return self.norm_think(x + self.drop(self.think(x)))

    def ask_each_other(self, x: Tensor, names: Tensor) -> Tensor:
        """Let every query gather from all queries."""
        return self.norm_confer(x + self.drop(self.confer(x + names, x + names, x)))


class ClassifyByMasks(nn.Module):
    """Sum up what the queries say about each pixel: (B, C, h, w), (B, Q, C) -> logits (B, classes, h, w).

    Args:
        width: C.
        classes: without "no object".
        exclusive: whether each pixel has exactly one class. Then a logit is the logarithm of the score, so that a softmax gives
            the score's share; otherwise a sigmoid of the logit gives the score, up to 1.
        activation: of the MLP between query and mask.
    """

    def __init__(
        self, width: int, classes: int, *, exclusive: bool, activation: Callable[[], nn.Module] = nn.ReLU
    ) -> None:
        super().__init__()
        self.exclusive = exclusive
        self.classes = nn.Linear(width, classes + 1)
        self.masks = nn.Sequential(
            nn.Linear(width, width), activation(), nn.Linear(width, width), activation(), nn.Linear(width, width)
        )

    def forward(self, pixels: Tensor, queries: Tensor) -> Tensor:
        """Compute class logits and mask logits, and sum up."""
        class_logits, mask_logits = self.read(pixels, queries)
        chances, places = class_logits.softmax(dim=2)[..., :-1], mask_logits.sigmoid()
        scores = torch.einsum("bqk,bqhw->bkhw", chances, places).float()
        return scores.clamp(min=LEAST).log() if self.exclusive else scores.logit(eps=LEAST)

    def read(self, pixels: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (B, Q, classes + 1) and mask logits (B, Q, h, w) of the queries."""
        return self.classes(queries), torch.einsum("bqc,bchw->bqhw", self.masks(queries), pixels)


class MaskClassifier(nn.Module):
    """What maskformer, mask2former and eomt have in common: they `ask` queries, and learn by matching them to segments.

    Args:
        width: channels of queries and pixels.
        classes: channels of the returned logits.
        multilabel: whether classes may overlap.
        loss: of all layers of queries.
        activation: see `ClassifyByMasks`.
    """

    learns_by_own_loss = True
    knows_multilabel = True

    def __init__(
        self,
        width: int,
        classes: int,
        *,
        multilabel: bool,
        loss: SetLoss,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.loss = loss
        exclusive = classes > 1 and not multilabel
        self.classify = ClassifyByMasks(width, classes, exclusive=exclusive, activation=activation)

    def ask(self, features: list[Tensor], *, only_last: bool) -> list[Answer]:
        """Let the queries read the features: their answer after each layer, or after the last one alone."""
        raise NotImplementedError

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn features into logits (B, classes, h, w)."""
        queries, pixels = self.ask(features, only_last=True)[-1]
        return self.classify(pixels, queries)

    def forward_all(self, features: list[Tensor]) -> Stages:
        """The same logits, and every layer's class logits (L, B, Q, classes + 1) and mask logits (L, B, Q, h, w)."""
        answers = self.ask(features, only_last=False)
        layers = [self.classify.read(pixels, queries) for queries, pixels in answers]
        class_logits, mask_logits = (torch.stack(part) for part in zip(*layers, strict=True))
        queries, pixels = answers[-1]
        return Stages([self.classify(pixels, queries)], {"class_logits": class_logits, "mask_logits": mask_logits})

    def own_loss(self, clues: dict[str, Tensor], labels: Tensor) -> Tensor:
        """Match every layer's queries to the segments of the labels, and compare."""
        return self.loss(clues["class_logits"], clues["mask_logits"], labels)
