"""Inspector: the worst predictions first, and why they went wrong.

    scores of all pictures ─────────▶ browser: order, filter
    one picture, its labels, maps ──▶ browser: opacity, threshold, swipe, errors      never asks Python
    another picture, another map ◀──▶ Python: predicts, explains

The widget takes arrays and an object that computes what is shown, see `Inspectable`; `segnb.inspect` makes both from a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np

from segnb import draw
from segnb.errors import SegnbError
from segnb.widgets.inspector.findings import TITLES, Findings, as_text
from segnb.widgets.inspector.payloads import Inspectable, check_picture, encode_map, encode_picture
from segnb.widgets.inspector.state import MAPS, OF_A_CLASS, OF_A_STAGE, InspectorState

COLOURS = "viridis"  # brightness grows evenly with the value, so readers with any colour vision see the same order
KEPT = ("left", "compare", "split", "opacity", "threshold", "visible")  # written as code if they were changed


class Inspector(InspectorState):
    """Shows predictions worst first: errors, confusions, probability, uncertainty, explanations, a second model.

    Whatever a click does, a method or an attribute does as well.

    Args:
        pictures: computes what is shown, see `Inspectable`.
        findings: scores and counts of all pictures.

    Attributes:
        shown: index of the picture shown.
        metric: what the pictures are ordered by, worst first: a name in ``scores``.
        label: the class looked at; its name or number when set, its number when read, -1 for all.
        only: ``"all"`` pictures, those with the class in the ``"truth"`` or the ``"prediction"``, or with ``"errors"`` in it.
        confused: [true, predicted] label of the chosen cell of the confusion matrix, or empty.
        layer: what is shown; `layers` lists all.
        left: the layer on the left of the dividing line, ``""`` for none.
        compare: the two layers in one picture (``"swipe"``) or in two (``"side"``); ``split``: the line's place, 0 to 1.
        opacity: of the colours, 0 to 1.
        threshold: of the class's probability, 0 to 1.
        visible: whether each class is drawn.
        stage: whose feature map is shown or explained.
        channel: which channel of the feature map, -1 for all.
    """

    scripts = ("shared", "stage", "marks", "strip", "confusion")

    def __init__(self, pictures: Inspectable, findings: Findings) -> None:
        self._pictures, self._findings, self._changing = pictures, findings, False
        classes = findings.label_names
        foreground = [name.lower() != "background" for name in classes]  # its colour would cover the whole picture
        super().__init__(
            names=findings.names,
            class_names=classes,
            palette=findings.palette.tolist(),
            metrics={name: TITLES.get(name, name) for name in findings.scores},
            scores={name: as_text(values) for name, values in findings.scores.items()},
            presence=as_text(findings.presence),
            matrix=findings.cells.matrix().tolist(),
            stages=dict(pictures.stages),
            compared=pictures.compared,
            colours=(mpl.colormaps[COLOURS](np.arange(256))[:, :3] * 255).round().astype(int).tolist(),
            note=findings.note,
            metric=next(iter(findings.scores)),
            label=1 if len(classes) == 2 else -1,
            visible=foreground if any(foreground) else [True] * len(classes),
            stage=next(reversed(list(pictures.stages)), ""),
            shown=0,
        )
        self.observe(self._leave_maps_of_a_class, "label")
        self.observe(self._follow, ["shown", "layer", "left", "label", "stage", "channel"])
        self.observe(self._open_cell, "confused")
        try:
            self.shown = next(iter(self.ranking()), 0)
            self._follow()
        except Exception as problem:  # a file that has vanished since it was judged: the others can still be seen
            self.show_error(problem)
        self._first = {name: getattr(self, name) for name in ("metric", "label", "only", *KEPT)}

    def ranking(self) -> list[int]:
        """List the pictures that pass the filter, worst first; with a chosen cell, those with most of its pixels first.

        Returns:
            Indices; pictures without the score are left out.
        """
        return self._findings.ranking(self.metric, self.label, self.only, self.confused)

    def worst(self, n: int = 8) -> list[str]:
        """Name the first pictures of `ranking`.

        Args:
            n: how many.

        Returns:
            Their names.
        """
        return [self.names[index] for index in self.ranking()[:n]]

    def order(self, metric: str, label: str | int | None = None, only: str = "all") -> Inspector:
        """Order the pictures and show the worst.

        Args:
            metric: a name in ``inspector.scores``, such as "miou", "iou", "accuracy", "loss".
            label: the class looked at from here on, name or number, -1 for all; None leaves it.
            only: pictures with the class in the "truth" or "prediction", or with "errors" in it; "all" is no filter.

        Returns:
            The inspector itself.

        Raises:
            SegnbError: there is no such score, class or filter.
        """
        with self._together():
            self.label = self.label if label is None else label
            self.metric, self.only, self.confused = metric, only, []
            self.shown = next(iter(self.ranking()), self.shown)
        return self

    def show(self, picture: int | str) -> Inspector:
        """Show a picture.

        Args:
            picture: its index in the data, or its name.

        Returns:
            The inspector itself.

        Raises:
            SegnbError: there is no such picture, or it cannot be read.
        """
        if isinstance(picture, str):
            if picture not in self.names:
                raise SegnbError(f"there is no picture {picture!r}: inspector.names lists all.")
            picture = self.names.index(picture)
        self.shown = picture
        return self

    def cell(self, true: str | int, predicted: str | int) -> Inspector:
        """Open a cell of the confusion matrix: its pixels are marked, the picture with most of them is shown first.

        Args:
            true: class of the truth, name or number.
            predicted: class of the prediction.

        Returns:
            The inspector itself; ``inspector.confused = []`` closes the cell.

        Raises:
            SegnbError: there is no such class.
        """
        with self._together():
            self.confused = [true, predicted]
        return self

    def explain(
        self, kind: str, stage: str | None = None, label: str | int | None = None, channel: int | None = None
    ) -> Inspector:
        """Show a map that tells why the model predicts what it does, or how sure it is.

        Args:
            kind: "gradcam", "features", "entropy", "variance" or "probability".
            stage: whose feature map, see ``inspector.stages``; None leaves it.
            label: the class looked at from here on, name or number, -1 for all; None leaves it.
            channel: of the feature map; None for the mean of all.

        Returns:
            The inspector itself.

        Raises:
            SegnbError: there is no such map, stage, class or channel, or the map is of one class and none is chosen.
        """
        with self._together():
            self.label = self.label if label is None else label
            self.stage = self.stage if stage is None else stage
            self.channel = -1 if channel is None else channel
            self.layer = kind
        return self

    def describe(self) -> str:
        """Say what is shown."""
        pictures = "1 picture" if len(self.names) == 1 else f"{len(self.names)} pictures"
        return f"{pictures}, worst first by {self.metrics[self.metric]}: {', '.join(self.worst(3)) or 'none'}"

    def as_code(self) -> str:
        """Write what was clicked as Python code."""
        options = ["against=other"] * self.compared + ["boundaries=True"] * ("boundary_iou" in self.scores)
        changed = {name for name, value in self._first.items() if getattr(self, name) != value}
        lines = [f"inspector = segnb.inspect({', '.join(['model', 'data', *options])})"]
        if changed & {"metric", "label", "only"}:
            given = [repr(self.metric)] + [repr(self.class_names[self.label])] * (self.label >= 0)
            lines.append(f"inspector.order({', '.join([*given] + [f'only={self.only!r}'] * (self.only != 'all'))})")
        lines += ["inspector.label = None"] * ("label" in changed and self.label < 0)
        if self.confused:
            true, predicted = (self.class_names[label] for label in self.confused)
            lines.append(f"inspector.cell({true!r}, {predicted!r})")
        name = self.names[self.shown]
        lines.append(f"inspector.show({name!r})" if self.names.count(name) == 1 else f"inspector.show({self.shown})")
        if self.left in OF_A_STAGE and self.layer not in OF_A_STAGE:
            lines.append(f"inspector.stage, inspector.channel = {self.stage!r}, {self.channel}")
        lines += [self._layer_as_code()] if self.layer != "prediction" else []
        lines += [f"inspector.{name} = {getattr(self, name)!r}" for name in KEPT if name in changed]
        return "\n".join(["import segnb", "", *lines, "inspector"])

    def figure_png(self) -> bytes:
        """Draw the shown picture and the next worst with their masks and predictions.

        Returns:
            The bytes of a PNG file, or ``b""`` if they cannot be read.
        """
        following = [index for index in self.ranking() if index != self.shown]
        try:
            items = [self._read(index) for index in [self.shown, *following[:1]]]
        except Exception:  # shown in the widget; a picture of nothing must not keep the widget from being displayed
            return b""
        sheet = [(item["image"], item["labels"], item["prediction"], item["name"]) for item in items]
        return draw.png_bytes(draw.contact_sheet(sheet, self._findings.palette, self.class_names), dpi=80)

    def _leave_maps_of_a_class(self, _change: Any) -> None:
        if self.label < 0:
            self.layer = "prediction" if self.layer in OF_A_CLASS else self.layer
            self.left = "" if self.left in OF_A_CLASS else self.left

    def _open_cell(self, _change: Any) -> None:
        if self.confused:
            pixels = self._findings.cells.pixels(*self.confused).astype(np.float32)
            self.cell_pixels = {"of": self.confused, "pixels": as_text(pixels)}
            self.layer = "errors"
            self.shown = next(iter(self.ranking()), self.shown)

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Compute once after several changes: nothing for what they pass through."""
        self._changing = True
        try:
            yield
        finally:
            self._changing = False
            self._follow()

    def _take(self, values: dict[str, Any]) -> None:
        with self._together():
            super()._take(values)

    def _follow(self, _change: Any = None) -> None:
        """Compute what is to be seen and not there yet; of other pictures nothing is kept."""
        if self._changing:
            return
        self.error = ""
        if self.picture.get("index") != self.shown:
            self.picture = encode_picture(self._read(self.shown), self.shown)
        maps = {layer: found for layer, found in self.maps.items() if found["of"][0] == self.shown}
        for layer in {self.layer, self.left} & set(MAPS):
            of = [self.shown, *(getattr(self, name) for name in MAPS[layer])]
            if layer not in maps or maps[layer]["of"] != of:
                maps[layer] = {"of": of, **self._map(layer)}
        if maps != self.maps:
            self.maps = maps

    def _read(self, index: int) -> dict[str, Any]:
        return check_picture(self._pictures.picture(index), self.names[index], len(self.class_names))

    def _map(self, layer: str) -> dict[str, Any]:
        if layer == "probability":
            return encode_map(self._pictures.probability(self.shown, self.label), 0.0, 1.0, "")
        self.progress = 0
        try:
            values, about = self._pictures.explanation(
                layer,
                self.shown,
                label=None if self.label < 0 else self.label,
                stage=self.stage,
                channel=None if self.channel < 0 else self.channel,
                progress=self._tell,
            )
        finally:
            self.progress = -1
        high = 1.0 if layer == "entropy" else float(values.max())
        return encode_map(values, min(0.0, float(values.min())), high, about)

    def _tell(self, share: float) -> None:
        self.progress = share

    def _layer_as_code(self) -> str:
        if self.layer in OF_A_STAGE:
            channel = f", channel={self.channel}" if self.layer == "features" and self.channel >= 0 else ""
            return f"inspector.explain({self.layer!r}, {self.stage!r}{channel})"
        return f"inspector.layer = {self.layer!r}"
