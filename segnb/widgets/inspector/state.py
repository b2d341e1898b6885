"""What the inspector shows, as traits that Python and the browser share; a value that does not fit is refused with a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import traitlets

from segnb.errors import SegnbError, nearest
from segnb.widgets.base import SegnbWidget
from segnb.widgets.inspector.findings import PRESENCE

LABEL_LAYERS = ("photo", "truth", "prediction", "errors")
COMPARISON = ("other", "differences")  # with a second model
# Maps, and what they depend on besides the picture.
MAPS = {
    "probability": ("label",),
    "entropy": (),
    "variance": ("label",),
    "gradcam": ("label", "stage"),
    "features": ("stage", "channel"),
}
OF_A_CLASS = ("probability", "gradcam")
OF_A_STAGE = ("gradcam", "features")
ONLY = ("all", *PRESENCE)
COMPARE = ("swipe", "side")


class ClassLabel(traitlets.TraitType):
    """A class: set by name, number or None, read as a number; -1 is all."""

    def validate(self, obj: InspectorState, value: Any) -> int:
        """Turn what was given into a number; ``obj`` is the widget."""
        return obj.label_of(value)


class InspectorState(SegnbWidget):
    """The traits of the inspector and their rules; see `segnb.widgets.inspector.inspector.Inspector` for what they mean."""

    settable: ClassVar[tuple[str, ...]] = (
        "shown", "metric", "label", "only", "confused", "layer", "left", "compare", "split", "opacity", "threshold",
        "visible", "stage", "channel",
    )  # fmt: skip

    # What was found
    names = traitlets.List().tag(sync=True)
    class_names = traitlets.List().tag(sync=True)
    palette = traitlets.List().tag(sync=True)
    metrics = traitlets.Dict().tag(sync=True)  # name -> title
    scores = traitlets.Dict().tag(sync=True)  # name -> base64 of float32 (N,), or (N, L + 1): each label and their mean
    presence = traitlets.Unicode().tag(sync=True)  # base64 of uint8 (N, L): 1 in the truth + 2 predicted + 4 wrong
    matrix = traitlets.List().tag(sync=True)
    stages = traitlets.Dict().tag(sync=True)  # name -> title
    compared = traitlets.Bool().tag(sync=True)  # whether there is a second model
    colours = traitlets.List().tag(sync=True)  # of maps, 256
    note = traitlets.Unicode().tag(sync=True)

    # What was chosen
    shown = traitlets.Int(-1).tag(sync=True)
    metric = traitlets.Unicode("miou").tag(sync=True)
    label = ClassLabel(-1).tag(sync=True)
    only = traitlets.Unicode("all").tag(sync=True)
    confused = traitlets.List().tag(sync=True)
    layer = traitlets.Unicode("prediction").tag(sync=True)
    left = traitlets.Unicode("").tag(sync=True)
    compare = traitlets.Unicode("swipe").tag(sync=True)
    split = traitlets.Float(0.5, min=0, max=1).tag(sync=True)
    opacity = traitlets.Float(0.6, min=0, max=1).tag(sync=True)
    threshold = traitlets.Float(0.5, min=0, max=1).tag(sync=True)
    visible = traitlets.List().tag(sync=True)
    stage = traitlets.Unicode("").tag(sync=True)
    channel = traitlets.Int(-1, min=-1).tag(sync=True)

    # What was computed for it
    picture = traitlets.Dict().tag(sync=True)
    maps = traitlets.Dict().tag(sync=True)  # layer -> its map
    cell_pixels = traitlets.Dict().tag(
        sync=True
    )  # of the chosen cell: {"of": [t, p], "pixels": base64 of float32 (N,)}
    progress = traitlets.Float(-1).tag(sync=True)  # of a map that is being computed, 0 to 1; -1 if none is

    def layers(self) -> list[str]:
        """List what `layer` and `left` can be now.

        Returns:
            Names; some maps need a class, and some a model whose feature maps can be had.
        """
        maps = [name for name in MAPS if (self.label >= 0 or name not in OF_A_CLASS)]
        return [
            *LABEL_LAYERS,
            *(COMPARISON if self.compared else ()),
            *(name for name in maps if self.stages or name not in OF_A_STAGE),
        ]

    def label_of(self, given: Any) -> int:
        """Understand a class.

        Args:
            given: its name or number; None or -1 for all.

        Returns:
            Its number, or -1.

        Raises:
            SegnbError: there is no such class.
        """
        if given is None:
            return -1
        if isinstance(given, str):
            return self.class_names.index(_one_of("class", given, self.class_names))
        if isinstance(given, bool) or not hasattr(given, "__index__") or not -1 <= given < len(self.class_names):
            raise SegnbError(
                f"there is no class {given!r}: give a name, a number from 0 to {len(self.class_names) - 1}, or None for all."
            )
        return int(given)

    @traitlets.validate("shown")
    def _check_shown(self, proposal: dict[str, Any]) -> int:
        if not 0 <= proposal["value"] < len(self.names):
            raise SegnbError(f"there is no picture {proposal['value']}: give 0 to {len(self.names) - 1}.")
        return proposal["value"]

    @traitlets.validate("metric")
    def _check_metric(self, proposal: dict[str, Any]) -> str:
        return _one_of("score", proposal["value"], self.scores)

    @traitlets.validate("only")
    def _check_only(self, proposal: dict[str, Any]) -> str:
        return _one_of("filter", proposal["value"], ONLY)

    @traitlets.validate("compare")
    def _check_compare(self, proposal: dict[str, Any]) -> str:
        return _one_of("comparison", proposal["value"], COMPARE)

    @traitlets.validate("confused")
    def _check_confused(self, proposal: dict[str, Any]) -> list[int]:
        cell = proposal["value"]
        if cell and (len(cell) != 2 or None in cell or -1 in cell):
            raise SegnbError(f"confused={cell!r}: give a true and a predicted class, or an empty list.")
        return [self.label_of(label) for label in cell]

    @traitlets.validate("layer", "left")
    def _check_layer(self, proposal: dict[str, Any]) -> str:
        layer = proposal["value"]
        if layer == "" and proposal["trait"].name == "left":
            return layer
        if layer in OF_A_CLASS and self.label < 0:
            raise SegnbError(
                f"{layer!r} is of one class: choose it first, such as inspector.label = {self.class_names[-1]!r}."
            )
        return _one_of("layer", layer, self.layers())

    @traitlets.validate("visible")
    def _check_visible(self, proposal: dict[str, Any]) -> list[bool]:
        if len(proposal["value"]) != len(self.class_names):
            raise SegnbError(f"visible has {len(proposal['value'])} entries for {len(self.class_names)} classes.")
        return [bool(shown) for shown in proposal["value"]]

    @traitlets.validate("stage")
    def _check_stage(self, proposal: dict[str, Any]) -> str:
        return _one_of("stage", proposal["value"], self.stages) if self.stages else ""


def _one_of(kind: str, given: str, known: Iterable[str]) -> str:
    if given not in known:
        raise SegnbError(f"there is no {kind} {given!r}. {nearest(given, known)}".rstrip())
    return given
