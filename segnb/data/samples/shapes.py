"""The toy: discs, squares and triangles on a noisy coloured ground, for a first model that trains in seconds."""

from __future__ import annotations

import numpy as np

from segnb.data.samples.canvas import OVERSAMPLING, Canvas, fractal_noise, photograph

CLASSES = {"background": (60, 60, 70), "circle": (230, 159, 0), "square": (86, 180, 233), "triangle": (204, 80, 150)}
BACKGROUND, CIRCLE, SQUARE, TRIANGLE = range(len(CLASSES))

CORNERS = {CIRCLE: 48, SQUARE: 4, TRIANGLE: 3}
SHAPES_PER_PICTURE = (3, 7)
RADIUS = (0.10, 0.20)  # shares of the shorter side
LEAST_CONTRAST = 0.35  # a shape's colour keeps this distance from the ground's


def draw(
    size: tuple[int, int], layout: np.random.Generator, grain: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a few shapes; later ones hide earlier ones.

    Args:
        size: (height, width) in pixels.
        layout: decides colours and places.
        grain: draws texture and noise.

    Returns:
        The picture, uint8 (H, W, 3), and its labels, uint8 (H, W), positions in CLASSES.
    """
    canvas = Canvas(size)
    ground = layout.uniform(0.15, 0.85, 3)
    lumps = fractal_noise(canvas.labels.shape, min(size) * OVERSAMPLING / 2, grain)
    canvas.colours[:] = ground * (1 + 0.12 * lumps[..., None])
    for _ in range(layout.integers(*SHAPES_PER_PICTURE)):
        kind = int(layout.choice(list(CORNERS)))
        turn = layout.uniform(0, 2 * np.pi)
        angles = turn + np.arange(CORNERS[kind]) * 2 * np.pi / CORNERS[kind]
        centre = layout.uniform(0.1, 0.9, 2) * size[::-1]
        radius = layout.uniform(*RADIUS) * min(size)
        outline = centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        canvas.polygon(outline, distinct_colour(ground, layout), kind, gradient=layout.uniform(0, 0.2))
    picture, labels = canvas.finish()
    return photograph(picture, grain, layout.uniform(0.02, 0.05)), labels


def distinct_colour(ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Choose a colour that can be told from the ground."""
    while True:
        colour = rng.uniform(0.1, 0.95, 3)
        if np.linalg.norm(colour - ground) > LEAST_CONTRAST:
            return colour
