"""A street seen from a car: a small town is laid out in metres, then painted from far to near.

The order, so that near things hide far ones:

    sky ─▶ hills ─▶ ground and shadows ─▶ houses, far first ─▶ trees, cars, people and poles, far first ─▶ camera
"""

from __future__ import annotations

import numpy as np

from segnb.data.samples.canvas import Canvas, blur, photograph
from segnb.data.samples.street.backdrop import Road, paint_ground, paint_hills, paint_sky
from segnb.data.samples.street.cars import Car
from segnb.data.samples.street.houses import House, paint_house
from segnb.data.samples.street.people import Person
from segnb.data.samples.street.poles import Pole
from segnb.data.samples.street.trees import Tree
from segnb.data.samples.street.view import CLASSES, View, choose_light

__all__ = ["CLASSES", "draw"]

Thing = Car | Person | Pole | Tree
FIRST_HOUSE, LAST_HOUSE = 2.0, 85.0  # where the rows of houses begin and end, metres ahead of the camera


def draw(
    size: tuple[int, int], layout: np.random.Generator, grain: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one street.

    Args:
        size: (height, width) in pixels.
        layout: decides what stands where.
        grain: draws texture and noise.

    Returns:
        The picture, uint8 (H, W, 3), and its labels, uint8 (H, W), positions in CLASSES.
    """
    light = choose_light(layout)
    road = Road.plan(layout)
    houses = plan_houses(road, layout)
    things = plan_things(road, layout)
    view = View.place(Canvas(size), light, road.half_width, layout)

    paint_sky(view, grain)
    paint_hills(view, grain)
    paint_ground(view, road, [shadow for thing in things for shadow in thing.shadows(light)], grain)
    for house in sorted(houses, key=lambda house: -house.far):
        paint_house(view, house, grain)
    for thing in sorted(things, key=lambda thing: -thing.z):
        thing.paint(view, grain)

    picture, labels = view.canvas.finish()
    softness = layout.uniform(0.0, 0.45) * max(size[1] / 192, 0.5)
    exposure = layout.uniform(0.85, 1.12)
    return photograph(blur(picture * exposure, softness), grain, layout.uniform(0.006, 0.02), 0.2), labels


def plan_houses(road: Road, rng: np.random.Generator) -> list[House]:
    """Set a row of houses on each side, with a few gaps."""
    houses = []
    for side in (-1, 1):
        z = FIRST_HOUSE - rng.uniform(0, 6)
        storeys = rng.integers(2, 5)
        while z < LAST_HOUSE:
            length = rng.uniform(7, 16)
            setback = rng.choice([0.0, 0.0, 0.6, 1.5])
            height = 3.0 * max(storeys + rng.integers(-1, 2), 1) + rng.uniform(0.6, 1.6)
            houses.append(House.plan(side, road.edge + setback, (z, z + length), height, rng))
            z += length + (rng.uniform(2.5, 7) if rng.random() < 0.25 else 0)
    return houses


def plan_things(road: Road, rng: np.random.Generator) -> list[Thing]:
    """Plant trees and poles, park and drive cars, and let people walk."""
    things: list[Thing] = []
    leaves = Tree.choose_leaves(rng)
    for side in (-1, 1):
        kerb = road.half_width + 0.4
        if rng.random() < 0.75:
            things += [Tree.plan(side * (kerb + 0.5), z, leaves, rng) for z in spaced(rng, 7, 60, 6, 14)]
        things += [Pole.plan(side * kerb, z, -side, rng) for z in spaced(rng, 4.5, 18, 3.5, 8)]
        things += [
            Person.plan(side * rng.uniform(kerb + 0.4, road.edge - 0.3), rng.uniform(4.5, 12), rng)
            for _ in range(rng.integers(2, 6))
        ]
        if rng.random() < 0.6:
            things += [Car.plan(side * (road.half_width - 1.05), z, side, rng) for z in spaced(rng, 6, 45, 5.2, 12)]
    if road.crossing and rng.random() < 0.8:
        for _ in range(rng.integers(1, 5)):
            things.append(
                Person.plan(rng.uniform(-0.8, 0.8) * road.half_width, road.crossing + rng.uniform(0, 2.5), rng)
            )
    ahead = max(road.crossing + 4, 9)
    for side in (-1, 1):
        things += [Car.plan(side * road.lane, z, side, rng) for z in spaced(rng, ahead, 60, 9, 30)]
    return things


def spaced(rng: np.random.Generator, start: float, stop: float, shortest: float, longest: float) -> list[float]:
    """Give places from about start to stop, random steps apart."""
    places, z = [], start + rng.uniform(0, longest - shortest)
    while z < stop:
        places.append(z)
        z += rng.uniform(shortest, longest)
    return places
