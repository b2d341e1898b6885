"""Boundary scores on shapes whose answer is known, against loops over pixels, and against MONAI."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segnb.errors import SegnbError
from segnb.metrics import boundary_iou, boundary_scores, surface_distances


def square(left, size=5, top=6, shape=(20, 24)):
    mask = np.zeros(shape, bool)
    mask[top : top + size, left : left + size] = True
    return mask


def blobs(seed, shape=(12, 14)):
    """Two ragged masks that are not empty."""
    random = np.random.default_rng(seed)
    masks = random.random((2, *shape)) < random.uniform(0.1, 0.9)
    masks[:, 3, 4] = True
    return masks


def outline(mask):
    """The pixels of a mask with a side at something else, by a loop."""
    height, width = mask.shape
    sides = ((0, 1), (1, 0), (0, -1), (-1, 0))
    return [
        (y, x)
        for y, x in itertools.product(range(height), range(width))
        if mask[y, x]
        and not all(0 <= y + dy < height and 0 <= x + dx < width and mask[y + dy, x + dx] for dy, dx in sides)
    ]


def nearest(points, others):
    return [min(math.dist(point, other) for other in others) for point in points]


def band(mask, width):
    """The pixels of a mask with something else, or the outside of the picture, within a square of pixels."""
    padded = np.pad(mask, width)
    return {
        (y, x)
        for y, x in zip(*np.nonzero(mask), strict=True)
        if not padded[y : y + 2 * width + 1, x : x + 2 * width + 1].all()
    }


def test_a_square_moved_by_three_pixels():
    truth, moved = square(4), square(7)
    there, back = surface_distances(moved, truth)
    assert len(there) == len(back) == 16
    assert there.max() == back.max() == 3
    scores = boundary_scores(moved.astype(int), truth.astype(int), 2, tolerance=3)
    # 95 % of 16 distances: at least the five pixels of the far side are 3 pixels away
    np.testing.assert_allclose(scores[1:, 1], [1, 3])
    exact = boundary_scores(moved.astype(int), truth.astype(int), 2, tolerance=0)
    assert exact[1, 1] == pytest.approx(2 * 4 / 32)  # outlines share two pixels of the upper side and two of the lower


def test_boundary_iou_by_hand():
    # Rings of width 1 of two squares of 5 pixels, side by side and overlapping in 2 columns: 16 + 16 - 4 pixels in all
    assert boundary_iou(square(4), square(7), width=1) == pytest.approx(4 / 28)
    assert boundary_iou(square(4), square(4), width=1) == 1
    assert math.isnan(boundary_iou(np.zeros((3, 3), bool), np.zeros((3, 3), bool), width=1))


def test_boundary_iou_sees_what_iou_does_not():
    truth, grown = square(10, 80, 10, (100, 100)), square(9, 82, 9, (100, 100))
    assert (truth & grown).sum() / (truth | grown).sum() > 0.95
    assert boundary_iou(grown, truth, width=2) == pytest.approx((80**2 - 78**2) / (82**2 - 76**2))


@given(st.integers(0, 1000), st.integers(1, 4))
def test_boundary_iou_equals_the_loop(seed, width):
    predicted, truth = blobs(seed)
    ours, theirs = band(predicted, width), band(truth, width)
    assert boundary_iou(predicted, truth, width) == pytest.approx(len(ours & theirs) / len(ours | theirs))


@given(st.integers(0, 1000))
def test_distances_equal_the_loop(seed):
    predicted, truth = blobs(seed)
    ours, theirs = outline(predicted), outline(truth)
    there, back = surface_distances(predicted, truth)
    np.testing.assert_allclose(there, nearest(ours, theirs))
    np.testing.assert_allclose(back, nearest(theirs, ours))


def test_equals_monai():
    monai = pytest.importorskip("monai.metrics")
    for seed, tolerance in itertools.product(range(10), (0.0, 1.0, 2.5)):
        predicted, truth = blobs(seed, (25, 31))
        ours, theirs = (torch.from_numpy(mask)[None, None].float() for mask in (predicted, truth))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            farthest = monai.compute_hausdorff_distance(ours, theirs, include_background=True, percentile=95)
            dice = monai.compute_surface_dice(ours, theirs, [tolerance], include_background=True)
        found = boundary_scores(predicted.astype(int), truth.astype(int), 2, tolerance)
        np.testing.assert_allclose(found[1:, 1], [dice.item(), farthest.item()], rtol=1e-6)


def test_perfect_absent_and_missed_classes():
    labels = np.zeros((30, 40), int)
    labels[5:15, 5:15] = 1
    labels[20:25, 20:25] = 2
    predicted = np.where(labels == 2, 3, labels)
    scores = boundary_scores(predicted, labels, 5)
    np.testing.assert_allclose(scores[:, 0], [1, 1, 0])
    np.testing.assert_allclose(scores[:, 1], [1, 1, 0])
    np.testing.assert_allclose(scores[:, 2], [0, 0, 50])  # missed: as far as the diagonal of 30 × 40
    np.testing.assert_allclose(scores[:, 3], [0, 0, 50])  # a false alarm
    assert np.isnan(scores[:, 4]).all()


def test_ignored_pixels_do_not_count():
    labels = square(4).astype(int)
    predicted = labels.copy()
    labels[:, 15:] = 255
    predicted[3:9, 17:20] = 1
    np.testing.assert_allclose(boundary_scores(predicted, labels, 2)[:, 1], [1, 1, 0])
    assert np.isnan(boundary_scores(predicted, np.full_like(labels, 255), 2)).all()


def test_the_band_is_two_per_cent_of_the_diagonal():
    truth = square(20, 200, 20, (300, 400))  # diagonal 500, band of 10 pixels
    grown = square(19, 202, 19, (300, 400))
    found = boundary_scores(grown.astype(int), truth.astype(int), 2)[0, 1]
    assert found == pytest.approx((200**2 - 182**2) / (202**2 - 180**2))


def test_misfits_are_named():
    with pytest.raises(SegnbError, match=r"predicted is \(2, 2\) and labels \(2, 3\)"):
        boundary_scores(np.zeros((2, 2), int), np.zeros((2, 3), int), 2)
    with pytest.raises(SegnbError, match="tolerance=-1: give a distance in pixels"):
        boundary_scores(np.zeros((2, 2), int), np.zeros((2, 2), int), 2, tolerance=-1)
