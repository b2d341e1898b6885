"""What explore() does in Python: facts, filters, thumbnails, flags, code; tests/browser/test_explore_browser.py clicks."""

from __future__ import annotations

import base64
import io
import json
import re
import types

import numpy as np
import pytest
from fake_training import LABELS, PALETTE, FakeDataset, FakePrediction, guess, scene
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from segnb.errors import SegnbError
from segnb.widgets import MaskViewer, explore
from segnb.widgets.viewer.facts import Facts, count_pixels, measure, object_sizes, thin
from segnb.widgets.viewer.flags import Flags, default_path
from segnb.widgets.viewer.gallery import Gallery, Wish, select

MASKS = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 2, 255]))


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the flags go there


def decoded(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def sent_by(widget, message) -> list[dict]:
    sent = []
    widget.send = sent.append
    widget._receive(widget, message, [])
    return sent


# Facts


def walked_sizes(labels: np.ndarray) -> dict[int, list[int]]:
    """Objects found by walking from pixel to pixel."""
    left = {place: int(label) for place, label in np.ndenumerate(labels) if label != 255}
    sizes: dict[int, list[int]] = {}
    while left:
        start, label = next(iter(left.items()))
        del left[start]
        reached = [start]
        for row, column in reached:
            for near in [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
                if left.get(near) == label:
                    del left[near]
                    reached.append(near)
        sizes.setdefault(label, []).append(len(reached))
    return {label: sorted(found) for label, found in sizes.items()}


@given(MASKS)
@settings(deadline=None)
def test_objects_are_what_a_walk_from_pixel_to_pixel_finds(labels):
    assert object_sizes(labels) == walked_sizes(labels)


def test_of_thousands_of_specks_the_smallest_and_largest_are_kept():
    labels = np.full((200, 200), 255, np.uint8)
    labels[::2, ::2] = 3  # 10,000 specks
    labels[:40, :40] = 3
    sizes = object_sizes(labels)[3]
    assert len(sizes) == 1000
    assert (sizes[0], sizes[-1]) == (1, 1600 + 21 + 20)  # the block and the specks at its lower and right edges


def test_objects_of_very_large_masks_are_estimated():
    labels = np.zeros((1000, 8192), np.uint8)
    labels[100:500, 1000:5000] = 7
    assert object_sizes(labels)[7][0] == pytest.approx(400 * 4000, rel=0.02)


@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.sampled_from([1, 7, 2**19, 2**20 + 1])), elements=st.just(0)))
@settings(deadline=None, max_examples=10)
def test_pixels_are_counted_in_blocks(labels):
    labels[0, 0] = 255
    labels[-1, -1] = 254
    counts = count_pixels(labels)
    expected = np.bincount(labels.ravel(), minlength=256)[:255]
    np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 20_000), (20_000, 1), (160, 160), (161, 40), (1000, 2048)])
def test_a_thinned_mask_has_the_size_of_its_thumbnail(height, width):
    labels = np.random.default_rng(0).integers(0, 5, (height, width)).astype(np.uint8)
    image = np.zeros((height, width, 3), np.uint8)
    (record,) = Gallery(lambda _: (image, labels, None)).thumbnails([0], 1)
    small = decoded(record["labels"])
    assert decoded(record["image"]).shape[:2] == small.shape == thin(labels, 160).shape
    assert max(small.shape) == min(160, max(height, width))
    assert set(np.unique(small)) <= set(np.unique(labels))


def test_errors_are_a_share_of_what_counts():
    truth = np.array([[0, 0, 1, 255]], np.uint8)
    prediction = np.array([[0, 1, 1, 1]], np.uint8)
    facts = measure(truth, prediction)
    assert facts == Facts(pixels={0: 2, 1: 1}, objects={0: [2], 1: [1]}, wrong=1 / 3)
    assert measure(None, prediction) == Facts({0: 1, 1: 3}, {0: [1], 1: [3]}, None)
    assert measure(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8)).wrong is None  # nothing counts
    assert measure(None, None) == Facts()


# Filters and order

KNOWN = [
    Facts({0: 80, 1: 20}, {0: [80], 1: [5, 15]}, 0.5),
    Facts({0: 50, 2: 50}, {0: [50], 2: [50]}, 0.1),
    Facts({0: 100}, {0: [100]}, None),
    Facts(problem="OSError: gone"),
    Facts({0: 10, 1: 30, 2: 60}, {0: [10], 1: [30], 2: [10, 50]}, 0.1),
]
NAMES = ["b", "A-road", "c", "a-road", "road"]


