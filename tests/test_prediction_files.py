import json

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from test_prediction import CLASSES, COLOUR, LABELS, STEPS, Brightness

from segnb.data.datasets import SegmentationDataset
from segnb.errors import SegnbError
from segnb.prediction import Prediction, Predictions, SavedPredictions, predict
from segnb.pretrained import load_model
from segnb.train import fit


def make_photos(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        Image.fromarray(COLOUR).save(folder / name)
    return folder


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def read(path):
    with Image.open(path) as picture:
        return np.array(picture).tolist()


def test_threshold_moves_the_binary_decision():
    ramp = np.array([[0, 64, 128, 192, 255]], np.uint8)
    model = Brightness(1, ["bright"])
    for threshold, expected in ((None, [0, 0, 1, 1, 1]), (0.9, [0, 0, 0, 0, 1]), (0.1, [0, 1, 1, 1, 1]), (1, [0] * 5)):
        assert predict(model, ramp, threshold=threshold).labels.tolist() == [expected]
    found = predict(model, ramp, threshold=0.9)
    np.testing.assert_allclose(found.probabilities[0, 0], 1 / (1 + np.exp(-8 * (ramp[0] / 255 - 0.5))), atol=1e-3)
    # The confidence is that of the label: of the background, where the class is likely, yet not likely enough.
    np.testing.assert_allclose(found.confidence[0, 3], 1 - found.probabilities[0, 0, 3], atol=1e-3)


@pytest.mark.parametrize(
    ("classes", "threshold", "message"),
    [
        (
            CLASSES,
            0.3,
            "threshold=0.3 is for binary and multi-label models; this one has 3 classes, of which the most likely wins",
        ),
        (["bright"], 1.5, "threshold is 1.5; give a probability from 0 to 1"),
        (["bright"], "low", "threshold is 'low'; give a probability"),
    ],
)
def test_thresholds_that_do_not_fit_are_refused(classes, threshold, message):
    with pytest.raises(SegnbError, match=message):
        predict(Brightness(classes=classes), COLOUR, threshold=threshold)


def test_probabilities_are_kept_on_request():
    many = predict(Brightness(), [COLOUR, COLOUR], probabilities=True)
    np.testing.assert_array_equal(many[1].probabilities, predict(Brightness(), COLOUR).probabilities)
    one = predict(Brightness(), COLOUR, probabilities=False)
    assert one.probabilities is None
    with pytest.raises(SegnbError, match="the probabilities were not kept: predict with probabilities=True"):
        one.save_probabilities("never.npz")


def test_probabilities_are_saved_for_numpy(tmp_path):
    found = predict(Brightness(), COLOUR)
    path = found.save_probabilities(tmp_path / "p.npz")
    with np.load(path, allow_pickle=False) as saved:
        np.testing.assert_array_equal(saved["probabilities"], found.probabilities)
        assert saved["label_names"].tolist() == CLASSES
    with pytest.raises(SegnbError, match=r"'p\.png' does not end in \.npz"):
        found.save_probabilities(tmp_path / "p.png")


def test_overlays_are_saved_as_png_or_jpeg(tmp_path):
    found = predict(Brightness(), COLOUR.repeat(8, 0).repeat(8, 1))
    assert read(found.save_overlay(tmp_path / "o.png", 0.3)) == found.overlay(0.3).tolist()
    with Image.open(found.save_overlay(tmp_path / "o.JPG")) as saved:
        assert saved.format == "JPEG"
        assert np.abs(np.array(saved).astype(int) - found.overlay()).mean() < 20
    with pytest.raises(SegnbError, match=r"'o\.gif' ends in neither \.png nor \.jpg"):
        found.save_overlay(tmp_path / "o.gif")


def test_out_writes_masks_and_reads_them_when_asked(tmp_path):
    photos = make_photos(tmp_path / "photos", "b.png", "a.png")
    found = predict(Brightness(), photos, out=tmp_path / "new" / "masks")
    assert isinstance(found, SavedPredictions)
    assert names_in(tmp_path / "new" / "masks") == ["a.png", "b.png"]
    assert [path.name for path in found.paths] == ["a.png", "b.png"]
    assert [one.name for one in found] == ["a", "b"]
    assert len(found) == 2
    one = found[-1]
    assert isinstance(one, Prediction)
    assert one.labels.tolist() == LABELS
    np.testing.assert_array_equal(one.image, COLOUR)
    assert (one.confidence, one.probabilities, one.truth) == (None, None, None)
    assert one.label_names == CLASSES
    assert isinstance(found[:1], Predictions)
    found.paths[0].write_bytes(found.paths[1].read_bytes())
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(found.paths[0])
    assert found[0].labels.max() == 0  # nothing was kept in memory
    assert repr(found).startswith("SavedPredictions(2 masks in ")
    assert found.plot().axes
    with pytest.raises(IndexError):
        found[2]


def test_out_with_probabilities(tmp_path):
    predict(Brightness(), [COLOUR, COLOUR], out=tmp_path, probabilities=True)
    assert names_in(tmp_path) == ["000.npz", "000.png", "001.npz", "001.png"]
    found = predict(Brightness(), COLOUR, out=tmp_path / "single")
    assert isinstance(found, Prediction)
    assert found.probabilities is not None
    assert names_in(tmp_path / "single") == ["image.png"]


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_a_failing_third_picture_leaves_the_first_two(tmp_path, batch_size):
    model = Brightness().train()
    with pytest.raises(SegnbError, match=r"there is no file or folder 'missing\.png'"):
        predict(model, [COLOUR, COLOUR, "missing.png", COLOUR], out=tmp_path, batch_size=batch_size)
    assert names_in(tmp_path) == ["000.png", "001.png"]
    assert read(tmp_path / "001.png") == LABELS
    assert model.training


def test_masks_are_there_before_later_pictures_are_read(tmp_path):
    there = []

    def look(image, mask):
        there.append(len(list(tmp_path.iterdir())))
        return {"image": image, "mask": mask}

    data = SegmentationDataset([COLOUR] * 5, [STEPS * 0] * 5, CLASSES, look)
    found = predict(Brightness(), data, out=tmp_path, batch_size=2)
    assert there == [0, 0, 0, 2, 2]  # a picture is read ahead, to see whether it has the same size
    assert found[4].truth.tolist() == [[0] * 3] * 2


def test_unreadable_files_of_a_folder_are_passed_over(tmp_path):
    photos = make_photos(tmp_path / "photos", "a.png", "c.png")
    (photos / "b.png").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match="skipped"):
        found = predict(Brightness(), photos, out=tmp_path / "masks")
    assert [one.name for one in found] == ["a", "c"]
    assert names_in(tmp_path / "masks") == ["a.png", "c.png"]


