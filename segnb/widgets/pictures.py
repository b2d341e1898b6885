"""Arrays as text for a widget: photos as JPEG, labels and probabilities as grey PNG, thumbnails as WebP.

    (H, W, 3) uint8  photo          ─▶ JPEG, quality 85 or as much of it as the budget allows
    (H, W)    uint8  labels         ─▶ PNG whose grey values are the labels, exact
    (H, W)    float  probability    ─▶ PNG of 256 grey values, fewer where it is noisy

Everything is base64, because Colab drops the binary buffers that a widget sends when it is made.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from segnb import draw
from segnb.errors import SegnbError

LONGEST = 4096  # pixels of the longer side; larger pictures are shown reduced
PHOTO_BUDGET = 256 * 1024  # characters of a photo of up to 1024 × 1024 pixels; larger ones get more, pixel for pixel
MAP_BUDGET = 96 * 1024  # characters of a probability of as many pixels; with two masks all four stay under 400 KiB
THUMBNAIL = 160  # pixels of a thumbnail's longer side


def photo(image: np.ndarray) -> str:
    """Encode a photo.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        Base64 text of a JPEG with a longer side of at most `LONGEST` pixels.
    """
    picture = _reduce(Image.fromarray(np.ascontiguousarray(image)), LONGEST, Image.Resampling.BOX)
    small = max(picture.size) <= 512  # enlarged on the screen: keep the colours as sharp as the brightness
    budget = PHOTO_BUDGET * max(1, picture.width * picture.height // 1024**2)
    for quality in (85, 70, 50, 30):
        file = io.BytesIO()
        picture.save(file, format="JPEG", quality=quality, subsampling=0 if small else 2)
        text = _text(file)
        if len(text) <= budget:
            break
    return text


def label_map(labels: np.ndarray) -> str:
    """Encode a mask without loss.

    Args:
        labels: (H, W) uint8.

    Returns:
        Base64 text of a grey PNG with a longer side of at most `LONGEST` pixels; a grey value is a label.
    """
    return _png(Image.fromarray(np.ascontiguousarray(labels)), Image.Resampling.NEAREST)


def grey_map(values: np.ndarray) -> str:
    """Encode a probability or another map from 0 to 1.

    Args:
        values: (H, W) float from 0 to 1; other numbers are clipped, NaN becomes 0.

    Returns:
        Base64 text of a grey PNG: 0 is black, 1 is white, in steps of 1/255; where noise would make more than the budget of
        it, in the smallest steps of 2/255 to 16/255 that keep to it.
    """
    exact = np.clip(np.nan_to_num(values), 0, 1) * 255
    budget = MAP_BUDGET * max(1, exact.size // 1024**2)
    for step in (1, 2, 4, 8, 16):
        levels = np.minimum(np.rint(exact / step) * step, 255).astype(np.uint8)
        text = _png(Image.fromarray(levels), Image.Resampling.BOX)
        if len(text) <= budget:
            break
    return text


def thumbnail(image: np.ndarray, longest: int = THUMBNAIL) -> str:
    """Encode a small picture for a gallery.

    Args:
        image: (H, W, 3) uint8.
        longest: pixels of the longer side, at most.

    Returns:
        Base64 text of a WebP.
    """
    file = io.BytesIO()
    _reduce(Image.fromarray(np.ascontiguousarray(image)), longest, Image.Resampling.BOX).save(
        file, format="WEBP", quality=70, method=1
    )
    return _text(file)


def checked_labels(labels: Any, image: np.ndarray, name: str, kind: str, classes: int) -> np.ndarray | None:
    """Refuse labels that do not fit their picture: what does not fit is named here, not drawn wrongly in the browser.

    Args:
        labels: (H, W) integers, 255 ignored; or None.
        image: (H, W, 3).
        name: of the picture, for the message.
        kind: what the labels are, for the message: "mask" or "prediction".
        classes: how many labels there are.

    Returns:
        (H, W) uint8, or None.

    Raises:
        SegnbError: the shapes differ, or there is a label without a class.
    """
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.shape != image.shape[:2]:
        raise SegnbError(
            f"The {kind} of {name!r} is {labels.shape}, its image is {image.shape[:2]} (H, W): they must be equal"
        )
    counted = labels[labels != draw.IGNORE]
    if counted.size and not 0 <= counted.min() <= counted.max() < classes:
        raise SegnbError(
            f"The {kind} of {name!r} has labels from {counted.min()} to {counted.max()}, "
            f"but there are {classes} classes (0 to {classes - 1}, 255 is ignored)"
        )
    return labels.astype(np.uint8)


def _reduce(image: Image.Image, longest: int, method: Image.Resampling) -> Image.Image:
    """Bring the longer side down to ``longest``; smaller pictures stay as they are."""
    scale = longest / max(image.size)
    if scale >= 1:
        return image
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), method)


def _png(image: Image.Image, method: Image.Resampling) -> str:
    file = io.BytesIO()
    _reduce(image, LONGEST, method).save(file, format="PNG")
    return _text(file)


def _text(file: io.BytesIO) -> str:
    return base64.b64encode(file.getvalue()).decode("ascii")
