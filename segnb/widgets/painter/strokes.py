"""Which pixels a stroke covers: whole-number rules, so that the browser and Python agree on every pixel.

    brush     discs of a diameter along the lines between the points          #    ##   ###   ·##·
    polygon   even-odd rule for pixel centres, and the outline itself              ##   ###   ####
    fill      the connected area of one label, of similar colours, or both              ###   ####
                                                                    size:     1    2     3    ·##· 4
``strokes.js`` holds the same rules for the browser; tests/browser/test_painter_browser.py compares the two.

Sources: lines by rounding the ideal one (Bresenham, IBM Systems Journal 1965, https://doi.org/10.1147/sj.41.0025); the
even-odd rule as in Foley et al., Computer Graphics: Principles and Practice, section 3.5.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import ndimage

from segnb.errors import SegnbError


def checked_points(points: Any, shape: tuple[int, int]) -> np.ndarray:
    """Refuse what is no list of pixels of the picture.

    Args:
        points: pairs (x, y) of whole numbers.
        shape: (H, W) of the picture.

    Returns:
        (n, 2) int64.

    Raises:
        SegnbError: they are something else, or a point lies outside the picture.
    """
    found = np.asarray(points)
    if found.ndim != 2 or found.shape[1] != 2 or found.dtype.kind not in "iuf" or (found != np.rint(found)).any():
        raise SegnbError(
            f"points={points!r}: give pairs (x, y) of whole pixels, such as [(10, 20), (30, 20)]; x counts from the left"
        )
    outside = ((found < 0) | (found >= shape[::-1])).any(axis=1)
    if outside.any():
        x, y = found[outside][0]
        raise SegnbError(
            f"The point ({x:g}, {y:g}) lies outside the picture: x runs from 0 to {shape[1] - 1}, y from 0 to {shape[0] - 1}"
        )
    return found.astype(np.int64)


def line(points: np.ndarray) -> np.ndarray:
    """Walk along the points from pixel to pixel.

    Args:
        points: (n, 2) int64, x and y.

    Returns:
        (m, 2) int64: every pixel on the way, neighbours by edge or corner; some may come twice.
    """
    parts = [points[:1]]
    for start, end in pairwise(points):
        steps = max(1, int(np.abs(end - start).max()))
        walked = 2 * np.arange(steps + 1)[:, None] * (end - start)
        parts.append(start + (walked + steps) // (2 * steps))  # rounded, halves up
    return np.concatenate(parts)


def disc(size: int) -> Iterator[tuple[int, int, int]]:
    """List the rows of a disc: pixels whose centres lie within size / 2 of its middle.

    The middle is a pixel's centre if the size is odd, and that pixel's upper left corner if it is even.

    Args:
        size: the diameter in pixels, from 1.

    Yields:
        (dy, first, last): the row, counted from the middle pixel, and its pixels first, ..., last - 1.
    """
    even = 1 - size % 2
    for dy in range(-(size // 2), size // 2 + 1):
        left = size * size - (2 * dy + even) ** 2
        if left >= even:
            reach = math.isqrt(left)
            yield dy, -((reach + even) // 2), (reach - even) // 2 + 1


def brush(shape: tuple[int, int], points: np.ndarray, size: int) -> np.ndarray:
    """Draw discs along a line.

    Args:
        shape: (H, W).
        points: (n, 2) int64, x and y.
        size: the diameter in pixels, from 1.

    Returns:
        (H, W) bool, True where the stroke covers the picture.
    """
    height, width = shape
    x, y = np.unique(line(points), axis=0).T
    edges = np.zeros((height, width + 1), np.int32)  # +1 where a run of pixels begins, -1 behind its end
    for dy, first, last in disc(size):
        seen = (y + dy >= 0) & (y + dy < height)
        rows, columns = y[seen] + dy, x[seen]
        np.add.at(edges, (rows, (columns + first).clip(0, width)), 1)
        np.add.at(edges, (rows, (columns + last).clip(0, width)), -1)
    return edges.cumsum(axis=1)[:, :-1] > 0


def polygon(shape: tuple[int, int], points: np.ndarray) -> np.ndarray:
    """Fill a polygon by the even-odd rule; its outline belongs to it.

    Args:
        shape: (H, W).
        points: (n, 2) int64 corners, x and y; the last is joined to the first.

    Returns:
        (H, W) bool.
    """
    height, width = shape
    turns = np.zeros((height, width + 1), bool)  # where a row crosses the outline, from outside to inside or back
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        rows = np.arange(min(y0, y1), max(y0, y1))  # the lower end belongs to the next edge
        if len(rows):
            turns[rows, x0 - ((y0 - rows) * (x1 - x0)) // (y1 - y0)] ^= True  # the first centre behind the crossing
    inside = np.logical_xor.accumulate(turns, axis=1)[:, :-1]
    x, y = line(np.concatenate([points, points[:1]])).T
    inside[y, x] = True
    return inside


def flood(
    labels: np.ndarray, image: np.ndarray, point: tuple[int, int], within: str = "label", tolerance: int = 0
) -> np.ndarray:
    """Find the area that a fill covers.

    Args:
        labels: (H, W) uint8.
        image: (H, W, C) uint8.
        point: (x, y), where the fill starts.
        within: "label" stays in the area of the label found there; "colour" where no channel differs by more than the
            tolerance from the colour found there; "both" obeys both.
        tolerance: levels of 0 to 255.

    Returns:
        (H, W) bool: what is connected with the point by edges of pixels.
    """
    x, y = point
    alike = np.ones(labels.shape, bool)
    if within != "colour":
        alike &= labels == labels[y, x]
    if within != "label":
        colour = image[y, x].astype(np.int16)
        alike &= (np.abs(image - colour) <= tolerance).all(axis=2)
    pieces, _ = ndimage.label(alike)
    return pieces == pieces[y, x]
