"""Cars: a side view drawn out to the width of a car."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from segnb.data.samples.canvas import ellipse_points
from segnb.data.samples.street.things import Colour, Shadow, pick
from segnb.data.samples.street.view import CAR, Light, View

Point = tuple[float, float, float]

PAINTS: list[Colour] = [(0.72, 0.08, 0.10), (0.12, 0.24, 0.52), (0.86, 0.87, 0.88), (0.10, 0.10, 0.12), (0.56, 0.58, 0.60),
                        (0.20, 0.22, 0.25), (0.82, 0.62, 0.12), (0.16, 0.38, 0.32), (0.90, 0.90, 0.86)]  # fmt: skip


@dataclass(frozen=True)
class Body:
    """The side view of a kind of car, rear first.

    Attributes:
        outline: (metres from the rear, metres up) along rear, roof and front.
        glass: which stretches of the outline are windows, by the number of their first corner.
        cabin: corners of the side windows.
    """

    outline: tuple[tuple[float, float], ...]
    glass: tuple[int, ...]
    cabin: tuple[tuple[float, float], ...]


BODIES = [
    Body(((0, 0.32), (0, 0.62), (0.05, 0.95), (0.5, 1.42), (2.1, 1.46), (3.0, 1.0), (4.0, 0.84), (4.15, 0.6), (4.15, 0.3)),
         (2, 4), ((0.35, 0.98), (0.68, 1.34), (2.05, 1.38), (2.75, 0.98))),
    Body(((0, 0.32), (0, 0.62), (0.05, 0.98), (0.75, 1.02), (1.35, 1.42), (2.5, 1.44), (3.3, 0.98), (4.4, 0.84), (4.55, 0.3)),
         (3, 5), ((0.98, 1.02), (1.45, 1.34), (2.45, 1.36), (3.1, 0.98))),
    Body(((0, 0.35), (0, 0.80), (0.02, 1.15), (0.18, 1.92), (3.3, 1.95), (4.1, 1.12), (4.6, 0.95), (4.7, 0.35)),
         (2, 4), ((2.2, 1.15), (2.2, 1.75), (3.2, 1.75), (3.85, 1.15))),
]  # fmt: skip
HALF_CAR, WHEEL = 0.88, 0.33  # metres


def upright(left: float, right: float, low: float, high: float, z: float) -> list[Point]:
    """Give the corners of a rectangle that faces the camera."""
    return [(left, low, z), (right, low, z), (right, high, z), (left, high, z)]


@dataclass(frozen=True)
class Car:
    """A body drawn as strips across, from the far end to the near end, and then the side that is seen.

    Attributes:
        x: of its middle, metres from the middle of the road.
        near: distance of its near end, metres.
        body: its kind.
        colour: of its paint.
        away: whether it drives away, so that its rear is seen.
    """

    x: float
    near: float
    body: Body
    colour: Colour
    away: bool

    @classmethod
    def plan(cls, x: float, near: float, side: int, rng: np.random.Generator) -> Car:
        """Choose a car for a place; on the right (side 1) cars drive away."""
        body = BODIES[rng.choice(len(BODIES), p=[0.45, 0.35, 0.2])]
        return cls(x + rng.uniform(-0.1, 0.1), near, body, pick(PAINTS, rng), side > 0)

    @property
    def length(self) -> float:
        """Metres."""
        return max(along for along, _ in self.body.outline)

    @property
    def z(self) -> float:
        """Distance of its middle, metres."""
        return self.near + self.length / 2

    def shadows(self, light: Light) -> list[Shadow]:
        """Give the shadow under the car, longer away from the sun, as corners (x, z)."""
        reach = 0.8 if light.shade < 0.7 else 0.12
        left, right = self.x - HALF_CAR, self.x + HALF_CAR
        left, right = (left - reach, right) if light.sun > 0 else (left, right + reach)
        near, far = self.near + 0.05, self.near + self.length
        return [np.array([(left, near), (right, near), (right, far), (left, far)])]

    def point(self, side: int, along: float, up: float) -> Point:
        """Give the place of a corner of the outline on the left (-1) or right (1) flank; the roof is narrower."""
        half = HALF_CAR * (1 - 0.22 * np.clip((up - 0.9) / 0.6, 0, 1))
        z = self.near + (along if self.away else self.length - along)
        return self.x + side * half, up, z

    def paint(self, view: View, grain: np.random.Generator) -> None:
        """Paint underside, strips, flank, wheels and lights; grain is not needed."""
        del grain
        self.paint_underside(view)
        strips = list(enumerate(pairwise(self.body.outline)))
        for number, (start, end) in strips[::-1] if self.away else strips:
            self.paint_strip(view, start, end, number in self.body.glass)
        if abs(self.x - view.x) > HALF_CAR:
            self.paint_flank(view, 1 if self.x < view.x else -1)
        self.paint_lights(view)

    def paint_underside(self, view: View) -> None:
        """Paint the dark gap between the wheels and the wheels seen from the end."""
        black = view.lit((0.05, 0.05, 0.055), self.near)
        for side in (-1, 1):
            outer, inner = self.x + side * (HALF_CAR - 0.03), self.x + side * (HALF_CAR - 0.25)
            view.canvas.polygon(view.project(upright(outer, inner, 0, 0.4, self.near + 0.4)), black, CAR)
        gap = upright(self.x - HALF_CAR, self.x + HALF_CAR, 0.17, 0.4, self.near + 0.3)
        view.canvas.polygon(view.project(gap), black, CAR)

    def paint_strip(self, view: View, start: tuple[float, float], end: tuple[float, float], glass: bool) -> None:
        """Paint one stretch of the outline across the whole car."""
        corners = [self.point(-1, *start), self.point(1, *start), self.point(1, *end), self.point(-1, *end)]
        slope = abs(end[0] - start[0]) / (abs(end[0] - start[0]) + abs(end[1] - start[1]))
        brightness = 0.72 + 0.38 * slope  # what faces the sky is brighter
        view.canvas.polygon(view.project(corners), view.lit(self.colour, self.near, brightness), CAR, gradient=0.08)
        if glass:
            middle = np.mean(corners, axis=0)
            pane = middle + (np.asarray(corners) - middle) * (0.86, 0.80, 0.80)
            view.canvas.polygon(view.project(pane), self.glass(view), CAR, gradient=0.45)

    def paint_flank(self, view: View, side: int) -> None:
        """Paint the side that the camera sees, with its windows and wheels."""
        light = view.facing(side) * 0.9
        outline = [self.point(side, *corner) for corner in self.body.outline]
        view.canvas.polygon(view.project(outline), view.lit(self.colour, self.near, light), CAR, gradient=0.18)
        view.canvas.polygon(
            view.project([self.point(side, *c) for c in self.body.cabin]), self.glass(view), CAR, gradient=0.4
        )
        for along in (0.19 * self.length, 0.8 * self.length):
            for radius, shade in ((WHEEL, 0.06), (WHEEL * 0.6, 0.42)):
                rim = ellipse_points((along, WHEEL), (radius, radius))
                wheel = [self.point(side, *corner) for corner in rim]
                view.canvas.polygon(view.project(wheel), view.lit((shade, shade, shade), self.near), CAR)

    def paint_lights(self, view: View) -> None:
        """Paint red lights and a plate at the rear, white lights and a grille at the front."""
        colour = (0.80, 0.08, 0.06) if self.away else (0.97, 0.96, 0.88)
        shine = 1.4 if view.light.lamps > 0.1 else 1.0
        end = self.near - 0.01
        for side in (-1, 1):
            inner, outer = self.x + side * HALF_CAR * 0.62, self.x + side * HALF_CAR * 0.97
            lamp = upright(inner, outer, 0.66, 0.84, end)
            view.canvas.polygon(view.project(lamp), view.lit(colour, end, shine), CAR)
        plate, tint = (0.26, (0.92, 0.91, 0.82)) if self.away else (0.42, (0.12, 0.12, 0.13))
        corners = upright(self.x - plate, self.x + plate, 0.5, 0.64, end)
        view.canvas.polygon(view.project(corners), view.lit(tint, end), CAR)

    def glass(self, view: View) -> np.ndarray:
        """Give the colour of a pane: dark, with some sky in it."""
        return view.lit(np.asarray((0.11, 0.13, 0.16)) + 0.16 * np.asarray(view.light.zenith), self.near)
