"""The masks of a painter in Python, and the same masks in every page that shows it.

    page    ── {"type": "paint", "covered": PNG, "x", "y", "label", "stroke"} ──▶ PaintedMask ──▶ file
    pages   ◀── {"type": "edit", "labels": PNG, "x", "y", "stroke", "steps"} ──── the changed rectangle

Python's mask is the one that counts. A page paints ahead of it and lays what Python has not confirmed over whatever comes
back, so no stroke is lost or doubled, however slow the kernel is.
"""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from segnb import draw
from segnb.errors import SegnbError
from segnb.widgets import pictures
from segnb.widgets.painter.painted import Box, PaintedMask
from segnb.widgets.painter.queue import PaintQueue
from segnb.widgets.painter.settings import PainterSettings


class PainterMasks(PainterSettings):
    """Changes masks, tells the pages, saves.

    Args:
        queue: the pictures.
        **traits: see `PainterSettings`.
    """

    def __init__(self, queue: PaintQueue, **traits: Any) -> None:
        self._queue = queue
        self._lock = threading.RLock()  # a page's strokes come on another thread while a cell runs
        super().__init__(**traits)
        self.first = self.payload(0)

    def payload(self, index: int, photo: bool = True) -> dict[str, Any]:
        """Encode one picture for the browser.

        Args:
            index: which, from 0.
            photo: whether the image itself is wanted, not only its mask.

        Returns:
            ``index``, ``name``, ``width``, ``height``, how many ``steps`` can be undone and redone, and base64 text:
            ``image`` (JPEG, perhaps reduced, or None) and ``labels`` (PNG, never reduced, grey values are labels).

        Raises:
            SegnbError: the picture cannot be read.
        """
        index = self.checked_index(index)
        with self._lock:
            mask, image = self._queue.mask(index), self._queue.image(index)
            return {
                "index": index,
                "name": self._queue.names[index],
                "width": image.shape[1],
                "height": image.shape[0],
                "image": pictures.photo(draw.as_rgb(image)) if photo else None,
                "labels": _png(mask.labels),
                "steps": [len(mask.steps), len(mask.undone)],
            }

    def superpixel_payload(self, index: int, size: int) -> dict[str, Any]:
        """Encode the superpixels of a picture for the browser.

        Args:
            index: which, from 0.
            size: of the superpixels, see `PainterSettings`.

        Returns:
            ``index``, ``size`` and ``ids``, base64 text of a PNG: the number of a superpixel is red + 256 × green.

        Raises:
            SegnbError: the picture cannot be read.
        """
        with self._lock:
            ids = self._queue.superpixels(self.checked_index(index), self.checked_superpixel_size(size))
        return {
            "index": index,
            "size": size,
            "ids": _png(np.stack([ids & 255, ids >> 8, 0 * ids], axis=2).astype(np.uint8)),
        }

    def labels_of(self, index: int) -> np.ndarray:
        """Look at a mask: (H, W) uint8, the one that is painted, not a copy."""
        with self._lock:
            return self._queue.mask(index).labels

    def apply(self, index: int, covered: np.ndarray, label: int | np.ndarray, stroke: str = "") -> int:
        """Change a mask.

        Args:
            index: of the picture.
            covered: (H, W) bool, the pixels to change.
            label: one for all, or (H, W) uint8.
            stroke: the page's name of the change, to be confirmed.

        Returns:
            How many pixels changed their label.

        Raises:
            OSError: the mask could not be saved; it is changed all the same.
        """
        with self._lock:
            mask = self._queue.mask(index)
            changed = int(np.count_nonzero(covered & (mask.labels != label)))
            self._tell(index, mask, mask.paint(covered, label), stroke)
        return changed

    def step(self, index: int, step: Callable[[PaintedMask], Box | None]) -> bool:
        """Undo or redo.

        Args:
            index: of the picture.
            step: `PaintedMask.undo` or `PaintedMask.redo`.

        Returns:
            Whether there was something.

        Raises:
            OSError: see `apply`.
        """
        with self._lock:
            mask = self._queue.mask(index)
            box = step(mask)
            self._tell(index, mask, box, "")
        return box is not None

    def take_stroke(self, index: int, message: dict[str, Any]) -> None:
        """Take over a stroke of a page.

        Args:
            index: of the picture.
            message: ``label``, ``stroke``, and where in the picture (``x``, ``y``) the PNG ``covered`` lies, whose red is
                255 where the stroke covers.

        Raises:
            SegnbError: the rectangle or the label does not fit.
        """
        try:
            covered, label = self._decode(index, message)
        except Exception:
            self.send({"type": "refused", "index": index, "stroke": str(message["stroke"])})  # the page takes it back
            raise
        self.apply(index, covered, label, str(message["stroke"]))

    def _decode(self, index: int, message: dict[str, Any]) -> tuple[np.ndarray, int]:
        """Read which pixels (H, W) a stroke covers, and its label."""
        height, width = self.labels_of(index).shape
        x, y, label = int(message["x"]), int(message["y"]), self.checked_label(message["label"])
        file = io.BytesIO(base64.b64decode(message["covered"], validate=True))
        with Image.open(file, formats=["PNG"]) as picture:
            if x < 0 or y < 0 or x + picture.width > width or y + picture.height > height:
                raise SegnbError("A stroke reaches beyond its picture: it was not taken over")
            covered = np.zeros((height, width), bool)
            covered[y : y + picture.height, x : x + picture.width] = np.asarray(picture.convert("RGB"))[:, :, 0] > 127
        return covered, label

    def _tell(self, index: int, mask: PaintedMask, box: Box | None, stroke: str) -> None:
        """Send the changed rectangle to all pages, then save: a full disk must not hide what was painted."""
        place = {} if box is None else {"x": box[1].start, "y": box[0].start, "labels": _png(mask.labels[box])}
        steps = [len(mask.steps), len(mask.undone)]
        self.send({"type": "edit", "index": index, "stroke": stroke, "steps": steps, **place})
        if box is not None:
            file = self._queue.save(index)
            if file is not None:
                self.send({"type": "saved", "index": index, "file": file.name})


def _png(values: np.ndarray) -> str:
    """(h, w) or (h, w, 3) uint8 -> base64 text of a PNG, never reduced: a label map must fit its picture."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(values)).save(file, format="PNG", compress_level=3)
    return base64.b64encode(file.getvalue()).decode("ascii")
