"""Per-pixel losses: how far the predicted distribution of each pixel is from its label, averaged over the pixels that count.

    -log p of the true class ──┬─ mean ────────────────────▶ cross_entropy
                               ├─ · (1 - p)^gamma, mean ───▶ focal: what is easy counts less
                               └─ mean of the largest ─────▶ ohem:  what is easy does not count

"Pixels" below means labels: with a sigmoid for each class, every class of a pixel is a label of its own. Weighted losses are
divided by the sum of the weights, as `torch.nn.CrossEntropyLoss` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from segnb.draw import IGNORE
from segnb.losses.batch import Batch, ratio, read
from segnb.losses.checking import check_share


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy averaged over the pixels that count; binary cross-entropy with a sigmoid.

    Args:
        logits: (B, K, H, W), any real numbers.
        labels: (B, H, W), 0 to K - 1 (0 or 1 if K = 1); or (B, K, H, W) of 0 and 1; integer, 255 is ignored.
        class_weights: one number for each class; two, for background and foreground, if K = 1.
        label_smoothing: 0 to 1, the share of the truth that is spread evenly over all classes (over yes and no with a sigmoid).

    Returns:
        A scalar of at least 0.

    Raises:
        SegnbError: shapes, types, class weights or the share do not fit.

    Source: label smoothing is Szegedy et al., CVPR 2016, https://arxiv.org/abs/1512.00567, section 7.
    """
    check_share(label_smoothing=label_smoothing)
    batch = read(logits, labels)
    total = pixel_losses(batch, class_weights, label_smoothing, reduction="sum")
    return ratio(total, batch.pixel_weights(class_weights).sum())


def focal(
    logits: Tensor, labels: Tensor, *, gamma: float = 2.0, class_weights: Sequence[float] | None = None
) -> Tensor:
    """Focal loss: cross-entropy in which pixels that are right already count less, by (1 - p of the true class)^gamma.

    The softmax over the classes is used where a pixel has one class; ``class_weights`` are the alpha of the paper.

    Args:
        logits: (B, K, H, W), any real numbers.
        labels: (B, H, W), 0 to K - 1 (0 or 1 if K = 1); or (B, K, H, W) of 0 and 1; integer, 255 is ignored.
        gamma: 0 is the cross-entropy; the larger, the less an easy pixel counts.
        class_weights: one number for each class; two, for background and foreground, if K = 1.

    Returns:
        A scalar of at least 0.

    Raises:
        SegnbError: shapes, types or class weights do not fit.

    Source: Lin et al., ICCV 2017, https://arxiv.org/abs/1708.02002, section 3.
    """
    batch = read(logits, labels)
    losses, weights = pixel_losses(batch), batch.pixel_weights(class_weights)
    # expm1 keeps the digits of 1 - p near p = 1. Below 1, gamma has an infinite slope at p = 1 itself: hence the floor.
    wrong = (-torch.expm1(-losses)).clamp(min=1e-6)
    return ratio((wrong**gamma * losses * weights).sum(), weights.sum())


def ohem(
    logits: Tensor,
    labels: Tensor,
    *,
    threshold: float = 0.7,
    least: float = 0.2,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Online hard example mining: cross-entropy over the pixels whose true class has a probability below a threshold.

    So that training does not end with the first easy batch, at least a share of the pixels is kept, the hardest.

    Args:
        logits: (B, K, H, W), any real numbers.
        labels: (B, H, W), 0 to K - 1 (0 or 1 if K = 1); or (B, K, H, W) of 0 and 1; integer, 255 is ignored.
        threshold: 0 to 1; pixels below this probability of their true class are hard.
        least: 0 to 1; the share of the batch's counted pixels kept at least. In practice 100,000 of a 512×1024 crop (0.2).
        class_weights: one number for each class; two, for background and foreground, if K = 1.
        label_smoothing: as in `cross_entropy`; what is hard is judged without it.

    Returns:
        A scalar of at least 0.

    Raises:
        SegnbError: shapes, types, class weights or a share do not fit.

    Source: Shrivastava et al., CVPR 2016, https://arxiv.org/abs/1604.03540; for pixels, Wu et al., 2016,
        https://arxiv.org/abs/1604.04339 ("online bootstrapping").
    """
    check_share(threshold=threshold, least=least, label_smoothing=label_smoothing)
    batch = read(logits, labels)
    with torch.no_grad():
        hardness = torch.where(batch.counted > 0, pixel_losses(batch), -1.0)
        hardest_first = hardness.flatten().sort(descending=True).values
        # Read by a tensor as index: a number would make the processor wait for the device.
        last_kept = (batch.counted.sum() * least).ceil().long().clamp(min=1) - 1
        hard = ((-hardness).exp() < threshold) | (hardness >= hardest_first.gather(0, last_kept[None]))
    losses = pixel_losses(batch, class_weights, label_smoothing)
    return ratio((losses * hard).sum(), (batch.pixel_weights(class_weights) * hard).sum())


def pixel_losses(
    batch: Batch, class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0, reduction: str = "none"
) -> Tensor:
    """Weighted cross-entropy of each label.

    Args:
        batch: logits and labels.
        class_weights: one number for each class; two, for background and foreground, if K = 1; None weighs all alike.
        label_smoothing: 0 to 1.
        reduction: ``"none"``, or ``"sum"``, which is faster than to sum up what this returns.

    Returns:
        Shape of the labels, 0 where they do not count; or their sum.
    """
    if not batch.exclusive:
        losses = binary_pixel_losses(batch, class_weights, label_smoothing)
        return losses.sum() if reduction == "sum" else losses
    return F.cross_entropy(
        batch.logits.unsqueeze(2),  # the classes of (B, 1, H, W) labels
        batch.labels,
        weight=None if class_weights is None else batch.label_weights(class_weights),
        ignore_index=IGNORE,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def binary_pixel_losses(batch: Batch, class_weights: Sequence[float] | None, label_smoothing: float) -> Tensor:
    """Weighted cross-entropy of each yes or no; the same as that of a softmax over the logits (0, x)."""
    losses = binary_cross_entropy(batch, class_weights)
    if label_smoothing == 0:
        return losses
    no, yes = (
        binary_cross_entropy(replace(batch, known=torch.full_like(batch.known, answer)), class_weights)
        for answer in (0, 1)
    )
    return (1 - label_smoothing) * losses + label_smoothing * (no + yes) / 2


def binary_cross_entropy(batch: Batch, class_weights: Sequence[float] | None) -> Tensor:
    """Weighted cross-entropy of each yes or no, without smoothing."""
    losses = F.binary_cross_entropy_with_logits(batch.logits, batch.truth(), reduction="none")
    return losses * batch.pixel_weights(class_weights)
