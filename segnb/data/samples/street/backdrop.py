"""Sky, hills and ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segnb.data.samples.canvas import OVERSAMPLING, blur, fill_polygon, fractal_noise, mix
from segnb.data.samples.street.things import Shadow
from segnb.data.samples.street.view import NEAREST, PAVEMENT, ROAD, SKY, TREE, View

HILLS_AT = 130.0  # metres
ASPHALT, PAINT, KERB = (0.33, 0.33, 0.35), (0.86, 0.86, 0.83), (0.66, 0.65, 0.62)
GRASS = (0.36, 0.46, 0.22)


@dataclass(frozen=True)
class Road:
    """The ground plan, mirrored about x = 0.

    Attributes:
        half_width: metres from the middle of the road to the kerb.
        pavement: metres from the kerb to the houses.
        slabs: colour of the pavement.
        crossing: where a zebra crossing begins, metres ahead; 0 = none.
        grass: width of a strip of grass before the houses; 0 = none.
    """

    half_width: float
    pavement: float
    slabs: tuple[float, float, float]
    crossing: float
    grass: float

    @classmethod
    def plan(cls, rng: np.random.Generator) -> Road:
        """Choose widths, the pavement's colour and whether there is a crossing."""
        warmth, grey = rng.uniform(0.0, 0.09), rng.uniform(0.58, 0.70)
        return cls(
            half_width=rng.uniform(4.6, 5.6),
            pavement=rng.uniform(3.6, 5.0),
            slabs=(grey + warmth, grey, grey - warmth),
            crossing=rng.uniform(7, 13) if rng.random() < 0.45 else 0.0,
            grass=rng.uniform(0.5, 1.0) if rng.random() < 0.3 else 0.0,
        )

    @property
    def edge(self) -> float:
        """Metres from the middle of the road to the houses."""
        return self.half_width + self.pavement

    @property
    def lane(self) -> float:
        """Metres from the middle of the road to the middle of a lane, beside the parked cars."""
        return self.half_width * 0.33


def paint_sky(view: View, grain: np.random.Generator) -> None:
    """Fill the canvas with a gradient, clouds and the glow of the sun."""
    light, canvas = view.light, view.canvas
    window = canvas.everything()
    x, y = canvas.grid(window)
    width = canvas.size[1]
    climb = np.clip((view.centre[1] - y) / view.centre[1], 0, 1) ** 0.8
    sky = mix(light.horizon, light.zenith, climb[..., None]) + np.zeros((1, x.size, 1), np.float32)
    shape = canvas.labels.shape
    lumps = fractal_noise(shape, (shape[0] / 6, shape[1] / 3), grain, octaves=5)
    cover = np.clip(lumps * 0.5 + (light.clouds - 0.5) * 1.6, 0, 1) * 0.75 * np.clip(climb * 3, 0.2, 1)
    white = np.clip(np.asarray(light.horizon) * 0.6 + 0.40, 0, 1) * (0.97 + 0.06 * lumps[..., None])
    sky = mix(sky, white, cover[..., None])
    glow = np.exp(-((x - width * (0.5 + 0.42 * light.sun)) ** 2 + (y - view.centre[1] * 0.5) ** 2) / (0.3 * width) ** 2)
    sky = sky + (1 - light.shade) * 0.5 * glow[..., None] * np.asarray(light.horizon)
    canvas.paint(window, np.ones(shape, bool), sky, SKY)


def paint_hills(view: View, grain: np.random.Generator) -> None:
    """Close the horizon with distant woods."""
    canvas = view.canvas
    window = canvas.everything()
    x, y = canvas.grid(window)
    skyline = fractal_noise((1, x.size), (1, x.size / 5), grain, octaves=6)
    top = view.centre[1] - view.pixels(1.0, HILLS_AT) * (7 + 2.0 * skyline)
    foot = view.project([(0, 0, HILLS_AT)])[0, 1]
    where = (y >= top) & (y <= foot + 1)
    leaves = 0.9 + 0.12 * fractal_noise(where.shape, 4 * OVERSAMPLING, grain)
    canvas.paint(window, where, view.lit((0.27, 0.35, 0.24), HILLS_AT * 0.7, leaves), TREE)


