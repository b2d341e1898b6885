"""The state of the mask viewer: what a click changes, and what may stand there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import traitlets

from segnb.errors import SegnbError, nearest
from segnb.widgets.base import SegnbWidget
from segnb.widgets.viewer.gallery import SORTS

OPTIONS = {
    "layer": ("photo", "truth", "prediction", "errors"),
    "labels_as": ("overlay", "outline"),
    "against": ("", "photo", "truth", "prediction", "errors"),
    "arrangement": ("swipe", "side by side"),
    "numbers": ("percent", "pixels"),
    "sort": tuple(SORTS),
}


class ViewerState(SegnbWidget):
    """The traits that the mask viewer shares with the page; a wrong value is refused with a sentence.

    Attributes:
        names: of all pictures.
        index: the picture that is shown, from 0.
        layer: "photo", "truth", "prediction" or "errors".
        labels_as: "overlay" or "outline".
        against: a second layer to compare with, or "".
        arrangement: the second layer by "swipe" or "side by side".
        split: place of the dividing line of a swipe, 0 to 1.
        opacity: of the colours, 0 to 1.
        shown: names of the classes that are drawn; all but the background to begin with.
        numbers: how much of the picture a class covers, in "percent" or "pixels".
        search: part of the name that pictures must have.
        with_class: a class that pictures must have, or "".
        object_pixels: [least, most] pixels of an object that pictures must have (of that class, or of any but the
            background); None is no bound.
        only_flagged: show flagged pictures only.
        sort: "data", "name", "area", "largest object", "smallest object" (of that class, or of any but the background) or
            "errors" (share of wrong pixels).
        descending: the last or largest first.
        flagged: names of the flagged pictures, in the order of the data.
    """

    filters: ClassVar[tuple[str, ...]] = ("search", "with_class", "object_pixels", "only_flagged", "sort", "descending")
    settable: ClassVar[tuple[str, ...]] = (
        "index", "layer", "labels_as", "against", "arrangement", "split", "opacity", "shown", "numbers", *filters, "flagged",
    )  # fmt: skip

    names = traitlets.List().tag(sync=True)
    class_names = traitlets.List().tag(sync=True)
    palette = traitlets.List().tag(sync=True)
    pictures = traitlets.List().tag(sync=True)  # the first ones

    index = traitlets.Int(0).tag(sync=True)
    layer = traitlets.Unicode("photo").tag(sync=True)
    labels_as = traitlets.Unicode("overlay").tag(sync=True)  # "style" means something else to ipywidgets
    against = traitlets.Unicode("").tag(sync=True)
    arrangement = traitlets.Unicode("swipe").tag(sync=True)
    split = traitlets.Float(0.5, min=0, max=1).tag(sync=True)
    opacity = traitlets.Float(0.55, min=0, max=1).tag(sync=True)
    shown = traitlets.List(traitlets.Unicode()).tag(sync=True)
    numbers = traitlets.Unicode("percent").tag(sync=True)
    search = traitlets.Unicode("").tag(sync=True)
    with_class = traitlets.Unicode("").tag(sync=True)
    object_pixels = traitlets.List([None, None]).tag(sync=True)
    only_flagged = traitlets.Bool(False).tag(sync=True)
    sort = traitlets.Unicode("data").tag(sync=True)
    descending = traitlets.Bool(False).tag(sync=True)
    flagged = traitlets.List(traitlets.Unicode()).tag(sync=True)

    @property
    def count(self) -> int:
        """How many pictures there are."""
        return len(self.names)

    @traitlets.validate("index")
    def _check_index(self, proposal: Any) -> int:
        if not 0 <= proposal["value"] < self.count:
            raise SegnbError(f"There is no picture {proposal['value']}: index is 0 to {self.count - 1}")
        return proposal["value"]

    @traitlets.validate(*OPTIONS)
    def _check_option(self, proposal: Any) -> str:
        name, value = proposal["trait"].name, proposal["value"]
        if value not in OPTIONS[name]:
            raise SegnbError(f"{name} is {' or '.join(repr(option) for option in OPTIONS[name])}, not {value!r}")
        return value

    @traitlets.validate("with_class")
    def _check_class(self, proposal: Any) -> str:
        if proposal["value"]:
            _check_names([proposal["value"]], self.class_names, "class")
        return proposal["value"]

    @traitlets.validate("shown")
    def _check_classes(self, proposal: Any) -> list[str]:
        _check_names(proposal["value"], self.class_names, "class")
        return proposal["value"]

    @traitlets.validate("flagged")
    def _check_flagged(self, proposal: Any) -> list[str]:
        _check_names(proposal["value"], self.names, "picture")
        wanted = set(proposal["value"])
        return [name for name in self.names if name in wanted]

    @traitlets.validate("object_pixels")
    def _check_pixels(self, proposal: Any) -> list[int | None]:
        bounds = proposal["value"]
        if len(bounds) != 2 or any(bound is not None and (type(bound) is not int or bound < 0) for bound in bounds):
            raise SegnbError(f"object_pixels is [least, most], whole numbers from 0 or None for no bound, not {bounds}")
        return bounds


def _check_names(names: Sequence[str], known: Sequence[str], kind: str) -> None:
    valid = set(known)
    unknown = next((name for name in names if name not in valid), None)
    if unknown is not None:
        raise SegnbError(f"There is no {kind} {unknown!r}. {nearest(unknown, known)}".rstrip())
