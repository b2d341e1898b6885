"""What the inspector sends of one picture and of one map: arrays, checked, as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from segnb import draw
from segnb.widgets.pictures import checked_labels, grey_map, label_map, photo

LABELS = {"labels": "mask", "prediction": "prediction", "other": "other prediction"}  # and what a message calls them


class Inspectable(Protocol):
    """What the inspector shows of a picture.

    Attributes:
        stages: titles by name of the places that have a feature map; empty if there are none.
        compared: whether there is a second model.
    """

    stages: Mapping[str, str]
    compared: bool

    def picture(self, index: int) -> Mapping[str, np.ndarray | None]:
        """Give image (H, W, C) uint8, and labels, prediction and other (the second model's, or None), each (H, W)."""

    def probability(self, index: int, label: int) -> np.ndarray:
        """Give the probability (H, W) of a label, 0 to 1."""

    def explanation(
        self,
        kind: str,
        index: int,
        *,
        label: int | None,
        stage: str,
        channel: int | None,
        progress: Callable[[float], None],
    ) -> tuple[np.ndarray, str]:
        """Give a map (h, w) of kind "entropy", "variance", "gradcam" or "features", and a few words on it."""


def check_picture(item: Mapping[str, Any], name: str, n_labels: int) -> dict[str, Any]:
    """Refuse labels that do not fit their picture.

    Args:
        item: what `Inspectable.picture` gave.
        name: of the picture.
        n_labels: how many labels there are.

    Returns:
        image (H, W, 3) uint8, the name, and labels, prediction and other, (H, W) uint8 or None.

    Raises:
        SegnbError: something does not fit; the message names the picture.
    """
    image = draw.as_rgb(np.asarray(item["image"]))
    maps = {key: checked_labels(item.get(key), image, name, kind, n_labels) for key, kind in LABELS.items()}
    return {"image": image, "name": name, **maps}


def encode_picture(item: Mapping[str, Any], index: int) -> dict[str, Any]:
    """Write a picture for the browser.

    Args:
        item: of `check_picture`.
        index: of the picture.

    Returns:
        ``index``, ``width`` and ``height`` of the original in pixels, and base64 text: ``image`` (JPEG), ``labels``,
        ``prediction`` and ``other`` (PNGs whose grey values are labels, or None).
    """
    height, width = item["image"].shape[:2]
    maps = {key: None if item[key] is None else label_map(item[key]) for key in LABELS}
    return {"index": index, "width": width, "height": height, "image": photo(item["image"]), **maps}


def encode_map(values: np.ndarray, low: float, high: float, about: str) -> dict[str, Any]:
    """Write a map for the browser, at its own size.

    Args:
        values: float (h, w).
        low: the value of the first of 256 grey levels.
        high: the value of the last.
        about: a few words on it.

    Returns:
        ``values`` (base64 text of a grey PNG), ``low``, ``high``, ``about``.
    """
    scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return {"values": grey_map(scaled), "low": low, "high": high, "about": about}
