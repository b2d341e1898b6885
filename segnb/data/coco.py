"""COCO: one JSON file that lists pictures, categories, and an outline for each thing in a picture.

    {"images":      [{"id": 7, "file_name": "a.jpg", "height": 480, "width": 640}, ...],
     "categories":  [{"id": 18, "name": "dog"}, ...],
     "annotations": [{"image_id": 7, "category_id": 18, "iscrowd": 0, "segmentation": polygons or run lengths}, ...]}

Things become labels, and labels do not overlap: crowds lie lowest, then things from large to small, so that a cup stays
visible on its table; of two with one size the later lies on top. With ``multilabel`` each category has a plane of its own.

Format: https://cocodataset.org/#format-data. Paper: Lin et al., ECCV 2014, https://arxiv.org/abs/1405.0312.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segnb.data.coco_masks import CocoMask, CocoPlanes
from segnb.data.folders import check_files, check_folder, inside
from segnb.data.optional import require
from segnb.data.sources import Contents
from segnb.data.wording import listed
from segnb.errors import SegnbError, nearest

PURPOSE = "SegmentationDataset.from_coco"
KEYS = {
    "images": {"id", "file_name", "height", "width"},
    "categories": {"id", "name"},
    "annotations": {"image_id", "category_id"},
}
BACKGROUND = "background"


def read_coco(images: str | Path, annotations: str | Path, classes: Sequence[str] | None, multilabel: bool) -> Contents:
    """Find the pictures and outlines of a COCO data set; see `SegmentationDataset.from_coco`."""
    require("pycocotools.mask", PURPOSE)
    folder, file = check_folder(images), Path(annotations).expanduser()
    content = _read_json(file)
    names = _choose_names(content["categories"], classes, file)
    label_of = {
        entry["id"]: names.index(entry["name"]) + 1 for entry in content["categories"] if entry["name"] in names
    }
    things = _group_things(content, label_of, file)
    paths = [inside(folder, str(image["file_name"]), file) for image in content["images"]]
    check_files(paths, file)
    described = [
        (f"the mask of {path} in {file}", path.stem, _size_of(image, file), things[image["id"]])
        for path, image in zip(paths, content["images"], strict=True)
    ]
    if multilabel:
        masks = [CocoPlanes(*about, len(names)) for about in described]
        return Contents(paths, masks, names, (0, 1), multilabel=True)
    masks = [CocoMask(*about) for about in described]
    return Contents(paths, masks, names if len(names) == 1 else [BACKGROUND, *names], range(len(names) + 1))


def _read_json(file: Path) -> dict[str, list[dict[str, Any]]]:
    """Read the file and check that the three lists have what each entry needs."""
    if not file.is_file():
        there = sorted(path.name for path in file.parent.glob("*.json"))
        raise SegnbError(f"There is no file {file}. {nearest(file.name, there)}".rstrip())
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        raise SegnbError(f"{file} is not valid JSON ({error}): export or download it again.") from error
    for key, needed in KEYS.items():
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise SegnbError(f"{file} has no list {key!r}: give a COCO file of instances, with {listed(list(KEYS))}.")
        for place, entry in enumerate(entries):
            lacking = needed - entry.keys() if isinstance(entry, dict) else needed
            if lacking:
                raise SegnbError(f"{file}: entry {place} of {key!r} has no {listed(sorted(lacking))}.")
    return content


def _size_of(image: dict[str, Any], file: Path) -> tuple[int, int]:
    """Take height and width of a picture from its entry."""
    size = image["height"], image["width"]
    if not all(type(side) is int and side > 0 for side in size):
        raise SegnbError(
            f"{file}: image {image['file_name']!r} has height and width {size}: they are numbers of pixels."
        )
    return size


def _choose_names(categories: list[dict[str, Any]], classes: Sequence[str] | None, file: Path) -> list[str]:
    """Name the labels from 1 on: all categories in the order of their ids, or those that were asked for."""
    by_id = sorted(categories, key=lambda entry: entry["id"])
    there = [name for name in dict.fromkeys(str(entry["name"]) for entry in by_id) if name != BACKGROUND]
    if classes is None:
        chosen = there
    elif isinstance(classes, str):
        raise SegnbError(f"classes={classes!r}: give a list of names, such as [{classes!r}].")
    else:
        chosen = list(classes)
    for name in chosen:
        if name not in there:
            raise SegnbError(f"{file} has no category {name!r}. {nearest(name, there) or f'It has {listed(there)}.'}")
    if not chosen:
        raise SegnbError(f"{file} has no category to learn, but {len(categories)} in all: give a file with categories.")
    return chosen


def _group_things(
    content: dict[str, list[dict[str, Any]]], label_of: dict[Any, int], file: Path
) -> dict[Any, list[tuple[int, dict[str, Any]]]]:
    """Sort annotations by their picture; those of categories that were not asked for are left out."""
    known = {entry["id"] for entry in content["categories"]}
    things: dict[Any, list[tuple[int, dict[str, Any]]]] = {image["id"]: [] for image in content["images"]}
    for place, annotation in enumerate(content["annotations"]):
        which = f"{file}: annotation {annotation.get('id', place)}"
        if annotation["category_id"] not in known:
            raise SegnbError(f"{which} has category_id {annotation['category_id']}, which is not among the categories.")
        if annotation["image_id"] not in things:
            raise SegnbError(f"{which} has image_id {annotation['image_id']}, which is not among the images.")
        if annotation["category_id"] in label_of:
            if not annotation.get("segmentation"):
                raise SegnbError(
                    f"{which} has no segmentation, perhaps only a box: masks need outlines, so take it out."
                )
            things[annotation["image_id"]].append((label_of[annotation["category_id"]], annotation))
    return things
