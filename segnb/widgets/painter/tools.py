"""The tools of a painter as methods: each does to the picture that is shown what a click does, to the same pixels.

points, label ─ strokes, superpixels, flood, model ─▶ covered pixels (H, W) ─▶ PainterMasks.apply ─▶ file, pages
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from segnb import draw
from segnb.errors import SegnbError
from segnb.widgets import pictures
from segnb.widgets.painter import strokes
from segnb.widgets.painter.masks import PainterMasks
from segnb.widgets.painter.painted import PaintedMask
from segnb.widgets.painter.queue import PaintQueue
from segnb.widgets.painter.settings import one_of

WHERE = ("all", "class", "unlabelled")

Cover = Callable[[tuple[int, int], np.ndarray], np.ndarray]
Predict = Callable[[Any, np.ndarray], np.ndarray]


class PainterTools(PainterMasks):
    """Paints; see `segnb.widgets.painter.painter.Painter` for places and labels.

    Args:
        queue: the pictures.
        model: what ``predict`` is given.
        predict: (model, image (H, W, C) uint8) -> labels (H, W).
        **traits: see `PainterSettings`.
    """

    def __init__(self, queue: PaintQueue, model: Any, predict: Predict | None, **traits: Any) -> None:
        self._model, self._predict = model, predict
        super().__init__(queue, can_predict=model is not None, **traits)

    def brush(self, points: Any, size: int | None = None, label: int | str | None = None) -> int:
        """Paint with a round brush along a line.

        Args:
            points: (x, y) each, at least one; they are joined by straight lines.
            size: diameter in pixels, 1 to 500; by default the one set.
            label: see `Painter`.

        Returns:
            How many pixels changed their label.

        Raises:
            SegnbError: a point lies outside the picture, or size or label do not fit.
        """
        size = self.checked_size(size)
        return self._draw(points, label, lambda shape, path: strokes.brush(shape, path, size))

    def erase(self, points: Any, size: int | None = None) -> int:
        """Unlabel pixels with a round brush along a line.

        Args:
            points: see `brush`.
            size: see `brush`.

        Returns:
            How many pixels changed their label.

        Raises:
            SegnbError: see `brush`.
        """
        return self.brush(points, size, draw.IGNORE)

    def polygon(self, points: Any, label: int | str | None = None) -> int:
        """Fill a polygon, its outline included.

        Args:
            points: the corners, (x, y) each; the last is joined to the first.
            label: see `Painter`.

        Returns:
            How many pixels changed their label.

        Raises:
            SegnbError: see `brush`.
        """
        return self._draw(points, label, strokes.polygon)

    def snap(self, points: Any, size: int | None = None, label: int | str | None = None) -> int:
        """Paint whole superpixels: all that a line touches.

        Args:
            points: see `brush`.
            size: of the superpixels, 5 to 100; by default the one set.
            label: see `Painter`.

        Returns:
            How many pixels changed their label.

        Raises:
            SegnbError: see `brush`.
        """
        ids = self._queue.superpixels(self.index, self.checked_superpixel_size(size))

        def touched(_shape: tuple[int, int], path: np.ndarray) -> np.ndarray:
            x, y = strokes.line(path).T
            return np.isin(ids, ids[y, x])

        return self._draw(points, label, touched)

    def fill(
        self,
        x: int,
        y: int,
        label: int | str | None = None,
        within: str | None = None,
        tolerance: int | None = None,
    ) -> int:
        """Fill the connected area around a pixel.

        Args:
            x: of the pixel.
            y: of the pixel.
            label: see `Painter`.
            within: where the area ends, see `Painter`.
            tolerance: see `Painter`.

        Returns:
            How many pixels changed their label.

        Raises:
            SegnbError: the pixel lies outside the picture, or an option does not fit.
        """
        return self.fill_at(self.index, x, y, label=label, within=within, tolerance=tolerance)

    def use_prediction(self, where: str = "all", label: int | str | None = None) -> int:
        """Take over what the model sees, to be corrected.

        Args:
            where: "all" pixels; "class": those to which the model gives the chosen class; "unlabelled": those without a
                label.
            label: the class for "class", see `Painter`.

        Returns:
            How many pixels changed their label.

        Raises:
            SegnbError: there is no model, or its labels do not fit.
        """
        return self.use_prediction_at(self.index, where, label)

    def undo(self) -> bool:
        """Take the last change of this picture back; returns whether there was one."""
        return self.step(self.index, PaintedMask.undo)

    def redo(self) -> bool:
        """Bring back what was undone last; returns whether there was something."""
        return self.step(self.index, PaintedMask.redo)

    @property
    def model(self) -> Any:
        """What labels pictures for `use_prediction`."""
        return self._model

    @model.setter
    def model(self, model: Any) -> None:
        self._model = model
        self.can_predict = model is not None

    def _draw(self, points: Any, label: int | str | None, cover: Cover) -> int:
        """Paint what ``cover(shape, points)`` covers in the picture shown."""
        index, label = self.index, self.checked_label(label)
        shape = self.labels_of(index).shape
        return self.apply(index, cover(shape, strokes.checked_points(points, shape)), label)

    def fill_at(self, index: int, x: int, y: int, *, label: Any, within: Any, tolerance: Any) -> int:
        """Do what `fill` does, in the picture ``index``."""
        label, within, tolerance = (
            self.checked_label(label),
            self.checked_within(within),
            self.checked_tolerance(tolerance),
        )
        labels = self.labels_of(index)
        (point,) = strokes.checked_points([(x, y)], labels.shape)
        return self.apply(index, strokes.flood(labels, self._queue.image(index), point, within, tolerance), label)

    def use_prediction_at(self, index: int, where: str, label: int | str | None) -> int:
        """Do what `use_prediction` does, in the picture ``index``."""
        one_of(where, "where", WHERE)
        self.need_model(self._predict)
        image, label = self._queue.image(index), self.checked_label(label)
        found = self._predict(self._model, image)
        found = pictures.checked_labels(found, image, self._queue.names[index], "prediction", len(self.class_names))
        chosen = {
            "all": found != draw.IGNORE,
            "class": found == label,
            "unlabelled": self.labels_of(index) == draw.IGNORE,
        }
        return self.apply(index, chosen[where], found)

    def need_model(self, function: Callable | None) -> None:
        """Refuse to go on without a model, or without the function that asks it."""
        if self._model is None or function is None:
            raise SegnbError("There is no model: give one with segnb.paint(..., model=model) or painter.model = model")
