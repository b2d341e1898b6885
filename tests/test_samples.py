"""The samples draw themselves: always the same, at any size, with exact masks and the problems they promise."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segnb.data.samples import SCENES, draw_sample
from segnb.data.samples.canvas import Canvas, fractal_noise, photograph
from segnb.data.samples.street.view import CLASSES as STREET
from segnb.data.samples.writing import FIRST_SEED, shipped_seeds, write_about
from segnb.errors import SegnbError
from segnb.files import resource

NAMES = list(SCENES)
SHIPPED = resource("data_samples")
PARTS = list(FIRST_SEED)


def shipped(name, part, kind):
    """All shipped pictures or masks of one part, in order."""
    files = sorted((SHIPPED / name / part / kind).iterdir())
    return [np.array(Image.open(file)) for file in files]


def share(masks, label):
    """Share of the pixels that bear a label."""
    return float(np.mean(np.stack(masks) == label))


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_always_gives_the_same_pixels_and_another_seed_gives_others(name):
    picture, labels = draw_sample(name, 7, (64, 80))
    again, labels_again = draw_sample(name, 7, (64, 80))
    other, _ = draw_sample(name, 8, (64, 80))
    assert np.array_equal(picture, again)
    assert np.array_equal(labels, labels_again)
    assert np.mean(picture != other) > 0.3


@settings(max_examples=4, deadline=None)
@given(height=st.integers(32, 160), width=st.integers(32, 160), seed=st.integers(0, 10**6))
@pytest.mark.parametrize("name", NAMES)
def test_any_size_gives_a_picture_and_labels_within_the_classes(name, height, width, seed):
    picture, labels = draw_sample(name, seed, (height, width))
    channels = () if SCENES[name].in_channels == 1 else (3,)
    assert picture.shape == (height, width, *channels)
    assert labels.shape == (height, width)
    assert picture.dtype == labels.dtype == np.uint8
    assert labels.max() < len(SCENES[name].classes)
    assert picture.std() > 4


def test_things_grow_with_the_picture():
    small, large = (draw_sample("street", 3, size)[1] for size in ((96, 144), (192, 288)))
    for label in range(len(STREET)):
        assert np.mean(large == label) == pytest.approx(np.mean(small == label), abs=0.03)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("stret", 0), "There is no sample called 'stret'. Did you mean 'street'?"),
        (("cells", -1), "seed = -1: give 0 or a larger whole number."),
        (("cells", 0, (8, 64)), "A sample of size (8, 64) is too small: give at least 16 by 16 pixels."),
    ],
)
def test_bad_arguments_get_one_clear_sentence(arguments, message):
    with pytest.raises(SegnbError) as error:
        draw_sample(*arguments)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_files_are_what_the_generator_draws(name):
    for part in PARTS:
        pictures, masks = shipped(name, part, "images"), shipped(name, part, "masks")
        seeds = shipped_seeds(name, part)
        assert len(pictures) == len(masks) == len(seeds) == SCENES[name].counts[part]
        for index in (0, len(seeds) - 1):
            picture, labels = draw_sample(name, seeds[index])
            assert np.mean(masks[index] != labels) <= 1e-3  # another CPU may round an edge differently
            error = np.abs(pictures[index].astype(int) - picture).mean()
            assert error <= (0.05 if SCENES[name].suffix == ".png" else 10)  # another picture would be 40 away or more


@pytest.mark.parametrize("name", NAMES)
def test_every_class_is_in_train_and_in_valid_and_no_other(name):
    for part in PARTS:
        masks = shipped(name, part, "masks")
        assert {mask.ndim for mask in masks} == {2}
        assert np.unique(np.stack(masks)).tolist() == list(range(len(SCENES[name].classes)))


@pytest.mark.parametrize("name", NAMES)
def test_no_picture_is_in_both_parts(name):
    assert not set(shipped_seeds(name, "train")) & set(shipped_seeds(name, "valid"))


@pytest.mark.parametrize("name", NAMES)
def test_classes_json_agrees_with_the_generator(name, tmp_path):
    write_about(tmp_path / "classes.json", SCENES[name])
    about = json.loads((SHIPPED / name / "classes.json").read_text(encoding="utf-8"))
    assert about == json.loads((tmp_path / "classes.json").read_text(encoding="utf-8"))
    assert list(about) == ["classes", "palette", "about", "in_channels"]
    assert len(about["palette"]) == len(about["classes"]) == len({tuple(colour) for colour in about["palette"]})


def test_everything_together_fits_in_four_megabytes_and_the_page_shows_the_sheet():
    assert sum(file.stat().st_size for file in SHIPPED.rglob("*") if file.is_file()) <= 4_000_000
    page = (SHIPPED / "README.md").read_text(encoding="utf-8")
    assert "(contact_sheet.jpg)" in page
    assert all(f"| `{name}` |" in page for name in NAMES)


def test_street_has_rare_classes_thin_poles_and_small_people():
    masks = shipped("street", "train", "masks")
    names = list(STREET)
    assert len(names) >= 7
    assert 0.003 < share(masks, names.index("person")) < 0.03
    assert 0.01 < share(masks, names.index("pole")) < 0.05
    assert share(masks, names.index("road")) > 0.2
    widths = np.concatenate([run_lengths(mask == names.index("pole")) for mask in masks])
    assert 2 <= np.median(widths) <= 4


def run_lengths(where):
    """Lengths of the horizontal runs of true pixels that do not touch the picture's edge."""
    edges = np.diff(np.pad(where, ((0, 0), (1, 1))).astype(int), axis=1)
    starts, stops = np.argwhere(edges == 1)[:, 1], np.argwhere(edges == -1)[:, 1]
    return (stops - starts)[(starts > 0) & (stops < where.shape[1])]


