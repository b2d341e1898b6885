"""Panel: the part of the studio that stays: tabs, what each is for, its form, and where the session stands.

    ┌ 1 Data ✓ │ 2 Check │ … │ 8 Export ┐
    │ purpose; what is missing          │   a click ─▶ open_tab, act ─────▶ studio
    │ form                     [Train]  │   facts, missing, working ◀────── studio
    └───────────────────────────────────┘
      the tool of the tab: another widget, put below by the studio

The widget knows no tool: it is handed what to show, and a function to call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import traitlets

from segnb.errors import SegnbError, nearest
from segnb.widgets.base import SegnbWidget
from segnb.widgets.studio.tabs import NAMES, as_rows

PARTS = ("training", "validation")


class Panel(SegnbWidget):
    """Shows the tabs of the studio.

    Args:
        open_tab: called with the name of a tab that was clicked.
        act: called with the name of a button that was pressed: "check", "train", "paint", "take", "export" or "save".
        describe: says in one line where the session stands.
        draw: draws that as a PNG file.
        write: writes it as Python code.

    Attributes:
        tab: the name of the open tab.
        facts: what has been done, a few words by name of the tab; a tab without a fact has nothing done.
        hints: what a tab will work with, a sentence by name of the tab.
        missing: for a tab that cannot be used yet: [sentence, name of the tab to go to], by name.
        working: what is going on, or empty.
        said: what was done last, or empty.
        training: whether a model is being trained.
        part: "training" or "validation": the pictures to look through.
        epochs: to train for, at least 1.
        rate: learning rate as it is typed: a number, or "auto".
        budget: time to train for as it is typed, such as "10 min"; empty for none.
        pictures: how many of the worst to paint, at least 1.
        file: of the exported model.
        raw_pixels: whether that takes pixels as they are.
        notebook: the file to save the session to.
    """

    settable: ClassVar[tuple[str, ...]] = (
        "part", "epochs", "rate", "budget", "pictures", "file", "raw_pixels", "notebook",
    )  # fmt: skip

    tabs = traitlets.List().tag(sync=True)
    tab = traitlets.Unicode("data").tag(sync=True)
    facts = traitlets.Dict().tag(sync=True)
    hints = traitlets.Dict().tag(sync=True)
    missing = traitlets.Dict().tag(sync=True)
    working = traitlets.Unicode("").tag(sync=True)
    said = traitlets.Unicode("").tag(sync=True)
    training = traitlets.Bool(False).tag(sync=True)

    part = traitlets.Unicode("training").tag(sync=True)
    epochs = traitlets.Int(10).tag(sync=True)
    rate = traitlets.Unicode("auto").tag(sync=True)
    budget = traitlets.Unicode("").tag(sync=True)
    pictures = traitlets.Int(4).tag(sync=True)
    file = traitlets.Unicode("model.onnx").tag(sync=True)
    raw_pixels = traitlets.Bool(True).tag(sync=True)
    notebook = traitlets.Unicode("lesson.ipynb").tag(sync=True)

    def __init__(
        self,
        open_tab: Callable[[str], object],
        act: Callable[[str], object],
        describe: Callable[[], str],
        draw: Callable[[], bytes],
        write: Callable[[], str],
    ) -> None:
        self._open_tab, self._act = open_tab, act
        self._describe, self._draw, self._write = describe, draw, write
        super().__init__(tabs=as_rows())

    def describe(self) -> str:
        """Say where the session stands."""
        return self._describe()

    def figure_png(self) -> bytes:
        """Draw where the session stands.

        Returns:
            The bytes of a PNG file.
        """
        return self._draw()

    def as_code(self) -> str:
        """Write the session as Python code."""
        return self._write()

    def on_command(self, message: dict[str, Any]) -> None:
        """Do what was clicked; the page waits for the answer.

        Args:
            message: ``{"type": "open", "tab": name}``, or the name of a button as ``type``; and in ``values`` the fields of the
                forms as they stand.
        """
        self.error = ""
        try:
            self._take(message.get("values", {}))  # not left to their own message, which may still be on its way
            if message["type"] == "open":
                self._open_tab(message["tab"])
            else:
                self._act(message["type"])
        finally:
            self.send({"type": "answered"})

    def show_error(self, problem: Exception) -> None:
        """Show a problem; what segnb refuses needs no name of a class before its sentence.

        Args:
            problem: what was raised.
        """
        if isinstance(problem, SegnbError):
            self.error = ""  # the same sentence a second time must reach the page, too
            self.error = str(problem)
        else:
            super().show_error(problem)

    @traitlets.validate("tab")
    def _check_tab(self, proposal: Mapping[str, Any]) -> str:
        return _one_of("tab", proposal["value"], NAMES)

    @traitlets.validate("part")
    def _check_part(self, proposal: Mapping[str, Any]) -> str:
        return _one_of("part of the data", proposal["value"], PARTS)

    @traitlets.validate("epochs", "pictures")
    def _check_count(self, proposal: Mapping[str, Any]) -> int:
        if proposal["value"] < 1:
            name = proposal["trait"].name
            raise SegnbError(f"{name}={proposal['value']}: give a whole number of at least 1.")
        return proposal["value"]


def _one_of(kind: str, given: str, known: tuple[str, ...]) -> str:
    if given not in known:
        raise SegnbError(f"There is no {kind} {given!r}. {nearest(given, known)}".rstrip())
    return given
