"""Numbers by which pictures are filtered and sorted: pixels of each class, sizes of objects, share of errors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from segnb import draw

OBJECTS = 1000  # sizes kept of one class in one picture: a mask of noise has hundreds of thousands
LONGEST = 2048  # pixels of the longer side; larger masks are thinned before their objects are measured


@dataclass(frozen=True)
class Facts:
    """What a picture is filtered and sorted by.

    Attributes:
        pixels: of each label that occurs, without ignored ones; of the truth, or of the prediction if there is no truth.
        objects: pixels of each object (equal labels connected by edge or corner) of each label, ascending.
        wrong: share of the counted pixels, 0 to 1, whose prediction differs from the truth; None without both.
        problem: why the picture cannot be read; then nothing else is known.
    """

    pixels: dict[int, int] = field(default_factory=dict)
    objects: dict[int, list[int]] = field(default_factory=dict)
    wrong: float | None = None
    problem: str = ""

    def share(self, labels: Iterable[int]) -> float:
        """Tell how much of the counted area some labels cover, 0 to 1."""
        counted = sum(self.pixels.values())
        return sum(self.pixels.get(label, 0) for label in labels) / counted if counted else 0.0

    def sizes(self, labels: Iterable[int]) -> list[int]:
        """List the pixels of the objects of some labels."""
        return [size for label in labels for size in self.objects.get(label, ())]


def measure(truth: np.ndarray | None, prediction: np.ndarray | None) -> Facts:
    """Count pixels and objects.

    Args:
        truth: (H, W) uint8, 255 is ignored; or None.
        prediction: the same.

    Returns:
        The facts.
    """
    labels = prediction if truth is None else truth
    if labels is None:
        return Facts()
    counts = count_pixels(labels)
    wrong = None
    if truth is not None and prediction is not None and counts.any():
        wrong = float(((truth != prediction) & (truth != draw.IGNORE)).sum() / counts.sum())
    pixels = {int(label): int(counts[label]) for label in np.flatnonzero(counts)}
    return Facts(pixels, object_sizes(labels), wrong)


def count_pixels(labels: np.ndarray) -> np.ndarray:
    """Count the pixels of each label.

    Args:
        labels: (H, W) uint8.

    Returns:
        (255,) integers; ignored pixels are left out.
    """
    rows = max(1, 2**20 // max(1, labels.shape[1]))  # bincount makes eight bytes of each pixel: go block by block
    blocks = (labels[top : top + rows].ravel() for top in range(0, labels.shape[0], rows))
    return sum((np.bincount(block, minlength=256) for block in blocks), np.zeros(256, np.int64))[: draw.IGNORE]


def object_sizes(labels: np.ndarray) -> dict[int, list[int]]:
    """Measure the objects: pixels of one label that are connected by an edge or a corner.

    Args:
        labels: (H, W) uint8, 255 is ignored. Sizes are estimates where a side is longer than `LONGEST`.

    Returns:
        Label -> pixels of each object, ascending; the smallest and largest if there are more than `OBJECTS`.
    """
    thinned = thin(labels, LONGEST)
    scale = labels.size / thinned.size
    sizes = {}
    for label, box in enumerate(ndimage.find_objects(thinned.astype(np.int16) + 1)):
        if box is None or label == draw.IGNORE:
            continue
        areas, _ = ndimage.label(thinned[box] == label, structure=np.ones((3, 3)))
        found = [round(size * scale) for size in np.sort(np.bincount(areas.ravel())[1:]).tolist()]
        sizes[label] = found if len(found) <= OBJECTS else found[: OBJECTS // 2] + found[-OBJECTS // 2 :]
    return sizes


def thin(labels: np.ndarray, longest: int) -> np.ndarray:
    """Keep evenly spread rows and columns, so that a mask gets smaller and no label is invented.

    Args:
        labels: (H, W).
        longest: pixels of the longer side, at most.

    Returns:
        (h, w), or the mask itself if it is small enough.
    """
    height, width = labels.shape
    scale = longest / max(height, width)
    if scale >= 1:
        return labels
    rows, columns = (
        ((np.arange(max(1, round(side * scale))) + 0.5) / max(1, round(side * scale)) * side).astype(int)
        for side in (height, width)
    )
    return labels[rows[:, None], columns[None, :]]
