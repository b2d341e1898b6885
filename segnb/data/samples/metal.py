"""Brushed metal on a production line: nearly all of it is fine, and some pictures show no defect at all."""

from __future__ import annotations

import cv2
import numpy as np

from segnb.data.samples.canvas import Canvas, blur, fractal_noise, photograph

CLASSES = {"metal": (70, 75, 85), "scratch": (86, 180, 233), "pit": (230, 60, 60), "stain": (240, 200, 60)}
METAL, SCRATCH, PIT, STAIN = range(len(CLASSES))

REFERENCE = 128  # pixels: lengths below are for a picture whose shorter side is this long
FLAWLESS = 0.4  # share of pictures without any defect
MOST_DEFECTS = 3
SCRATCH_WIDTH, SCRATCH_LENGTH = (1.2, 2.0), (14, 34)
PIT_RADIUS, STAIN_RADIUS = (1.4, 2.8), (3.0, 5.0)
ALLOYS = [(0.62, 0.63, 0.65), (0.55, 0.57, 0.60), (0.68, 0.62, 0.52), (0.64, 0.66, 0.66)]


def draw(
    size: tuple[int, int], layout: np.random.Generator, grain: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one plate.

    Args:
        size: (height, width) in pixels.
        layout: decides the light and the defects.
        grain: draws texture and noise.

    Returns:
        The picture, uint8 (H, W, 3), and its labels, uint8 (H, W), positions in CLASSES.
    """
    canvas = Canvas(size)
    canvas.colours[:] = 1.0  # colours are what a spot reflects, compared with clean metal
    unit = min(size) / REFERENCE
    alloy = np.asarray(ALLOYS[layout.integers(len(ALLOYS))], np.float32)
    surface = brushed(size, unit, layout, grain) * sheen(size, layout)
    if layout.random() > FLAWLESS:
        for _ in range(layout.integers(1, MOST_DEFECTS + 1)):
            x, y = layout.uniform(0.08, 0.92, 2) * size[::-1]
            paint = (paint_scratch, paint_pit, paint_stain)[layout.integers(3)]
            paint(canvas, (x, y), unit, layout)
    reflected, labels = canvas.finish()
    picture = blur(reflected, 0.35 * unit) * surface[..., None] * alloy
    return photograph(picture, grain, layout.uniform(0.01, 0.025), 0.25), labels


def brushed(size: tuple[int, int], unit: float, layout: np.random.Generator, grain: np.random.Generator) -> np.ndarray:
    """Give fine parallel lines, a little tilted: brightness about 1, float32 (H, W)."""
    height, width = size
    side = int(1.5 * max(size)) + 2  # large enough to be turned and still cover the picture
    lines = fractal_noise((side, side), (3 * unit, 90 * unit), grain, octaves=3)
    hair = blur(grain.standard_normal((side, side), np.float32), 0.1)
    hair = cv2.blur(hair, (max(int(24 * unit), 1), 1))
    texture = 0.05 * lines + 0.05 * hair / hair.std()
    tilt = layout.normal(0, 4) + (90 if layout.random() < 0.3 else 0)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), tilt, 1.0)
    turned = cv2.warpAffine(texture, turn, (side, side), borderMode=cv2.BORDER_REFLECT)
    top, left = (side - height) // 2, (side - width) // 2
    return 1 + turned[top : top + height, left : left + width]


def sheen(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Give the reflection of a lamp: a soft bright band across the plate, float32 (H, W)."""
    height, width = size
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    turn, place = rng.uniform(0, np.pi), rng.uniform(-0.6, 0.6)
    across = np.cos(turn) * x + np.sin(turn) * y - place
    return rng.uniform(0.62, 0.85) + rng.uniform(0.25, 0.5) * np.exp(-((across / rng.uniform(0.4, 0.8)) ** 2))


def paint_scratch(canvas: Canvas, place: tuple[float, float], unit: float, rng: np.random.Generator) -> None:
    """Paint a slightly bent groove: one flank bright, the other dark."""
    length, width = rng.uniform(*SCRATCH_LENGTH) * unit, rng.uniform(*SCRATCH_WIDTH) * unit
    heading, bend = rng.uniform(0, np.pi), rng.normal(0, 0.35)
    steps = np.linspace(-0.5, 0.5, 9)
    turns = heading + bend * steps
    path = np.asarray(place) + length * steps[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    bright, dark = rng.uniform(1.35, 1.6), rng.uniform(0.45, 0.6)
    flank = np.array([-np.sin(heading), np.cos(heading)]) * width / 4
    canvas.line(path, width, (bright,) * 3, SCRATCH)
    canvas.line(path + flank, width / 2, (dark,) * 3, SCRATCH)


def paint_pit(canvas: Canvas, place: tuple[float, float], unit: float, rng: np.random.Generator) -> None:
    """Paint a few small dark holes close together, each with a bright lip."""
    for _ in range(rng.integers(1, 4)):
        radius = rng.uniform(*PIT_RADIUS) * unit
        x, y = np.asarray(place) + rng.normal(0, 3.5 * unit, 2)
        radii = radius, radius * rng.uniform(0.7, 1.0)
        canvas.ellipse((x + 0.3 * radius, y + 0.3 * radius), radii, (1.4,) * 3, PIT)
        canvas.ellipse((x, y), radii, (rng.uniform(0.2, 0.45),) * 3, PIT)


def paint_stain(canvas: Canvas, place: tuple[float, float], unit: float, rng: np.random.Generator) -> None:
    """Paint a brownish spot with an uneven, darker rim."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    waves = sum(rng.uniform(0, 0.18) * np.cos(order * angles + rng.uniform(0, 6)) for order in (2, 3, 5))
    rim = (
        np.stack([np.cos(angles), np.sin(angles)], axis=1) * ((1 + waves) * rng.uniform(*STAIN_RADIUS) * unit)[:, None]
    )
    strength = rng.uniform(0.75, 1.0)
    canvas.polygon(np.asarray(place) + rim, np.array((0.62, 0.54, 0.44)) / strength, STAIN)
    canvas.polygon(np.asarray(place) + rim * 0.75, np.array((0.74, 0.66, 0.54)) / strength, STAIN)
