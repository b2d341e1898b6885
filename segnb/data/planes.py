"""Classes that may overlap: instead of one label for each pixel, a plane of no and yes for each class.

    "cell" plane     "nucleus" plane               flatten
    ┌─────────┐      ┌─────────┐                ┌─────────┐
    │  1 1 1  │      │  · · ·  │                │  0 0 0  │     for people to look at: the smaller class on top,
    │  1 1 1  │      │  · 1 ·  │   ──────────▶  │  0 1 0  │     255 where there is none
    │  · · ·  │      │  · 1 ·  │                │    1    │
    └─────────┘      └─────────┘                └─────────┘
    (K, H, W) uint8: 0 no, 1 yes, 255 ignored

They come as one array, as one file for each class and picture, or as outlines (COCO).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from segnb.data.mask_values import MaskValue, MaskValues
from segnb.data.reading import read_mask
from segnb.data.sources import LazySource, MaskSource
from segnb.data.wording import listed
from segnb.draw import IGNORE, palette
from segnb.errors import SegnbError

Plane = tuple[np.ndarray | None, str]  # as it is stored, None where the picture has no such class; and its title


class PlaneValues(MaskValues):
    """What the numbers or colours in the planes of one data set mean: no and yes, as in a binary mask.

    Args:
        values: the number or colour of no, that of yes, and perhaps one more of pixels to ignore; None for 0 and 1.
        detected: the values were found in the masks, not given by the user.
    """

    def __init__(self, values: Sequence[MaskValue] | None, *, detected: bool = False) -> None:
        super().__init__(["no", "yes"], values, detected=detected)

    def describe(self) -> str:
        """Say in a few words what the planes hold."""
        how = "no and yes as mask_values says" if self.given else f"0 and {255 if self.detected else 1}"
        return f"one plane for each class, {how}"

    def _explain_unknown(self, title: str, codes: np.ndarray, unknown: np.ndarray) -> str:
        if self.given or self.detected:
            return super()._explain_unknown(title, codes, unknown)
        row, column = np.argwhere(unknown)[0]
        found = f"{title} has the value {codes[row, column]} (first at row {row}, column {column})"
        return (
            f"{found}, but the mask of one class holds 0 for no and 1 for yes (255 = ignore): list the stored values in "
            "mask_values=[no, yes]."
        )


def read_planes(source: MaskSource, title: str, classes: Sequence[str], *, colours: bool) -> list[Plane]:
    """Read the mask of one multi-label picture as it is stored.

    Args:
        source: an array (K, H, W) of integers, what makes one, or one mask for each class.
        title: what to call it in an error.
        classes: the K names.
        colours: see `reading.read_mask`.

    Returns:
        K planes, each (H, W) integers or (H, W, 3) uint8 colours, with their titles.

    Raises:
        SegnbError: a file cannot be read, or an array has another shape or holds no integers.
    """
    stored = source.read() if isinstance(source, LazySource) else source
    if isinstance(stored, np.ndarray):
        _check_array(stored, title, classes)
    titles = [f"{title} ({name})" for name in classes]
    return [_read_plane(plane, name, colours) for plane, name in zip(stored, titles, strict=True)]


class PlaneOf(LazySource):
    """The plane of one class, as the binary mask of a picture: 0 no, 1 yes, 255 ignored.

    Args:
        read: gives the planes (K, H, W) of the picture.
        k: which one.
        title: what to call it in an error.
        name: what to call it in a list of pictures.
    """

    def __init__(self, read: Callable[[], np.ndarray], k: int, title: str, name: str) -> None:
        self._read, self._k, self.title, self.name = read, k, title, name

    def read(self) -> np.ndarray:
        """Read all planes and pick one, (H, W) uint8."""
        return self._read()[self._k]


def flatten(planes: np.ndarray) -> np.ndarray:
    """Lay planes over each other for people to look at: the class with fewer pixels in this picture lies on top.

    Args:
        planes: (K, H, W), 1 where a pixel has the class.

    Returns:
        (H, W) uint8, the number of the class on top, 255 where there is none.
    """
    there = planes == 1
    flat = np.full(planes.shape[1:], IGNORE, np.uint8)
    for label in np.argsort(-there.sum(axis=(1, 2)), kind="stable"):
        flat[there[label]] = label
    return flat


def plane_palette(n: int) -> np.ndarray:
    """Choose colours for classes that may overlap: those of `draw.palette` without the black of a background.

    Args:
        n: how many, 1 to 254.

    Returns:
        (n, 3) uint8 RGB.
    """
    return palette(n + 1)[1:]


def _read_plane(plane: MaskSource | None, title: str, colours: bool) -> Plane:
    if plane is None:
        return None, title
    if isinstance(plane, LazySource):
        title = plane.title
    elif not isinstance(plane, np.ndarray):
        title = str(plane)
    return read_mask(plane, title, colours=colours), title


def _check_array(stored: np.ndarray, title: str, classes: Sequence[str]) -> None:
    if stored.ndim == 3 and len(stored) == len(classes) and stored.dtype.kind in "biu" and stored.size:
        return
    hint = ""
    if stored.ndim == 3 and stored.shape[2] == len(classes):
        hint = " The planes seem to come last: give mask.transpose(2, 0, 1)."
    raise SegnbError(
        f"{title} holds {stored.shape} {stored.dtype}: the mask of a multi-label picture is (K, H, W) integers, one plane for "
        f"each of the {len(classes)} classes ({listed(list(classes))}).{hint}"
    )
