"""Files in folders: pairs of images and masks, and what to say about those that are missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

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


def pair_planes(
    images: str | Path, masks: str | Path, classes: Sequence[str]
) -> tuple[list[Path], list[list[Path | None]]]:
    """Pair each image with the files of its classes: ``images/01.jpg`` with ``masks/cell/01.png``, ``masks/nucleus/01.png``.

    Args:
        images: folder of images.
        masks: folder with a folder for each class, named after it; other folders in it are passed over.
        classes: the names.

    Returns:
        The images sorted by name, and for each a list with the mask of each class, None where there is no such file.

    Raises:
        SegnbError: a folder is missing or empty, two files share a name, a mask has no image, or an image no mask at all.
    """
    image_files, folder = _list_folder(images), check_folder(masks)
    of_class = [_list_folder(inside(folder, name, "classes")) for name in classes]
    mask_files = {stem: path for files in of_class for stem, path in files.items()}
    if image_files.keys() != mask_files.keys():
        raise SegnbError(_explain_unmatched(image_files, mask_files))
    names = sorted(image_files)
    return [image_files[name] for name in names], [[files.get(name) for files in of_class] for name in names]


def pair_listed(file: Path, images: Path, masks: Path) -> tuple[list[Path], list[Path]]:
    """Pair files by a list of names: ``images/01.jpg`` with ``masks/01.png`` for a line that begins with 01.

    Args:
        file: the list, one name a line; what follows after a space is passed over.
        images: folder of JPEG images.
        masks: folder of PNG masks.

    Returns:
        The images and their masks, in the order of the list.

    Raises:
        SegnbError: the list is empty, or a file is missing or not inside its folder.
    """
    names = [line.split()[0] for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not names:
        raise SegnbError(f"{file} is empty: it should list the names of pictures, one a line.")
    image_files = [inside(images, f"{name}.jpg", file) for name in names]
    mask_files = [inside(masks, f"{name}.png", file) for name in names]
    check_files([*image_files, *mask_files], file)
    return image_files, mask_files


def check_folder(folder: str | Path) -> Path:
    """Find a folder.

    Args:
        folder: its path, perhaps with a ``~``.

    Returns:
        Its path.

    Raises:
        SegnbError: it does not exist; the nearest one is offered.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise SegnbError(_explain_missing(folder))
    return folder


def check_split(split: str, splits: Sequence[str]) -> None:
    """Refuse an unknown part of a data set.

    Args:
        split: the name given.
        splits: the names there are.

    Raises:
        SegnbError: it is none of them.
    """
    if split not in splits:
        raise SegnbError(f"There is no split {split!r}. {nearest(split, splits)}")


def inside(folder: Path, name: str, origin: str | Path) -> Path:
    """Join a folder and a file name that stands in a data set: it must not lead elsewhere.

    Args:
        folder: where the file should be.
        name: its name, perhaps with folders, with slashes of any system.
        origin: the file that tells the name, for the error.

    Returns:
        The path; the file need not exist.

    Raises:
        SegnbError: the name is absolute or climbs up.
    """
    windows = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or windows.anchor or ".." in windows.parts or not windows.parts:
        raise SegnbError(
            f"{origin} names the file {name!r}, which is not inside {folder}: file names must stay in that folder."
        )
    return folder.joinpath(*windows.parts)


def check_files(files: Iterable[Path], origin: str | Path) -> None:
    """Refuse a list of files of which some do not exist.

    Args:
        files: all of them.
        origin: what tells that there are such files, for the error.

    Raises:
        SegnbError: some are missing; it tells how many and shows the first.
    """
    files = list(files)
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise SegnbError(
            f"{len(missing)} of {counted(len(files), 'file')} that {origin} tells of {'is' if len(missing) == 1 else 'are'} "
            f"missing: {listed(missing, 3)}. Put them there, or take them out of the list."
        )


def _list_folder(folder: str | Path) -> dict[str, Path]:
    """Find the pictures of a folder by their stems."""
    folder = check_folder(folder)
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
