"""Losses: (logits, labels) -> scalar.

Every loss takes raw logits (B, K, H, W) and integer labels (B, H, W) with 255 for pixels that do not count. K = 1 is binary:
one sigmoid channel, labels 0 and 1. Otherwise a softmax over K classes. A batch in which nothing counts gives exactly 0 with
a gradient of 0.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from segnb.draw import IGNORE
from segnb.errors import SegnbError, nearest

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy averaged over the pixels that count (binary cross-entropy if K = 1).

    Args:
        logits: (B, K, H, W), any real numbers.
        labels: (B, H, W), integer; 0 to K - 1 (0 or 1 if K = 1), 255 is ignored.

    Returns:
        A scalar of at least 0.
    """
    counted = labels != IGNORE
    if logits.shape[1] == 1:
        target = torch.where(counted, labels, 0).to(logits.dtype)
        losses = F.binary_cross_entropy_with_logits(logits[:, 0], target, reduction="none") * counted
        return losses.sum() / counted.sum().clamp(min=1)
    total = F.cross_entropy(logits, labels.long(), ignore_index=IGNORE, reduction="sum")
    return total / counted.sum().clamp(min=1)


def dice(logits: Tensor, labels: Tensor, smooth: float = 1.0) -> Tensor:
    """One minus the soft Dice coefficient, over the whole batch, averaged over the classes that occur in it.

    A class without a single true pixel would score near zero overlap however good the prediction, so it is left out of the mean.
    If no class occurs (a binary batch without foreground), the mean is over all of them, so that false positives still cost.

    Args:
        logits: (B, K, H, W), any real numbers.
        labels: (B, H, W), integer; 0 to K - 1 (0 or 1 if K = 1), 255 is ignored.
        smooth: pixels added to both sides of the fraction; keeps it finite and calms classes with few pixels.

    Returns:
        A scalar from 0 to 1.

    Source: Milletari et al., "V-Net", 3DV 2016, https://arxiv.org/abs/1606.04797, section 3.
    """
    classes = logits.shape[1]
    counted = (labels != IGNORE).unsqueeze(1)
    probabilities = (logits.sigmoid() if classes == 1 else logits.softmax(dim=1)) * counted
    if classes == 1:
        truth = (labels.unsqueeze(1) == 1).to(logits.dtype)
    else:
        known = torch.where(counted, labels.unsqueeze(1), 0).long()
        truth = torch.zeros_like(probabilities).scatter_(1, known, 1.0) * counted
    pixels = (0, 2, 3)
    overlap = (probabilities * truth).sum(pixels)
    total, present = probabilities.sum(pixels) + truth.sum(pixels), truth.sum(pixels) > 0
    loss = 1 - (2 * overlap + smooth) / (total + smooth)
    weight = torch.where(present.any(), present, torch.ones_like(present)).to(loss.dtype)
    return (loss * weight).sum() / weight.sum()


LOSSES: dict[str, Loss] = {"ce": cross_entropy, "dice": dice}


def get_loss(name: str | Loss) -> Loss:
    """Find a loss by name, or a sum of losses: ``"ce"``, ``"dice"``, ``"ce+dice"``.

    Args:
        name: names joined by ``+``; ``"auto"`` is ``"ce+dice"``; a callable is returned as it is.

    Returns:
        A callable (logits, labels) -> scalar.

    Raises:
        SegnbError: a name is unknown; the nearest ones are offered.
    """
    if callable(name):
        return name
    parts = ("ce+dice" if name == "auto" else str(name)).lower().replace(" ", "").split("+")
    for part in parts:
        if part not in LOSSES:
            raise SegnbError(f"unknown loss {part!r} in loss={name!r}. {nearest(part, LOSSES)}")
    return lambda logits, labels: torch.stack([LOSSES[part](logits, labels) for part in parts]).sum()