def test_a_full_disk_leaves_the_model_as_it_was(tmp_path, monkeypatch):
    def full(self, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Prediction, "save", full)
    model = Brightness().train()
    with pytest.raises(OSError, match="No space left"):
        predict(model, [COLOUR, COLOUR], out=tmp_path)
    assert model.training
    assert torch.is_grad_enabled()


def test_pictures_are_never_replaced(tmp_path):
    photos = make_photos(tmp_path / "photos", "a.png", "a.jpg")
    with pytest.raises(SegnbError, match="two pictures are called 'a'"):
        predict(Brightness(), photos, out=tmp_path / "masks")
    (photos / "a.jpg").unlink()
    for source in (photos, photos / "a.png", [photos / "a.png"]):
        with pytest.raises(SegnbError, match=r"the mask '.*a\.png' would replace the picture itself: give another"):
            predict(Brightness(), source, out=photos)
    assert read(photos / "a.png") == COLOUR.tolist()
    with pytest.raises(SegnbError, match=r"out='.*a\.png' is a file: give a folder"):
        predict(Brightness(), COLOUR, out=photos / "a.png")
    data = SegmentationDataset([COLOUR], [STEPS * 0], CLASSES, names=["../up"])
    with pytest.raises(SegnbError, match=r"called '\.\./up', which cannot be a file's name"):
        predict(Brightness(), data, out=tmp_path / "masks")
    assert not (tmp_path / "masks").exists()


def test_coco_runs_decode_to_the_same_masks(tmp_path, capsys):
    photos = make_photos(tmp_path / "photos", "a.png")
    found = predict(Brightness(), photos)
    file = COCO(found.save_coco(tmp_path / "coco.json"))
    assert [(one["id"], one["name"]) for one in file.loadCats(file.getCatIds())] == list(enumerate(CLASSES))
    image = file.loadImgs(1)[0]
    assert (image["file_name"], image["width"], image["height"]) == ("a.png", 3, 2)
    annotations = file.loadAnns(file.getAnnIds())
    assert len(annotations) == 3
    for one in annotations:
        np.testing.assert_array_equal(file.annToMask(one), found[0].labels == one["category_id"])
    bright = annotations[2]  # LABELS: 0 1 2 / 2 2 0
    assert (bright["area"], bright["bbox"], bright["iscrowd"]) == (3, [0, 0, 3, 2], 0)
    dark = annotations[0]
    assert (dark["area"], dark["bbox"]) == (2, [0, 0, 3, 2])


