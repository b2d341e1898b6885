"""Houses: boxes whose walls know, for each dot, how far along and how far up it is.

A dot of the canvas is a ray from the camera. Where the ray meets a wall gives metres along the wall and metres up, and
from these two follow windows, shops, ledges and roof: no picture of a wall is stored or warped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segnb.data.samples.canvas import OVERSAMPLING, Window, fractal_noise, mix
from segnb.data.samples.street.view import BUILDING, NEAREST, View

STOREY, ROOF_HEIGHT, DEPTH = 3.0, 1.7, 15.0  # metres
END_BRIGHTNESS = 0.82  # of walls that face the camera: the sun stands beside the street
GLASS, LAMPLIGHT = (0.20, 0.25, 0.31), (1.25, 0.98, 0.55)
FACADES = [(0.72, 0.42, 0.32), (0.80, 0.72, 0.58), (0.86, 0.82, 0.74), (0.62, 0.50, 0.40), (0.74, 0.63, 0.46),
           (0.58, 0.36, 0.30), (0.72, 0.72, 0.70), (0.84, 0.70, 0.50), (0.66, 0.70, 0.72)]  # fmt: skip
ROOFS = [None, None, (0.34, 0.34, 0.37), (0.52, 0.30, 0.24), (0.40, 0.34, 0.31)]
AWNINGS = [(0.62, 0.16, 0.16), (0.16, 0.36, 0.26), (0.18, 0.26, 0.48), (0.78, 0.62, 0.22), (0.30, 0.28, 0.28)]


@dataclass(frozen=True)
class House:
    """A box with windows.

    Attributes:
        side: -1 left of the road, 1 right.
        front: metres from the middle of the road to the street front.
        near: distance of its near end from the camera.
        far: distance of its far end.
        height: metres.
        wall: colour of the wall.
        bay: metres from window to window.
        opening: share of a bay and of a storey that the window takes, (across, up).
        awning: colour above the shop windows on the ground floor.
        shop: whether the ground floor is a shop.
        roof: colour of the roof; None = flat.
    panes: (8, 16) brightness of single windows, 0 to 1.
    """

    side: int
    front: float
    near: float
    far: float
    height: float
    wall: tuple[float, float, float]
    bay: float
    opening: tuple[float, float]
    awning: tuple[float, float, float]
    shop: bool
    roof: tuple[float, float, float] | None
    panes: np.ndarray

    @classmethod
    def plan(
        cls, side: int, front: float, reach: tuple[float, float], height: float, rng: np.random.Generator
    ) -> House:
        """Choose the colours and windows of a house that reaches from near to far."""
        wall = np.clip(np.asarray(FACADES[rng.integers(len(FACADES))]) * rng.uniform(0.85, 1.1), 0, 1)
        return cls(side, front, *reach, height, tuple(wall), rng.uniform(1.9, 3.2),
                   (rng.uniform(0.4, 0.65), rng.uniform(0.5, 0.62)), AWNINGS[rng.integers(len(AWNINGS))],
                   bool(rng.random() < 0.6), ROOFS[rng.integers(len(ROOFS))], rng.random((8, 16)))  # fmt: skip


@dataclass(frozen=True)
class Wall:
    """The dots of the canvas that show one wall, N of them.

    Attributes:
        window: part of the canvas.
        where: bool (rows, columns): which dots of the window.
        along: metres along the wall, (N,).
        up: metres above the ground, (N,).
        z: distance in metres, (N,).
    """

    window: Window
    where: np.ndarray
    along: np.ndarray
    up: np.ndarray
    z: np.ndarray

    @classmethod
    def meet(cls, window: Window, where: np.ndarray, along: np.ndarray, up: np.ndarray, z: np.ndarray | float) -> Wall:
        """Keep the dots at which rays meet the wall; the arrays are broadcast to those of ``where``."""
        along, up, z = (np.broadcast_to(values, where.shape)[where].astype(np.float32) for values in (along, up, z))
        return cls(window, where, along, up, z)


def paint_house(view: View, house: House, grain: np.random.Generator) -> None:
    """Paint the wall that faces the camera, then the wall along the street."""
    front, near = house.side * house.front, max(house.near, NEAREST)
    corners = [
        (front, house.height, near),
        (front, 0, near),
        (front, 0, house.far),
        (front + house.side * DEPTH, 0, near),
    ]
    (left, top), (right, bottom) = view.project(corners).min(0), view.project(corners).max(0)
    window = view.canvas.window(left, top, right, bottom)
    if view.canvas.labels[window].size == 0:
        return
    columns, rows = view.canvas.grid(window)
    rightward, downward = (columns - view.centre[0]) / view.focal, (rows - view.centre[1]) / view.focal

    if house.near > NEAREST:
        along, up = house.side * (view.x + rightward * near) - house.front, view.height - downward * near
        where = (along >= 0) & (along <= DEPTH) & (up >= 0) & (up <= house.height)
        paint_wall(view, house, Wall.meet(window, where, along, up, near), END_BRIGHTNESS, grain)
    towards = np.where(rightward * house.side > 1e-6, rightward, np.nan)  # rays that go to this side of the street
    z = (front - view.x) / towards
    up = view.height - downward * z
    where = (z >= near) & (z <= house.far) & (up >= 0) & (up <= house.height)
    paint_wall(view, house, Wall.meet(window, where, z - house.near, up, z), view.facing(-house.side), grain)


def paint_wall(view: View, house: House, wall: Wall, brightness: float, grain: np.random.Generator) -> None:
    """Paint plaster, then all that is on it, then the lamps behind the windows."""
    stain = fractal_noise(wall.where.shape, 8 * OVERSAMPLING, grain, octaves=5)[wall.where]
    surface = np.tile(np.asarray(house.wall, np.float32), (wall.up.size, 1))
    light = (1 + 0.05 * stain) * (0.78 + 0.22 * np.clip(wall.up / 2.5, 0, 1))
    glass = mix(GLASS, view.light.zenith, 0.2)
    panes, frames, shine = windows(house, wall)
    trim = np.clip(np.asarray(house.wall) * 1.2 + 0.05, 0, 1)
    surface[frames] = trim
    surface[panes], light[panes] = glass, 0.6 + 0.9 * shine[panes]
    if house.shop:
        dress_shop(house, wall, surface, glass)
    ledge = (wall.up > house.height - 0.45) | (np.abs(wall.up - STOREY) < 0.1)
    surface[ledge] = trim * 0.92
    if house.roof:
        tiles = wall.up > house.height - ROOF_HEIGHT
        surface[tiles], light[tiles] = house.roof, 0.9 + 0.1 * (wall.up[tiles] * 3 % 1 < 0.7)
    colour = view.lit(surface, wall.z, light * brightness)
    lamps = panes & (shine > 1 - view.light.lamps) & ((wall.up > STOREY) | (not house.shop))
    colour[lamps] = mix(view.light.horizon, LAMPLIGHT, view.clear(wall.z[lamps]))
    view.canvas.colours[wall.window][wall.where] = colour
    view.canvas.labels[wall.window][wall.where] = BUILDING


def windows(house: House, wall: Wall) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give, for each dot, if it is pane, if it is pane or frame, and how its window shines (0 to 1)."""
    bay, storey = wall.along / house.bay, wall.up / STOREY
    across, rise = np.abs(bay % 1 - 0.5) * 2, np.abs(storey % 1 - 0.52) * 2
    inside = (wall.up < house.height - (ROOF_HEIGHT if house.roof else 0.8)) & (wall.up > 0.8)
    frames = (across < house.opening[0] + 0.10) & (rise < house.opening[1] + 0.08) & inside
    panes = (across < house.opening[0]) & (rise < house.opening[1]) & inside & (across > 0.05)
    return panes, frames, house.panes[storey.astype(int) % 8, bay.astype(int) % 16].astype(np.float32)


def dress_shop(house: House, wall: Wall, surface: np.ndarray, glass: np.ndarray) -> None:
    """Change the ground floor of a surface (N, 3) into a shop: dark base, windows with goods, an awning."""
    shelf = house.panes[(wall.up * 2.5).astype(int) % 8, (wall.along * 2.2).astype(int) % 16]
    goods = mix(glass * 0.7, house.panes[:3, 0] * 0.9, (0.45 * shelf * (wall.up < 1.6))[:, None])
    surface[wall.up < STOREY] = np.asarray(house.wall) * 0.55
    front = (wall.up > 0.5) & (wall.up < 2.3) & (wall.along % (house.bay * 1.5) > 0.35)
    surface[front] = goods[front]
    surface[(wall.up > 2.3) & (wall.up < 2.95)] = house.awning
