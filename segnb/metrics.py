"""Segmentation scores, all read off one confusion matrix.

    labels (B, H, W) ─┐
                      ├─ count pairs ─▶ matrix (K, K): rows are the truth, columns the prediction
    predicted (B,H,W) ┘                     │
                                            └─▶ IoU, Dice, accuracy, per class or averaged

Counting first and dividing last makes a score independent of the batch size: the mean of per-batch IoUs is another number.
Source: Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2015, section 4.2 (IoU).
"""

from __future__ import annotations

import torch
from torch import Tensor

from segnb.draw import IGNORE
from segnb.errors import SegnbError


class ConfusionMatrix:
    """Counts how often each true label was predicted as each label.

    Args:
        n_labels: number of labels; a binary model has two (background, foreground).
        device: where the counts are kept; counting happens on the device of the labels.
    """

    def __init__(self, n_labels: int, device: torch.device | str = "cpu") -> None:
        self.matrix = torch.zeros(n_labels, n_labels, dtype=torch.int64, device=device)

    def update(self, predicted: Tensor, labels: Tensor) -> None:
        """Count one batch; pixels labelled 255 do not count.

        Args:
            predicted: any shape, integer, 0 to n_labels - 1.
            labels: same shape, integer, 0 to n_labels - 1 or 255.

        Raises:
            SegnbError: the shapes differ, or a value is outside the labels.
        """
        if predicted.shape != labels.shape:
            raise SegnbError(
                f"predicted has shape {tuple(predicted.shape)} and labels {tuple(labels.shape)}; they must be equal: "
                "take the argmax over classes, (B, K, H, W) -> (B, H, W), first."
            )
        n_labels = len(self.matrix)
        counted = labels != IGNORE
        truth, guess = labels[counted].long(), predicted[counted].long()
        if truth.numel() == 0:
            return
        lowest, highest = torch.minimum(truth, guess).min().item(), torch.maximum(truth, guess).max().item()
        if lowest < 0 or highest >= n_labels:
            raise SegnbError(
                f"found label {lowest if lowest < 0 else highest} but the confusion matrix has {n_labels} labels (0 to "
                f"{n_labels - 1}, 255 is ignored); give it as many labels as the data has classes."
            )
        pairs = torch.bincount(truth * n_labels + guess, minlength=n_labels**2)
        self.matrix += pairs.reshape(n_labels, n_labels).to(self.matrix.device)

    @property
    def _hits(self) -> Tensor:
        return self.matrix.diagonal().double()

    def iou(self) -> Tensor:
        """Intersection over union of each class, (n_labels,), 0 to 1; NaN where neither truth nor prediction has the class."""
        union = self.matrix.sum(0) + self.matrix.sum(1) - self.matrix.diagonal()
        return self._hits / union  # 0 / 0 is NaN: an absent class has no score

    def dice(self) -> Tensor:
        """Dice (F1) of each class, (n_labels,), 0 to 1; NaN where neither truth nor prediction has the class."""
        return 2 * self._hits / (self.matrix.sum(0) + self.matrix.sum(1))

    def accuracy(self) -> float:
        """Share of the counted pixels that are right, 0 to 1; NaN if none were counted."""
        return (self._hits.sum() / self.matrix.sum()).item()

    def miou(self) -> float:
        """Mean IoU over the classes that occur in truth or prediction, 0 to 1."""
        return self.iou().nanmean().item()
