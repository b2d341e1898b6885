import importlib.util
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segnb.errors import SegnbError
from segnb.exporting import export
from segnb.exporting.report import TOLERANCE
from segnb.models import create_model

SIZE = (64, 64)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return create_model("unet", "test_efficientnet", None, classes=["road", "<car>", "sky"])


@pytest.fixture(scope="module")
def report(model, tmp_path_factory):
    return export(model, tmp_path_factory.mktemp("exported") / "model.onnx", size=SIZE)


class Small(nn.Module):
    """The least that `export` needs of a model; ``variant`` makes it go wrong."""

    in_channels, num_classes, classes, label_names, config = 1, 1, ["dot"], ["background", "dot"], {}
    palette, multilabel = np.zeros((2, 3), np.uint8), False

    def __init__(self, variant=""):
        super().__init__()
        self.variant = variant
        self.look = nn.Conv2d(1, 1, 3, padding=1)
        self.register_buffer("mean", torch.full((1, 1, 1, 1), 0.5), persistent=False)
        self.register_buffer("std", torch.full((1, 1, 1, 1), 0.25), persistent=False)

    def forward(self, x):
        coarse = self.look(F.avg_pool2d(x, 4, ceil_mode=True))
        if self.variant == "floor":  # rounds towards zero in ONNX, and down in PyTorch
            rows, columns = -(-x.shape[-2] // 4), -(-x.shape[-1] // 4)
            coarse = F.interpolate(coarse[..., : rows - 1, : columns - 1], size=(rows, columns))
        if self.variant == "untraceable":
            coarse = coarse + (1 if coarse.sum().item() > 0 else 0)
        if self.variant == "nan":
            coarse = coarse / 0 * 0
        return F.interpolate(coarse, size=x.shape[-2:], mode="bilinear", align_corners=False)


def test_any_batch_and_size_from_one_file(model, report):
    assert [path.name for path in report.path.parent.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(report.path)
    assert [(port.name, port.shape) for port in session.get_inputs()] == [("image", ["batch", 3, "height", "width"])]
    assert session.get_outputs()[0].name == "logits"
    reference = model.eval()
    for shape in ((1, 3, 64, 64), (2, 3, 51, 37), (1, 3, 100, 33)):
        x = torch.randn(shape)
        with torch.no_grad():
            np.testing.assert_allclose(session.run(None, {"image": x.numpy()})[0], reference(x).numpy(), atol=1e-4)
    assert report.ok
    assert report.format == "ONNX"
    assert (report.miou, report.torch_miou, report.agreement) == (None, None, None)
    assert report.difference < 1e-4
    assert report.size_mb == pytest.approx(report.path.stat().st_size / 1e6)
    assert report.ms > 0
    assert report.torch_ms > 0


def test_three_sizes_with_odd_sides_and_another_batch_are_compared(report):
    assert [check.shape for check in report.checks] == [(1, 3, 64, 64), (3, 3, 33, 35), (2, 3, 72, 40)]
    for check in report.checks:
        np.testing.assert_allclose(check.logits, check.torch_logits, atol=1e-4)
        assert check.relative <= TOLERANCE


def test_raw_pixels_are_normalised_inside(model, tmp_path, capfd, recwarn):
    report = export(model, tmp_path / "raw.onnx", size=SIZE, raw_pixels=True)
    session = onnxruntime.InferenceSession(tmp_path / "raw.onnx")
    assert session.get_inputs()[0].type == "tensor(uint8)"
    raw = torch.randint(0, 256, (1, 3, 40, 50), dtype=torch.uint8)
    with torch.no_grad():
        expected = model.eval()((raw / 255 - model.mean) / model.std).numpy()
    np.testing.assert_allclose(session.run(None, {"image": raw.numpy()})[0], expected, atol=1e-4)
    assert report.raw_pixels
    assert capfd.readouterr() == ("", "")  # torch's exporter talks a lot
    assert list(recwarn) == []
    assert session.get_modelmeta().custom_metadata_map["input"] == "uint8 0..255"


def test_the_file_describes_itself_and_not_this_machine(model, report):
    about = onnxruntime.InferenceSession(report.path).get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == ["road", "<car>", "sky"]
    assert json.loads(about["label_names"]) == ["road", "<car>", "sky"]
    assert json.loads(about["palette"]) == model.palette.tolist()
    assert json.loads(about["mean"]) == pytest.approx(model.mean.flatten().tolist(), abs=1e-6)
    assert json.loads(about["std"]) == pytest.approx(model.std.flatten().tolist(), abs=1e-6)
    assert json.loads(about["config"])["arch"] == "unet"
    assert about["input"] == "float32 (pixel / 255 - mean) / std"
    assert b".py" not in report.path.read_bytes()


def test_a_multilabel_model_keeps_its_logits_and_says_what_it_is(tmp_path):
    model = create_model("fcn", "test_efficientnet", None, classes=["cell", "nucleus"], multilabel=True)
    report = export(model, tmp_path / "model.onnx", size=SIZE)
    assert report.ok
    about = onnxruntime.InferenceSession(report.path).get_modelmeta().custom_metadata_map
    assert json.loads(about["config"])["multilabel"] is True
    assert json.loads(about["palette"]) == model.palette.tolist()


def test_the_model_is_left_as_found(tmp_path):
    model = Small().train()
    model.look.eval()
    model.look.weight.grad = torch.ones_like(model.look.weight)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    export(model.half(), tmp_path / "model.onnx", size=SIZE)
    assert model.training
    assert not model.look.training
    assert model.look.weight.dtype == torch.float16
    assert model.look.weight.requires_grad
    assert model.look.weight.grad.sum() == 9
    assert all(torch.equal(before[name].half(), tensor) for name, tensor in model.state_dict().items())


def test_opset_can_be_chosen(tmp_path):
    report = export(Small(), tmp_path / "model.onnx", size=SIZE, opset=18)
    assert report.opset == 18
    assert onnx.load(report.path).opset_import[0].version == 18


def test_report_shows_table_and_figure(tmp_path):
    report = export(Small(), tmp_path / "<model>.onnx", size=SIZE)
    text = report._repr_html_()
    assert "&lt;model&gt;.onnx" in text
    assert "<model>" not in text
    assert "<td>3×1×33×35</td>" in text
    assert "takes normalised pixels, float32" in text
    points = report.plot().axes[0].collections
    assert len(points) == 3
    np.testing.assert_allclose(*points[1].get_offsets().T, atol=1e-5)


def test_tensorflow_padding_of_the_offline_encoder(tmp_path):
    """With timm's own padding this export takes many minutes: the expressions for its sizes explode."""
    model = create_model("fpn", "tf_efficientnet_lite0", None, classes=2)
    report = export(model, tmp_path / "model.onnx")
    assert report.ok
    assert [check.shape[0] for check in report.checks] == [1, 3, 2]


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("floor", r"(fails on an input of|differ by .* on an input of|returns .* for an input of) 3×1×33×35"),
        ("untraceable", "this model cannot be written as ONNX for any size: "),
        ("nan", r"differ by nan on an input of 1×1×64×64"),
    ],
)
def test_a_wrong_file_is_never_delivered(variant, message, tmp_path):
    (tmp_path / "model.onnx").write_text("an older file")
    with pytest.raises(SegnbError, match=message):
        export(Small(variant), tmp_path / "model.onnx", size=SIZE)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_text() == "an older file"


def test_missing_packages_name_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SegnbError) as caught:
        export(Small())
    assert str(caught.value) == 'export needs onnx and onnxscript and onnxruntime: pip install "segnb[export]"'
    with pytest.raises(SegnbError) as caught:
        export(Small(), "model.xml")
    assert str(caught.value) == 'export needs onnx and onnxscript and openvino: pip install "segnb[export]"'


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(
        SegnbError, match=r"'model\.pt' .* end it in \.onnx \(ONNX\), \.pt2 \(torch\.export\) or \.xml \(OpenVINO\)"
    ):
        export(Small(), tmp_path / "model.pt")
    with pytest.raises(SegnbError, match=r"opset is the version of ONNX's operators; leave it out for 'model\.xml'"):
        export(Small(), tmp_path / "model.xml", opset=18)
    with pytest.raises(SegnbError, match=r"max_drop is -1; give how much mean IoU may be lost"):
        export(Small(), tmp_path / "model.xml", max_drop=-1)
    with pytest.raises(SegnbError, match=r"size=\(8, 64\): give \(height, width\) of at least 32 each"):
        export(Small(), tmp_path / "model.onnx", size=(8, 64))
