import numpy as np
import pytest
import torch
from PIL import Image

from segnb.data.datasets import SegmentationDataset
from segnb.errors import SegnbError
from segnb.prediction import Prediction, Predictions, predict

CLASSES = ["dark", "middle", "bright"]


class Brightness(torch.nn.Module):
    """Predicts dark, middle or bright from the first channel."""

    multilabel, value_range = False, None

    def __init__(self, in_channels=3, classes=CLASSES):
        super().__init__()
        self.in_channels, self.classes, self.num_classes = in_channels, list(classes), len(classes)
        self.label_names = self.classes if len(classes) > 1 else ["background", *classes]
        self.palette = np.array([(10, 20, 30), (40, 50, 60), (70, 80, 90)], np.uint8)[: len(self.label_names)]
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.batches = []

    def forward(self, x):
        assert x.dtype == torch.uint8
        self.batches.append(tuple(x.shape))
        level = x[:, :1].float() / 255
        if self.num_classes == 1:
            return self.weight * 8 * (level - 0.5)
        centres = torch.tensor([0, 0.5, 1]).reshape(1, 3, 1, 1)
        return -self.weight * 50 * (level - centres) ** 2

    def labels(self, logits):
        return ((logits[:, 0] > 0) if self.num_classes == 1 else logits.argmax(1)).to(torch.uint8)

    def probabilities(self, logits):
        return logits.sigmoid() if self.num_classes == 1 else logits.softmax(1)


STEPS = np.array([[0, 128, 255], [255, 255, 0]], np.uint8)  # labels 0 1 2 / 2 2 0
COLOUR = np.repeat(STEPS[:, :, None], 3, axis=2)
LABELS = [[0, 1, 2], [2, 2, 0]]


def test_array():
    found = predict(Brightness(), COLOUR)
    assert isinstance(found, Prediction)
    assert found.labels.tolist() == LABELS
    assert found.labels.dtype == np.uint8
    np.testing.assert_array_equal(found.image, COLOUR)
    assert found.truth is None
    assert found.probabilities.shape == (3, 2, 3)
    assert found.probabilities.dtype == np.float16
    np.testing.assert_allclose(found.probabilities.sum(0), 1, atol=2e-3)
    np.testing.assert_array_equal(found.confidence, found.probabilities.max(0))
    assert repr(found) == "Prediction('image', 2×3, found: dark, middle, bright)"


def test_the_array_is_copied():
    mine = COLOUR.copy()
    found = predict(Brightness(), mine)
    mine[:] = 7
    np.testing.assert_array_equal(found.image, COLOUR)


def test_binary_confidence_is_that_of_the_chosen_label():
    found = predict(Brightness(1, ["bright"]), STEPS)
    assert found.labels.tolist() == [[0, 1, 1], [1, 1, 0]]
    assert found.label_names == ["background", "bright"]
    assert found.probabilities.shape == (1, 2, 3)
    np.testing.assert_allclose(found.confidence[0, [0, 2]], 1 / (1 + np.exp(-4)), atol=1e-3)


def test_pictures_and_files_are_converted_to_the_models_channels(tmp_path):
    grey, colour = Image.fromarray(STEPS), Image.fromarray(COLOUR)
    colour.convert("RGBA").save(tmp_path / "photo.PNG")
    for source in (grey, colour, tmp_path / "photo.PNG", str(tmp_path / "photo.PNG")):
        for channels in (1, 3):
            found = predict(Brightness(channels), source)
            assert found.labels.tolist() == LABELS
            assert found.image.shape == (2, 3, channels)
    assert found.name == "photo"


def test_the_cameras_rotation_is_applied(tmp_path):
    picture = Image.fromarray(COLOUR)
    exif = picture.getexif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    picture.save(tmp_path / "turned.png", exif=exif)
    found = predict(Brightness(), tmp_path / "turned.png")
    np.testing.assert_array_equal(found.labels, np.rot90(LABELS, -1))


def test_list_shares_batches_of_one_size():
    model = Brightness()
    found = predict(model, [COLOUR, Image.fromarray(STEPS), COLOUR[:1]], batch_size=8)
    assert isinstance(found, Predictions)
    assert model.batches == [(2, 3, 2, 3), (1, 3, 1, 3)]
    assert [one.name for one in found] == ["000", "001", "002"]
    assert found[2].labels.tolist() == LABELS[:1]
    assert found[0].probabilities is None
    assert found[0].confidence.shape == (2, 3)


def test_folder_is_sorted_and_skips_what_cannot_be_read(tmp_path):
    for name in ("b.png", "a.PNG", ".hidden.png"):
        Image.fromarray(COLOUR).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "c.jpg").write_bytes(b"\xff\xd8 truncated")
    with pytest.warns(UserWarning, match=r"skipped: '.*c\.jpg' cannot be read as an image"):
        found = predict(Brightness(), tmp_path)
    assert [one.name for one in found] == ["a", "b"]


