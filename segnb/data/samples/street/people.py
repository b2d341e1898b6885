"""People: small, many-coloured and never in the same pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segnb.data.samples.street.things import Colour, Shadow, blot, pick, thrown
from segnb.data.samples.street.view import PERSON, Light, View

SKIN: list[Colour] = [(0.90, 0.72, 0.60), (0.76, 0.55, 0.42), (0.50, 0.34, 0.25), (0.34, 0.23, 0.17)]
HAIR: list[Colour] = [
    (0.14, 0.10, 0.08),
    (0.30, 0.20, 0.12),
    (0.62, 0.48, 0.28),
    (0.10, 0.10, 0.11),
    (0.55, 0.54, 0.53),
]
CLOTHES: list[Colour] = [(0.75, 0.16, 0.18), (0.85, 0.82, 0.78), (0.16, 0.25, 0.46), (0.12, 0.12, 0.14), (0.88, 0.62, 0.16),
                         (0.20, 0.45, 0.42), (0.55, 0.22, 0.42), (0.42, 0.48, 0.56), (0.92, 0.50, 0.36)]  # fmt: skip
TROUSERS: list[Colour] = [(0.14, 0.18, 0.30), (0.12, 0.12, 0.13), (0.40, 0.36, 0.30), (0.24, 0.28, 0.34)]


@dataclass(frozen=True)
class Person:
    """Someone walking.

    Attributes:
        x: metres from the middle of the road.
        z: metres ahead.
        height: metres.
        stride: half the distance between the feet, metres; negative walks the other way.
        top: colour of the jacket.
        bottom: colour of the trousers.
        skin: colour of face and hands.
        hair: colour.
        bag: whether a bag hangs at the side.
    """

    x: float
    z: float
    height: float
    stride: float
    top: Colour
    bottom: Colour
    skin: Colour
    hair: Colour
    bag: bool

    @classmethod
    def plan(cls, x: float, z: float, rng: np.random.Generator) -> Person:
        """Choose who walks at a given place."""
        return cls(x, z, rng.uniform(1.5, 1.9), rng.uniform(-0.26, 0.26), pick(CLOTHES, rng), pick(TROUSERS, rng),
                   pick(SKIN, rng), pick(HAIR, rng), bool(rng.random() < 0.35))  # fmt: skip

    def shadows(self, light: Light) -> list[Shadow]:
        """Give the shadows on the ground, as corners (x, z)."""
        return [blot(self.x, self.z, (0.3, 0.25)), *thrown(light, self.x, self.z, self.height, 0.35)]

    def at(self, view: View, *places: tuple[float, float]) -> np.ndarray:
        """Project places given as (metres right of the person, share of the height)."""
        return view.project([(self.x + right, up * self.height, self.z) for right, up in places])

    def paint(self, view: View, grain: np.random.Generator) -> None:
        """Paint legs, arms, body and head; grain is not needed."""
        del grain
        canvas, unit = view.canvas, view.pixels(self.height, self.z)
        top, bottom = view.lit(self.top, self.z), view.lit(self.bottom, self.z)
        skin, hair = view.lit(self.skin, self.z), view.lit(self.hair, self.z)
        swing = self.stride
        for step, shade in ((swing, 0.8), (-swing, 1.0)):
            hip, knee, foot = self.at(view, (step * 0.2, 0.50), (step * 0.75, 0.27), (step, 0.02))
            canvas.line([hip, knee, foot], 0.105 * unit, bottom * shade, PERSON)
            canvas.ellipse(foot, (0.055 * unit, 0.025 * unit), bottom * 0.4, PERSON)
        arm = self.at(view, (-0.17, 0.79), (-0.21 - swing * 0.4, 0.62), (-0.18 - swing, 0.48))
        canvas.line(arm, 0.068 * unit, top * 0.8, PERSON)
        body = self.at(view, (-0.20, 0.82), (-0.08, 0.85), (0.08, 0.85), (0.20, 0.82), (0.17, 0.47), (-0.17, 0.47))
        canvas.polygon(body, top, PERSON, gradient=0.12)
        arm = self.at(view, (0.18, 0.79), (0.22 + swing * 0.4, 0.62), (0.18 + swing, 0.48))
        canvas.line(arm, 0.068 * unit, top * 0.88, PERSON)
        canvas.ellipse(arm[-1], (0.03 * unit, 0.03 * unit), skin, PERSON)
        neck, head, crown = self.at(view, (0, 0.86), (swing * 0.08, 0.925), (0, 0.955))
        canvas.ellipse(neck, (0.03 * unit, 0.03 * unit), skin * 0.85, PERSON)
        canvas.ellipse(head, (0.057 * unit, 0.073 * unit), skin, PERSON)
        canvas.ellipse(crown, (0.060 * unit, 0.048 * unit), hair, PERSON)
        if self.bag:
            canvas.ellipse(self.at(view, (0.24, 0.50))[0], (0.07 * unit, 0.09 * unit), top * 0.45, PERSON)
