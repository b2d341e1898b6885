"""A real JupyterLab on the loopback and a headless Chromium to look at it.

    def test_something(open_notebook):
        notebook = open_notebook(["import segnb", "segnb.explore(data)"])   # sources of code cells, or a path
        notebook.run_all()
        notebook.page.locator(".segnb-viewer").wait_for()
        assert notebook.console_errors() == []

Nothing of the user's own Jupyter is read or written: every folder that it keeps is a temporary one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import pytest

REPOSITORY = Path(__file__).parents[2]
TESTS = REPOSITORY / "tests"
NEWEST = REPOSITORY / ".cache" / "ipykernel-newest"  # the Makefile installs the newest ipykernel there, without pins
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Lines of the browser's console that say nothing about a notebook: (part of the text, why it may be ignored).
IGNORED: list[tuple[str, str]] = [
    ("colab-badge.svg", "the badge's picture is on Google's server, and tests need no network")
]

sys.path.insert(0, str(TESTS))  # fake_training is there; the kernels get the same path


def missing(reason: str) -> None:
    """Skip with a reason on a user's machine; in CI everything must be there."""
    if IN_CI:
        pytest.fail(f"CI must run the browser tests: {reason}")
    pytest.skip(reason)


@dataclass
class Lab:
    """A running JupyterLab: its address and the folder that it serves."""

    url: str
    token: str
    folder: Path
    log: Path

    def put_setting(self, plugin: str, settings: dict) -> None:
        """Change a user setting, as the Settings Editor does."""
        request = urllib.request.Request(
            f"{self.url}/lab/api/settings/{plugin}",
            method="PUT",
            data=json.dumps({"raw": json.dumps(settings)}).encode(),
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()


@dataclass
class Notebook:
    """A notebook open in the browser."""

    page: object
    path: Path
    console: list[str] = field(default_factory=list)

    def run_all(self) -> None:
        """Start all cells from the top; returns at once."""
        self.page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")

    def kernel_status(self) -> str:
        """Read "idle", "busy", "starting" ... as the front end knows it."""
        return self.page.evaluate(
            "window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status ?? 'none'"
        )

    def wait_for(self, condition: Callable[[], object], what: str, seconds: float = 30) -> object:
        """Poll until the condition holds, and return its value."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            self.page.wait_for_timeout(100)
        pytest.fail(f"not within {seconds} s: {what}; outputs: {self.outputs()[-2000:]}")
        return None

    def running_cells(self) -> int:
        """Count the cells that run or wait; the kernel's status is no help, since a widget's subshell also sets it."""
        return self.page.locator(".jp-InputPrompt", has_text="[*]").count()

    def wait_idle(self, seconds: float = 120) -> None:
        """Wait until no cell runs or waits."""
        self.wait_for(lambda: self.running_cells() == 0, "all cells have ended", seconds)

    def outputs(self) -> str:
        """All text below the cells, tracebacks included."""
        return "\n".join(self.page.locator(".jp-OutputArea-output").all_inner_texts())

    def save(self) -> nbformat.NotebookNode:
        """Save as Ctrl-S does, and read the file."""
        self.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
        return nbformat.read(self.path, as_version=4)

    def console_errors(self) -> list[str]:
        """Errors of the browser's console, without the ones that are known and explained."""
        return [line for line in self.console if not any(text in line for text, _ in IGNORED)]


def _kernel(folder: Path, name: str, extra: list[Path]) -> None:
    """Write a kernel spec: this Python, with folders that are found before the installed packages."""
    folder = folder / "kernels" / name
    folder.mkdir(parents=True)
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": name,
        "language": "python",
        "env": {
            "PYTHONPATH": os.pathsep.join(str(path) for path in [*extra, REPOSITORY, TESTS]),
            "OMP_NUM_THREADS": "1",
        },
    }
    (folder / "kernel.json").write_text(json.dumps(spec))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab with two kernels, "installed" and (if it is there) "newest"."""
    if importlib.util.find_spec("jupyterlab") is None:
        missing("JupyterLab is not installed: pip install 'segnb[lab]'")
    home = tmp_path_factory.mktemp("lab")
    work = home / "work"
    work.mkdir()
    _kernel(home / "data", "installed", [])
    if NEWEST.is_dir():
        _kernel(home / "data", "newest", [NEWEST])
    own = {name: str(home / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    own |= {name: str(home / name.lower()) for name in ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")}
    environment = {**os.environ, **own, "JUPYTER_DATA_DIR": str(home / "data")}
    port, token, log = _free_port(), secrets.token_hex(16), home / "lab.log"
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser",
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={work}", f"--IdentityProvider.token={token}",
        "--LabApp.extension_manager=readonly", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.news_url=None",
    ]  # fmt: skip
    with log.open("w") as output:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    running = Lab(f"http://127.0.0.1:{port}", token, work, log)
    try:
        _wait_for_server(running, server)
        running.put_setting("@jupyterlab/apputils-extension:notification", {"fetchNews": "false"})
        yield running
    finally:
        server.terminate()  # it ends its kernels too
        server.wait(30)


def _wait_for_server(lab: Lab, server: subprocess.Popen) -> None:
    for _ in range(300):
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"{lab.url}/api/status?token={lab.token}", timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start: {lab.log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    """The system's Chromium, or the one that Playwright has downloaded."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        missing("playwright is not installed: pip install playwright")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS)
        except Error as problem:
            missing(f"no Chromium: apt-get install chromium or playwright install chromium ({problem.message[:80]})")
        yield browser
        browser.close()


@pytest.fixture
def open_notebook(lab: Lab, chromium: object) -> Iterator[Callable[..., Notebook]]:
    """Open a notebook in a fresh browser window; all kernels are shut down after the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(30_000)

    def open_one(source: list[str] | Path, *, kernel: str = "installed") -> Notebook:
        if kernel == "newest" and not NEWEST.is_dir():
            missing(f"{NEWEST} is missing: make test installs it")
        path = lab.folder / f"notebook-{secrets.token_hex(4)}.ipynb"
        if isinstance(source, Path):
            content = nbformat.read(source, as_version=4)
        else:
            content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in source])
        content.metadata["kernelspec"] = {"name": kernel, "display_name": kernel, "language": "python"}
        nbformat.write(content, path)
        notebook = Notebook(context.new_page(), path)
        notebook.page.on("pageerror", lambda error: notebook.console.append(f"{error}"))
        notebook.page.on(
            "console",
            lambda line: (
                notebook.console.append(f"{line.text} ({line.location.get('url', '')})")
                if line.type == "error"
                else None
            ),
        )
        notebook.page.goto(f"{lab.url}/lab/tree/{path.name}?token={lab.token}&reset")
        notebook.page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
        notebook.wait_for(lambda: notebook.kernel_status() == "idle", "the kernel has started", 60)
        notebook.page.wait_for_timeout(3000)  # Lab restores its layout and opens the widgets' subshell
        return notebook

    yield open_one
    context.close()
    _shut_down_kernels(lab)


def _shut_down_kernels(lab: Lab) -> None:
    """Kernels outlive their pages: they would take memory from the next test."""
    headers = {"Authorization": f"token {lab.token}"}
    with urllib.request.urlopen(
        urllib.request.Request(f"{lab.url}/api/sessions", headers=headers), timeout=10
    ) as reply:
        sessions = json.load(reply)
    for session in sessions:
        request = urllib.request.Request(f"{lab.url}/api/sessions/{session['id']}", method="DELETE", headers=headers)
        urllib.request.urlopen(request, timeout=30).close()
