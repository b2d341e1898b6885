"""Where a picture comes from: a file, an array, or something that makes either of them when it is read.

path ────────────────┐
array ───────────────┼─▶ SegmentationDataset ─ read(7) ─▶ pixels
LazySource.read() ───┘        (only then is a COCO mask drawn, or a row of a table decoded)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np


class LazySource(ABC):
    """A picture that is made when it is read.

    Attributes:
        title: what to call it in an error.
        name: what to call it in a list of pictures.
    """

    title: str
    name: str

    @abstractmethod
    def read(self) -> Path | BinaryIO | np.ndarray:
        """Make it.

        Returns:
            A file still to be decoded, or an array as `segnb.data.reading` accepts it.

        Raises:
            SegnbError: it cannot be made; the message begins with the title.
        """


Source = str | Path | np.ndarray | LazySource
MaskSource = Source | Sequence[Source | None]  # a list: one mask for each class of a multi-label picture


class Contents(NamedTuple):
    """What a reader found in a data set: arguments of `SegmentationDataset`."""

    images: Sequence[Source]
    masks: Sequence[MaskSource]
    classes: Sequence[str]
    mask_values: Sequence[int | Sequence[int]] | None = None
    palette: Sequence[Sequence[int]] | np.ndarray | None = None
    multilabel: bool = False
