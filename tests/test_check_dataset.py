"""check_dataset: every fault is planted in a small folder, named, and repaired by fix(); clean samples are clean."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from segnb.data import SegmentationDataset, load_sample
from segnb.data.checks.classes import median_frequency_weights
from segnb.data.checks.fixing import resize
from segnb.data.doctor import CHECKS, check_dataset
from segnb.draw import png_bytes
from segnb.errors import SegnbError

NAMES = ["ground", "disc", "bar"]
SIZE = (60, 48)  # width, height


def photo(seed):
    """A picture unlike all others: coarse noise, and fine noise on it."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
    return np.clip(np.array(coarse) + random.normal(0, 3, (48, 60, 3)), 0, 255).astype(np.uint8)


def labels(seed):
    """Ground 0, a disc 1 and a bar 2, each large enough to be found."""
    mask = Image.new("L", SIZE)
    draw = ImageDraw.Draw(mask)
    draw.ellipse([4 + seed % 5, 6, 24 + seed % 5, 26], fill=1)
    draw.rectangle([34, 10 + seed % 7, 54, 30 + seed % 7], fill=2)
    return np.array(mask)


class Folders:
    """Two folders of pictures p0 to p5, to plant faults in."""

    def __init__(self, root, count=6, masks=labels):
        self.images, self.masks = root / "images", root / "masks"
        for folder in (self.images, self.masks):
            folder.mkdir(parents=True)
        for i in range(count):
            self.add(f"p{i}", photo(i), masks(i))

    def add(self, name, image, mask, suffix=".png", **options):
        Image.fromarray(image).save(self.images / f"{name}.png")
        Image.fromarray(mask).save(self.masks / f"{name}{suffix}", **options)

    def check(self, classes=NAMES, **options):
        return check_dataset((self.images, self.masks), classes=classes, **options)


@pytest.fixture
def folders(tmp_path):
    return Folders(tmp_path)


def find(report, check, count=1):
    """The findings of one kind; the first if there should be one."""
    found = [finding for finding in report.findings if finding.check == check]
    assert len(found) == count, [finding.check for finding in report.findings]
    return found[0] if count == 1 else found


def repaired(report):
    """The data set of fix(): every picture can be read, and a second look finds no error."""
    fixed = report.fix()
    for part in fixed if isinstance(fixed, tuple) else (fixed,):
        for i in range(len(part)):
            part.read(i)
    again = check_dataset(*fixed) if isinstance(fixed, tuple) else check_dataset(fixed)
    assert again.ok, again
    return fixed


def serious(report):
    return [(finding.severity, finding.check) for finding in report.findings if finding.severity != "note"]


# Clean data -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["shapes", "street", "cells", "lungs", "metal"])
def test_the_samples_are_clean(name):
    report = check_dataset(*load_sample(name))
    assert report.ok
    assert serious(report) == []
    assert report.fixes == []


def test_clean_folders_are_clean(folders):
    report = folders.check()
    assert report.findings == []
    assert repr(report).startswith("6 pictures: 0 errors, 0 warnings, 0 notes; 3 channels (")
    data = repaired(report)
    assert data.names == [f"p{i}" for i in range(6)]
    assert (data.read(2)[1] == labels(2)).all()
    assert data._images[0] == folders.images / "p0.png"  # what needs no repair stays a file


def test_nothing_is_written(folders, tmp_path):
    (folders.images / "p0.png").write_bytes(b"broken")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    folders.check().fix()
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.*")}


# Files ----------------------------------------------------------------------------------------------------------------


