"""From metres to pixels, and the light of the day.

x runs right from the middle of the road, y up from the ground, z ahead from the camera, all in metres. A point lands at

    column = vanishing x + focal · (x − camera x) / z          row = horizon − focal · (y − camera height) / z
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from segnb.data.samples.canvas import Canvas, mix

CLASSES = {  # name -> colour in masks
    "sky": (86, 180, 233),
    "building": (213, 140, 84),
    "road": (105, 84, 145),
    "pavement": (240, 200, 170),
    "tree": (0, 145, 90),
    "car": (0, 72, 178),
    "person": (220, 30, 60),
    "pole": (250, 220, 40),
}
SKY, BUILDING, ROAD, PAVEMENT, TREE, CAR, PERSON, POLE = range(len(CLASSES))
NEAREST = 1.2  # metres; nothing nearer is painted


@dataclass(frozen=True)
class Light:
    """One kind of day.

    Attributes:
        zenith: colour of the sky above.
        horizon: colour of the sky near the ground; distant things fade into it.
        colour: what every surface colour is multiplied with.
        shade: brightness of surfaces that the sun does not reach; near 1 when there is no sun.
        haze: how much of a thing is lost with each metre.
        clouds: share of the sky under clouds, 0 to 1.
        lamps: share of windows that are lit.
        sun: side the sun is on: -1 left, 1 right.
    """

    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    colour: tuple[float, float, float]
    shade: float
    haze: float
    clouds: float
    lamps: float = 0.0
    sun: int = 1


LIGHTS = {
    "noon": Light((0.22, 0.45, 0.80), (0.70, 0.83, 0.94), (1.02, 1.0, 0.96), 0.58, 0.003, 0.35),
    "overcast": Light((0.66, 0.70, 0.75), (0.85, 0.87, 0.89), (0.82, 0.84, 0.87), 0.90, 0.007, 0.9, 0.04),
    "golden": Light((0.36, 0.52, 0.76), (0.98, 0.82, 0.60), (1.08, 0.93, 0.74), 0.52, 0.006, 0.3, 0.05),
    "dusk": Light((0.16, 0.22, 0.44), (0.88, 0.57, 0.46), (0.74, 0.67, 0.80), 0.80, 0.005, 0.4, 0.35),
    "fog": Light((0.74, 0.77, 0.79), (0.83, 0.85, 0.86), (0.84, 0.86, 0.87), 0.95, 0.022, 0.0, 0.06),
}


def choose_light(rng: np.random.Generator) -> Light:
    """Pick a kind of day and vary it, so that no two have the same colour cast."""
    light = LIGHTS[str(rng.choice(list(LIGHTS), p=[0.34, 0.22, 0.18, 0.14, 0.12]))]
    colour = np.asarray(light.colour) * rng.uniform(0.94, 1.06, 3) * rng.uniform(0.92, 1.08)
    return replace(light, colour=tuple(colour), haze=light.haze * rng.uniform(0.6, 1.3), sun=int(rng.choice([-1, 1])))


@dataclass(frozen=True)
class View:
    """A camera above the road, the light, and the canvas it paints on.

    Attributes:
        canvas: where things are painted.
        light: the kind of day.
        focal: pixels that one metre covers at one metre.
        centre: (column, row) of the vanishing point.
        x: metres right of the middle of the road.
        height: metres above the road.
    """

    canvas: Canvas
    light: Light
    focal: float
    centre: tuple[float, float]
    x: float
    height: float

    @classmethod
    def place(cls, canvas: Canvas, light: Light, half_road: float, rng: np.random.Generator) -> View:
        """Put the camera somewhere above the right-hand lane, looking roughly ahead."""
        height, width = canvas.size
        return cls(
            canvas,
            light,
            focal=0.85 * width * rng.uniform(0.92, 1.08),
            centre=(width * rng.uniform(0.40, 0.60), height * rng.uniform(0.47, 0.57)),
            x=half_road * rng.uniform(-0.1, 0.55),
            height=rng.uniform(1.7, 2.4),
        )

    def project(self, points: list[tuple[float, float, float]] | np.ndarray) -> np.ndarray:
        """Turn points (N, 3) in metres into (N, 2) pixels; all must be ahead of the camera."""
        x, y, z = np.asarray(points, np.float64).T
        return np.stack([self.centre[0] + self.focal * (x - self.x) / z,
                         self.centre[1] - self.focal * (y - self.height) / z], axis=1)  # fmt: skip

    def pixels(self, metres: float, z: float) -> float:
        """Give how many pixels a length covers at a distance."""
        return metres * self.focal / z

    def lit(
        self, colour: np.ndarray | tuple[float, ...], z: float | np.ndarray, brightness: float | np.ndarray = 1.0
    ) -> np.ndarray:
        """Give the colour a surface shows: the light's tint and, with distance, the haze.

        Args:
            colour: of the surface, (3,) or (..., 3).
            z: distance in metres, a number or an array (...).
            brightness: what the surface gets of the light, a number or an array (...).

        Returns:
            float32 (..., 3).
        """
        surface = np.asarray(colour, np.float32) * np.asarray(self.light.colour, np.float32)
        surface = surface * np.asarray(brightness, np.float32)[..., None]
        return mix(self.light.horizon, surface, self.clear(z))

    def clear(self, z: float | np.ndarray) -> np.ndarray:
        """Give the share of a thing's own colour that comes through the haze, float32 (..., 1)."""
        return np.exp(-self.light.haze * np.asarray(z, np.float32))[..., None]

    def facing(self, side: int) -> float:
        """Give the brightness of a surface that faces left (-1) or right (1)."""
        return 1.0 if side == self.light.sun else self.light.shade
