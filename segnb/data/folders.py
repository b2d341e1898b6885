"""Pairs of files from a folder of images and a folder of masks."""

from __future__ import annotations

from pathlib import Path

from segnb.data.reading import SUFFIXES
from segnb.data.wording import counted, listed
from segnb.errors import SegnbError, nearest


def pair_files(images: str | Path, masks: str | Path) -> tuple[list[Path], list[Path]]:
    """Pair the files of two folders by name without extension: ``images/01.JPG`` with ``masks/01.png``.

    Args:
        images: folder of images; hidden files, other types of file and folders in it are passed over.
        masks: folder of masks.

    Returns:
        The images and their masks, both sorted by name.

    Raises:
        SegnbError: a folder is missing or empty, a file has no partner, or two files share a name.
    """
    image_files, mask_files = _list_folder(images), _list_folder(masks)
    if image_files.keys() != mask_files.keys():
        raise SegnbError(_explain_unmatched(image_files, mask_files))
    names = sorted(image_files)
    return [image_files[name] for name in names], [mask_files[name] for name in names]


def _list_folder(folder: str | Path) -> dict[str, Path]:
    """Find the pictures of a folder by their stems."""
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise SegnbError(_explain_missing(folder))
    entries = sorted(folder.iterdir())
    files: dict[str, Path] = {}
    for path in entries:
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
            if path.stem in files:
                raise SegnbError(
                    f"{files[path.stem].name} and {path.name} in {folder} have the same name: pairs are found by it, "
                    "so keep one of them."
                )
            files[path.stem] = path
    if not files:
        inside = [path.name + "/" * path.is_dir() for path in entries]
        raise SegnbError(
            f"{folder} has no PNG, JPEG, TIFF or WebP files; it holds {listed(inside) or 'nothing'}. "
            "Give the folder that holds the pictures themselves."
        )
    return files


def _explain_missing(folder: Path) -> str:
    """Show what there is at the place where the path goes astray."""
    if folder.exists():
        return f"{folder} is a file: give the folder that holds the files."
    missing = folder
    while not missing.parent.is_dir():
        missing = missing.parent
    there = sorted(path.name for path in missing.parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    text = f"There is no folder {folder}: {missing.parent.resolve()} has {counted(len(there), 'folder')}."
    if not there:
        return text
    return f"{text} {nearest(missing.name, there) or f'They are {listed(there)}.'}"


def _explain_unmatched(images: dict[str, Path], masks: dict[str, Path]) -> str:
    """Count the files without a partner, and show the first of them."""
    parts = []
    for kind, partner, mine, others in (("image", "mask", images, masks), ("mask", "image", masks, images)):
        alone = [path.name for stem, path in mine.items() if stem not in others]
        if alone:
            parts.append(f"{counted(len(alone), kind)} without {partner} ({listed(alone, 5)})")
    return (
        f"{len(images.keys() & masks.keys())} of {len(images)} images and {len(masks)} masks pair up by name; "
        f"{' and '.join(parts)}: rename or remove them, or pass two sorted lists of paths to "
        "SegmentationDataset(images, masks, classes)."
    )
