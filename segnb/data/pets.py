"""Oxford-IIIT Pet: 7,349 photos of cats and dogs, each with a trimap: 1 pet, 2 background, 3 the band between them.

    oxford-iiit-pet/images/Abyssinian_100.jpg
                    annotations/trimaps/Abyssinian_100.png
                    annotations/trainval.txt                 "Abyssinian_100 1 1 1", one picture a line

Paper: Parkhi et al., CVPR 2012, https://doi.org/10.1109/CVPR.2012.6248092; https://www.robots.ox.ac.uk/~vgg/data/pets/.
"""

from __future__ import annotations

from pathlib import Path

from segnb.data.folders import check_files, check_split, pair_listed
from segnb.data.public import PublicSet
from segnb.data.sources import Contents
from segnb.errors import SegnbError, nearest

PETS = PublicSet(
    "the Oxford-IIIT Pet data set",
    "oxford-iiit-pet",
    ("annotations/trimaps", "images"),
    "unpack images.tar.gz and annotations.tar.gz (800 MB) from https://www.robots.ox.ac.uk/~vgg/data/pets/",
)
# Pixels of the band are "not classified" to the authors. The trimap's value of each label, and of those to ignore:
BOUNDARIES = {"ignore": (["pet"], [2, 1, 3]), "class": (["background", "pet", "boundary"], [2, 1, 3])}


def read_pets(root: str | Path | None, split: str, boundary: str, download: bool) -> Contents:
    """Find the pictures of the Pet data set; see `SegmentationDataset.from_pets`."""
    if boundary not in BOUNDARIES:
        raise SegnbError(f"boundary={boundary!r}. {nearest(boundary, BOUNDARIES)}")
    check_split(split, ("trainval", "test"))
    folder = PETS.locate(root, _download if download else None)
    file = folder / "annotations" / f"{split}.txt"
    check_files([file], PETS.name)
    images, masks = pair_listed(file, folder / "images", folder / "annotations" / "trimaps")
    classes, values = BOUNDARIES[boundary]
    return Contents(images, masks, classes, values)


def _download(root: Path) -> None:
    from torchvision.datasets import OxfordIIITPet

    OxfordIIITPet(root, download=True)
