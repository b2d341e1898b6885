"""Splits: complete, disjoint, repeatable, whole groups, every class on both sides, the same shares."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segnb.data import SegmentationDataset
from segnb.data.splits import k_fold, split
from segnb.errors import SegnbError

LABELS = 4
PICTURES = st.lists(st.sets(st.integers(0, LABELS - 1), min_size=1), min_size=2, max_size=30)


def showing(pictures):
    """A data set in which picture i shows the labels pictures[i]."""
    masks = [np.resize(np.array(sorted(labels), np.uint8), (2, 4)) for labels in pictures]
    return SegmentationDataset([np.zeros((2, 4, 3), np.uint8)] * len(masks), masks, [f"c{i}" for i in range(LABELS)])


def shown(data):
    return set().union(*(np.unique(data.read(i)[1]).tolist() for i in range(len(data))))


def count(data, label):
    return sum(label in data.read(i)[1] for i in range(len(data)))


@given(PICTURES, st.floats(0.05, 0.95), st.booleans(), st.integers(0, 5))
def test_a_split_is_complete_disjoint_exact_and_repeatable(pictures, share, stratify, seed):
    data = showing(pictures)
    train, valid = split(data, share, stratify=stratify, seed=seed)
    assert sorted(train.names + valid.names) == data.names
    assert len(valid) == min(max(round(share * len(data)), 1), len(data) - 1)
    assert train.names == sorted(train.names)
    again = split(data, share, stratify=stratify, seed=seed)
    assert [part.names for part in again] == [train.names, valid.names]


def test_another_seed_is_another_split():
    data = showing([{0, 1}] * 30)
    assert len({tuple(split(data, seed=seed)[1].names) for seed in range(5)}) == 5
    assert len({tuple(split(data, seed=seed, stratify=False)[1].names) for seed in range(5)}) == 5


def possible(pictures, size):
    """Whether some split with ``size`` pictures for validation shows each class that two pictures have on both sides."""
    wanted = {label for label in range(LABELS) if sum(label in picture for picture in pictures) >= 2}
    for valid in itertools.combinations(range(len(pictures)), size):
        sides = [set().union(*(p for i, p in enumerate(pictures) if (i in valid) == side)) for side in (True, False)]
        if wanted <= sides[0] & sides[1]:
            return True
    return False


@given(st.lists(st.sets(st.integers(0, LABELS - 1), min_size=1, max_size=2), min_size=2, max_size=9), st.integers(0, 3))
def test_each_class_is_on_both_sides_where_that_is_possible(pictures, seed):
    train, valid = split(showing(pictures), 0.4, seed=seed)
    if possible(pictures, len(valid)):
        for label in range(LABELS):
            if sum(label in picture for picture in pictures) >= 2:
                assert label in shown(train) & shown(valid)


@given(st.lists(st.integers(0, LABELS - 1), min_size=20, max_size=40), st.integers(0, 3))
def test_with_one_class_a_picture_all_are_on_both_sides(labels, seed):
    data = showing([{label} for label in labels])
    train, valid = split(data, 0.2, seed=seed)
    for label in range(LABELS):
        assert (label in shown(valid)) == (labels.count(label) >= 2)
        assert (label in shown(train)) == (labels.count(label) >= 1)


def test_classes_keep_their_share():
    pictures = [{0}] * 40 + [{0, 1}] * 40 + [{0, 2}] * 10 + [{0, 2, 3}] * 10
    train, valid = split(showing(pictures), 0.2)
    assert [count(valid, label) for label in range(LABELS)] == [20, 8, 4, 2]
    assert [count(train, label) for label in range(LABELS)] == [80, 32, 16, 8]


def test_stratified_beats_random():
    pictures = [{0}] * 95 + [{0, 3}] * 5
    missed = [3 not in shown(split(showing(pictures), 0.2, stratify=False, seed=seed)[1]) for seed in range(20)]
    assert any(missed)
    assert all(3 in shown(split(showing(pictures), 0.2, seed=seed)[1]) for seed in range(20))


@given(PICTURES, st.data(), st.sampled_from([0.1, 0.3, 0.5]), st.booleans())
def test_groups_stay_whole(pictures, draw, share, stratify):
    data = showing(pictures)
    groups = draw.draw(st.lists(st.sampled_from("abcdefg"), min_size=len(data), max_size=len(data)))
    if len(set(groups)) < 2:
        with pytest.raises(SegnbError, match="1 groups cannot be split into 2 parts"):
            split(data, share, groups=groups, stratify=stratify)
        return
    train, valid = split(data, share, groups=groups, stratify=stratify)
    group_of = dict(zip(data.names, groups, strict=True))
    assert not {group_of[name] for name in train.names} & {group_of[name] for name in valid.names}
    assert sorted(train.names + valid.names) == data.names
    assert len(train) > 0
    assert len(valid) > 0


def test_groups_come_near_to_the_share():
    groups = np.repeat(range(20), range(1, 21))  # 210 pictures
    data = showing([{0, 1}] * len(groups))
    for seed in range(5):
        _, valid = split(data, 0.2, groups=groups.tolist(), seed=seed)
        assert abs(len(valid) - 42) <= 2


def test_one_group_larger_than_training_can_hold():
    _, valid = split(showing([{0}] * 20), 0.2, groups=["a"] * 10 + ["b"] * 10)
    assert len(valid) == 10


@given(PICTURES, st.integers(2, 6), st.booleans())
def test_every_picture_is_in_one_fold(pictures, k, stratify):
    data = showing(pictures)
    if len(data) < k:
        with pytest.raises(SegnbError, match=f"{len(data)} images cannot be split into {k} parts"):
            k_fold(data, k, stratify=stratify)
        return
    folds = k_fold(data, k, stratify=stratify)
    assert len(folds) == k
    assert sorted(name for _, valid in folds for name in valid.names) == data.names
    for train, valid in folds:
        assert sorted(train.names + valid.names) == data.names
    assert {len(valid) for _, valid in folds} <= {len(data) // k, -(-len(data) // k)}


def test_folds_share_out_a_rare_class():
    pictures = [{0}] * 45 + [{0, 3}] * 5
    assert [count(valid, 3) for _, valid in k_fold(showing(pictures), 5)] == [1] * 5
    pictures = [{0}] * 47 + [{0, 3}] * 3
    assert sorted(count(valid, 3) for _, valid in k_fold(showing(pictures), 5)) == [0, 0, 1, 1, 1]


def test_folds_keep_groups_whole():
    data, groups = showing([{0, 1}] * 30), [i // 3 for i in range(30)]
    for train, valid in k_fold(data, 5, groups=groups):
        assert len(valid) == 6
        assert not {int(name) // 3 for name in train.names} & {int(name) // 3 for name in valid.names}


def test_ignored_pixels_are_no_class():
    masks = [np.full((2, 4), 255, np.uint8), np.zeros((2, 4), np.uint8)] * 4
    data = SegmentationDataset([np.zeros((2, 4, 3), np.uint8)] * 8, masks, ["a", "b"])
    train, valid = split(data, 0.25)
    assert count(valid, 0) == 1
    assert count(train, 0) == 3


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda data: split(data, 0), "valid=0: give the share of pictures to validate on, such as 0.2 for a fifth."),
        (lambda data: split(data, 5), "valid=5: give the share"),
        (lambda data: split(data, groups=["a"]), "1 groups for 4 images: give one group for each image."),
        (lambda data: split(data.subset([0])), "1 images cannot be split into 2 parts: give more, or fewer parts."),
        (lambda data: k_fold(data, 1), "k=1: cross-validation needs at least 2 folds."),
    ],
)
def test_refused(call, text):
    with pytest.raises(SegnbError, match=re.escape(text)):
        call(showing([{0}] * 4))
