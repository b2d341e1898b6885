"""Calibration of predictors whose confidence is known."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segnb.errors import SegnbError
from segnb.metrics import CalibrationBins


def predictor(confidences, accuracies, pixels=1000):
    """Probabilities (1, 3, N, pixels) of a model as sure as told, and labels so that it is right as often as told."""
    rows, labels = [], []
    for confidence, accuracy in zip(confidences, accuracies, strict=True):
        rest = (1 - confidence) / 2
        rows.append(torch.tensor([rest, confidence, rest])[:, None].expand(3, pixels))
        labels.append((torch.arange(pixels) < round(accuracy * pixels)).long())  # 1 is right, 0 wrong
    return torch.stack(rows, dim=1)[None], torch.stack(labels)[None]


def by_hand(probabilities, labels, bins):
    """Expected calibration error by a loop over bins, as the paper writes it."""
    confidence, predicted = probabilities.max(1)
    counted = labels != 255
    confidence, right = confidence[counted].double().numpy(), (predicted == labels)[counted].numpy()
    error = 0.0
    for number in range(bins):
        inside = (confidence > number / bins) & (confidence <= (number + 1) / bins)
        if inside.any():
            error += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return error


def test_a_calibrated_predictor_has_no_error():
    bins = CalibrationBins()
    bins.update(*predictor([0.5, 0.7, 0.9, 1.0], [0.5, 0.7, 0.9, 1.0]))
    assert bins.error() == pytest.approx(0, abs=1e-6)


def test_an_overconfident_predictor_has_the_known_error():
    bins = CalibrationBins()
    bins.update(*predictor([0.95, 0.75], [0.60, 0.65]))
    assert bins.error() == pytest.approx((0.35 + 0.10) / 2, abs=1e-6)
    confidence, accuracy, share = bins.curve()
    np.testing.assert_allclose(confidence[[11, 14]], [0.75, 0.95], atol=1e-6)
    np.testing.assert_allclose(accuracy[[11, 14]], [0.65, 0.60])
    np.testing.assert_allclose(share[[11, 14]], 0.5)
    assert np.isnan(np.delete(confidence, [11, 14])).all()


@given(st.integers(0, 1000), st.integers(1, 20))
def test_equals_the_loop_for_any_batch_size_and_split(seed, bins):
    random = torch.Generator().manual_seed(seed)
    probabilities = (3 * torch.randn(6, 4, 5, 7, generator=random)).softmax(1)
    labels = torch.randint(0, 4, (6, 5, 7), generator=random)
    labels[torch.rand(labels.shape, generator=random) < 0.2] = 255
    whole, total = CalibrationBins(bins), CalibrationBins(bins)
    whole.update(probabilities, labels)
    for picture in range(6):
        part = CalibrationBins(bins)
        part.update(probabilities[picture : picture + 1], labels[picture : picture + 1])
        total = total + part
    assert torch.equal(whole.sums, total.sums)
    assert whole.error() == pytest.approx(by_hand(probabilities, labels, bins), abs=1e-6)


def test_a_binary_model_is_sure_of_the_background_too():
    bins = CalibrationBins(10)
    bins.update(torch.tensor([0.05, 0.05, 0.95, 0.95])[None, None, None], torch.tensor([[[0, 1, 1, 255]]]))
    confidence, accuracy, _ = bins.curve()
    assert confidence[9] == pytest.approx(0.95)
    assert accuracy[9] == pytest.approx(2 / 3)


def test_nothing_counted_has_no_error():
    bins = CalibrationBins()
    bins.update(torch.full((1, 2, 1, 2), 0.5), torch.full((1, 1, 2), 255))
    assert math.isnan(bins.error())


def test_the_figure_shows_the_curve():
    bins = CalibrationBins()
    bins.update(*predictor([0.95, 0.75], [0.60, 0.65]))
    upper, lower = bins.plot().axes
    assert upper.get_title(loc="left") == "expected calibration error 0.225"
    np.testing.assert_allclose(upper.lines[1].get_xydata(), [[0.75, 0.65], [0.95, 0.60]], atol=1e-6)
    assert sum(bar.get_height() for bar in lower.patches) == pytest.approx(1)


def test_calibration_misfits_are_named():
    with pytest.raises(SegnbError, match="bins=0: give the number of bins"):
        CalibrationBins(0)
    with pytest.raises(SegnbError, match="10 and 15 bins cannot be added"):
        CalibrationBins(10) + CalibrationBins()
    with pytest.raises(SegnbError, match=r"shape \(1, 2, 3, 4\) and labels \(1, 4, 3\); expected \(B, K, H, W\)"):
        CalibrationBins().update(torch.zeros(1, 2, 3, 4), torch.zeros(1, 4, 3))
