"""INT8: judged by its labels on pictures, not by its logits."""

import dataclasses
import importlib.util

import numpy as np
import openvino
import pytest
import torch
from squares import CLASSES, TINY, squares

from segnb import SegmentationDataset, create_model, evaluate, fit, predict
from segnb.errors import SegnbError
from segnb.exporting import export
from segnb.exporting.comparing import compare_labels
from segnb.metrics import ConfusionMatrix

SIZE = (48, 48)


@pytest.fixture(scope="module")
def train():
    return SegmentationDataset(*squares(24), CLASSES)


@pytest.fixture(scope="module")
def valid():
    """Pictures of two sizes."""
    small, large = squares(6, seed=5), squares(3, seed=6, size=80)
    return SegmentationDataset(small[0] + large[0], small[1] + large[1], CLASSES)


@pytest.fixture(scope="module")
def model(train, valid, tmp_path_factory):
    torch.manual_seed(0)
    model = create_model("unet", TINY, None, classes=CLASSES)
    fit(model, train, valid, 6, out=tmp_path_factory.mktemp("run"), progressive=0)
    return model


@pytest.fixture(scope="module")
def report(model, train, valid, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "model.xml"
    return export(model, path, size=SIZE, calibration=train, validation=valid)


def int8_types(path):
    """Types of what the graph stores in its constants."""
    return {
        node.get_element_type()
        for node in openvino.Core().read_model(path).get_ops()
        if node.get_type_name() == "Constant"
    }


def test_the_weights_are_bytes_and_the_labels_hardly_change(model, valid, report):
    assert (report.format, report.ok) == ("OpenVINO INT8", True)
    assert openvino.Type.i8 in int8_types(report.path)
    floats = 4 * sum(parameter.numel() for parameter in model.parameters())
    assert report.size_mb < 0.4 * floats / 1e6
    assert report.torch_miou == pytest.approx(evaluate(model, valid).miou)
    assert report.torch_miou > 0.9  # or there would be nothing to lose
    network = openvino.compile_model(report.path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    counted, equal, total = ConfusionMatrix(2), 0, 0
    for index in range(len(valid)):
        image, truth = valid[index]
        pixels = ((image[None] / 255 - model.mean) / model.std).numpy()
        labels = network({"image": pixels})["logits"].argmax(1)
        counted.update(torch.from_numpy(labels), truth[None])
        equal += (labels[0] == predict(model, image.permute(1, 2, 0).numpy()).labels).sum()
        total += labels.size
    assert report.miou == pytest.approx(counted.miou(), abs=1e-4)
    assert report.agreement == pytest.approx(equal / total, abs=1e-4)
    assert report.agreement > 0.99


def test_logits_differ_by_rounding_to_bytes(report):
    assert [check.shape for check in report.checks] == [(1, 3, 48, 48), (3, 3, 25, 27), (2, 3, 54, 32)]
    assert all(1e-5 < check.relative < 0.2 for check in report.checks)  # not equal, and not another picture's
    assert report.difference == max(check.absolute for check in report.checks)
    text = report._repr_html_()
    assert f"mIoU {report.miou:.3f}, PyTorch {report.torch_miou:.3f}; the same label for" in text
    assert text.count("✓") == 1  # the labels'; nothing is said of the logits
    assert report.plot().axes[0].get_ylabel() == "OpenVINO INT8 logits"


def test_the_same_pictures_give_the_same_weights(model, train, valid, report, tmp_path):
    again = export(model, tmp_path / "model.xml", size=SIZE, calibration=train, validation=valid)
    assert (tmp_path / "model.bin").read_bytes() == report.path.with_suffix(".bin").read_bytes()
    assert (again.miou, again.agreement, again.difference) == (report.miou, report.agreement, report.difference)


def test_raw_pixels_are_calibrated_and_judged_as_such(model, train, valid, report, tmp_path, capfd, recwarn):
    raw = export(model, tmp_path / "model.xml", size=SIZE, calibration=train, validation=valid, raw_pixels=True)
    assert (capfd.readouterr(), list(recwarn)) == (("", ""), [])
    assert raw.miou == pytest.approx(report.miou, abs=2e-3)
    assert openvino.Core().read_model(raw.path).input("image").element_type == openvino.Type.u8
    assert all(check.relative < 0.2 for check in raw.checks)


def test_pictures_that_are_unlike_the_others_make_a_bad_file_which_is_refused(model, valid, tmp_path):
    grey = SegmentationDataset([np.full((48, 48, 3), 100, np.uint8)] * 4, [np.zeros((48, 48), np.uint8)] * 4, CLASSES)
    for name in ("model.xml", "model.bin"):
        (tmp_path / name).write_text("an older file")
    with pytest.raises(SegnbError, match=r"is 0\.\d{4} and PyTorch's 0\.\d{4}: it loses more than max_drop=0\.005"):
        export(model, tmp_path / "model.xml", size=SIZE, calibration=grey, validation=valid)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        ("model.xml", "model.bin"), "an older file"
    )


def test_what_may_be_lost_is_the_users_choice(report):
    assert dataclasses.replace(report, miou=0.9, torch_miou=0.95, max_drop=0.06).ok
    worse = dataclasses.replace(report, miou=0.9, torch_miou=0.95, max_drop=0.04)
    assert not worse.ok
    assert "✗" in worse._repr_html_()


def test_floats_may_be_judged_by_their_labels_too(model, valid, tmp_path):
    report = export(model, tmp_path / "model.onnx", size=SIZE, validation=valid, raw_pixels=True)
    assert report.torch_miou == pytest.approx(evaluate(model, valid).miou)
    assert report.miou == pytest.approx(report.torch_miou, abs=1e-4)
    assert report.agreement > 0.9999


def test_without_a_labelled_pixel_nothing_can_be_judged(model):
    unknown = SegmentationDataset(squares(1)[0], [np.full((48, 48), 255, np.uint8)], CLASSES)
    with pytest.raises(SegnbError, match="no pixel of validation is labelled"):
        compare_labels(model, lambda image: np.zeros((1, 2, 48, 48), np.float32), unknown, raw_pixels=True)


def test_labels_are_counted_one_by_one(model):
    """The file says 1 everywhere, PyTorch what it says; the first rows are ignored."""
    truth = np.zeros((48, 48), np.uint8)
    truth[:, 24:] = 1
    truth[:4] = 255
    data = SegmentationDataset([squares(1)[0][0]], [truth], CLASSES)
    says_one = np.stack([np.zeros((48, 48)), np.ones((48, 48))])[None].astype(np.float32)
    found = compare_labels(model, lambda image: says_one, data, raw_pixels=True)
    labels = predict(model, data)[0].labels
    assert found.agreement == pytest.approx((labels == 1).mean())
    assert found.miou == pytest.approx((0 + 0.5) / 2)  # no ground is found; half of what is called a square is one
    assert found.torch_miou == pytest.approx(evaluate(model, data).miou)


def test_what_does_not_fit_is_refused(model, train, valid, tmp_path):
    with pytest.raises(SegnbError, match=r"an INT8 file of OpenVINO; use 'model\.xml' instead of 'model\.onnx'"):
        export(model, tmp_path / "model.onnx", calibration=train, validation=valid)
    with pytest.raises(SegnbError, match=r"the file is judged by its labels: give validation=, labelled pictures"):
        export(model, tmp_path / "model.xml", calibration=train)
    grey = SegmentationDataset(*squares(2, channels=1), CLASSES)
    with pytest.raises(SegnbError, match="the images have 1 channels and the model reads 3"):
        export(model, tmp_path / "model.xml", calibration=grey, validation=valid)
    assert list(tmp_path.iterdir()) == []


def test_without_nncf_the_extra_is_named(model, train, valid, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "nncf" else True)
    with pytest.raises(SegnbError) as caught:
        export(model, tmp_path / "model.xml", calibration=train, validation=valid)
    assert str(caught.value) == 'export needs nncf: pip install "segnb[export]"'


def test_the_runner_of_an_int8_file_gives_its_labels(report, valid, tmp_path):
    from test_exporting_runner import run_clean

    image = valid[0][0].permute(1, 2, 0).numpy()
    labels = run_clean(report.save_runner(), image, tmp_path)
    assert (labels == valid[0][1].numpy()).mean() > 0.95
