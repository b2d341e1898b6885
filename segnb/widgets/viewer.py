"""MaskViewer: look through pictures with their masks and predictions.

Python sends each picture once, as a JPEG and label PNGs; opacity, classes, swipe and the map of errors are drawn in the
browser and never ask the kernel. The first pictures travel with the widget, so that they also show while the kernel is
busy; the others are fetched when they are looked at.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import traitlets
from PIL import Image

from segnb import draw
from segnb.errors import SegnbError
from segnb.widgets.base import SegnbWidget

LONGEST = 1024  # pixels of the longer side; larger pictures are shown reduced
PHOTO_BUDGET = 256 * 1024  # characters of one photo
FIRST_BUDGET = 300 * 1024  # characters that travel with the widget
FIRST = 8  # pictures that travel with the widget, at most


class MaskViewer(SegnbWidget):
    """Shows pictures with masks and predictions: opacity, classes, swipe between two layers, map of errors.

    Args:
        items: a sequence; each item is a mapping or an object with ``image`` (H, W) or (H, W, C) uint8, and if known
            ``labels`` (the true mask, (H, W) integers, 255 ignored), ``prediction`` (the same) and ``name``.
        class_names: one name for each label.
        palette: (n, 3) uint8, one colour for each label.

    Raises:
        SegnbError: there are no items, colours and names differ in number, or the first item does not fit.
    """

    count = traitlets.Int().tag(sync=True)
    class_names = traitlets.List().tag(sync=True)
    palette = traitlets.List().tag(sync=True)
    pictures = traitlets.List().tag(sync=True)  # the first ones

    def __init__(self, items: Sequence[Any], class_names: Sequence[str], palette: np.ndarray) -> None:
        if len(items) == 0:
            raise SegnbError("There are no pictures to show: give at least one")
        if len(class_names) != len(palette):
            raise SegnbError(
                f"{len(palette)} colours for {len(class_names)} class names: give one colour for each name"
            )
        self._items = items
        self._colours = np.asarray(palette)
        super().__init__(
            count=len(items),
            class_names=[str(name) for name in class_names],
            palette=self._colours.tolist(),
            pictures=list(self._first_pictures()),
        )

    def on_command(self, message: dict[str, Any]) -> None:
        """Send a picture that the browser asks for.

        Args:
            message: ``{"type": "picture", "index": i}``.
        """
        if message.get("type") == "picture":
            self.send({"type": "picture", **self.payload(int(message["index"]))})

    def payload(self, index: int) -> dict[str, Any]:
        """Encode one picture for the browser.

        Args:
            index: which, from 0.

        Returns:
            ``index``, ``name``, ``width`` and ``height`` in pixels of the original, and base64 text: ``image`` (JPEG),
            ``truth`` and ``prediction`` (grey PNGs whose grey values are labels, or None).

        Raises:
            SegnbError: the item cannot be shown; the message names it.
        """
        image, truth, prediction, name = self._read(index)
        height, width = image.shape[:2]
        return {
            "index": index,
            "name": name,
            "width": width,
            "height": height,
            "image": _photo(image),
            "truth": _labels(truth),
            "prediction": _labels(prediction),
        }

    def describe(self) -> str:
        """Say what is shown."""
        pictures = "1 picture" if self.count == 1 else f"{self.count} pictures"
        return f"{pictures}, classes: {', '.join(self.class_names)}"

    def figure_png(self) -> bytes:
        """Draw a contact sheet: the first four pictures, or the first two with their predictions.

        Returns:
            The bytes of a PNG file.
        """
        items = [self._read(index) for index in range(min(4, self.count))]
        if any(prediction is not None for _, _, prediction, _ in items):
            items = items[:2]
        return draw.png_bytes(draw.contact_sheet(items, self._colours, self.class_names), dpi=80)

    def _first_pictures(self) -> Iterator[dict[str, Any]]:
        """Payloads of the first pictures, one at least, as many as are small enough to travel with the widget."""
        left = FIRST_BUDGET
        for index in range(min(FIRST, len(self._items))):
            payload = self.payload(index)
            left -= sum(len(payload[layer] or "") for layer in ("image", "truth", "prediction"))
            if index and left < 0:
                return
            yield payload

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None, str]:
        """The arrays of one item, checked: what does not fit is named here, not drawn wrongly in the browser."""
        item = self._items[index]
        image, truth, prediction, name = (_get(item, key) for key in ("image", "labels", "prediction", "name"))
        name = str(index) if name is None else str(name)
        if image is None:
            raise SegnbError(f"Picture {index} has no image: an item needs .image or ['image']")
        image = draw.as_rgb(np.asarray(image))
        return image, self._check(truth, image, name, "mask"), self._check(prediction, image, name, "prediction"), name

    def _check(self, labels: Any, image: np.ndarray, name: str, kind: str) -> np.ndarray | None:
        if labels is None:
            return None
        labels = np.asarray(labels)
        if labels.shape != image.shape[:2]:
            raise SegnbError(
                f"The {kind} of {name!r} is {labels.shape}, its image is {image.shape[:2]} (H, W): they must be equal"
            )
        counted = labels[labels != draw.IGNORE]
        if counted.size and not 0 <= counted.min() <= counted.max() < len(self._colours):
            raise SegnbError(
                f"The {kind} of {name!r} has labels from {counted.min()} to {counted.max()}, "
                f"but there are {len(self._colours)} classes (0 to {len(self._colours) - 1}, 255 is ignored)"
            )
        return labels.astype(np.uint8)


class _DatasetItems(Sequence):
    """The items of a dataset, read when they are looked at."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, labels = self.data.read(index)
        return {"image": image, "labels": labels, "name": self.data.names[index]}


