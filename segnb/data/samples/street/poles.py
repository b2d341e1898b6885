"""Poles: street lamps, signs and traffic lights, the thin things that are easily missed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segnb.data.samples.street.things import THINNEST, Colour, Shadow, blot, pick, thrown
from segnb.data.samples.street.view import POLE, Light, View

METALS: list[Colour] = [(0.22, 0.23, 0.24), (0.34, 0.35, 0.36), (0.17, 0.25, 0.22)]
SIGNS: list[Colour] = [(0.80, 0.12, 0.14), (0.10, 0.30, 0.66), (0.92, 0.74, 0.10)]


@dataclass(frozen=True)
class Pole:
    """A street lamp, a sign or a traffic light; all of it counts as pole.

    Attributes:
        x: metres from the middle of the road.
        z: metres ahead.
        kind: "lamp", "sign" or "signal".
        inward: direction of the road: -1 left, 1 right.
        metal: colour of the pole.
        plate: colour of a sign.
        shape: corners of a sign: 3, 4 or CIRCLE_CORNERS.
    """

    x: float
    z: float
    kind: str
    inward: int
    metal: Colour
    plate: Colour
    shape: int

    @classmethod
    def plan(cls, x: float, z: float, inward: int, rng: np.random.Generator) -> Pole:
        """Choose what a pole carries."""
        kind = str(rng.choice(["lamp", "sign", "signal"], p=[0.45, 0.35, 0.2]))
        return cls(x, z, kind, inward, pick(METALS, rng), SIGNS[rng.integers(len(SIGNS))], int(rng.choice([3, 4, 32])))

    @property
    def height(self) -> float:
        """Metres."""
        return {"lamp": 5.6, "sign": 2.9, "signal": 3.5}[self.kind]

    def shadows(self, light: Light) -> list[Shadow]:
        """Give the shadows on the ground, as corners (x, z)."""
        return [blot(self.x, self.z, (0.2, 0.2)), *thrown(light, self.x, self.z, self.height, 0.12)]

    def paint(self, view: View, grain: np.random.Generator) -> None:
        """Paint the pole and what it carries; grain is not needed."""
        del grain
        foot, top = view.project([(self.x, 0, self.z), (self.x, self.height, self.z)])
        width = max(view.pixels(0.2, self.z), THINNEST)
        colour = view.lit(self.metal, self.z)
        view.canvas.line([foot, top], width, colour, POLE)
        view.canvas.line([foot - (width / 5, 0), top - (width / 5, 0)], width / 4, colour * 1.5, POLE)
        {"lamp": self.paint_lamp, "sign": self.paint_sign, "signal": self.paint_signal}[self.kind](view, width)

    def paint_lamp(self, view: View, width: float) -> None:
        """Paint an arm over the road with the lamp at its end."""
        elbow, tip = view.project(
            [(self.x, self.height, self.z), (self.x + 1.1 * self.inward, self.height + 0.2, self.z)]
        )
        view.canvas.line([elbow, tip], 0.8 * width, view.lit(self.metal, self.z), POLE)
        shine = (1.0, 0.95, 0.75) if view.light.lamps > 0.1 else view.lit((0.75, 0.75, 0.72), self.z)
        view.canvas.ellipse(tip, (view.pixels(0.36, self.z), view.pixels(0.15, self.z) + 0.4), shine, POLE)

    def paint_sign(self, view: View, width: float) -> None:
        """Paint a plate with a white rim."""
        centre = view.project([(self.x, self.height - 0.3, self.z)])[0]
        radius = max(view.pixels(0.48, self.z), 1.2 * width)
        turn = np.arange(self.shape) * 2 * np.pi / self.shape + (np.pi / 4 if self.shape == 4 else -np.pi / 2)
        corners = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        view.canvas.polygon(centre + corners * radius, view.lit((0.92, 0.92, 0.90), self.z), POLE)
        view.canvas.polygon(centre + corners * radius * 0.8, view.lit(self.plate, self.z), POLE)

    def paint_signal(self, view: View, width: float) -> None:
        """Paint a box with three lamps, one of them on."""
        column, row = view.project([(self.x, self.height - 0.2, self.z)])[0]
        half, tall = max(view.pixels(0.19, self.z), 0.9 * width), max(view.pixels(0.5, self.z), 2 * width)
        box = [
            (column - half, row - tall),
            (column + half, row - tall),
            (column + half, row + tall),
            (column - half, row + tall),
        ]
        view.canvas.polygon(box, view.lit((0.10, 0.10, 0.11), self.z), POLE)
        lamps = [(0.95, 0.15, 0.10), (0.30, 0.22, 0.06), (0.07, 0.25, 0.12)]
        for step, lamp in zip((-0.62, 0, 0.62), lamps, strict=True):
            view.canvas.ellipse((column, row + step * tall), (half * 0.55, tall * 0.22), lamp, POLE)
