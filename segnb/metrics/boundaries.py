"""How well do outlines meet? IoU hardly notices the outline of a large object; these three look at nothing else.

    truth       prediction       boundary IoU: the IoU of the two bands along the outlines
    ┌──────┐      ┌──────┐       surface Dice: share of both outlines that has the other within a tolerance
    │      │      │      │       Hausdorff 95: the distance to the other outline, exceeded by 5 % of the outline only
    └──────┘      └──────┘
       └─ 3 pixels ─┘            two equal squares, one moved by 3 pixels: Hausdorff 3

An outline is made of the pixels of a class that touch (by an edge) another class or the picture's border. Ignored pixels belong
to no class, in truth and prediction alike. Definitions differ between libraries; those of Hausdorff 95 and surface Dice are
MONAI's, and the tests compare. SciPy measures the distances: it is there already, and several times faster here.

Boundary IoU: Cheng et al., CVPR 2021, https://arxiv.org/abs/2103.16562, section 4.
Surface Dice: Nikolov et al., JMIR 2021, https://arxiv.org/abs/1809.04430, section "Performance metrics".
Hausdorff distance and its percentiles: Huttenlocher et al., PAMI 1993, https://doi.org/10.1109/34.232073.
What goes wrong with them: Reinke et al., Nature Methods 2024, https://arxiv.org/abs/2302.01790.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from segnb.draw import IGNORE
from segnb.errors import SegnbError

BOUNDARY_SCORES = ("boundary_iou", "surface_dice", "hausdorff95")
BAND = 0.02  # width of the band as a share of the picture's diagonal, Cheng et al., section 5.1


def boundary_iou(predicted: np.ndarray, truth: np.ndarray, width: int) -> float:
    """Intersection over union of two bands: the pixels of each mask that are at most ``width`` from its outside.

    Args:
        predicted: bool (H, W).
        truth: bool (H, W).
        width: of the band in pixels, diagonal steps count one; the paper takes 2 % of the picture's diagonal.

    Returns:
        0 to 1; NaN where both masks are empty.
    """
    ours, theirs = _band(predicted, width), _band(truth, width)
    union = (ours | theirs).sum()
    return float((ours & theirs).sum() / union) if union else math.nan


def _band(mask: np.ndarray, width: int) -> np.ndarray:
    """Take away what an erosion by a square leaves over; outside the picture there is nothing."""
    inside = ndimage.minimum_filter(mask, size=2 * width + 1, mode="constant", cval=False)
    return mask & ~inside


def surface_distances(predicted: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Measure how far each outline is from the other.

    Args:
        predicted: bool (H, W), not empty.
        truth: bool (H, W), not empty.

    Returns:
        For each pixel of the predicted outline the distance to the true one, and the other way round; in pixels.
    """
    rows, columns = ndimage.find_objects((predicted | truth).astype(np.uint8))[0]  # beyond, there is no outline
    ours, theirs = _outline(predicted[rows, columns]), _outline(truth[rows, columns])
    return ndimage.distance_transform_edt(~theirs)[ours], ndimage.distance_transform_edt(~ours)[theirs]


def _outline(mask: np.ndarray) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask)


def boundary_scores(predicted: np.ndarray, labels: np.ndarray, n_labels: int, tolerance: float = 2.0) -> np.ndarray:
    """Judge the outlines of every class in one picture.

    Args:
        predicted: (H, W), integer, 0 to n_labels - 1.
        labels: (H, W), integer, 0 to n_labels - 1, or 255 where a pixel does not count.
        n_labels: number of labels.
        tolerance: distance in pixels up to which an outline counts as met, for surface Dice.

    Returns:
        float64 (3, n_labels), in the order of `BOUNDARY_SCORES`: boundary IoU and surface Dice from 0 to 1, Hausdorff 95 in
        pixels. NaN where neither has the class. Where only one has it, the first two are 0 and the third is the picture's
        diagonal, the largest distance there can be: left out, a missed object would improve the mean.

    Raises:
        SegnbError: the shapes differ, or the tolerance is negative.
    """
    if predicted.shape != labels.shape:
        raise SegnbError(
            f"predicted is {predicted.shape} and labels {labels.shape}; both must be (H, W) of one picture."
        )
    if not tolerance >= 0:
        raise SegnbError(f"tolerance={tolerance!r}: give a distance in pixels, 0 or more.")
    diagonal = math.hypot(*labels.shape)
    width = max(1, round(BAND * diagonal))
    found = np.full((len(BOUNDARY_SCORES), n_labels), np.nan)
    predicted = np.where(labels == IGNORE, IGNORE, predicted)
    for label in np.union1d(predicted, labels):
        if label == IGNORE:
            continue
        ours, theirs = predicted == label, labels == label
        if not (ours.any() and theirs.any()):
            found[:, label] = 0, 0, diagonal
            continue
        there, back = surface_distances(ours, theirs)
        met = (there <= tolerance).sum() + (back <= tolerance).sum()
        farthest = max(np.percentile(there, 95), np.percentile(back, 95))
        found[:, label] = boundary_iou(ours, theirs, width), met / (len(there) + len(back)), farthest
    return found
