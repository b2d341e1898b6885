"""Data sets: what is read back equals what was written, and every misfit is named with its file and the fix."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from albumentations.pytorch import ToTensorV2
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from segnb import draw
from segnb.data import SegmentationDataset, datasets, load_sample, reading
from segnb.data.transforms import seed_transform
from segnb.errors import SegnbError

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (6, 8, 3), np.uint8)
LABELS = RNG.integers(0, 3, (6, 8), np.uint8)
NAMES = ["sky", "road", "car"]


@pytest.fixture
def folders(tmp_path):
    """Two folders with three pairs, a.png to c.png, labels 0 to 2."""
    for kind, array in (("images", PHOTO), ("masks", LABELS)):
        (tmp_path / kind).mkdir()
        for stem in "abc":
            save(array, tmp_path / kind / f"{stem}.png")
    return tmp_path / "images", tmp_path / "masks"


def save(array, path, mode=None, **options):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def one(image=PHOTO, mask=LABELS, classes=NAMES, transform=None, **options):
    return SegmentationDataset([image], [mask], classes, transform, **options)


def refused(text, *args, call=one, **options):
    """The call raises a SegnbError whose message has this text."""
    with pytest.raises(SegnbError, match=re.escape(text)) as caught:
        call(*args, **options)
    return str(caught.value)


# Reading --------------------------------------------------------------------------------------------------------------


def test_folder_gives_tensors_and_arrays(folders):
    data = SegmentationDataset.from_folder(*folders, NAMES)
    assert len(data) == 3
    assert data.names == ["a", "b", "c"]
    assert data.classes == data.label_names == NAMES
    assert data.in_channels == 3
    assert (data.palette == draw.palette(3)).all()
    image, labels = data[1]
    assert image.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert image.shape == (3, 6, 8)
    assert (image.numpy() == PHOTO.transpose(2, 0, 1)).all()
    assert (labels.numpy() == LABELS).all()
    pixels, values = data.read(-1)
    assert (pixels == PHOTO).all()
    assert (values == LABELS).all()
    assert (pixels.dtype, values.dtype) == (np.uint8, np.uint8)
    with pytest.raises(IndexError):
        data[3]
    assert len(list(data)) == 3


@pytest.mark.parametrize("extension", ["png", "PNG", "tif", "TIFF", "webp", "WebP"])
@pytest.mark.parametrize("mask_extension", ["png", "TIF", "tiff", "webp"])
def test_lossless_formats_in_any_case(tmp_path, extension, mask_extension):
    (tmp_path / "i").mkdir()
    (tmp_path / "m").mkdir()
    lossless = {"lossless": True} if extension.lower() == "webp" else {}
    save(PHOTO, tmp_path / "i" / f"x.{extension}", **lossless)
    save(LABELS, tmp_path / "m" / f"x.{mask_extension}", **({"lossless": True} if mask_extension == "webp" else {}))
    image, labels = SegmentationDataset.from_folder(tmp_path / "i", tmp_path / "m", NAMES).read(0)
    assert (image == PHOTO).all()
    assert (labels == LABELS).all()


@pytest.mark.parametrize("extension", ["jpg", "JPEG"])
def test_jpeg_images(tmp_path, extension):
    smooth = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    image, _ = one(save(smooth, tmp_path / f"x.{extension}", quality=95), np.zeros((16, 16), np.uint8)).read(0)
    assert np.abs(image.astype(int) - smooth).max() <= 3


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("1", 1), ("LA", 1), ("RGB", 3), ("RGBA", 3), ("P", 3)])
def test_image_modes(tmp_path, mode, channels):
    path = save(PHOTO, tmp_path / "x.png", mode)
    data = one(path)
    image, _ = data.read(0)
    assert data.in_channels == channels
    expected = np.array(Image.open(path).convert("L" if channels == 1 else "RGB"))
    assert (image.squeeze() == expected).all()
    assert image.shape == (6, 8, channels)
    assert data[0][0].shape == (channels, 6, 8)


def test_cmyk_jpeg_becomes_rgb(tmp_path):
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    image, _ = one(save(flat, tmp_path / "x.jpg", "CMYK", quality=95), np.zeros((16, 16), np.uint8)).read(0)
    assert np.abs(image.astype(int) - flat).max() <= 4


def test_alpha_is_dropped_not_blended(tmp_path):
    path = save(np.dstack([PHOTO, np.zeros((6, 8), np.uint8)]), tmp_path / "x.png")
    assert (one(path).read(0)[0] == PHOTO).all()


def rotated_jpeg(path, upright, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[orientation]
    Image.fromarray(upright).transpose(back).save(path, exif=exif, quality=95)
    return path


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_exif_rotation_is_applied_to_images(tmp_path, orientation):
    upright = np.zeros((32, 16, 3), np.uint8)
    upright[:8] = 255  # white above
    image, _ = one(rotated_jpeg(tmp_path / "x.jpg", upright, orientation), np.zeros((32, 16), np.uint8)).read(0)
    assert image.shape == (32, 16, 3)
    assert image[:6].min() > 240
    assert image[10:].max() < 15


def test_mask_drawn_on_the_unrotated_photo_is_named(tmp_path):
    path = rotated_jpeg(tmp_path / "x.jpg", np.zeros((32, 16, 3), np.uint8), 6)
    message = refused("x.jpg is 16 × 32 pixels but mask 0 is 32 × 16", path, np.zeros((16, 32), np.uint8))
    assert "images are shown upright as EXIF says" in message


def test_arrays_of_any_channels_and_label_types():
    five = RNG.integers(0, 256, (6, 8, 5), np.uint8)
    data = SegmentationDataset([five, five], [LABELS.astype(np.int64), LABELS.astype(np.uint16)], NAMES)
    assert data.in_channels == 5
    assert data.names == ["000", "001"]
    assert (data.read(0)[0] == five).all()
    assert (data.read(1)[1] == LABELS).all()
    assert one(PHOTO[:, :, 0]).in_channels == 1
    assert one(mask=LABELS > 0, classes=["thing"]).read(0)[1].tolist() == (LABELS > 0).astype(int).tolist()


def test_read_gives_copies_and_leaves_the_users_arrays_alone():
    photo, mask = PHOTO.copy(), LABELS.copy()
    data = one(photo, mask)
    for _ in range(2):
        image, labels = data.read(0)
        assert (image == PHOTO).all()
        image[:] = 0
        labels[:] = 0
        tensor, target = data[0]
        tensor[:] = 0
        target[:] = 0
    assert (photo == PHOTO).all()
    assert (mask == LABELS).all()


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_labels_survive_a_round_trip_through_png(data):
    count = data.draw(st.integers(1, 255), label="classes")
    height, width = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)), label="size")
    seed = data.draw(st.integers(0, 2**32 - 1), label="seed")
    ignored = data.draw(st.booleans(), label="ignored")
    stored_as = data.draw(st.sampled_from(["grey", "index", "value", "colour"]), label="stored as")
    rng = np.random.default_rng(seed)
    n_labels = max(count, 2)
    labels = rng.integers(0, n_labels, (height, width), np.uint8)
    labels.flat[0] = 1  # a mask of 0 and 255 alone would mean something else
    if ignored:
        labels[rng.random(labels.shape) < 0.2] = 255
        labels.flat[0] = 1
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    codes = rng.permutation(256)[: n_labels + 1]
    if stored_as == "colour":
        codes = codes * 66_051 % 2**24  # an odd factor keeps them different
    with tempfile.TemporaryDirectory() as folder:
        path, mask_values = Path(folder, "mask.png"), None
        if stored_as == "grey":
            save(labels, path)
        elif stored_as == "index":
            picture = Image.fromarray(labels)
            picture.putpalette(rng.integers(0, 256, 768).tolist())
            picture.save(path)
        else:
            table = np.zeros(256, int)
            table[np.arange(n_labels)], table[255] = codes[:n_labels], codes[-1]
            coded = table[labels]
            mask_values = codes.tolist()
            if stored_as == "colour":
                mask_values = [(code >> 16, code >> 8 & 255, code & 255) for code in mask_values]
                coded = np.stack([coded >> 16, coded >> 8 & 255, coded & 255], axis=2)
            save(coded.astype(np.uint8), path)
        names = [f"class {i}" for i in range(count)]
        read = SegmentationDataset([image], [path], names, mask_values=mask_values)
        assert (read.read(0)[1] == labels).all()
        assert (read.read(0)[0] == image).all()
        assert len(read.palette) == len(read.label_names) == n_labels


# What mask values mean ------------------------------------------------------------------------------------------------


def test_single_class_is_binary():
    data = one(mask=(LABELS > 0).astype(np.uint8), classes=["road"])
    assert data.label_names == ["background", "road"]
    assert data.classes == ["road"]
    assert data.palette.shape == (2, 3)
    assert set(data.read(0)[1].flat) == {0, 1}


@pytest.mark.parametrize("classes", [["road"], ["rest", "road"]])
def test_0_and_255_mean_background_and_foreground(tmp_path, classes):
    path = save(np.where(LABELS > 0, 255, 0).astype(np.uint8), tmp_path / "m.png")
    data = one(mask=path, classes=classes)
    assert (data.read(0)[1] == (LABELS > 0)).all()
    assert "masks: 0 and 255, where 255 means road" in repr(data)


def test_0_and_255_of_three_classes_is_ignore():
    mask = np.where(LABELS > 0, 255, 0).astype(np.uint8)
    data = one(mask=mask)
    assert (data.read(0)[1] == mask).all()
    assert "masks: labels as stored" in repr(data)


def test_0_1_255_of_two_labels_keeps_255_as_ignore():
    mask = np.array([[0, 1, 255]], np.uint8)
    assert one(PHOTO[:1, :3], mask, ["road"]).read(0)[1].tolist() == [[0, 1, 255]]


def test_one_bit_masks(tmp_path):
    path = save(np.where(LABELS > 0, 255, 0).astype(np.uint8), tmp_path / "m.png", "1")
    assert Image.open(path).mode == "1"
    assert (one(mask=path, classes=["road"]).read(0)[1] == (LABELS > 0)).all()


def test_detection_looks_on_until_a_mask_is_not_empty():
    """Rare defects: the first sample of masks is empty, and still 255 is found to be the foreground."""
    masks = [np.zeros((2, 2), np.uint8) for _ in range(100)]
    masks[97][0, 0] = 255
    data = SegmentationDataset([PHOTO[:2, :2]] * 100, masks, ["defect"])
    assert data.read(97)[1].tolist() == [[1, 0], [0, 0]]


def test_other_value_in_a_0_255_data_set_is_refused():
    masks = [np.array([[0, 255]], np.uint8)] * 100
    masks[97] = np.array([[0, 1]], np.uint8)
    data = SegmentationDataset([PHOTO[:1, :2]] * 100, masks, ["road"])
    message = refused("mask 97 has the value 1 (first at row 0, column 1), while the masks", 97, call=data.read)
    assert "hold only 0 and 255 (read as 255 = 'road')" in message
    assert "mask_values" in message


def test_rgb_mask_with_equal_channels_is_grey(tmp_path):
    path = save(LABELS, tmp_path / "m.png", "RGB")
    assert Image.open(path).mode == "RGB"
    assert (one(mask=path).read(0)[1] == LABELS).all()


COLOURS = [(128, 0, 0), (0, 128, 0), (0, 0, 255)]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "array"])
def test_colour_masks(tmp_path, mode):
    painted = np.array(COLOURS, np.uint8)[LABELS]
    if mode == "P":
        picture = Image.fromarray(LABELS[:, ::1].copy())
        picture.putpalette([part for colour in COLOURS for part in colour])
        picture.save(tmp_path / "m.png")
    elif mode != "array":
        save(painted, tmp_path / "m.png", mode)
    data = one(mask=painted if mode == "array" else tmp_path / "m.png", mask_values=COLOURS)
    assert (data.read(0)[1] == LABELS).all()
    assert data.palette.tolist() == [list(colour) for colour in COLOURS]
    assert "masks: one colour for each label, as mask_values says" in repr(data)


def test_grey_colours_in_a_colour_data_set(tmp_path):
    """A mask that shows only black and grey classes may be saved as a grey file."""
    path = save(np.array([[0, 70, 0]], np.uint8), tmp_path / "m.png")
    values = [(0, 0, 0), (70, 70, 70), (220, 20, 60)]
    assert one(PHOTO[:1, :3], path, mask_values=values).read(0)[1].tolist() == [[0, 1, 0]]
    assert one(PHOTO[:1, :3], np.array([[0, 70, 0]]), mask_values=values).read(0)[1].tolist() == [[0, 1, 0]]


def test_grey_mask_values_and_ignore():
    mask = np.array([[10, 20, 30, 255]], np.uint8)
    assert one(PHOTO[:1, :4], mask, mask_values=[30, 10, 20]).read(0)[1].tolist() == [[1, 2, 0, 255]]
    mask = np.array([[10, 20, 30, 7]], np.uint8)
    assert one(PHOTO[:1, :4], mask, mask_values=[30, 10, 20, 7]).read(0)[1].tolist() == [[1, 2, 0, 255]]
    mask = np.array([[0, 255, 255, 0]], np.uint8)
    assert one(PHOTO[:1, :4], mask, ["a"], mask_values=[255, 0]).read(0)[1].tolist() == [[1, 0, 0, 1]]


def test_colour_to_ignore():
    mask = np.array([[(0, 0, 0), (128, 0, 0), (224, 224, 192)]], np.uint8)
    data = one(PHOTO[:1, :3], mask, ["rest", "thing"], mask_values=[(0, 0, 0), (128, 0, 0), (224, 224, 192)])
    assert data.read(0)[1].tolist() == [[0, 1, 255]]
    assert data.palette.tolist() == [[0, 0, 0], [128, 0, 0]]


def test_unknown_colours_are_named(tmp_path):
    painted = np.array(COLOURS, np.uint8)[LABELS]
    painted[2, 5], painted[3, 1] = (1, 2, 3), (9, 9, 9)
    path = save(painted, tmp_path / "bad.png")
    message = refused(
        "bad.png has the colours (1, 2, 3), (9, 9, 9) (first at row 2, column 5)", mask=path, mask_values=COLOURS
    )
    assert "list one colour for each of the 3 labels" in message
    assert str(path) in message


def test_colour_mask_without_mask_values_is_explained(tmp_path):
    path = save(np.array(COLOURS, np.uint8)[LABELS], tmp_path / "m.png")
    for classes in (NAMES, ["road"]):
        message = refused(
            "m.png is a colour mask (with (0, 0, 255), (0, 128, 0), (128, 0, 0))", mask=path, classes=classes
        )
        assert "mask_values=[(R, G, B), ...]" in message
    pure_red = np.zeros((6, 8, 3), np.uint8)
    pure_red[2, 2, 0] = 255
    refused("is a colour mask", mask=pure_red, classes=["road"])  # not taken for 0 and 255


def test_labels_outside_the_classes(tmp_path):
    path = save(np.array([[0, 1, 2, 3, 4, 255]], np.uint8), tmp_path / "m.png")
    message = refused("m.png has the values 3, 4 (first at row 0, column 3)", PHOTO[:1, :6], path)
    assert "3 labels are numbered 0 to 2 (255 = ignore): name all 5 labels in classes" in message
    message = refused("has the value 300", PHOTO[:1, :2], np.array([[0, 300]]))
    assert "list the stored values in mask_values" in message
    refused("has the value -1", PHOTO[:1, :2], np.array([[0, -1]]))


def test_labels_numbered_from_one(tmp_path):
    path = save(LABELS + 1, tmp_path / "m.png")
    message = refused("m.png has the value 3", mask=path)
    assert "0 is absent, so they seem to be numbered from 1; then pass mask_values=range(1, 4)" in message
    assert (one(mask=path, mask_values=range(1, 4)).read(0)[1] == LABELS).all()


def test_smoothed_edges(tmp_path):
    ramp = np.linspace(0, 255, 48).astype(np.uint8).reshape(6, 8)
    message = refused("and 38 more (first at row 0, column 1)", mask=save(ramp, tmp_path / "m.png"), classes=["road"])
    assert "Edges look smoothed (anti-aliased)" in message
    disc = np.array(Image.fromarray(np.kron(LABELS > 0, np.ones((9, 9))).astype(np.uint8) * 255))
    path = save(disc, tmp_path / "m.jpg", quality=60)
    message = refused("JPEG changes values: save masks as PNG", np.zeros((54, 72), np.uint8), path, ["road"])
    message = refused("Edges look smoothed", mask=ramp, mask_values=[0, 128, 255])
    assert "not listed in mask_values" in message


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "tiff"])
@pytest.mark.parametrize("keep", [0.6, 0.02, 0])
def test_truncated_images_are_named(tmp_path, extension, keep):
    big = RNG.integers(0, 256, (64, 64, 3), np.uint8)
    path = save(big, tmp_path / f"broken.{extension}")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    message = refused(f"{path} cannot be read as an image (", path, np.zeros((64, 64), np.uint8))
    assert "replace the file, or remove it together with its partner" in message


@pytest.mark.parametrize("keep", [0.6, 0.1])
def test_truncated_masks_are_named(tmp_path, keep):
    path = save(np.kron(LABELS, np.ones((9, 9), np.uint8)), tmp_path / "broken.png")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    refused(f"{path} cannot be read as an image (", np.zeros((54, 72), np.uint8), path)


def test_text_in_an_image_file_and_missing_files(tmp_path):
    path = tmp_path / "x.png"
    path.write_text("not a picture")
    refused(f"{path} cannot be read as an image (it has no known format)", path)
    refused(f"{tmp_path / 'no.png'} does not exist (looked for in {tmp_path})", tmp_path / "no.png")
    refused("image 0 holds float64 values from 0 to 1", PHOTO / PHOTO.max())
    refused("image 0 is a NoneType: give a path or a NumPy array", None)
    refused("mask 0 is a list: give a path or a NumPy array", mask=[[0, 1]])
    refused("images='images' is one path: give a list", "images", "masks", NAMES, call=SegmentationDataset)


def test_a_later_broken_file_is_named_when_it_is_read(folders):
    path = folders[0] / "b.png"
    path.write_bytes(path.read_bytes()[:60])
    data = SegmentationDataset.from_folder(*folders, NAMES)
    data[0]
    refused(f"{path} cannot be read", 1, call=data.__getitem__)


def test_stack_of_pages(tmp_path):
    path = tmp_path / "stack.tif"
    Image.fromarray(PHOTO).save(path, save_all=True, append_images=[Image.fromarray(PHOTO)] * 2)
    refused(f"{path} has 3 pages: save the one to use", path)


def test_sizes_differ(tmp_path):
    image, mask = save(PHOTO, tmp_path / "i.png"), save(LABELS[:, :5].copy(), tmp_path / "m.png")
    message = refused(f"{image} is 8 × 6 pixels but {mask} is 5 × 6", image, mask)
    assert "resizing masks with nearest only" in message
    assert "EXIF" not in message
    message = refused("looks channels-first", np.zeros((3, 6, 8), np.uint8))
    assert "image.transpose(1, 2, 0)" in message


def test_channel_counts_differ(folders):
    save(PHOTO, folders[0] / "c.png", "L")
    data = SegmentationDataset.from_folder(*folders, NAMES)
    refused("c.png has 1 channel (grey), the first image has 3 channels (RGB)", 2, call=data.read)


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (PHOTO > 9, "image 0 holds (6, 8, 3) bool: an image is (H, W) or (H, W, C) numbers"),
        (PHOTO * 1j, "image 0 holds (6, 8, 3) complex128"),
        (PHOTO[None], "image 0 holds (1, 6, 8, 3) uint8"),
        (PHOTO[:0], "image 0 holds (0, 8, 3) uint8"),
    ],
)
def test_image_arrays_that_do_not_fit(image, text):
    refused(text, image)


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (LABELS.astype(float), "mask 0 holds (6, 8) float64: a mask is (H, W) integers, one label for each pixel"),
        (LABELS[:, :, None], "mask 0 holds (6, 8, 1) uint8"),
        (LABELS[:0], "mask 0 holds (0, 8) uint8"),
        (np.zeros((6, 8, 3)), "mask 0 holds (6, 8, 3) float64"),
    ],
)
def test_mask_arrays_that_do_not_fit(mask, text):
    refused(text, mask=mask)


def test_counts_that_do_not_fit():
    refused(
        "2 images but 1 masks: give one mask for each image", [PHOTO] * 2, [LABELS], NAMES, call=SegmentationDataset
    )
    refused("at least one image; the list is empty", [], [], NAMES, call=SegmentationDataset)
    refused("2 names for 1 images", names=["a", "b"])
    assert one(names=["first"]).names == ["first"]


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        ("road", "classes='road': give a list of names, such as ['road']"),
        (3, "classes=3: give a list of names"),
        ([], "classes=[]: give at least one name"),
        (["a", 2], "classes=['a', 2]: give at least one name, and names only"),
        (["a", "b", "a"], "classes repeats 'a'"),
        ([str(i) for i in range(256)], "256 classes: at most 255"),
    ],
)
def test_classes_that_do_not_fit(classes, text):
    refused(text, classes=classes)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0, 1], "mask_values has 2 entries for 3 labels (sky, road, car): give one for each label"),
        ([0, 1, 2, 3, 4], "mask_values has 5 entries for 3 labels"),
        ([0, (1, 2, 3), 2], "give whole numbers from 0 to 2147483647 only, or colours (R, G, B)"),
        ([0, 1, -1], "give whole numbers from 0 to 2147483647 only"),
        ([(0, 0), (1, 1), (2, 2)], "or colours (R, G, B) of 0 to 255 only"),
        ([(0, 0, 0), (1, 1, 1), (256, 2, 2)], "or colours (R, G, B) of 0 to 255 only"),
        ([0, 7, 7], "lists the same value twice"),
    ],
)
def test_mask_values_that_do_not_fit(values, text):
    refused(text, mask_values=values)


def test_palette_is_kept_or_refused():
    mine = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    data = one(palette=mine)
    assert data.palette.tolist() == mine
    assert data.palette.dtype == np.uint8
    assert data.subset([0]).palette.tolist() == mine
    assert one(palette=mine, mask_values=[0, 1, 2]).palette.tolist() == mine
    refused("palette has shape (2, 3): give one colour (R, G, B) of 0 to 255 for each of 3 labels", palette=mine[:2])
    refused("palette has shape (3, 3)", palette=[[0, 0, 300]] * 3)


# Folders --------------------------------------------------------------------------------------------------------------


def from_folder(images, masks):
    return SegmentationDataset.from_folder(images, masks, NAMES)


def test_other_files_are_passed_over(folders):
    (folders[0] / "Thumbs.db").write_text("x")
    (folders[0] / ".hidden.png").write_text("x")
    (folders[1] / "a folder.png").mkdir()
    assert len(from_folder(*folders)) == 3


def test_missing_folder_offers_what_is_there(folders):
    message = refused(
        f"There is no folder {folders[0].parent / 'image'}", folders[0].parent / "image", folders[1], call=from_folder
    )
    assert f"{folders[0].parent} has 2 folders. Did you mean 'images'" in message
    refused(f"{folders[0]} has 0 folders", folders[0] / "deep" / "er", folders[1], call=from_folder)
    refused("a.png is a file: give the folder", folders[0] / "a.png", folders[1], call=from_folder)


def test_relative_folder_is_found_and_explained(folders, monkeypatch):
    monkeypatch.chdir(folders[0].parent)
    assert len(from_folder("images", "masks")) == 3
    refused(
        f"There is no folder nothing: {folders[0].parent} has 2 folders. Choose from: images, masks.",
        "nothing",
        "masks",
        call=from_folder,
    )


def test_empty_folder_says_what_it_holds(tmp_path, folders):
    (tmp_path / "empty").mkdir()
    refused(
        "empty has no PNG, JPEG, TIFF or WebP files; it holds nothing", tmp_path / "empty", folders[1], call=from_folder
    )
    (tmp_path / "empty" / "train").mkdir()
    (tmp_path / "empty" / "x.bmp").write_text("x")
    refused("it holds train/, x.bmp", tmp_path / "empty", folders[1], call=from_folder)


def test_same_stem_twice(folders):
    save(PHOTO, folders[0] / "b.JPG")
    refused(f"b.JPG and b.png in {folders[0]} have the same name", *folders, call=from_folder)


def test_unmatched_pairs(folders):
    (folders[1] / "b.png").rename(folders[1] / "b_mask.png")
    for i in range(7):
        save(PHOTO, folders[0] / f"extra{i}.png")
    message = refused("2 of 10 images and 3 masks pair up by name", *folders, call=from_folder)
    assert "8 images without mask (b.png, extra0.png, extra1.png, extra2.png, extra3.png and 3 more)" in message
    assert "1 mask without image (b_mask.png)" in message
    assert (
        "rename or remove them, or pass two sorted lists of paths to SegmentationDataset(images, masks, classes)"
        in message
    )


# Copies and memory ----------------------------------------------------------------------------------------------------


def count_opens(monkeypatch):
    opened = []
    original = reading.open_picture
    monkeypatch.setattr(
        reading, "open_picture", lambda path, title: opened.append(Path(path).name) or original(path, title)
    )
    return opened


def test_pictures_are_decoded_once(folders, monkeypatch):
    data = from_folder(*folders)
    opened = count_opens(monkeypatch)
    flipped = data.with_transform(A.HorizontalFlip(p=1))
    part = flipped.subset([2, 1])
    for _ in range(3):
        for source in (data, flipped, part):
            for index in range(len(source)):
                source[index]
    assert opened == ["b.png", "b.png", "c.png", "c.png"]  # a was read when the data set was made
    assert "in memory: 3 decoded" in repr(part)


def test_memory_is_bounded(folders, monkeypatch):
    size = PHOTO.nbytes + LABELS.nbytes
    data = SegmentationDataset.from_folder(*folders, NAMES, cache_mb=2.5 * size / 1e6)
    opened = count_opens(monkeypatch)
    for _ in range(3):
        for index in range(3):
            assert (data.read(index)[1] == LABELS).all()
    assert opened == ["b.png", "b.png"] + ["c.png", "c.png"] * 3
    nothing = SegmentationDataset.from_folder(*folders, NAMES, cache_mb=0)
    opened.clear()
    nothing.read(0)
    nothing.read(0)
    assert len(opened) == 4


def test_subset_and_with_transform(folders):
    for stem, value in zip("abc", (10, 20, 30), strict=True):
        save(np.full((6, 8, 3), value, np.uint8), folders[0] / f"{stem}.png")
    data = from_folder(*folders)
    part = data.subset([2, -3])
    assert part.names == ["c", "a"]
    assert [int(image[0, 0, 0]) for image, _ in part] == [30, 10]
    assert part.subset([1]).read(0)[0][0, 0, 0] == 10
    assert len(data) == 3
    flipped = part.with_transform(A.HorizontalFlip(p=1))
    assert (flipped[0][1].numpy() == LABELS[:, ::-1]).all()
    assert (part[0][1].numpy() == LABELS).all()
    assert flipped.with_transform(None).transform is None
    refused("subset was given no index", [], call=data.subset)
    with pytest.raises(IndexError):
        data.subset([3])


def test_repr(folders):
    data = SegmentationDataset.from_folder(*folders, NAMES, A.Compose([A.Resize(4, 4), A.HorizontalFlip()]))
    assert repr(data) == (
        "SegmentationDataset of 3 images (3 channels)\n"
        "  labels: 0 sky, 1 road, 2 car; 255 is ignored\n"
        "  masks: labels as stored\n"
        "  transform: Compose(Resize, HorizontalFlip)\n"
        "  in memory: 1 decoded, 0 of 1024 MB"
    )
    assert "of 1 image (1 channel)" in repr(one(PHOTO[:, :, 0]))
    assert "transform: none" in repr(one())


# Transforms -----------------------------------------------------------------------------------------------------------


def test_masks_are_resized_with_nearest():
    data = one(transform=A.Compose([A.Resize(13, 29)]))
    image, labels = data[0]
    assert image.shape == (3, 13, 29)
    assert labels.shape == (13, 29)
    assert (labels.numpy() == cv2.resize(LABELS, (29, 13), interpolation=cv2.INTER_NEAREST)).all()


@pytest.mark.parametrize(
    "transform",
    [
        A.Resize(4, 4, mask_interpolation=cv2.INTER_LINEAR),
        A.Compose([A.OneOf([A.HorizontalFlip(), A.Compose([A.Rotate(mask_interpolation=cv2.INTER_CUBIC)])])]),
        A.Compose([A.Resize(4, 4)], mask_interpolation=cv2.INTER_AREA),
    ],
)
def test_other_interpolation_of_masks_is_refused(transform):
    message = refused("which blends labels into ones that mean something else", transform=transform)
    assert re.search(r"(Resize|Rotate|Compose) has mask_interpolation=[123]", message)
    refused("set it to cv2.INTER_NEAREST", transform, call=one().with_transform)
    one(transform=A.Resize(4, 4, mask_interpolation=cv2.INTER_NEAREST_EXACT))


def test_to_tensor_is_welcome():
    plain, tensor = A.Compose([A.Resize(4, 5)]), A.Compose([A.Resize(4, 5), ToTensorV2()])
    for first, second in zip(one(transform=plain)[0], one(transform=tensor)[0], strict=True):
        assert first.dtype == second.dtype
        assert torch.equal(first, second)


def test_grey_images_keep_their_channel():
    image, labels = one(PHOTO[:, :, 0], transform=A.Compose([A.Resize(4, 5), A.HorizontalFlip(p=1)]))[0]
    assert image.shape == (1, 4, 5)
    assert labels.shape == (4, 5)
    squeeze = one(PHOTO[:, :, :1], transform=lambda image, mask: {"image": image[:, ::-1, 0], "mask": mask})
    assert (squeeze[0][0][0].numpy() == PHOTO[:, ::-1, 0]).all()


def test_any_callable_and_masks_of_any_integers():
    data = one(transform=lambda image, mask: {"image": image[::-1], "mask": np.ascontiguousarray(mask[::-1], np.int32)})
    image, labels = data[0]
    assert (image.numpy() == PHOTO[::-1].transpose(2, 0, 1)).all()
    assert labels.dtype == torch.int64
    assert "transform: <lambda>" in repr(data)


def bad(change):
    def transform(image, mask):
        return change(image, mask)

    return one(transform=transform)


def test_transforms_that_return_something_else():
    refused(
        "turns images into torch.float32: leave out A.Normalize",
        0,
        call=one(transform=A.Compose([A.Normalize()])).__getitem__,
    )
    text = "turns masks into (6, 8) torch.float32: keep (H, W) integers"
    refused(text, 0, call=bad(lambda i, m: {"image": i, "mask": m.astype(np.float32)}).__getitem__)
    text = "turns image '000' into (channels, height, width) (3, 3, 8) and its mask into (6, 8)"
    refused(text, 0, call=bad(lambda i, m: {"image": i[:3], "mask": m}).__getitem__)
    refused("the image its 3 channels", 0, call=bad(lambda i, m: {"image": i[:, :, :1], "mask": m}).__getitem__)
    refused(
        "The transform fails on image '000' of shape (6, 8, 3): KeyError: 'mask'",
        0,
        call=bad(lambda i, m: {"image": i}).__getitem__,
    )
    refused("The transform fails on image '000'", 0, call=one(transform=A.RandomCrop(100, 100)).__getitem__)
    refused("transform is a int: give an albumentations pipeline", transform=3)


def flips(data, times=200):
    """How often the picture came out (plain, left-right, upside down, both)."""
    seen = [data[i % len(data)][0][0, [0, 0, -1, -1], [0, -1, 0, -1]].argmax().item() for i in range(times)]
    return [seen.count(corner) for corner in range(4)]


CORNER = np.zeros((6, 8, 3), np.uint8)
CORNER[0, 0] = 255


def test_seeded_pipeline_does_not_throw_the_same_dice_in_every_step():
    """Compose(seed=) of albumentations 2.0 makes both flips always happen together."""
    counts = flips(one(CORNER, transform=A.Compose([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)], seed=1)))
    assert min(counts) > 25


def test_seed_repeats_the_transform():
    data = one(CORNER, transform=A.Compose([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]))
    runs = []
    for seed in (5, 5, 6):
        data.seed(seed)
        runs.append([flips(data, 1) for _ in range(30)])
    assert runs[0] == runs[1] != runs[2]
    seed_transform(None, 3)  # nothing to seed, nothing happens
    one().seed(3)


def crop(data, **options):
    """Where each picture of 16 was cropped, in two epochs."""
    loader = DataLoader(data, batch_size=1, num_workers=2, **options)
    return [[int(image.flatten()[0]) for image, _ in loader] for _ in range(2)]


def test_workers_throw_dice_of_their_own_in_every_epoch():
    """Left to albumentations 2.0, both workers and all epochs get the same crops."""
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    mask = np.ones((16, 16), np.uint8)
    data = SegmentationDataset([image] * 16, [mask] * 16, ["thing"], A.Compose([A.RandomCrop(1, 1)]))
    torch.manual_seed(0)
    first, second = crop(data)
    assert first != second
    assert first[::2] != first[1::2]
    torch.manual_seed(0)
    assert crop(data) == [first, second]
    before, after = crop(data, persistent_workers=True)
    assert before != after


def test_pickled_data_set_travels_without_its_memory(folders):
    data = from_folder(*folders)
    for index in range(3):
        data.read(index)
    twin = pickle.loads(pickle.dumps(data))
    assert "in memory: 0 decoded" in repr(twin)
    assert "in memory: 3 decoded" in repr(data)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(data[1], twin[1], strict=True))
    assert "in memory: 1 decoded" in repr(twin)


# Samples --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def samples(tmp_path, monkeypatch):
    for part, count in (("train", 3), ("valid", 1)):
        for kind, array in (("images", PHOTO), ("masks", LABELS)):
            folder = tmp_path / "toy" / part / kind
            folder.mkdir(parents=True)
            for i in range(count):
                save(array, folder / f"{i:03d}.png")
    about = {"classes": NAMES, "palette": [[9, 8, 7], [6, 5, 4], [3, 2, 1]], "about": "a toy", "in_channels": 3}
    (tmp_path / "toy" / "classes.json").write_text(json.dumps(about))
    monkeypatch.setattr(datasets, "resource", lambda name: tmp_path)


def test_load_sample(samples):
    train, valid = load_sample("toy")
    assert (len(train), len(valid)) == (3, 1)
    assert train.classes == NAMES
    assert valid.palette.tolist() == [[9, 8, 7], [6, 5, 4], [3, 2, 1]]
    assert (valid.read(0)[1] == LABELS).all()
    flipped, _ = load_sample("toy", A.HorizontalFlip(p=1))
    assert (flipped[0][1].numpy() == LABELS[:, ::-1]).all()


def test_unknown_sample_offers_the_nearest(samples):
    refused("There is no sample 'tay'. Did you mean 'toy'?", "tay", call=load_sample)
    refused("There is no sample 'elephants'. Choose from: toy.", "elephants", call=load_sample)


def test_generators_need_no_torch():
    code = "import sys, segnb.data; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )


def test_a_transform_may_return_a_mirrored_view():
    def mirror(image, mask):
        return {"image": image[:, ::-1], "mask": mask[:, ::-1]}

    labels = np.array([[0, 1], [1, 1]], dtype=np.uint8)
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    found_image, found_labels = SegmentationDataset([image], [labels], ["a", "b"], mirror)[0]
    assert found_labels.tolist() == [[1, 0], [1, 1]]
    assert found_image[:, 0, 0].tolist() == image[0, 1].tolist()
