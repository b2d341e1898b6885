"""Presets: one size out, labels only from the mask, anatomy and scratches kept; as code they make the same pictures."""

from __future__ import annotations

import re

import albumentations as A
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segnb.data import SegmentationDataset, load_sample
from segnb.data.crops import BalancedCrop
from segnb.data.pipeline_code import as_code
from segnb.data.presets import PRESETS, preset
from segnb.data.transforms import check_transform, seed_transform
from segnb.errors import SegnbError

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (70, 90, 3), np.uint8)
MASK = np.kron(RNG.choice([0, 3, 7], (7, 9)), np.ones((10, 10))).astype(np.uint8)  # 1, 2, 4, 5, 6 would be blends

every_preset = pytest.mark.parametrize("name", PRESETS)


def run(pipeline, count=20, image=PHOTO, mask=MASK, seed=0):
    seed_transform(pipeline, seed)
    return [pipeline(image=image, mask=mask) for _ in range(count)]


@every_preset
@settings(max_examples=8)
@given(height=st.integers(8, 120), width=st.integers(8, 120), out=st.sampled_from([(48, 64), (64, 64), (96, 32)]))
def test_any_picture_comes_out_in_one_size_with_its_own_labels(name, height, width, out):
    image, mask = np.resize(PHOTO, (height, width, 3)), np.resize(MASK, (height, width))
    for found in run(preset(name, out), 5, image, mask):
        assert found["image"].shape == (*out, 3)
        assert found["mask"].shape == out
        assert (found["image"].dtype, found["mask"].dtype) == (np.uint8, np.uint8)
        assert set(np.unique(found["mask"])) <= {0, 3, 7, 255}


@every_preset
def test_works_in_a_data_set_with_grey_and_with_colour_pictures(name):
    check_transform(preset(name, (32, 32)))
    for sample, channels in (("lungs", 1), ("shapes", 3)):
        data = load_sample(sample)[0].with_transform(preset(name, (40, 56)))
        for i in range(6):
            image, labels = data[i]
            assert image.shape == (channels, 40, 56)
            assert labels.shape == (40, 56)


@pytest.mark.parametrize("name", ["light", "medical", "aerial", "industrial"])
def test_many_bands(name):
    bands = RNG.integers(0, 256, (70, 90, 6), np.uint8)
    assert all(found["image"].shape == (32, 32, 6) for found in run(preset(name, (32, 32)), image=bands))


@every_preset
def test_outside_of_the_picture_is_ignored(name):
    """A white picture of class 3: wherever black comes in, the label must not be 0 or 3, but 255."""
    white, mask = np.full((40, 40, 3), 255, np.uint8), np.full((40, 40), 3, np.uint8)
    seen = 0
    for found in run(preset(name, (64, 64)), 40, white, mask):
        assert set(np.unique(found["mask"])) <= {3, 255}
        black = found["image"].max(axis=2) < 30
        inside = cv2.erode(black.astype(np.uint8), np.ones((9, 9))).astype(bool)  # edges are blends of both
        assert (found["mask"][inside] == 255).all()
        seen += inside.any()
    assert seen > 5


@every_preset
def test_labels_follow_their_pixels(name):
    """The bright half is class 1 before and after."""
    image = np.full((80, 80, 3), 40, np.uint8)
    image[:, :40] = 200
    mask = (image[:, :, 0] > 128).astype(np.uint8)
    for found in run(preset(name, (64, 64)), 30, image, mask):
        brightness, labels = found["image"].mean(axis=2), found["mask"]
        medians = [np.median(brightness[labels == label]) for label in np.unique(labels) if label != 255]
        if len(medians) == 2:
            assert ((brightness > np.mean(medians)) == (labels == 1))[labels != 255].mean() > 0.93
            assert medians[1] > medians[0] + 20


def test_medical_never_mirrors():
    """Class 1 lies on the left, and stays there; the other presets mirror."""
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 4:24] = 1
    image = np.dstack([mask * 200] * 3)

    def sides(name):
        return {
            bool(np.nonzero(found["mask"] == 1)[1].mean() < 32)
            for found in run(preset(name, (64, 64)), 60, image, mask)
        }

    assert sides("medical") == {True}
    for name in ("light", "aerial", "industrial"):
        assert sides(name) == {True, False}


def test_medical_keeps_grey_values_plausible():
    """No picture gets brighter or darker by more than a fifth of the range."""
    image = np.full((64, 64, 1), 120, np.uint8)
    means = [
        found["image"][found["mask"] == 0].mean()
        for found in run(preset("medical", (64, 64)), 100, image, MASK[:64, :64] * 0)
    ]
    assert 120 - 51 < min(means) < 118
    assert 122 < max(means) < 120 + 51


