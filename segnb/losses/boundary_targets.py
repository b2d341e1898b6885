"""Where classes meet: a target made from the labels, and the loss of a head that looks for it.

    labels  0 0 0 0 1 1 1 1      target  0 0 1 1 1 1 0 0      another class is at most two pixels away

Few pixels lie on boundaries, so the two answers are weighed by how rare they are. Ignored pixels have no target, and what they
would be is unknown, so they are no other class either.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segnb.draw import IGNORE
from segnb.losses.batch import read
from segnb.losses.distribution import cross_entropy, pixel_losses

REACH = 2  # pixels: boundaries are four pixels wide, as those that PIDNet was trained on
WEIGHT = 20.0
BELIEVED = 0.8


def boundary_loss(boundary: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Find the boundaries, and tell the classes apart where boundaries are believed to be.

    Args:
        boundary: (B, 1, H, W), logits of the boundary.
        logits: (B, K, H, W), those of the classes.
        labels: (B, H, W), 0 to K - 1 (0 or 1 if K = 1); or (B, K, H, W) of 0 and 1; integer, 255 is ignored.

    Returns:
        20 times the balanced cross-entropy of the boundary, plus the cross-entropy of the classes over the pixels that are on
        a boundary with a probability above 0.8; a scalar of at least 0.

    Raises:
        SegnbError: shapes or types do not fit.

    Source: Xu et al., CVPR 2023, https://arxiv.org/abs/2206.02066, section 3.1: its losses 1 and 3.
    """
    believed = boundary.sigmoid() > BELIEVED
    near = torch.where(believed if labels.dim() == 4 else believed[:, 0], labels, IGNORE)
    return WEIGHT * balanced_cross_entropy(boundary, boundary_targets(labels)) + cross_entropy(logits, near)


def boundary_targets(labels: Tensor) -> Tensor:
    """Mark the pixels that have another class within two pixels, in rows, columns or diagonals.

    Args:
        labels: (B, H, W), or (B, K, H, W) of 0 and 1 for classes that overlap; integer, 255 is ignored.

    Returns:
        (B, H, W) int64: 1 on the boundary of any class, 0 elsewhere, 255 where no label counts.

    Source: Xu et al., CVPR 2023, https://arxiv.org/abs/2206.02066, section 3.1.
    """
    planes = labels if labels.dim() == 4 else labels[:, None]
    counted, values = planes != IGNORE, planes.float()
    highest = around(torch.where(counted, values, -torch.inf))
    lowest = -around(torch.where(counted, -values, -torch.inf))
    targets = ((highest > lowest) & counted).any(dim=1).long()
    return torch.where(counted.any(dim=1), targets, IGNORE)


def around(planes: Tensor) -> Tensor:
    """Find the largest value within reach of each pixel, (B, K, H, W) -> the same."""
    return F.max_pool2d(planes, 2 * REACH + 1, stride=1, padding=REACH)


def balanced_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy in which each answer is weighed by the share of the other among the pixels that count.

    Args:
        logits: (B, 1, H, W), any real numbers.
        targets: (B, H, W), 0 or 1; integer, 255 is ignored.

    Returns:
        A scalar of at least 0; 0 where all targets are alike, as nothing is to be told apart.

    Raises:
        SegnbError: shapes or types do not fit.

    Source: Xie and Tu, ICCV 2015, https://arxiv.org/abs/1504.06375, equation 2; here divided by the number of pixels.
    """
    batch = read(logits, targets)
    truth, count = batch.truth(), batch.counted.sum().clamp(min=1)
    share = truth.sum() / count
    weights = torch.where(truth > 0, 1 - share, share)
    return (pixel_losses(batch) * weights).sum() / count
