"""The formats beside ONNX, over architectures of every kind; and files that appear together or not at all."""

import json
import subprocess
import sys

import numpy as np
import openvino
import pytest
import torch
from building import build_any
from test_exporting import Small

from segnb.errors import SegnbError
from segnb.exporting import export
from segnb.files import write_together

SHAPES = ((1, 3, 96, 64), (2, 3, 75, 101), (3, 3, 40, 130))
ARCHITECTURES = ("unet", "segformer", "deeplabv3plus", "maskformer", "bisenetv2")
ABOUT = {"classes", "label_names", "palette", "mean", "std", "multilabel", "input", "config"}


def logits_of(model, shape, raw=False):
    """An input of a shape and what PyTorch says to it."""
    torch.manual_seed(1)
    x = torch.randint(0, 256, shape, dtype=torch.uint8) if raw else torch.randn(shape)
    with torch.no_grad():
        return x, model.eval()(x).numpy()


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_program_of_torch_export_serves_any_size(arch, tmp_path):
    model = build_any(arch, classes=3)
    report = export(model, tmp_path / "model.pt2", size=(96, 64))
    assert (report.format, report.ok, report.opset) == ("torch.export", True, None)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]
    program = torch.export.load(tmp_path / "model.pt2").module()
    for shape in SHAPES:
        x, expected = logits_of(model, shape)
        np.testing.assert_allclose(program(x).detach().numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_graph_of_openvino_serves_any_size(arch, tmp_path):
    model = build_any(arch, classes=3)
    report = export(model, tmp_path / "model.xml", size=(96, 64))
    assert (report.format, report.ok, report.opset) == ("OpenVINO", True, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.bin", "model.xml"]
    assert report.size_mb == pytest.approx(sum(path.stat().st_size for path in tmp_path.iterdir()) / 1e6)
    network = openvino.compile_model(tmp_path / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for shape in SHAPES:
        x, expected = logits_of(model, shape)
        np.testing.assert_allclose(network({"image": x.numpy()})["logits"], expected, atol=1e-4)


def test_a_program_takes_raw_pixels_and_describes_itself(tmp_path, capfd, recwarn):
    model = build_any("fcn", classes=["road", "<car>"])
    assert export(model, tmp_path / "model.pt2", size=(64, 64), raw_pixels=True).ok
    assert (capfd.readouterr(), list(recwarn)) == (("", ""), [])
    found = {"segnb.json": ""}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=found)
    about = json.loads(found["segnb.json"])
    assert set(about) == ABOUT
    assert json.loads(about["classes"]) == ["road", "<car>"]
    assert about["input"] == "uint8 0..255"
    x, expected = logits_of(model, (1, 3, 70, 50), raw=True)
    np.testing.assert_allclose(program.module()(x).detach().numpy(), expected, atol=1e-4)
    assert b"site-packages" not in (tmp_path / "model.pt2").read_bytes()


def test_a_graph_takes_raw_pixels_and_describes_itself(tmp_path, capfd, recwarn):
    model = build_any("fcn", classes=["road", "<car>"])
    assert export(model, tmp_path / "model.xml", size=(64, 64), raw_pixels=True).ok
    assert (capfd.readouterr(), list(recwarn)) == (("", ""), [])
    graph = openvino.Core().read_model(tmp_path / "model.xml")
    about = graph.get_rt_info("segnb").value
    assert set(about) == ABOUT
    assert json.loads(about["palette"]) == model.palette.tolist()
    assert json.loads(about["label_names"]) == ["road", "<car>"]
    assert graph.input("image").element_type == openvino.Type.u8
    x, expected = logits_of(model, (1, 3, 70, 50), raw=True)
    network = openvino.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(network({"image": x.numpy()})["logits"], expected, atol=1e-4)
    assert b"site-packages" not in (tmp_path / "model.xml").read_bytes()


@pytest.mark.parametrize("suffix", [".pt2", ".xml"])
def test_a_wrong_file_is_never_delivered(suffix, tmp_path):
    for name in ("model.pt2", "model.xml", "model.bin"):
        (tmp_path / name).write_text("an older file")
    with pytest.raises(SegnbError, match="for any size: "):
        export(Small("untraceable"), tmp_path / f"model{suffix}", size=(64, 64))
    with pytest.raises(SegnbError, match=r"file and PyTorch differ by nan on an input of 1×1×64×64"):
        export(Small("nan"), tmp_path / f"model{suffix}", size=(64, 64))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.bin", "model.pt2", "model.xml"]
    assert {path.read_text() for path in tmp_path.iterdir()} == {"an older file"}


def test_report_names_the_format(tmp_path):
    for suffix, name in ((".pt2", "torch.export"), (".xml", "OpenVINO")):
        report = export(Small(), tmp_path / f"<model>{suffix}", size=(64, 64))
        text = report._repr_html_()
        assert f"&lt;model&gt;{suffix}</b>: {name}, {report.size_mb:.1f} MB, takes normalised pixels" in text
        assert f"on this CPU: {name} " in text
        assert "opset" not in text
        assert report.plot().axes[0].get_ylabel() == f"{name} logits"


def test_files_move_together_the_named_one_last(tmp_path, monkeypatch):
    moved = []

    def write(file):
        file.write_text("graph")
        file.with_suffix(".bin").write_text("weights")

    real = type(tmp_path).replace
    monkeypatch.setattr(type(tmp_path), "replace", lambda self, to: moved.append(to.name) or real(self, to))
    assert write_together(tmp_path / "deep" / "a.xml", write) == tmp_path / "deep" / "a.xml"
    assert moved == ["a.bin", "a.xml"]
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["a.bin", "a.xml"]


def test_a_failed_writing_leaves_nothing(tmp_path):
    def write(file):
        file.write_text("half")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        write_together(tmp_path / "a.xml", write)
    assert list(tmp_path.iterdir()) == []


def test_runtimes_are_imported_when_a_file_is_written_and_report_nothing():
    code = (
        "import sys, segnb.exporting\n"
        "print([name for name in ('onnx', 'onnxruntime', 'openvino', 'nncf') if name in sys.modules])\n"
        "from segnb.exporting.quiet import import_silently\n"
        "import_silently('openvino'), import_silently('nncf')\n"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["[]", "[]"]