def test_unreadable_and_truncated_files(folders):
    (folders.images / "p1.png").write_bytes(b"no picture")
    whole = (folders.masks / "p3.png").read_bytes()
    (folders.masks / "p3.png").write_bytes(whole[: len(whole) // 2])
    report = folders.check()
    found = find(report, "unreadable")
    assert found.severity == "error"
    assert found.names == ["p1", "p3"]
    assert found.what == "2 pictures cannot be read"
    assert str(folders.images / "p1.png") in found.meaning
    assert "truncated" in found.meaning
    assert not report.ok
    assert repaired(report).names == ["p0", "p2", "p4", "p5"]


def test_an_empty_file_and_one_in_disguise(folders):
    (folders.images / "p0.png").write_bytes(b"")
    (folders.masks / "p0.png").write_text("<html>404</html>")
    assert find(folders.check(), "unreadable").names == ["p0"]


def test_unmatched_pairs(folders):
    (folders.masks / "p0.png").unlink()
    (folders.images / "p4.png").unlink()
    report = folders.check()
    image, mask = find(report, "unmatched", 2)
    assert (image.what, image.names) == ("1 image without mask", ["p0"])
    assert (mask.what, mask.names) == ("1 mask without image", ["p4"])
    assert "pairs are found by their names" in image.advice
    assert repaired(report).names == ["p1", "p2", "p3", "p5"]


def test_two_files_of_one_name(folders):
    Image.fromarray(photo(9)).save(folders.images / "p2.jpg")
    report = folders.check()
    assert find(report, "same name").names == ["p2"]
    assert "p2" not in repaired(report).names


def test_masks_with_a_suffix_are_paired(folders):
    for path in folders.masks.iterdir():
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    report = folders.check()
    assert find(report, "other names").what == "masks are named 'NAME_mask' for images 'NAME'"
    data = repaired(report)
    assert data.names == [f"p{i}" for i in range(6)]
    assert (data.read(3)[1] == labels(3)).all()


def test_a_mask_of_another_size_is_resized_with_nearest(folders):
    folders.add("p1", photo(1), labels(1).repeat(2, axis=0).repeat(2, axis=1))
    report = folders.check()
    found = find(report, "size")
    assert found.names == ["p1"]
    assert found.what == "1 mask of another scale than the image"
    assert "p1: image 60 × 48, mask 120 × 96" in found.meaning
    assert found.fix == "resizes the masks with nearest, which invents no labels"
    assert (repaired(report).read(1)[1] == labels(1)).all()


def test_a_small_mask_grows(folders):
    folders.add("p1", photo(1), labels(1)[1::2, 1::2])
    fixed = repaired(folders.check()).read(1)[1]
    assert (fixed == labels(1)[1::2, 1::2].repeat(2, axis=0).repeat(2, axis=1)).all()


def test_a_mask_of_other_proportions_is_left_out(folders):
    folders.add("p1", photo(1), labels(1)[:, :30])
    report = folders.check()
    assert find(report, "size").fix == "leaves them out"
    assert "p1" not in repaired(report).names


@given(st.integers(1, 99), st.integers(1, 99), st.integers(1, 99), st.integers(1, 99))
def test_resizing_takes_the_pixel_at_the_centre(height, width, new_height, new_width):
    rows, columns = np.mgrid[:height, :width]
    for old, taken, new in ((height, resize(rows, (new_height, new_width))[:, 0], new_height),
                            (width, resize(columns, (new_height, new_width))[0], new_width)):  # fmt: skip
        centres = (np.arange(new) + 0.5) * old / new
        assert (np.abs(taken + 0.5 - centres) <= 0.5 + 1e-9).all()


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_drawn_on_a_turned_photo_is_turned(folders, orientation):
    """Image and mask are stored alike, so turned alike they must fit: the disc of the mask is red in the image."""
    stored = photo(1) // 4
    stored[labels(1) == 1] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(folders.images / "p1.png", exif=exif)
    report = folders.check()
    found = find(report, "size")
    assert found.what == "1 mask drawn across the image"
    assert "EXIF" in found.meaning
    assert found.fix == "turns the masks as the tag says"
    image, mask = repaired(report).read(1)
    assert image.shape == (60, 48, 3)
    assert ((image == (255, 0, 0)).all(axis=2) == (mask == 1)).all()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_turned_photo_whose_mask_fits_is_a_warning(tmp_path, suffix):
    folders = Folders(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 3
    (folders.images / "p2.png").unlink()
    Image.fromarray(photo(2)).save(folders.images / f"p2{suffix}", exif=exif)
    report = folders.check()
    found = find(report, "EXIF")
    assert (found.severity, found.names, found.fix) == ("warning", ["p2"], "")
    assert "segnb.explore(data)" in found.advice
    assert report.ok


def test_grey_images_among_coloured_ones(folders):
    grey = photo(1)[:, :, 0]
    folders.add("p1", grey, labels(1))
    report = folders.check()
    found = find(report, "channels")
    assert (found.names, found.fix) == (["p1"], "repeats the grey channel 3 times")
    assert (repaired(report).read(1)[0] == np.dstack([grey] * 3)).all()


def test_the_kind_of_most_images_counts_even_if_the_first_is_another(folders):
    folders.add("p0", photo(0)[:, :, 0], labels(0))
    assert repaired(folders.check()).in_channels == 3


def test_blank_pictures_and_many_sizes(folders):
    folders.add("p1", np.full((48, 60, 3), 7, np.uint8), labels(1))
    folders.add("p2", photo(2)[:20], labels(2)[:20])
    report = folders.check()
    assert find(report, "blank").names == ["p1"]
    assert find(report, "sizes").what == "pictures have 2 sizes, from 60 × 20 to 60 × 48 pixels"
    assert report.ok
    assert sorted(report.sizes) == [(20, 60)] + [(48, 60)] * 5


# Labels ---------------------------------------------------------------------------------------------------------------


def test_0_and_255(tmp_path):
    report = Folders(tmp_path, masks=lambda seed: np.uint8(255) * (labels(seed) == 1)).check(["disc"])
    found = find(report, "mask values")
    assert (found.severity, found.what) == ("note", "masks hold 0 and 255, where 255 means 'disc'")
    assert "mask_values=[0, 255]" in found.advice
    assert (repaired(report).read(4)[1] == (labels(4) == 1)).all()
    assert [row["label"] for row in report.class_table()] == ["background", "disc"]


def test_labels_from_1(tmp_path):
    report = Folders(tmp_path, masks=lambda seed: labels(seed) + 1).check()
    found = find(report, "mask values")
    assert found.severity == "error"
    assert found.what == "masks number the labels from 1"
    assert found.advice == "Pass mask_values=[1, 2, 3] to SegmentationDataset."
    assert found.fix == "reads them with mask_values=[1, 2, 3]"
    assert (repaired(report).read(4)[1] == labels(4)).all()


def test_labels_from_1_in_a_data_set_whose_first_picture_hides_it(tmp_path):
    masks = [np.where(labels(i) == 0, 1, 2).astype(np.uint8) if i == 0 else labels(i) + 1 for i in range(4)]
    data = SegmentationDataset([photo(i) for i in range(4)], masks, NAMES)
    report = check_dataset(data)
    assert find(report, "mask values").fix == "reads them with mask_values=[1, 2, 3]"
    assert (repaired(report).read(3)[1] == labels(3)).all()


def test_labels_spread_over_the_grey_values(tmp_path):
    report = Folders(tmp_path, masks=lambda seed: labels(seed) * 127).check()
    assert find(report, "mask values").fix == "reads them with mask_values=[0, 127, 254]"
    assert (repaired(report).read(4)[1] == labels(4)).all()


PALETTE = np.array([(0, 0, 0), (200, 30, 30), (30, 30, 200)], np.uint8)


def test_colours_need_a_person(tmp_path):
    folders = Folders(tmp_path, masks=lambda seed: PALETTE[labels(seed)])
    report = folders.check()
    found = find(report, "mask values")
    assert (found.severity, found.what, found.fix) == ("error", "masks hold colours, not labels", "")
    code = "mask_values=[(0, 0, 0), (30, 30, 200), (200, 30, 30)]"
    assert found.advice == (
        f"Put these in the order of the labels (ground, disc, bar; at most one more, to ignore) and pass them: {code}"
    )
    assert [f.check for f in report.findings if f.severity == "error"] == ["mask values"]
    with pytest.raises(SegnbError, match=re.escape(f"Call check_dataset with {code}, in the order of the labels")):
        report.fix()
    told = folders.check(mask_values=PALETTE.tolist())
    assert told.ok
    assert (repaired(told).read(4)[1] == labels(4)).all()


def test_black_and_one_colour_are_clear(tmp_path):
    report = Folders(tmp_path, masks=lambda seed: PALETTE[(labels(seed) == 1).astype(int)]).check(["disc"])
    assert find(report, "mask values").fix == "reads them with mask_values=[(0, 0, 0), (200, 30, 30)]"
    assert (repaired(report).read(4)[1] == (labels(4) == 1)).all()


def smooth(mask):
    """The mask as a drawing program with anti-aliasing leaves it: a corner of an edge takes the mean of its surroundings."""
    padded = np.pad(mask.astype(float), 1, mode="edge")
    return np.mean([padded[i : i + 48, j : j + 60] for i in range(3) for j in range(3)], axis=0).astype(np.uint8)


@pytest.mark.parametrize(("suffix", "quality"), [(".png", {}), (".jpg", {"quality": 60}), (".jpg", {"quality": 95})])
def test_smoothed_and_jpeg_edges_of_two_labels(folders, suffix, quality):
    for i in range(6):
        mask = np.uint8(255) * (labels(i) == 1)
        (folders.masks / f"p{i}.png").unlink()
        folders.add(f"p{i}", photo(i), smooth(mask) if suffix == ".png" else mask, suffix, **quality)
    report = folders.check(["disc"])
    found = find(report, "smoothed edges")
    assert found.severity == "error"
    assert found.names == [f"p{i}" for i in range(6)]
    assert ("6 of them JPEG files" in found.what) == (suffix == ".jpg")
    assert found.fix == "gives each the nearest value among the labels around it"
    fixed = repaired(report)
    for i in range(6):
        assert ((fixed.read(i)[1] == 1) != (labels(i) == 1)).mean() < 0.006


def test_one_smoothed_mask_among_good_ones(tmp_path):
    folders = Folders(tmp_path, masks=lambda seed: np.uint8(255) * (labels(seed) == 1))
    folders.add("p3", photo(3), smooth(np.uint8(255) * (labels(3) == 1)))
    report = folders.check(["disc"])
    assert find(report, "smoothed edges").names == ["p3"]
    assert isinstance(repaired(report)._masks[0], type(folders.masks))
    assert isinstance(repaired(report)._masks[3], np.ndarray)


def test_smoothed_colours_never_become_a_third_label(tmp_path):
    """Between black and white lies grey, which is a label, too; but none that is near."""
    colours = np.array([(0, 0, 0), (128, 128, 128), (255, 255, 255)], np.uint8)
    mask = np.zeros((48, 60), np.uint8)
    mask[:, 20:40] = 2
    mask[40:, :8] = 1
    stored = colours[mask]
    stored[10:30, 19], stored[10:30, 40] = 120, 140  # blends nearer to grey than to black or white
    stored[20, 19], stored[21, 19] = 100, 110
    folders = Folders(tmp_path, masks=lambda seed: colours[labels(seed)])
    folders.add("p1", photo(1), stored)
    report = folders.check(mask_values=colours.tolist())
    assert find(report, "smoothed edges").names == ["p1"]
    fixed = repaired(report).read(1)[1]
    assert set(np.unique(fixed[:38])) == {0, 2}
    away = np.ones(60, bool)
    away[[19, 40]] = False
    assert (fixed[:, away] == mask[:, away]).all()


def test_smoothed_masks_of_close_labels_cannot_be_saved(folders):
    blurred = labels(1).astype(float) * 20
    folders.add("p1", photo(1), smooth(blurred.astype(np.uint8)))
    report = folders.check(mask_values=[0, 20, 40])
    assert {f.check for f in report.findings} >= {"smoothed edges"}
    found = find(report, "smoothed edges")
    assert "so close that a blend of two can look like a third" in found.meaning
    assert found.fix == "leaves them out"


def test_unknown_labels(folders):
    odd = labels(2)
    odd[40:46, 2:30] = 9
    folders.add("p2", photo(2), odd)
    report = folders.check()
    found = find(report, "unknown labels")
    assert found.names == ["p2"]
    assert found.what == "1 mask with values that mean no label: 9"
    assert found.meaning == "Known are 0 = ground, 1 = disc, 2 = bar, 255 = ignored."
    assert repaired(report).names == ["p0", "p1", "p3", "p4", "p5"]


def test_a_class_too_few_leaves_nothing_to_fix(folders):
    report = folders.check(["ground", "disc"])
    assert len(find(report, "unknown labels").names) == 6
    with pytest.raises(
        SegnbError, match="fix would leave out every picture of train, so there is something else"
    ) as caught:
        report.fix()
    assert "Name a class for each in classes" in str(caught.value)


def test_missing_labels(folders):
    report = folders.check([*NAMES, "bird"])
    found = find(report, "missing labels")
    assert (found.severity, found.what) == ("warning", "no mask shows 'bird'")


def test_labels_missing_on_one_side(tmp_path):
    train = Folders(tmp_path / "train")
    valid = Folders(tmp_path / "valid", 0)
    for i in range(10, 13):
        valid.add(f"v{i}", photo(i), np.uint8(1) * (labels(i) == 1))
    report = check_dataset((train.images, train.masks), (valid.images, valid.masks), classes=NAMES)
    found = find(report, "missing labels")
    assert found.what == "no mask of valid shows 'bar'"
    assert "segnb.split(data)" in found.advice


def test_empty_and_ignored_masks(folders):
    folders.add("p1", photo(1), np.zeros((48, 60), np.uint8))
    folders.add("p2", photo(2), np.full((48, 60), 255, np.uint8))
    report = folders.check(["background", "disc", "bar"])
    assert find(report, "empty masks").names == ["p1"]
    assert find(report, "empty masks").severity == "note"
    assert find(report, "ignored").names == ["p2"]
    assert find(report, "ignored").severity == "warning"
    assert find(folders.check(), "empty masks", 0) == []  # ground is a class like any other


# Classes --------------------------------------------------------------------------------------------------------------


def test_class_table_and_weights_by_hand(tmp_path):
    masks = [np.zeros((10, 10), np.uint8) for _ in range(4)]
    masks[0][:5], masks[1][:1], masks[2][:] = 1, 2, 255
    data = SegmentationDataset([photo(i)[:10, :10] for i in range(4)], masks, [*NAMES, "bird"])
    report = check_dataset(data)
    rows = report.class_table()
    assert [row["pixels"] for row in rows] == [50 + 90 + 100, 50, 10, 0]
    assert [row["pictures"] for row in rows] == [3, 1, 1, 0]
    assert rows[0]["share"] == pytest.approx(240 / 300)
    frequency = np.array([240 / 300, 50 / 100, 10 / 100])
    assert report.class_weights == pytest.approx([*(0.5 / frequency), 1])


def test_weights_do_not_depend_on_pictures_without_the_class():
    few = np.array([[50, 50], [60, 40]])
    many = np.vstack([few, [[100, 0]] * 50])
    assert median_frequency_weights(few)[1] / median_frequency_weights(few)[0] < 1.3
    assert (np.argsort(median_frequency_weights(many)) == [0, 1]).all()


def test_weights_are_those_of_the_training_set():
    half = np.zeros((48, 60), np.uint8)
    half[:24] = 1
    train = SegmentationDataset([photo(0)] * 2, [half, half], ["a", "b"])
    valid = SegmentationDataset([photo(1)], [half * 0], ["a", "b"])
    assert check_dataset(train, valid).class_weights == pytest.approx([1, 1])


def test_rare_classes_and_tiny_objects(folders):
    mask = np.zeros((48, 60), np.uint8)
    mask[3, 3] = mask[4, 4] = 1  # one object: over the corner
    mask[20:24, 20:24] = 1  # 16 pixels are not tiny
    mask[40, 40:45] = 2
    data = SegmentationDataset([photo(0)], [mask], NAMES)
    report = check_dataset(data)
    assert find(report, "rare classes").what == "under 1% of the pixels: disc (0.62%), bar (0.17%)"
    found = find(report, "tiny objects")
    assert found.what == "connected areas of fewer than 16 pixels: disc (1 of 2), bar (1 of 1)"
    assert found.names == ["000"]
    assert report.ok


def test_mean_and_deviation_equal_numpy(folders):
    folders.add("p1", photo(1)[:30], labels(1)[:30])
    report = folders.check()
    pixels = np.concatenate([np.array(Image.open(path)).reshape(-1, 3) for path in folders.images.iterdir()])
    assert report.mean == pytest.approx(pixels.mean(axis=0), rel=1e-5)
    assert report.std == pytest.approx(pixels.std(axis=0), rel=1e-4)


# Duplicates -----------------------------------------------------------------------------------------------------------


def copies(image):
    """The same scene, as another camera roll would store it."""
    picture = Image.fromarray(image)
    darker = Image.eval(picture, lambda level: int(level * 0.85))
    return {
        "small": np.array(picture.resize((120, 96), Image.Resampling.BICUBIC)),
        "darker": np.array(darker),
        "noisy": np.clip(image + np.random.default_rng(1).normal(0, 6, image.shape), 0, 255).astype(np.uint8),
    }


def test_leakage_exact_and_near(tmp_path):
    train, valid = Folders(tmp_path / "train"), Folders(tmp_path / "valid", 0)
    for i in (10, 11, 12):
        valid.add(f"v{i}", photo(i), labels(i))
    train.add("same", photo(10), labels(10))
    for name, image in copies(photo(11)).items():
        mask = labels(11) if image.shape[0] == 48 else labels(11).repeat(2, axis=0).repeat(2, axis=1)
        train.add(name, image, mask)
    report = check_dataset((train.images, train.masks), (valid.images, valid.masks), classes=NAMES)
    exact, near = find(report, "leakage"), find(report, "likely leakage")
    assert (exact.severity, exact.names) == ("error", ["train/same"])
    assert exact.what == "1 training picture is the same as a validation picture"
    assert "train/same = valid/v10." in exact.meaning
    assert "segnb.split(data, groups=[...])" in exact.advice
    assert (near.severity, near.names) == ("warning", ["train/darker", "train/noisy", "train/small"])
    fixed_train, fixed_valid = repaired(report)
    assert fixed_train.names == [f"p{i}" for i in range(6)]
    assert fixed_valid.names == ["v10", "v11", "v12"]


def test_duplicates_within_a_part_are_told_and_kept(folders):
    folders.add("q1", photo(1), labels(1))
    folders.add("q2", photo(2), labels(3))
    report = folders.check()
    found = find(report, "duplicates")
    assert (found.severity, found.names, found.fix) == ("warning", ["p1", "q1", "p2", "q2"], "")
    assert found.what == "2 pairs of pictures are the same"
    assert "p1 = q1, p2 = q2." in found.meaning
    assert "The masks of 1 pair differ: p2 = q2." in found.meaning
    assert len(repaired(report)) == 8


def test_different_scenes_are_never_near(folders):
    for i in range(6, 60):
        folders.add(f"p{i}", photo(i), labels(i))
    assert folders.check().findings == []


# The report -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def messy(folders):
    """A name with HTML in it, an error, a warning and a note."""
    name = "<script>alert(1)<"
    folders.add(name.replace("/", ""), photo(7), labels(7))
    (folders.masks / f"{name}.png").write_bytes(b"x")
    folders.add("p1", np.full((48, 60, 3), 7, np.uint8), labels(1))
    folders.add("p2", photo(2)[:20], labels(2)[:20])
    return folders.check(["<b>ground</b>", "disc", "bar"])


def test_findings_come_by_severity(messy):
    order = [finding.severity for finding in messy.findings]
    assert order == sorted(order, key=["error", "warning", "note"].index)
    assert set(order) == {"error", "warning", "note"}


def test_html_is_escaped(messy):
    page = messy._repr_html_()
    assert "<script>" not in page
    assert "<b>ground" not in page
    assert "&lt;script&gt;alert(1)&lt;" in page
    assert page.count("<table>") == page.count("</table>") == 2


def test_text_says_what_to_do(messy):
    text = repr(messy)
    assert "✗ unreadable: 1 picture cannot be read (<script>alert(1)<)" in text
    assert "→ Replace the files, or remove both the image and its mask." in text
    assert "fix() leaves them out" in text
    assert "! blank: 1 image of one colour (p1)" in text
    assert "· sizes: pictures have 2 sizes" in text
    assert re.search(r"disc +\d+\.\d\d% +6 +[\d.]+", text)
    assert messy.fixes == ["1 picture cannot be read (<script>alert(1)<): fix() leaves them out"]


def test_table_is_ready_for_pandas(messy):
    rows = messy.table()
    assert len(rows) == len(messy.findings)
    assert len({tuple(row) for row in rows}) == 1
    assert rows[0]["severity"] == "error"
    assert rows[0]["pictures"] == len(rows[0]["names"]) == 1


def test_plot_draws(messy):
    figure = messy.plot()
    assert png_bytes(figure, 60).startswith(b"\x89PNG")
    left, right = figure.axes
    assert [bar.get_width() for bar in left.patches] == pytest.approx([row["share"] for row in messy.class_table()])
    assert len(right.collections[0].get_offsets()) == 2  # sizes


def test_when_nothing_can_be_read(folders):
    for path in folders.images.iterdir():
        path.write_bytes(b"x")
    report = folders.check()
    assert len(find(report, "unreadable").names) == 6
    assert repr(report).startswith("6 pictures: 1 error")
    assert report._repr_html_()
    assert png_bytes(report.plot(), 50)
    assert report.class_weights.tolist() == [1, 1, 1]
    with pytest.raises(SegnbError, match="6 pictures cannot be read: Replace the files"):
        report.fix()


# The data set that is given -------------------------------------------------------------------------------------------


def test_what_a_data_set_has_is_kept(folders):
    def transform(image, mask):
        return {"image": image[:, ::-1], "mask": mask[:, ::-1]}

    data = SegmentationDataset.from_folder(
        folders.images, folders.masks, NAMES, transform, palette=[(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    )
    (folders.images / "p4.png").write_bytes(b"x")
    fixed = check_dataset(data).fix()
    assert fixed.names == ["p0", "p1", "p2", "p3", "p5"]
    assert fixed.transform is transform
    assert (fixed.palette == data.palette).all()
    assert fixed.classes == NAMES


@pytest.mark.parametrize("value", [9, 77])
def test_one_bad_mask_does_not_hide_what_the_others_mean(tmp_path, value):
    masks = {"ones": lambda seed: labels(seed) + 1, "binary": lambda seed: np.uint8(255) * (labels(seed) == 1)}
    for kind, classes, expected in (("ones", NAMES, "[1, 2, 3]"), ("binary", ["disc"], "[0, 255]")):
        folders = Folders(tmp_path / kind, masks=masks[kind])
        bad = masks[kind](2)
        bad[40:46, 2:30] = value
        folders.add("p2", photo(2), bad)
        report = folders.check(classes)
        found = find(report, "mask values")
        assert f"mask_values={expected}" in found.advice
        assert find(report, "unknown labels").names == ["p2"]
        assert repaired(report).names == ["p0", "p1", "p3", "p4", "p5"]


def test_thin_lines_are_no_smoothed_edges(tmp_path):
    """Label 1 is one pixel wide and never fills an area; with an ignored border it must not pass for 0 and 255."""

    def lines(seed):
        mask = np.zeros((48, 60), np.uint8)
        mask[10 + seed, 5:55], mask[:, :4] = 1, 255
        return mask

    report = Folders(tmp_path, masks=lines).check(["line"])
    assert report.ok
    assert not any(finding.check == "mask values" for finding in report.findings)
    assert report.class_table()[1]["pixels"] == 300


def test_given_mask_values_are_kept(tmp_path):
    folders = Folders(tmp_path, masks=lambda seed: np.array([7, 50, 90], np.uint8)[labels(seed)])
    data = SegmentationDataset.from_folder(folders.images, folders.masks, NAMES, mask_values=[7, 50, 90, 13])
    folders.add("p2", photo(2), np.where(labels(2) == 1, 13, 90).astype(np.uint8))
    folders.add("p3", photo(3), np.full((48, 60), 8, np.uint8))
    report = check_dataset(data)
    assert find(report, "unknown labels").names == ["p3"]
    fixed = repaired(report)
    assert (fixed.read(1)[1] == labels(1)).all()
    assert (fixed.read(2)[1] == np.where(labels(2) == 1, 255, 2)).all()


def test_deep_images_with_a_value_range(folders):
    images = [photo(i)[:, :, 0].astype(np.uint16) * 16 for i in range(3)]
    masks = [labels(i) for i in range(3)]
    assert len(find(check_dataset((images, masks), classes=NAMES), "unreadable").names) == 3
    report = check_dataset((images, masks), classes=NAMES, value_range=(0, 4080))
    assert report.ok
    assert (repaired(report).read(1)[0][:, :, 0] == photo(1)[:, :, 0]).all()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda f, d: check_dataset("images", classes=NAMES),
            "was given a str: give a SegmentationDataset, or a pair of folders",
        ),
        (lambda f, d: check_dataset((f.images, f.masks)), "needs the names of the labels"),
        (lambda f, d: check_dataset((f.images, f.masks), classes="disc"), "classes='disc': give a list of names"),
        (lambda f, d: check_dataset((f.images, f.masks.parent / "mask"), classes=NAMES), "There is no folder"),
        (
            lambda f, d: check_dataset((f.images, f.images.parent), classes=NAMES),
            "has no PNG, JPEG, TIFF or WebP files",
        ),
        (lambda f, d: check_dataset(d, classes=NAMES), "classes and mask_values belong to folders and lists"),
        (
            lambda f, d: check_dataset((["a.png"], []), classes=NAMES),
            "1 images but 0 masks: give one mask for each image.",
        ),
        (
            lambda f, d: check_dataset(d, SegmentationDataset([photo(0)], [labels(0)], ["a", "b", "c"])),
            "train has the classes ['ground', 'disc', 'bar'] and valid ['a', 'b', 'c']: both must have the same",
        ),
    ],
)
def test_refused(folders, call, text):
    data = SegmentationDataset.from_folder(folders.images, folders.masks, NAMES)
    with pytest.raises(SegnbError, match=re.escape(text)):
        call(folders, data)


def test_every_check_is_listed_once():
    assert len(set(CHECKS)) == len(CHECKS)


def test_a_thousand_small_pictures_take_seconds(folders):
    """Not a benchmark: ten times what it takes, so that only a check that compares in Python would fail."""
    pictures = [photo(i % 6) for i in range(1000)]
    start = time.perf_counter()
    report = check_dataset((pictures, [labels(i % 6) for i in range(1000)]), classes=NAMES)
    assert time.perf_counter() - start < 30
    assert len(find(report, "duplicates").names) == 1000
