"""The confusion matrix against counting by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segnb.errors import SegnbError
from segnb.metrics import ConfusionMatrix


def count(predicted, labels, n_labels):
    """The same by hand: a loop over pixels."""
    matrix = np.zeros((n_labels, n_labels), np.int64)
    for guess, truth in zip(predicted.flatten().tolist(), labels.flatten().tolist(), strict=True):
        if truth != 255:
            matrix[truth, guess] += 1
    return matrix


def random_maps(seed, n_labels, batch=3):
    random = torch.Generator().manual_seed(seed)
    predicted = torch.randint(0, n_labels, (batch, 5, 7), generator=random)
    labels = torch.randint(0, n_labels, (batch, 5, 7), generator=random)
    labels[torch.rand(labels.shape, generator=random) < 0.2] = 255
    return predicted, labels


@given(st.integers(0, 1000), st.integers(1, 9))
def test_equals_counting_by_hand(seed, n_labels):
    predicted, labels = random_maps(seed, n_labels)
    matrix = ConfusionMatrix(n_labels)
    matrix.update(predicted.to(torch.uint8), labels)
    assert matrix.matrix.tolist() == count(predicted, labels, n_labels).tolist()


@given(st.integers(0, 1000), st.integers(1, 6))
def test_scores_do_not_depend_on_the_batch_size(seed, batch_size):
    predicted, labels = random_maps(seed, 4, batch=6)
    whole, parts = ConfusionMatrix(4), ConfusionMatrix(4)
    whole.update(predicted, labels)
    for start in range(0, 6, batch_size):
        parts.update(predicted[start : start + batch_size], labels[start : start + batch_size])
    assert torch.equal(whole.matrix, parts.matrix)
    assert whole.miou() == parts.miou()


def test_scores_by_hand():
    matrix = ConfusionMatrix(3)
    truth = torch.tensor([0, 0, 0, 0, 1, 1, 255, 255])
    guess = torch.tensor([0, 0, 0, 1, 1, 0, 0, 2])  # what stands on ignored pixels does not count
    matrix.update(guess, truth)
    assert matrix.matrix.tolist() == [[3, 1, 0], [1, 1, 0], [0, 0, 0]]  # rows are the truth
    np.testing.assert_allclose(matrix.iou(), [3 / 5, 1 / 3, np.nan])  # label 2 is absent: no score
    np.testing.assert_allclose(matrix.dice(), [6 / 8, 2 / 4, np.nan])
    assert matrix.miou() == pytest.approx((3 / 5 + 1 / 3) / 2)
    assert matrix.accuracy() == pytest.approx(4 / 6)


def test_perfect_is_one_and_a_false_alarm_is_zero():
    matrix = ConfusionMatrix(4)
    matrix.update(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 1]))
    assert (matrix.miou(), matrix.accuracy()) == (1.0, 1.0)
    matrix.update(torch.tensor([3]), torch.tensor([0]))
    np.testing.assert_allclose(matrix.iou(), [1 / 2, 1, np.nan, 0])


def test_nothing_counted_is_nan():
    matrix = ConfusionMatrix(2)
    matrix.update(torch.tensor([0, 1]), torch.tensor([255, 255]))
    assert matrix.matrix.sum() == 0
    assert math.isnan(matrix.miou())
    assert math.isnan(matrix.accuracy())


@pytest.mark.parametrize(
    ("predicted", "labels", "message"),
    [
        ([0, 3], [0, 1], "found label 3 but the confusion matrix has 2 labels"),
        ([0, 1], [0, 2], "found label 2 but"),
        ([0, 1], [0, -1], "found label -1 but"),
        ([0, 255], [0, 1], "found label 255 but"),
        ([0, 1, 1], [0, 1], r"predicted has shape \(3,\) and labels \(2,\).*argmax"),
    ],
)
def test_misfits_are_named(predicted, labels, message):
    matrix = ConfusionMatrix(2)
    with pytest.raises(SegnbError, match=message):
        matrix.update(torch.tensor(predicted), torch.tensor(labels))
    assert matrix.matrix.sum() == 0