def test_coco_of_connected_pieces_without_background(tmp_path):
    picture = np.zeros((6, 8), np.uint8)
    picture[1:3, 1:4] = 255  # two pieces, one of which hangs together by a corner
    picture[4, 6] = picture[5, 7] = 255
    found = predict(Brightness(1, ["thing"]), picture)
    path = found.save_coco(tmp_path / "pieces.json", components=True)
    content = json.loads(path.read_text())
    assert content["categories"] == [{"id": 1, "name": "thing"}]
    assert content["images"] == [{"id": 1, "file_name": "image", "width": 8, "height": 6}]
    first, second = content["annotations"]
    assert (first["area"], first["bbox"]) == (6, [1, 1, 3, 2])
    assert (second["area"], second["bbox"]) == (2, [6, 4, 2, 2])
    assert (first["id"], second["id"], second["category_id"], second["image_id"]) == (1, 2, 1, 1)
    runs = [one["segmentation"] for one in (first, second)]
    np.testing.assert_array_equal(sum(coco_mask.decode(one) for one in runs), found.labels)


def test_coco_numbers_all_pictures(tmp_path):
    found = predict(Brightness(), [COLOUR, COLOUR[:1]], out=tmp_path / "masks")
    content = json.loads(found.save_coco(tmp_path / "all.json").read_text())
    assert [one["file_name"] for one in content["images"]] == ["000", "001"]
    assert [one["image_id"] for one in content["annotations"]] == [1, 1, 1, 2, 2, 2]
    assert [one["id"] for one in content["annotations"]] == [1, 2, 3, 4, 5, 6]


def test_coco_needs_json_and_pycocotools(tmp_path, monkeypatch):
    found = predict(Brightness(), COLOUR)
    with pytest.raises(SegnbError, match=r"'coco\.txt' does not end in \.json"):
        found.save_coco(tmp_path / "coco.txt")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SegnbError, match=r'need pycocotools: pip install "segnb\[data\]"'):
        found.save_coco(tmp_path / "coco.json")


def test_saved_predictions_show_in_a_notebook(tmp_path, monkeypatch):
    import IPython

    found = predict(Brightness(), [COLOUR], out=tmp_path)
    assert found._repr_mimebundle_() is None
    monkeypatch.setattr(IPython, "get_ipython", type("Shell", (), {"kernel": None}))
    data, _ = found._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data


# More than 8 bits ------------------------------------------------------------------------------------------------------

DEEP = np.array([[0, 2048, 4095], [4095, 9999, 0]], np.uint16)  # of 12 bits, with a defect


def known_range(channels=1):
    model = Brightness(channels)
    model.value_range = (0, 4095)
    return model


def test_files_and_arrays_are_read_by_the_models_range(tmp_path):
    """As the data set that the model was trained on reads them."""
    Image.fromarray(DEEP).save(tmp_path / "deep.png")
    for source in (tmp_path / "deep.png", DEEP, Image.fromarray(DEEP), DEEP.astype(np.float32)):
        found = predict(known_range(), source)
        assert found.labels.tolist() == LABELS
        assert found.image[:, :, 0].tolist() == [[0, 128, 255], [255, 255, 0]]
    data = SegmentationDataset([tmp_path / "deep.png"], [np.zeros((2, 3), np.uint8)], CLASSES, value_range=(0, 4095))
    assert (data.read(0)[0] == predict(known_range(), tmp_path / "deep.png").image).all()


def test_bytes_in_a_file_are_stored_values_and_in_an_array_pixels(tmp_path):
    model = Brightness(1)
    model.value_range = (100, 110)
    stored = np.array([[100, 105, 110], [200, 110, 3]], np.uint8)
    Image.fromarray(stored).save(tmp_path / "dim.png")
    assert predict(model, tmp_path / "dim.png").labels.tolist() == LABELS
    assert predict(model, STEPS).labels.tolist() == LABELS


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_files_of_many_bands(tmp_path, dtype):
    bands = np.stack([DEEP] * 5, axis=2) if dtype == np.uint16 else np.stack([STEPS] * 5, axis=2)
    tifffile.imwrite(tmp_path / "bands.tif", bands, photometric="minisblack", planarconfig="contig")
    model = known_range(5) if dtype == np.uint16 else Brightness(5)
    found = predict(model, tmp_path)
    assert found[0].labels.tolist() == LABELS
    assert found[0].image.shape == (2, 3, 5)


def test_fit_tells_the_model_the_range_of_its_data(tmp_path, tiny):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 4096, (32, 32, 3), np.uint16) for _ in range(4)]
    masks = [(image[:, :, 0] > 2000).astype(np.uint8) for image in images]
    data = SegmentationDataset(images, masks, ["low", "high"], value_range=(0, 4095))
    model = tiny(classes=["low", "high"])
    run = fit(model, data, data, 1, batch_size=2, out=tmp_path / "run")
    assert model.value_range == (0, 4095)
    loaded = load_model(run.path / "best")
    assert loaded.value_range == (0, 4095)
    assert (predict(loaded, images[0]).image == data.read(0)[0]).all()
    card = run.path / "best" / "config.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "value_range": [5, 1]}))
    with pytest.raises(SegnbError, match=r"value_range=\[5, 1\]: give two numbers \(low, high\)"):
        load_model(run.path / "best")
