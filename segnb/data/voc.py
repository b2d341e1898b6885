"""Pascal VOC: photos, palette masks, and lists of names for each split.

    VOCdevkit/VOC2012/JPEGImages/2007_000032.jpg
                      SegmentationClass/2007_000032.png     0 background, 1 to 20 things, 255 their outlines
                      ImageSets/Segmentation/train.txt      2007_000032, one name a line

Paper: Everingham et al., IJCV 2010, https://doi.org/10.1007/s11263-009-0275-4. Colours: the data set's VOCcolormap.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segnb.data.folders import check_split, pair_listed
from segnb.data.public import PublicSet
from segnb.data.sources import Contents

CLASSES = [
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]
VOC = PublicSet(
    "Pascal VOC 2012",
    "VOCdevkit/VOC2012",
    ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"),
    "unpack VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
)


def read_voc(root: str | Path | None, split: str, download: bool) -> Contents:
    """Find the pictures of a Pascal VOC folder; see `SegmentationDataset.from_voc`."""
    folder = VOC.locate(root, _download if download else None)
    lists = folder / "ImageSets" / "Segmentation"
    check_split(split, sorted(path.stem for path in lists.glob("*.txt")))
    images, masks = pair_listed(lists / f"{split}.txt", folder / "JPEGImages", folder / "SegmentationClass")
    return Contents(images, masks, CLASSES, range(len(CLASSES)), colormap(len(CLASSES)))


def colormap(n: int) -> np.ndarray:
    """Compute Pascal VOC's colours: the bits of a label, three by three, become the high bits of red, green and blue.

    Args:
        n: how many, at most 256.

    Returns:
        (n, 3) uint8.
    """
    labels = np.arange(n)
    return np.stack(
        [sum((labels >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3)) for channel in range(3)], axis=1
    ).astype(np.uint8)


def _download(root: Path) -> None:
    from torchvision.datasets import VOCSegmentation

    VOCSegmentation(root, year="2012", download=True)
