"""Cells under a fluorescence microscope: stained bodies with blue nuclei that touch, blur and drown in noise.

The hard part is the third class: the thin border where two cells touch, which keeps them countable.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from segnb.data.samples.canvas import OVERSAMPLING, Canvas, blur, fractal_noise, photograph

CLASSES = {"background": (20, 20, 40), "cell": (0, 158, 115), "border": (240, 228, 66)}
BACKGROUND, CELL, BORDER = range(len(CLASSES))

REFERENCE = 128  # pixels: lengths below are for a picture whose shorter side is this long
RADIUS = (8.0, 13.0)
CELLS_PER_PICTURE = (20, 38)
OVERLAP = 0.72  # neighbours keep this share of their radii as distance, so they are pressed together
BORDER_REACH = 1.2
NUCLEUS_BLUE = (0.25, 0.42, 1.0)
STAINS = [(0.12, 0.95, 0.30), (0.95, 0.25, 0.15), (0.85, 0.75, 0.15), (0.10, 0.80, 0.75)]


@dataclass(frozen=True)
class Cell:
    """A wobbly disc.

    Attributes:
        x: middle, pixels.
        y: middle, pixels.
        radius: pixels.
        waves: strength and phase of the outline's waves, ((a2, p2), (a3, p3), ...).
        brightness: of the body.
        sharp: whether it lies in focus.
    """

    x: float
    y: float
    radius: float
    waves: tuple[tuple[float, float], ...]
    brightness: float
    sharp: bool


def draw(
    size: tuple[int, int], layout: np.random.Generator, grain: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one field of view.

    Args:
        size: (height, width) in pixels.
        layout: decides which cells lie where.
        grain: draws texture and noise.

    Returns:
        The picture, uint8 (H, W, 3), and its labels, uint8 (H, W), positions in CLASSES.
    """
    canvas = Canvas(size)
    unit = min(size) / REFERENCE
    cells = plan_cells(size, unit, layout)
    owner, depth = share_out(canvas, cells)
    bodies, nuclei = stain(cells, owner, depth, unit * OVERSAMPLING, grain)
    colour = np.asarray(STAINS[layout.integers(len(STAINS))], np.float32) * layout.uniform(0.7, 1.15)
    canvas.colours[:] = bodies[..., None] * colour + nuclei[..., None] * np.asarray(NUCLEUS_BLUE, np.float32)
    canvas.colours += background(canvas, layout, grain)[..., None] * (0.5 * colour + 0.12)

    picture, _ = canvas.finish()
    middle = OVERSAMPLING // 2
    labels = label(owner[middle::OVERSAMPLING, middle::OVERSAMPLING], unit)
    return photograph(blur(picture, 0.5 * unit), grain, layout.uniform(0.03, 0.07), 0.25), labels


def plan_cells(size: tuple[int, int], unit: float, rng: np.random.Generator) -> list[Cell]:
    """Throw cells near a few clusters and keep those that do not sit on an earlier one."""
    height, width = size
    area = height * width / min(size) ** 2
    wanted = int(rng.integers(*CELLS_PER_PICTURE) * area)
    clusters = rng.random((max(int(5 * area), 1), 2)) * (width, height)
    cells: list[Cell] = []
    for _ in range(wanted * 6):
        x, y = clusters[rng.integers(len(clusters))] + rng.normal(0, 26 * unit, 2)
        radius = rng.uniform(*RADIUS) * unit
        waves = tuple((rng.uniform(0, 0.16 / order**0.5), rng.uniform(0, 2 * np.pi)) for order in (2, 3, 4))
        cell = Cell(x, y, radius, waves, rng.uniform(0.35, 1.0), bool(rng.random() < 0.72))
        crowded = any(np.hypot(x - other.x, y - other.y) < OVERLAP * (radius + other.radius) for other in cells)
        if not crowded and len(cells) < wanted:
            cells.append(cell)
    return cells


