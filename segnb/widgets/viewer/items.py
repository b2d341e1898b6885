"""What `explore` shows, seen as a sequence of items: each is read when it is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segnb import draw
from segnb.errors import SegnbError
from segnb.widgets.pictures import checked_labels


class DatasetItems(Sequence):
    """The items of a data set.

    Args:
        data: with ``read(i)`` and ``names``.
    """

    def __init__(self, data: Any) -> None:
        self.data = data
        self.names = list(data.names)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, labels = self.data.read(index)
        return {"image": image, "labels": labels, "name": self.names[index]}


class PredictionItems(Sequence):
    """The items of predictions, which may be read from files.

    Args:
        predictions: with ``image``, ``labels``, and ``truth`` and ``name`` if they are known.

    Raises:
        SegnbError: one of them is something else.
    """

    def __init__(self, predictions: Sequence[Any]) -> None:
        self.predictions = predictions
        if hasattr(predictions, "paths"):  # saved in a folder: do not read all of them for their names
            self.names = [path.stem for path in predictions.paths]
        else:
            for one in predictions:
                _check_prediction(one)
            self.names = names_of(predictions)

    def __len__(self) -> int:
        return len(self.predictions)

    def __getitem__(self, index: int) -> dict[str, Any]:
        one = self.predictions[index]
        return {"image": one.image, "labels": getattr(one, "truth", None), "prediction": one.labels}


class ClassPages(Sequence):
    """Items whose classes overlap, as one page for each picture and class: "photo · cell", "photo · nucleus".

    A page has one label for each pixel: 0 for background, k + 1 for class k, and 255.

    Args:
        items: of `DatasetItems` or `PredictionItems`, with planes (K, H, W) of 0, 1 and 255.
        classes: the K names.
    """

    def __init__(self, items: DatasetItems | PredictionItems, classes: Sequence[str]) -> None:
        self.items, self.classes = items, list(classes)
        self.names = [f"{picture} · {name}" for picture in items.names for name in self.classes]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        place, k = divmod(range(len(self))[index], len(self.classes))
        item = self.items[place]
        return {key: value if key in ("image", "name") else _page(value, k) for key, value in item.items()}


def _page(planes: np.ndarray | None, k: int) -> np.ndarray | None:
    if planes is None:
        return None
    return np.where(planes[k] == 1, k + 1, np.where(planes[k] == draw.IGNORE, draw.IGNORE, 0)).astype(np.uint8)


def _check_prediction(one: Any) -> None:
    if not all(hasattr(one, name) for name in ("image", "labels", "label_names", "palette")):
        raise SegnbError(
            f"explore() was given {type(one).__name__}, but shows a SegmentationDataset, a Prediction or a "
            "list of predictions: use segnb.SegmentationDataset.from_folder(...) or segnb.predict(model, ...)"
        )


def names_of(items: Sequence[Any]) -> list[str]:
    """Name every item.

    Args:
        items: in memory, or with a list ``names``.

    Returns:
        Their names; the number of an item without one.
    """
    names = getattr(items, "names", None)
    if names is None:
        names = [get(item, "name") for item in items]
    return [str(index) if name is None else str(name) for index, name in enumerate(names)]


def get(item: Any, key: str) -> Any:
    """Look up a part of an item, which is a mapping or an object."""
    return item.get(key) if isinstance(item, Mapping) else getattr(item, key, None)


def arrays_of(
    item: Any, index: int, name: str, classes: int
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Take the arrays of an item, checked: what does not fit is named here, not drawn wrongly in the browser.

    Args:
        item: with ``image``, and ``labels`` and ``prediction`` if they are known.
        index: its place, for messages.
        name: of the picture, for messages.
        classes: how many labels there are.

    Returns:
        image (H, W, 3) uint8, truth and prediction, each (H, W) uint8 or None.

    Raises:
        SegnbError: something does not fit.
    """
    image = get(item, "image")
    if image is None:
        raise SegnbError(f"Picture {index} has no image: an item needs .image or ['image']")
    image = draw.as_rgb(np.asarray(image))
    if np.ndim(get(item, "labels")) == 3:
        raise SegnbError(
            f"The mask of {name!r} is {np.shape(get(item, 'labels'))} with several classes a pixel, but one label a pixel, "
            "(H, W), is shown: give explore() the data set or the predictions, which it shows class by class"
        )
    truth, prediction = (
        checked_labels(get(item, key), image, name, kind, classes)
        for key, kind in (("labels", "mask"), ("prediction", "prediction"))
    )
    return image, truth, prediction
