"""Pictures, however they are given, as pixels with the model's number of channels, read when they are needed.

array, PIL image, path, folder, list, data set ─▶ names now, and later one by one: (image, name, truth)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from segnb.data.datasets import SegmentationDataset
from segnb.data.opening import open_picture
from segnb.data.reading import SUFFIXES, to_8_bits
from segnb.errors import SegnbError
from segnb.evaluation import check_fits

Source = np.ndarray | Image.Image | str | Path | SegmentationDataset | Sequence[Any]
PIL_MODES = {1: "L", 3: "RGB"}


class Picture(NamedTuple):
    """One thing to predict: image uint8 (C, H, W), and labels (H, W) if they are known."""

    image: Tensor
    name: str
    truth: Tensor | None = None
    file_name: str | None = None


@dataclass(frozen=True)
class Pictures:
    """What was given to `predict`.

    Attributes:
        names: of all pictures.
        read: index -> picture.
        files: those that are read, as far as they are known.
        folder: where unreadable files are passed over; None if each picture was asked for.
        single: whether there is exactly one by nature.
    """

    names: list[str]
    read: Callable[[int], Picture]
    files: list[Path]
    folder: Path | None = None
    single: bool = False

    def each(self) -> Iterator[tuple[Tensor, int, Picture]]:
        """Read the pictures one by one.

        Yields:
            The image, its index, and the whole picture.

        Raises:
            SegnbError: a picture cannot be read; in a folder, none can.
        """
        found = 0
        for index in range(len(self.names)):
            try:
                picture = self.read(index)
            except SegnbError as error:
                if self.folder is None:
                    raise
                warnings.warn(f"skipped: {error}", stacklevel=2)
                continue
            found += 1
            yield picture.image, index, picture
        if not found:
            raise SegnbError(
                f"none of the {len(self.names)} pictures in {str(self.folder)!r} can be read; the warnings name each."
            )


def open_pictures(source: Source, model: nn.Module) -> Pictures:
    """Understand what was given.

    Args:
        source: see `predict`.
        model: the model that will read it.

    Returns:
        The pictures; nothing is decoded yet.

    Raises:
        SegnbError: an empty list or folder, or a data set that the model was not made for.
    """
    if isinstance(source, SegmentationDataset):
        check_fits(model, source)
        return Pictures(list(source.names), lambda index: _labelled(source, index), [])
    if isinstance(source, (str, Path)) and Path(source).is_dir():
        folder = Path(source)
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
        if not paths:
            raise SegnbError(
                f"the folder {str(folder)!r} has no pictures; expected files ending in {', '.join(SUFFIXES)}."
            )
        return _listed(paths, model, folder=folder)
    if isinstance(source, (list, tuple)):
        if not source:
            raise SegnbError("the list of pictures is empty; give at least one array, PIL image or path.")
        return _listed(source, model)
    return _listed([source], model, single=True)


def _listed(items: Sequence[Any], model: nn.Module, *, folder: Path | None = None, single: bool = False) -> Pictures:
    files = {index: Path(item) for index, item in enumerate(items) if isinstance(item, (str, Path))}
    numbers = ["image"] if single else [f"{index:03d}" for index in range(len(items))]
    names = [files[index].stem if index in files else number for index, number in enumerate(numbers)]
    return Pictures(
        names, lambda index: _picture(items[index], model, names[index]), list(files.values()), folder, single
    )


def _labelled(data: SegmentationDataset, index: int) -> Picture:
    image, truth = data[index]
    return Picture(image, data.names[index], truth)


def _picture(source: object, model: nn.Module, name: str) -> Picture:
    """Turn one array, PIL image or path into pixels with the model's number of channels."""
    file_name = None
    if isinstance(source, (str, Path)):
        source, file_name = _read(Path(source)), Path(source).name
    if isinstance(source, Image.Image):
        source = _convert(source, model.in_channels)
    if isinstance(source, np.ndarray):
        source = _in_8_bits(source, model.value_range, name, is_stored=file_name is not None)
    else:
        raise SegnbError(
            f"predict() was given a {type(source).__name__}; it takes an array (H, W) or (H, W, C), a PIL image, "
            "a path, a folder, a list of those, or a SegmentationDataset."
        )
    return Picture(_pixels(source, model.in_channels), name, file_name=file_name)


def _read(path: Path) -> Image.Image | np.ndarray:
    """Decode a file completely and turn it upright."""
    if not path.exists():
        raise SegnbError(f"there is no file or folder {str(path)!r}; the current folder is {str(Path.cwd())!r}.")
    return open_picture(path, repr(str(path)))


def _convert(picture: Image.Image, channels: int) -> np.ndarray:
    """Apply the camera's rotation and convert to the model's number of channels; more than 8 bits stay."""
    upright = ImageOps.exif_transpose(picture)
    deep = picture.mode[0] in "IF"  # Pillow would clip or halve them
    return np.array(upright.convert(PIL_MODES[channels]) if channels in PIL_MODES and not deep else upright)


def _in_8_bits(array: np.ndarray, value_range: tuple[float, float] | None, name: str, *, is_stored: bool) -> np.ndarray:
    """Bring stored values to 8 bits as the model knows them; a uint8 array of the user's holds pixels already."""
    if value_range is not None and (is_stored or array.dtype != np.uint8):
        return to_8_bits(array, value_range)
    if array.dtype != np.uint8:
        raise SegnbError(
            f"the picture {name!r} is {array.dtype}, and the model does not know which values are 0 and 255 to it: train it on "
            "data with a value_range, set model.value_range = (low, high), or pass a uint8 array 0..255."
        )
    return array


def _pixels(array: np.ndarray, channels: int) -> Tensor:
    """Check an array (H, W) or (H, W, C) and turn it into a tensor (C, H, W)."""
    image = array[:, :, None] if array.ndim == 2 else array
    if image.ndim != 3 or image.size == 0:
        raise SegnbError(
            f"the image has shape {array.shape}; expected (H, W) or (H, W, C). Pass several pictures as a list."
        )
    if image.shape[2] != channels:
        hint = " It looks channels-first: use array.transpose(1, 2, 0)." if image.shape[0] == channels else ""
        raise SegnbError(
            f"the image has {image.shape[2]} channels (shape {array.shape}) and the model reads {channels}; "
            f"pass an array (H, W, {channels}), or a PIL image or path, which are converted.{hint}"
        )
    return torch.from_numpy(np.array(image.transpose(2, 0, 1)))  # a copy: the caller may change its array