def chosen(flagged=(), **changes) -> list[int]:
    wish = {
        "search": "", "labels": (1, 2), "with_class": False, "object_pixels": (None, None), "only_flagged": False,
        "sort": "data", "descending": False,
    }  # fmt: skip
    return select(NAMES, set(flagged), KNOWN.__getitem__, Wish(**{**wish, **changes}))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"descending": True}, [4, 3, 2, 1, 0]),
        ({"search": "ROAD"}, [1, 3, 4]),
        ({"sort": "name"}, [1, 3, 0, 2, 4]),
        ({"only_flagged": True, "flagged": ["c", "b"]}, [0, 2]),
        ({"with_class": True, "labels": (1,)}, [0, 4]),
        ({"object_pixels": (6, 20)}, [0, 4]),  # 15; 10
        ({"object_pixels": (16, 29)}, []),  # there are smaller and larger ones, but none of these sizes
        ({"object_pixels": (30, None)}, [1, 4]),
        ({"object_pixels": (None, 5)}, [0]),
        ({"object_pixels": (0, None)}, [0, 1, 4]),
        ({"sort": "area"}, [2, 0, 1, 4, 3]),  # 0, 20, 50, 90 %; what cannot be read comes last
        ({"sort": "area", "descending": True}, [4, 1, 0, 2, 3]),
        ({"sort": "largest object", "descending": True}, [1, 4, 0, 2, 3]),  # 50, 50, 15: equal ones as in the data
        ({"sort": "smallest object"}, [0, 4, 1, 2, 3]),  # 5, 10, 50
        ({"sort": "errors", "descending": True}, [0, 1, 4, 2, 3]),
        ({"sort": "errors", "with_class": True, "labels": (2,)}, [1, 4]),
    ],
)
def test_select(changes, expected):
    assert chosen(**changes) == expected


def test_only_what_is_needed_is_read():
    data = FakeDataset(30)
    viewer = explore(data)
    data.reads.clear()
    viewer.search = "scene-02"
    assert viewer.found == list(range(20, 30))
    assert data.reads == []
    viewer.with_class = "car"
    assert viewer.found == list(range(20, 30))
    assert data.reads == list(range(20, 30))
    viewer.sort = "largest object"
    largest = {index: object_sizes(scene(index)[1])[5][-1] for index in range(20, 30)}
    assert viewer.found == sorted(largest, key=largest.get)
    assert len(data.reads) == 10  # nothing twice


def test_class_pixels_are_those_of_the_pictures_found():
    viewer = explore(FakeDataset(6))
    viewer.search = "00"
    viewer.flagged = ["scene-004", "scene-001"]
    viewer.only_flagged = True
    counts = sum(np.bincount(scene(index)[1].ravel(), minlength=8) for index in (1, 4))
    assert viewer.class_pixels == dict(zip(LABELS, counts.tolist(), strict=True))


# Thumbnails and surveys, as the browser asks for them


def test_thumbnails_come_with_facts():
    viewer = explore(FakeDataset(30))
    (answer,) = sent_by(viewer, {"type": "thumbnails", "indexes": [20, 3]})
    assert answer["type"] == "records"
    assert [record["index"] for record in answer["records"]] == [20, 3]
    record = answer["records"][0]
    labels = scene(20)[1]
    assert decoded(record["image"]).shape == (107, 160, 3)
    np.testing.assert_array_equal(decoded(record["labels"]), thin(labels, 160))
    assert record["facts"]["pixels"] == {i: n for i, n in enumerate(np.bincount(labels.ravel()).tolist()) if n}
    assert len(json.dumps(record)) < 12_000


def test_an_answer_ends_when_its_time_is_over(monkeypatch):
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr("segnb.widgets.viewer.gallery.time.monotonic", lambda: clock.now)

    def read(index):
        clock.now += 0.04
        return (*scene(index), None)

    gallery = Gallery(read)
    assert [record["index"] for record in gallery.survey(5, 100, 0.1)] == [5, 6, 7]
    assert [record["index"] for record in gallery.thumbnails([90, 91, 92, 93], 0.1)] == [90, 91, 92]
    assert [record["index"] for record in gallery.survey(5, 9, 0.001)] == [
        5,
        6,
        7,
        8,
    ]  # known already, but for the last
    assert gallery.survey(99, 100, 10)[0]["index"] == 99


def test_known_facts_need_no_second_reading_and_thumbnails_are_bounded(monkeypatch):
    monkeypatch.setattr("segnb.widgets.viewer.gallery.THUMBNAILS", 3)
    data = FakeDataset(8)
    gallery = Gallery(lambda index: (*data.read(index), None))
    gallery.survey(0, 8, 10)
    gallery.survey(0, 8, 10)
    gallery.thumbnails([5, 6, 7], 10)
    assert data.reads == list(range(8))
    (record,) = gallery.thumbnails([0], 10)  # its thumbnail had to go
    assert data.reads == [*range(8), 0]
    assert record["image"]


