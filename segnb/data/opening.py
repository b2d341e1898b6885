"""A picture file, decoded without loss and turned upright."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from segnb.data.tiff import is_tiff, read_pages, upright
from segnb.errors import SegnbError


def open_picture(file: str | Path | BinaryIO, title: str) -> Image.Image | np.ndarray:
    """Decode a file completely and turn it upright as its EXIF tag says.

    Args:
        file: its path, or the file itself opened in binary mode.
        title: what to call it in an error.

    Returns:
        A Pillow picture; or, where Pillow has no mode for what the file holds (16-bit colours, many bands), an array
        (H, W) or (H, W, C) without alpha.

    Raises:
        SegnbError: there is no such file, it is broken, has several pages, or needs a package that is missing.
    """
    try:
        if not isinstance(file, (str, Path)):
            return _decode(file, title)
        with Path(file).open("rb") as stream:
            return _decode(stream, title)
    except SegnbError:
        raise
    except FileNotFoundError:
        raise SegnbError(f"{title} does not exist (looked for in {Path(file).parent.resolve()}).") from None
    except Exception as error:  # decoders raise whatever they stumble over
        reason = "it has no known format" if isinstance(error, UnidentifiedImageError) else error
        raise SegnbError(
            f"{title} cannot be read as an image ({reason}): replace the file, or remove it together with its partner."
        ) from error


def _decode(stream: BinaryIO, title: str) -> Image.Image | np.ndarray:
    """Let Pillow decode whatever it can hold."""
    if is_tiff(stream):
        bands = read_pages(stream, title)
        if bands is not None:
            return bands
        stream.seek(0)
    with Image.open(stream) as picture:
        if ";16" in str(picture.tile) and picture.mode[0] != "I":  # Pillow would quietly halve 16-bit colours
            stream.seek(0)
            return upright(_decode_deep(stream, picture.mode), picture.getexif().get(ExifTags.Base.Orientation, 1))
        picture.load()
        ImageOps.exif_transpose(picture, in_place=True)  # the picture is ours: a copy would only cost time
        return picture


def _decode_deep(stream: BinaryIO, mode: str) -> np.ndarray:
    """Decode 16-bit colours, or 16-bit grey with alpha: (H, W, 3) or (H, W) uint16."""
    import cv2

    pixels = cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("its 16-bit pixels cannot be decoded")
    if mode == "LA":
        return pixels[:, :, 0]
    return np.ascontiguousarray(pixels[:, :, 2::-1])  # OpenCV stores blue, green, red, alpha