class _PredictionItems(Sequence):
    """The items of predictions, which may be read from files when they are looked at."""

    def __init__(self, predictions: Sequence[Any]) -> None:
        self.predictions = predictions

    def __len__(self) -> int:
        return len(self.predictions)

    def __getitem__(self, index: int) -> dict[str, Any]:
        one = self.predictions[index]
        if not all(hasattr(one, name) for name in ("image", "labels", "label_names", "palette")):
            raise SegnbError(
                f"explore() was given {type(one).__name__}, but shows a SegmentationDataset, a Prediction or a "
                "list of predictions: use segnb.SegmentationDataset.from_folder(...) or segnb.predict(model, ...)"
            )
        return {
            "image": one.image,
            "labels": getattr(one, "truth", None),
            "prediction": one.labels,
            "name": getattr(one, "name", None),
        }


def explore(source: Any) -> MaskViewer:
    """Look through a dataset or through predictions.

    Args:
        source: a `SegmentationDataset`, a `Prediction`, or a sequence of predictions of one model.

    Returns:
        A viewer; the last expression of a cell shows it.

    Raises:
        SegnbError: the source is something else, or empty.
    """
    if hasattr(source, "read") and hasattr(source, "label_names"):
        return MaskViewer(_DatasetItems(source), source.label_names, source.palette)
    predictions = source if isinstance(source, Sequence) and not isinstance(source, str) else [source]
    if len(predictions) == 0:
        raise SegnbError("explore() was given an empty list: give at least one prediction")
    items = _PredictionItems(predictions)
    items[0]  # refuses what is no prediction
    return MaskViewer(items, predictions[0].label_names, predictions[0].palette)


def _get(item: Any, key: str) -> Any:
    return item.get(key) if isinstance(item, Mapping) else getattr(item, key, None)


def _reduce(image: Image.Image, method: Image.Resampling) -> Image.Image:
    """Bring the longer side down to `LONGEST`; smaller pictures stay as they are."""
    scale = LONGEST / max(image.size)
    if scale >= 1:
        return image
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), method)


def _photo(image: np.ndarray) -> str:
    """(H, W, 3) uint8 -> base64 JPEG, at quality 85 or as much of it as the budget allows."""
    picture = _reduce(Image.fromarray(np.ascontiguousarray(image)), Image.Resampling.BOX)
    small = max(picture.size) <= 512  # enlarged on the screen: keep the colours as sharp as the brightness
    for quality in (85, 70, 50, 30):
        file = io.BytesIO()
        picture.save(file, format="JPEG", quality=quality, subsampling=0 if small else 2)
        text = base64.b64encode(file.getvalue()).decode("ascii")
        if len(text) <= PHOTO_BUDGET:
            break
    return text


def _labels(labels: np.ndarray | None) -> str | None:
    """(H, W) uint8 -> base64 PNG whose grey values are the labels."""
    if labels is None:
        return None
    file = io.BytesIO()
    _reduce(Image.fromarray(labels), Image.Resampling.NEAREST).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")
