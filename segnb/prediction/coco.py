"""Predictions as a COCO file: each class, or each connected piece of it, as run lengths with area and bounding box.

Format: https://cocodataset.org/#format-data. Run lengths are written by pycocotools, the reference.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segnb.errors import SegnbError
from segnb.files import write_atomically

if TYPE_CHECKING:
    from segnb.prediction.results import Prediction

BACKGROUND = "background"  # COCO describes things; what is nothing has no category


def save_coco(
    predictions: Iterable[Prediction], label_names: Sequence[str], path: str | Path, components: bool
) -> Path:
    """Write label maps as one COCO JSON file.

    Args:
        predictions: read one after the other; only the run lengths are kept.
        label_names: name of each label; one called "background" is left out.
        path: where, ending in ``.json``; a file already there is replaced.
        components: one annotation for each connected piece (neighbours by edge or corner) instead of one for each class.

    Returns:
        The path written.

    Raises:
        SegnbError: another suffix, or pycocotools is missing.
    """
    path = Path(path)
    if path.suffix.lower() != ".json":
        raise SegnbError(f"COCO annotations are JSON; {path.name!r} does not end in .json.")
    if importlib.util.find_spec("pycocotools") is None:
        raise SegnbError('COCO annotations need pycocotools: pip install "segnb[data]"')
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, prediction in enumerate(predictions, start=1):
        height, width = prediction.labels.shape[-2:]
        name = prediction.file_name or prediction.name
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for label, mask in _masks(prediction.labels, label_names, components):
            about = {"id": len(annotations) + 1, "image_id": number, "category_id": label, "iscrowd": 0}
            annotations.append({**about, **_encode(mask)})
    categories = [{"id": label, "name": name} for label, name in enumerate(label_names) if name != BACKGROUND]
    content = json.dumps({"images": images, "categories": categories, "annotations": annotations})
    return write_atomically(path, lambda temporary: temporary.write_text(content, encoding="utf-8"))


def _masks(labels: np.ndarray, label_names: Sequence[str], components: bool) -> Iterator[tuple[int, np.ndarray]]:
    """Each label that is there, or each connected piece of it, as (H, W) bool."""
    from scipy import ndimage

    for label, name in enumerate(label_names):
        mask = labels[label] == 1 if labels.ndim == 3 else labels == label
        if name == BACKGROUND or not mask.any():
            continue
        if not components:
            yield label, mask
            continue
        numbered, count = ndimage.label(mask, structure=np.ones((3, 3)))
        for number in range(1, count + 1):
            yield label, numbered == number


def _encode(mask: np.ndarray) -> dict[str, Any]:
    """(H, W) bool -> run lengths down the columns as COCO packs them, pixels, and box (left, top, width, height)."""
    from pycocotools import mask as coco

    runs = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        "segmentation": {"size": list(mask.shape), "counts": runs["counts"].decode("ascii")},
        "area": int(coco.area(runs)),
        "bbox": coco.toBbox(runs).tolist(),
    }
