"""TIFF files that Pillow cannot hold: more than three bands, 16-bit colours, unsigned 32 bits, doubles.

What a file holds stands in its directories, one for each page, as numbered tags (TIFF 6.0, Adobe 1992,
https://www.adobe.io/open/standards/TIFF.html); `tifffile` decodes what Pillow would refuse, halve or drop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import ExifTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from segnb.data.optional import require
from segnb.errors import SegnbError

if TYPE_CHECKING:
    from tifffile import TiffPage

Tags = Mapping[int, Any]

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # both byte orders of TIFF and of BigTIFF

SUBFILE_TYPE, BITS, PHOTOMETRIC, SAMPLES, EXTRA_SAMPLES, SAMPLE_FORMAT = 254, 258, 262, 277, 338, 339
SMALLER_OR_MASK = 1 | 4  # bits of SUBFILE_TYPE: a reduced copy of another page (overview), or its transparency
CMYK = 5
ALPHA = (1, 2)  # kinds of EXTRA_SAMPLES
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
DEEP_GREY = {(12, UNSIGNED), (16, UNSIGNED), (16, SIGNED), (32, SIGNED), (32, FLOAT)}  # what Pillow has modes for


def is_tiff(stream: BinaryIO) -> bool:
    """Look at the first bytes of a file, and go back."""
    signature = stream.read(4)
    stream.seek(0)
    return signature in SIGNATURES


def read_pages(stream: BinaryIO, title: str) -> np.ndarray | None:
    """Decode a TIFF file if Pillow would lose a part of it.

    Args:
        stream: the file, at its beginning.
        title: what to call it in an error.

    Returns:
        (H, W) or (H, W, bands) of the stored type, upright, without bands marked as alpha; None if Pillow reads the file
        without loss.

    Raises:
        SegnbError: the file has several pages, or tifffile is needed and missing.
        Exception: whatever a broken file makes of the decoder.
    """
    directories = _read_directories(stream)
    stream.seek(0)
    pages = sum(not directory.get(SUBFILE_TYPE, 0) & SMALLER_OR_MASK for directory in directories)
    if pages > 1:
        raise SegnbError(
            f"{title} has {pages} pages: save the one to use as a file of its own; if the pages are the bands of one picture, "
            'save them as one page, for example tifffile.imwrite(path, bands, photometric="minisblack", planarconfig="separate").'
        )
    first = directories[0] if directories else {}
    if _pillow_holds(first):
        return None
    tifffile = require("tifffile", f"{title} has {_describe(first)}: reading it")
    with tifffile.TiffFile(stream) as file:
        bands = _decode(file.pages[0], title)
    return upright(_without_alpha(bands, first), first.get(ExifTags.Base.Orientation, 1))


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an array as `PIL.ImageOps.exif_transpose` turns a picture.

    Args:
        pixels: (H, W) or (H, W, C).
        orientation: the value of the EXIF or TIFF tag, 1 to 8.

    Returns:
        The same pixels, upright.
    """
    turned = np.swapaxes(pixels, 0, 1) if orientation in (5, 6, 7, 8) else pixels
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return turned


def _read_directories(stream: BinaryIO) -> list[ImageFileDirectory_v2]:
    """Read the tags of all pages."""
    header = stream.read(8)
    if header[2] == ord("+") or header[3] == ord("+"):
        header += stream.read(8)
    directories: list[ImageFileDirectory_v2] = []
    place, seen = ImageFileDirectory_v2(header).next, set()
    while place and place not in seen:  # a broken file may lead in a circle
        seen.add(place)
        stream.seek(place)
        directories.append(ImageFileDirectory_v2(header))
        directories[-1].load(stream)
        place = directories[-1].next
    return directories


def _decode(page: TiffPage, title: str) -> np.ndarray:
    """Decode one page: (H, W) or (H, W, bands)."""
    try:
        bands = page.asarray()
    except ValueError as error:
        if "imagecodecs" in str(error):
            require("imagecodecs", f"{title} is compressed: reading it")
        raise
    return np.moveaxis(bands, 0, 2) if page.axes == "SYX" else bands


def _pillow_holds(tags: Tags) -> bool:
    """Whether Pillow has a mode for such a page."""
    bits, kind, samples = max(tags.get(BITS, (1,))), tags.get(SAMPLE_FORMAT, (UNSIGNED,))[0], tags.get(SAMPLES, 1)
    if samples == 1 and (bits, kind) in DEEP_GREY:
        return True
    colours = samples - sum(extra in ALPHA for extra in tags.get(EXTRA_SAMPLES, ()))
    return bits <= 8 and kind == UNSIGNED and (colours in (1, 3) or tags.get(PHOTOMETRIC) == CMYK)


def _describe(tags: Tags) -> str:
    """Write "5 bands of 16 bits"."""
    return f"{tags.get(SAMPLES, 1)} band{'s' * (tags.get(SAMPLES, 1) > 1)} of {max(tags.get(BITS, (1,)))} bits"


def _without_alpha(bands: np.ndarray, tags: Tags) -> np.ndarray:
    """Drop the bands that the tags mark as transparency; a single band left becomes (H, W)."""
    if bands.ndim < 3:
        return bands
    extras = tags.get(EXTRA_SAMPLES, ())
    kinds = [None] * (bands.shape[2] - len(extras)) + list(extras)
    kept = bands[:, :, [kind not in ALPHA for kind in kinds]]
    return kept[:, :, 0] if kept.shape[2] == 1 else kept
