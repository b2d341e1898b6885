"""The confusion matrix against counting by hand and against scikit-learn on flattened pixels."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from segnb.errors import SegnbError
from segnb.metrics import ConfusionMatrix, MultilabelConfusionMatrix


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


@given(st.integers(0, 1000), st.integers(2, 9))
def test_equals_scikit_learn_on_flattened_pixels(seed, n_labels):
    predicted, labels = random_maps(seed, n_labels, batch=1)
    predicted[predicted == 1] = 0  # one label that is never predicted
    matrix = ConfusionMatrix(n_labels)
    matrix.update(predicted, labels)
    truth, guess = labels[labels != 255].numpy(), predicted[labels != 255].numpy()
    assert matrix.matrix.tolist() == sklearn.confusion_matrix(truth, guess, labels=range(n_labels)).tolist()
    present = np.union1d(truth, guess)
    options = {"y_true": truth, "y_pred": guess, "zero_division": 0}
    references = {
        matrix.iou: sklearn.jaccard_score,
        matrix.dice: sklearn.f1_score,
        matrix.precision: sklearn.precision_score,
        matrix.recall: sklearn.recall_score,
    }
    for score, reference in references.items():
        np.testing.assert_allclose(score()[present], reference(**options, labels=present, average=None))
        assert np.isnan(np.delete(score().numpy(), present)).all()
        for average in ("macro", "weighted", "micro"):
            assert score(average) == pytest.approx(reference(**options, average=average))
    for beta in (0.5, 2):
        np.testing.assert_allclose(
            matrix.f_beta(beta)[present], sklearn.fbeta_score(**options, beta=beta, labels=present, average=None)
        )
    assert matrix.accuracy() == pytest.approx(sklearn.accuracy_score(truth, guess))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of labels that are predicted but never true
        assert matrix.mean_accuracy() == pytest.approx(sklearn.balanced_accuracy_score(truth, guess))


@given(st.integers(0, 1000), st.integers(1, 5))
def test_the_sum_over_processes_is_the_whole(seed, processes):
    predicted, labels = random_maps(seed, 4, batch=6)
    whole, total = ConfusionMatrix(4), ConfusionMatrix(4)
    whole.update(predicted, labels)
    for process in range(processes):
        part = ConfusionMatrix(4)
        for picture in range(process, 6, processes):
            part.update(predicted[picture : picture + 1], labels[picture : picture + 1])
        total = total + part
    assert torch.equal(whole.matrix, total.matrix)
    assert whole.frequency_weighted_iou() == total.frequency_weighted_iou()


def test_each_picture_has_its_own_matrix():
    predicted, labels = random_maps(0, 3)
    found = ConfusionMatrix(3).update(predicted, labels)
    assert found.tolist() == [count(*one, 3).tolist() for one in zip(predicted, labels, strict=True)]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_all_255_labels_have_their_own_place(dtype):
    labels = torch.arange(256)[None]
    matrix = ConfusionMatrix(255)
    matrix.update(labels.clamp(max=254).to(dtype), labels.to(dtype))
    assert torch.equal(matrix.matrix, torch.eye(255, dtype=torch.int64))


def test_more_scores_by_hand():
    matrix = ConfusionMatrix(4)
    matrix.matrix += torch.tensor([[3, 1, 0, 0], [1, 1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]])
    assert matrix.counts().tolist() == [[3, 1, 0, 0], [3, 1, 0, 0], [1, 1, 2, 0], [1, 5, 6, 8]]
    np.testing.assert_allclose(matrix.precision(), [3 / 6, 1 / 2, 0, np.nan])  # a class given up on has precision 0
    np.testing.assert_allclose(matrix.recall(), [3 / 4, 1 / 2, 0, np.nan])
    np.testing.assert_allclose(matrix.specificity(), [1 / 4, 5 / 6, 1, np.nan])
    np.testing.assert_allclose(
        matrix.f_beta(2), [15 / 22, 5 / 10, 0, np.nan]
    )  # 5·3 / (5·3 + 4·1 + 3), 5·1 / (5·1 + 4·1 + 1)
    assert matrix.frequency_weighted_iou() == pytest.approx((4 * 3 / 7 + 2 * 1 / 3 + 2 * 0) / 8)
    assert matrix.mean_accuracy() == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)


def test_a_class_that_is_never_true_but_predicted_counts_as_zero_and_not_for_mean_accuracy():
    matrix = ConfusionMatrix(2)
    matrix.update(torch.tensor([0, 0, 1]), torch.tensor([0, 0, 0]))
    assert matrix.recall().tolist() == [2 / 3, 0]
    assert matrix.mean_accuracy() == pytest.approx(2 / 3)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_a_perfect_prediction_scores_one_under_every_reduction(labels):
    truth = torch.tensor([*labels, 255])
    matrix = ConfusionMatrix(5)
    matrix.update(torch.tensor([*labels, 3]), truth)
    for score in (matrix.iou, matrix.dice, matrix.precision, matrix.recall):
        assert {score(average) for average in ("macro", "weighted", "micro")} == {1.0}
        assert set(score()[matrix.recall().isfinite()].tolist()) == {1.0}
    if len(set(labels)) > 1:  # of a single class, there is no pixel of another
        assert {matrix.specificity(average) for average in ("macro", "weighted", "micro")} == {1.0}
    assert (matrix.miou(), matrix.frequency_weighted_iou()) == (1.0, 1.0)
    assert (matrix.accuracy(), matrix.mean_accuracy()) == (1.0, 1.0)


@given(st.integers(0, 1000), st.integers(1, 4))
def test_multilabel_equals_scikit_learn_class_by_class(seed, n_labels):
    random = np.random.default_rng(seed)
    predicted, truth = random.integers(0, 2, (2, 3, n_labels, 4, 5))
    labels = np.where(random.random(truth.shape) < 0.2, 255, truth)
    matrix = MultilabelConfusionMatrix(n_labels)
    for picture in range(3):
        matrix.update(*(torch.from_numpy(array[picture : picture + 1]) for array in (predicted, labels)))
    for label in range(n_labels):
        counted = labels[:, label] != 255
        pair = truth[:, label][counted], predicted[:, label][counted]
        assert matrix.matrix[label].tolist() == sklearn.confusion_matrix(*pair, labels=[0, 1]).tolist()
        assert matrix.iou()[label].item() == pytest.approx(sklearn.jaccard_score(*pair))
        assert matrix.specificity()[label].item() == pytest.approx(sklearn.recall_score(*pair, pos_label=0))
    counted = labels != 255
    assert matrix.accuracy() == pytest.approx((predicted == labels)[counted].mean())
    assert matrix.dice("micro") == pytest.approx(sklearn.f1_score(truth[counted], predicted[counted]))


def test_multilabel_sums_and_refuses():
    one, two = MultilabelConfusionMatrix(2), MultilabelConfusionMatrix(2)
    one.update(torch.tensor([[[[1]], [[0]]]]), torch.tensor([[[[1]], [[1]]]]))
    assert (one + one).matrix.tolist() == [[[0, 0], [0, 2]], [[0, 0], [2, 0]]]
    np.testing.assert_allclose(one.iou(), [1, 0])
    with pytest.raises(SegnbError, match=r"labels have shape \(1, 3, 1, 1\) but the matrix has 2 classes"):
        two.update(torch.zeros(1, 3, 1, 1), torch.zeros(1, 3, 1, 1))
    with pytest.raises(SegnbError, match="found label 2 but"):
        two.update(torch.full((1, 2, 1, 1), 2), torch.zeros(1, 2, 1, 1))
    with pytest.raises(SegnbError, match="cannot be added; both must be of one kind"):
        one + ConfusionMatrix(2)


def test_sums_and_averages_that_make_no_sense_are_refused():
    with pytest.raises(SegnbError, match=r"ConfusionMatrix\(2 labels, 0 counted\) and ConfusionMatrix\(3 labels"):
        ConfusionMatrix(2) + ConfusionMatrix(3)
    with pytest.raises(SegnbError, match="average='mean': give 'macro', 'weighted' or 'micro'"):
        ConfusionMatrix(2).iou("mean")
    with pytest.raises(SegnbError, match="256 labels: give 1 to 255"):
        ConfusionMatrix(256)
