"""Lovász loss: the intersection over union itself, made convex, instead of a soft count.

    errors of all pixels, largest first   0.9   0.7   0.4   0.1  ...
    IoU lost if the first n are wrong     0.2   0.5   0.6   0.8  ...
    what the n-th adds                    0.2   0.3   0.1   0.2  ...   ─▶ loss = sum of error · what it adds

Where all errors are 0 or 1, this is exactly one minus the intersection over union; in between it is its tightest convex
extension. The weights come from the order of the errors and have no gradient of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from segnb.losses.batch import read


def lovasz(logits: Tensor, labels: Tensor, *, class_weights: Sequence[float] | None = None) -> Tensor:
    """Lovász-softmax loss, or Lovász hinge loss with a sigmoid, over the whole batch, averaged over the classes that occur.

    Args:
        logits: (B, K, H, W), any real numbers.
        labels: (B, H, W), 0 to K - 1 (0 or 1 if K = 1); or (B, K, H, W) of 0 and 1; integer, 255 is ignored.
        class_weights: one number for each class, its share in the mean; without effect if K = 1.

    Returns:
        A scalar of at least 0; with the softmax at most 1.

    Raises:
        SegnbError: shapes, types or class weights do not fit.

    Source: Berman et al., CVPR 2018, https://arxiv.org/abs/1705.08790, algorithm 1.
    """
    batch = read(logits, labels)
    truth = batch.truth()
    errors = (truth - batch.probabilities()).abs() if batch.exclusive else F.relu(1 - batch.logits * (2 * truth - 1))
    # An error of 0 adds nothing and comes last: ignored pixels neither cost nor change what others add.
    errors, truth = per_class(errors * batch.counted), per_class(truth)
    errors, order = errors.sort(dim=1, descending=True)
    losses = (errors * lost_overlap(truth.gather(1, order))).sum(dim=1)
    return batch.class_mean(losses, truth.any(dim=1), class_weights)


def per_class(maps: Tensor) -> Tensor:
    """Lay out the pixels of the whole batch in one row for each class, (B, K, H, W) -> (K, B·H·W)."""
    return maps.transpose(0, 1).flatten(1)


def lost_overlap(truth: Tensor) -> Tensor:
    """Tell how much intersection over union each wrong pixel costs if all pixels before it are wrong, too.

    Args:
        truth: (K, N) of 0 and 1, in the order of falling errors.

    Returns:
        (K, N); each row sums up to 1.
    """
    missed, n = truth.cumsum(dim=1), torch.arange(1, truth.shape[1] + 1, device=truth.device)
    true = missed[:, -1:]
    lost = 1 - (true - missed) / (true + n - missed)
    return torch.diff(lost, dim=1, prepend=torch.zeros_like(true))