def test_dataset_gives_truth_names_and_colours_after_its_transform():
    def crop(image, mask):
        return {"image": image[:1], "mask": mask[:1]}

    truth = np.array([[0, 2, 255], [0, 0, 0]], np.uint8)
    palette = [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    names = ["low", "mid", "high"]
    data = SegmentationDataset([COLOUR], [truth], names, crop, names=["one"], palette=palette)
    found = predict(Brightness(), data)
    assert len(found) == 1
    assert found[0].truth.tolist() == [[0, 2, 255]]
    assert found[0].truth.dtype == np.uint8
    assert found[0].labels.tolist() == LABELS[:1]
    assert found[0].name == "one"
    assert found[0].label_names == names
    assert found[0].palette.tolist() == [list(colour) for colour in palette]


def test_overlay_mixes_picture_and_palette():
    found = predict(Brightness(), COLOUR)
    np.testing.assert_array_equal(found.overlay(0), COLOUR)
    np.testing.assert_array_equal(found.overlay(1), found.palette[found.labels])


def test_saved_file_has_labels_as_values_and_the_palette_as_colours(tmp_path):
    found = predict(Brightness(), COLOUR)
    path = found.save(tmp_path / "new" / "labels.png")
    with Image.open(path) as saved:
        assert saved.mode == "P"
        assert np.array(saved).tolist() == LABELS
        np.testing.assert_array_equal(np.array(saved.convert("RGB")), found.palette[found.labels])
    assert [file.name for file in path.parent.iterdir()] == ["labels.png"]
    with pytest.raises(SegnbError, match=r"saved as PNG, .* 'labels\.jpg' does not end in \.png"):
        found.save(tmp_path / "labels.jpg")


def test_predictions_save_and_plot(tmp_path):
    found = predict(Brightness(), [COLOUR, COLOUR])
    assert sorted(path.name for path in found.save(tmp_path).iterdir()) == ["000.png", "001.png"]
    assert {"000", "001"} <= {axes.get_title(loc="left") for axes in found.plot().axes}
    with pytest.raises(SegnbError, match="two pictures are called '000'"):
        Predictions([found[0], found[0]]).save(tmp_path)


def test_mode_and_gradients_are_left_alone():
    model = Brightness().train()
    predict(model, COLOUR)
    assert model.training
    assert model.weight.grad is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            COLOUR / 255,
            r"the picture 'image' is float64, .* set model\.value_range = \(low, high\), or pass a uint8 array",
        ),
        (STEPS, r"has 1 channels \(shape \(2, 3\)\) and the model reads 3; pass an array \(H, W, 3\)"),
        (np.zeros((3, 8, 9), np.uint8), r"channels-first: use array\.transpose\(1, 2, 0\)"),
        (COLOUR[None], r"shape \(1, 2, 3, 3\); expected \(H, W\) or \(H, W, C\)\. Pass several pictures as a list"),
        (COLOUR[:0], r"shape \(0, 3, 3\)"),
        ([], "the list of pictures is empty"),
        (7, r"predict\(\) was given a int; it takes an array"),
        ("nowhere/photo.jpg", r"there is no file or folder 'nowhere.photo\.jpg'; the current folder is"),
        (
            Image.fromarray(STEPS.astype(np.uint16) * 257),
            r"the picture 'image' is u?int(16|32), and the model does not know",
        ),
    ],
)
def test_what_does_not_fit_is_refused(source, message):
    with pytest.raises(SegnbError, match=message):
        predict(Brightness(), source)


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(SegnbError, match=r"has no pictures; expected files ending in \.png, \.jpg"):
        predict(Brightness(), tmp_path)
    file = tmp_path / "cut.png"
    Image.fromarray(COLOUR.repeat(50, 0).repeat(50, 1)).save(file)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(SegnbError, match=r"'.*cut\.png' cannot be read as an image"):
        predict(Brightness(), file)
    with pytest.raises(SegnbError, match=r"cut\.png' cannot be read"):
        predict(Brightness(), [file])
    with (
        pytest.warns(UserWarning, match="skipped"),
        pytest.raises(SegnbError, match=r"none of the 1 pictures in .* can be read"),
    ):
        predict(Brightness(), tmp_path)
    Image.fromarray(STEPS.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    with pytest.raises(SegnbError, match=r"the picture 'deep' is uint16, .* train it on data with a value_range"):
        predict(Brightness(), tmp_path / "deep.png")


def test_other_channel_counts_take_arrays_only():
    model = Brightness(4)
    four = np.concatenate([COLOUR, COLOUR[:, :, :1]], axis=2)
    assert predict(model, four).labels.tolist() == LABELS
    with pytest.raises(SegnbError, match=r"has 3 channels .* the model reads 4"):
        predict(model, Image.fromarray(COLOUR))


def test_outside_a_notebook_it_shows_as_text():
    assert predict(Brightness(), COLOUR)._repr_mimebundle_() is None


def test_in_a_notebook_it_shows_the_viewer_with_a_still_picture(monkeypatch):
    import IPython

    monkeypatch.setattr(IPython, "get_ipython", type("Shell", (), {"kernel": None}))
    data, _ = predict(Brightness(), [COLOUR])._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/html"].startswith("<img alt=")
    assert Predictions()._repr_mimebundle_() is None
