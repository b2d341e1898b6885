"""Hugging Face: rows become pictures with masks when they are read, and what is missing is named."""

from __future__ import annotations

import io
import pickle
import sys

import datasets
import numpy as np
from PIL import Image
from test_datasets import LABELS, NAMES, PHOTO, refused

from segnb.data import SegmentationDataset, reading

PICTURES = datasets.Features(
    {"image": datasets.Image(), "annotation": datasets.Image(), "other": datasets.Value("string")}
)


def table(images=(PHOTO, PHOTO), masks=(LABELS, LABELS), features=PICTURES, **more):
    rows = {"image": list(images), "annotation": list(masks), "other": ["x"] * len(images), **more}
    if features is PICTURES:
        for column in ("image", "annotation"):
            rows[column] = [None if array is None else {"bytes": png(array), "path": None} for array in rows[column]]
    return datasets.Dataset.from_dict(rows, features=features)


def png(array, **options):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG", **options)
    return stream.getvalue()


def from_hf(*arguments, classes=NAMES, **options):
    return SegmentationDataset.from_hf(*arguments, classes=classes, **options)


def test_pictures(monkeypatch):
    opened, original = [], reading.open_picture
    monkeypatch.setattr(reading, "open_picture", lambda file, title: opened.append(title) or original(file, title))
    data = from_hf(table())
    assert opened == ["image 0", "image 0", "annotation 0"]
    image, labels = data.read(1)
    assert (image == PHOTO).all()
    assert (labels == LABELS).all()
    assert data.names == ["000", "001"]
    assert (pickle.loads(pickle.dumps(data)).read(1)[1] == LABELS).all()


def test_other_columns_and_splits():
    renamed = table().rename_columns({"image": "photo", "annotation": "label"})
    splits = datasets.DatasetDict({"train": renamed, "test": renamed.select([0])})
    data = from_hf(splits, "test", image="photo", mask="label")
    assert len(data) == 1
    assert (data.read(0)[1] == LABELS).all()
    refused("The data set has no column 'image': say image= and mask=.", renamed, call=from_hf)
    refused("no column 'fotos': say image= and mask=. Did you mean 'photo'", renamed, image="fotos", call=from_hf)
    refused("There is no split 'tset'. Did you mean 'test'?", splits, "tset", call=from_hf)


def test_files_on_the_disk(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "a.png")
    Image.fromarray(LABELS).save(tmp_path / "b.png")
    rows = {"image": [str(tmp_path / "a.png")], "annotation": [str(tmp_path / "b.png")]}
    features = datasets.Features({"image": datasets.Image(), "annotation": datasets.Image()})
    data = from_hf(datasets.Dataset.from_dict(rows, features=features))
    assert (data.read(0)[0] == PHOTO).all()
    assert (data.read(0)[1] == LABELS).all()


def test_names_and_labels_from_features():
    features = datasets.Features(
        {
            "image": datasets.Array3D((6, 8, 3), "uint8"),
            "annotation": [[datasets.ClassLabel(names=NAMES)]],
            "other": datasets.Value("string"),
        }
    )
    data = from_hf(table(features=features), classes=None)
    assert data.classes == NAMES
    assert (data.read(0)[0] == PHOTO).all()
    assert (data.read(1)[1] == LABELS).all()
    refused(
        "The features of column 'annotation' name no classes: give classes=[...]", table(), classes=None, call=from_hf
    )


def test_arguments_are_passed_on():
    deep = (LABELS.astype(np.uint16) * 2000, LABELS.astype(np.uint16) * 2000)
    data = from_hf(
        table(images=deep, masks=(LABELS + 1, LABELS + 1)),
        mask_values=[1, 2, 3],
        value_range=(0, 4000),
        palette=[[1, 2, 3]] * 3,
        transform=lambda image, mask: {"image": image[:2], "mask": mask[:2]},
    )
    assert (data.read(0)[0][:, :, 0] == np.array([0, 128, 255])[LABELS]).all()
    assert (data.read(0)[1] == LABELS).all()
    assert data.palette.tolist() == [[1, 2, 3]] * 3
    assert data[0][1].shape == (2, 8)


def test_rows_that_do_not_fit():
    data = from_hf(table(images=(PHOTO, None)))
    refused("image 1 is empty: leave the row out", 1, call=data.read)
    rows = {"image": [{"bytes": b"no picture", "path": None}], "annotation": [{"bytes": png(LABELS), "path": None}]}
    features = datasets.Features({"image": datasets.Image(), "annotation": datasets.Image()})
    broken = datasets.Dataset.from_dict(rows, features=features)
    refused("image 0 cannot be read as an image (it has no known format)", broken, call=from_hf)


def test_other_kinds_of_data_sets():
    refused("load it without streaming=True", table().to_iterable_dataset(), call=from_hf)
    refused("takes an id such as 'owner/name' or a datasets.Dataset, not a list", [1], call=from_hf)


def test_ids(monkeypatch):
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda name, split: asked.append((name, split)) or table())
    assert len(from_hf("owner/name", "validation")) == 2
    assert asked == [("owner/name", "validation")]


def test_ids_out_of_reach(monkeypatch):
    def offline(name, split):
        raise ConnectionError("Couldn't reach 'owner/name' on the Hub (OfflineModeIsEnabled)\nmore lines")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    message = refused(
        "The data set 'owner/name' (split 'train') could not be loaded (Couldn't reach", "owner/name", call=from_hf
    )
    assert "(OfflineModeIsEnabled))" in message
    assert "https://huggingface.co/datasets/owner/name" in message
    assert "save_to_disk(folder)" in message
    assert "datasets.load_from_disk(folder)" in message


def test_without_datasets(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    refused('SegmentationDataset.from_hf needs datasets: pip install "segnb[data]"', "owner/name", call=from_hf)
