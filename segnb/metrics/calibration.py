"""Does a confidence of 80 % mean right in 80 % of the pixels?

    probabilities ─▶ confidence of the chosen label ─▶ 15 bins ─▶ in each: mean confidence, share that is right
                                                                      └─▶ the gap, averaged over the pixels: ECE

Only sums per bin are kept, so a data set of any length fits in memory.
Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, https://arxiv.org/abs/1706.04599, section 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from segnb.draw import IGNORE, reliability
from segnb.errors import SegnbError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Confidences are summed as whole numbers of float32's steps: such sums are exact, the same for any batch size and order.
STEPS = 2**24


class CalibrationBins:
    """Sums up how confident a model is and how often it is right.

    Args:
        bins: number of bins of equal width between 0 and 1 (paper: 15).
        device: where the sums are kept; summing happens on the device of the probabilities.

    Attributes:
        sums: int64 (3, bins): pixels, pixels that are right, confidence in steps of 2⁻²⁴.
    """

    def __init__(self, bins: int = 15, device: torch.device | str = "cpu") -> None:
        if bins < 1:
            raise SegnbError(f"bins={bins!r}: give the number of bins, 1 or more.")
        self.sums = torch.zeros(3, bins, dtype=torch.int64, device=device)

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Sum up one batch; pixels labelled 255 do not count.

        Args:
            probabilities: (B, K, H, W), 0 to 1; K = 1 is binary, otherwise they sum to 1 over K.
            labels: (B, H, W), integer.

        Raises:
            SegnbError: the shapes do not belong together.
        """
        if probabilities[:, 0].shape != labels.shape:
            raise SegnbError(
                f"probabilities have shape {tuple(probabilities.shape)} and labels {tuple(labels.shape)}; "
                "expected (B, K, H, W) and (B, H, W)."
            )
        confidence, predicted = probabilities.float().max(dim=1)
        if probabilities.shape[1] == 1:
            predicted = confidence > 0.5
            confidence = torch.maximum(confidence, 1 - confidence)
        counted = labels != IGNORE
        bins = self.sums.shape[1]
        # A bin contains its upper end, as in the paper.
        place = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
        right = (predicted == labels) & counted
        steps = (confidence.clamp(0, 1) * STEPS).round().long() * counted
        summed = torch.zeros(3, bins, dtype=torch.int64, device=labels.device)
        for row, values in zip(summed, (counted.long(), right.long(), steps), strict=True):
            row.scatter_add_(0, place.flatten(), values.flatten())
        self.sums += summed.to(self.sums.device)

    def __add__(self, other: CalibrationBins) -> CalibrationBins:
        """Sum two parts of the data, such as those of two processes."""
        if self.sums.shape != other.sums.shape:
            raise SegnbError(f"{self.sums.shape[1]} and {other.sums.shape[1]} bins cannot be added; make them equal.")
        total = CalibrationBins(self.sums.shape[1], self.sums.device)
        total.sums = self.sums + other.sums.to(self.sums.device)
        return total

    def curve(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read off the reliability curve.

        Returns:
            For each bin, float64 (bins,): mean confidence, share of its pixels that are right (both NaN for an empty bin), and
            the bin's share of all pixels.
        """
        pixels, right, steps = self.sums.cpu().double()
        return (steps / STEPS / pixels).numpy(), (right / pixels).numpy(), (pixels / pixels.sum()).numpy()

    def error(self) -> float:
        """Expected calibration error: the gap between confidence and accuracy, averaged over the pixels; NaN without pixels."""
        confidence, accuracy, share = self.curve()
        return float((share * np.nan_to_num(np.abs(confidence - accuracy))).sum())

    def plot(self) -> Figure:
        """Draw the reliability curve.

        Returns:
            A matplotlib figure; below the diagonal, the model is more confident than right.
        """
        return reliability(*self.curve())

    def __repr__(self) -> str:
        return f"CalibrationBins(ECE {self.error():.3f}, {int(self.sums[0].sum())} pixels)"
