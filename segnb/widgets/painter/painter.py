"""Painter: label pictures by hand, with a model's help, and train on them.

    brush, polygon ──────────────── by the page, on release ─▶ ┐
    fill, superpixels, prediction ───────────── by Python ───▶ ├─ mask ─▶ file ─▶ dataset() ─▶ fit ─┐
                                                               ┘                                    │
    the picture that the model is least sure of comes first ◀─── order_by_uncertainty ◀── model ◀───┘

``painter_tools.py`` holds what paints, ``painter_masks.py`` how page and Python keep one mask, ``paint_queue.py`` the pictures,
``mask_folder.py`` their files, ``strokes.py`` and ``strokes.js`` which pixels a stroke covers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segnb import draw
from segnb.data.sources import Source
from segnb.data.wording import counted, listed
from segnb.widgets.painter.code import training_code
from segnb.widgets.painter.painted import PaintedMask
from segnb.widgets.painter.queue import PaintQueue
from segnb.widgets.painter.superpixels import usual_size
from segnb.widgets.painter.tools import PainterTools, Predict

if TYPE_CHECKING:
    from segnb.data.datasets import SegmentationDataset

FILL = ("x", "y", "label", "within", "tolerance")  # what a page says of a fill
ON_SHEET = 20  # classes: a longer legend shows only those that were painted


class Painter(PainterTools):
    """Paints masks: brush, eraser, polygon, fill, superpixels, a model's prediction; several pictures in a queue.

    Every click has a method here that does the same to the same pixels. Methods change the picture that is shown; places
    are (x, y) in pixels from the upper left corner; a label is a number or the name of a class, by default the chosen one,
    and 255 unlabels.

    Args:
        images: paths, arrays (H, W) or (H, W, C) uint8, or lazy sources.
        classes: names of the labels, as `SegmentationDataset` takes them.
        names: of the pictures; by default the stems of their files, or their numbers.
        masks: what is labelled already, a source or None for each image.
        palette: (labels, 3) uint8; by default `draw.palette`.
        folder: where every mask is saved as soon as it changes; masks already there are gone on with.
        value_range: see `SegmentationDataset`.
        model: what ``predict`` and ``uncertainty`` are given.
        predict: (model, image (H, W, C) uint8) -> labels (H, W).
        uncertainty: (model, image) -> how unsure the model is, any number.

    Attributes:
        index: the picture shown.
        order: indices of all pictures as previous and next go through them.
        finished: indices of the pictures marked as done.
        tool: "brush", "eraser", "polygon", "fill", "snap" or "move".
        label: the chosen class, or 255 for unlabelled.
        size: diameter of brush and eraser in pixels, 1 to 500.
        superpixel_size: pixels across a superpixel, about, 5 to 100; by default one that suits the first picture.
        within: where a fill ends: with the "label", the "colour", or at "both".
        tolerance: levels of 255 by which the colours of a fill may differ.
        opacity: of the colours, 0 to 1.
        model: what labels pictures for `use_prediction`.

    Raises:
        SegnbError: there are no images, or an argument or the first picture does not fit.
    """

    scripts = ("shared", "stage", "strokes", "picker", "bar")

    def __init__(
        self,
        images: Sequence[Source],
        classes: Sequence[str],
        *,
        names: Sequence[str] | None = None,
        masks: Sequence[Source | None] | None = None,
        palette: np.ndarray | None = None,
        folder: str | Path | None = None,
        value_range: tuple[float, float] | None = None,
        model: Any = None,
        predict: Predict | None = None,
        uncertainty: Callable[[Any, np.ndarray], float] | None = None,
    ) -> None:
        queue = PaintQueue(
            images, classes, names=names, masks=masks, palette=palette, folder=folder, value_range=value_range
        )
        self._uncertainty = uncertainty
        super().__init__(
            queue,
            model,
            predict,
            superpixel_size=usual_size(*queue.image(0).shape[:2]),
            class_names=queue.label_names,
            palette=queue.palette.tolist(),
            label=1 if len(queue.classes) == 1 else 0,
            order=list(range(len(queue))),
            finished=sorted(queue.finished),
        )

    # The queue

    def show(self, i: int) -> None:
        """Show another picture.

        Args:
            i: its index, from 0, in the order in which the images were given.

        Raises:
            SegnbError: there is no such picture.
        """
        self.index = i

    def mask(self, i: int | None = None) -> np.ndarray:
        """Copy a mask as it is now.

        Args:
            i: which picture; by default the one shown.

        Returns:
            (H, W) uint8, 255 where unlabelled.

        Raises:
            SegnbError: there is no such picture.
        """
        return self.labels_of(self.checked_index(self.index if i is None else i)).copy()

    def done(self, i: int | None = None, done: bool = True) -> None:
        """Mark a picture as done; with a folder, its mask and the mark are saved.

        Args:
            i: which picture; by default the one shown.
            done: False takes the mark away.

        Raises:
            SegnbError: there is no such picture.
        """
        index = self.checked_index(self.index if i is None else i)
        with self._lock:
            self._queue.finish(index, done)
            self.finished = sorted(self._queue.finished)

    def order_by_uncertainty(self, model: Any = None) -> list[tuple[str, float]]:
        """Put the pictures first of which a model is least sure: labelling them teaches it most.

        Pictures marked as done go to the end. The first of the new order is shown.

        Args:
            model: it also becomes the painter's model; by default the one there is.

        Returns:
            Name and uncertainty of each picture that is not done, most uncertain first.

        Raises:
            SegnbError: there is no model, or a picture cannot be read.
        """
        from tqdm.auto import tqdm

        if model is not None:
            self.model = model
        self.need_model(self._uncertainty)
        to_do = [index for index in range(len(self._queue)) if index not in self._queue.finished]
        unsure = {
            index: self._uncertainty(self._model, self._queue.image(index))
            for index in tqdm(to_do, unit="picture", delay=1, leave=False)
        }
        ranked = sorted(to_do, key=lambda index: -unsure[index])
        self.order = ranked + sorted(self._queue.finished)
        self.index = self.order[0]
        return [(self._queue.names[index], unsure[index]) for index in ranked]

    def dataset(self) -> SegmentationDataset:
        """Make a data set of all pictures that have a label somewhere, as they are now.

        Returns:
            A data set for `segnb.fit`; unlabelled pixels (255) are ignored.

        Raises:
            SegnbError: nothing is painted yet.
        """
        with self._lock:
            return self._queue.dataset()

    # What a notebook and the page ask for

    def describe(self) -> str:
        """Say what there is to paint."""
        queue = self._queue
        count = f"{len(queue.painted())} of {counted(len(queue), 'picture')} painted, {len(queue.finished)} done"
        return f"{count}, classes: {listed(self.class_names, 20)}"

    def figure_png(self) -> bytes:
        """Draw the first painted pictures beside their masks, or the first picture.

        Returns:
            The bytes of a PNG file.
        """
        shown = (self._queue.painted() or [0])[:4]
        items = [(self._queue.image(i), self.labels_of(i), None, self._queue.names[i]) for i in shown]
        colours, names = self._queue.palette, self.class_names
        if len(names) > ON_SHEET:
            # Labels keep their colours by their place in the list: only its end can be left out.
            last = max(int(labels[labels != draw.IGNORE].max(initial=0)) for _, labels, _, _ in items)
            colours, names = colours[: last + 1], names[: last + 1]
        return draw.png_bytes(draw.contact_sheet(items, colours, names), dpi=80)

    def as_code(self) -> str:
        """Write code that makes a data set of what is painted and trains on it.

        Returns:
            Lines that read the saved masks; without a folder, lines that ask this painter.
        """
        folder = self._queue.folder.path if self._queue.is_on_disk() else None
        return training_code(folder, len(self._queue.painted()), self._queue.value_range)

    def on_command(self, message: dict[str, Any]) -> None:
        """Do what the page asks for.

        Args:
            message: ``type`` and ``index`` of the picture, and what the type needs.
        """
        answers = {
            "picture": lambda: self.send({"type": "picture", **self.payload(index, bool(message["photo"]))}),
            "superpixels": lambda: self.send(
                {"type": "superpixels", **self.superpixel_payload(index, message["size"])}
            ),
            "paint": lambda: self.take_stroke(index, message),
            "fill": lambda: self.fill_at(index, **{name: message[name] for name in FILL}),
            "predict": lambda: self.use_prediction_at(index, message["where"], message["label"]),
            "undo": lambda: self.step(index, PaintedMask.undo),
            "redo": lambda: self.step(index, PaintedMask.redo),
            "done": lambda: self.done(index, bool(message["done"])),
        }
        if message.get("type") in answers:
            index = self.checked_index(message["index"])
            answers[message["type"]]()
            self.error = ""
