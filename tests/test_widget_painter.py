"""The painter as Python sees it; tests/browser/test_painter_browser.py paints in a browser."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from fake_training import LABELS, scene
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from segnb.data import SegmentationDataset
from segnb.errors import SegnbError
from segnb.tools.painting import mean_entropy, paint
from segnb.widgets.painter import strokes
from segnb.widgets.painter.painted import PaintedMask
from segnb.widgets.painter.painter import Painter
from segnb.widgets.painter.superpixels import superpixels, usual_size

NAMES = ["ground", "square", "sky"]


def grey(height=12, width=16, value=0) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def as_png(covered: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(np.where(covered, 255, 0).astype(np.uint8)).convert("RGB").save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def decoded(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def talk(painter: Painter, **message) -> list[dict]:
    """What the painter sends when a page says something."""
    sent = []
    painter.send = sent.append
    painter._receive(painter, message, [])
    return sent


def stroke(covered: np.ndarray, x=0, y=0, label=1, index=0, name="v-1") -> dict:
    return {
        "type": "paint", "index": index, "x": x, "y": y, "label": label, "stroke": name, "covered": as_png(covered)
    }  # fmt: skip


# Which pixels a stroke covers


@given(st.integers(1, 40), st.integers(-5, 20), st.integers(-5, 20))
def test_a_disc_holds_the_pixels_whose_centres_lie_within_it(size, x, y):
    shape = (24, 30)
    x, y = min(max(x, 0), 29), min(max(y, 0), 23)
    rows, columns = np.indices(shape)
    middle = 0.0 if size % 2 else -0.5  # an even disc has its middle at the pixel's upper left corner
    inside = (columns - x - middle) ** 2 + (rows - y - middle) ** 2 <= size**2 / 4
    assert np.array_equal(strokes.brush(shape, np.array([(x, y)]), size), inside)


def test_a_stroke_is_discs_along_the_line_and_ends_at_the_edge():
    points = np.array([(2, 2), (9, 5), (0, 7)])
    expected = np.zeros((8, 10), bool)
    for point in strokes.line(points):
        expected |= strokes.brush((8, 10), point[None], 4)
    assert np.array_equal(strokes.brush((8, 10), points, 4), expected)
    assert strokes.line(np.array([(0, 0), (4, 2)])).tolist() == [[0, 0], [0, 0], [1, 1], [2, 1], [3, 2], [4, 2]]


coordinates = st.tuples(st.integers(0, 19), st.integers(0, 14))


@given(st.lists(coordinates, min_size=1, max_size=7))
def test_a_polygon_is_what_matplotlib_calls_inside_and_its_outline(corners):
    """Compared away from the outline, where the rule for centres exactly on an edge does not matter."""
    from matplotlib.path import Path

    found = strokes.polygon((15, 20), np.array(corners))
    closed = np.array([*corners, corners[0]])
    outline = strokes.brush((15, 20), closed, 1)
    assert found[outline].all()
    if len(corners) < 3:
        assert np.array_equal(found, outline)
        return
    x, y = (part.ravel() for part in np.meshgrid(np.arange(20), np.arange(15)))
    # Even-odd by hand: how many edges lie to the left of the centre.
    crossings = np.zeros(x.shape, int)
    for (x0, y0), (x1, y1) in pairwise(closed):
        spans = (y0 <= y) != (y1 <= y)
        if y0 != y1:
            crossings += spans & (x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x + 1e-9)
    assert np.array_equal(found, (crossings % 2 == 1).reshape(15, 20) | outline)
    convex = Path(closed).contains_points(np.stack([x, y], axis=1), radius=-1e-6).reshape(15, 20)
    if len(corners) == 3:
        assert found[convex].all()


def test_flood_stops_at_labels_colours_or_both():
    labels = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1]], np.uint8)
    image = np.zeros((3, 3, 3), np.uint8)
    image[0, 1] = (0, 30, 0)
    image[2] = 10

    def covered(within, tolerance):  # fmt: skip
        return strokes.flood(labels, image, (0, 0), within, tolerance).astype(int).tolist()

    assert covered("label", 0) == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]  # corners do not connect
    assert covered("colour", 5) == [[1, 0, 1], [1, 1, 1], [0, 0, 0]]
    assert covered("colour", 10) == [[1, 0, 1], [1, 1, 1], [1, 1, 1]]
    assert covered("both", 255) == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert covered("both", 29) == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_superpixels_follow_outlines_and_are_whole():
    from scipy import ndimage

    random = np.random.default_rng(0)
    truth = np.zeros((60, 80), np.uint8)
    truth[13:44, 22:61] = 1
    image = (np.where(truth, 190, 60)[:, :, None] + random.integers(-8, 9, (60, 80, 3))).astype(np.uint8)
    ids = superpixels(image, 8)
    assert ids.dtype == np.uint16
    assert np.array_equal(ids, superpixels(image, 8))
    numbers = np.unique(ids)
    assert 50 <= len(numbers) <= 80  # 60 × 80 / 8²
    mixed = sum(len(np.unique(truth[ids == number])) > 1 for number in numbers)
    assert mixed <= 2
    assert all(ndimage.label(ids == number)[1] == 1 for number in numbers)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (1200, 1100)])
def test_superpixels_of_any_size(shape):
    image = np.random.default_rng(1).integers(0, 255, (*shape, 3)).astype(np.uint8)
    size = usual_size(*shape)
    ids = superpixels(image, max(size, 40))
    assert ids.shape == shape
    assert len(np.unique(ids)) <= 2 * (shape[0] / 40 + 1) * (shape[1] / 40 + 1)


@given(st.lists(st.tuples(st.integers(0, 2**20 - 1), st.integers(0, 3)), max_size=8))
def test_undo_takes_every_step_back_and_redo_brings_it_again(steps):
    mask, seen = PaintedMask(np.full((4, 5), 255, np.uint8)), []
    for bits, label in steps:
        before = mask.labels.copy()
        covered = np.array([bits >> i & 1 for i in range(20)], bool).reshape(4, 5)
        box = mask.paint(covered, label)
        assert np.array_equal(mask.labels, np.where(covered, label, before))
        if box is None:
            assert np.array_equal(mask.labels, before)
        else:
            changed = mask.labels != before
            assert changed[box].sum() == changed.sum()
            seen.append((before, mask.labels.copy()))
    for before, _ in reversed(seen):
        assert mask.undo() is not None
        assert np.array_equal(mask.labels, before)
    assert mask.undo() is None
    for _, after in seen:
        assert mask.redo() is not None
        assert np.array_equal(mask.labels, after)
    assert mask.redo() is None


# Painting


def test_methods_paint_and_count():
    painter = Painter([grey()], NAMES)
    assert painter.brush([(3, 3)], 3, "sky") == 9
    assert painter.mask()[2:5, 2:5].tolist() == [[2] * 3] * 3
    assert painter.brush([(3, 3)], 3, 2) == 0  # nothing new
    assert painter.erase([(3, 3)], 1) == 1
    assert painter.polygon([(8, 1), (11, 1), (11, 4), (8, 4)], 1) == 16
    assert painter.fill(15, 11, 0) == 12 * 16 - 16 - 8 - 1  # all around, but not the erased pixel inside the square
    assert painter.mask()[3, 3] == 255
    assert painter.undo()
    assert (painter.mask() == 255).sum() == 12 * 16 - 16 - 8
    assert painter.redo()
    assert not painter.redo()
    painter.label = 1
    assert painter.brush([(3, 3)], 1) == 1
    assert painter.mask()[3, 3] == 1
    painter.mask()[:] = 7
    assert painter.mask().max() <= 255
    assert 7 not in painter.mask()  # what mask() gives is a copy


def test_snap_paints_every_superpixel_that_the_line_touches():
    image, _ = scene(0)
    painter = Painter([image], LABELS)
    ids = painter._queue.superpixels(0, 12)
    painter.snap([(10, 100), (40, 100)], 12, "road")
    touched = np.unique(ids[100, 10:41])
    assert np.array_equal(painter.mask() == 2, np.isin(ids, touched))


def test_one_class_means_background_and_that_class():
    painter = Painter([grey()], ["cell"])
    assert painter.class_names == ["background", "cell"]
    assert painter.label == 1
    painter.brush([(1, 1)], 1)
    assert painter.mask()[1, 1] == 1


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (
            lambda p: p.brush([(16, 0)]),
            "The point (16, 0) lies outside the picture: x runs from 0 to 15, y from 0 to 11",
        ),
        (lambda p: p.brush([(0.5, 0)]), "give pairs (x, y) of whole pixels"),
        (lambda p: p.polygon("road"), "points='road': give pairs (x, y) of whole pixels"),
        (lambda p: p.brush([]), "points=[]: give pairs"),
        (lambda p: p.brush([(0, 0)], 501), "size=501: give a whole number from 1 to 500"),
        (lambda p: p.brush([(0, 0)], 3, 3), "label=3: give 0 to 2, the name of a class, or 255 to unlabel"),
        (lambda p: p.brush([(0, 0)], 3, "skye"), "There is no class 'skye'. Did you mean 'sky'?"),
        (lambda p: p.fill(0, 12), "The point (0, 12) lies outside the picture"),
        (lambda p: p.fill(0, 0, within="color"), "within='color'. Did you mean 'colour'?"),
        (lambda p: p.fill(0, 0, tolerance=256), "tolerance=256: give a whole number from 0 to 255"),
        (lambda p: p.snap([(0, 0)], 4), "superpixel_size=4: give a whole number from 5 to 100"),
        (lambda p: p.show(1), "There is no picture 1: the queue has 1 picture, counted from 0"),
        (lambda p: p.mask(-1), "There is no picture -1"),
        (lambda p: setattr(p, "label", "clouds"), "There is no class 'clouds'"),
        (lambda p: setattr(p, "tool", "brsh"), "tool='brsh'. Did you mean 'brush'?"),
        (lambda p: setattr(p, "opacity", 2), "opacity=2: give a number from 0 to 1"),
        (lambda p: p.use_prediction(), "There is no model: give one with segnb.paint(..., model=model)"),
        (lambda p: p.order_by_uncertainty(), "There is no model"),
        (lambda p: p.dataset(), "Nothing is painted yet"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(act, text):
    painter = Painter([grey()], NAMES)
    with pytest.raises(SegnbError) as problem:
        act(painter)
    assert text in str(problem.value)
    assert (painter.mask() == 255).all()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (([], NAMES), "There are no pictures to paint"),
        (([grey()], [f"c{i}" for i in range(300)]), "300 classes: at most 255"),
        (([grey()], "cell"), "classes='cell': give a list of names"),
        (([np.zeros((3, 4, 3))], NAMES), "holds float64 values from 0 to 0"),
        (([np.zeros((2, 3, 4, 3), np.uint8)], NAMES), "holds (2, 3, 4, 3) uint8"),
    ],
)
def test_refused_at_once(arguments, text):
    with pytest.raises(SegnbError) as problem:
        Painter(*arguments)
    assert text in str(problem.value)


def test_masks_that_do_not_fit_are_named():
    with pytest.raises(SegnbError, match=r"The mask of '000' is \(3, 3\), its image is \(12, 16\)"):
        Painter([grey()], NAMES, masks=[np.zeros((3, 3), np.uint8)])
    with pytest.raises(SegnbError, match="The mask of '000' has labels from 0 to 3, but there are 3 classes"):
        Painter([grey()], NAMES, masks=[np.array([[0, 3] * 8] * 12, np.uint8)])
    with pytest.raises(SegnbError, match="1 image, 1 name and 2 masks: give as many of each"):
        Painter([grey()], NAMES, masks=[None, None])


@pytest.mark.parametrize("shape", [(1, 1), (2, 20_000)])
def test_extreme_sizes(shape):
    painter = Painter([np.zeros((*shape, 3), np.uint8)], NAMES)
    painter.brush([(0, 0), (shape[1] - 1, shape[0] - 1)], 5, 1)
    assert decoded(painter.payload(0)["labels"]).shape == shape  # labels are never reduced
    assert (painter.mask()[:, -1] == 1).all()
    assert painter.fill(0, 0, 2) == (painter.mask() == 2).sum()


def test_a_picture_too_large_for_a_page_is_refused():
    with pytest.raises(
        SegnbError, match=r"'000' has 6000 × 6000 pixels, a page paints up to 33 million: cut it into tiles"
    ):
        Painter([np.zeros((6000, 6000, 1), np.uint8)], NAMES)


# What a page says


def test_a_stroke_of_a_page_and_its_undo():
    painter = Painter([grey()], NAMES)
    covered = np.array([[True, False], [True, True]])
    (edit,) = talk(painter, **stroke(covered, x=4, y=7, label=2))
    assert painter.mask()[7:9, 4:6].tolist() == [[2, 255], [2, 2]]
    assert (edit["type"], edit["stroke"], edit["x"], edit["y"], edit["steps"]) == ("edit", "v-1", 4, 7, [1, 0])
    assert decoded(edit["labels"]).tolist() == [[2, 255], [2, 2]]
    (edit,) = talk(painter, type="undo", index=0)
    assert edit["steps"] == [0, 1]
    assert (painter.mask() == 255).all()
    (edit,) = talk(painter, type="undo", index=0)  # nothing left
    assert "labels" not in edit
    assert painter.error == ""


def test_a_stroke_that_changes_nothing_is_confirmed():
    painter = Painter([grey()], NAMES, masks=[np.ones((12, 16), np.uint8)])
    (edit,) = talk(painter, **stroke(np.ones((1, 1), bool), label=1))
    assert edit == {"type": "edit", "index": 0, "stroke": "v-1", "steps": [0, 0]}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"x": 15}, "A stroke reaches beyond its picture"),
        ({"y": -1}, "A stroke reaches beyond its picture"),
        ({"label": 3}, "label=3"),
        ({"covered": "AAAA"}, "cannot identify image file"),
    ],
)
def test_a_stroke_that_does_not_fit_is_refused_and_the_page_is_told(change, text):
    painter = Painter([grey()], NAMES)
    sent = talk(painter, **{**stroke(np.ones((2, 2), bool)), **change})
    assert sent == [{"type": "refused", "index": 0, "stroke": "v-1"}]
    assert text in painter.error
    assert (painter.mask() == 255).all()
    talk(painter, type="undo", index=0)
    assert painter.error == ""  # the next command that works takes it away


def test_other_commands_do_what_the_methods_do():
    image, labels = scene(0)
    clicked, called = (Painter([image], LABELS, model=labels, predict=lambda model, _: model) for _ in range(2))
    talk(clicked, type="fill", index=0, x=3, y=4, label=2, within="both", tolerance=30)
    called.fill(3, 4, 2, "both", 30)
    assert 0 < (called.mask() == 2).sum() < labels.size
    assert np.array_equal(clicked.mask(), called.mask())
    talk(clicked, type="predict", index=0, where="class", label=1)
    called.use_prediction("class", 1)
    assert np.array_equal(called.mask() == 1, labels == 1)
    assert np.array_equal(clicked.mask(), called.mask())
    talk(clicked, type="done", index=0, done=True)
    assert clicked.finished == [0]
    talk(clicked, type="done", index=0, done=False)
    assert clicked.finished == []
    (message,) = talk(clicked, type="superpixels", index=0, size=10)
    red, green, _ = np.moveaxis(decoded(message["ids"]).astype(int), 2, 0)
    assert np.array_equal(red + 256 * green, clicked._queue.superpixels(0, 10))
    (message,) = talk(clicked, type="picture", index=0, photo=False)
    assert message["image"] is None
    assert np.array_equal(decoded(message["labels"]), clicked.mask())
    assert message["steps"] == [2, 0]


def test_the_page_sets_what_it_may_set():
    painter = Painter([grey(), grey()], NAMES)
    talk(painter, type="set", values={"index": 1, "tool": "snap", "label": 2, "size": 7, "opacity": 0.2})
    assert (painter.index, painter.tool, painter.label, painter.size, painter.opacity) == (1, "snap", 2, 7, 0.2)
    assert talk(painter, type="set", values={"order": [1, 0]}) == [{"type": "done"}]
    assert "'order' cannot be set from the page" in painter.error
    assert painter.order == [0, 1]


def test_a_photo_and_its_mask_travel_in_few_bytes():
    image = np.asarray(Image.fromarray(scene(1, 128, 128)[0]).resize((1024, 1024)))
    painter = Painter([image], LABELS, masks=[np.kron(scene(1, 128, 128)[1], np.ones((8, 8), np.uint8))])
    assert len(json.dumps(painter.payload(0))) < 400 * 1024


def test_a_file_that_vanished_is_named_and_the_painter_lives_on(tmp_path):
    for name in ("a", "b"):
        Image.fromarray(grey()).save(tmp_path / f"{name}.png")
    painter = paint(tmp_path, NAMES)
    (tmp_path / "b.png").unlink()
    assert talk(painter, type="picture", index=1, photo=True) == []
    assert "b.png does not exist" in painter.error
    assert talk(painter, type="picture", index=0, photo=True)[0]["name"] == "a"
    assert painter.error == ""


# The folder


def test_every_change_is_saved_and_gone_on_with(tmp_path):
    images = tmp_path / "photos"
    images.mkdir()
    for name in ("a", "b"):
        Image.fromarray(grey()).save(images / f"{name}.png")
    painter = paint(images, NAMES, folder=tmp_path / "masks")
    assert not (tmp_path / "masks").exists()  # nothing before the first change
    painter.brush([(3, 3)], 3, 1)
    saved = Image.open(tmp_path / "masks" / "a.png")
    assert saved.mode == "P"
    assert np.array_equal(np.asarray(saved), painter.mask())
    painter.undo()
    assert (np.asarray(Image.open(tmp_path / "masks" / "a.png")) == 255).all()
    painter.redo()
    painter.done()
    about = json.loads((tmp_path / "masks" / "classes.json").read_text("utf-8"))
    assert about["classes"] == NAMES
    assert about["done"] == ["a"]
    assert about["images"]["a"] == (images / "a.png").as_posix()
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["a.png", "classes.json"]  # no half files

    again = paint(images, NAMES, folder=tmp_path / "masks")  # after the kernel has ended
    assert np.array_equal(again.mask(), painter.mask())
    assert again.finished == [0]
    assert repr(again) == "1 of 2 pictures painted, 1 done, classes: ground, square, sky"
    assert talk(again, **stroke(np.ones((1, 1), bool), index=1))[-1] == {"type": "saved", "index": 1, "file": "b.png"}

    with pytest.raises(
        SegnbError, match=r"tells of the classes \['ground', 'square', 'sky'\], but classes=\['x', 'y'\]"
    ):
        paint(images, ["x", "y"], folder=tmp_path / "masks")
    with pytest.raises(SegnbError, match=r"a\.png' would replace an image: give another folder"):
        paint(images, NAMES, folder=images)


def test_empty_masks_do_not_count_and_other_pictures_of_the_folder_stay(tmp_path):
    painter = Painter([grey(), grey()], NAMES, names=["a", "b"], folder=tmp_path)
    painter.brush([(3, 3)], 3, 1)
    painter.done()
    painter.show(1)
    painter.brush([(3, 3)], 3, 1)
    painter.undo()
    assert painter._queue.painted() == [0]
    again = Painter([grey(), grey()], NAMES, names=["a", "b"], folder=tmp_path)
    assert again._queue.painted() == [0]  # known without reading the masks
    assert again.dataset().names == ["a"]

    other = Painter([grey()], NAMES, names=["c"], folder=tmp_path)
    other.brush([(3, 3)], 3, 2)
    about = json.loads((tmp_path / "classes.json").read_text("utf-8"))
    assert about["images"] == {"a": "images/a.png", "c": "images/c.png"}
    assert (about["empty"], about["done"]) == (["b"], ["a"])
    again = Painter([grey(), grey()], NAMES, names=["a", "b"], folder=tmp_path)
    assert (again._queue.painted(), again.finished) == ([0], [0])


def test_a_mask_is_not_taken_for_that_of_another_image(tmp_path):
    Painter([grey()], NAMES, folder=tmp_path).brush([(3, 3)], 3, 1)
    assert (Painter([grey()], NAMES, folder=tmp_path).mask() == 1).sum() == 9
    with pytest.raises(SegnbError, match=r"000\.png is the mask of another image, see .*images.000\.png"):
        Painter([grey(value=1)], NAMES, folder=tmp_path)


@pytest.mark.parametrize("name", ["../a", "/tmp/a", "..\\a", "C:a", "x/../../a"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    with pytest.raises(SegnbError, match="must stay in that folder"):
        Painter([grey()], NAMES, names=[name], folder=tmp_path / "masks")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["", "b"], "which cannot be a file's name"),
        (["..", "b"], "which cannot be a file's name"),
        (["a\0", "b"], "which cannot be a file's name"),
        (["a", "a"], "Two pictures, 'a' and 'a', would share one mask"),
        (["A", "a"], "Two pictures, 'A' and 'a', would share one mask"),
    ],
)
def test_names_that_cannot_be_files(tmp_path, names, text):
    with pytest.raises(SegnbError) as problem:
        Painter([grey(), grey()], NAMES, names=names, folder=tmp_path / "masks")
    assert text in str(problem.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"classes": 3}', "null", '{"classes": ["ground", "square", "sky"]}'])
def test_a_side_file_of_someone_else_is_refused(tmp_path, text):
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(SegnbError, match="is not what a painter wrote"):
        Painter([grey()], NAMES, folder=tmp_path)


def test_a_mask_that_cannot_be_saved_stays_painted(tmp_path, monkeypatch):
    painter = Painter([grey()], NAMES, folder=tmp_path / "masks")

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("segnb.widgets.painter.mask_folder.write_atomically", full)
    sent = talk(painter, **stroke(np.ones((2, 2), bool)))
    assert painter.error == "OSError: No space left on device"
    assert [message["type"] for message in sent] == ["edit"]
    assert (painter.mask() == 1).sum() == 4
    monkeypatch.undo()
    painter.brush([(9, 9)], 1, 1)
    assert (np.asarray(Image.open(tmp_path / "masks" / "000.png")) == 1).sum() == 5


# Data set and models


def test_the_data_set_holds_what_is_painted_and_ignores_the_rest(tmp_path):
    painter = Painter([grey(), grey(value=9), grey()], ["cell"], folder=tmp_path / "masks")
    painter.show(1)
    painter.brush([(3, 3)], 3, 0)  # background and nothing else: 0 and 255, which must not be read as 0 and 1
    data = painter.dataset()
    assert data.names == ["001"]
    assert data.classes == ["cell"]
    image, labels = data.read(0)
    assert (image == 9).all()
    assert np.array_equal(labels, painter.mask(1))
    assert set(np.unique(labels)) == {0, 255}
    painter.brush([(9, 9)], 3, 1)
    assert 1 not in data.read(0)[1]  # the data set stays as it was
    assert 1 in painter.dataset().read(0)[1]


def test_given_masks_and_data_sets_are_corrected(tmp_path):
    images, masks = zip(*(scene(seed) for seed in range(2)), strict=True)
    for index, mask in enumerate(masks):
        Image.fromarray(mask).save(tmp_path / f"{index}.png")
    Image.fromarray(images[0]).save(tmp_path / "0.jpg")
    data = SegmentationDataset(list(images), list(masks), LABELS, palette=np.arange(24).reshape(8, 3))
    painter = paint(data)
    assert painter.class_names == LABELS
    assert painter.palette == np.arange(24).reshape(8, 3).tolist()
    painter.brush([(0, 0)], 1, 7)
    first, second = (painter.dataset().read(index)[1] for index in range(2))
    assert first[0, 0] == 7
    assert (first != masks[0]).sum() == 1
    assert np.array_equal(second, masks[1])
    extended = paint(data, [*LABELS, "bicycle"])
    assert extended.class_names[-1] == "bicycle"
    with pytest.raises(SegnbError, match="give the same names in the same order"):
        paint(data, LABELS[::-1])
    with pytest.raises(SegnbError, match="a data set has its own"):
        paint(data, masks=list(masks))
    assert np.array_equal(paint([tmp_path / "0.jpg"], LABELS, masks=tmp_path).mask(), masks[0])


def test_pictures_of_all_kinds(tmp_path):
    Image.fromarray(grey()).save(tmp_path / "b.png")
    (tmp_path / "notes.txt").write_text("no picture")
    palette = Image.fromarray(grey()).convert("P")
    for images, shape in (
        (grey(), (12, 16, 3)), (grey()[:, :, 0], (12, 16, 1)), (palette, (12, 16, 3)), (tmp_path / "b.png", (12, 16, 3)),
        (str(tmp_path), (12, 16, 3)), ([grey(), palette], (12, 16, 3)),
    ):  # fmt: skip
        assert paint(images, NAMES)._queue.image(0).shape == shape
    with pytest.raises(SegnbError, match="has no pictures"):
        paint((tmp_path / "empty").mkdir() or tmp_path / "empty", NAMES)
    with pytest.raises(SegnbError, match="What should be painted"):
        paint(grey())


def test_deep_and_many_banded_images(tmp_path):
    deep = np.full((12, 16), 2000, np.uint16)
    deep[3, 3] = 4000
    with pytest.raises(SegnbError, match="say which stored values become 0 and 255"):
        paint(deep, NAMES)
    painter = paint(deep, NAMES, value_range=(0, 4000), folder=tmp_path / "deep")
    painter.fill(0, 0, 1, "colour", 5)
    assert painter.mask()[3, 3] == 255
    assert painter.dataset().read(0)[0][0, 0] == 128
    assert "painter.dataset()" in painter.as_code()  # no image file holds 16 bits as they are
    Image.fromarray(deep).save(tmp_path / "deep.png")
    painter = paint(tmp_path / "deep.png", NAMES, value_range=(0, 4000), folder=tmp_path / "masks")
    painter.brush([(3, 3)], 3, 1)
    names: dict = {}
    exec(painter.as_code().partition("train = ")[0], names)
    assert names["data"].read(0)[0][3, 3] == 255

    bands = paint(np.zeros((12, 16, 5), np.uint8), NAMES, folder=tmp_path / "bands")
    bands.brush([(3, 3)], 3, 1)
    assert bands.dataset().in_channels == 5
    assert "painter.dataset()" in bands.as_code()


def test_painting_needs_no_torch(tmp_path):
    code = (
        "import sys, numpy as np; from segnb.tools.painting import paint\n"
        f"painter = paint(np.zeros((9, 9, 3), np.uint8), ['a', 'b'], folder={str(tmp_path / 'masks')!r})\n"
        "painter.brush([(3, 3)], 3, 1); painter.snap([(3, 3)]); painter.fill(0, 0); painter.figure_png()\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_use_prediction_everywhere_for_a_class_or_where_nothing_is_labelled():
    image, labels = scene(0)
    painter = Painter([image], LABELS, predict=lambda model, given: model(given), model=lambda _: labels)
    painter.polygon([(0, 30), (191, 30), (191, 60), (0, 60)], "car")  # over sky and buildings
    mine = painter.mask() == 5
    painter.use_prediction("unlabelled")
    assert np.array_equal(painter.mask(), np.where(mine, 5, labels))
    painter.use_prediction("class", "sky")
    assert np.array_equal(painter.mask(), np.where(mine & (labels != 0), 5, labels))
    painter.use_prediction()
    assert np.array_equal(painter.mask(), labels)
    painter.undo()
    painter.undo()
    painter.undo()
    assert np.array_equal(painter.mask(), np.where(mine, 5, 255))
    with pytest.raises(SegnbError, match="where='every'"):
        painter.use_prediction("every")
    painter.model = lambda _: labels[:5]
    with pytest.raises(SegnbError, match=r"The prediction of '000' is \(5, 192\), its image is \(128, 192\)"):
        painter.use_prediction()


def test_the_most_uncertain_picture_comes_first_and_done_ones_last():
    images = [grey(value=value) for value in (10, 40, 30, 20)]
    painter = Painter(images, NAMES, uncertainty=lambda model, image: float(image[0, 0, 0]) * model)
    painter.done(1)
    assert painter.order_by_uncertainty(1) == [("002", 30.0), ("003", 20.0), ("000", 10.0)]
    assert painter.order == [2, 3, 0, 1]
    assert painter.index == 2
    assert painter.can_predict
    painter.order_by_uncertainty(-1)
    assert painter.order == [0, 3, 2, 1]


def test_a_model_labels_and_is_unsure(tiny, square_data):
    import torch

    from segnb.prediction import predict

    train, _ = square_data
    model = tiny(classes=["square", "ground"])  # another order: matched by name
    painter = paint(train, model=model, masks=None)
    expected = predict(model, train.read(0)[0]).labels
    painter.use_prediction()
    assert np.array_equal(painter.mask(), 1 - expected)

    probabilities = model.eval()(torch.from_numpy(train.read(0)[0]).permute(2, 0, 1)[None]).softmax(1)[0]
    entropy = -(probabilities * probabilities.log2()).sum(0).mean().item()
    assert mean_entropy(model, train.read(0)[0]) == pytest.approx(entropy, abs=2e-3)
    ranked = painter.order_by_uncertainty()
    assert [score for _, score in ranked] == sorted((score for _, score in ranked), reverse=True)
    assert len(ranked) == len(train)

    with pytest.raises(SegnbError, match=r"classes that are not painted \(tree\); there are ground, square"):
        paint(train, model=tiny(classes=["ground", "square", "tree"])).use_prediction()
    with pytest.raises(SegnbError, match=r"model is a dict: give what segnb\.create_model"):
        paint(train, model={}).use_prediction()


def test_copied_code_reads_the_masks_and_trains(tmp_path, tiny, square_data, monkeypatch):
    import segnb

    train, _ = square_data
    painter = paint([train.read(index)[0] for index in range(5)], ["ground", "square"], folder=tmp_path / "masks")
    for index in range(4):
        painter.show(index)
        painter.use_prediction.__self__._predict = lambda _, image: (image[:, :, 0] > 100).astype(np.uint8)
        painter.model = "threshold"
        painter.use_prediction()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(segnb, "create_model", lambda *_, in_channels, classes: tiny(classes=classes))
    names: dict = {}
    exec(painter.as_code().replace("epochs=10", "epochs=1, batch_size=2, workers=0"), names)
    assert names["data"].names == ["000", "001", "002", "003"]
    for index in range(4):
        image, labels = names["data"].read(index)
        assert np.array_equal(image, train.read(index)[0])
        assert np.array_equal(labels, painter.mask(index))
    assert len(names["run"].history) == 1
    assert "painter.dataset()" in Painter([grey()], NAMES).as_code()


def test_a_saved_notebook_shows_pictures_and_masks():
    image, labels = scene(0)
    painter = Painter([image], [f"<b>{i}" for i in range(254)], masks=[labels])
    picture = Image.open(io.BytesIO(painter.figure_png()))
    assert picture.width > 300
    assert picture.height < 400  # 254 names would fill pages
    data, _ = painter._repr_mimebundle_()
    assert "1 of 1 picture painted, 0 done, classes: &lt;b&gt;0" in data["text/html"]
