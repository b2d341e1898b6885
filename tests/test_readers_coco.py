"""COCO: every kind of outline becomes the labels written out here, and every broken file is named."""

from __future__ import annotations

import json
import pickle
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from pycocotools import mask as pycoco
from test_datasets import refused

from segnb.data import SegmentationDataset
from segnb.data.coco_masks import uncompress

HEIGHT, WIDTH = 6, 8
SQUARE = [2, 1, 6, 1, 6, 4, 2, 4]  # rows 1 to 3, columns 2 to 5
CATEGORIES = [{"id": 90, "name": "dog"}, {"id": 7, "name": "zebra"}]  # not in order, not contiguous


def box(rows, columns, value=1):
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[rows, columns] = value
    return labels


def ring():
    return box(slice(0, 5), slice(0, 5)) - box(slice(1, 4), slice(1, 4))


def columns_of(mask):
    """Uncompressed run lengths, column by column, beginning with zeros."""
    flat, counts, value = mask.flatten(order="F").tolist(), [], 0
    while flat:
        run = next((i for i, pixel in enumerate(flat) if pixel != value), len(flat))
        counts, flat, value = [*counts, run], flat[run:], 1 - value
    return counts


def compressed(mask):
    runs = pycoco.encode(np.asfortranarray(mask))
    return {"size": list(mask.shape), "counts": runs["counts"].decode()}


def thing(segmentation, category=7, image=1, **more):
    return {"id": 5, "image_id": image, "category_id": category, "segmentation": segmentation, **more}