def test_street_varies_from_dark_to_bright():
    brightness = [picture.mean() for picture in shipped("street", "train", "images")]
    assert max(brightness) > 1.5 * min(brightness)


def test_metal_defects_are_rare_and_some_plates_have_none():
    for part in PARTS:
        masks = shipped("metal", part, "masks")
        assert 0 < np.mean(np.stack(masks) > 0) < 0.01
        flawless = np.mean([not mask.any() for mask in masks])
        assert 0.15 < flawless < 0.7


def test_lungs_have_one_channel_and_the_right_lung_is_on_the_left():
    pictures, masks = shipped("lungs", "train", "images"), shipped("lungs", "train", "masks")
    assert {picture.ndim for picture in pictures} == {2}
    for mask in masks:
        right, left = (np.nonzero(mask == label)[1].mean() for label in (1, 2))
        assert right < left - 20


def test_cells_touch_and_a_border_parts_them():
    bordered = [mask for mask in shipped("cells", "train", "masks") if (mask == 2).any()]
    assert len(bordered) >= 20
    for mask in bordered:
        border = np.argwhere(mask == 2)
        rows, columns = np.clip(border[:, 0], 3, 156), np.clip(border[:, 1], 3, 156)
        around = np.stack([mask[rows + y, columns + x] for y in (-3, 0, 3) for x in (-3, 0, 3)])
        assert np.mean((around == 1).any(0)) > 0.9


def test_a_canvas_averages_colours_and_keeps_labels_whole():
    canvas = Canvas((4, 6))
    canvas.polygon([(0, 0), (3.5, 0), (3.5, 4), (0, 4)], (1.0, 0.5, 0.0), label=9)
    picture, labels = canvas.finish()
    assert labels.tolist() == [[9, 9, 9, 9, 0, 0]] * 4
    assert picture[:, :3] == pytest.approx(np.tile((1.0, 0.5, 0.0), (4, 3, 1)))
    assert picture[:, 3, 0] == pytest.approx(2 / 3)  # two of three dots are inside
    assert not picture[:, 5].any()


def test_fractal_noise_is_standardised_and_smooth():
    noise = fractal_noise((64, 96), 16, np.random.default_rng(0))
    assert noise.shape == (64, 96)
    assert noise.mean() == pytest.approx(0, abs=1e-4)
    assert noise.std() == pytest.approx(1, abs=1e-3)
    assert np.abs(np.diff(noise, axis=1)).mean() < 0.35


def test_photograph_adds_noise_of_the_strength_asked_for():
    flat = np.full((100, 100), 0.5, np.float32)
    taken = photograph(flat, np.random.default_rng(0), noise=0.02)
    assert taken.dtype == np.uint8
    assert taken.mean() == pytest.approx(127.5, abs=0.5)
    assert taken.std() == pytest.approx(0.02 * 255, rel=0.1)


def test_drawing_needs_no_torch():
    code = "import sys; from segnb.data.samples import draw_sample; draw_sample('shapes', 0); print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
