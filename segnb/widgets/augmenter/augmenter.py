"""augment: build a pipeline of augmentation by clicking, and see at once what it does to pictures and masks.

    steps (shared with the browser) ─▶ A.Compose ─▶ some draws of one picture ─▶ grid, warnings
              │                            └──────▶ SegmentationDataset(transform=...)
              └─ Copy as code

The dice stay the same while a step is tuned, so that what changes is the step; "Draw again" throws others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from segnb import draw
from segnb.errors import SegnbError
from segnb.widgets.augmenter.draws import undrawn
from segnb.widgets.augmenter.pipeline import assemble, name_values
from segnb.widgets.augmenter.state import AugmenterState
from segnb.widgets.augmenter.steps import Step, make_step, move_step

if TYPE_CHECKING:
    import albumentations as A


class Augmenter(AugmenterState):
    """Builds a pipeline of augmentation: steps on the left, draws of one picture on the right.

    Args:
        data: a `SegmentationDataset`, or an object with its ``read``, ``names``, ``label_names`` and ``palette``. If it
            has a pipeline of albumentations as ``transform``, the steps of that are there to begin with.

    Attributes:
        steps: the steps, dictionaries with ``name``, ``values``, ``on`` and ``inside`` (of the group above); may be set.
        index: of the picture, from 0; may be set.
        number: of draws, 1 to 12; may be set.
        seed: of the dice; may be set.
        preset: whose steps these are, or the empty string once they are changed; may be set.
        look: "overlay", "outline" or "photo"; may be set.
        opacity: of the masks' colours, 0 to 1; may be set.
        warnings: what is wrong with the draws: labels that vanish, sizes that make no batch.
        problems: for each step, why it fails, or the empty string.

    Raises:
        SegnbError: ``data`` is something else, or its first picture cannot be read.

    Example:
        >>> augmenter = augment(train)
        >>> augmenter.add("HorizontalFlip", p=0.5)
        >>> train = train.with_transform(augmenter.pipeline)
    """

    scripts = ("shared", "stage", "parameters", "steps")

    def add(self, name: str, /, **parameters: Any) -> None:
        """Add a transform at the end.

        Args:
            name: its class in albumentations, such as "HorizontalFlip"; "OneOf" begins a group, see `nest`.
            **parameters: its arguments. What is not given has the library's default, but ``fill_mask``, which is 255
                (ignored), and sizes, which suit the picture.

        Raises:
            SegnbError: there is no such transform, or the library refuses a parameter.
        """
        self.steps = [*self.steps, make_step(name, parameters, self._size)]

    def remove(self, i: int) -> None:
        """Take a step out; what is inside a group that is removed stays.

        Args:
            i: which, from 0.

        Raises:
            SegnbError: there is no such step.
        """
        self._step(i)
        self.steps = [step for place, step in enumerate(self.steps) if place != i]

    def move(self, i: int, to: int) -> None:
        """Move a step; a group takes with it what is inside. Between two steps of a group it becomes one of them.

        Args:
            i: which, from 0.
            to: its place afterwards, as counted without what moves.

        Raises:
            SegnbError: there is no such step or place.
        """
        self._step(i)
        self.steps = move_step(self.steps, i, to)

    def tune(self, i: int, /, **parameters: Any) -> None:
        """Change parameters of a step; if one is refused, all stay as they were.

        Args:
            i: which step, from 0.
            **parameters: those to change.

        Raises:
            SegnbError: there is no such step, or the library refuses a parameter, with its reason.
        """
        self._replace(i, values={**self._step(i)["values"], **parameters})

    def enable(self, i: int, on: bool = True) -> None:
        """Switch a step on or off; a group with what is inside.

        Args:
            i: which, from 0.
            on: whether the pipeline holds it.

        Raises:
            SegnbError: there is no such step.
        """
        self._replace(i, on=bool(on))

    def nest(self, i: int, inside: bool = True) -> None:
        """Put a step into the group above it, of which one is thrown, or take it (and those below it) out.

        Args:
            i: which, from 0.
            inside: whether it belongs to the group.

        Raises:
            SegnbError: there is no such step, or no group above it.
        """
        self._replace(i, inside=bool(inside))
        if inside and not self.steps[i]["inside"]:
            raise SegnbError(f"Step {i} has no group above it: add OneOf first, and the steps that it throws below it.")

    def load_preset(self, name: str) -> None:
        """Replace all steps by those of a preset, for crops that suit the picture.

        Args:
            name: see `segnb.data.presets.preset`.

        Raises:
            SegnbError: there is no such preset.
        """
        self.preset = name

    def draw_again(self) -> None:
        """Throw other dice."""
        self.seed += 1

    @property
    def pipeline(self) -> A.Compose:
        """The albumentations pipeline of the steps that are on, with dice of its own: a ``transform`` for data sets."""
        return assemble(self.steps)[0]

    def as_code(self) -> str:
        """Write the pipeline as code, and how a data set takes it.

        Returns:
            Python that makes the same pipeline.
        """
        from segnb.data.pipeline_code import as_code

        pipeline, places = assemble(self.steps)
        name_values(self.steps, pipeline, places)
        return (
            f"{as_code(pipeline)}\n\n"
            "train = train.with_transform(transform)  # or SegmentationDataset(images, masks, classes, transform=transform)"
        )

    def describe(self) -> str:
        """Say what is shown."""
        names = ", ".join(step["name"] for step in self.steps if step["on"]) or "no transform"
        return f"Augmentation of {self._data.names[self.index]}: {names}"

    def figure_png(self) -> bytes:
        """Draw the picture and its first three draws.

        Returns:
            The bytes of a PNG file.
        """
        shown = [
            ("as it is", undrawn(self._picture)),
            *((f"draw {i + 1}", one) for i, one in enumerate(self._drawn)),
        ]
        known = len(self.class_names)  # a step may bring in a label without a class, which has no colour
        items = [
            (one.image, np.where(one.labels < known, one.labels, draw.IGNORE), None, title)
            for title, one in shown
            if one.image is not None
        ]
        return draw.png_bytes(draw.contact_sheet(items[:4], np.asarray(self.palette), self.class_names), dpi=80)

    def _step(self, i: int) -> Step:
        if not 0 <= i < len(self.steps):
            raise SegnbError(f"There is no step {i}: the pipeline has {len(self.steps)}, counted from 0.")
        return self.steps[i]

    def _replace(self, i: int, **changes: Any) -> None:
        changed = {**self._step(i), **changes}
        self.steps = [changed if place == i else step for place, step in enumerate(self.steps)]


def augment(data: Any) -> Augmenter:
    """Build a pipeline of augmentation for a data set: search, order and tune transforms, see draws with their masks.

    Args:
        data: a `SegmentationDataset`.

    Returns:
        The tool; the last expression of a cell shows it. Its ``pipeline`` is the transform.

    Raises:
        SegnbError: ``data`` is something else, or its first picture cannot be read.

    Example:
        >>> augmenter = augment(train)
        >>> train = train.with_transform(augmenter.pipeline)
    """
    return Augmenter(data)
