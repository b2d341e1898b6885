import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import segnb
from segnb import cli


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """A stand-in for the shipped notebooks."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setattr(cli, "resource", lambda name: tmp_path / name)
    write(folder, "1 + 1")
    return folder


def write(folder, *cells):
    notebook = new_notebook(cells=[new_markdown_cell("# Quick <b>start</b>"), *map(new_code_cell, cells)])
    # A kernelspec of another installation: it must not be used.
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "elsewhere", "language": "python"}
    nbformat.write(notebook, folder / cli.FIRST_NOTEBOOK)


def run(*words):
    return subprocess.run(
        [sys.executable, "-m", "segnb.cli", *words], check=False, capture_output=True, text=True, timeout=60
    )


def test_version():
    assert run("--version").stdout == f"segnb {segnb.__version__}\n"


def test_python_m_segnb_is_the_command():
    done = subprocess.run([sys.executable, "-m", "segnb", "--version"], check=True, capture_output=True, text=True)
    assert done.stdout == f"segnb {segnb.__version__}\n"


def test_doctor_prints_versions():
    done = run("doctor")
    assert done.returncode == 0
    assert f"segnb            {segnb.__version__}\n" in done.stdout
    assert "Ctrl-C" in done.stdout


def test_the_command_alone_imports_no_torch():
    code = "import sys, segnb.cli; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True).stdout == "False\n"


def test_unknown_command_and_option_are_refused(capsys):
    for words in (["lob"], ["demo", "--oot", "x"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(words)
        assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "invalid choice: 'lob'" in message
    assert "unrecognized arguments: --oot" in message


class Started:
    """Stands for the process of JupyterLab: remembers how it was started, survives one Ctrl-C."""

    def __init__(self, command, cwd, env):
        Started.last = self
        self.command, self.cwd, self.env, self.interrupts = command, cwd, env, 1
        kernels = Path(env["JUPYTER_PATH"].split(os.pathsep)[0]) / "kernels"
        self.kernel = json.loads((kernels / "python3" / "kernel.json").read_text())

    def wait(self):
        if self.interrupts:
            self.interrupts -= 1
            raise KeyboardInterrupt
        return 7


@pytest.fixture
def process(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", Started)


@pytest.mark.parametrize(("user", "extra"), [(1000, []), (0, ["--allow-root"])])
def test_lab_opens_a_checkout_in_place(notebooks, process, monkeypatch, user, extra):
    monkeypatch.setattr(cli.os, "geteuid", lambda: user, raising=False)
    assert cli.main(["lab", "--no-browser"]) == 7
    assert Started.last.command == [sys.executable, "-m", "jupyterlab", "00_quickstart.ipynb", *extra, "--no-browser"]
    assert Started.last.cwd == notebooks
    assert Started.last.kernel["argv"][:3] == [sys.executable, "-m", "ipykernel_launcher"]


def test_lab_copies_and_never_overwrites(notebooks, process, tmp_path, capsys):
    (notebooks / "runs").mkdir()
    (notebooks / "model.onnx").write_bytes(b"left by a run")
    target = tmp_path / "mine"
    assert cli.main(["lab", str(target)]) == 7
    assert Started.last.cwd == target
    assert [path.name for path in target.iterdir()] == ["00_quickstart.ipynb"]
    assert capsys.readouterr().out == f"Notebooks: {target}\n"

    (target / "00_quickstart.ipynb").write_text("my work")
    cli.main(["lab", str(target)])
    assert (target / "00_quickstart.ipynb").read_text() == "my work"
    assert "kept your 00_quickstart.ipynb" in capsys.readouterr().out


def test_lab_of_an_installed_wheel_copies_beside_the_user(notebooks, process, tmp_path, monkeypatch):
    wheel = notebooks.rename(tmp_path / "_notebooks")
    monkeypatch.setattr(cli, "resource", lambda name: wheel)
    monkeypatch.chdir(tmp_path)
    cli.main(["lab"])
    assert (tmp_path / "segnb-notebooks" / "00_quickstart.ipynb").is_file()


def test_lab_into_a_file_is_refused(notebooks, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert cli.main(["lab", str(tmp_path / "file")]) == 1
    assert "is a file; give a folder for the notebooks." in capsys.readouterr().err


def test_missing_jupyterlab_names_the_extra(notebooks, monkeypatch, capsys):
    monkeypatch.setattr(cli, "LAB_PACKAGES", ("jupyterlab_that_is_not_there",))
    for command in ("lab", "demo"):
        assert cli.main([command]) == 1
        assert capsys.readouterr().err == ('segnb: this needs jupyterlab_that_is_not_there: pip install "segnb[lab]"\n')


def test_demo_runs_the_notebook_and_reports(notebooks, tmp_path, capsys):
    write(
        notebooks,
        "import sys, types, pathlib\npathlib.Path('model.onnx').write_bytes(b'graph')",
        "print('kernel', sys.executable)",
        "report = types.SimpleNamespace(miou=0.8125)\nexported = types.SimpleNamespace(difference=2e-6)",
        "from IPython.display import display\n"
        "display({'application/vnd.jupyter.widget-view+json': {'model_id': 'x'}, 'image/png': 'iVBORw0KGgo='}, raw=True)",
    )
    out = tmp_path / "demo"
    assert cli.main(["demo", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "[ 1/4] import sys, types, pathlib" in printed
    assert "valid mIoU  0.812\n" in printed
    assert "parity      ONNX Runtime and PyTorch differ by 2.0e-06 at most\n" in printed
    assert str(out / "quickstart.html") in printed
    assert str(out / "model.onnx") in printed
    assert (out / "model.onnx").read_bytes() == b"graph"
    page = (out / "quickstart.html").read_text("utf-8")
    assert f"kernel {sys.executable}" in page
    assert "data:image/png;base64,iVBORw0KGgo=" in page
    assert "_json" not in page


def test_demo_stops_at_a_failing_cell(notebooks, tmp_path, capsys):
    write(notebooks, "a = 1", "raise ValueError('no such thing\\nsecond line')", "b = 2")
    assert cli.main(["demo", "--out", str(tmp_path / "demo")]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("\nsegnb: cell 2 of 3 failed: ValueError: no such thing\n")
    assert "[ 3/3]" not in printed.out
    assert "no such thing" in (tmp_path / "demo" / "quickstart.html").read_text("utf-8")


def test_demo_shows_how_far_a_training_is(notebooks, tmp_path, capsys):
    write(
        notebooks,
        "import time, anywidget, traitlets\n"
        "class Monitor(anywidget.AnyWidget):\n"
        "    _esm = 'export default {}'\n"
        "    progress = traitlets.Dict().tag(sync=True)\n"
        "monitor = Monitor()\n"
        "monitor.progress = {'state': 'running', 'epoch': 3, 'epochs': 8, 'note': 'Best so far.'}\n"
        "time.sleep(2.5)\n"
        "monitor.progress = {**monitor.progress, 'state': 'finished'}",
    )
    assert cli.main(["demo", "--out", str(tmp_path / "demo")]) == 0
    printed = capsys.readouterr()
    assert "\n        epoch 3/8  Best so far." in printed.out
    assert printed.out.count("epoch 3/8") == 1
    assert "valid mIoU" not in printed.out  # this notebook has no report
    assert not (tmp_path / "demo" / "model.onnx").exists()
