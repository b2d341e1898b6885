"""The pictures to look at: from a data set, from two folders, or from two lists; what fits no pair is remembered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segnb.data.checks.looking import Pair
from segnb.data.datasets import SegmentationDataset
from segnb.data.folders import pair_files
from segnb.data.reading import SUFFIXES, name_of
from segnb.data.sources import Source
from segnb.errors import SegnbError

Range = tuple[float, float] | None
Folders = tuple[str | Path, str | Path]
Lists = tuple[Sequence[Source], Sequence[Source]]


@dataclass
class Gathered:
    """The pictures of one part, and the files that are in no pair.

    Attributes:
        pairs: the pictures.
        images_alone: names of images without a mask.
        masks_alone: names of masks without an image.
        doubles: names that two files share, so that it is unknown which one is meant.
        affix: what the names of masks have in addition, such as ("", "_mask"); empty if they have nothing.
    """

    pairs: list[Pair]
    images_alone: list[str] = field(default_factory=list)
    masks_alone: list[str] = field(default_factory=list)
    doubles: list[str] = field(default_factory=list)
    affix: tuple[str, str] = ("", "")


def gather(data: SegmentationDataset | Folders | Lists, part: str, value_range: Range) -> Gathered:
    """Find the pictures of one part.

    Args:
        data: a data set; or two folders, or two lists of sources, images first.
        part: "train" or "valid".
        value_range: for folders and lists, see `SegmentationDataset`.

    Returns:
        The pairs and the rest.

    Raises:
        SegnbError: ``data`` is none of these, or a folder is missing or has no pictures at all.
    """
    if isinstance(data, SegmentationDataset):
        if data.multilabel:
            raise SegnbError(
                "check_dataset looks at masks with one label for each pixel, and this data set is multi-label: check one class "
                f"at a time, check_dataset(data.of_class({data.classes[0]!r}))."
            )
        return Gathered(_pairs(data.names, part, data._images, data._masks, data.value_range))
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise SegnbError(
            f"check_dataset was given a {type(data).__name__}: give a SegmentationDataset, or a pair of folders: "
            'check_dataset(("images", "masks"), classes=[...]).'
        )
    images, masks = data
    if isinstance(images, (str, Path)) and isinstance(masks, (str, Path)):
        return _gather_folders(Path(images).expanduser(), Path(masks).expanduser(), part, value_range)
    if len(images) != len(masks):
        raise SegnbError(f"{len(images)} images but {len(masks)} masks: give one mask for each image.")
    names = [name_of(image, i) for i, image in enumerate(images)]
    return Gathered(_pairs(names, part, images, masks, value_range))


def _gather_folders(images: Path, masks: Path, part: str, value_range: Range) -> Gathered:
    try:
        image_files, mask_files = pair_files(images, masks)
        names = [path.stem for path in image_files]
        return Gathered(_pairs(names, part, image_files, mask_files, value_range))
    except SegnbError:
        mine, others = (_by_stem(folder) if folder.is_dir() else {} for folder in (images, masks))
        if not mine or not others:
            raise  # not a fault of the data, but the wrong folder
    doubles = sorted(stem for files in (mine, others) for stem, paths in files.items() if len(paths) > 1)
    before, after = _find_affix(sorted(mine.keys() - others.keys()), others.keys() - mine.keys())
    partner = {stem: stem if stem in others else f"{before}{stem}{after}" for stem in mine}
    matched = sorted(stem for stem in mine if partner[stem] in others and not {stem, partner[stem]} & set(doubles))
    image_files, mask_files = [mine[stem][0] for stem in matched], [others[partner[stem]][0] for stem in matched]
    return Gathered(
        _pairs(matched, part, image_files, mask_files, value_range),
        images_alone=sorted(stem for stem in mine if partner[stem] not in others),
        masks_alone=sorted(others.keys() - set(partner.values())),
        doubles=doubles,
        affix=(before, after),
    )


def _pairs(
    names: Sequence[str], part: str, images: Sequence[Source], masks: Sequence[Source], value_range: Range
) -> list[Pair]:
    columns = zip(names, images, masks, strict=True)
    return [Pair(name, part, i, image, mask, value_range) for i, (name, image, mask) in enumerate(columns)]


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
            files.setdefault(path.stem, []).append(path)
    return files


def _find_affix(images: list[str], masks: set[str]) -> tuple[str, str]:
    """Find what, put around the name of each image without a mask, gives the name of a mask without an image."""
    for mask in sorted(masks) if images else ():
        before, found, after = mask.partition(images[0])
        if found and all(f"{before}{image}{after}" in masks for image in images):
            return before, after
    return "", ""
