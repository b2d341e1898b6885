"""Class weights from the training labels: what is rare counts more.

    w(k) = median frequency / frequency(k)

where the frequency of a class is its share of the pixels of the pictures that show it (Eigen & Fergus, ICCV 2015,
https://arxiv.org/abs/1411.4734, section 6.3.2; SegNet used it on CamVid). A median class weighs 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segnb.draw import IGNORE
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
    """Weigh classes by how rare they are.

    Args:
        data: labelled pictures, looked at without their transform.
        pictures: how many to look at, at most; evenly spread over the data.

    Returns:
        One weight for each label, above 0 and at most `HEAVIEST`; 1 for a label that occurs nowhere.
    """
    labels = len(data.label_names)
    own, shown = np.zeros(labels), np.zeros(labels)
    for index in np.unique(np.linspace(0, len(data) - 1, min(pictures, len(data))).astype(int)):
        truth = data.read(int(index))[1]
        counts = np.bincount(truth[truth != IGNORE].ravel(), minlength=labels)[:labels]
        own += counts
        shown += np.where(counts > 0, counts.sum(), 0)
    frequencies = own / np.maximum(shown, 1)
    present = frequencies > 0
    if not present.any():
        return [1.0] * labels
    weights = np.ones(labels)
    weights[present] = np.minimum(np.median(frequencies[present]) / frequencies[present], HEAVIEST)
    return weights.tolist()
