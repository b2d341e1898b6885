"""Written layouts come back label for label, and check_dataset names each planted fault."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as pycoco

from segnb.data import SegmentationDataset, check_dataset
from segnb.data.samples import draw_sample
from segnb.data.samples.drives import draw_drives
from segnb.data.samples.faults import write_deliveries
from segnb.data.samples.formats import run_lengths, write_coco, write_folders, write_voc

NAMES = ["background", "car", "person"]
KEEP = np.array([0, 0, 0, 0, 0, 1, 2, 0], np.uint8)  # of the street's classes: car and person


@pytest.fixture(scope="module")
def pictures():
    drawn = [draw_sample("street", seed) for seed in range(8)]
    return [(f"p{i}", image, KEEP[labels]) for i, (image, labels) in enumerate(drawn)]


def shows(data, pictures, numbers=(0, 1, 2)):
    """Whether every mask is the one that was written, in other numbers."""
    return len(data) == len(pictures) and all(
        (data.read(i)[1] == np.array(numbers)[labels]).all() for i, (*_, labels) in enumerate(pictures)
    )


def test_folders_come_back(tmp_path, pictures):
    data = SegmentationDataset.from_folder(
        write_folders(tmp_path, pictures) / "images", tmp_path / "masks", classes=NAMES
    )
    assert data.names == [name for name, *_ in pictures]
    assert shows(data, pictures)
    assert all((data.read(i)[0] == image).all() for i, (_, image, _) in enumerate(pictures))


def test_coco_comes_back_in_the_order_of_its_ids_or_in_ours(tmp_path, pictures):
    write_coco(tmp_path, pictures, {1: (3, "car"), 2: (1, "person")})
    files = tmp_path / "images", tmp_path / "instances.json"
    by_id = SegmentationDataset.from_coco(*files)
    assert by_id.label_names == ["background", "person", "car"]
    assert shows(by_id, pictures, (0, 2, 1))
    ours = SegmentationDataset.from_coco(*files, classes=["car", "person"])
    assert shows(ours, pictures)


def test_voc_comes_back_with_its_own_numbers(tmp_path, pictures):
    data = SegmentationDataset.from_voc(write_voc(tmp_path, pictures, {1: 7, 2: 15}))
    assert (data.label_names[7], data.label_names[15]) == ("car", "person")
    assert shows(data, pictures, (0, 7, 15))


@given(arrays.arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_run_lengths_are_those_of_the_coco_api(thing):
    runs = {"size": list(thing.shape), "counts": run_lengths(thing)}
    assert (pycoco.decode(pycoco.frPyObjects(runs, *thing.shape)) == thing).all()
    assert sum(runs["counts"]) == thing.size


def test_every_planted_fault_is_named(tmp_path, pictures):
    folder = write_deliveries(tmp_path, pictures)
    anna, ben = ((folder / who / "images", folder / who / "masks") for who in ("anna", "ben"))
    stretched = check_dataset(anna, classes=NAMES)
    assert [finding.what for finding in stretched.findings if finding.severity == "error"] == [
        f"{sum(1 in labels for *_, labels in pictures)} masks with values that mean no label: 127"
    ]
    told = check_dataset(anna, classes=NAMES, mask_values=[0, 127, 255])
    assert told.ok
    assert shows(told.fix(), pictures)

    shifted = check_dataset(ben, classes=NAMES)
    assert [finding.what for finding in shifted.findings if finding.severity == "error"] == [
        "masks number the labels from 1"
    ]
    assert shows(shifted.fix(), pictures)

    clara = [(folder / "clara" / part / "images", folder / "clara" / part / "masks") for part in ("train", "valid")]
    report = check_dataset(*clara, classes=NAMES)
    leaks = {finding.check: finding.names for finding in report.findings if "leakage" in finding.check}
    assert leaks == {"leakage": ["train/extra_a"], "likely leakage": ["train/extra_b"]}
    train, valid = report.fix()
    assert (len(train), len(valid)) == (6, 2)
    assert check_dataset(train, valid).ok


def test_frames_of_a_drive_overlap_and_drives_do_not():
    frames = draw_drives(2, 3)
    assert [name for name, *_ in frames[1:4]] == ["drive00-frame1", "drive00-frame2", "drive01-frame0"]
    (_, first, first_labels), (_, second, second_labels), _, (_, elsewhere, _) = frames[:4]
    assert first.shape == (96, 128, 3)
    assert (first_labels[:, 4:] == second_labels[:, :-4]).all()
    apart = np.abs(first[:, 4:].astype(int) - second[:, :-4])
    assert 0 < apart.mean() < 6  # the same street, other noise
    assert np.abs(first.astype(int) - elsewhere).mean() > 20
    assert all((a[1] == b[1]).all() for a, b in zip(frames, draw_drives(2, 3), strict=True))
