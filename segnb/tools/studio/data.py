"""What the studio works on: a training and a validation set.

"street"                ─▶ load_sample ────────────┐
folder/images, /masks   ─▶ from_folder ─▶ split ───┼─▶ train, valid
a SegmentationDataset   ────────────────▶ split ───┤
(train, valid)          ───────────────────────────┘
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnb.errors import SegnbError

if TYPE_CHECKING:
    from segnb.data.datasets import SegmentationDataset

VALID = 0.2  # share of the pictures to validate on, where the studio splits
EXPECTED = "a pair (train, valid), a SegmentationDataset, a sample's name such as 'street', or a folder with images/ and masks/"


@dataclass(frozen=True)
class StudioData:
    """The data of a studio.

    Attributes:
        train: pictures to learn from.
        valid: pictures to judge by.
        whole: what both were split from; None if they were given as two.
    """

    train: SegmentationDataset
    valid: SegmentationDataset
    whole: SegmentationDataset | None = None


def open_data(data: Any, classes: Sequence[str] | None) -> StudioData:
    """Read what the studio was given.

    Args:
        data: see `segnb.studio`.
        classes: names of the labels, for a folder.

    Returns:
        Training and validation set.

    Raises:
        SegnbError: it is none of these, cannot be read, or its classes may overlap.
    """
    found = _open(data, classes)
    if getattr(found.train, "multilabel", False):
        raise SegnbError(
            "The studio shows one label for each pixel, and the classes of this data set may overlap (multilabel=True): use "
            "segnb.explore, segnb.create_model(..., multilabel=True), segnb.fit and segnb.evaluate."
        )
    if list(found.train.label_names) != list(found.valid.label_names):
        raise SegnbError(
            f"train has the labels {list(found.train.label_names)} and valid {list(found.valid.label_names)}: both must have "
            "the same, in one order."
        )
    return found


def _open(data: Any, classes: Sequence[str] | None) -> StudioData:
    if isinstance(data, (str, Path)) and Path(data).expanduser().is_dir():
        return _open_folder(Path(data).expanduser(), classes)
    if classes is not None:
        raise SegnbError("classes belong to a folder of images and masks: a data set and a sample have their own.")
    if isinstance(data, (str, Path)):
        return _open_sample(str(data))
    if isinstance(data, Sequence) and len(data) == 2 and all(map(_is_data, data)):
        return StudioData(*data)
    if _is_data(data):
        return _split(data)
    raise SegnbError(f"studio() was given {type(data).__name__}: give {EXPECTED}.")


def _is_data(value: Any) -> bool:
    return hasattr(value, "read") and hasattr(value, "label_names")


def _open_folder(folder: Path, classes: Sequence[str] | None) -> StudioData:
    from segnb.data import SegmentationDataset

    absent = [name for name in ("images", "masks") if not (folder / name).is_dir()]
    if absent:
        raise SegnbError(
            f"The folder {str(folder)!r} has no folder {absent[0]!r}: the studio reads images/a.jpg with masks/a.png. For "
            "other layouts make a segnb.SegmentationDataset first."
        )
    if classes is None:
        raise SegnbError(
            f'The masks in {str(folder)!r} hold numbers; say what they mean: studio({str(folder)!r}, classes=["background", '
            '"cell"]), in the order of the labels.'
        )
    return _split(SegmentationDataset.from_folder(folder / "images", folder / "masks", list(classes)))


def _open_sample(name: str) -> StudioData:
    from segnb.data import load_sample

    try:
        return StudioData(*load_sample(name))
    except SegnbError as problem:
        raise SegnbError(f"{name!r} is no folder here, and no sample either. {problem}") from None


def _split(data: SegmentationDataset) -> StudioData:
    from segnb.data import split

    return StudioData(*split(data, VALID), whole=data)
