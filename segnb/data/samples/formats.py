"""Pictures written in the three layouts that people meet, for lessons and tests on reading them.

    write_folders   images/a.png, masks/a.png                  a pixel is a label
    write_coco      images/a.png, instances.json               run lengths for each thing
    write_voc       JPEGImages/a.jpg, SegmentationClass/a.png  a pixel is one of the 21 labels of Pascal VOC

The readers are those of `segnb.SegmentationDataset`; what is written here comes back label for label.
Formats: https://cocodataset.org/#format-data; Everingham et al., IJCV 2010, https://doi.org/10.1007/s11263-009-0275-4.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from segnb.files import write_atomically

Picture = tuple[str, np.ndarray, np.ndarray]  # name, image (H, W, 3) or (H, W) uint8, labels (H, W) uint8


def write_folders(folder: str | Path, pictures: Iterable[Picture]) -> Path:
    """Write ``images/NAME.png`` and ``masks/NAME.png``.

    Args:
        folder: made if missing; files of the same names are replaced.
        pictures: name, image and labels of each.

    Returns:
        The folder.
    """
    folder = Path(folder)
    for name, image, labels in pictures:
        _write(folder / "images" / f"{name}.png", image)
        _write(folder / "masks" / f"{name}.png", labels)
    return folder


def write_coco(folder: str | Path, pictures: Iterable[Picture], categories: Mapping[int, tuple[int, str]]) -> Path:
    """Write ``images/NAME.png`` and ``instances.json``, in which every connected area of a label is a thing.

    Args:
        folder: made if missing; files of the same names are replaced.
        pictures: name, image and labels of each.
        categories: the id in the file and the name of each label that is a thing; all others are background.

    Returns:
        The folder.
    """
    folder = Path(folder)
    content: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "categories": [{"id": number, "name": name} for number, name in categories.values()],
        "annotations": [],
    }
    for image_id, (name, image, labels) in enumerate(pictures, start=1):
        _write(folder / "images" / f"{name}.png", image)
        height, width = labels.shape
        content["images"].append({"id": image_id, "file_name": f"{name}.png", "height": height, "width": width})
        for label, thing in _things(labels, categories):
            number = len(content["annotations"]) + 1
            about = {"id": number, "image_id": image_id, "category_id": categories[label][0], "iscrowd": 0}
            outline = {"size": [height, width], "counts": run_lengths(thing)}
            content["annotations"].append({**about, "segmentation": outline})
    text = json.dumps(content)
    write_atomically(folder / "instances.json", lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return folder


def write_voc(folder: str | Path, pictures: Iterable[Picture], voc_labels: Mapping[int, int]) -> Path:
    """Write the three folders of Pascal VOC, with all pictures in the list "train".

    Args:
        folder: made if missing; files of the same names are replaced.
        pictures: name, image and labels of each.
        voc_labels: VOC's number for each label that has one; all others are background.

    Returns:
        The folder.
    """
    folder = Path(folder)
    table = np.zeros(256, np.uint8)
    table[list(voc_labels)] = list(voc_labels.values())
    names = []
    for name, image, labels in pictures:
        _write(folder / "JPEGImages" / f"{name}.jpg", image)
        _write(folder / "SegmentationClass" / f"{name}.png", table[labels])
        names.append(name)
    text = "".join(f"{name}\n" for name in names)
    listing = folder / "ImageSets" / "Segmentation" / "train.txt"
    write_atomically(listing, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return folder


def run_lengths(thing: np.ndarray) -> list[int]:
    """Count pixels without and with the thing in turn, column by column, as COCO writes them.

    Args:
        thing: (H, W) bool.

    Returns:
        Numbers of pixels that sum to H · W; the first one is 0 if the thing begins in the corner.
    """
    pixels = np.concatenate([[False], thing.ravel(order="F")])
    changes = np.flatnonzero(pixels[1:] != pixels[:-1])
    return np.diff(np.concatenate([[0], changes, [thing.size]])).tolist()


def _things(labels: np.ndarray, wanted: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Find the connected areas of each label: (label, (H, W) bool)."""
    for label in wanted:
        areas, count = ndimage.label(labels == label)
        for area in range(1, count + 1):
            yield label, areas == area


def _write(path: Path, pixels: np.ndarray) -> None:
    write_atomically(path, lambda temporary: Image.fromarray(pixels).save(temporary, quality=90))
