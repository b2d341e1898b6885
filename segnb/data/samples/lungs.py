"""A slice through a chest as computed tomography shows it: one grey channel, two lungs, now and then a nodule.

Lengths are shares of half the body's width; x runs right in the picture (the patient's left), y runs down (to the back).
Grey values are radiodensities in thousands of Hounsfield units: air -1, fat -0.1, water 0, bone about 0.6.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from segnb.data.samples.canvas import OVERSAMPLING, Canvas, blur, ellipse_points, fractal_noise, photograph

CLASSES = {
    "background": (40, 40, 50),
    "right lung": (86, 180, 233),
    "left lung": (0, 158, 115),
    "nodule": (230, 60, 60),
}
BACKGROUND, RIGHT, LEFT, NODULE = range(len(CLASSES))

AIR, FAT, MUSCLE, BLOOD, BONE, MARROW, LUNG = -1.0, -0.10, 0.045, 0.075, 0.65, 0.22, -0.86
RIGHT_LUNG = [(-0.12, -0.38), (-0.34, -0.54), (-0.64, -0.38), (-0.80, 0.04), (-0.70, 0.42), (-0.42, 0.55), (-0.17, 0.42),
              (-0.15, 0.16), (-0.26, -0.06)]  # fmt: skip
LEFT_LUNG = [(0.14, -0.40), (0.36, -0.55), (0.66, -0.40), (0.80, 0.02), (0.70, 0.43), (0.44, 0.56), (0.20, 0.44),
             (0.24, 0.24), (0.50, 0.10), (0.44, -0.22), (0.20, -0.24)]  # fmt: skip
THINNEST_VESSEL = 0.009
NODULE_RADIUS = (0.045, 0.11)
NODULES_PER_SLICE = (0, 1, 1, 2)


@dataclass(frozen=True)
class Body:
    """Where the body lies in the picture.

    Attributes:
        x: of its middle, pixels.
        y: of its middle, pixels.
        half: half its width, pixels.
        depth: its depth as a share of its width.
        turn: how far the patient is rotated, radians.
    """

    x: float
    y: float
    half: float
    depth: float
    turn: float

    def place(self, points: np.ndarray | list[tuple[float, float]]) -> np.ndarray:
        """Turn points (N, 2) in shares of the half width into pixels."""
        x, y = np.asarray(points, np.float64).T
        y = y * self.depth / 0.72
        cosine, sine = np.cos(self.turn), np.sin(self.turn)
        return np.stack(
            [self.x + self.half * (x * cosine - y * sine), self.y + self.half * (x * sine + y * cosine)], axis=1
        )


def draw(
    size: tuple[int, int], layout: np.random.Generator, grain: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one slice.

    Args:
        size: (height, width) in pixels.
        layout: decides the anatomy.
        grain: draws texture and noise.

    Returns:
        The picture, uint8 (H, W), and its labels, uint8 (H, W), positions in CLASSES.
    """
    height, width = size
    canvas = Canvas(size)
    canvas.colours[:] = AIR
    half = 0.46 * min(width, 1.3 * height) * layout.uniform(0.88, 1.0)
    body = Body(width * layout.uniform(0.48, 0.52), height * layout.uniform(0.47, 0.51), half,
                layout.uniform(0.66, 0.78), layout.normal(0, 0.05))  # fmt: skip
    outlines = {RIGHT: vary(RIGHT_LUNG, layout), LEFT: vary(LEFT_LUNG, layout)}
    paint_chest(canvas, body, layout)
    for lung, outline in outlines.items():
        sponge = LUNG + 0.035 * fractal_noise(canvas.labels.shape, 0.3 * half, grain, octaves=6)
        canvas.polygon(body.place(outline), (LUNG,) * 3, lung)
        vessels = draw_vessels(size, body, np.sign(outline[:, 0].mean()), layout)
        density = sponge + vessels * (MUSCLE - LUNG)
        canvas.paint(canvas.everything(), canvas.labels == lung, density[..., None])
    for _ in range(layout.choice(NODULES_PER_SLICE)):
        paint_nodule(canvas, body, int(layout.choice([RIGHT, LEFT])), layout)

    density, labels = canvas.finish()
    return photograph(window(scan(density[..., 0], half, layout, grain), layout), grain, 0.004), labels


def vary(outline: list[tuple[float, float]], rng: np.random.Generator) -> np.ndarray:
    """Give a lung of another patient: every corner moved a little, then rounded; (N, 2)."""
    scale = rng.uniform(0.92, 1.03), rng.uniform(0.88, 1.06)
    return smooth(np.asarray(outline) * scale + rng.normal(0, 0.022, (len(outline), 2)))


def smooth(corners: np.ndarray, rounds: int = 4) -> np.ndarray:
    """Round a closed polygon (N, 2) by cutting its corners again and again (Chaikin's method)."""
    for _ in range(rounds):
        following = np.roll(corners, -1, axis=0)
        corners = np.stack([0.75 * corners + 0.25 * following, 0.25 * corners + 0.75 * following], axis=1).reshape(
            -1, 2
        )
    return corners


def fill(canvas: Canvas, body: Body, points: np.ndarray | list[tuple[float, float]], density: float) -> None:
    """Fill a polygon given in body shares; no label."""
    canvas.polygon(body.place(points), (density,) * 3)


def disc(canvas: Canvas, body: Body, centre: tuple[float, float], radii: tuple[float, float], density: float) -> None:
    """Fill an ellipse given in body shares; no label."""
    fill(canvas, body, ellipse_points(centre, radii), density)


