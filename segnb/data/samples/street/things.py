"""What all things on the street share: colours that vary, and shadows on the ground."""

from __future__ import annotations

import numpy as np

from segnb.data.samples.canvas import ellipse_points
from segnb.data.samples.street.view import Light

Colour = tuple[float, float, float]
Shadow = np.ndarray  # (N, 2): corners (x, z) on the ground, metres

SHADOW_LENGTH = 0.8  # metres of shadow per metre of height, under the sun
THINNEST = 2.4  # pixels: thinner poles and trunks could not be learned from a mask


def pick(options: list[Colour], rng: np.random.Generator) -> Colour:
    """Choose a colour and vary its brightness a little."""
    red, green, blue = np.clip(np.asarray(options[rng.integers(len(options))]) * rng.uniform(0.85, 1.15), 0, 1)
    return red, green, blue


def blot(x: float, z: float, radii: tuple[float, float]) -> Shadow:
    """Give the shadow right under a thing: an ellipse on the ground, as corners (N, 2) of (x, z)."""
    return ellipse_points((x, z), radii)


def thrown(light: Light, x: float, z: float, height: float, width: float) -> list[Shadow]:
    """Give the long shadow of something upright, away from the sun; none under a cloudy sky."""
    if light.shade > 0.7:
        return []
    tip = x - light.sun * height * SHADOW_LENGTH
    return [np.array([(x, z - width / 2), (tip, z + 0.3 - width / 2), (tip, z + 0.3 + width / 2), (x, z + width / 2)])]
