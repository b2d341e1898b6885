"""Rows, columns and ways of a data-flow drawing, before any pixel.

    stride 1   image                                    logits        a row is a resolution, a column a step of the computation
                 │                                         ▲
    stride 2    c1 ──────────────────▶ block ── block ─────┘          where blocks of one step share a resolution,
                 │                       ▲                            the row has several lanes
    stride 4    c2 ───────▶ block ───────┘
                 │            ▲
    stride 8    c3 ───────────┘

Arrows run along lanes and, between two columns, up and down in gutters: the layered layout of Sugiyama et al. (IEEE Transactions
on Systems, Man and Cybernetics 1981, https://doi.org/10.1109/TSMC.1981.4308636) with its layers standing upright.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Lane(NamedTuple):
    """A horizontal strip: a row (log2 of the stride) and a number within it."""

    row: int
    number: int


class Route(NamedTuple):
    """Which way an arrow runs.

    Attributes:
        leave: the gutter in which it turns right after its giver; None if it does not.
        enter: the gutter in which it turns right before its taker; None if it does not.
        over: the lane over whose blocks it passes; None if its way is free.
    """

    leave: int | None
    enter: int | None
    over: Lane | None


class Grid:
    """Places the nodes of a data flow, and finds a way for each edge that touches no block.

    Args:
        nodes: as in `segnb.widgets.builder.layout.lay_out`.
        edges: likewise.

    Attributes:
        columns: of each node; gutter i lies between columns i and i + 1.
        lanes: of each node.
        routes: of each edge, by its place; edges inside the encoder's column have none.
    """

    def __init__(self, nodes: Sequence[Mapping[str, Any]], edges: Sequence[Mapping[str, Any]]) -> None:
        self.nodes, self.edges = nodes, edges
        self.columns = self._find_columns()
        self.lanes = self._find_lanes()
        self._taken = set(zip(self.lanes, self.columns, strict=True))
        self.routes = {place: self._find_route(edge) for place, edge in enumerate(edges) if not self.is_chain(edge)}

    def is_chain(self, edge: Mapping[str, Any]) -> bool:
        """Whether an edge leads from one stage of the encoder to the next."""
        return self.nodes[edge["target"]]["kind"] == "stage"

    def turns(self, place: int) -> list[tuple[int, tuple[str, int, bool]]]:
        """List the vertical runs of an edge.

        Args:
            place: of the edge.

        Returns:
            For each ``(gutter, who shares its track)``: edges from one giver, or from one part of the model to one taker.
        """
        edge, route = self.edges[place], self.routes[place]
        of_encoder = self.nodes[edge["source"]]["kind"] == "stage"
        turns = [] if route.leave is None else [(route.leave, ("from", edge["source"], of_encoder))]
        return turns if route.enter is None else [*turns, (route.enter, ("to", edge["target"], of_encoder))]

    def passing(self, lane: Lane) -> list[int]:
        """The givers of the edges that pass over a lane's blocks."""
        return list(
            dict.fromkeys(self.edges[place]["source"] for place, route in self.routes.items() if route.over == lane)
        )

    def _find_columns(self) -> list[int]:
        """Image and stages stand in column 0, every other node one step after the last of those that it reads."""
        columns = [0] * len(self.nodes)
        for edge in sorted(self.edges, key=lambda edge: edge["target"]):
            if not self.is_chain(edge):
                columns[edge["target"]] = max(columns[edge["target"]], columns[edge["source"]] + 1)
        return columns

    def _row(self, place: int) -> int:
        """log2 of the stride; what is no map stands beside what it comes from."""
        node, shape = self.nodes[place], self.nodes[place]["shape"]
        if node["kind"] == "stage" and not shape:
            return int(node["name"][1:])  # a missing c1 has stride 2
        if len(shape) == 3:
            return round(math.log2(max(1.0, self.nodes[0]["shape"][1] / shape[1])))
        return next((self._row(edge["source"]) for edge in self.edges if edge["target"] == place), 0)

    def _find_lanes(self) -> list[Lane]:
        """Let a node continue the lane of what it reads, if its place there is free."""
        found: dict[int, Lane] = {}
        taken: set[tuple[Lane, int]] = set()
        for place in sorted(range(len(self.nodes)), key=lambda place: (self.columns[place], place)):
            row, column = self._row(place), self.columns[place]
            read = [edge["source"] for edge in self.edges if edge["target"] == place]
            wished = [found[source] for source in read if source in found and found[source].row == row]
            options = [*wished, *(Lane(row, number) for number in range(len(self.nodes)))]
            found[place] = next(lane for lane in options if (lane, column) not in taken)
            taken.add((found[place], column))
        return [found[place] for place in range(len(self.nodes))]

    def _find_route(self, edge: Mapping[str, Any]) -> Route:
        start, end = self.lanes[edge["source"]], self.lanes[edge["target"]]
        first, last = self.columns[edge["source"]], self.columns[edge["target"]]

        def free(lane: Lane) -> bool:
            return not any((lane, column) in self._taken for column in range(first + 1, last))

        if start == end and free(end):
            return Route(None, None, None)
        if start != end and free(start):
            return Route(None, last - 1, None)
        if start != end and free(end):
            return Route(first, None, None)
        return Route(first, last - 1, end)
