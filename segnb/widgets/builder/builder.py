"""Builder: choose architecture and encoder, and see what becomes of a picture on its way through the model.

    a click, or builder.arch = "fpn" ─▶ traits ─▶ look(design) ─▶ drawing, parameters, multiply-adds ─▶ browser
    "Measure", or builder.measure() ──────────▶ measure(design) in a thread ─▶ time, memory

The widget knows no model: it is given rows of encoders, descriptions of architectures, and three functions of a design, which
is a dictionary of plain values. `segnb.build` joins it to the library.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import traitlets

from segnb import draw
from segnb.errors import SegnbError
from segnb.widgets.builder.figure import flow_figure
from segnb.widgets.builder.layout import lay_out
from segnb.widgets.builder.state import BuilderState

WIDTH = 88  # characters: longer code goes on several lines

Design = Mapping[str, Any]


class Cancelled(Exception):  # noqa: N818 - nothing went wrong
    """Raised inside a measurement that is no longer wanted."""


class Builder(BuilderState):
    """Shows a model as it is chosen: its data flow in true shapes, its size and its cost.

    Args:
        encoders: for each ``[name, parameters, strides, [[tag, licence], ...], offline]``.
        architectures: for each ``name``, ``title``, ``idea``, ``paper``, ``family``, ``levels`` (the strides that it reads, by
            encoder_depth) and ``options``; an option has ``name``, ``help``, ``default``, ``kind``, ``choices``, ``whole`` and
            ``optional``.
        look: takes a design; returns ``nodes``, ``edges``, ``parameters`` by part, ``multiply_adds`` and ``remarks``.
        measure: takes a design and a function to call with the share that is done; returns ``ms``, ``lower``, ``upper``,
            ``peak_mb`` and ``machine``.
        create: takes a design; returns the model.
        arch: the architecture to start with.
        encoder_name: the encoder to start with, with or without a ``.tag`` of its weights.
        classes: number or names of the classes.
        in_channels: channels of the pictures.
        size: (height, width) of the pictures.

    Attributes:
        arch: the chosen architecture.
        encoder_name: the chosen encoder.
        encoder_weights: ``"imagenet"``, a tag, or None for random weights.
        options: the options of the architecture that differ from their defaults.
        size: [height, width].
        filters: of the list of encoders, see `search`.
        facts: ``parameters`` by part, ``multiply_adds``, ``remarks`` (sentences), and ``problem``: why there is no such model, or
            empty.
        drawing: the data flow as geometry, see `segnb.widgets.builder.layout.lay_out`.
        measured: ``ms``, ``lower``, ``upper``, ``peak_mb`` and ``machine``; empty until `measure`.
        progress: share of a running measurement that is done; None if none runs.

    Raises:
        SegnbError: an unknown architecture or encoder, or an impossible size.
    """

    scripts: ClassVar[tuple[str, ...]] = ("shared", "flow", "encoders")

    def __init__(
        self,
        encoders: Sequence[Sequence[Any]],
        architectures: Sequence[Mapping[str, Any]],
        *,
        look: Callable[[Design], Mapping[str, Any]],
        measure: Callable[[Design, Callable[[float], None]], Mapping[str, Any]],
        create: Callable[[Design], Any],
        arch: str,
        encoder_name: str,
        classes: int | Sequence[str] = 1,
        in_channels: int = 3,
        size: Sequence[int] = (256, 256),
    ) -> None:
        self._look, self._measure, self._create = look, measure, create
        self._model: Any = None
        self._unwanted = threading.Event()  # of a running measurement
        self._following = False
        super().__init__(encoders, architectures, classes, in_channels)
        self.arch, self.size = arch, list(size)
        self.encoder_name, _, tag = encoder_name.partition(".")
        self.encoder_weights = tag or ("imagenet" if self._tags() else None)
        self._following = True
        self._refresh()

    # What Python code calls

    def model(self) -> Any:
        """Build the chosen model, with its weights.

        Returns:
            A `SegmentationModel`; the same one each time until something else is chosen, so that training it lasts.

        Raises:
            SegnbError: there is no such model, or its weights cannot be had.
        """
        if self._model is None:
            self._model = self._create(self.design())
        return self._model

    def create(self, encoder_weights: str | None) -> Any:
        """Build another model like the chosen one, with other weights.

        Args:
            encoder_weights: as in `segnb.create_model`: ``"imagenet"``, a tag, a file, or None for random ones.

        Returns:
            A new `SegmentationModel` each time.

        Raises:
            SegnbError: there is no such model, or its weights cannot be had.
        """
        return self._create({**self.design(), "encoder_weights": encoder_weights})

    def measure(self) -> dict[str, Any]:
        """Time the chosen model on this machine, and look at its memory; takes some seconds.

        Returns:
            ``ms``, ``lower`` and ``upper`` (median and quartiles of a pass with one picture), ``peak_mb`` and ``machine``; empty
            if something else was chosen meanwhile, or `cancel` was called.

        Raises:
            SegnbError: there is no such model, or no room for it.
        """
        self._unwanted.clear()
        design, self.error, self.progress = self.design(), "", 0.0
        try:
            result = dict(self._measure(design, self._go_on))
            if design == {**self.design(), "encoder_weights": design["encoder_weights"]}:
                self.measured = result
        except Cancelled:
            pass
        finally:
            self.progress = None
        return self.measured

    def cancel(self) -> None:
        """End a running measurement."""
        self._unwanted.set()

    def as_code(self) -> str:
        """Write the lines that make the chosen model.

        Returns:
            Python code.
        """
        arguments = [repr(self.arch), repr(self.encoder_name)]
        given = {"encoder_weights": self.encoder_weights, "in_channels": self._in_channels, "classes": self._classes}
        usual = {"encoder_weights": "imagenet", "in_channels": 3, "classes": 1}
        arguments += [f"{name}={value!r}" for name, value in given.items() if value != usual[name]]
        arguments += [f"{name}={value!r}" for name, value in self.options.items()]
        line = f"model = segnb.create_model({', '.join(arguments)})"
        if len(line) > WIDTH:
            line = "model = segnb.create_model(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"
        return f"import segnb\n\n{line}"

    def describe(self) -> str:
        """Say what is chosen, and what it costs."""
        chosen = f"{self.arch} on {self.encoder_name}"
        if self.facts.get("problem"):
            return f"{chosen}: {self.facts['problem']}"
        return f"{chosen}: {self._cost()}"

    def figure_png(self) -> bytes:
        """Draw the data flow.

        Returns:
            The bytes of a PNG file.
        """
        return draw.png_bytes(flow_figure(self.drawing, self._cost()), dpi=120) if self.drawing else b""

    # What the browser sends

    def on_command(self, message: dict[str, Any]) -> None:
        """Start or end a measurement.

        Args:
            message: ``{"type": "measure"}`` or ``{"type": "cancel"}``.
        """
        if message["type"] == "cancel":
            self.cancel()
        elif message["type"] == "measure" and self.progress is None:
            # Beside the kernel's own work; but what a thread says is not shown on Colab.
            if "google.colab" in sys.modules:
                self._measure_quietly()
            else:
                threading.Thread(target=self._measure_quietly, name="segnb measure", daemon=True).start()

    # Inside

    def _measure_quietly(self) -> None:
        try:
            self.measure()
        except Exception as problem:
            self.show_error(problem)

    def _go_on(self, share: float) -> None:
        if self._unwanted.is_set():
            raise Cancelled
        self.progress = share

    def _cost(self) -> str:
        """The numbers of the drawing in one line."""
        if "parameters" not in self.facts:
            return ""
        parts = self.facts["parameters"]
        split = ", ".join(f"{part} {_millions(count)}" for part, count in parts.items())
        return (
            f"{_millions(sum(parts.values()))} parameters ({split}), "
            f"{self.facts['multiply_adds'] / 1e9:.1f} G multiply-adds at {self.size[0]} × {self.size[1]}"
        )

    @traitlets.observe("arch", "encoder_name", "encoder_weights", "options", "size")
    def _follow(self, change: dict[str, Any]) -> None:
        if not self._following:
            return
        self._model = None
        self._following = False
        try:
            if change["name"] == "arch":
                self.options = self._options_that_fit()
            elif change["name"] == "encoder_name":
                self._suit_weights(bool(self._rows[change["old"]].tags))
        finally:
            self._following = True
        if change["name"] != "encoder_weights":
            self.cancel()
            self.measured = {}
            self._refresh()

    def _refresh(self) -> None:
        """Look at the design; a problem is shown in place of its numbers, above the last drawing."""
        self.error = ""
        try:
            seen = dict(self._look(self.design()))
        except SegnbError as problem:
            self.facts = {"problem": str(problem), "for": self._chosen()}
            return
        titles = (f"Encoder {self.encoder_name}", f"Decoder {self.arch}")
        self.drawing = lay_out(seen.pop("nodes"), seen.pop("edges"), titles)
        self.facts = {**seen, "problem": "", "for": self._chosen()}

    def _chosen(self) -> list[Any]:
        """What the facts are about: the browser waits until this is what it shows."""
        return [self.arch, self.encoder_name, dict(self.options), list(self.size)]


def _millions(count: int) -> str:
    """24436369 -> "24.4 M", 725 -> "725"."""
    if count >= 1e6:
        return f"{count / 1e6:.1f} M"
    return f"{count / 1e3:.1f} k" if count >= 1e3 else str(count)