def paint_chest(canvas: Canvas, body: Body, rng: np.random.Generator) -> None:
    """Paint the table, skin, fat, muscle, ribs, spine, breastbone, heart and great vessels."""
    fill(canvas, body, [(-0.9, 0.80), (0.9, 0.80), (0.8, 0.85), (-0.8, 0.85)], -0.35)
    fat = rng.uniform(0.03, 0.09)
    corners = np.array([(0, -0.70), (0.55, -0.68), (0.98, -0.25), (0.98, 0.30), (0.60, 0.72), (0, 0.76),
                        (-0.60, 0.72), (-0.98, 0.30), (-0.98, -0.25), (-0.55, -0.68)])  # fmt: skip
    fill(canvas, body, smooth(corners) * 1.03, MUSCLE)
    fill(canvas, body, smooth(corners) * 1.02, FAT)
    fill(canvas, body, smooth(corners) * (1.02 - fat), MUSCLE)
    paint_ribs(canvas, body, rng)
    disc(canvas, body, (0.0, -0.56), (0.11, 0.035), BONE * 0.8)
    disc(canvas, body, (0.0, 0.52), (0.13, 0.10), BONE)
    disc(canvas, body, (0.0, 0.515), (0.10, 0.075), MARROW)
    fill(canvas, body, [(-0.10, 0.60), (0.10, 0.60), (0.03, 0.74), (-0.03, 0.74)], BONE * 0.9)
    disc(canvas, body, (0.0, 0.635), (0.045, 0.035), MUSCLE)
    heart = rng.uniform(0.85, 1.1)
    disc(canvas, body, (0.14, -0.08), (0.30 * heart, 0.24 * heart), FAT)
    disc(canvas, body, (0.14, -0.08), (0.27 * heart, 0.21 * heart), BLOOD + rng.uniform(0, 0.12))
    disc(canvas, body, (0.12, 0.36), (0.075, 0.075), BLOOD + rng.uniform(0.02, 0.15))
    for side in (-1, 1):
        disc(canvas, body, (side * 0.08 + 0.01, 0.20), (0.035, 0.035), AIR)


def paint_ribs(canvas: Canvas, body: Body, rng: np.random.Generator) -> None:
    """Paint short arcs of bone around the chest; a slice cuts each rib at another place."""
    start = rng.uniform(0, 0.3)
    for angle in np.arange(start, start + 2 * np.pi, 2 * np.pi / 14):
        if abs(np.cos(angle)) < 0.25:
            continue  # breastbone and spine
        arc = np.linspace(-0.10, 0.10, 5) * rng.uniform(0.7, 1.2) + angle
        for widths, density in (((0.865, 0.915), BONE), ((0.88, 0.90), MARROW)):
            inner, outer = ([(np.cos(a) * w, np.sin(a) * w * 0.74) for a in arc] for w in widths)
            fill(canvas, body, inner + outer[::-1], density)


def draw_vessels(size: tuple[int, int], body: Body, side: float, rng: np.random.Generator) -> np.ndarray:
    """Draw the trees of vessels that enter one lung (side -1 or 1), 0 to 1, float32 (3H, 3W)."""
    canvas = Canvas(size)
    middle = 0 if side > 0 else np.pi
    growing = [
        ((side * 0.26, 0.14), middle + direction + rng.normal(0, 0.15), rng.uniform(0.022, 0.038))
        for direction in np.linspace(-1.4, 1.4, 7)
    ]
    while growing:
        start, heading, width = growing.pop()
        length = width * rng.uniform(4.5, 7)
        end = start[0] + length * np.cos(heading), start[1] + length * np.sin(heading)
        brightness = np.clip(width / 0.026, 0.25, 0.95)
        canvas.line(body.place([start, end]), width * body.half, (brightness,) * 3)
        if width > THINNEST_VESSEL:  # it forks
            for turn in (-1, 1):
                growing.append((end, heading + turn * rng.uniform(0.2, 0.65), width * rng.uniform(0.66, 0.84)))
    return canvas.colours[..., 0]


def paint_nodule(canvas: Canvas, body: Body, lung: int, rng: np.random.Generator) -> None:
    """Paint a lump with an uneven rim somewhere inside a lung; some are solid, some like frosted glass."""
    radius = rng.uniform(*NODULE_RADIUS) * body.half
    to_rim = cv2.distanceTransform((canvas.labels == lung).astype(np.uint8), cv2.DIST_L2, 5)
    rows, columns = np.nonzero(to_rim > min(radius * OVERSAMPLING, 0.8 * to_rim.max()))
    place = int(rng.random() * len(rows))
    centre = np.array([columns[place], rows[place]]) / OVERSAMPLING
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    reach = radius * (1 + rng.uniform(0, 0.18) * np.cos(3 * angles + rng.uniform(0, 6)) + rng.normal(0, 0.07, 24))
    lump = smooth(centre + np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach[:, None], rounds=2)
    density = rng.uniform(-0.05, 0.06) if rng.random() < 0.75 else rng.uniform(-0.45, -0.3)
    canvas.polygon(lump, (density,) * 3, NODULE)


def scan(density: np.ndarray, half: float, layout: np.random.Generator, grain: np.random.Generator) -> np.ndarray:
    """Add what the scanner adds: blur and lumpy noise that is stronger in the middle of the body."""
    height, width = density.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    dose = layout.uniform(0.02, 0.07) * (1.2 - 0.5 * np.hypot(x, y))
    noise = blur(grain.standard_normal(density.shape, np.float32), 0.7)
    return blur(density, 0.009 * half) + dose * noise / noise.std()


def window(density: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Map densities to 0 (black) to 1 (white), as a radiologist turns the knobs; each slice a little differently."""
    level, width = rng.uniform(-0.62, -0.42), rng.uniform(1.2, 1.7)
    return np.clip((density - level) / width + 0.5, 0, 1)
