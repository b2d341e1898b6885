"""Class weights from the training labels: what is rare counts more, by median frequency balancing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segnb.data.checks.classes import median_frequency_weights
from segnb.errors import SegnbError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segnb.data import SegmentationDataset

PICTURES = 500  # are enough to tell how frequent a class is
HEAVIEST = 10.0  # a class of a few pixels must not outweigh all others


def choose_class_weights(class_weights: str | Sequence[float] | None, train: SegmentationDataset) -> list[float] | None:
    """Resolve ``"auto"``, and check weights that were given.

    Args:
        class_weights: ``"auto"``, one weight for each label, or None.
        train: the training pictures.

    Returns:
        One weight for each label, or None.

    Raises:
        SegnbError: the number of weights is not that of the labels.
    """
    if class_weights is None:
        return None
    if isinstance(class_weights, str):
        return count_class_weights(train)
    if len(class_weights) != len(train.label_names):
        raise SegnbError(
            f"class_weights has {len(class_weights)} numbers: give one for each of the {len(train.label_names)} labels "
            f"({', '.join(train.label_names)}), or 'auto'."
        )
    return [float(weight) for weight in class_weights]


def count_class_weights(data: SegmentationDataset, pictures: int = PICTURES) -> list[float]:
    """Weigh classes by how rare they are, see `median_frequency_weights`.

    Args:
        data: labelled pictures, looked at without their transform.
        pictures: how many to look at, at most; evenly spread over the data.

    Returns:
        One weight for each label, above 0 and at most `HEAVIEST`; 1 for a label that occurs nowhere.
    """
    counts = []
    for index in np.unique(np.linspace(0, len(data) - 1, min(pictures, len(data))).astype(int)):
        counts.append(data.count(int(index)))
    return np.minimum(median_frequency_weights(np.array(counts)), HEAVIEST).tolist()
