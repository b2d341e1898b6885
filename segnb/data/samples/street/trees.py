"""Trees: a trunk under a crown that noise has frayed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segnb.data.samples.canvas import OVERSAMPLING, fractal_noise
from segnb.data.samples.street.things import SHADOW_LENGTH, THINNEST, Colour, Shadow, blot, thrown
from segnb.data.samples.street.view import TREE, Light, View

LEAVES = [(0.26, 0.42, 0.16), (0.32, 0.47, 0.18), (0.20, 0.36, 0.18), (0.42, 0.48, 0.17), (0.62, 0.43, 0.15)]
BARK: Colour = (0.34, 0.26, 0.20)


@dataclass(frozen=True)
class Tree:
    """A trunk under a crown of leaves.

    Attributes:
        x: metres from the middle of the road.
        z: metres ahead.
        height: of the middle of the crown, metres.
        radius: of the crown, metres.
        leaves: colour.
    """

    x: float
    z: float
    height: float
    radius: float
    leaves: Colour

    @staticmethod
    def choose_leaves(rng: np.random.Generator) -> Colour:
        """Choose the season for the whole street."""
        return LEAVES[rng.integers(len(LEAVES))]

    @classmethod
    def plan(cls, x: float, z: float, leaves: Colour, rng: np.random.Generator) -> Tree:
        """Choose the size of a tree with a given place."""
        radius = rng.uniform(1.3, 2.2)
        red, green, blue = np.asarray(leaves) * rng.uniform(0.85, 1.15, 3)
        return cls(x, z, 2.4 + radius + rng.uniform(0, 1.2), radius, (red, green, blue))

    def shadows(self, light: Light) -> list[Shadow]:
        """Give the shadows on the ground, as corners (x, z)."""
        crown = self.x - light.sun * self.height * SHADOW_LENGTH
        leaves = [blot(crown, self.z, (self.radius * 0.8, self.radius))] if light.shade < 0.7 else []
        return [blot(self.x, self.z, (0.35, 0.35)), *leaves, *thrown(light, self.x, self.z, self.height, 0.3)]

    def paint(self, view: View, grain: np.random.Generator) -> None:
        """Paint the trunk, then leaves wherever noise outweighs the distance from the middle of the crown."""
        canvas = view.canvas
        wide = max(0.16, 0.5 * THINNEST / view.pixels(1, self.z))
        trunk = [(self.x - wide, 0, self.z), (self.x - 0.6 * wide, self.height, self.z),
                 (self.x + 0.6 * wide, self.height, self.z), (self.x + wide, 0, self.z)]  # fmt: skip
        canvas.polygon(view.project(trunk), view.lit(BARK, self.z), TREE)

        column, row = view.project([(self.x, self.height, self.z)])[0]
        radius = view.pixels(self.radius, self.z)
        window = canvas.window(column - 1.5 * radius, row - 1.5 * radius, column + 1.5 * radius, row + 1.5 * radius)
        if canvas.labels[window].size == 0:
            return
        x, y = canvas.grid(window)
        right, up = (x - column) / radius, (row - y) / radius
        shape = canvas.labels[window].shape
        clumps = fractal_noise(shape, 0.55 * radius * OVERSAMPLING, grain, octaves=5)
        leaf = fractal_noise(shape, 0.12 * radius * OVERSAMPLING, grain, octaves=2)
        where = np.hypot(right, up) + 0.13 * clumps + 0.05 * leaf < 0.92
        sunward = 0.85 + 0.22 * up + 0.25 * (1 - view.light.shade) * right * view.light.sun
        brightness = np.clip(sunward - 0.13 * clumps + 0.16 * leaf, 0.3, 1.7)
        canvas.paint(window, where, view.lit(self.leaves, self.z, brightness), TREE)