def share_out(canvas: Canvas, cells: list[Cell]) -> tuple[np.ndarray, np.ndarray]:
    """Give each dot to the cell it lies deepest in.

    Returns:
        The owner, uint16 (3H, 3W), 0 = nobody, k = cells[k - 1]; and the depth, float32: 1 in the middle, 0 at the rim.
    """
    owner = np.zeros(canvas.labels.shape, np.uint16)
    depth = np.zeros(canvas.labels.shape, np.float32)
    for number, cell in enumerate(cells, start=1):
        reach = 1.4 * cell.radius
        window = canvas.window(cell.x - reach, cell.y - reach, cell.x + reach, cell.y + reach)
        x, y = canvas.grid(window)
        angle = np.arctan2(y - cell.y, x - cell.x)
        rim = 1 + sum(
            strength * np.cos(order * angle + phase) for order, (strength, phase) in enumerate(cell.waves, start=2)
        )
        inside = 1 - np.hypot(x - cell.x, y - cell.y) / (cell.radius * rim)
        deeper = inside > depth[window]
        depth[window][deeper] = inside[deeper]
        owner[window][deeper] = number
    return owner, depth


def stain(
    cells: list[Cell], owner: np.ndarray, depth: np.ndarray, fine: float, grain: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Make bodies and nuclei shine, and blur those that lie out of focus.

    Args:
        cells: who owns what.
        owner: from share_out.
        depth: from share_out.
        fine: canvas dots per pixel of a REFERENCE picture.
        grain: draws the texture.

    Returns:
        Brightness of the bodies and of the nuclei, float32 (3H, 3W) each.
    """
    brightness = np.array([0.0, *(cell.brightness for cell in cells)], np.float32)[owner]
    sharp = np.array([False, *(cell.sharp for cell in cells)])[owner]
    seams = blur(touching(owner, max(round(0.6 * fine), 1)).astype(np.float32), 0.4 * fine)
    lumps = 1 + 0.22 * fractal_noise(depth.shape, 4 * fine, grain)
    body = brightness * (0.5 + 0.5 * np.clip(depth * 1.8, 0, 1)) * lumps * (1 - 0.75 * seams)
    nucleus = (0.35 + 0.6 * brightness) * np.clip((depth - 0.5) * 9, 0, 1) * (0.9 + 0.2 * lumps)
    layers = []
    for layer in (body, nucleus):
        in_focus, out_of_focus = blur(layer * sharp, 0.4 * fine), blur(layer * ~sharp, 1.9 * fine)
        layers.append(in_focus + 0.8 * out_of_focus)
    return layers[0] * (1 - 0.6 * np.clip(layers[1], 0, 1)), layers[1]


def background(canvas: Canvas, layout: np.random.Generator, grain: np.random.Generator) -> np.ndarray:
    """Give uneven light from stray stain, brighter towards one side, with a few specks of dirt."""
    shape = canvas.labels.shape
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j].astype(np.float32)
    turn = layout.uniform(0, 2 * np.pi)
    slope = 1 + layout.uniform(0, 0.7) * (np.cos(turn) * x + np.sin(turn) * y)
    haze = layout.uniform(0.08, 0.22) * slope * (1 + 0.35 * fractal_noise(shape, min(shape) / 2, grain, octaves=2))
    specks = (grain.random(shape) < 8 / (128 * 128 * OVERSAMPLING**2)).astype(np.float32)
    return np.clip(haze, 0, 1) + 25 * blur(specks, 0.5 * OVERSAMPLING)


def touching(owner: np.ndarray, reach: int) -> np.ndarray:
    """Find dots of a cell that have another cell within reach, bool (H, W)."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    nobody = np.iinfo(owner.dtype).max
    highest = cv2.dilate(owner, kernel)
    lowest = cv2.erode(np.where(owner == 0, nobody, owner).astype(owner.dtype), kernel)
    return (owner > 0) & (highest != lowest)


def label(owner: np.ndarray, unit: float) -> np.ndarray:
    """Turn owners (H, W) into labels: every cell, and the border between two of them."""
    labels = np.where(owner > 0, CELL, BACKGROUND).astype(np.uint8)
    labels[touching(np.ascontiguousarray(owner), max(round(BORDER_REACH * unit), 1))] = BORDER
    return labels
