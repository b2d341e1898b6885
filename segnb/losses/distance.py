"""Distance losses: a wrong pixel costs the more, the farther it is from the contour.

    · · · · · ·      2 1  1  1 1 2      the distance of each pixel to the nearest one across the contour (rounded),
    · · # # · ·      2 1 -1 -1 1 2      negative inside the region; 0 everywhere in a picture that has no contour,
    · · # # · ·      2 1 -1 -1 1 2      because one side is missing

    boundary:   distance to the true contour · error
    hausdorff:  (distance to the true contour)² + (distance to the predicted contour)², · error²

Both pull contours together but hardly find regions at first: add them to a region loss, ``"dice+0.01*boundary"``. Distances are
in pixels and computed on the CPU. Ignored pixels are on no side, so the edge of an ignored area is no contour.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segnb.losses.batch import PIXELS, Batch, ratio, read


def boundary(logits: Tensor, labels: Tensor, *, class_weights: Sequence[float] | None = None) -> Tensor:
    """Boundary loss: the area between predicted and true contour, each pixel weighed by its distance to the true one.

    The paper drops the constant that makes it 0 for a perfect prediction; here it is kept. The gradient is the same.

    Args:
        logits: (B, K, H, W), any real numbers.
        labels: (B, H, W), 0 to K - 1 (0 or 1 if K = 1); or (B, K, H, W) of 0 and 1; integer, 255 is ignored.
        class_weights: one number for each class, its share in the mean; without effect if K = 1.

    Returns:
        A scalar of at least 0, in pixels: the mean over the pixels that count, then over the classes that occur. Where a class
        is missing from a picture, or fills it, there is no contour to be far from: false positives cost nothing.

    Raises:
        SegnbError: shapes, types or class weights do not fit.

    Source: Kervadec et al., MIDL 2019 and Medical Image Analysis 2021, https://arxiv.org/abs/1812.07032, section 2.
    """
    batch = read(logits, labels)
    truth = batch.truth()
    return pixel_mean(
        batch, signed_distances(truth > 0.5, batch.counted > 0) * (batch.probabilities() - truth), class_weights
    )


def hausdorff(
    logits: Tensor, labels: Tensor, *, alpha: float = 2.0, class_weights: Sequence[float] | None = None
) -> Tensor:
    """Hausdorff distance loss: squared errors, weighed by the distances to the true and to the predicted contour.

    Args:
        logits: (B, K, H, W), any real numbers.
        labels: (B, H, W), 0 to K - 1 (0 or 1 if K = 1); or (B, K, H, W) of 0 and 1; integer, 255 is ignored.
        alpha: power of the distances; the larger, the more the farthest errors count, as in the Hausdorff distance itself.
        class_weights: one number for each class, its share in the mean; without effect if K = 1.

    Returns:
        A scalar of at least 0, in pixels to the power of alpha: the mean over the pixels that count, then over the classes
        that occur. The predicted contour runs where a probability of 0.5 is crossed, and has no gradient.

    Raises:
        SegnbError: shapes, types or class weights do not fit.

    Source: Karimi & Salcudean, IEEE Transactions on Medical Imaging 2020, https://arxiv.org/abs/1904.10030,
        the loss based on distance transforms.
    """
    batch = read(logits, labels)
    probabilities, truth = batch.probabilities(), batch.truth()
    to_true = signed_distances(truth > 0.5, batch.counted > 0).abs() ** alpha
    to_predicted = signed_distances(probabilities > 0.5, batch.counted > 0).abs() ** alpha
    return pixel_mean(batch, (probabilities - truth) ** 2 * (to_true + to_predicted), class_weights)


def pixel_mean(batch: Batch, costs: Tensor, class_weights: Sequence[float] | None) -> Tensor:
    """Average costs (B, K, H, W) over the pixels that count, then over the classes."""
    losses = ratio((costs * batch.counted).sum(PIXELS), batch.pixel_weights(None).sum(PIXELS))
    return batch.class_mean(losses, batch.truth().sum(PIXELS) > 0, class_weights)


def signed_distances(regions: Tensor, counted: Tensor) -> Tensor:
    """Measure how far each pixel is from the nearest counted pixel on the other side of the contour.

    Args:
        regions: bool (B, K, H, W), inside or outside.
        counted: bool (B, 1 or K, H, W).

    Returns:
        float32 (B, K, H, W), in pixels, without a gradient: at most -1 inside, at least 1 outside; 0 throughout the maps in
        which one side has no counted pixel.
    """
    from scipy.ndimage import distance_transform_edt

    inside, outside = (regions & counted).cpu().numpy(), (~regions & counted).cpu().numpy()
    distances = torch.zeros(regions.shape)
    both_sides = inside.any(axis=(2, 3)) & outside.any(axis=(2, 3))
    for place in zip(*both_sides.nonzero(), strict=True):
        to_inside, to_outside = distance_transform_edt(~inside[place]), distance_transform_edt(~outside[place])
        distances[place] = torch.from_numpy(to_inside - to_outside)
    return distances.to(regions.device)