@pytest.fixture
def coco(tmp_path):
    """Write pictures and a JSON file; returns the arguments of from_coco."""

    def write(*things, names=("a.png",), categories=CATEGORIES, **changes):
        (tmp_path / "images").mkdir(exist_ok=True)
        images = []
        for number, name in enumerate(names, start=1):
            (tmp_path / "images" / name).parent.mkdir(exist_ok=True)
            Image.fromarray(np.full((HEIGHT, WIDTH, 3), number, np.uint8)).save(tmp_path / "images" / name)
            images.append({"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH})
        content = {"images": images, "categories": categories, "annotations": list(things), **changes}
        (tmp_path / "instances.json").write_text(json.dumps(content))
        return tmp_path / "images", tmp_path / "instances.json"

    return write


def labels_of(arguments, **options):
    return SegmentationDataset.from_coco(*arguments, **options).read(0)[1]


def test_polygon(coco):
    data = SegmentationDataset.from_coco(*coco(thing([SQUARE])))
    assert data.classes == data.label_names == ["background", "zebra", "dog"]  # in the order of the ids 7 and 90
    assert (data.read(0)[1] == box(slice(1, 4), slice(2, 6))).all()
    assert (labels_of(coco(thing([SQUARE], 90))) == box(slice(1, 4), slice(2, 6), 2)).all()


def test_thing_of_two_polygons(coco):
    corner = [0, 4, 2, 4, 2, 6, 0, 6]
    expected = box(slice(1, 4), slice(2, 6)) + box(slice(4, 6), slice(0, 2))
    assert (labels_of(coco(thing([SQUARE, corner]))) == expected).all()


@pytest.mark.parametrize("kind", ["compressed", "list"])
def test_run_lengths_with_a_hole(coco, kind):
    segmentation = compressed(ring()) if kind == "compressed" else {"size": [6, 8], "counts": columns_of(ring())}
    assert (labels_of(coco(thing(segmentation))) == ring()).all()


def test_smaller_things_lie_on_top_then_later_ones(coco):
    large, small = compressed(box(slice(0, 6), slice(0, 6))), compressed(box(slice(2, 4), slice(2, 4)))
    expected = box(slice(0, 6), slice(0, 6), 2)
    expected[2:4, 2:4] = 1
    assert (labels_of(coco(thing(large, 90), thing(small, 7))) == expected).all()
    assert (labels_of(coco(thing(small, 7), thing(large, 90))) == expected).all()
    left, right = compressed(box(0, slice(0, 4))), compressed(box(0, slice(2, 6)))
    assert labels_of(coco(thing(left, 7), thing(right, 90)))[0].tolist() == [1, 1, 2, 2, 2, 2, 0, 0]
    assert labels_of(coco(thing(right, 90), thing(left, 7)))[0].tolist() == [1, 1, 1, 1, 2, 2, 0, 0]


def test_crowds_are_ignored_except_where_a_thing_is(coco):
    crowd = thing({"size": [6, 8], "counts": columns_of(box(0, slice(2, 7)))}, 90, iscrowd=1)
    one = thing(compressed(box(slice(0, 6), slice(0, 4))), 7)
    for things in ((crowd, one), (one, crowd)):
        labels = labels_of(coco(*things))
        assert labels[0].tolist() == [1, 1, 1, 1, 255, 255, 255, 0]
        assert labels[1].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


def test_crowds_alone_are_not_taken_for_the_foreground(coco):
    """A binary data set with 0 and 255 only would mean 255 = foreground if the masks were files."""
    crowd = thing({"size": [6, 8], "counts": columns_of(box(0, 0))}, iscrowd=1)
    data = SegmentationDataset.from_coco(*coco(crowd), ["zebra"])
    assert data.label_names == ["background", "zebra"]
    assert data.read(0)[1][0, 0] == 255


def test_chosen_categories(coco):
    arguments = coco(thing([SQUARE], 7), thing(compressed(box(0, slice(0, 8))), 90))
    data = SegmentationDataset.from_coco(*arguments, ["dog"])
    assert data.classes == ["dog"]
    assert (data.read(0)[1] == box(0, slice(0, 8))).all()
    assert SegmentationDataset.from_coco(*arguments, ["dog", "zebra"]).label_names == ["background", "dog", "zebra"]
    assert (labels_of(arguments, classes=["dog", "zebra"])[1:4, 2:6] == 2).all()
    message = refused(
        "instances.json has no category 'zebras'. Did you mean 'zebra'?",
        *arguments,
        ["zebras"],
        call=SegmentationDataset.from_coco,
    )
    assert str(arguments[1]) in message
    refused("classes='dog': give a list of names", *arguments, "dog", call=SegmentationDataset.from_coco)


def test_a_category_called_background_is_the_background(coco):
    categories = [{"id": 0, "name": "background"}, {"id": 1, "name": "cell"}, {"id": 4, "name": "cell"}]
    arguments = coco(thing([SQUARE], 4), thing(compressed(box(0, slice(0, 8))), 0), categories=categories)
    data = SegmentationDataset.from_coco(*arguments)
    assert data.classes == ["cell"]
    assert (data.read(0)[1] == box(slice(1, 4), slice(2, 6))).all()


def test_pictures_in_folders_and_without_annotations(coco):
    data = SegmentationDataset.from_coco(*coco(thing([SQUARE], image=2), names=("a.png", "deep/b.png")))
    assert data.names == ["a", "b"]
    assert not data.read(0)[1].any()
    assert data.read(1)[1].any()
    assert data.read(1)[0][0, 0, 0] == 2


def test_masks_are_drawn_when_they_are_read_and_travel(coco):
    arguments = coco(thing([SQUARE]), thing([[1, 2, 3]], image=2), names=("a.png", "b.png"))
    data = SegmentationDataset.from_coco(*arguments)
    assert (pickle.loads(pickle.dumps(data)).read(0)[1] == box(slice(1, 4), slice(2, 6))).all()
    refused("has no valid segmentation", 1, call=data.read)


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 1)))
def test_compressed_run_lengths_are_written_out(mask):
    assert uncompress(compressed(mask)["counts"]) == columns_of(mask)


def test_large_run_lengths_are_written_out():
    mask = np.zeros((700, 900), np.uint8)
    mask[5:600, 30:850] = 1
    assert uncompress(compressed(mask)["counts"]) == columns_of(mask)


# What is refused ------------------------------------------------------------------------------------------------------


def fails(text, arguments, **options):
    return refused(text, *arguments, call=SegmentationDataset.from_coco, **options)


