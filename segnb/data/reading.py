"""One image or one mask, read from its file or taken from an array: always 8 bits, upright, and of a known shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from segnb.errors import SegnbError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")

Source = str | Path | np.ndarray


def read_image(source: Source, title: str) -> np.ndarray:
    """Read an image.

    Args:
        source: a file, or an array (H, W) or (H, W, C) uint8.
        title: what to call it in an error, see `title_of`.

    Returns:
        (H, W, C) uint8. A grey file has one channel, any other three; an array keeps its channels and is not copied.

    Raises:
        SegnbError: the file cannot be read or has more than 8 bits, or the array is another kind of array.
    """
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim not in (2, 3) or source.size == 0:
            raise SegnbError(
                f"{title} is an array {source.shape} {source.dtype}, not (H, W) or (H, W, C) uint8: convert it first, "
                'for example (image * 255).astype("uint8") if its values run from 0 to 1.'
            )
        pixels = source
    else:
        picture = _open(source, title, 'convert to uint8 first, for example (image / 257).astype("uint8")')
        pixels = np.array(picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB"))
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def read_mask(source: Source, title: str, *, colours: bool) -> np.ndarray:
    """Read a mask as it is stored, before anything is known about its labels.

    Args:
        source: a file, or an array (H, W) of integers or (H, W, 3) uint8.
        title: what to call it in an error, see `title_of`.
        colours: whether colours stand for the labels. If not, a palette file gives its indexes, and a colour mask whose
            channels are all equal counts as grey.

    Returns:
        (H, W) integers, or (H, W, 3) uint8 colours. A file is always one of colours if ``colours`` is true.

    Raises:
        SegnbError: the file cannot be read or has more than 8 bits, or the array is another kind of array.
    """
    if isinstance(source, np.ndarray):
        are_colours = source.ndim == 3 and source.shape[2] == 3 and source.dtype == np.uint8
        are_numbers = source.ndim == 2 and source.dtype.kind in "biu"
        if not (are_colours or are_numbers) or source.size == 0:
            raise SegnbError(
                f"{title} is an array {source.shape} {source.dtype}: give (H, W) integers, one label for each pixel."
            )
        stored = source.astype(np.uint8) if source.dtype == bool else source
    else:
        picture = _open(source, title, 'save labels as uint8, for example Image.fromarray(labels.astype("uint8"))')
        if colours:
            picture = picture.convert("RGB")
        elif picture.mode in ("LA", "PA"):  # numbers with an alpha channel
            picture = picture.getchannel(0)
        elif picture.mode not in ("1", "L", "P"):
            picture = picture.convert("RGB")
        stored = np.array(picture).astype(np.uint8)
    is_grey = stored.ndim == 3 and not colours and (stored == stored[:, :, :1]).all()
    return stored[:, :, 0] if is_grey else stored


def name_of(source: Source, index: int) -> str:
    """Name a picture.

    Args:
        source: its image, a file or an array.
        index: its place in the data set, from 0.

    Returns:
        The stem of the file, or the index of an array with at least three digits.
    """
    return f"{index:03d}" if isinstance(source, np.ndarray) else Path(source).stem


def title_of(source: Source, kind: str, index: int) -> str:
    """Say in an error which image or mask is meant.

    Args:
        source: the file or array.
        kind: "image" or "mask".
        index: its place in the data set, from 0.

    Returns:
        The path of the file, or "mask 7" for an array.
    """
    return f"{kind} {index}" if isinstance(source, np.ndarray) else str(source)


def _open(path: str | Path, title: str, to_8_bits: str) -> Image.Image:
    """Decode a file completely and turn it upright; more than 8 bits are refused with the advice ``to_8_bits``."""
    pages = 1
    try:
        with Image.open(path) as picture:
            if picture.format == "TIFF":
                pages = picture.n_frames
            deep = picture.mode[0] in "IF" or ";16" in str(picture.tile)  # PIL would quietly halve 16-bit colours
            picture.load()
            upright = ImageOps.exif_transpose(picture)
    except FileNotFoundError:
        raise SegnbError(f"{title} does not exist (looked for in {Path(path).parent.resolve()}).") from None
    except Exception as error:  # PIL's decoders raise whatever they stumble over
        raise SegnbError(
            f"{title} cannot be read as an image ({error}): replace the file, or remove it together with its partner."
        ) from error
    if pages > 1:
        raise SegnbError(f"{title} has {pages} pages: save the one to use as a file of its own.")
    if deep:
        raise SegnbError(f"{title} has 16 or more bits per channel, segnb reads 8: {to_8_bits}.")
    return upright
