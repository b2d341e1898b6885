"""A data-flow drawing in pixels: the browser and matplotlib draw the same picture from it.

nodes, edges ─▶ rows, columns, ways ─▶ y of each lane, x of each column and arrow ─▶ boxes, lines and words

The width of a block is the square root of its channels, its height grows with its resolution, slower than in proportion: both are
seen, from a map of 1 × 1 pixel to the picture, and from 1 channel to 2048.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from segnb.widgets.builder.grid import Grid, Lane
from segnb.widgets.builder.words import has_stride, scale_text, shape_text, text_width

NAME, SHAPE, TITLE = 11.0, 10.5, 12.5  # pixels of the letters
TALLEST, THINNEST, WIDEST = 78.0, 9.0, 84.0  # pixels of a block
GUTTER, TRACK, TURN = 26.0, 7.0, 12.0  # between columns, between parallel arrows, from the last of these to a block
LEFT, TOP, RIGHT, BOTTOM = 64.0, 30.0, 14.0, 8.0  # margins: strides are written on the left, titles above
JOINT = 18.0  # a joint's height
CAPTION = 16.0  # above a block for its name, below it for its shape
AIR = 6.0  # above and below a lane
COARSEST = 6  # log2 of the largest stride that an encoder has

Track = tuple[str, int, bool]  # who shares a vertical run, see `Grid.turns`


def lay_out(
    nodes: Sequence[Mapping[str, Any]], edges: Sequence[Mapping[str, Any]], titles: tuple[str, str]
) -> dict[str, Any]:
    """Place a data flow.

    Args:
        nodes: with ``kind``, ``name``, ``layer``, ``shape``, ``parameters`` and ``read``; the image is first, the logits last.
        edges: with ``source`` and ``target``, places in ``nodes``, and ``shape`` of the map as it arrives.
        titles: of the encoder and of the decoder.

    Returns:
        ``width`` and ``height``; ``bands``, a strip of each resolution (``top``, ``height``, ``text``); ``blocks``, the nodes
        with ``x``, ``y``, ``width``, ``height``, ``depth`` and what is written at them; ``arrows`` (``points``, ``text`` and
        its place ``at``, ``kind``, ``source``, ``target``); ``titles`` (``x`` and ``text``).
    """
    return _rounded(_Layout(nodes, edges).result(titles))


class _Layout:
    """The steps of `lay_out`."""

    def __init__(self, nodes: Sequence[Mapping[str, Any]], edges: Sequence[Mapping[str, Any]]) -> None:
        self.nodes, self.edges = nodes, edges
        self.grid = Grid(nodes, edges)
        self.scales = [
            "" if self.grid.is_chain(edge) else scale_text(nodes[edge["source"]]["shape"], edge["shape"])
            for edge in edges
        ]
        self.boxes = [self._box(node) for node in nodes]
        self.middles, self.passing, self.bands, self.height = self._stack()
        self.lefts, self.rooms, self.tracks, self.width = self._line_up()

    def result(self, titles: tuple[str, str]) -> dict[str, Any]:
        """Put all into plain data."""
        blocks = [self._block(place) for place in range(len(self.nodes))]
        second = max(self.lefts[1], LEFT + text_width(titles[0], TITLE) * 1.1 + 20)  # bold letters are wider
        return {
            "width": max(self.width, second + text_width(titles[1], TITLE) * 1.1 + RIGHT),
            "height": self.height,
            "bands": self.bands,
            "blocks": blocks,
            "arrows": [self._arrow(place, blocks) for place in range(len(self.edges))],
            "titles": [{"x": LEFT, "text": titles[0]}, {"x": second, "text": titles[1]}],
        }

    def _box(self, node: Mapping[str, Any]) -> tuple[float, float, float]:
        """Width, height and depth of a node."""
        shape = node["shape"]
        if node["kind"] == "joint":
            return max(JOINT, text_width(node["name"], NAME) + 12 if len(node["name"]) > 1 else 0.0), JOINT, 0.0
        if len(shape) != 3:
            return 16.0, 16.0, 0.0
        height = max(THINNEST, TALLEST * min(1.0, shape[1] / self.nodes[0]["shape"][1]) ** 0.45)
        return min(WIDEST, 6 + 1.6 * math.sqrt(shape[0])), height, min(9.0, 0.16 * height)

    def _stack(self) -> tuple[dict[Lane, float], dict[tuple[Lane, int], float], list[dict[str, Any]], float]:
        """Stack the lanes: y of their middles, y of the arrows that pass over them by giver, bands, height of all."""
        above: dict[Lane, float] = defaultdict(float)
        below: dict[Lane, float] = defaultdict(float)
        for lane, (_, height, depth) in zip(self.grid.lanes, self.boxes, strict=True):
            above[lane] = max(above[lane], height / 2 + depth)
            below[lane] = max(below[lane], height / 2)
        middles, passing, bands, y = {}, {}, [], TOP
        for row in sorted({lane.row for lane in above}):
            top = y
            for lane in sorted(lane for lane in above if lane.row == row):
                y += AIR
                for giver in self.grid.passing(lane)[::-1]:
                    passing[lane, giver] = y + TRACK / 2
                    y += TRACK
                y += CAPTION + above[lane]
                middles[lane] = y
                y += below[lane] + CAPTION + AIR
            bands.append({"top": top, "height": y - top, "text": self._stride(row)})
        return middles, passing, bands, y + BOTTOM

    def _stride(self, row: int) -> str:
        """Name a row, unless it holds nothing but means over windows, which have no stride."""
        size = self.nodes[0]["shape"][1:]
        here = [node for node, lane in zip(self.nodes, self.grid.lanes, strict=True) if lane.row == row]
        sides = [node["shape"][1:] for node in here if len(node["shape"]) == 3]
        if row <= COARSEST and (not sides or any(has_stride(size, of, 2**row) for of in sides)):
            return f"stride {2**row}"
        # A transformer's patches may have 14 pixels.
        return next((f"stride {round(size[0] / node['shape'][1])}" for node in here if node["kind"] == "stage"), "")

    def _line_up(self) -> tuple[list[float], list[float], dict[tuple[int, Track], float], float]:
        """Line up the columns: their lefts and widths, x of each vertical track by (gutter, who shares it), width of all."""
        rooms, sharing = self._rooms(), self._sharing()
        before, after = self._label_rooms()
        beside = [
            text_width(_caption(node), SHAPE)
            for node, column in zip(self.nodes, self.grid.columns, strict=True)
            if not column
        ]
        x, lefts, tracks = LEFT + max(beside) + 12, [], {}
        for column, room in enumerate(rooms):
            lefts.append(x)
            x += room
            # Arrows that have just left stand on the left of the gutter, those about to arrive on the right.
            order = sorted(sharing[column], key=lambda key: (key[0] == "to", *key[1:]))
            turns = TRACK * max(0, len(order) - 1)
            gutter = max(GUTTER, TURN + before[column] + after[column]) + turns
            for number, key in enumerate(order):
                tracks[column, key] = x + gutter - max(TURN, after[column]) - turns + TRACK * number
            x += gutter if column < len(rooms) - 1 else RIGHT
        return lefts, rooms, tracks, x

    def _rooms(self) -> list[float]:
        """Pixels of each column: its widest block or caption."""
        rooms = [0.0] * (max(self.grid.columns) + 1)
        for node, column, (width, _, depth) in zip(self.nodes, self.grid.columns, self.boxes, strict=True):
            written = [] if column == 0 else [text_width(_caption(node), SHAPE)]
            written += [] if column == 0 or node["kind"] == "joint" else [text_width(node["name"], NAME)]
            rooms[column] = max([rooms[column], width + depth, *written])
        return rooms

    def _sharing(self) -> dict[int, list[Track]]:
        sharing: dict[int, list[Track]] = defaultdict(list)
        for place in self.grid.routes:
            for gutter, key in self.grid.turns(place):
                if key not in sharing[gutter]:
                    sharing[gutter].append(key)
        return sharing

    def _label_rooms(self) -> tuple[dict[int, float], dict[int, float]]:
        """Pixels that labels take in each gutter, before its tracks and after them."""
        before: dict[int, float] = defaultdict(float)
        after: dict[int, float] = defaultdict(float)
        for place, (edge, text) in enumerate(zip(self.edges, self.scales, strict=True)):
            if text and self._labelled_late(place):
                gutter = self.grid.columns[edge["target"]] - 1
                after[gutter] = max(after[gutter], text_width(text, SHAPE) + 16)
            elif text:
                gutter = self.grid.columns[edge["source"]]
                before[gutter] = max(before[gutter], text_width(text, SHAPE) + 10)
        return before, after

    def _labelled_late(self, place: int) -> bool:
        """Whether an arrow's label stands at its end: its start is shared with others."""
        leaving = [edge for edge in self.edges if edge["source"] == self.edges[place]["source"]]
        return len([edge for edge in leaving if not self.grid.is_chain(edge)]) > 1

    def _block(self, place: int) -> dict[str, Any]:
        node, column, (width, height, depth) = self.nodes[place], self.grid.columns[place], self.boxes[place]
        return {
            **{key: node[key] for key in ("kind", "name", "layer", "parameters", "read")},
            "shape": list(node["shape"]),
            "x": self.lefts[column] + (self.rooms[column] - width - depth) / 2,
            "y": self.middles[self.grid.lanes[place]] - height / 2,
            "width": width,
            "height": height,
            "depth": depth,
            "caption": _caption(node),
            "note": "" if node["read"] else "not read",
            "beside": column == 0,
        }

    def _arrow(self, place: int, blocks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        edge = self.edges[place]
        giver, taker = blocks[edge["source"]], blocks[edge["target"]]
        if self.grid.is_chain(edge):
            x = self.lefts[0] + self.rooms[0] / 2
            points = [(x, giver["y"] + giver["height"]), (x, taker["y"] - taker["depth"])]
        else:
            points = self._way(place, giver, taker)
        if self._labelled_late(place) and len(points) > 2:
            at = (points[-2][0] + 5, points[-1][1] - 4)
        else:
            at = (points[0][0] + giver["depth"] + 4, points[0][1] - 4)
        return {
            "source": edge["source"],
            "target": edge["target"],
            "kind": giver["kind"],
            "points": points,
            "text": self.scales[place],
            "at": at,
        }

    def _way(self, place: int, giver: Mapping[str, Any], taker: Mapping[str, Any]) -> list[tuple[float, float]]:
        """The corners of an arrow from one block to another, through the gutters."""
        edge, route = self.edges[place], self.grid.routes[place]
        end = self.middles[self.grid.lanes[edge["target"]]]
        points = [(giver["x"] + giver["width"], self.middles[self.grid.lanes[edge["source"]]])]
        for gutter, key in self.grid.turns(place):
            x = self.tracks[gutter, key]
            level = self.passing[route.over, edge["source"]] if route.over and key[0] == "from" else end
            points += [(x, points[-1][1]), (x, level)]
        return [*points, (taker["x"], end)]


def _caption(node: Mapping[str, Any]) -> str:
    """What is written below a block: sums and products have the shape of what they join."""
    if node["kind"] == "joint" and node["name"] in ("+", "×"):
        return ""
    return shape_text(node["shape"]) or "no map"


def _rounded(value: Any) -> Any:
    """Tenths of a pixel are enough, and short."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(inner) for inner in value]
    return round(value, 1) if isinstance(value, float) else value
