"""Cityscapes: street scenes of 50 cities; 34 label ids in the files, 19 of which are learnt and scored.

    leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png
    gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png      ids 0 to 33 ─▶ labels 0 to 18, the rest 255

Paper: Cordts et al., CVPR 2016, https://arxiv.org/abs/1604.01685; https://www.cityscapes-dataset.com.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segnb.data.folders import check_files, check_folder, check_split
from segnb.data.reading import read_mask
from segnb.data.sources import Contents, LazySource
from segnb.draw import IGNORE
from segnb.errors import SegnbError

# id, name, colour of the classes that are scored, in the order of their training labels
CLASSES = (
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)
HIGHEST_ID = 33
LABEL_OF_ID = np.full(256, IGNORE, np.uint8)
LABEL_OF_ID[[number for number, _, _ in CLASSES]] = range(len(CLASSES))
HOME = "https://www.cityscapes-dataset.com (free for research, with registration)"


def read_cityscapes(root: str | Path, split: str) -> Contents:
    """Find the pictures of a Cityscapes folder; see `SegmentationDataset.from_cityscapes`."""
    root = check_folder(root)
    if split == "test":
        raise SegnbError("The labels of Cityscapes' test split are not public: use split='val' to evaluate.")
    check_split(split, ("train", "val"))
    photos = root / "leftImg8bit" / split
    images = sorted(photos.glob("*/*_leftImg8bit.png"))
    if not images:
        raise SegnbError(
            f"There are no files {photos / '*' / '*_leftImg8bit.png'}: unpack leftImg8bit_trainvaltest.zip and "
            f"gtFine_trainvaltest.zip from {HOME} into {root}."
        )
    masks = [_mask_of(root, split, image) for image in images]
    check_files([mask.path for mask in masks], photos)
    return Contents(
        images, masks, [name for _, name, _ in CLASSES], range(len(CLASSES)), [colour for _, _, colour in CLASSES]
    )


@dataclass(frozen=True, eq=False)
class CityscapesMask(LazySource):
    """A mask of ids, translated when it is read.

    Attributes:
        path: the file.
    """

    path: Path

    @property
    def title(self) -> str:
        """See `LazySource`."""
        return str(self.path)

    @property
    def name(self) -> str:
        """See `LazySource`."""
        return self.path.stem

    def read(self) -> np.ndarray:
        """Translate ids to labels.

        Returns:
            (H, W) uint8 labels 0 to 18, 255 for the other ids.

        Raises:
            SegnbError: the file holds something else than Cityscapes' ids.
        """
        ids = read_mask(self.path, self.title, colours=False)
        unknown = (ids > HIGHEST_ID) & (ids != IGNORE)  # -1, a licence plate, is stored as 255
        if ids.ndim == 3 or unknown.any():
            raise SegnbError(
                f"{self.title} holds more than the ids 0 to {HIGHEST_ID} of Cityscapes: give its labelIds files."
            )
        return LABEL_OF_ID[ids]


def _mask_of(root: Path, split: str, image: Path) -> CityscapesMask:
    """Find the partner of a photo."""
    stem = image.name.removesuffix("_leftImg8bit.png")
    return CityscapesMask(root / "gtFine" / split / image.parent.name / f"{stem}_gtFine_labelIds.png")
