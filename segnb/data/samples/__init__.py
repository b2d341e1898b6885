"""Sample data that draws itself: five little worlds with exact masks, any number of pictures at any size.

Each scene teaches a problem: street (thin and small things, rare classes, changing light), cells (touching, out of
focus), lungs (one grey channel, left against right), metal (almost nothing to find), shapes (the toy).

    name, seed, size ─▶ layout: what is where    ─┐
                     ─▶ grain: texture and noise ─┴─▶ picture (H, W, 3) or (H, W)  and  labels (H, W)

``python -m segnb.data.samples FOLDER`` writes the files that segnb ships.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from segnb.data.samples import cells, lungs, metal, shapes, street
from segnb.errors import SegnbError, nearest

__all__ = ["SCENES", "Scene", "draw_sample"]

SMALLEST = 16  # pixels: below this nothing can be told apart

Drawing = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Scene:
    """One kind of sample.

    Attributes:
        draw: ``draw(size, layout, grain) -> (picture, labels)``.
        colours: class name -> (red, green, blue), in label order.
        size: (height, width) of the shipped pictures.
        about: one sentence on what it shows and why it is hard.
        counts: how many pictures are shipped, {"train": n, "valid": m}.
        in_channels: 3 for colour, 1 for grey.
        suffix: file type of the shipped pictures.
    """

    draw: Callable[[tuple[int, int], np.random.Generator, np.random.Generator], Drawing]
    colours: dict[str, tuple[int, int, int]]
    size: tuple[int, int]
    about: str
    counts: dict[str, int]
    in_channels: int = 3
    suffix: str = ".jpg"

    @property
    def classes(self) -> list[str]:
        """Class names; their positions are the labels."""
        return list(self.colours)

    @property
    def palette(self) -> np.ndarray:
        """Colours of the labels, uint8 (classes, 3)."""
        return np.array(list(self.colours.values()), np.uint8)


SCENES = {
    "street": Scene(
        street.draw,
        street.CLASSES,
        (128, 192),
        "A street from behind the windscreen: thin poles, small people, things behind things, "
        "and light from noon to dusk and fog.",
        {"train": 64, "valid": 16},
    ),
    "cells": Scene(
        cells.draw,
        cells.CLASSES,
        (160, 160),
        "Stained cells under a fluorescence microscope: some out of focus, many touching, "
        "and the border between two is a class of its own.",
        {"train": 24, "valid": 8},
    ),
    "lungs": Scene(
        lungs.draw,
        lungs.CLASSES,
        (128, 128),
        "Slices of a chest as computed tomography shows them, in one grey channel: "
        "left and right lung look alike, nodules hide among vessels.",
        {"train": 24, "valid": 8},
        in_channels=1,
        suffix=".png",
    ),
    "metal": Scene(
        metal.draw,
        metal.CLASSES,
        (128, 192),
        "Brushed metal with scratches, pits and stains: "
        "fewer than one pixel in a hundred is a defect, and many plates have none.",
        {"train": 32, "valid": 12},
    ),
    "shapes": Scene(
        shapes.draw,
        shapes.CLASSES,
        (96, 96),
        "Circles, squares and triangles on a noisy ground: the toy, learned in seconds.",
        {"train": 24, "valid": 8},
    ),
}


def draw_sample(name: str, seed: int, size: tuple[int, int] | None = None) -> Drawing:
    """Draw one picture with its mask; the same arguments always give the same pixels.

    Args:
        name: a key of SCENES: street, cells, lungs, metal or shapes.
        seed: 0 or more; every seed is another picture.
        size: (height, width), at least 16 each; None = the scene's own size. Things grow with the picture.

    Returns:
        The picture, uint8 (H, W, 3), or (H, W) if the scene has one channel; and its labels, uint8 (H, W).

    Raises:
        SegnbError: there is no such scene, or the seed or the size is out of range.
    """
    if name not in SCENES:
        raise SegnbError(f"There is no sample called {name!r}. {nearest(name, SCENES)}")
    height, width = size or SCENES[name].size
    if min(height, width) < SMALLEST:
        raise SegnbError(
            f"A sample of size {(height, width)} is too small: give at least {SMALLEST} by {SMALLEST} pixels."
        )
    if seed < 0:
        raise SegnbError(f"seed = {seed}: give 0 or a larger whole number.")
    key = zlib.crc32(name.encode())  # so that two scenes with one seed do not share their random numbers
    layout, grain = (np.random.default_rng([key, seed, purpose]) for purpose in (0, 1))
    return SCENES[name].draw((int(height), int(width)), layout, grain)
