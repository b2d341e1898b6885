"""Every score of a class is a fraction of four counts, and every score of a data set an average of those.

                        predicted: not the class    predicted: the class
    truth: not the class     true negatives            false positives
    truth: the class         false negatives           true positives

Counts come stacked as (..., 4, L): true positives, false positives, false negatives, true negatives of L classes. Whatever
stands in front (pictures, bootstrap samples) is kept, so one function scores one data set or a thousand resampled ones.

A class that occurs neither in the truth nor in the prediction has no score: it is NaN and left out of averages. A class that
occurs is always scored, as in scikit-learn: the precision of a class that is never predicted is 0, not NaN, for otherwise a
model could raise its mean by giving up on a class.
Sources: Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2015, section 4.2 (IoU); Long et al., "Fully
Convolutional Networks", CVPR 2015, section 5, https://arxiv.org/abs/1411.4038 (mean accuracy, frequency-weighted IoU).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from segnb.errors import SegnbError, nearest


class Cells(NamedTuple):
    """The four counts of each class, float64 (..., L): exact up to 2⁵³ pixels."""

    hits: Tensor
    false_alarms: Tensor
    misses: Tensor
    rejections: Tensor


def cells(counts: Tensor) -> Cells:
    """Take counts (..., 4, L) apart, on the CPU: not every device has float64, and the counts are few."""
    return Cells(*counts.cpu().double().unbind(-2))


def iou(counts: Tensor) -> Tensor:
    """Intersection over union (Jaccard) of each class, (..., 4, L) -> (..., L)."""
    hits, false_alarms, misses, _ = cells(counts)
    return hits / (hits + false_alarms + misses)  # 0 / 0 is NaN: the class is absent


def f_beta(counts: Tensor, beta: float = 1.0) -> Tensor:
    """Weighted harmonic mean of precision and recall, (..., 4, L) -> (..., L); recall weighs ``beta`` times as much."""
    hits, false_alarms, misses, _ = cells(counts)
    weighted = (1 + beta**2) * hits
    return _fraction(weighted, weighted + beta**2 * misses + false_alarms, counts)


def dice(counts: Tensor) -> Tensor:
    """Dice coefficient of each class, the same number as F1, (..., 4, L) -> (..., L)."""
    return f_beta(counts)


def precision(counts: Tensor) -> Tensor:
    """Share of the pixels predicted as the class that are of the class, (..., 4, L) -> (..., L)."""
    hits, false_alarms, _, _ = cells(counts)
    return _fraction(hits, hits + false_alarms, counts)


def recall(counts: Tensor) -> Tensor:
    """Share of the pixels of the class that are found (sensitivity), (..., 4, L) -> (..., L)."""
    hits, _, misses, _ = cells(counts)
    return _fraction(hits, hits + misses, counts)


def specificity(counts: Tensor) -> Tensor:
    """Share of the pixels of other classes that are left alone, (..., 4, L) -> (..., L); NaN where there are none."""
    _, false_alarms, _, rejections = cells(counts)
    return torch.where(occurs(counts), rejections / (rejections + false_alarms), torch.nan)


def occurs(counts: Tensor) -> Tensor:
    """Say which classes are in the truth or in the prediction, (..., 4, L) -> bool (..., L)."""
    hits, false_alarms, misses, _ = cells(counts)
    return hits + false_alarms + misses > 0


def _fraction(part: Tensor, whole: Tensor, counts: Tensor) -> Tensor:
    """Divide; 0 / 0 is 0 for a class that occurs and NaN for one that does not."""
    return torch.where(occurs(counts), part / whole.clamp(min=torch.finfo(whole.dtype).tiny), torch.nan)


def average(score: Callable[[Tensor], Tensor], counts: Tensor, how: str) -> Tensor:
    """Bring the scores of the classes to one number.

    Args:
        score: one of the functions above.
        counts: (..., 4, L).
        how: ``"macro"``, the mean over the classes that occur; ``"weighted"``, each class weighted by its true pixels;
            ``"micro"``, the score of the counts summed over the classes. The names are scikit-learn's.

    Returns:
        (...), 0 to 1; NaN where nothing was counted.

    Raises:
        SegnbError: another ``how``.
    """
    if how == "macro":
        return score(counts).nanmean(-1)
    if how == "micro":
        return score(counts.sum(-1, keepdim=True)).squeeze(-1)
    if how == "weighted":
        hits, _, misses, _ = cells(counts)
        values = score(counts)
        weight = torch.where(values.isnan(), 0, hits + misses)
        return (values.nan_to_num() * weight).sum(-1) / weight.sum(-1)
    raise SegnbError(f"average={how!r}: give 'macro', 'weighted' or 'micro', or None for the score of each class.")


def mean_accuracy(counts: Tensor) -> Tensor:
    """Mean recall over the classes of the truth ("balanced accuracy"), (..., 4, L) -> (...)."""
    hits, _, misses, _ = cells(counts)
    return (hits / (hits + misses)).nanmean(-1)


def accuracy(counts: Tensor) -> Tensor:
    """Share of the counted pixels that are right, (..., 4, L) -> (...); each pixel has one class."""
    hits, _, misses, _ = cells(counts)
    return hits.sum(-1) / (hits + misses).sum(-1)


def answer_accuracy(counts: Tensor) -> Tensor:
    """Share of the answers, yes or no for each pixel and class, that are right (1 - Hamming loss), (..., 4, L) -> (...)."""
    hits, _, _, rejections = cells(counts)
    return (hits + rejections).sum(-1) / counts.cpu().double().sum((-2, -1))


CLASS_SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "iou": iou,
    "dice": dice,
    "precision": precision,
    "recall": recall,
    "specificity": specificity,
}
SUMMARIES: dict[str, Callable[[Tensor], Tensor]] = {
    "miou": lambda counts: average(iou, counts, "macro"),
    "mean_dice": lambda counts: average(dice, counts, "macro"),
    "mean_precision": lambda counts: average(precision, counts, "macro"),
    "mean_accuracy": mean_accuracy,
    "frequency_weighted_iou": lambda counts: average(iou, counts, "weighted"),
    "accuracy": accuracy,
}


def get_score(name: str) -> Callable[[Tensor], Tensor]:
    """Find a score by name.

    Args:
        name: one of `CLASS_SCORES` (of each class) or `SUMMARIES` (one number).

    Returns:
        A function from counts (..., 4, L) to (..., L) or (...).

    Raises:
        SegnbError: the name is unknown; the nearest ones are offered.
    """
    known = {**CLASS_SCORES, **SUMMARIES}
    if name not in known:
        raise SegnbError(
            f"there is no score {name!r}. {nearest(name, known) or 'Choose from: ' + ', '.join(known) + '.'}"
        )
    return known[name]
