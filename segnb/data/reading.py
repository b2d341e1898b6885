"""One image or one mask, read from its file or taken from an array: an image has 8 bits, both are upright.

image ─▶ stored values ── value_range=(low, high) ─▶ 0 to 255 ─▶ (H, W, C) uint8
mask ──▶ stored values ───────────────────────────▶ (H, W) integers or (H, W, 3) uint8 colours
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from segnb.data.opening import open_picture
from segnb.data.sources import LazySource, Source
from segnb.errors import SegnbError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")


def read_image(source: Source, title: str, value_range: Sequence[float] | None = None) -> np.ndarray:
    """Read an image.

    Args:
        source: a file, an array (H, W) or (H, W, C), or what makes one of them.
        title: what to call it in an error, see `title_of`.
        value_range: the stored values that become 0 and 255; values outside become 0 and 255, too, and NaN becomes 0.
            None takes 8 bits as they are and refuses everything else.

    Returns:
        (H, W, C) uint8. A grey file has one channel, one with many bands all of them, any other three; an array keeps its
        channels and is not copied if its values stay.

    Raises:
        SegnbError: the file cannot be read, the array is another kind of array, or there are not 8 bits and no
            ``value_range``.
    """
    stored = _load(source, title)
    if isinstance(stored, Image.Image):
        stored = np.array(_as_grey_or_rgb(stored))
    if stored.ndim not in (2, 3) or stored.size == 0 or stored.dtype.kind not in "uif":
        raise SegnbError(f"{title} holds {stored.shape} {stored.dtype}: an image is (H, W) or (H, W, C) numbers.")
    if value_range is not None:
        stored = to_8_bits(stored, value_range)
    elif stored.dtype != np.uint8:
        low, high = np.nanmin(stored), np.nanmax(stored)
        raise SegnbError(
            f"{title} holds {stored.dtype} values from {low:g} to {high:g}, segnb trains on 8 bits: say which stored values "
            f"become 0 and 255 in all images, for example value_range={_suggest_range(low, high)}."
        )
    return stored if stored.ndim == 3 else stored[:, :, None]


def read_mask(source: Source, title: str, *, colours: bool) -> np.ndarray:
    """Read a mask as it is stored, before anything is known about its labels.

    Args:
        source: a file, an array (H, W) of integers or (H, W, 3) uint8, or what makes one of them.
        title: what to call it in an error, see `title_of`.
        colours: whether colours stand for the labels. If not, a palette file gives its indexes, and a colour mask whose
            channels are all equal counts as grey.

    Returns:
        (H, W) integers, or (H, W, 3) uint8 colours. A file of 8 bits is always one of colours if ``colours`` is true.

    Raises:
        SegnbError: the file cannot be read, or holds no integers.
    """
    stored = _load(source, title)
    if isinstance(stored, Image.Image):
        stored = np.array(_as_numbers_or_colours(stored, colours))
    are_colours = stored.ndim == 3 and stored.shape[2] == 3 and stored.dtype == np.uint8
    are_numbers = stored.ndim == 2 and stored.dtype.kind in "biu"
    if not (are_colours or are_numbers) or stored.size == 0:
        raise SegnbError(
            f"{title} holds {stored.shape} {stored.dtype}: a mask is (H, W) integers, one label for each pixel, or "
            "(H, W, 3) uint8 colours."
        )
    if stored.dtype == bool:
        stored = stored.astype(np.uint8)
    is_grey = are_colours and not colours and (stored == stored[:, :, :1]).all()
    return np.ascontiguousarray(stored[:, :, 0]) if is_grey else stored


def to_8_bits(stored: np.ndarray, value_range: Sequence[float]) -> np.ndarray:
    """Stretch a range of values over 8 bits: low and below become 0, high and above 255.

    Args:
        stored: numbers of any shape.
        value_range: (low, high).

    Returns:
        The same shape in uint8, rounded; NaN becomes 0.
    """
    low, high = value_range
    stretched = (stored.astype(np.float64) - low) * 255 / (high - low)
    return np.nan_to_num(np.rint(stretched.clip(0, 255))).astype(np.uint8)


def name_of(source: Source, index: int) -> str:
    """Name a picture.

    Args:
        source: its image.
        index: its place in the data set, from 0.

    Returns:
        The stem of the file, the name of a lazy source, or the index of an array with at least three digits.
    """
    if isinstance(source, LazySource):
        return source.name
    return f"{index:03d}" if isinstance(source, np.ndarray) else Path(source).stem


def title_of(source: Source, kind: str, index: int) -> str:
    """Say in an error which image or mask is meant.

    Args:
        source: the image or mask.
        kind: "image" or "mask".
        index: its place in the data set, from 0.

    Returns:
        The path of the file, the title of a lazy source, or "mask 7" for an array or a list.
    """
    if isinstance(source, LazySource):
        return source.title
    return str(source) if isinstance(source, (str, Path)) else f"{kind} {index}"


def _load(source: Source, title: str) -> Image.Image | np.ndarray:
    """Come to a decoded picture."""
    if isinstance(source, LazySource):
        source = source.read()
    return source if isinstance(source, np.ndarray) else open_picture(source, title)


def _as_grey_or_rgb(picture: Image.Image) -> Image.Image:
    """Drop alpha, look up palettes; more than 8 bits stay."""
    if picture.mode[0] in "IF" or picture.mode in ("L", "RGB"):
        return picture
    return picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB")


def _as_numbers_or_colours(picture: Image.Image, colours: bool) -> Image.Image:
    """Bring a mask to one band of numbers or to RGB."""
    if picture.mode[0] in "IF":
        return picture
    if colours:
        return picture.convert("RGB")
    if picture.mode in ("LA", "PA"):  # numbers with an alpha channel
        return picture.getchannel(0)
    return picture if picture.mode in ("1", "L", "P") else picture.convert("RGB")


def _suggest_range(low: float, high: float) -> tuple[float, float]:
    """Round a picture's range to that of its camera: 0 to 1, or 0 to the most that so many bits hold."""
    if low >= 0 and high <= 1:
        return 0, 1
    if low >= 0 and high < 2**32:
        return 0, 2 ** int(high).bit_length() - 1
    return float(f"{low:g}"), float(f"{high:g}")
