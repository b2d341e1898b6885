"""Jupyter servers on the loopback: today's, which serves JupyterLab and Notebook 7, and the one of Colab's age.

    start_lab(home)      this Python     kernels "installed" and "newest"    /lab and /notebooks
    start_classic(home)  .cache/colab    kernel "colab"                      /notebooks, ipywidgets 7

Nothing of the user's own Jupyter is read or written: every folder that they keep is a temporary one.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

REPOSITORY = Path(__file__).parents[2]
TESTS = REPOSITORY / "tests"
NEWEST = REPOSITORY / ".cache" / "ipykernel-newest"  # the Makefile installs the newest ipykernel there, without pins
COLAB = REPOSITORY / ".cache" / "colab"  # the Makefile builds it with colab.py
COLAB_PYTHON = COLAB / "bin" / "python"


@dataclass
class Server:
    """A running server: its address and the folder that it serves."""

    url: str
    token: str
    folder: Path
    log: Path
    process: subprocess.Popen

    def put_setting(self, plugin: str, settings: dict) -> None:
        """Change a user setting of JupyterLab, as the Settings Editor does."""
        self._ask("PUT", f"lab/api/settings/{plugin}", {"raw": json.dumps(settings)})

    def end_kernels(self) -> None:
        """Kernels outlive their pages: they would take memory from the next test."""
        for session in json.loads(self._ask("GET", "api/sessions")):
            self._ask("DELETE", f"api/sessions/{session['id']}")

    def trouble(self) -> str:
        """Tell why a kernel does not answer: where its threads stand, and the end of the server's log.

        The kernels do not survive it.
        """
        for kernel in psutil.Process(self.process.pid).children():
            kernel.send_signal(signal.SIGABRT)  # faulthandler then writes the stacks of all threads to the log
        time.sleep(1)
        return self.log.read_text()[-6000:]

    def stop(self) -> None:
        """End the server; it ends its kernels too."""
        self.process.terminate()
        self.process.wait(30)

    def wait(self) -> None:
        """Wait until it answers."""
        for _ in range(300):
            if self.process.poll() is not None:
                break
            try:
                self._ask("GET", "api/status")
                return
            except OSError:
                time.sleep(0.2)
        pytest.fail(f"{self.process.args[:3]} did not start: {self.log.read_text()[-2000:]}")

    def _ask(self, method: str, path: str, body: dict | None = None) -> bytes:
        request = urllib.request.Request(
            f"{self.url}/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.read()


def start_lab(home: Path) -> Server:
    """Start JupyterLab, which also serves Notebook 7 if that is installed."""
    _kernel(home, "installed", sys.executable, [])
    if NEWEST.is_dir():
        _kernel(home, "newest", sys.executable, [NEWEST])
    server = _start(home, [
        sys.executable, "-m", "jupyterlab", "--expose-app-in-browser", "--JupyterNotebookApp.expose_app_in_browser=True",
        "--ServerApp.ip=127.0.0.1", "--ServerApp.port={port}", "--ServerApp.port_retries=0",
        "--ServerApp.root_dir={work}", "--IdentityProvider.token={token}",
        "--LabApp.extension_manager=readonly", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.news_url=None",
    ])  # fmt: skip
    server.put_setting("@jupyterlab/apputils-extension:notification", {"fetchNews": "false"})
    return server


def start_classic(home: Path) -> Server:
    """Start the Notebook 6.5 of the environment with Colab's versions."""
    _kernel(home, "colab", str(COLAB_PYTHON), [])
    return _start(home, [
        str(COLAB_PYTHON), "-m", "notebook", "--NotebookApp.ip=127.0.0.1", "--NotebookApp.port={port}",
        "--NotebookApp.port_retries=0", "--NotebookApp.notebook_dir={work}", "--NotebookApp.token={token}",
    ])  # fmt: skip


def _kernel(home: Path, name: str, python: str, extra: list[Path]) -> None:
    """Write a kernel spec: a Python, with folders that are found before the installed packages."""
    folder = home / "data" / "kernels" / name
    folder.mkdir(parents=True)
    spec = {
        "argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": name,
        "language": "python",
        "env": {
            "PYTHONPATH": os.pathsep.join(str(path) for path in [*extra, REPOSITORY, TESTS]),
            "OMP_NUM_THREADS": "1",
            "PYTHONFAULTHANDLER": "1",
        },
    }
    (folder / "kernel.json").write_text(json.dumps(spec))


def _start(home: Path, command: list[str]) -> Server:
    (home / "work").mkdir()
    names = ("CONFIG_DIR", "RUNTIME_DIR", "DATA_DIR")
    own = {f"JUPYTER_{name}": str(home / name.partition("_")[0].lower()) for name in names}
    own |= {f"JUPYTERLAB_{name}_DIR": str(home / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    own["IPYTHONDIR"] = str(home / "ipython")
    values = {"port": _free_port(), "token": secrets.token_hex(16), "work": home / "work"}
    arguments = [part.format(**values) for part in [*command, "--no-browser", "--allow-root"]]
    log = home / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(arguments, env={**os.environ, **own}, stdout=output, stderr=subprocess.STDOUT)
    server = Server(f"http://127.0.0.1:{values['port']}", values["token"], values["work"], log, process)
    try:
        server.wait()
    except BaseException:
        server.stop()
        raise
    return server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
