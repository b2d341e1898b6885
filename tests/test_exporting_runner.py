"""The program beside an exported file runs without torch and segnb, and says what segnb says."""

import ast
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from segnb import create_model, predict
from segnb.errors import SegnbError
from segnb.exporting import export
from segnb.exporting.runner import write_runner

SIZE = (64, 64)
FORBIDDEN = ("torch", "segnb", "onnx", "nncf", "timm", "openvino_telemetry")
CHECK = """
import runpy, sys, numpy as np

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {forbidden!r}:
            raise AssertionError(name + " was imported")

sys.meta_path.insert(0, Refuse())
segment = runpy.run_path({program!r})["segment"]
np.save({labels!r}, segment(np.load({pixels!r})))
assert not {{name.partition(".")[0] for name, module in sys.modules.items() if module}} & set({forbidden!r})
"""


def run_clean(program, pixels, folder):
    """Labels of pixels by a runner in a process of its own, which refuses to import what a runner does not need."""
    np.save(folder / "pixels.npy", pixels)
    names = {"program": str(program), "pixels": str(folder / "pixels.npy"), "labels": str(folder / "labels.npy")}
    code = CHECK.format(forbidden=FORBIDDEN, **names)
    result = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    return np.load(folder / "labels.npy")


def run_program(program, *arguments):
    """As a user runs it, in a clean process."""
    command = [sys.executable, "-I", str(program), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def noise(channels=3, shape=(70, 90)):
    return np.random.default_rng(0).integers(0, 256, (*shape, channels), dtype=np.uint8)


def build(**options):
    """A model with random weights, its logits shifted so that every label occurs."""
    torch.manual_seed(0)
    model = create_model("fcn", "test_efficientnet", None, **options).eval()
    with torch.no_grad():
        logits = model(torch.from_numpy(noise(model.in_channels)).permute(2, 0, 1)[None])
        last = [layer for layer in model.decoder.modules() if isinstance(layer, torch.nn.Conv2d)][-1]
        last.bias -= logits.mean((0, 2, 3))
    return model


CASES = {
    "classes": ({"classes": ["road", "car", "sky"]}, ".onnx", False),
    "raw": ({"classes": ["road", "car", "sky"]}, ".xml", True),
    "binary": ({"classes": ["cell"]}, ".xml", False),
    "grey": ({"classes": ["cell"], "in_channels": 1}, ".onnx", True),
    "multilabel": ({"classes": ["cell", "nucleus"], "multilabel": True}, ".onnx", False),
}


@pytest.mark.parametrize("case", CASES)
def test_a_clean_process_gives_the_same_labels(case, tmp_path):
    options, suffix, raw_pixels = CASES[case]
    model = build(**options)
    program = export(model, tmp_path / f"it's a {case}{suffix}", size=SIZE, raw_pixels=raw_pixels).save_runner()
    assert program == tmp_path / f"it's a {case}_runner.py"
    pixels = noise(model.in_channels)
    expected = predict(model, pixels).labels
    assert len(np.unique(expected)) > 1  # or a constant would pass
    labels = run_clean(program, pixels, tmp_path)
    assert labels.dtype == np.uint8
    assert labels.shape == expected.shape
    assert (labels == expected).mean() > 0.999
    # and with files
    Image.fromarray(pixels.squeeze()).save(tmp_path / "photo.png")
    run_program(program, tmp_path / "photo.png", tmp_path / "mask.png")
    if model.multilabel:
        for name, plane, colour in zip(model.classes, labels, model.palette, strict=True):
            mask = Image.open(tmp_path / f"mask-{name}.png")
            np.testing.assert_array_equal(np.asarray(mask), plane)
            assert mask.getpalette()[3:6] == colour.tolist()
    else:
        mask = Image.open(tmp_path / "mask.png")
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.asarray(mask), labels)
        assert mask.getpalette()[: model.palette.size] == model.palette.flatten().tolist()


def test_without_arguments_it_says_how_it_is_used(tmp_path):
    program = export(build(classes=2), tmp_path / "model.xml", size=SIZE).save_runner()
    result = subprocess.run([sys.executable, "-I", str(program)], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "python model_runner.py photo.jpg mask.png" in result.stderr


def test_a_turned_photo_is_turned_upright(tmp_path):
    model = build(classes=["road", "car"])
    program = export(model, tmp_path / "model.onnx", size=SIZE).save_runner()
    photo = Image.fromarray(noise())
    exif = photo.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    photo.save(tmp_path / "photo.png", exif=exif)
    run_program(program, tmp_path / "photo.png", tmp_path / "mask.png")
    expected = predict(model, tmp_path / "photo.png").labels
    assert expected.shape == (90, 70)
    assert (np.asarray(Image.open(tmp_path / "mask.png")) == expected).mean() > 0.999


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_the_program_is_short_and_imports_little(suffix, tmp_path):
    text = write_runner(tmp_path / f"model{suffix}").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    style = [
        "ruff",
        "check",
        "--isolated",
        "--select=E,F,I,D1",
        "--line-length=120",
        "--stdin-filename=model_runner.py",
        "-",
    ]
    result = subprocess.run([sys.executable, "-m", *style], input=text, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    runtime = {".onnx": "onnxruntime", ".xml": "openvino"}[suffix]
    assert imported == {"json", "sys", "pathlib", "numpy", "PIL", runtime}


def test_a_program_of_torch_has_no_runner(tmp_path):
    with pytest.raises(
        SegnbError, match=r"'model\.pt2' needs PyTorch to run, torch\.export\.load\('model\.pt2'\)\.module\(\)"
    ):
        write_runner(tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []
