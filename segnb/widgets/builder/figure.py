"""The data-flow drawing as a figure: what GitHub, a page of a course and a front end without widgets show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path

from segnb import draw

PIXELS = 96  # of the layout in an inch of paper
POINTS = 72 / PIXELS  # of a font, in a pixel
CORNER = 6.0  # radius of an arrow's turns
INK, FAINT, BAND = "#1f2328", "#656d76", "#f4f6f8"
COLOURS = {
    "image": "#8b949e",
    "stage": draw.BLUE,
    "block": draw.VERMILLION,
    "head": "#16855b",
    "logits": "#8b949e",
}
# An arrow has the colour of the part whose map it carries; joints belong to the decoder.
ARROWS = {**COLOURS, "joint": draw.VERMILLION}


def flow_figure(drawing: Mapping[str, Any], caption: str) -> draw.Figure:
    """Draw a data flow.

    Args:
        drawing: what `segnb.widgets.builder.layout.lay_out` returns.
        caption: the line below the drawing.

    Returns:
        A figure of the drawing's own size.
    """
    width, height = drawing["width"], drawing["height"] + 24
    figure = draw.Figure(figsize=(width / PIXELS, height / PIXELS))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    for number, band in enumerate(drawing["bands"]):
        if number % 2 == 0:
            axes.add_patch(Rectangle((0, band["top"]), width, band["height"], color=BAND, linewidth=0, zorder=0))
        _write(axes, (8, band["top"] + band["height"] / 2), band["text"], 10, FAINT, va="center")
    for title, colour in zip(drawing["titles"], (draw.BLUE, draw.VERMILLION), strict=True):
        _write(axes, (title["x"], 18), title["text"], 12.5, colour, weight="bold")
    for arrow in drawing["arrows"]:
        _draw_arrow(axes, arrow)
    for block in drawing["blocks"]:
        _draw_block(axes, block)
    _write(axes, (8, height - 8), caption, 11, FAINT)
    return figure


def _write(axes: Axes, at: Sequence[float], text: str, size: float, colour: str, **style: Any) -> None:
    # A dollar sign would start a formula.
    axes.text(*at, text.replace("$", r"\$"), fontsize=size * POINTS, color=colour, zorder=4, **style)


def _draw_arrow(axes: Axes, arrow: Mapping[str, Any]) -> None:
    colour, points = ARROWS[arrow["kind"]], arrow["points"]
    line = PathPatch(_turning(points), facecolor="none", edgecolor=colour, linewidth=1.1, alpha=0.8, zorder=1)
    axes.add_patch(line)
    (x, y), (_, before) = points[-1], points[-2]
    tip = [(x, y), (x - 6, y - 3), (x - 6, y + 3)] if before == y else [(x, y), (x - 3, y - 6), (x + 3, y - 6)]
    axes.add_patch(Polygon(tip, color=colour, linewidth=0, zorder=1))
    if arrow["text"]:
        _write(axes, arrow["at"], arrow["text"], 10.5, INK)


def _turning(points: Sequence[Sequence[float]]) -> Path:
    """A line through points with round corners."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        ends = []
        for other in (before, after):
            length = abs(other[0] - corner[0]) + abs(other[1] - corner[1])  # runs are horizontal or vertical
            share = min(CORNER, length / 2) / max(length, 1e-6)
            ends.append([corner[axis] + share * (other[axis] - corner[axis]) for axis in (0, 1)])
        vertices += [ends[0], corner, ends[1]]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    return Path([*vertices, points[-1]], [*codes, Path.LINETO])


def _draw_block(axes: Axes, block: Mapping[str, Any]) -> None:
    x, y, width, height = (block[key] for key in ("x", "y", "width", "height"))
    if block["kind"] == "joint":
        _draw_joint(axes, block)
    elif not block["shape"]:
        axes.add_patch(
            Rectangle((x, y), width, height, facecolor="white", edgecolor=FAINT, linestyle=(0, (3, 2)), zorder=2)
        )
    else:
        _draw_box(axes, block)
    middle = x + width / 2
    if block["beside"]:
        lines = [line for line in (block["name"], block["caption"], block["note"]) if line]
        for number, line in enumerate(lines):
            at = (x - 10, y + height / 2 + 4 + 13 * (number - (len(lines) - 1) / 2))
            _write(
                axes,
                at,
                line,
                10.5 if number else 11,
                FAINT if number else INK,
                ha="right",
                weight="normal" if number else "bold",
            )
        return
    if block["kind"] != "joint":
        _write(axes, (middle, y - block["depth"] - 4), block["name"], 11, INK, ha="center")
    _write(axes, (middle, y + height + 12), block["caption"], 10.5, FAINT, ha="center")


def _draw_joint(axes: Axes, block: Mapping[str, Any]) -> None:
    x, y, width, height = (block[key] for key in ("x", "y", "width", "height"))
    style = {"facecolor": "white", "edgecolor": INK, "linewidth": 1, "zorder": 2}
    if width > height:
        axes.add_patch(
            FancyBboxPatch((x, y), width, height, boxstyle=f"round,pad=0,rounding_size={height / 2}", **style)
        )
    else:
        axes.add_patch(Circle((x + width / 2, y + height / 2), height / 2, **style))
    axes.text(
        x + width / 2, y + height / 2, block["name"],
        fontsize=(13 if width <= height else 10.5) * POINTS, color=INK, ha="center", va="center_baseline", zorder=4,
    )  # fmt: skip


def _draw_box(axes: Axes, block: Mapping[str, Any]) -> None:
    """A slab: front, top and side, lighter where the decoder does not look."""
    x, y, width, height, depth = (block[key] for key in ("x", "y", "width", "height", "depth"))
    colour, strength = COLOURS[block["kind"]], 1.0 if block["read"] else 0.3
    right, bottom = x + width, y + height
    faces = [
        ([(x, y), (right, y), (right, bottom), (x, bottom)], 0.0),
        ([(x, y), (x + depth, y - depth), (right + depth, y - depth), (right, y)], 0.35),
        ([(right, y), (right + depth, y - depth), (right + depth, bottom - depth), (right, bottom)], -0.25),
    ]
    for corners, light in faces:
        axes.add_patch(
            Polygon(corners, facecolor=_shade(colour, light, strength), edgecolor="white", linewidth=0.6, zorder=2)
        )


def _shade(colour: str, light: float, strength: float) -> tuple[float, ...]:
    """Mix a colour with white (light above 0) or black, and fade it; opaque, so that arrows do not show through."""
    towards = 1.0 if light > 0 else 0.0
    mixed = [part + abs(light) * (towards - part) for part in to_rgb(colour)]
    return tuple(1 - strength * (1 - part) for part in mixed)