def paint_ground(view: View, road: Road, shadows: list[Shadow], grain: np.random.Generator) -> None:
    """Paint road, markings, kerb, pavement and grass; each dot knows its place (x, z) in metres."""
    canvas = view.canvas
    top = view.project([(0, 0, HILLS_AT)])[0, 1]
    window = canvas.window(0, top, canvas.size[1], canvas.size[0])
    columns, rows = canvas.grid(window)
    z = view.focal * view.height / (rows - view.centre[1])
    x = view.x + (columns - view.centre[0]) * z / view.focal
    z = np.broadcast_to(z, x.shape)
    lumps = fractal_noise(x.shape, (10 * OVERSAMPLING, 40 * OVERSAMPLING), grain)
    speckle = grain.standard_normal(x.shape, np.float32) * 0.06
    dark = cast(view, window, shadows, road) * np.clip(0.85 + 0.15 * lumps, 0.4, 1)  # leaves let some light through
    light = (1 + 0.05 * lumps + speckle) * (1 - (1 - view.light.shade * 0.8) * dark)

    everywhere = np.ones(x.shape, bool)
    for where, colour, label in ground_layers(road, x, z, everywhere):
        canvas.paint(window, where, view.lit(colour, z, light), label)


def ground_layers(
    road: Road, x: np.ndarray, z: np.ndarray, everywhere: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray | tuple[float, ...], int]]:
    """List what lies on the ground, bottom first, as (where, colour, label)."""
    from_middle = np.abs(x)
    fade = np.clip(12 / z, 0, 1)  # joints between slabs vanish with distance
    joints = ((from_middle % 0.8 < 0.06) | (z % 0.8 < 0.06)) * fade
    slabs = np.asarray(road.slabs) * (1 - 0.16 * joints[..., None])
    tracks = 1 - 0.10 * np.exp(-(((from_middle - road.lane) ** 2 - 0.6) ** 2) / 0.2)
    layers = [
        (everywhere, slabs, PAVEMENT),
        ((from_middle > road.edge - road.grass), GRASS, TREE),
        (from_middle < road.half_width + 0.22, KERB, PAVEMENT),
        (from_middle < road.half_width, np.asarray(ASPHALT) * tracks[..., None], ROAD),
        ((from_middle > road.half_width - 0.3) & (from_middle < road.half_width), (0.27, 0.27, 0.28), ROAD),
        ((from_middle < 0.08) & (z % 6 < 3), PAINT, ROAD),
        ((np.abs(from_middle - road.half_width + 2.1) < 0.06), mix(ASPHALT, PAINT, 0.8), ROAD),
    ]
    if road.crossing:
        zebra = (z > road.crossing) & (z < road.crossing + 2.8) & (from_middle < road.half_width - 0.3)
        layers += [(zebra, ASPHALT, ROAD), (zebra & (x % 1.1 < 0.55), PAINT, ROAD)]
    if road.grass == 0:
        layers.pop(1)
    return layers


def cast(view: View, window: tuple[slice, slice], shadows: list[Shadow], road: Road) -> np.ndarray:
    """Give how dark the shadows on the ground are, 0 to 1: those of things, and of the houses on the sun's side."""
    dark = np.zeros(view.canvas.labels.shape, np.uint8)
    for shadow in shadows:
        x, z = shadow.T
        corners = view.project(np.stack([x, np.zeros_like(x), np.maximum(z, NEAREST)], axis=1))
        fill_polygon(dark, corners * OVERSAMPLING)
    dark = blur(dark.astype(np.float32), 1.0 * OVERSAMPLING)
    if view.light.shade < 0.7:
        reach = view.light.sun * road.half_width * 0.7
        edge = np.array([(reach, 0, 2), (reach, 0, 300), (view.light.sun * 60, 0, 300), (view.light.sun * 60, 0, 2)])
        row = np.zeros(dark.shape, np.uint8)
        fill_polygon(row, view.project(edge) * OVERSAMPLING)
        dark = np.maximum(dark, 0.8 * blur(row.astype(np.float32), OVERSAMPLING))
    return dark[window]