def test_aerial_shows_all_eight_symmetries():
    mask = np.zeros((32, 32), np.uint8)
    mask[2:14, 2:6] = 1  # an L without any symmetry
    mask[2:5, 2:12] = 1
    symmetries = [np.rot90(turned, k) for turned in (mask, mask.T) for k in range(4)]
    found = [one["mask"] for one in run(preset("aerial", (32, 32)), 120, np.dstack([mask] * 3), mask)]
    assert all(any((one == symmetry).all() for one in found) for symmetry in symmetries)


def test_industrial_keeps_a_scratch_one_pixel_wide():
    image, mask = np.full((64, 64, 3), 90, np.uint8), np.zeros((64, 64), np.uint8)
    image[32, 8:56], mask[32, 8:56] = 250, 1
    for found in run(preset("industrial", (64, 64)), 60, image, mask):
        scratch = found["mask"] == 1
        assert scratch.sum() >= 40
        brightness = found["image"].mean(axis=2)
        assert brightness[scratch].mean() > brightness[found["mask"] == 0].mean() + 40


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: preset("lihgt", (8, 8)), "There is no preset 'lihgt'. Did you mean 'light'"),
        (lambda: preset("light", 256), "size=256: give (height, width) in pixels, such as (256, 256)."),
        (lambda: preset("light", (0, 8)), "size=(0, 8): give (height, width)"),
        (lambda: as_code(A.Compose([A.Lambda(image=np.negative)])), "Lambda cannot be written as code"),
        (lambda: as_code(lambda image, mask: {}), "function cannot be written as code: as_code knows the transforms"),
    ],
)
def test_refused(call, text):
    with pytest.raises(SegnbError, match=re.escape(text)):
        call()


# As code --------------------------------------------------------------------------------------------------------------


def executed(code):
    names = {}
    exec(code, names)
    return names["transform"]


def same_pictures(pipeline):
    again = executed(as_code(pipeline))
    assert as_code(again) == as_code(pipeline)
    for one, other in zip(run(pipeline, 12), run(again, 12), strict=True):
        assert (one["image"] == other["image"]).all()
        assert (one["mask"] == other["mask"]).all()


@every_preset
def test_the_printed_code_makes_the_same_pictures(name):
    same_pictures(preset(name, (48, 56)))


def test_the_code_of_light_reads_like_written_by_hand():
    assert as_code(preset("light", (256, 128))) == (
        "import albumentations as A\n"
        "\n"
        "transform = A.Compose([\n"
        "    A.RandomCrop(height=256, width=128, pad_if_needed=True, fill_mask=255.0),\n"
        "    A.HorizontalFlip(),\n"
        "    A.RandomBrightnessContrast(brightness_limit=(-0.1, 0.1), contrast_limit=(-0.1, 0.1)),\n"
        "])"
    )


def test_groups_constants_seeds_and_our_own_crop():
    pipeline = A.Compose(
        [
            A.SomeOf([A.HorizontalFlip(p=1), A.OneOf([A.VerticalFlip(), A.Transpose()], p=0.7)], n=1, replace=True),
            A.Sequential([A.Rotate((-30, 30), cv2.INTER_CUBIC, border_mode=cv2.BORDER_REFLECT_101)], p=0.9),
            BalancedCrop(32, 32, [1, 1, 1, 2, 1, 1, 1, 9]),
        ],
        seed=5,
    )
    code = as_code(pipeline)
    assert code.startswith(
        "import albumentations as A\nimport cv2\nfrom segnb.data.crops import BalancedCrop\n\ntransform = A.Compose([\n"
        "    A.SomeOf([\n        A.HorizontalFlip(p=1.0),\n        A.OneOf([\n            A.VerticalFlip(),\n"
    )
    for argument in ("limit=(-30.0, 30.0)", "interpolation=cv2.INTER_CUBIC", "border_mode=cv2.BORDER_REFLECT_101"):
        assert argument in code
    assert "BalancedCrop(height=32, width=32, class_weights=[1.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0, 9.0])" in code
    assert code.endswith("], seed=5)")
    same_pictures(pipeline)


def test_a_single_transform_is_written_too():
    assert as_code(A.HorizontalFlip(p=0.25)) == "import albumentations as A\n\ntransform = A.HorizontalFlip(p=0.25)"


def test_a_data_set_takes_the_executed_code():
    data = SegmentationDataset(
        [PHOTO], [MASK], [f"c{i}" for i in range(8)], executed(as_code(preset("heavy", (32, 32))))
    )
    assert data[0][0].shape == (3, 32, 32)
