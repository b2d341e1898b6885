"""BalancedCrop: always shows the class thrown, as often as its weight says, and never invents a label."""

from __future__ import annotations

import re
from collections import Counter

import albumentations as A
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segnb.data import SegmentationDataset
from segnb.data.crops import BalancedCrop
from segnb.data.transforms import seed_transform
from segnb.errors import SegnbError

RARE = np.zeros((60, 80), np.uint8)
RARE[:, 40:] = 1
RARE[7, 13] = 2  # one pixel in 4800
PHOTO = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


def crops(mask, image=PHOTO, count=200, seed=0, **options):
    crop = BalancedCrop(16, 24, **options)
    seed_transform(crop, seed)
    return [crop(image=image, mask=mask) for _ in range(count)]


def test_a_pixel_in_4800_is_in_every_third_crop():
    shown = Counter(label for found in crops(RARE, count=900) for label in np.unique(found["mask"]).tolist())
    assert 260 <= shown[2] <= 340
    plain = A.RandomCrop(16, 24)
    seed_transform(plain, 0)
    assert sum(2 in plain(image=PHOTO, mask=RARE)["mask"] for _ in range(900)) < 150


def test_weights_say_how_often():
    assert all(2 in found["mask"] for found in crops(RARE, class_weights=[0, 0, 1]))
    shown = sum(2 in found["mask"] for found in crops(RARE, count=1000, class_weights=[1, 0, 3]))
    assert 710 <= shown <= 800  # three times in four, and by luck around other pixels


def test_the_pixel_is_anywhere_in_the_crop():
    """Every place in the crop that the border allows, and each about as often."""
    mask = np.zeros((60, 80), np.uint8)
    mask[30, 40] = 1
    places = np.array([np.argwhere(found["mask"] == 1)[0] for found in crops(mask, count=2000, class_weights=[0, 1])])
    assert set(places[:, 0]) == set(range(16))
    assert set(places[:, 1]) == set(range(24))
    assert np.abs(places.mean(axis=0) - [7.5, 11.5]).max() < 0.6


@given(st.integers(0, 59), st.integers(0, 79), st.integers(0, 9))
def test_image_and_mask_are_cut_at_one_place(row, column, seed):
    mask = np.zeros((60, 80), np.uint8)
    mask[row, column] = 1
    found = crops(mask, np.dstack([mask * 200] * 3), count=1, seed=seed, class_weights=[0, 1])[0]
    assert found["mask"].shape == (16, 24)
    assert found["mask"].sum() == 1
    assert (found["image"] == found["mask"][:, :, None] * 200).all()


@given(st.integers(1, 20), st.integers(1, 30))
def test_small_pictures_are_padded_and_the_padding_is_ignored(height, width):
    mask, image = np.ones((height, width), np.uint8), np.full((height, width, 3), 9, np.uint8)
    found = crops(mask, image, count=1)[0]
    assert found["mask"].shape == (16, 24)
    assert found["image"].shape == (16, 24, 3)
    assert (found["mask"] == 1).sum() == min(height, 16) * min(width, 24)
    assert ((found["mask"] == 255) == (found["image"] == 0).all(axis=2)).all()
    assert set(np.unique(found["mask"])) <= {1, 255}


def test_nothing_to_find_is_cropped_anywhere():
    places = {found["image"].tobytes() for found in crops(np.full((60, 80), 255, np.uint8), count=20)}
    assert len(places) > 15
    assert len(crops(RARE * 0, count=1, class_weights=[0, 1, 1])) == 1


def test_in_a_data_set_and_repeatable():
    pipeline = A.Compose([BalancedCrop(16, 24, [1, 1, 1]), A.HorizontalFlip()])
    data = SegmentationDataset([PHOTO] * 3, [RARE] * 3, ["a", "b", "c"], pipeline)

    def epoch():
        data.seed(7)
        return [data[i] for i in range(3)]

    for (image, labels), (image_again, labels_again) in zip(epoch(), epoch(), strict=True):
        assert image.shape == (3, 16, 24)
        assert (image == image_again).all()
        assert (labels == labels_again).all()


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1], [1, float("nan")]])
def test_weights_refused(weights):
    with pytest.raises(SegnbError, match="give one number from 0 for each label, and not only zeros"):
        BalancedCrop(8, 8, weights)


def test_a_label_without_weight_is_named():
    with pytest.raises(SegnbError, match=re.escape("label 2 but has 2 class_weights: give one for each label")):
        crops(RARE, class_weights=[1, 1])
