"""How far could a score be off because these pictures were chosen and not others?

    counts of N pictures ─▶ draw N of them, with replacement ─▶ sum ─▶ score ┐
                                     ... a thousand times ...                ├─▶ the middle 95 % of the scores
                                                                             ┘
Pictures are drawn, not pixels: the pixels of one picture are right or wrong together. What the interval does not hold is the
chance of training (another seed gives another model). With few pictures it is too narrow.
Source: Efron & Tibshirani, "Bootstrap Methods for Standard Errors, Confidence Intervals", Statistical Science 1986,
https://doi.org/10.1214/ss/1177013815, section 4 (percentile method).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from segnb.errors import SegnbError


class Interval(NamedTuple):
    """Where a score lies: floats, or one value for each class; NaN where a class never occurs."""

    low: float | np.ndarray
    high: float | np.ndarray


def confidence_interval(
    counts: np.ndarray, score: Callable[[Tensor], Tensor], *, level: float = 0.95, samples: int = 1000, seed: int = 0
) -> Interval:
    """Resample the pictures and take the middle share of the scores.

    Args:
        counts: integer (N, 4, L), the four counts of each picture and class, see `segnb.metrics.scores`.
        score: from counts (..., 4, L) to (...) or (..., L).
        level: share of the resampled scores inside the interval, between 0 and 1.
        samples: how many times to resample.
        seed: of the drawing; the same seed gives the same interval.

    Returns:
        The lower and the upper end.

    Raises:
        SegnbError: level or samples are out of range.
    """
    if not 0 < level < 1:
        raise SegnbError(f"level={level!r}: give a share between 0 and 1, such as 0.95.")
    if samples < 1:
        raise SegnbError(f"samples={samples!r}: give how many times to resample, 1 or more; 1000 is usual.")
    pictures = len(counts)
    # Drawing N of N with replacement = choosing how often each takes part; then all sums are one product of matrices.
    times = np.random.default_rng(seed).multinomial(pictures, np.full(pictures, 1 / pictures), size=samples)
    sums = times.astype(float) @ counts.reshape(pictures, -1).astype(float)  # exact: whole numbers below 2⁵³
    scores = score(torch.from_numpy(sums.reshape(samples, *counts.shape[1:])))
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=scores.dtype)
    low, high = scores.nanquantile(ends, dim=0).numpy()
    return Interval(low, high) if scores.dim() > 1 else Interval(float(low), float(high))