def test_a_file_that_is_gone_is_one_cell_and_may_come_back():
    data = FakeDataset(20)
    gone = {9, 12}

    def read(index):
        if index in gone:
            raise FileNotFoundError(f"scene-{index:03d}.jpg is gone")
        return scene(index)

    data.read = read
    viewer = explore(data)
    (answer,) = sent_by(viewer, {"type": "thumbnails", "indexes": [9, 10]})
    assert answer["records"][0] == {
        "index": 9,
        "facts": {"pixels": {}, "objects": {}, "wrong": None, "problem": "FileNotFoundError: scene-009.jpg is gone"},
    }
    assert "image" in answer["records"][1]
    viewer.with_class = "car"
    assert 9 not in viewer.found
    viewer.with_class, viewer.sort = "", "area"
    assert sorted(viewer.found[-2:]) == [9, 12]
    assert viewer.error == ""
    gone.clear()
    (answer,) = sent_by(viewer, {"type": "thumbnails", "indexes": [9]})
    assert answer["records"][0]["facts"]["problem"] == ""


def test_a_broken_picture_among_the_first_does_not_keep_the_gallery_shut():
    data = FakeDataset(6)
    read = data.read
    data.read = lambda index: read(index) if index != 2 else read(99 / 0)
    viewer = explore(data)
    assert [picture["index"] for picture in viewer.pictures] == [0, 1]
    assert viewer.figure_png().startswith(b"\x89PNG")
    assert sent_by(viewer, {"type": "picture", "index": 2}) == []
    assert viewer.error == "ZeroDivisionError: division by zero"


def test_the_same_error_is_announced_again():
    viewer = explore(FakeDataset(3))
    announced = []
    viewer.observe(lambda change: announced.append(change["new"]), "error")
    for _ in range(2):
        sent_by(viewer, {"type": "picture", "index": 7})
    assert announced.count("IndexError: list index out of range") == 2


def test_ten_thousand_pictures_open_without_being_read():
    data = FakeDataset(10_000)
    viewer = explore(data)
    assert len(data.reads) == 8
    assert viewer.count == 10_000
    assert len(json.dumps(viewer.get_state()["names"])) < 200_000


def test_counts_of_a_picture_are_exact():
    image, labels = scene(3)
    labels[:5] = 255
    prediction = guess(labels, 1, 0.3)
    item = {"image": image, "labels": labels, "prediction": prediction}
    payload = MaskViewer([item], LABELS, PALETTE).payload(0)
    assert payload["counts"]["truth"] == np.bincount(labels.ravel(), minlength=256)[:8].tolist()
    assert payload["counts"]["prediction"] == np.bincount(prediction.ravel(), minlength=256)[:8].tolist()
    wrong = labels[(labels != prediction) & (labels != 255)]
    assert wrong.size > 0
    assert payload["counts"]["errors"] == np.bincount(wrong, minlength=8).tolist()


# Flags


def test_flags_survive_and_come_back_in_the_order_of_the_data(tmp_path):
    viewer = explore(FakeDataset(20))
    assert not viewer.flags_path.exists()  # looking writes nothing
    viewer.flagged = ["scene-011", "scene-003"]
    assert viewer.flagged == ["scene-003", "scene-011"]
    assert viewer.flags_path.parent == tmp_path / "flags"
    assert json.loads(viewer.flags_path.read_text()) == {"flagged": ["scene-003", "scene-011"]}

    again = explore(FakeDataset(20))  # as after a restart of the kernel
    assert again.flagged == ["scene-003", "scene-011"]
    sent_by(again, {"type": "set", "values": {"flagged": ["scene-003"]}})
    assert explore(FakeDataset(20)).flagged == ["scene-003"]
    assert explore(FakeDataset(21)).flagged == []  # other pictures, another file


def test_two_views_of_the_same_data_do_not_undo_each_other(tmp_path):
    data = FakeDataset(20)
    first, second = explore(data, flags=tmp_path / "mine.json"), explore(data, flags=tmp_path / "mine.json")
    first.flagged = ["scene-001"]
    second.flagged = ["scene-002"]
    assert Flags(tmp_path / "mine.json").read() == ["scene-001", "scene-002"]
    first.flagged = []
    assert explore(data, flags=tmp_path / "mine.json").flagged == ["scene-002"]


