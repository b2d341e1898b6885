"""Masks that were painted right in the studio, put into the validation set; each round in a folder of its own.

    worst pictures ─▶ paint ─▶ corrections-1/a.png ─▶ with_masks(valid) ─▶ judged by from then on

A folder is never painted into again once its masks are in use, so that the notebook finds them as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segnb.draw import IGNORE

if TYPE_CHECKING:
    import numpy as np

    from segnb.data.datasets import SegmentationDataset

CODE = """\
corrected = {names!r}
painter = segnb.paint(valid.subset([valid.names.index(name) for name in corrected]), folder={folder!r})
valid = segnb.SegmentationDataset(
    [valid.read(i)[0] for i in range(len(valid))],
    [painter.mask(corrected.index(name)) if name in corrected else valid.read(i)[1] for i, name in enumerate(valid.names)],
    valid.classes,
    mask_values=[*range(len(valid.label_names)), 255],  # 255 is ignored
    names=valid.names,
    palette=valid.palette,
)"""


@dataclass(frozen=True)
class Corrections:
    """One round of corrected masks.

    Attributes:
        folder: that holds them, and nothing else.
        names: of the pictures.
    """

    folder: Path
    names: list[str]

    def as_code(self) -> str:
        """Write the Python that puts them into ``valid``."""
        return CODE.format(names=self.names, folder=self.folder.absolute().as_posix())


def free_folder() -> Path:
    """Find a folder for the next round: the first of corrections-1, corrections-2, ... that is not there."""
    number = 1
    while Path(f"corrections-{number}").exists():
        number += 1
    return Path(f"corrections-{number}")


def with_masks(data: SegmentationDataset, masks: Mapping[str, np.ndarray]) -> SegmentationDataset:
    """Copy a data set with some masks replaced.

    Args:
        data: whose pictures have different names.
        masks: (H, W) uint8 by the name of the picture, 255 ignored.

    Returns:
        The copy, in memory.
    """
    from segnb.data import SegmentationDataset

    pairs = [data.read(index) for index in range(len(data))]
    return SegmentationDataset(
        [image for image, _ in pairs],
        [masks.get(name, labels) for name, (_, labels) in zip(data.names, pairs, strict=True)],
        data.classes,
        # Said aloud: masks of two labels with nothing but 0 and 255 would otherwise be read as labels 0 and 1.
        mask_values=[*range(len(data.label_names)), IGNORE],
        names=data.names,
        palette=data.palette,
    )
