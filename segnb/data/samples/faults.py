"""Three deliveries of labelled pictures, each with a fault that is common in practice, for lessons and tests.

    anna    the masks are stretched over the grey values, so that people can see them: 0, 1, 2 ─▶ 0, 127, 255
    ben     the labels are shifted, because his tool keeps 0 for "not labelled yet":   0, 1, 2 ─▶ 1, 2, 3
    clara   two validation pictures are in the training set, too, under other names; one of them stored anew, darker

`segnb.check_dataset` names all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segnb.data.samples.formats import Picture, write_folders

DARKER = 0.85  # of the brightness that the second leaked picture keeps


def write_deliveries(folder: str | Path, pictures: Sequence[Picture]) -> Path:
    """Write the three deliveries: ``anna``, ``ben``, ``clara/train`` and ``clara/valid``.

    Args:
        folder: made if missing; files of the same names are replaced.
        pictures: name, image and labels (0, 1 and 2) of four or more; the last quarter is Clara's validation set.

    Returns:
        The folder.
    """
    folder = Path(folder)
    write_folders(folder / "anna", [(name, image, stretch(labels)) for name, image, labels in pictures])
    write_folders(folder / "ben", [(name, image, labels + 1) for name, image, labels in pictures])
    cut = len(pictures) - max(2, len(pictures) // 4)
    train, valid = pictures[:cut], pictures[cut:]
    write_folders(folder / "clara" / "train", [*train, *leak(valid[:2])])
    write_folders(folder / "clara" / "valid", valid)
    return folder


def stretch(labels: np.ndarray) -> np.ndarray:
    """Spread the labels 0, 1 and 2 over the grey values: (H, W) uint8 of 0, 127 and 255."""
    return np.array([0, 127, 255], np.uint8)[labels]


def leak(pictures: Sequence[Picture]) -> list[Picture]:
    """Copy two pictures under other names, the second one darker."""
    (_, same, same_labels), (_, other, other_labels) = pictures
    return [("extra_a", same, same_labels), ("extra_b", (other * DARKER).astype(np.uint8), other_labels)]
