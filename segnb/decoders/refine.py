"""PointRend: decide again, point by point, where a coarse map is not sure.

    levels ── decoder ─▶ coarse logits (B, K, H/4, W/4) ─┬─ ×2 ── the N least sure pixels ── get new logits ─▶ twice: (B, K, H, W)
                                                         │                  │                      ▲
                                                         │                  ▼                      │
    finest map (B, C, H/4, W/4) ─────────────────────────┴─ read there: (B, C + K, N) ── point head ─▶ (B, K, N)

    point head:  (C + K) ── 1×1, 256 ── + K ── 1×1, 256 ── + K ── 1×1, 256 ── + K ── 1×1 ─▶ K        + K: coarse logits join again

Why: a map of twice the size says the same as a coarse one almost everywhere; only along contours is there something to find out.
So only those pixels are computed, as a renderer refines only the edges of what it draws.
In training 2048 points of each picture, three quarters of them of the least sure of three times as many, are held against their
labels as well; drawn anywhere, between pixels too.
Paper: Kirillov et al., CVPR 2020, https://arxiv.org/abs/1912.08193, sections 3.1 to 3.3 and 5.
Differs from the paper: the refined logits learn too, as those of all architectures here; the coarse ones are an earlier stage.
Of two pixels that are almost equally sure, rounding may decide which is the last to be refined.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segnb.blocks import Stages
from segnb.decoders.pyramid.fpn import FPN
from segnb.errors import SegnbError, nearest
from segnb.losses import cross_entropy
from segnb.losses.unsure_points import choose_points, labels_at, read_between, uncertainty

POINT_CLUES = ("points", "point_logits")


class PointHead(nn.Module):
    """Logits of points: details (B, C, N), coarse logits (B, K, N) -> (B, K, N).

    Args:
        channels: C.
        classes: K.
        width: channels in between.
        layers: in between.
    """

    def __init__(self, channels: int, classes: int, width: int, layers: int) -> None:
        super().__init__()
        widths = [channels, *[width] * layers]
        self.read = nn.ModuleList(nn.Conv1d(before + classes, width, 1) for before in widths[:-1])
        self.classify = nn.Conv1d(widths[-1] + classes, classes, 1)

    def forward(self, details: Tensor, coarse: Tensor) -> Tensor:
        """Decide each point for itself."""
        x = details
        for read in self.read:
            x = read(torch.cat([x, coarse], dim=1)).relu()
        return self.classify(torch.cat([x, coarse], dim=1))


class PointRend(nn.Module):
    """Another decoder's logits, refined where they are unsure.

    Args:
        in_channels: channels of each level, fine to coarse; the first, of stride 4, has the details.
        classes: channels of the returned logits.
        multilabel: whether the classes may overlap.
        decoder: the architecture whose logits are refined: ``"fpn"``, ``"deeplabv3"``, ``"segformer"``, ``"upernet"`` or another
            that makes coarse logits of an encoder's maps. `FPN` lends the finest level of its pyramid for the details.
        decoder_options: its options, by name.
        width: channels of the point head.
        layers: of the point head before its last.
        subdivisions: how often the logits are doubled in size and refined: twice from stride 4 to the picture's own size.
        points: pixels that are refined each time, of each picture; smaller pictures are refined everywhere.
        train_points: points of each picture for the loss.
        encoder_output_stride: stride of the coarsest map: 32, or 16 or 8 for decoders made for dilated encoders.
    """

    strides = (4, 8, 16, 32)
    knows_multilabel = True

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        multilabel: bool,
        decoder: str = "fpn",
        decoder_options: Mapping[str, Any] | None = None,
        width: int = 256,
        layers: int = 3,
        subdivisions: int = 2,
        points: int = 8196,
        train_points: int = 2048,
        encoder_output_stride: int = 32,
    ) -> None:
        super().__init__()
        self.yes_or_no = multilabel or classes == 1
        self.subdivisions, self.points, self.train_points = subdivisions, points, train_points
        inner, options = find_decoder(decoder, decoder_options)
        if "encoder_output_stride" in options:
            options["encoder_output_stride"] = encoder_output_stride
        self.extra = int(min(inner.strides) > 4)  # levels that only the point head reads
        self.guess = inner(in_channels[self.extra :], classes, **options)
        channels = self.guess.project[0].out_channels if isinstance(self.guess, FPN) else in_channels[0]
        self.decide = PointHead(channels, classes, width, layers)

    @classmethod
    def strides_for(cls, depth: int, settings: Mapping[str, Any]) -> tuple[int, ...]:
        """Say which levels to read: those of the other decoder, and one of stride 4 if it has none so fine."""
        inner, options = find_decoder(settings["decoder"], settings["decoder_options"])
        if depth < getattr(inner, "least_depth", 3):
            raise SegnbError(f"encoder_depth={depth!r}: {settings['decoder']!r} takes {inner.least_depth} to 5.")
        if hasattr(inner, "strides_for"):
            return inner.strides_for(depth, options)
        strides = dict.fromkeys(min(stride, 2**depth) for stride in inner.strides)
        return tuple(strides) if min(strides) <= 4 else (4, *strides)

    @property
    def classify(self) -> nn.Module:
        """The last layer of the other decoder."""
        return self.guess.classify

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn features, fine to coarse, into logits (B, classes, H, W)."""
        (*_, coarse), _, details = self.look(features)
        return self.refine(coarse, details)

    def forward_all(self, features: list[Tensor]) -> Stages:
        """The coarse logits and the refined ones; points to learn from, and their logits."""
        stages, clues, details = self.look(features)
        points = choose_points(stages[-1], self.train_points, self.yes_or_no)
        logits = self.decide(read_between(details, points), read_between(stages[-1], points))
        refined = self.refine(stages[-1], details)
        return Stages([*stages, refined], {**clues, **dict(zip(POINT_CLUES, (points, logits), strict=True))})

    def own_loss(self, clues: dict[str, Tensor], labels: Tensor) -> Tensor:
        """Cross-entropy at the points, and what the other decoder adds to it."""
        loss = cross_entropy(clues["point_logits"].unsqueeze(3), labels_at(labels, clues["points"]))
        others = {name: clue for name, clue in clues.items() if name not in POINT_CLUES}
        return loss + self.guess.own_loss(others, labels) if others else loss

    def look(self, features: list[Tensor]) -> tuple[list[Tensor], dict[str, Tensor], Tensor]:
        """The other decoder's stages and clues, and the map (B, C, H/4, W/4) with the details."""
        levels = features[self.extra :]
        if isinstance(self.guess, FPN):
            pyramid = self.guess.pyramid(levels)
            return [self.guess.merge(pyramid)], {}, pyramid[0]
        if hasattr(self.guess, "forward_all"):
            return *self.guess.forward_all(levels), features[0]
        return [self.guess(levels)], {}, features[0]

    def refine(self, coarse: Tensor, details: Tensor) -> Tensor:
        """Double the logits (B, K, h, w) and replace those of unsure pixels, as often as asked."""
        logits = coarse
        for _ in range(self.subdivisions):
            logits = F.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)
            places, points = self.find_unsure(logits)
            decided = self.decide(read_between(details, points), read_between(coarse, points))
            places = places.unsqueeze(1).expand(-1, logits.shape[1], -1)
            logits = logits.flatten(2).scatter(2, places, decided.to(logits.dtype)).reshape(logits.shape)
        return logits

    def find_unsure(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Find the least sure pixels of (B, K, h, w): their places from 0 to h·w, (B, N), and their middles, (B, N, 2)."""
        rows, columns = logits.shape[-2:]
        count = torch.sym_min(self.points, rows * columns)
        places = uncertainty(logits, self.yes_or_no).flatten(1).topk(count, dim=1).indices
        row = places // columns
        column = places - row * columns  # a remainder of a size that varies cannot be exported
        return places, torch.stack([(column + 0.5) / columns, (row + 0.5) / rows], dim=2)


def usual_options(decoder_class: type[nn.Module]) -> dict[str, Any]:
    """Options of a decoder with their usual values; those that it must be told have none, which is `inspect.Parameter.empty`."""
    parameters = inspect.signature(decoder_class.__init__).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}


def can_be_refined(decoder_class: type[nn.Module]) -> bool:
    """Say whether a decoder makes coarse logits of nothing but an encoder's maps, and learns them from a loss on pixels."""
    coarse = bool(decoder_class.strides) and min(decoder_class.strides) >= 4
    special = any(getattr(decoder_class, name, False) for name in ("sees_picture", "learns_by_own_loss"))
    return coarse and not special and inspect.Parameter.empty not in usual_options(decoder_class).values()


def find_decoder(name: str, options: Mapping[str, Any] | None) -> tuple[type[nn.Module], dict[str, Any]]:
    """Look up the decoder to refine.

    Returns:
        Its class, and all its options with their values.

    Raises:
        SegnbError: it cannot be refined, or has no such option.
    """
    from segnb.decoders import DECODERS  # which lists this one too

    known = {arch: each for arch, each in DECODERS.items() if can_be_refined(each)}
    if name not in known:
        raise SegnbError(
            f"decoder={name!r} is none whose logits PointRend can refine. {nearest(str(name), known)} "
            f"It refines those of {', '.join(sorted(known))}."
        )
    given, usual = {} if options is None else options, usual_options(known[name])
    if not isinstance(given, Mapping):
        raise SegnbError(f"decoder_options={options!r}: give a dictionary of options of {name!r}.")
    for option in given:
        if option not in usual:
            raise SegnbError(f"decoder_options: {name!r} has no option {option!r}. {nearest(option, usual)}")
    return known[name], {**usual, **given}
