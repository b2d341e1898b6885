"""The widgets as Python sees them; tests/browser looks at them in a browser."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import types

import numpy as np
import pytest
from fake_training import LABELS, PALETTE, FakeDataset, FakePrediction, guess, scene
from PIL import Image
from scipy import ndimage

from segnb.errors import SegnbError
from segnb.widgets import MaskViewer, TrainingMonitor, base, explore, pictures, stopping


def decoded(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text.rpartition(",")[2]))))


def sent_by(widget, message) -> list[dict]:
    """What a widget answers to a message of the browser."""
    sent = []
    widget.send = sent.append
    widget._receive(widget, message, [])
    return sent


def item(**changes) -> dict:
    image, labels = scene(0)
    return {"image": image, "labels": labels, "prediction": None, "name": "first", **changes}


# Pictures


def test_maps_are_exact_unless_noise_would_make_them_large():
    smooth = np.linspace(0, 1, 1024 * 1024).reshape(1024, 1024)
    assert np.abs(decoded(pictures.grey_map(smooth)) / 255 - smooth).max() <= 0.5 / 255 + 1e-9
    soft = ndimage.gaussian_filter((scene(0, 1024, 1024)[1] == 2).astype(np.float32), 6)
    noisy = np.clip(soft + np.random.default_rng(0).normal(0, 0.01, smooth.shape), 0, 1)
    text = pictures.grey_map(noisy)
    assert len(text) <= pictures.MAP_BUDGET
    assert np.abs(decoded(text) / 255 - noisy).max() <= 8 / 255 + 1e-9
    extremes = pictures.grey_map(
        np.random.default_rng(1).integers(0, 2, (1024, 1024))
    )  # nothing helps: coarse, but 0 and 1 stay
    assert set(np.unique(decoded(extremes))) == {0, 255}


# Base


def test_import_needs_no_torch():
    code = "import sys, segnb.widgets; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_stopping_follows_kernel_and_front_end(monkeypatch):
    def shell(features, **names):
        kernel = types.SimpleNamespace(kernel_info={"supported_features": features})
        return lambda: types.SimpleNamespace(kernel=kernel, user_ns=names)

    assert stopping() == "interrupt"  # a plain Python
    monkeypatch.setattr("IPython.get_ipython", shell(["debugger", "kernel subshells"]))
    assert stopping() == "buttons"
    monkeypatch.setattr("IPython.get_ipython", shell(["debugger"]))  # ipykernel 6
    assert stopping() == "interrupt"
    monkeypatch.setattr("IPython.get_ipython", shell(["kernel subshells"], __vsc_ipynb_file__="a.ipynb"))
    assert stopping() == "interrupt"


def test_commands_take_the_subshell_that_they_came_by(monkeypatch):
    """ipykernel 7.4.0 would route them to the shell that wrote last: the busy one."""
    kind = type(TrainingMonitor().comm)
    monkeypatch.setattr(kind, "_reply_subshell_for", lambda *_: "busy", raising=False)
    assert TrainingMonitor().comm._reply_subshell_for({"content": {}}, "free") == "free"


def test_ready_is_answered():
    assert sent_by(TrainingMonitor(), {"type": "ready"}) == [{"type": "alive"}]


def test_an_error_in_a_callback_is_shown():
    viewer = explore(FakeDataset(3))
    assert sent_by(viewer, {"type": "picture", "index": 7}) == []
    assert viewer.error == "IndexError: list index out of range"


@pytest.mark.parametrize("pair", [True, False], ids=["anywidget: a pair", "ipywidgets: a dict"])
def test_bundle_keeps_the_live_view_and_adds_pictures(monkeypatch, pair):
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "?"}
    monkeypatch.setattr(
        base.anywidget.AnyWidget, "_repr_mimebundle_", lambda *_, **__: (dict(view), {"a": 1}) if pair else dict(view)
    )
    viewer = MaskViewer([item()], ['<a> "b"', *LABELS[1:]], PALETTE)
    data, metadata = viewer._repr_mimebundle_(include=None, exclude=None)
    assert data["application/vnd.jupyter.widget-view+json"] == {"model_id": "x"}
    assert metadata == ({"a": 1} if pair else {})
    assert Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).format == "PNG"
    page = re.fullmatch(r'<img alt="([^"]*)" style="[^"]*" src="([^"]*)"><p>([^<]*)</p>', data["text/html"])
    alternative, source, hint = page.groups()
    assert hint == base.HINT
    assert data["text/plain"].endswith(f"building, road, pavement, tree, car, person, pole. {base.HINT}")
    assert alternative.startswith("1 picture, classes: &lt;a&gt; &quot;b&quot;, building")
    assert decoded(source).shape == (*decoded(data["image/png"]).shape, 3)  # the PNG has a palette


def test_saved_pictures_are_small_and_keep_the_colours_of_rare_classes():
    data, _ = explore(FakePrediction())._repr_mimebundle_()
    assert len(data["image/png"]) + len(data["text/html"]) < 150_000
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
    pixels = np.asarray(picture).reshape(-1, 3).astype(int)
    for colour in PALETTE.astype(int):  # squares of the legend
        assert np.abs(pixels - colour).max(axis=1).min() < 30


def test_repr_has_no_memory_address():
    assert repr(explore(FakeDataset(3))) == f"3 pictures, classes: {', '.join(LABELS)}"


# Viewer


def test_payload_holds_the_labels_exactly():
    image, labels = scene(3)
    labels[:5] = 255
    prediction = guess(labels, 1, 0.3)
    viewer = MaskViewer([item(image=image, labels=labels, prediction=prediction)], LABELS, PALETTE)
    payload = viewer.payload(0)
    assert (payload["name"], payload["width"], payload["height"]) == ("first", 192, 128)
    np.testing.assert_array_equal(decoded(payload["truth"]), labels)
    np.testing.assert_array_equal(decoded(payload["prediction"]), prediction)
    assert np.abs(decoded(payload["image"]).astype(int) - image).mean() < 6


def test_a_large_photo_with_masks_stays_within_its_budget():
    image, labels = scene(0, 1024, 1024)  # full of noise: worse than any photo
    payload = MaskViewer([item(image=image, labels=labels, prediction=guess(labels, 0, 1))], LABELS, PALETTE).payload(0)
    assert len(json.dumps(payload)) <= 400 * 1024
    assert decoded(payload["image"]).shape == (1024, 1024, 3)


def test_larger_pictures_are_reduced_together_with_their_labels():
    image, labels = np.zeros((4000, 8192, 1), np.uint8), np.zeros((4000, 8192), np.uint8)
    labels[:, 4096:] = 7
    payload = MaskViewer([item(image=image, labels=labels)], LABELS, PALETTE).payload(0)
    assert (payload["width"], payload["height"]) == (8192, 4000)
    small = decoded(payload["truth"])
    assert decoded(payload["image"]).shape[:2] == small.shape == (2000, 4096)
    assert (np.unique(small[:, :2048]), np.unique(small[:, 2048:])) == (0, 7)


def test_dataset_is_read_when_looked_at():
    data = FakeDataset(30)
    viewer = explore(data)
    assert data.reads == list(range(8))  # these travel with the widget
    assert [picture["index"] for picture in viewer.pictures] == list(range(8))
    (answer,) = sent_by(viewer, {"type": "picture", "index": 20})
    assert (answer["type"], answer["index"], answer["name"]) == ("picture", 20, "scene-020")
    np.testing.assert_array_equal(decoded(answer["truth"]), scene(20)[1])
    assert data.reads[8:] == [20]


def test_large_pictures_do_not_travel_with_the_widget_beyond_the_first():
    assert len(explore(FakeDataset(4, 1024, 1024)).pictures) == 1


def test_explore_shows_predictions_with_their_truth():
    prediction = FakePrediction(2)
    payload = explore(prediction).payload(0)
    np.testing.assert_array_equal(decoded(payload["truth"]), prediction.truth)
    np.testing.assert_array_equal(decoded(payload["prediction"]), prediction.labels)
    many = explore([FakePrediction(0, truth=False), prediction])
    assert (many.count, many.payload(0)["truth"]) == (2, None)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (42, "explore() was given int, but shows a SegmentationDataset, a Prediction or a list of predictions"),
        ("images", "explore() was given str"),
        ([FakePrediction(), 3], "explore() was given int"),
        ([], "explore() was given an empty list"),
        (FakeDataset(0), "There are no pictures to show"),
    ],
)
def test_explore_refuses_other_things(source, text):
    with pytest.raises(SegnbError, match=re.escape(text)):
        explore(source)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"image": None}, "Picture 0 has no image: an item needs .image or ['image']"),
        ({"image": np.zeros((8, 8, 3))}, "A picture to draw is (H, W) or (H, W, C) uint8, not (8, 8, 3) float64"),
        ({"labels": np.zeros((8, 8))}, "The mask of 'first' is (8, 8), its image is (128, 192) (H, W): they must be equal"),
        ({"prediction": np.full((128, 192), 8)}, "The prediction of 'first' has labels from 8 to 8, but there are 8 classes"),
    ],
)  # fmt: skip
def test_viewer_names_the_item_that_does_not_fit(changes, text):
    with pytest.raises(SegnbError, match=re.escape(text)):
        MaskViewer([item(**changes)], LABELS, PALETTE)


def test_viewer_wants_a_colour_for_each_name():
    with pytest.raises(SegnbError, match="8 colours for 2 class names"):
        MaskViewer([item()], ["a", "b"], PALETTE)


def test_no_tool_styles_another():
    """Style sheets hold for a whole page: a class that two tools dress belongs into the shared sheets, or bears two names."""
    kinds, owners = [base.SegnbWidget], {}
    for kind in kinds:
        kinds += kind.__subclasses__()
        if kind.__module__.startswith("segnb.widgets") and isinstance(vars(kind).get("_esm"), str):
            for script in base.scripts_of(kind):
                sheet = script.with_suffix(".css")
                if script.stem in ("shared", "stage") or not sheet.exists():
                    continue
                for name in re.findall(r"^\.(segnb-[a-z-]+)", sheet.read_text(), re.MULTILINE):
                    owners.setdefault(name, {}).setdefault(sheet, set()).add(kind)
    tools = {name: list(sheets.values()) for name, sheets in owners.items() if len(sheets) > 1}
    assert {name for name, groups in tools.items() if not set.intersection(*groups)} == set()
