"""The masks of a COCO data set, drawn from outlines when they are read.

    polygons [[x1, y1, x2, y2, ...], ...] ─────────┐
    run lengths, column by column [5, 3, ...] ─────┼─ pycocotools ─▶ one bitmap for each thing ─▶ (H, W) labels
    the same, compressed to text "52X;" ───────────┘

Nothing in the file is trusted: the compiled library would walk wherever a polygon leads, and believe any count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from segnb.data.sources import LazySource
from segnb.draw import IGNORE
from segnb.errors import SegnbError


@dataclass(frozen=True, eq=False)
class CocoMask(LazySource):
    """The outlines of one picture, drawn when they are read.

    Attributes:
        title: see `LazySource`.
        name: see `LazySource`.
        size: height and width of the picture, as the file tells them.
        things: (label, annotation) of each thing, as the file lists them.
    """

    title: str
    name: str
    size: tuple[int, int]
    things: list[tuple[int, dict[str, Any]]]

    def read(self) -> np.ndarray:
        """Draw the things from large to small.

        Returns:
            (H, W) uint8: 0 for background, 255 for crowds.

        Raises:
            SegnbError: an outline is none.
        """
        return self._draw(self.things)

    def _draw(self, things: list[tuple[int, dict[str, Any]]]) -> np.ndarray:
        """Draw crowds, then the others from large to small: (H, W) uint8."""
        from pycocotools import mask as run_lengths

        labels = np.zeros(self.size, np.uint8)
        encoded = [(label, thing.get("iscrowd", 0) == 1, self._encode(thing)) for label, thing in things]
        for label, is_crowd, runs in sorted(
            encoded, key=lambda entry: (not entry[1], -int(run_lengths.area(entry[2])))
        ):
            labels[run_lengths.decode(runs).astype(bool)] = IGNORE if is_crowd else label
        return labels

    def _encode(self, thing: dict[str, Any]) -> dict[str, Any]:
        """Bring an outline of any kind to compressed run lengths of the picture's size."""
        from pycocotools import mask as run_lengths

        outline = thing["segmentation"]
        try:
            if isinstance(outline, list):
                polygons = [self._check_polygon(polygon) for polygon in outline]
                return run_lengths.merge(run_lengths.frPyObjects(polygons, *self.size))
            if tuple(outline["size"]) != self.size:
                raise ValueError(f"its size is {outline['size']}, that of the picture {list(self.size)}")
            counts = outline["counts"]
            counts = counts if isinstance(counts, list) else uncompress(counts)
            # The library trusts the counts: too few would leave a part of the picture as the memory happened to be.
            if sum(counts) != self.size[0] * self.size[1] or min(counts) < 0:
                raise ValueError(
                    f"its counts add up to {sum(counts)} pixels, the picture has {self.size[0] * self.size[1]}"
                )
            return run_lengths.frPyObjects({"size": list(self.size), "counts": counts}, *self.size)
        except Exception as error:  # a compiled library, given what someone wrote into a file
            reason = f"{type(error).__name__}: {error}"
            raise SegnbError(
                f"{self.title}: annotation {thing.get('id', '(without id)')} has no valid segmentation ({reason}). Correct it or "
                "take it out of the file."
            ) from error

    def _check_polygon(self, polygon: Any) -> list[float]:
        """Refuse what the library would misread: four numbers are a box to it, far points a long way to walk."""
        points = np.asarray(polygon, float)
        if points.ndim != 1 or points.size < 6 or points.size % 2:
            raise ValueError("a polygon is a list [x1, y1, x2, y2, x3, y3, ...] of at least three points")
        reach = 2 * np.tile(self.size[::-1], points.size // 2)
        if not (np.abs(points) <= reach + 1).all():
            raise ValueError("a polygon leads far out of the picture")
        return points.tolist()


@dataclass(frozen=True, eq=False)
class CocoPlanes(CocoMask):
    """The outlines of one picture as planes: what lies below another class is there, too.

    Attributes:
        classes: how many; labels run from 1 to this number.
    """

    classes: int

    def read(self) -> np.ndarray:
        """Draw each class on a plane of its own.

        Returns:
            (K, H, W) uint8: 1 where there is a thing of the class, 255 where there is only a crowd of it.

        Raises:
            SegnbError: an outline is none.
        """
        of_class = [[(1, thing) for label, thing in self.things if label == k + 1] for k in range(self.classes)]
        return np.stack([self._draw(things) for things in of_class])


def uncompress(text: str) -> list[int]:
    """Write out compressed run lengths, as ``rleFrString`` of the COCO API defines them.

    Every number is written in digits of five bits, the lowest first; a sixth bit says that more follow, and the highest
    bit of the last digit is the sign. From the fourth number on, it is the difference to the one before the last.

    Args:
        text: one character for each digit, its code being the digit + 48.

    Returns:
        Numbers of pixels without and with the thing in turn, column by column.

    Raises:
        ValueError: the text ends in the midst of a number, or has other characters.
    """
    counts: list[int] = []
    value = shift = 0
    for digit in (ord(character) - 48 for character in text):
        if not 0 <= digit < 64:
            raise ValueError("its counts have characters that are no digits")
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            value -= (digit & 16) << (shift - 4)  # the sign
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift or not counts:
        raise ValueError("its counts end in the midst of a number")
    return counts
