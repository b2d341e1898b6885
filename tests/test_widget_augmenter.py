"""The augmenter as Python sees it: what the library offers, steps and pipeline, draws and warnings, code."""

from __future__ import annotations

import base64
import inspect
import io
import json
import re

import albumentations as A
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segnb.data import SegmentationDataset, load_sample
from segnb.data.presets import PRESETS, preset
from segnb.data.transforms import seed_transform
from segnb.errors import SegnbError
from segnb.widgets.augmenter import draws as augmenter_draws
from segnb.widgets.augmenter.augmenter import Augmenter, augment
from segnb.widgets.augmenter.catalogue import entries, left_out, transforms
from segnb.widgets.augmenter.draws import Draw, Picture, draw_many, draw_once
from segnb.widgets.augmenter.parameters import controls_of, starting_values
from segnb.widgets.augmenter.pipeline import assemble, read_pipeline
from segnb.widgets.augmenter.steps import check_steps, make_step, move_step
from segnb.widgets.augmenter.warnings import find_problems, find_warnings

RNG = np.random.default_rng(0)
SIZE = (64, 96)
NAMES = ["background", "bolt", "<b>nut</b>"]


def picture(height=96, width=128, seed=0):
    """A picture whose blocks are bright by their label, and its mask of labels 0, 1 and 2."""
    blocks = np.random.default_rng(seed).integers(0, 3, (-(-height // 16), -(-width // 16)))
    labels = np.kron(blocks, np.ones((16, 16), int)).astype(np.uint8)[:height, :width]
    return (60 + 80 * labels[:, :, None] + np.arange(3, dtype=np.uint8) * 5).astype(np.uint8), labels


def dataset(shapes=((96, 128), (96, 128)), transform=None):
    pairs = [picture(*shape, seed) for seed, shape in enumerate(shapes)]
    return SegmentationDataset(
        [p[0] for p in pairs], [p[1] for p in pairs], NAMES, transform, names=[f"p{i}" for i in range(len(pairs))]
    )


def step(name, **values):
    return make_step(name, values, SIZE)


def drawn(pipeline, count=6, seed=0):
    seed_transform(pipeline, seed)
    image, labels = picture()
    return [pipeline(image=image.copy(), mask=labels.copy()) for _ in range(count)]


def same_draws(one, other):
    for left, right in zip(drawn(one), drawn(other), strict=True):
        assert (left["image"] == right["image"]).all()
        assert (left["mask"] == right["mask"]).all()


def executed(code):
    names = {"train": dataset()}
    exec(code, names)
    return names


def sent_by(widget, message):
    sent = []
    widget.send = sent.append
    widget._receive(widget, message, [])
    return sent


def opened(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


# What the library offers ----------------------------------------------------------------------------------------------


def test_every_transform_of_the_library_is_offered_or_left_out_with_a_reason():
    inherited = {A.BasicTransform, A.DualTransform, A.ImageOnlyTransform, A.Transform3D, A.NoOp}
    classes = {
        name
        for name, kind in vars(A).items()
        if inspect.isclass(kind) and issubclass(kind, A.BasicTransform) and kind not in inherited
    }
    assert set(transforms()) - {"OneOf"} | set(left_out()) == classes
    assert not set(transforms()) & set(left_out())
    assert {"Normalize", "FDA", "Mosaic", "RandomCropNearBBox", "CenterCrop3D", "ToTensorV2", "Lambda"} <= set(
        left_out()
    )
    assert {"Affine", "ElasticTransform", "CoarseDropout", "ColorJitter", "RandomCrop", "MaskDropout"} <= set(
        transforms()
    )
    assert len(transforms()) > 80


def test_a_newer_library_brings_its_new_transforms(monkeypatch):
    class Twirl(A.DualTransform):
        """Turn the middle more than the edge.

        Args:
            turns (tuple[float, float]): How often. Default: once.
            fill_mask (float): Label outside.
        """

        class InitSchema(A.DualTransform.InitSchema):
            turns: tuple[float, float]
            fill_mask: float

        def __init__(self, turns=(0.0, 1.0), fill_mask=0, p=0.5):
            super().__init__(p=p)

    Twirl.__module__ = "albumentations.augmentations.geometric.twirl"
    monkeypatch.setattr(A, "Twirl", Twirl, raising=False)
    for cached in (transforms, left_out, controls_of):
        cached.cache_clear()
    try:
        entry = next(one for one in entries() if one["name"] == "Twirl")
        assert entry == {
            "name": "Twirl",
            "group": "Geometric",
            "about": "Turn the middle more than the edge.",
            "masks": True,
        }
        assert controls_of("Twirl")["turns"] == {
            "kind": "pair", "whole": False, "low": None, "high": None, "none": False, "options": [], "help": "How often",
        }  # fmt: skip
        assert starting_values("Twirl", SIZE) == {"p": 0.5, "turns": (0.0, 1.0), "fill_mask": 255}
    finally:
        monkeypatch.undo()
        for cached in (transforms, left_out, controls_of):
            cached.cache_clear()


def test_parameters_bear_the_bounds_of_the_library():
    def bounds(name, key):
        control = controls_of(name)[key]
        return control["kind"], control["low"], control["high"], control["whole"]

    assert bounds("HorizontalFlip", "p") == ("number", 0, 1, False)
    assert bounds("GaussNoise", "std_range") == ("pair", 0, 1, False)  # from the closure of a validator
    assert bounds("ImageCompression", "quality_range") == ("pair", 1, 100, True)
    assert bounds("RandomCrop", "height") == ("number", 1, None, True)
    assert bounds("Perspective", "scale") == ("pair", 0, None, False)  # from process_non_negative_range
    assert bounds("Rotate", "limit") == ("pair", None, None, False)
    assert bounds("Defocus", "radius") == ("pair", 1, None, True)  # floats by type, but cut off
    assert bounds("Affine", "fit_output")[0] == "flag"
    assert controls_of("Rotate")["border_mode"]["options"] == [
        [0, "constant"], [1, "replicate"], [2, "reflect"], [3, "wrap"], [4, "reflect 101"],
    ]  # fmt: skip
    assert controls_of("Resize")["area_for_downscale"]["options"] == [
        [None, "none"],
        ["image", "image"],
    ]  # no blended labels
    assert controls_of("Resize")["mask_interpolation"]["options"] == [[0, "nearest"], [6, "nearest, exact"]]
    assert controls_of("GridDropout")["unit_size_range"]["none"]
    assert "mask" not in controls_of("Equalize")  # an array or a function
    assert "plasma_size" not in controls_of("PlasmaShadow")  # the library drops it
    assert controls_of("Blur")["blur_limit"]["help"].startswith("Controls the range of the blur kernel size")


@pytest.mark.parametrize("name", sorted(transforms()))
def test_each_transform_can_be_added_and_written_as_code(name):
    one = step(name)
    assert json.loads(json.dumps(one)) == one
    assert make_step(name, one["values"], SIZE) == one  # nothing is changed by being checked again
    if name == "OneOf":
        return
    widget = augment(dataset())
    widget.number = 2
    widget.add(name, p=1.0)
    assert widget.problems == [""], widget.problems
    same_draws(widget.pipeline, executed(widget.as_code())["transform"])


@settings(max_examples=25, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(set(transforms()) - {"OneOf"})))
def test_any_values_make_the_pipeline_or_are_refused(data, name):
    numbers = st.one_of(
        st.none(),
        st.integers(-3, 300),
        st.floats(-2, 2),
        st.tuples(st.floats(-1, 2), st.floats(-1, 2)),
        st.text(max_size=3),
    )
    key = data.draw(st.sampled_from(list(controls_of(name))))
    value = data.draw(numbers)
    try:
        one = step(name, **{key: value})
    except SegnbError:
        return
    assert check_steps(json.loads(json.dumps([one])), SIZE) == [one]


# Steps and pipeline ---------------------------------------------------------------------------------------------------


def test_each_click_has_a_method():
    widget = augment(dataset())
    assert widget.steps == []
    widget.add("HorizontalFlip", p=1.0)
    widget.add("RandomBrightnessContrast", brightness_limit=0.3)
    widget.add("RandomCrop")
    assert [one["name"] for one in widget.steps] == ["HorizontalFlip", "RandomBrightnessContrast", "RandomCrop"]
    assert widget.steps[1]["values"]["brightness_limit"] == [-0.3, 0.3]  # as the library understands it
    assert widget.steps[2]["values"]["height"] == 96
    assert widget.steps[2]["values"]["fill_mask"] == 255

    widget.move(2, 0)
    widget.tune(0, height=32, width=64)
    widget.enable(1, False)
    assert [type(one).__name__ for one in widget.pipeline.transforms] == ["RandomCrop", "RandomBrightnessContrast"]
    assert widget.draws[0]["size"] == [32, 64]
    widget.remove(2)
    widget.enable(1)
    assert [type(one).__name__ for one in widget.pipeline.transforms] == ["RandomCrop", "HorizontalFlip"]
    assert repr(widget) == "Augmentation of p0: RandomCrop, HorizontalFlip"


def test_the_pipeline_is_a_transform_for_data_sets_and_has_fresh_dice():
    widget = augment(dataset())
    widget.add("RandomCrop", height=32, width=32)
    image, labels = dataset(transform=widget.pipeline)[0]
    assert image.shape == (3, 32, 32)
    assert labels.shape == (32, 32)
    before = widget.pipeline.transforms[0].random_generator.random()
    widget.draw_again()
    assert widget.pipeline.transforms[0].random_generator.random() != before


def test_a_preset_is_named_until_its_steps_are_changed():
    widget = augment(dataset())
    widget.load_preset("aerial")
    assert widget.preset == "aerial"
    widget.draw_again()
    assert widget.preset == "aerial"
    widget.tune(0, p=0.1)
    assert widget.preset == ""
    widget.load_preset("aerial")
    assert widget.steps[0]["values"]["p"] == 0.5


def test_draws_stay_while_a_later_step_is_tuned_and_change_when_drawn_again():
    widget = augment(dataset())
    widget.add("RandomCrop", height=32, width=32)
    first = [one["labels"] for one in widget.draws]
    widget.add("RandomGamma", p=1.0)
    widget.tune(1, gamma_limit=(50, 60))
    assert [one["labels"] for one in widget.draws] == first
    assert len(set(first)) > 3
    widget.draw_again()
    assert [one["labels"] for one in widget.draws] != first
    widget.seed = 0
    assert [one["labels"] for one in widget.draws] == first


def test_steps_throw_different_dice():
    """Albumentations gives each step of a seeded pipeline the same dice: what is flipped would always be turned, too."""
    widget = augment(dataset())
    for name in ("HorizontalFlip", "VerticalFlip"):
        widget.add(name)
    widget.number = 12
    labels = picture()[1]
    ways = [labels, labels[:, ::-1], labels[::-1], labels[::-1, ::-1]]
    seen = {next(i for i, way in enumerate(ways) if (opened(one["labels"]) == way).all()) for one in widget.draws}
    assert seen == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda w: w.add("HorizontalFlop"), "albumentations has no transform 'HorizontalFlop'. Did you mean 'HorizontalFlip'"),
        (lambda w: w.add("Normalize"), "A.Normalize cannot be used here: data sets hand over uint8"),
        (lambda w: w.add("Blur", blur=3), "Blur has no parameter 'blur' to set here. Did you mean 'blur_limit'"),
        (lambda w: w.tune(0, height=0), "RandomCrop refuses height=0: Input should be greater than or equal to 1."),
        (lambda w: w.tune(0, border_mode=9), "RandomCrop refuses border_mode=9: Input should be 0, 1, 2, 3 or 4."),
        (lambda w: w.add("GaussNoise", std_range=(0.5, 1.5)), "refuses std_range=(0.5, 1.5): All values in (0.5, 1.5) must be"),
        (lambda w: w.add("CropAndPad", percent=None), "CropAndPad: Both px and percent parameters cannot be None"),
        (lambda w: w.add("Resize", mask_interpolation=1), "Resize refuses mask_interpolation=1: it would blend labels"),
        (lambda w: w.add("Resize", area_for_downscale="image_mask"), "area_for_downscale='image_mask': it would blend labels"),
        (lambda w: w.add("HorizontalFlip", p=2), "HorizontalFlip refuses p=2: Input should be less than or equal to 1."),
        (lambda w: w.remove(3), "There is no step 3: the pipeline has 1, counted from 0."),
        (lambda w: w.move(0, 5), "A step cannot move to place 5: the places are 0 to 0."),
        (lambda w: w.nest(0), "Step 0 has no group above it: add OneOf first"),
        (lambda w: w.load_preset("lihgt"), "There is no preset 'lihgt'. Did you mean 'light'"),
        (lambda w: setattr(w, "steps", "Blur"), "steps is a list of dictionaries such as"),
        (lambda w: setattr(w, "index", 7), "There is no picture 7: they are 0 to 1."),
        (lambda w: setattr(w, "visible", [True]), "visible has 1 entries: give one for each of 3 labels."),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_sentence_and_the_former_value_stays(call, text):
    widget = augment(dataset())
    widget.add("RandomCrop", height=32, width=32)
    steps, draws = widget.steps, widget.draws
    with pytest.raises(SegnbError, match=re.escape(text)) as refused:
        call(widget)
    assert "\n" not in str(refused.value)
    assert widget.steps == steps
    assert widget.draws == draws
    assert widget.index == 0


def test_augment_refuses_what_has_no_masks():
    with pytest.raises(SegnbError, match=re.escape("augment() was given list, but needs pictures with masks")):
        augment([1])


def test_the_browser_is_answered_and_shown_the_reason():
    widget = augment(dataset())
    sent = sent_by(
        widget,
        {"type": "set", "values": {"steps": [{"name": "HorizontalFlip", "values": {}, "on": True, "inside": False}]}},
    )
    assert sent == [{"type": "done"}]
    assert widget.steps[0]["values"] == {"p": 0.5}
    assert list(widget.controls) == ["HorizontalFlip"]
    bad = [{**widget.steps[0], "values": {"p": 7}}]
    assert sent_by(widget, {"type": "set", "values": {"steps": bad}}) == [{"type": "done"}]
    assert widget.error == "HorizontalFlip refuses p=7: Input should be less than or equal to 1."
    assert widget.steps[0]["values"] == {"p": 0.5}
    sent_by(widget, {"type": "set", "values": {"preset": "light"}})
    assert [one["name"] for one in widget.steps] == ["RandomCrop", "HorizontalFlip", "RandomBrightnessContrast"]
    assert widget.error == ""
    assert sent_by(widget, {"type": "code"})[0]["text"] == widget.as_code()
    sent_by(widget, {"type": "set", "values": {"draws": []}})
    assert widget.error.startswith("'draws' cannot be set from the page")


# Groups ---------------------------------------------------------------------------------------------------------------


def grouped():
    widget = augment(dataset())
    for name in ("OneOf", "HorizontalFlip", "VerticalFlip", "RandomGamma"):
        widget.add(name)
    widget.nest(1)
    widget.nest(2)
    return widget


def outline(widget):
    return [("  " if one["inside"] else "") + one["name"] for one in widget.steps]


def test_a_group_throws_one_of_the_steps_inside():
    widget = grouped()
    widget.tune(0, p=1.0)
    assert outline(widget) == ["OneOf", "  HorizontalFlip", "  VerticalFlip", "RandomGamma"]
    group, gamma = widget.pipeline.transforms
    assert isinstance(group, A.OneOf)
    assert group.p == 1.0
    assert [type(one).__name__ for one in group.transforms] == ["HorizontalFlip", "VerticalFlip"]
    assert isinstance(gamma, A.RandomGamma)
    labels = picture()[1]
    assert {
        (opened(one["labels"]) == labels[:, ::-1]).all() or (opened(one["labels"]) == labels[::-1]).all()
        for one in widget.draws
    } == {True}
    same_draws(widget.pipeline, executed(widget.as_code())["transform"])


def test_a_group_moves_as_a_whole_and_takes_in_what_lands_inside():
    widget = grouped()
    widget.move(3, 2)
    assert outline(widget) == ["OneOf", "  HorizontalFlip", "  RandomGamma", "  VerticalFlip"]
    widget.move(2, 3)
    assert outline(widget) == ["OneOf", "  HorizontalFlip", "  VerticalFlip", "RandomGamma"]
    widget.move(0, 1)
    assert outline(widget) == ["RandomGamma", "OneOf", "  HorizontalFlip", "  VerticalFlip"]
    widget.nest(3, False)
    assert outline(widget) == ["RandomGamma", "OneOf", "  HorizontalFlip", "VerticalFlip"]
    widget.remove(1)
    assert outline(widget) == ["RandomGamma", "HorizontalFlip", "VerticalFlip"]


def test_a_group_with_nothing_inside_does_nothing():
    widget = augment(dataset())
    widget.add("OneOf", p=1.0)
    assert widget.pipeline.transforms == []
    widget.add("HorizontalFlip", p=0.0)
    widget.nest(1)
    assert widget.pipeline.transforms == []  # weights of zero cannot be thrown
    widget.tune(1, p=1.0)
    widget.enable(0, False)
    assert widget.pipeline.transforms == []
    assert widget.problems == ["", ""]


@settings(max_examples=30, deadline=None)
@given(
    moves=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=8),
    nested=st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_moving_loses_no_step_and_leaves_none_below_no_group(moves, nested):
    names = ["OneOf", "Blur", "D4", "OneOf", "Transpose"]
    steps = check_steps([{"name": name, "inside": inside} for name, inside in zip(names, nested, strict=True)], SIZE)
    for i, to in moves:
        try:
            steps = move_step(steps, i, to)
        except SegnbError:
            continue
        assert check_steps(steps, SIZE) == steps
        assert sorted(one["name"] for one in steps) == sorted(names)


# Presets --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_presets_become_steps_that_make_the_same_draws(name):
    steps = read_pipeline(preset(name, SIZE), SIZE)
    same_draws(assemble(steps)[0], preset(name, SIZE))
    widget = augment(dataset())
    widget.load_preset(name)
    same_draws(executed(widget.as_code())["transform"], preset(name, (96, 128)))
    assert {tuple(one["size"]) for one in widget.draws} == {(96, 128)}


def test_heavy_has_a_group_and_readable_values():
    steps = read_pipeline(preset("heavy", SIZE), SIZE)
    places = {one["name"]: one for one in steps}
    assert places["GaussianBlur"]["inside"]
    assert places["MotionBlur"]["inside"]
    assert not places["GaussNoise"]["inside"]
    assert places["Affine"]["values"]["rotate"] == [-15, 15]
    assert places["Affine"]["values"]["shear"] == [-5, 5]
    assert places["Affine"]["values"]["translate_px"] is None
    assert places["CoarseDropout"]["values"]["fill_mask"] == 255


def test_the_data_sets_own_pipeline_is_there_to_begin_with():
    own = A.Compose([A.RandomCrop(32, 32), A.Affine(scale=(0.5, 2.0), p=1.0)])
    widget = augment(dataset(transform=own))
    assert [one["name"] for one in widget.steps] == ["RandomCrop", "Affine"]
    assert widget.steps[0]["values"]["fill_mask"] == 0  # as given, not what segnb begins with
    same_draws(widget.pipeline, own)
    assert [one["name"] for one in augment(dataset(transform=A.HorizontalFlip(p=0.1))).steps] == ["HorizontalFlip"]


@pytest.mark.parametrize(
    ("transform", "text"),
    [
        (lambda image, mask: {"image": image, "mask": mask}, "function is no A.Compose of transforms"),
        (A.Compose([A.SomeOf([A.Blur()], n=1)]), "SomeOf cannot be shown as a step"),
        (A.Compose([A.OneOf([A.OneOf([A.Blur()])])]), "A group inside a group"),
        (A.Compose([A.ShiftScaleRotate(scale_limit=0.3)]), "it keeps scale_limit in another form than it was given"),
        (A.Compose([A.Blur()], p=0.5), "A pipeline with p=0.5 cannot be shown as steps"),
    ],
)
def test_a_transform_that_is_no_list_of_steps_is_left_and_said_to_be(transform, text):
    widget = augment(dataset(transform=transform))
    assert widget.steps == []
    assert widget.error.startswith("The data set's own transform is not among the steps: ")
    assert text in widget.error


# Draws and warnings ---------------------------------------------------------------------------------------------------


def test_a_draw_is_what_a_data_set_would_give():
    image, labels = picture()
    steps = [step("HorizontalFlip", p=1.0), step("RandomCrop", height=40, width=60)]
    one = draw_once(steps, Picture("p", image, labels), 5)
    pipeline = A.Compose([A.HorizontalFlip(p=1.0), A.RandomCrop(40, 60, fill_mask=255)])
    seed_transform(pipeline, 5)
    expected = pipeline(image=image, mask=labels)
    assert (one.image == expected["image"]).all()
    assert (one.labels == expected["mask"]).all()
    assert one.size == (40, 60)


def test_what_is_shown_is_small_and_exact():
    widget = augment(dataset([(600, 400)]))
    shown = opened(widget.original["labels"])
    assert shown.shape == (256, 171)
    assert opened(widget.original["photo"]).shape == (256, 171, 3)
    assert set(np.unique(shown)) == {0, 1, 2}
    assert widget.draws[0]["size"] == [600, 400]
    sent = sum(len(one["photo"]) + len(one["labels"]) for one in [widget.original, *widget.draws])
    assert sent < 400 * 1024
    assert len(json.dumps(widget.catalogue)) < 40 * 1024


def test_a_label_that_vanishes_is_named():
    image, labels = np.full((64, 64, 3), 90, np.uint8), np.zeros((64, 64), np.uint8)
    labels[:8, :8], labels[:, 32:] = 2, 1
    data = SegmentationDataset([image], [labels], NAMES)
    widget = augment(data)
    assert widget.warnings == []
    widget.add("Crop", x_min=16, y_min=16, x_max=64, y_max=64)
    assert widget.warnings == ["<b>nut</b> vanishes in all 8 draws"]
    assert widget.draws[0]["vanished"] == [2]
    widget.tune(0, x_min=40)  # the background is gone, too, which is no loss
    assert widget.warnings == ["<b>nut</b> vanishes in all 8 draws"]


def draws(**of):
    image, labels = picture()
    return Draw(image, labels, labels.shape, **of)


def test_how_often_a_label_vanishes():
    both = [draws(vanished=[1]), draws(vanished=[1, 2]), draws()]
    assert find_warnings(both, None, NAMES) == [
        "bolt vanishes in most draws: 2 of 3",
        "<b>nut</b> vanishes in 1 of 3 draws",
    ]
    many = [draws(vanished=list(range(1, 8)))]
    assert find_warnings(many, None, [str(i) for i in range(9)])[-1] == "The same holds for 3 more labels"


def test_labels_that_come_in_from_outside_are_named():
    image, labels = np.full((64, 64, 3), 90, np.uint8), np.ones((64, 64), np.uint8)
    widget = augment(SegmentationDataset([image], [labels], NAMES))
    widget.add("Pad", padding=8)
    assert widget.warnings == []  # 255 is where nothing is known
    widget.tune(0, fill_mask=0)
    assert widget.warnings == [
        "background appears in all 8 draws, but is not in the mask: fill_mask=255 ignores what comes in from outside"
    ]


def test_a_label_without_a_class_is_named_and_the_static_picture_still_drawn():
    widget = augment(dataset())
    widget.add("Pad", padding=8, fill_mask=7)
    assert widget.warnings[0].startswith("Label 7 appears in all 8 draws, but is not in the mask")
    assert Image.open(io.BytesIO(widget.figure_png())).width > 300


def test_nothing_but_ignored_pixels():
    ignored = np.full((8, 8), 255, np.uint8)
    assert (
        find_warnings([Draw(np.zeros((8, 8, 3), np.uint8), ignored, (8, 8)), draws()], None, NAMES)[-1]
        == "Nothing but ignored pixels in 1 of 2 draws"
    )


def test_sizes_that_make_no_batch():
    widget = augment(dataset())
    widget.add("RandomScale", scale_limit=(-0.5, 0.5), p=1.0)
    assert re.match(
        r"Draws come out in 8 sizes, such as \d+ × \d+ and \d+ × \d+: they make no batch\.", widget.warnings[0]
    )
    widget.add("RandomCrop", height=32, width=32)
    assert widget.warnings == [] or "batch" not in widget.warnings[0]

    other = augment(dataset([(96, 128), (80, 128)]))
    other.add("HorizontalFlip")
    assert other.warnings[0].startswith("This picture comes out as 96 × 128, p1 as 80 × 128: they make no batch.")
    other.add("RandomCrop", height=90, width=90)
    assert other.warnings[0].startswith("Fails on p1, a picture of another size: CropSizeError")
    other.tune(1, pad_if_needed=True)
    assert not any("another size" in one or "batch" in one for one in other.warnings)


def test_the_step_that_raises_says_so():
    widget = augment(dataset())
    widget.add("HorizontalFlip")
    widget.add("RandomCrop", height=200, width=200)
    assert widget.problems[0] == ""
    assert widget.problems[1].startswith(
        "Fails in all 8 draws: CropSizeError: Crop size (height, width) exceeds image dimensions"
    )
    assert all(one["photo"] == "" and one["problem"] for one in widget.draws)
    widget.add("Blur")
    widget.move(2, 0)
    assert [bool(problem) for problem in widget.problems] == [False, False, True]
    widget.enable(2, False)
    assert widget.problems == ["", "", ""]


def test_the_member_of_a_group_that_raises_is_found():
    widget = augment(dataset())
    for name, values in (("OneOf", {"p": 1.0}), ("RandomCrop", {"height": 500, "width": 500}), ("Blur", {})):
        widget.add(name, **values)
    widget.nest(1)
    widget.nest(2)
    assert widget.problems[0] == widget.problems[2] == ""
    assert re.match(r"Fails in (most draws: )?\d of 8( draws)?: CropSizeError", widget.problems[1])


def test_what_changes_the_channels_is_no_step_of_its_own_but_named():
    found = find_problems([Draw(problem="x", place=1), draws()], [step("Blur"), step("Blur")])
    assert found == ["", "Fails in 1 of 2 draws: x"]
    widget = augment(dataset())
    widget.add("ToGray", num_output_channels=1, p=1.0)
    assert widget.problems == [""]
    assert widget.warnings == [
        "The transform turns image 'p0' into (channels, height, width) (1, 96, 128) and its mask into (96, 128): both must "
        "have one size, and the image its 3 channels."
    ]


def test_grey_pictures_and_many_bands():
    lungs = load_sample("lungs")[0]
    widget = augment(lungs)
    widget.load_preset("medical")
    assert widget.problems == [""] * len(widget.steps)
    widget.steps = []
    widget.add("RandomRain", p=1.0)
    assert "expects 3-channel images" in widget.problems[0]
    bands = SegmentationDataset(
        [RNG.integers(0, 256, (40, 50, 7), np.uint8)], [np.zeros((40, 50), np.uint8)], ["a", "b"]
    )
    assert opened(augment(bands).original["photo"]).shape == (40, 50, 3)


def test_one_pixel_and_three_hundred_classes_less_some():
    tiny = SegmentationDataset(
        [np.zeros((1, 1, 3), np.uint8)], [np.zeros((1, 1), np.uint8)], [f"c{i}" for i in range(255)]
    )
    widget = augment(tiny)
    widget.load_preset("light")
    assert widget.problems == ["", "", ""]
    assert widget.steps[0]["values"]["height"] == 1
    assert len(widget.visible) == 255


def test_a_huge_picture_is_reduced_before_the_transforms():
    image, labels = np.zeros((9000, 40, 3), np.uint8), np.ones((9000, 40), np.uint8)
    series = draw_many([step("HorizontalFlip", p=1.0)], Picture("p", image, labels), [0, 1])
    assert series.stride == 3
    assert series.draws[0].size == (3000, 14)
    assert "at 1/3 of the size" in series.describe()


def test_a_slow_pipeline_is_drawn_less_often_and_smaller(monkeypatch):
    image, labels = np.zeros((1024, 1024, 3), np.uint8), np.zeros((1024, 1024), np.uint8)
    asked, clock = [], [0.0]

    def slow(_steps, picture, seed):
        asked.append((picture.labels.shape, seed))
        clock[0] += picture.labels.size * 1e-4
        return Draw(picture.image, picture.labels, picture.labels.shape)

    monkeypatch.setattr(augmenter_draws, "draw_once", slow)
    monkeypatch.setattr(augmenter_draws.time, "perf_counter", lambda: clock[0])
    series = draw_many([], Picture("p", image, labels), range(6))
    assert series.stride == 6  # sqrt(104.9 s / 3 s)
    assert asked[-1] == ((171, 171), 1)
    assert len(series.draws) == 2
    assert (
        series.describe()
        == "2 of 6 draws, because they are slow  ·  2.9 s each  ·  at 1/6 of the size, because the pipeline is slow"
    )


def test_a_picture_that_vanishes_leaves_the_former_in_view():
    data = dataset()
    widget = augment(data)
    title = widget.title

    def gone(index):
        raise SegnbError("Image 'p1' is gone")

    data.read = gone
    sent_by(widget, {"type": "set", "values": {"index": 1}})
    assert widget.error == "Image 'p1' is gone"
    assert (widget.index, widget.title) == (0, title)


def test_a_broken_picture_among_the_first_does_not_matter_until_it_is_chosen():
    data = dataset([(96, 128), (96, 128), (48, 64)])
    read = data.read

    def broken(index):
        if index == 1:
            raise OSError("p1.png is truncated")
        return read(index)

    data.read = broken
    widget = augment(data)
    assert widget.warnings[0].startswith("This picture comes out as 96 × 128, p2 as 48 × 64")
    sent_by(widget, {"type": "set", "values": {"index": 1}})
    assert widget.error == "OSError: p1.png is truncated"
    widget.index = 2
    assert widget.error == ""


def test_pictures_can_be_chosen_and_the_static_picture_shows_draws():
    widget = augment(dataset([(96, 128), (48, 64)]))
    widget.load_preset("light")
    widget.index = 1
    assert widget.title == "p1  ·  48 × 64"
    assert opened(widget.original["labels"]).shape == (48, 64)
    picture_png = Image.open(io.BytesIO(widget.figure_png()))
    assert picture_png.width > 500
    assert "image/png" in widget._repr_mimebundle_()[0]


def test_the_code_says_how_a_data_set_takes_it():
    widget = augment(dataset())
    widget.add("ShiftScaleRotate", scale_limit=0.2, shift_limit=0.3)  # it keeps both in another form than given
    code = widget.as_code()
    assert "scale_limit=0.2" in code
    assert "shift_limit=(-0.3, 0.3)" in code
    assert code.endswith(
        "\n\ntrain = train.with_transform(transform)  # or SegmentationDataset(images, masks, classes, transform=transform)"
    )
    assert executed(code)["train"].transform.transforms[0].scale_limit == (0.8, 1.2)
    same_draws(widget.pipeline, executed(code)["transform"])


def test_state_that_python_reads():
    widget = augment(dataset())
    assert (widget.number, widget.look, widget.opacity, widget.visible) == (8, "overlay", 0.55, [False, True, True])
    widget.number = 3
    assert len(widget.draws) == 3
    assert re.match(r"3 draws  ·  \d+ ms each", widget.status)
    assert isinstance(widget, Augmenter)