def test_flags_of_other_pictures_stay(tmp_path):
    data = FakeDataset(20)
    explore(data, flags=tmp_path / "mine.json").flagged = ["scene-001", "scene-015"]
    part = explore(data.subset([14, 15, 16]), flags=tmp_path / "mine.json")
    assert part.flagged == ["scene-015"]
    part.flagged = ["scene-016"]
    assert explore(data, flags=tmp_path / "mine.json").flagged == ["scene-001", "scene-016"]


def test_the_default_file_goes_with_the_data_not_with_its_looks(tmp_path):
    data = types.SimpleNamespace(origin={"reader": "from_folder", "images": "/data/streets/images", "classes": ["a"]})
    path = default_path(data, ["x"])
    assert re.fullmatch(r"flags/streets-[0-9a-f]{8}\.json", path.as_posix())
    data.origin["classes"] = ["a", "b"]
    assert default_path(data, ["x"]) == path
    data.origin["images"] = "/data/others/images"
    assert default_path(data, ["x"]) != path
    sample = types.SimpleNamespace(origin={"reader": "load_sample", "name": "street", "part": "train"})
    assert default_path(sample, []).name.startswith("street-train-")
    odd = types.SimpleNamespace(origin={"reader": "from_hf", "name": "../a b/<c>"})
    assert default_path(odd, []).parent.as_posix() == "flags"
    assert re.fullmatch(r"a-b-c-\w{8}\.json", default_path(odd, []).name)


@pytest.mark.parametrize("content", ["", "[]", '{"flagged": "scene"}', '{"flagged": [1]}', "\x00", '{"other": []}'])
def test_a_file_that_holds_no_flags_is_refused_and_kept(tmp_path, content):
    file = tmp_path / "mine.json"
    file.write_text(content)
    with pytest.raises(SegnbError, match=r"mine\.json' holds no flags: it should read \{\"flagged\""):
        explore(FakeDataset(3), flags=file)
    assert file.read_text() == content


def test_flags_that_cannot_be_written_are_told_and_kept_in_memory(tmp_path):
    (tmp_path / "file").write_text("")
    viewer = explore(FakeDataset(3), flags=tmp_path / "new" / "mine.json")
    viewer._flags.path = tmp_path / "file" / "mine.json"  # where no folder can be made
    sent_by(viewer, {"type": "set", "values": {"flagged": ["scene-001"]}})
    assert viewer.error.startswith("SegnbError: The flags cannot be saved in ")
    assert viewer.error.endswith("give a file that can be written as flags=")
    assert viewer.flagged == ["scene-001"]


def test_a_file_for_flags_that_cannot_be_read(tmp_path):
    with pytest.raises(
        SegnbError, match=r"The flags in .* cannot be read \(Is a directory\): give another file as flags="
    ):
        explore(FakeDataset(3), flags=tmp_path)


# Traits


def test_what_a_click_sets():
    viewer = explore(FakePrediction(2))
    clicked = {
        "layer": "errors",
        "labels_as": "outline",
        "against": "truth",
        "arrangement": "side by side",
        "opacity": 0.2,
    }
    assert sent_by(viewer, {"type": "set", "values": clicked}) == [{"type": "done"}]
    assert {name: getattr(viewer, name) for name in clicked} == clicked
    assert sent_by(viewer, {"type": "set", "values": {"palette": []}}) == [{"type": "done"}]
    assert viewer.error.startswith("SegnbError: 'palette' cannot be set from the page")


def test_what_is_shown_to_begin_with():
    assert explore(FakePrediction()).layer == "prediction"
    assert explore(FakeDataset(2)).layer == "truth"
    assert MaskViewer([{"image": scene(0)[0]}], LABELS, PALETTE).layer == "photo"
    names = ["background", "cell"]
    viewer = MaskViewer([{"image": scene(0)[0]}], names, PALETTE[:2])
    assert viewer.shown == ["cell"]  # the colour of the background would cover the picture
    viewer.sort = "area"
    assert viewer._wish().labels == (1,)


