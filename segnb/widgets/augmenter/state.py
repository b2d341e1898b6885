"""What the augmenter keeps: its state, checked when it is set, and the draws, made anew when it changes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import traitlets

from segnb import draw
from segnb.errors import SegnbError
from segnb.widgets.augmenter.catalogue import entries, left_out
from segnb.widgets.augmenter.draws import Draw, Picture, draw_many, draw_once, undrawn
from segnb.widgets.augmenter.parameters import controls_of
from segnb.widgets.augmenter.pipeline import read_pipeline
from segnb.widgets.augmenter.steps import Step, check_steps
from segnb.widgets.augmenter.warnings import find_problems, find_warnings
from segnb.widgets.base import SegnbWidget
from segnb.widgets.pictures import checked_labels

CROP = 256  # pixels of a side that crops and presets begin with, at most
LOOKED_AT = 8  # pictures among which one of another size is sought


class AugmenterState(SegnbWidget):
    """The traits of `Augmenter`, which describes them."""

    settable: ClassVar[tuple[str, ...]] = ("steps", "index", "number", "seed", "preset", "look", "opacity", "visible")

    catalogue = traitlets.List().tag(sync=True)
    left_out = traitlets.Dict().tag(sync=True)
    presets = traitlets.List().tag(sync=True)
    controls = traitlets.Dict().tag(sync=True)  # of the transforms among the steps only: all are too much to send
    class_names = traitlets.List().tag(sync=True)
    palette = traitlets.List().tag(sync=True)
    count = traitlets.Int().tag(sync=True)

    steps = traitlets.List().tag(sync=True)
    index = traitlets.Int(0).tag(sync=True)
    number = traitlets.Int(8, min=1, max=12).tag(sync=True)
    seed = traitlets.Int(0, min=0).tag(sync=True)
    preset = traitlets.Unicode("").tag(sync=True)
    look = traitlets.Enum(["overlay", "outline", "photo"], "overlay").tag(sync=True)
    opacity = traitlets.Float(0.55, min=0, max=1).tag(sync=True)
    visible = traitlets.List().tag(sync=True)

    title = traitlets.Unicode("").tag(sync=True)
    original = traitlets.Dict().tag(sync=True)
    draws = traitlets.List().tag(sync=True)
    warnings = traitlets.List().tag(sync=True)
    problems = traitlets.List().tag(sync=True)
    status = traitlets.Unicode("").tag(sync=True)

    def __init__(self, data: Any) -> None:
        from segnb.data.presets import PRESETS

        if not all(hasattr(data, name) for name in ("read", "names", "label_names", "palette")) or len(data) == 0:
            raise SegnbError(
                f"augment() was given {type(data).__name__}, but needs pictures with masks: use "
                "segnb.SegmentationDataset.from_folder(...) or segnb.load_sample(...)"
            )
        self._data = data
        self._drawn: list[Draw] = []
        self._preset_steps: list[Step] | None = None
        self._shapes: list[tuple[int, ...]] | None = None
        self._picture = self._read(0)
        self._size = tuple(_crop_side(side) for side in self._picture.labels.shape)
        names = [str(name) for name in data.label_names]
        super().__init__(
            catalogue=entries(),
            left_out=left_out(),
            presets=list(PRESETS),
            class_names=names,
            palette=np.asarray(data.palette).tolist(),
            visible=[name.lower() != "background" for name in names],  # its colour would cover the whole picture
            count=len(data),
        )
        self.observe(self._draw, ["steps", "index", "number", "seed"])
        self._draw()
        self._begin_with(getattr(data, "transform", None))

    def show_error(self, problem: Exception) -> None:
        """Show a problem; what segnb refuses needs no name of a class before its sentence.

        Args:
            problem: what was raised.
        """
        if isinstance(problem, SegnbError):
            self.error = str(problem)
        else:
            super().show_error(problem)

    @traitlets.validate("steps")
    def _check_steps(self, proposal: dict[str, Any]) -> list[Step]:
        checked = check_steps(proposal["value"], self._size)
        self.controls = {name: controls_of(name) for name in dict.fromkeys(step["name"] for step in checked)}
        return checked

    @traitlets.validate("index")
    def _check_index(self, proposal: dict[str, Any]) -> int:
        index = proposal["value"]
        if not 0 <= index < len(self._data):
            raise SegnbError(f"There is no picture {index}: they are 0 to {len(self._data) - 1}.")
        self._picture = self._read(index)
        return index

    @traitlets.validate("preset")
    def _check_preset(self, proposal: dict[str, Any]) -> str:
        from segnb.data.presets import preset

        name = proposal["value"]
        if name:
            self._preset_steps = read_pipeline(preset(name, self._size), self._size)
        return name

    @traitlets.observe("preset")
    def _load_preset(self, change: dict[str, Any]) -> None:
        if change["new"]:
            self.steps = self._preset_steps

    @traitlets.validate("visible")
    def _check_visible(self, proposal: dict[str, Any]) -> list[bool]:
        if len(proposal["value"]) != len(self.class_names):
            raise SegnbError(
                f"visible has {len(proposal['value'])} entries: give one for each of {len(self.class_names)} labels."
            )
        return [bool(shown) for shown in proposal["value"]]

    def _draw(self, _change: Any = None) -> None:
        """Make the draws anew."""
        if self.steps != self._preset_steps:
            self.preset = ""
        series = draw_many(self.steps, self._picture, [1000 * self.seed + i for i in range(self.number)])
        self._drawn = series.draws
        self.original = undrawn(self._picture).payload()
        self.draws = [one.payload(self.steps) for one in series.draws]
        self.problems = find_problems(series.draws, self.steps)
        self.warnings = find_warnings(
            series.draws, self._draw_other() if series.stride == 1 else None, self.class_names
        )
        height, width = self._picture.labels.shape
        self.title = f"{self._picture.name}  ·  {height} × {width}"
        self.status = series.describe()
        self.error = ""

    def _draw_other(self) -> tuple[str, Draw] | None:
        """Draw a picture of another size, if there is one among the first: all must make one batch."""
        if self._shapes is None:
            self._shapes = [self._shape(index) for index in range(min(LOOKED_AT, self.count))]
        here = self._picture.labels.shape
        place = next((place for place, shape in enumerate(self._shapes) if shape not in (None, here)), None)
        if place is None:
            return None
        other = self._read(place)
        return other.name, draw_once(self.steps, other, 1000 * self.seed)

    def _shape(self, index: int) -> tuple[int, ...] | None:
        try:
            return self._read(index).labels.shape
        except Exception:
            return None  # it is named when it is chosen

    def _read(self, index: int) -> Picture:
        image, labels = self._data.read(index)
        draw.as_rgb(image)  # refuses what is no picture
        name = str(self._data.names[index])
        return Picture(name, image, checked_labels(labels, image, name, "mask", len(self._data.label_names)))

    def _begin_with(self, transform: Any) -> None:
        """Take over the pipeline that the data set has; one that cannot be shown as steps is left, and said to be."""
        import albumentations as A

        if transform is None:
            return
        try:
            self.steps = read_pipeline(
                A.Compose([transform]) if isinstance(transform, A.BasicTransform) else transform, self._size
            )
        except Exception as problem:
            self.error = f"The data set's own transform is not among the steps: {problem}"


def _crop_side(side: int) -> int:
    """Choose a side for crops: at most `CROP`, and a multiple of 32, the stride of most networks, if it can be."""
    return max(1, min(CROP, side) // 32 * 32 or side)
