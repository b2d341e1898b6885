"""Masks of classes that overlap: written as one file for each class.

    labels (K, H, W) ── save("masks/photo.png") ─▶ masks/cell/photo.png, masks/nucleus/photo.png

The folders are those that ``SegmentationDataset.from_folder(..., multilabel=True)`` reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from segnb.data.planes import flatten
from segnb.errors import SegnbError
from segnb.files import write_atomically


def write_labels(labels: np.ndarray, palette: np.ndarray, path: Path) -> Path:
    """Write a label map (H, W) as a PNG whose pixel values are the labels and whose colours are the palette."""
    picture = Image.fromarray(labels).convert("L")
    picture.putpalette(palette.tobytes())
    return write_atomically(path, lambda temporary: picture.save(temporary, format="PNG"))


def plane_paths(path: Path, classes: Sequence[str]) -> list[Path]:
    """Name the file of each class: ``masks/photo.png`` -> ``masks/cell/photo.png``, ``masks/nucleus/photo.png``.

    Args:
        path: of the whole.
        classes: their names.

    Returns:
        One path for each class.

    Raises:
        SegnbError: the name of a class cannot be that of a folder.
    """
    for name in classes:
        if name in ("", ".", "..") or set(name) & {"/", "\\", "\0"}:
            raise SegnbError(
                f"a class is called {name!r}, which cannot be a folder's name: use save_coco or save_probabilities."
            )
    return [path.parent / name / path.name for name in classes]


def write_planes(labels: np.ndarray, palette: np.ndarray, path: Path, classes: Sequence[str]) -> None:
    """Write planes (K, H, W) as one PNG for each class: 1, in the class's colour, on 0, which is black."""
    for plane, colour, file in zip(labels, palette, plane_paths(path, classes), strict=True):
        write_labels(plane, np.stack([np.zeros_like(colour), colour]), file)


def read_labels(path: Path, classes: Sequence[str] | None) -> np.ndarray:
    """Read what was written: (H, W), or (K, H, W) if ``classes`` are given."""
    if classes is not None:
        return np.stack([read_labels(file, None) for file in plane_paths(path, classes)])
    with Image.open(path) as mask:
        return np.array(mask)


def flattened(maps: np.ndarray | None) -> np.ndarray | None:
    """Bring labels to one map (H, W) to look at, see `segnb.data.planes.flatten`; (H, W) and None stay."""
    return flatten(maps) if maps is not None and maps.ndim == 3 else maps
