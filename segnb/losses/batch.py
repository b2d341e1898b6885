"""What every loss reads: logits and labels become probabilities, truth, and a mask of what counts.

    labels (B, H, W),    K = 1   binary        ┐ sigmoid: each channel answers yes or no  ┐   probabilities (B, K, H, W)
    labels (B, K, H, W), any K   multilabel    ┘                                          ├─▶ truth         (B, K, H, W)
    labels (B, H, W),    K > 1   multiclass    ─ softmax: each pixel has one class        ┘   counted  (B, 1 or K, H, W)

Binary is multilabel with one class, so only two cases are left. Half-precision logits are read in float32: a sum over a
million pixels leaves the range of float16 and the precision of bfloat16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segnb.draw import IGNORE
from segnb.errors import SegnbError
from segnb.losses.checking import check_class_weights, check_shapes, check_values

PIXELS = (0, 2, 3)  # the dimensions of (B, K, H, W) that a sum over the pixels of the batch removes


@dataclass(frozen=True)
class Batch:
    """Logits and labels that fit each other.

    Attributes:
        logits: (B, K, H, W), float32 or float64.
        labels: (B, 1, H, W) if exclusive, otherwise (B, K, H, W); int64; 255 where it does not count.
        known: the labels with 0 in place of 255, which would be no index.
        counted: 1.0 where the label counts and 0.0 where it does not, shape of the labels.
        exclusive: each pixel has exactly one class (softmax), rather than a yes or no for each class (sigmoid).
    """

    logits: Tensor
    labels: Tensor
    known: Tensor
    counted: Tensor
    exclusive: bool

    @property
    def binary(self) -> bool:
        """One channel, which tells foreground from background."""
        return self.logits.shape[1] == 1

    def probabilities(self) -> Tensor:
        """Softmax or sigmoid of the logits, (B, K, H, W), 0 to 1."""
        return self.logits.softmax(dim=1) if self.exclusive else self.logits.sigmoid()

    def truth(self) -> Tensor:
        """Where each class is, (B, K, H, W) of 0.0 and 1.0; 0 where the label does not count."""
        if self.exclusive:
            return self.logits.new_zeros(self.logits.shape).scatter_(1, self.known, self.counted)
        return self.known.to(self.logits.dtype)

    def label_weights(self, class_weights: Sequence[float]) -> Tensor:
        """Bring class weights to the device of the logits.

        Args:
            class_weights: one number for each class; two, for background and foreground, if the batch is binary.

        Returns:
            A vector of the logits' type, (K,), or (2,) if the batch is binary.

        Raises:
            SegnbError: their number does not fit, or one is not a non-negative number.
        """
        weights = check_class_weights(class_weights)
        channels = self.logits.shape[1]
        if len(weights) != (2 if self.binary else channels):
            wanted = "two, for background and foreground" if self.binary else f"{channels}, one for each class"
            raise SegnbError(
                f"class_weights has {len(weights)} numbers; logits with {channels} channels need {wanted}."
            )
        return self.logits.new_tensor(weights)

    def pixel_weights(self, class_weights: Sequence[float] | None) -> Tensor:
        """Weigh each label by its class: what the sum of a per-pixel loss is divided by.

        Args:
            class_weights: as for `label_weights`; None weighs all alike.

        Returns:
            Shape of the labels; 0 where they do not count.
        """
        if class_weights is None:
            return self.counted
        weights = self.label_weights(class_weights)
        if self.exclusive or self.binary:
            return weights[self.known] * self.counted
        return weights[:, None, None] * self.counted

    def class_mean(self, losses: Tensor, occurring: Tensor, class_weights: Sequence[float] | None) -> Tensor:
        """Average losses of classes over the classes that occur.

        A class without a single true pixel would score near zero overlap however good the prediction, so it has no part in
        the mean. Under a softmax, its false positives cost the classes that are there. Under sigmoids nothing else
        would punish them, so there the mean over the classes that do not occur is added.

        Args:
            losses: (K,).
            occurring: bool (K,), which classes have a true pixel.
            class_weights: as for `label_weights`; of no effect if the batch is binary, which has one region to weigh.

        Returns:
            A scalar; 0 if nothing counts.
        """
        weights = torch.ones_like(losses)
        if class_weights is not None:
            given = self.label_weights(class_weights)
            weights = weights if self.binary else given
        mean = ratio((losses * weights * occurring).sum(), (weights * occurring).sum())
        if self.exclusive:
            return mean
        absent = weights * ((self.counted.sum(PIXELS) > 0) & ~occurring)
        return mean + ratio((losses * absent).sum(), absent.sum())


def ratio(total: Tensor, amount: Tensor) -> Tensor:
    """Divide a sum by what was summed up; 0, with a gradient of 0, if that is nothing."""
    # Not by something tiny: the gradient, scaled for half precision or by a weight in a sum of losses, would be ∞ · 0.
    return total / torch.where(amount > 0, amount, 1)


def read(logits: Tensor, labels: Tensor) -> Batch:
    """Tell binary, multiclass and multilabel apart by the labels, and refuse what fits none of them.

    Args:
        logits: (B, K, H, W), floating point.
        labels: (B, H, W) or (B, K, H, W), integer or bool; 255 is ignored.

    Returns:
        The batch that losses are computed from.

    Raises:
        SegnbError: shapes or types do not fit, or (on the CPU) a label is outside the classes.
    """
    check_shapes(logits, labels)
    exclusive = labels.dim() == 3 and logits.shape[1] > 1
    labels = (labels.unsqueeze(1) if labels.dim() == 3 else labels).long()
    counted = labels != IGNORE
    known = torch.where(counted, labels, 0)
    if labels.device.type == "cpu":  # elsewhere a look at the values would make the processor wait for the device
        check_values(known, logits.shape[1] if exclusive else 2)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return Batch(logits, labels, known, counted.to(logits.dtype), exclusive)