@pytest.mark.parametrize(
    ("trait", "value", "text"),
    [
        ("index", 3, "There is no picture 3: index is 0 to 2"),
        ("index", -1, "There is no picture -1"),
        ("layer", "mask", "layer is 'photo' or 'truth' or 'prediction' or 'errors', not 'mask'"),
        ("sort", "size", "sort is 'data' or 'name' or 'area' or 'largest object' or 'smallest object' or 'errors'"),
        ("with_class", "cars", "There is no class 'cars'. Did you mean 'car'?"),
        ("shown", ["sky", "rode"], "There is no class 'rode'. Did you mean 'road'"),
        ("flagged", ["scene-009"], "There is no picture 'scene-009'. Did you mean 'scene-00"),
        ("object_pixels", [3], "object_pixels is [least, most], whole numbers from 0 or None for no bound, not [3]"),
        ("object_pixels", [-1, None], "object_pixels is [least, most]"),
        ("object_pixels", [0.5, 3], "object_pixels is [least, most]"),
    ],
)
def test_wrong_values_are_refused_with_a_sentence(trait, value, text):
    viewer = explore(FakeDataset(3))
    before = getattr(viewer, trait)
    with pytest.raises(SegnbError, match=re.escape(text)):
        setattr(viewer, trait, value)
    assert getattr(viewer, trait) == before


def test_more_classes_than_a_mask_can_hold():
    with pytest.raises(SegnbError, match="300 classes: a mask has at most 255, labels 0 to 254"):
        MaskViewer([{"image": scene(0)[0]}], [str(i) for i in range(300)], np.zeros((300, 3), np.uint8))


def test_masks_of_several_classes_a_pixel_are_refused_by_name():
    image, labels = scene(0)
    stack = np.stack([labels == label for label in range(8)])
    with pytest.raises(
        SegnbError, match=r"The mask of 'x' is \(8, 128, 192\) with several classes a pixel, but one label"
    ):
        MaskViewer([{"image": image, "labels": stack, "name": "x"}], LABELS, PALETTE)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 20_000)])
def test_pictures_of_odd_sizes(height, width):
    labels = np.zeros((height, width), np.uint8)
    viewer = MaskViewer([{"image": np.zeros((height, width), np.uint8), "labels": labels}], LABELS, PALETTE)
    payload = viewer.payload(0)
    assert (payload["width"], payload["height"]) == (width, height)
    assert decoded(payload["truth"]).shape == decoded(payload["image"]).shape[:2]
    assert payload["counts"]["truth"][0] == height * width
    assert viewer.figure_png().startswith(b"\x89PNG")


# Code


def run_code(viewer, **names) -> dict:
    exec(viewer.as_code(), names)
    return names


def test_code_opens_the_same_view_and_picks_the_same_pictures():
    data = FakeDataset(12)
    viewer = explore(data)
    assert viewer.as_code() == (
        "import segnb\n\n# data: what explore() was given\nviewer = segnb.explore(data)\nviewer"
    )
    viewer.search, viewer.with_class, viewer.sort, viewer.descending = "scene-0", "person", "largest object", True
    viewer.object_pixels = [50, None]
    viewer.shown = ["person", "car"]
    viewer.flagged = ["scene-007", "scene-002"]
    ran = run_code(viewer, data=data)
    assert ran["viewer"] is not viewer
    for name in viewer.settable:
        assert getattr(ran["viewer"], name) == getattr(viewer, name)
    assert ran["found"].names == [data.names[index] for index in viewer.found]
    assert ran["chosen"].names == ran["flagged"] == ["scene-002", "scene-007"]


def test_code_of_predictions_and_of_a_file_for_flags(tmp_path):
    predictions = [FakePrediction(seed) for seed in range(4)]
    viewer = explore(predictions, flags=tmp_path / "mine 'own'.json")
    viewer.sort, viewer.descending, viewer.flagged = "errors", True, ["scene-003"]
    ran = run_code(viewer, predictions=predictions)
    assert ran["viewer"].flags_path == tmp_path / "mine 'own'.json"
    assert ran["found"] == [predictions[index] for index in viewer.found]
    assert ran["chosen"] == [predictions[3]]


def test_code_uses_the_name_that_the_notebook_has(monkeypatch):
    train = FakeDataset(3)
    shell = types.SimpleNamespace(user_ns={"_": train, "train": train, "valid": FakeDataset(2)})
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    assert "\nviewer = segnb.explore(train)\n" in explore(train).as_code()


# Sources


def test_saved_predictions_are_not_read_for_their_names(tmp_path):
    class Saved(list):
        def __init__(self, predictions):
            super().__init__(predictions)
            self.read = 0
            self.paths = [tmp_path / f"{one.name}.png" for one in predictions]

        def __getitem__(self, index):
            self.read += 1
            return super().__getitem__(index)

        def __iter__(self):
            raise AssertionError("all of them are read")

    saved = Saved([FakePrediction(seed) for seed in range(9)])
    viewer = explore(saved)
    assert viewer.names == [f"scene-{i:03d}" for i in range(9)]
    assert saved.read < 9 + 4  # the first ones, which travel with the widget, and the first one's classes and colours
