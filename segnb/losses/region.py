"""Region losses: how well predicted and true regions overlap, whatever share of the picture they are.

                 truth                     dice     1 - 2·TP / (2·TP + FP + FN)
           ┌───────────────┐               jaccard  1 -   TP / (TP + FP + FN)
       ┌───┼──────────┐    │               tversky  1 -   TP / (TP + alpha·FP + beta·FN)
       │FP │    TP    │ FN │   TN          mcc      1 - correlation of prediction and truth
       └───┼──────────┘    │
     predicted ────────────┘

Counts are sums of probabilities, so that they have a gradient: TP is the probability of the class summed over its true
pixels. They are taken over the whole batch, for each class, and averaged over the classes that occur (`Batch.class_mean`).
Every loss counts ``smooth`` pixels more as right: that keeps fractions finite, calms classes with few pixels, and lets a
false positive cost something where the class does not occur.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segnb.losses.batch import PIXELS, Batch, read


def dice(
    logits: Tensor, labels: Tensor, smooth: float = 1.0, *, class_weights: Sequence[float] | None = None
) -> Tensor:
    """One minus the soft Dice coefficient, over the whole batch, averaged over the classes that occur in it.

    Args:
        logits: (B, K, H, W), any real numbers.
        labels: (B, H, W), 0 to K - 1 (0 or 1 if K = 1); or (B, K, H, W) of 0 and 1; integer, 255 is ignored.
        smooth: pixels added to both sides of the fraction, above 0.
        class_weights: one number for each class, its share in the mean; without effect if K = 1.

    Returns:
        A scalar from 0 to 1; multilabel, up to 1 is added for classes that are predicted but do not occur.

    Raises:
        SegnbError: shapes, types or class weights do not fit.

    Source: Milletari et al., "V-Net", 3DV 2016, https://arxiv.org/abs/1606.04797, section 3.
    """
    batch = read(logits, labels)
    overlap, predicted, true = areas(batch)
    losses = 1 - (2 * overlap + smooth) / (predicted + true + smooth)
    return batch.class_mean(losses, true > 0, class_weights)


def jaccard(
    logits: Tensor, labels: Tensor, smooth: float = 1.0, *, class_weights: Sequence[float] | None = None
) -> Tensor:
    """One minus the soft intersection over union, over the whole batch, averaged over the classes that occur in it.

    Args:
        logits: (B, K, H, W), any real numbers.
        labels: (B, H, W), 0 to K - 1 (0 or 1 if K = 1); or (B, K, H, W) of 0 and 1; integer, 255 is ignored.
        smooth: pixels added to both sides of the fraction, above 0.
        class_weights: one number for each class, its share in the mean; without effect if K = 1.

    Returns:
        A scalar from 0 to 1; multilabel, up to 1 is added for classes that are predicted but do not occur.

    Raises:
        SegnbError: shapes, types or class weights do not fit.

    Source: Rahman & Wang, ISVC 2016, https://doi.org/10.1007/978-3-319-50835-1_22.
    """
    batch = read(logits, labels)
    overlap, predicted, true = areas(batch)
    losses = 1 - (overlap + smooth) / (predicted + true - overlap + smooth)
    return batch.class_mean(losses, true > 0, class_weights)


def tversky(
    logits: Tensor,
    labels: Tensor,
    smooth: float = 1.0,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 1.0,
    class_weights: Sequence[float] | None = None,
) -> Tensor:
    """One minus the Tversky index: an overlap in which false positives and false negatives have prices of their own.

    Args:
        logits: (B, K, H, W), any real numbers.
        labels: (B, H, W), 0 to K - 1 (0 or 1 if K = 1); or (B, K, H, W) of 0 and 1; integer, 255 is ignored.
        smooth: pixels added to both sides of the fraction, above 0.
        alpha: price of a false positive. 0.5 for both is Dice, 1 for both is Jaccard.
        beta: price of a false negative; above alpha, small regions are found rather than missed.
        gamma: above 1, the focal Tversky loss: the loss of each class to the power of 1 / gamma (paper: 4/3).
        class_weights: one number for each class, its share in the mean; without effect if K = 1.

    Returns:
        A scalar from 0 to 1; multilabel, up to 1 is added for classes that are predicted but do not occur.

    Raises:
        SegnbError: shapes, types or class weights do not fit.

    Source: Salehi et al., MLMI 2017, https://arxiv.org/abs/1706.05721; focal: Abraham & Khan, ISBI 2019,
        https://arxiv.org/abs/1810.07842.
    """
    batch = read(logits, labels)
    overlap, predicted, true = areas(batch)
    wrong = alpha * (predicted - overlap) + beta * (true - overlap)
    losses = 1 - (overlap + smooth) / (overlap + wrong + smooth)
    if gamma != 1:
        losses = losses.clamp(min=1e-6) ** (1 / gamma)  # a root has an infinite slope at 0
    return batch.class_mean(losses, true > 0, class_weights)


def mcc(logits: Tensor, labels: Tensor, smooth: float = 1.0, *, class_weights: Sequence[float] | None = None) -> Tensor:
    """One minus Matthews' correlation coefficient of each class against the rest: true negatives count, too.

    Args:
        logits: (B, K, H, W), any real numbers.
        labels: (B, H, W), 0 to K - 1 (0 or 1 if K = 1); or (B, K, H, W) of 0 and 1; integer, 255 is ignored.
        smooth: pixels added to the true positives and to the true negatives.
        class_weights: one number for each class, its share in the mean; without effect if K = 1.

    Returns:
        A scalar from 0 (all right) over 1 (no better than chance) to 2 (all wrong); multilabel, up to 1 is added for
        classes that are predicted but do not occur.

    Raises:
        SegnbError: shapes, types or class weights do not fit.

    Source: Abhishek & Hamarneh, ISBI 2021, https://arxiv.org/abs/2010.13454.
    """
    batch = read(logits, labels)
    overlap, predicted, true = areas(batch)
    # Summed, not subtracted from the number of pixels: where a class fills the picture, a difference keeps few digits.
    true_negative = ((1 - batch.probabilities()) * (1 - batch.truth()) * batch.counted).sum(PIXELS)
    hit, rejected = overlap + smooth, true_negative + smooth
    false_positive, false_negative = predicted - overlap, true - overlap
    spread = ((hit + false_positive) * (hit + false_negative)).sqrt()
    spread = spread * ((rejected + false_positive) * (rejected + false_negative)).sqrt()
    losses = 1 - (hit * rejected - false_positive * false_negative) / spread
    return batch.class_mean(losses, true > 0, class_weights)


def areas(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Sum overlap, prediction and truth of each class over the pixels that count; three vectors (K,)."""
    probabilities, truth = batch.probabilities() * batch.counted, batch.truth()
    return (probabilities * truth).sum(PIXELS), probabilities.sum(PIXELS), truth.sum(PIXELS)