GOOD = compressed(ring())


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ([[1, 1, 4, 4]], "a polygon is a list [x1, y1, x2, y2, x3, y3, ...] of at least three points"),
        ([[1, 1, 4, 4, 5, 5, 6]], "of at least three points"),
        ([1, 1, 4, 4, 5, 5], "of at least three points"),
        ([["a", "b", "c", "d", "e", "f"]], "could not convert string to float"),
        ([[0, 0, 1e9, 0, 1e9, 1]], "a polygon leads far out of the picture"),
        ([[0, 0, float("nan"), 0, 5, 1]], "a polygon leads far out of the picture"),
        ({"size": [8, 6], "counts": [48]}, "its size is [8, 6], that of the picture [6, 8]"),
        ({"size": [6, 8], "counts": [3, 2, 1]}, "its counts add up to 6 pixels, the picture has 48"),
        ({"size": [6, 8], "counts": [50, -2]}, "its counts add up to 48 pixels"),
        ({**GOOD, "counts": "000"}, "its counts add up to 0 pixels, the picture has 48"),
        ({**GOOD, "counts": GOOD["counts"][:-1]}, "its counts end in the midst of a number"),
        ({**GOOD, "counts": GOOD["counts"] * 2}, "the picture has 48"),
        ({**GOOD, "counts": "Q"}, "its counts end in the midst of a number"),
        ({**GOOD, "counts": "é!"}, "its counts have characters that are no digits"),
        ({**GOOD, "counts": 3}, "TypeError"),
        ({"counts": "11"}, "KeyError: 'size'"),
    ],
)
def test_outlines_that_are_none(coco, segmentation, reason):
    message = fails("annotation 5 has no valid segmentation (", coco(thing(segmentation)))
    assert reason in message
    assert "the mask of " in message
    assert "a.png in " in message
    assert "Correct it or take it out of the file" in message


@pytest.mark.parametrize("segmentation", [[], None])
def test_boxes_are_no_masks(coco, segmentation):
    fails("annotation 5 has no segmentation, perhaps only a box", coco(thing(segmentation, bbox=[0, 0, 3, 3])))


def test_files_that_are_missing_or_broken(coco):
    images, file = coco(thing([SQUARE]))
    fails(
        f"There is no file {file.with_name('instance.json')}. Did you mean 'instances.json'?",
        (images, file.with_name("instance.json")),
    )
    fails("There is no folder", (images.with_name("image"), file))
    (images / "a.png").unlink()
    message = fails("1 of 1 file that", (images, file))
    assert f"{file} tells of is missing: {images / 'a.png'}" in message
    file.write_text('{"images": [')
    fails(f"{file} is not valid JSON (", (images, file))
    for content in ("[]", '{"images": [], "annotations": {}}'):
        file.write_text(content)
        fails("has no list ", (images, file))


@pytest.mark.parametrize(
    "name", ["../a.png", "/etc/passwd", "x/../../a.png", "..\\a.png", "C:\\a.png", "\\\\h\\a.png", ""]
)
def test_file_names_stay_in_the_folder(coco, name):
    entry = {"id": 1, "file_name": name, "height": 6, "width": 8}
    arguments = coco(images=[entry])
    message = fails(f"names the file {name!r}, which is not inside", arguments)
    assert str(arguments[1]) in message


def test_entries_that_lack_something(coco):
    entry = {"id": 1, "file_name": "a.png", "height": 6}
    fails("entry 0 of 'images' has no width", coco(images=[entry]))
    fails("entry 0 of 'images' has no file_name, height, id, width", coco(images=["a.png"]))
    fails("has height and width ('6', 8): they are numbers", coco(images=[{**entry, "height": "6", "width": 8}]))
    fails("annotation 5 has category_id 3, which is not among the categories", coco(thing([SQUARE], 3)))
    fails("annotation 5 has image_id 3, which is not among the images", coco(thing([SQUARE], image=3)))
    fails("has no category to learn, but 0 in all", coco(categories=[]))
    fails("A data set needs at least one image", coco(names=()))


def test_picture_of_another_size(coco):
    arguments = coco(thing([SQUARE]))
    Image.new("RGB", (5, 5)).save(arguments[0] / "a.png")
    message = fails("a.png is 5 × 5 pixels but the mask of", arguments)
    assert "instances.json is 8 × 6" in message


def test_without_pycocotools(coco, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    text = 'SegmentationDataset.from_coco needs pycocotools: pip install "segnb[data]" (or pip install pycocotools).'
    fails(text, coco(thing([SQUARE])))
