"""Draws of a pipeline on one picture.

    picture, mask ─▶ pipeline, dice seeded ─▶ draw 1: picture, mask, labels lost and new
                                          ─▶ draw 2: the step that failed, and why
                                          ─▶ ...     as many as there is time for

A draw goes the way of a data set: `apply_transform`, at the picture's own size. Only what is shown is reduced.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from PIL import Image

from segnb.draw import IGNORE, as_rgb
from segnb.errors import SegnbError
from segnb.widgets import pictures
from segnb.widgets.augmenter.pipeline import assemble
from segnb.widgets.augmenter.steps import Step

SHOWN = 256  # pixels of a shown picture's longer side
PATIENCE = 3.0  # seconds for all draws; what takes longer is drawn less often, and from a smaller picture
TRIAL = 128  # pixels of the longer side of the picture on which a slow pipeline is found out


class Picture(NamedTuple):
    """A picture with its mask: (H, W, C) and (H, W) uint8."""

    name: str
    image: np.ndarray
    labels: np.ndarray

    def every(self, stride: int) -> Picture:
        """Keep every so many rows and columns."""
        return Picture(self.name, self.image[::stride, ::stride], self.labels[::stride, ::stride])


@dataclass
class Draw:
    """One draw: the picture and mask to show, or the reason why there are none.

    Attributes:
        image: (h, w, 3) uint8, reduced.
        labels: (h, w) uint8, reduced.
        size: (height, width) that came out.
        vanished: labels of the mask that are not in the draw.
        new: labels of the draw that are not in the mask.
        problem: why the pipeline failed.
        place: the step that failed, if one did.
    """

    image: np.ndarray | None = None
    labels: np.ndarray | None = None
    size: tuple[int, int] = (0, 0)
    vanished: list[int] = field(default_factory=list)
    new: list[int] = field(default_factory=list)
    problem: str = ""
    place: int | None = None

    def payload(self, steps: Sequence[Step] = ()) -> dict[str, object]:
        """Encode the draw for the browser.

        Args:
            steps: of the pipeline, to name the one that failed.

        Returns:
            ``photo`` and ``labels`` as base64 text, ``size``, ``vanished``, ``problem`` and ``step``.
        """
        shown = self.image is not None
        return {
            "photo": pictures.photo(self.image) if shown else "",
            "labels": pictures.label_map(self.labels) if shown else "",
            "size": list(self.size),
            "vanished": self.vanished,
            "problem": self.problem,
            "step": "" if self.place is None else steps[self.place]["name"],
        }


def undrawn(picture: Picture) -> Draw:
    """Show a picture as it is.

    Args:
        picture: to show.

    Returns:
        The draw of an empty pipeline.
    """
    return Draw(*_reduce(as_rgb(picture.image), picture.labels), size=picture.labels.shape)


@dataclass
class Series:
    """Several draws of one picture.

    Attributes:
        draws: as many as there was time for.
        wanted: how many were wanted.
        seconds: for each.
        stride: how much the picture was reduced before the transforms; 1 is its own size.
    """

    draws: list[Draw]
    wanted: int
    seconds: float
    stride: int

    def describe(self) -> str:
        """Say how many draws there are, in which time, of which part of the picture's size."""
        made = "1 draw" if len(self.draws) == 1 else f"{len(self.draws)} draws"
        if len(self.draws) < self.wanted:
            made = f"{len(self.draws)} of {self.wanted} draws, because they are slow"
        spent = f"{self.seconds:.1f} s" if self.seconds >= 1 else f"{max(1, round(self.seconds * 1000))} ms"
        reduced = f"  ·  at 1/{self.stride} of the size, because the pipeline is slow" if self.stride > 1 else ""
        return f"{made}  ·  {spent} each{reduced}"


def draw_many(steps: Sequence[Step], picture: Picture, seeds: Sequence[int]) -> Series:
    """Apply a pipeline several times to one picture, within `PATIENCE` seconds but at least once.

    Args:
        steps: checked ones.
        picture: to draw.
        seeds: of the dice, one for each draw.

    Returns:
        The draws.
    """
    stride = _affordable_stride(steps, picture)
    reduced = picture.every(stride)
    draws: list[Draw] = []
    began = time.perf_counter()
    for seed in seeds:
        draws.append(draw_once(steps, reduced, seed))
        seconds = time.perf_counter() - began
        if seconds > PATIENCE:
            break
    return Series(draws, len(seeds), seconds / len(draws), stride)


def draw_once(steps: Sequence[Step], picture: Picture, seed: int) -> Draw:
    """Apply a pipeline once, as a data set does.

    Args:
        steps: checked ones.
        picture: to draw.
        seed: of the dice.

    Returns:
        The draw.
    """
    from segnb.data.transforms import apply_transform, seed_transform

    pipeline, places = assemble(steps)
    seed_transform(pipeline, seed)
    try:
        tensor, mask = apply_transform(pipeline, picture.image.copy(), picture.labels.copy(), picture.name)
    except SegnbError as error:
        return Draw(problem=_short(error), place=_failing_place(error, places))
    drawn = mask.numpy().astype(np.uint8)
    before, after = present(picture.labels), present(drawn)
    shown = _reduce(as_rgb(tensor.permute(1, 2, 0).contiguous().numpy()), drawn)
    return Draw(*shown, drawn.shape, sorted(before - after), sorted(after - before))


def present(labels: np.ndarray) -> set[int]:
    """List the labels of a mask.

    Args:
        labels: (H, W) uint8.

    Returns:
        Those that count, which 255 does not.
    """
    return set(np.flatnonzero(np.bincount(labels.ravel(), minlength=IGNORE + 1)[:IGNORE]).tolist())


def _affordable_stride(steps: Sequence[Step], picture: Picture) -> int:
    """Choose how much to reduce the picture before the transforms: by as little as `PATIENCE` allows for a draw."""
    longest = max(picture.labels.shape)
    stride, small = -(-longest // pictures.LONGEST), -(-longest // TRIAL)
    if small <= 2:
        return stride
    always = [{**step, "values": {**step["values"], "p": 1.0}} for step in steps]
    times, sizes = [], []
    for reduced in (picture.every(2 * small), picture.every(small), picture.every(2 * small)):
        began = time.perf_counter()
        draw_once(always, reduced, 0)
        times.append(time.perf_counter() - began)  # the first is not counted: libraries wake up
        sizes.append(reduced.labels.size)
    by_pixel = max(0.0, times[1] - times[2]) / (sizes[1] - sizes[2])
    seconds = by_pixel * picture.labels.size
    return max(stride, round((seconds / PATIENCE) ** 0.5)) if seconds > 4 * PATIENCE else stride


def _reduce(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring the longer side down to `SHOWN` pixels, the labels with nearest."""
    scale = SHOWN / max(labels.shape)
    if scale >= 1:
        return image, labels
    height, width = (max(1, round(side * scale)) for side in labels.shape)
    small = Image.fromarray(np.ascontiguousarray(image)).resize((width, height), Image.Resampling.BOX)
    return np.asarray(small), np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))


def _failing_place(error: SegnbError, places: dict[int, int]) -> int | None:
    """Find the innermost step among the calls that led to an error."""
    cause = error.__cause__ or error
    callers = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(cause.__traceback__)]
    return next((places[id(caller)] for caller in reversed(callers) if id(caller) in places), None)


def _short(error: SegnbError) -> str:
    """Write an error in one line: the library's own words where the library raised it."""
    cause = error.__cause__
    text = " ".join((f"{type(cause).__name__}: {cause}" if cause is not None else str(error)).split())
    return text if len(text) <= 240 else text[:239] + "…"
