"""Bootstrap intervals against resampling in a loop, and what they must do whatever the counts."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segnb.errors import SegnbError
from segnb.metrics.bootstrap import confidence_interval
from segnb.metrics.scores import get_score


def pictures(count, seed=0):
    """Counts (count, 4, 2) of a binary task in which the model does better in some pictures than in others."""
    random = np.random.default_rng(seed)
    hits = random.binomial(100, random.uniform(0.4, 0.9, count))
    wrong = random.binomial(100, 0.1, count)
    foreground = np.stack([hits, wrong, 100 - hits, 100 - wrong], axis=1)
    return np.stack([foreground[:, [3, 2, 1, 0]], foreground], axis=2)


def test_the_interval_equals_resampling_in_a_loop():
    counts, random = pictures(12), np.random.default_rng(5)
    scores = []
    for _ in range(4000):
        hits, false_alarms, misses, _ = counts[random.integers(0, 12, 12)].sum(0)
        scores.append((hits / (hits + false_alarms + misses)).mean())
    found = confidence_interval(counts, get_score("miou"), samples=4000)
    np.testing.assert_allclose(found, np.quantile(scores, [0.025, 0.975]), atol=0.005)


@given(st.integers(0, 1000))
def test_the_interval_covers_the_score_and_shrinks_with_more_pictures(seed):
    few, many = pictures(12, seed), pictures(300, seed)
    widths = []
    for counts in (few, many):
        low, high = confidence_interval(counts, get_score("miou"), samples=300)
        assert low <= get_score("miou")(torch.from_numpy(counts).sum(0)) <= high
        widths.append(high - low)
    assert widths[1] < widths[0]


def test_the_interval_of_each_class_level_and_seed():
    counts = np.concatenate([pictures(20), np.zeros((20, 4, 1), int)], axis=2)
    low, high = confidence_interval(counts, get_score("iou"))
    assert low.shape == high.shape == (3,)
    assert (low < high)[:2].all()
    assert np.isnan([low[2], high[2]]).all()  # a class that never occurs
    narrow = confidence_interval(counts, get_score("iou"), level=0.5)
    assert (narrow.low > low)[:2].all()
    assert (narrow.high < high)[:2].all()
    again = confidence_interval(counts, get_score("iou"))
    np.testing.assert_array_equal(again.low, low)
    assert confidence_interval(counts, get_score("iou"), seed=1).low[0] != low[0]


def test_one_picture_leaves_nothing_to_resample():
    low, high = confidence_interval(pictures(1), get_score("miou"))
    assert low == high


def test_interval_misfits_are_named():
    with pytest.raises(SegnbError, match=r"level=95: give a share between 0 and 1, such as 0\.95"):
        confidence_interval(pictures(3), get_score("miou"), level=95)
    with pytest.raises(SegnbError, match="samples=0: give how many times"):
        confidence_interval(pictures(3), get_score("miou"), samples=0)
    with pytest.raises(SegnbError, match=r"no score 'mIou'\. Did you mean 'miou'"):
        get_score("mIou")
