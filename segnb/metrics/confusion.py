"""Segmentation scores, all read off one confusion matrix.

    labels (B, H, W) ─┐
                      ├─ count pairs ─▶ matrix (L, L): rows are the truth, columns the prediction
    predicted (B,H,W) ┘                     │
                                            └─▶ four counts per class ─▶ IoU, Dice, precision ..., per class or averaged

Counting first and dividing last makes a score independent of the batch size and of the split into processes: counts are
added, whereas the mean of per-batch IoUs is another number. Counting happens on the device of the labels; scores are read on
the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from segnb.draw import IGNORE
from segnb.errors import SegnbError
from segnb.metrics import scores

Matrix = TypeVar("Matrix", bound="_Counted")


def confusion_matrices(predicted: Tensor, labels: Tensor, n_labels: int) -> Tensor:
    """Count the pairs of true and predicted label in each picture of a batch.

    Args:
        predicted: (B, ...), integer, 0 to n_labels - 1; (N,) are the pixels of one picture.
        labels: same shape, integer, 0 to n_labels - 1, or 255 where a pixel does not count.
        n_labels: number of labels.

    Returns:
        int64 (B, n_labels, n_labels) on the same device: rows are the truth, columns the prediction.

    Raises:
        SegnbError: the shapes differ, or a value is outside the labels.
    """
    if predicted.shape != labels.shape:
        raise SegnbError(
            f"predicted has shape {tuple(predicted.shape)} and labels {tuple(labels.shape)}; they must be equal: "
            "take the argmax over classes, (B, K, H, W) -> (B, H, W), first."
        )
    truth, guess = (torch.atleast_2d(values).flatten(1) for values in (labels, predicted))
    # Looking at every pixel again for each check would cost more than counting. So what does not fit is counted, too:
    # as uint8, 255 wraps around to row 0 and the labels follow; other values share the last row and the last column.
    row = truth.to(torch.uint8)
    misfit = (row != truth).any()
    row = (row + 1).clamp_(max=min(n_labels + 1, 255))
    column = torch.where((guess >= 0) & (guess < n_labels), guess, n_labels)
    pairs = row.int().mul_(n_labels + 1).add_(column.int())
    bins = (n_labels + 2) * (n_labels + 1)
    pairs += torch.arange(len(pairs), dtype=torch.int32, device=pairs.device)[:, None] * bins
    counts = torch.bincount(pairs.flatten(), minlength=len(pairs) * bins).reshape(-1, n_labels + 2, n_labels + 1)
    if misfit | counts[:, -1].any() | counts[:, 1:, -1].any():  # one wait for the device
        raise SegnbError(_misfit(truth, guess, n_labels))
    return counts[:, 1:-1, :-1]


def _misfit(truth: Tensor, guess: Tensor, n_labels: int) -> str:
    """Name a label that is outside the matrix."""
    values = torch.cat([truth[truth != IGNORE].long(), guess[truth != IGNORE].long()])
    outside = values[(values < 0) | (values >= n_labels)]
    return (
        f"found label {int(outside[0])} but the confusion matrix has {n_labels} labels (0 to {n_labels - 1}, 255 is ignored); "
        "give it as many labels as the data has classes."
    )


def class_counts(matrices: Tensor) -> Tensor:
    """Reduce confusion matrices (..., L, L) to the four counts of each class, int64 (..., 4, L), see `segnb.metrics.scores`."""
    hits = matrices.diagonal(dim1=-2, dim2=-1)
    false_alarms, misses = matrices.sum(-2) - hits, matrices.sum(-1) - hits
    rejections = matrices.sum((-2, -1))[..., None] - hits - false_alarms - misses
    return torch.stack([hits, false_alarms, misses, rejections], dim=-2)


class _Counted:
    """The scores that both kinds of matrix share."""

    matrix: Tensor

    def counts(self) -> Tensor:
        """Count true positives, false positives, false negatives and true negatives, (4, n_labels)."""
        raise NotImplementedError

    def iou(self, average: str | None = None) -> Tensor | float:
        """Intersection over union.

        Args:
            average: None for each class; ``"macro"``, ``"weighted"`` by true pixels or ``"micro"`` for one number.

        Returns:
            float64 (n_labels,), 0 to 1, NaN where neither truth nor prediction has the class; a float if averaged.

        Raises:
            SegnbError: an unknown average.
        """
        return self._read(scores.iou, average)

    def dice(self, average: str | None = None) -> Tensor | float:
        """Dice, also known as F1; arguments and result as in `iou`."""
        return self._read(scores.dice, average)

    def f_beta(self, beta: float, average: str | None = None) -> Tensor | float:
        """Harmonic mean of precision and recall, in which recall weighs ``beta`` times as much; otherwise as in `iou`."""
        return self._read(partial(scores.f_beta, beta=beta), average)

    def precision(self, average: str | None = None) -> Tensor | float:
        """Share of the predicted pixels that are right (0 for a class never predicted); otherwise as in `iou`."""
        return self._read(scores.precision, average)

    def recall(self, average: str | None = None) -> Tensor | float:
        """Share of the true pixels that are found, also known as sensitivity (0 for a class that is never true); as in `iou`."""
        return self._read(scores.recall, average)

    def specificity(self, average: str | None = None) -> Tensor | float:
        """Share of the pixels of other classes that are left alone; as in `iou`, and NaN where there are no such pixels."""
        return self._read(scores.specificity, average)

    def miou(self) -> float:
        """Mean IoU over the classes that occur in truth or prediction, 0 to 1; NaN if nothing was counted."""
        return self.iou("macro")

    def frequency_weighted_iou(self) -> float:
        """Mean IoU in which a class weighs as much as it has true pixels, 0 to 1."""
        return self.iou("weighted")

    def mean_accuracy(self) -> float:
        """Mean recall over the classes that occur in the truth, 0 to 1; also known as balanced accuracy."""
        return scores.mean_accuracy(self.counts()).item()

    def _read(self, score: Callable[[Tensor], Tensor], average: str | None) -> Tensor | float:
        counts = self.counts()
        return score(counts) if average is None else scores.average(score, counts, average).item()

    def __add__(self: Matrix, other: Matrix) -> Matrix:
        """Sum the counts of two parts of the data, such as those of two processes."""
        if type(self) is not type(other) or self.matrix.shape != other.matrix.shape:
            raise SegnbError(
                f"{self!r} and {other!r} cannot be added; both must be of one kind and have the same number of labels."
            )
        total = type(self)(len(self.matrix), self.matrix.device)
        total.matrix = self.matrix + other.matrix.to(self.matrix.device)
        return total

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.matrix)} labels, {int(self.matrix.sum())} counted)"


class ConfusionMatrix(_Counted):
    """Counts how often each true label was predicted as each label.

    Args:
        n_labels: number of labels; a binary model has two (background, foreground).
        device: where the counts are kept; counting happens on the device of the labels.

    Attributes:
        matrix: int64 (n_labels, n_labels), rows are the truth, columns the prediction.
    """

    def __init__(self, n_labels: int, device: torch.device | str = "cpu") -> None:
        if not 1 <= n_labels <= IGNORE:
            raise SegnbError(
                f"a confusion matrix of {n_labels} labels: give 1 to 255, for 255 is the label of ignored pixels."
            )
        self.matrix = torch.zeros(n_labels, n_labels, dtype=torch.int64, device=device)

    def update(self, predicted: Tensor, labels: Tensor) -> Tensor:
        """Count one batch; pixels labelled 255 do not count.

        Args:
            predicted: (B, ...), integer, 0 to n_labels - 1; (N,) are the pixels of one picture.
            labels: same shape, integer, 0 to n_labels - 1 or 255.

        Returns:
            The matrix of each picture of the batch, int64 (B, n_labels, n_labels), on the device of the labels.

        Raises:
            SegnbError: the shapes differ, or a value is outside the labels.
        """
        found = confusion_matrices(predicted, labels, len(self.matrix))
        self.matrix += found.sum(0).to(self.matrix.device)
        return found

    def counts(self) -> Tensor:
        """Count true positives, false positives, false negatives and true negatives of each label, int64 (4, n_labels)."""
        return self.counts_of(self.matrix)

    @staticmethod
    def counts_of(matrices: Tensor) -> Tensor:
        """Reduce what `update` returns to the counts of each picture, int64 (B, 4, n_labels)."""
        return class_counts(matrices)

    def accuracy(self) -> float:
        """Share of the counted pixels that are right, 0 to 1; NaN if none were counted."""
        return scores.accuracy(self.counts()).item()


class MultilabelConfusionMatrix(_Counted):
    """Counts for classes that may overlap: a small matrix of no and yes for each class.

    Args:
        n_labels: number of classes.
        device: where the counts are kept.

    Attributes:
        matrix: int64 (n_labels, 2, 2), rows are the truth (no, yes), columns the prediction; as scikit-learn's
            ``multilabel_confusion_matrix``.
    """

    def __init__(self, n_labels: int, device: torch.device | str = "cpu") -> None:
        self.matrix = torch.zeros(n_labels, 2, 2, dtype=torch.int64, device=device)

    def update(self, predicted: Tensor, labels: Tensor) -> Tensor:
        """Count one batch.

        Args:
            predicted: (B, n_labels, ...), 0 or 1.
            labels: same shape; 0, 1, or 255 where a pixel does not count for a class.

        Returns:
            The matrices of each picture of the batch, int64 (B, n_labels, 2, 2), on the device of the labels.

        Raises:
            SegnbError: the shapes differ, the number of classes is another, or a value is not 0, 1 or 255.
        """
        n_labels = len(self.matrix)
        if labels.shape[1] != n_labels:
            raise SegnbError(
                f"labels have shape {tuple(labels.shape)} but the matrix has {n_labels} classes; "
                f"expected one map for each class: (B, {n_labels}, H, W)."
            )
        found = confusion_matrices(predicted.flatten(0, 1), labels.flatten(0, 1), 2).unflatten(0, (-1, n_labels))
        self.matrix += found.sum(0).to(self.matrix.device)
        return found

    def counts(self) -> Tensor:
        """Count true positives, false positives, false negatives and true negatives of each class, int64 (4, n_labels)."""
        return self.counts_of(self.matrix)

    @staticmethod
    def counts_of(matrices: Tensor) -> Tensor:
        """Reduce what `update` returns to the counts of each picture, int64 (B, 4, n_labels)."""
        rejections, false_alarms, misses, hits = matrices.flatten(-2).unbind(-1)
        return torch.stack([hits, false_alarms, misses, rejections], dim=-2)

    def accuracy(self) -> float:
        """Share of the answers, one for each pixel and class, that are right (1 - Hamming loss), 0 to 1."""
        return scores.answer_accuracy(self.counts()).item()
