"""What every scene paints with: a fine canvas, fractal noise, and a camera that spoils the picture a little.

A scene is painted OVERSAMPLING times finer than it will be, colours and labels in the same strokes. At the end the
colours are averaged, so edges look soft, and the labels are read at the centre of each pixel, so they stay exact:

    colours (3H, 3W, 3) ── average of 3×3 ──▶ picture (H, W, 3)
    labels  (3H, 3W)    ── the middle of 3×3 ▶ mask    (H, W)

Points are (x, y) in pixels of the finished picture; the first pixel covers 0 to 1. Colours are 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

OVERSAMPLING = 3
SUBPIXEL_BITS = 4  # OpenCV takes polygon corners as fixed-point numbers with this many binary places
CIRCLE_CORNERS = 32

Colour = Sequence[float] | np.ndarray
Points = Sequence[tuple[float, float]] | np.ndarray
Window = tuple[slice, slice]


class Canvas:
    """Colours and labels that are painted together.

    Args:
        size: (height, width) of the finished picture, in pixels.

    Attributes:
        colours: float32 (3H, 3W, 3), 0 black to 1 white.
        labels: uint8 (3H, 3W).
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        fine = size[0] * OVERSAMPLING, size[1] * OVERSAMPLING
        self.colours = np.zeros((*fine, 3), np.float32)
        self.labels = np.zeros(fine, np.uint8)

    def window(self, left: float, top: float, right: float, bottom: float) -> Window:
        """Give the part of the canvas inside a rectangle, clipped to the canvas; it may be empty."""
        height, width = self.labels.shape
        columns = np.clip((left * OVERSAMPLING - 1, right * OVERSAMPLING + 1), 0, width).astype(int)
        rows = np.clip((top * OVERSAMPLING - 1, bottom * OVERSAMPLING + 1), 0, height).astype(int)
        return slice(rows[0], rows[1]), slice(columns[0], columns[1])

    def everything(self) -> Window:
        """Give the whole canvas as a window."""
        return self.window(0, 0, self.size[1], self.size[0])

    def grid(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Give x (1, columns) and y (rows, 1) of the canvas dots in a window."""
        rows, columns = window
        x = (np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5) / OVERSAMPLING
        y = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) / OVERSAMPLING
        return x[None, :], y[:, None]

    def paint(self, window: Window, where: np.ndarray, colour: Colour, label: int | None = None) -> None:
        """Paint one colour, or an array of colours, where a bool array is true; label None leaves the labels."""
        colour = np.broadcast_to(np.asarray(colour, np.float32), (*where.shape, 3))
        self.colours[window][where] = colour[where]
        if label is not None:
            self.labels[window][where] = label

    def polygon(self, points: Points, colour: Colour, label: int | None = None, gradient: float = 0.0) -> None:
        """Fill a polygon; gradient 0.2 makes its top 20 % brighter and its bottom 20 % darker."""
        points = np.asarray(points, np.float64)
        (left, top), (right, bottom) = points.min(0), points.max(0)
        window = self.window(left - 1, top - 1, right + 1, bottom + 1)
        where = np.zeros(self.labels[window].shape, np.uint8)
        if where.size == 0:
            return
        origin = (window[1].start, window[0].start)
        fill_polygon(where, points * OVERSAMPLING - origin)
        y = self.grid(window)[1]
        fade = 1 + gradient * (1 - 2 * (y - top) / max(bottom - top, 1e-3))
        self.paint(window, where > 0, np.asarray(colour, np.float32) * fade[..., None], label)

    def line(self, points: Points, width: float, colour: Colour, label: int | None = None) -> None:
        """Draw connected straight strokes of a width in pixels, with round joints."""
        points = np.asarray(points, np.float64)
        for start, end in pairwise(points):
            along = end - start
            across = np.array([-along[1], along[0]]) / max(np.hypot(*along), 1e-6) * width / 2
            self.polygon([start + across, end + across, end - across, start - across], colour, label)
        for joint in points[1:-1]:
            self.ellipse(joint, (width / 2, width / 2), colour, label)

    def ellipse(
        self, centre: Points, radii: tuple[float, float], colour: Colour, label: int | None = None, gradient: float = 0
    ) -> None:
        """Fill an upright ellipse of radii (horizontal, vertical) in pixels."""
        self.polygon(ellipse_points(centre, radii), colour, label, gradient)

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the picture, float32 (H, W, 3), and its labels, uint8 (H, W)."""
        height, width = self.size
        picture = cv2.resize(self.colours, (width, height), interpolation=cv2.INTER_AREA)
        middle = OVERSAMPLING // 2
        return picture, self.labels[middle::OVERSAMPLING, middle::OVERSAMPLING].copy()


def fill_polygon(where: np.ndarray, points: np.ndarray, value: int = 1) -> None:
    """Fill a polygon in a uint8 array, its (x, y) corners in dots of that array."""
    fixed = np.round((points - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(where, [fixed], value, lineType=cv2.LINE_8, shift=SUBPIXEL_BITS)


def ellipse_points(centre: Points, radii: tuple[float, float]) -> np.ndarray:
    """Give the corners (CIRCLE_CORNERS, 2) of a polygon that looks like an ellipse."""
    angles = np.linspace(0, 2 * np.pi, CIRCLE_CORNERS, endpoint=False)
    return np.asarray(centre) + np.stack([np.cos(angles) * radii[0], np.sin(angles) * radii[1]], axis=1)


def fractal_noise(
    shape: tuple[int, int], cell: float | tuple[float, float], rng: np.random.Generator, octaves: int = 4
) -> np.ndarray:
    """Draw clouds: smooth random values, then finer and fainter ones on top.

    Args:
        shape: (height, width) of the result.
        cell: size of the largest lumps, in dots; a pair is (vertical, horizontal).
        rng: where the values come from.
        octaves: how many layers, each twice as fine and 0.55 times as strong.

    Returns:
        float32 (H, W) with mean 0 and standard deviation 1.
    """
    cells = np.broadcast_to(np.asarray(cell, np.float64), 2)
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        coarse = [int(length / max(size / 2**octave, 1)) + 2 for length, size in zip(shape, cells, strict=True)]
        lumps = rng.standard_normal(coarse, np.float32)
        total += 0.55**octave * cv2.resize(lumps, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return (total - total.mean()) / (total.std() + 1e-6)


def blur(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Blur with a Gaussian of this many dots; below a tenth of a dot nothing happens."""
    return picture if sigma < 0.1 else cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def mix(first: Colour | np.ndarray, second: Colour | np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """Blend from the first (share 0) to the second (share 1)."""
    return np.asarray(first, np.float32) * (1 - share) + np.asarray(second, np.float32) * share


def photograph(picture: np.ndarray, grain: np.random.Generator, noise: float, vignette: float = 0.0) -> np.ndarray:
    """Darken the corners, add sensor noise, and round to uint8.

    Args:
        picture: float32 (H, W) or (H, W, 3), 0 to 1.
        grain: where the noise comes from.
        noise: standard deviation of the noise at mid grey; bright places have more, as photons do.
        vignette: how much light the corners lose, 0 to 1.

    Returns:
        uint8 of the same shape.
    """
    height, width = picture.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    fall = 1 - vignette * (x**2 + y**2) / 2
    picture = picture * (fall if picture.ndim == 2 else fall[..., None])
    strength = noise * np.sqrt(np.clip(picture, 0, 1) + 0.2) / np.sqrt(0.7)
    picture = picture + strength * grain.standard_normal(picture.shape, np.float32)
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
