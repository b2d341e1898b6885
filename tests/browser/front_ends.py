"""A notebook open in a browser, in JupyterLab, in Notebook 7, or in the classic notebook of Colab's age.

JupyterLab and Notebook 7 are the same application with another frame around it; the classic notebook answers the same
questions through another object of its page.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import nbformat
import pytest
from servers import Server

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# A headless Chromium without a graphics card sometimes stops drawing, and JupyterLab waits for frames: then a clock makes them.
FRAMES = """(() => {
    const [ask, cancel] = [window.requestAnimationFrame.bind(window), window.cancelAnimationFrame.bind(window)];
    const late = new Map();
    window.requestAnimationFrame = (draw) => {
        const run = (now) => {
            clearTimeout(late.get(place));
            if (late.delete(place)) draw(now);
        };
        const place = ask(run);
        late.set(place, setTimeout(() => { cancel(place); run(performance.now()); }, 500));
        return place;
    };
    window.cancelAnimationFrame = (place) => {
        clearTimeout(late.get(place));
        late.delete(place);
        cancel(place);
    };
})()"""
Ignored = list[tuple[str, str]]  # part of a line in the browser's console that says nothing about us, and why
AFTER_START = 3000  # ms: the page restores its layout and opens the widgets' subshell


@dataclass
class Notebook:
    """A notebook in JupyterLab or Notebook 7."""

    page: object
    path: Path
    server: Server
    console: list[str] = field(default_factory=list)

    address = "lab/tree/{name}?token={token}&reset"
    any_cell = ".jp-Notebook .jp-Cell"
    output = ".jp-OutputArea-output"
    ignored: ClassVar[Ignored] = [
        ("colab-badge.svg", "the badge's picture is on Google's server, and tests need no network"),
    ]

    def open(self) -> None:
        """Load the page and wait until cells can be run."""
        self.page.on("pageerror", lambda error: self.console.append(f"{error}"))
        self.page.on("console", self._keep)
        self.page.goto(f"{self.server.url}/{self.address.format(name=self.path.name, token=self.server.token)}")
        self.page.locator(self.any_cell).first.wait_for(timeout=60_000)
        self.wait_for_kernel(lambda: self.kernel_status() == "idle", "the kernel has started", 60)
        self.page.wait_for_timeout(AFTER_START)

    def run_all(self) -> None:
        """Start all cells from the top; returns at once."""
        self.page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")

    def kernel_status(self) -> str:
        """Read "idle", "busy", "starting" ... as the front end knows it."""
        return self.page.evaluate(
            "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status ?? 'none'"
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

    def wait_for_kernel(self, condition: Callable[[], object], what: str, seconds: float) -> None:
        """The same for what only a kernel can bring about; if it does not, tell where it stands."""
        try:
            self.wait_for(condition, what, seconds)
        except pytest.fail.Exception as failure:
            status = self.kernel_status()
            pytest.fail(f"{failure}; the kernel is {status}; {self.server.trouble()}")

    def running_cells(self) -> int:
        """Count the cells that run or wait; the kernel's status is no help, since a widget's subshell also sets it."""
        return self.page.locator(".jp-InputPrompt", has_text="[*]").count()

    def wait_idle(self, seconds: float = 120) -> None:
        """Wait until no cell runs or waits."""
        self.wait_for_kernel(lambda: self.running_cells() == 0, "all cells have ended", seconds)

    def outputs(self) -> str:
        """All text below the cells, tracebacks included."""
        return "\n".join(self.page.locator(self.output).all_inner_texts())

    def save(self) -> nbformat.NotebookNode:
        """Save as Ctrl-S does, and read the file."""
        self.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
        return nbformat.read(self.path, as_version=4)

    def console_errors(self) -> list[str]:
        """Errors of the browser's console, without the ones that are known and explained."""
        return [line for line in self.console if not any(text in line for text, _ in self.ignored)]

    def _keep(self, line: object) -> None:
        if line.type == "error":
            self.console.append(f"{line.text} ({line.location.get('url', '')})")


class Notebook7(Notebook):
    """A notebook in Notebook 7."""

    address = "notebooks/{name}?token={token}"
    ignored: ClassVar[Ignored] = [
        *Notebook.ignored,
        ("reading 'schema'", "it asks for a setting of JupyterLab that it has not loaded, before any cell has run"),
        ("not registered.", "the same with a command"),
    ]


class ClassicNotebook(Notebook):
    """A notebook in Notebook 6.5."""

    address = "notebooks/{name}?token={token}"
    any_cell = "#notebook .code_cell"
    output = ".output_area > :not(.prompt)"

    def run_all(self) -> None:
        """Start all cells from the top; returns at once."""
        self.page.evaluate("Jupyter.notebook.execute_all_cells()")

    def kernel_status(self) -> str:
        """Read "idle" or "busy"; "none" until the kernel and the extension for widgets are there."""
        return self.page.evaluate("""() => {
            const notebook = window.Jupyter?.notebook;
            if (!notebook?.kernel?.is_connected() || !require.defined('nbextensions/jupyter-js-widgets/extension')) return 'none';
            return notebook.kernel_busy ? 'busy' : 'idle';
        }""")

    def running_cells(self) -> int:
        """Count the cells that run or wait."""
        return self.page.locator(".code_cell.running").count()

    def save(self) -> nbformat.NotebookNode:
        """Save as Ctrl-S does, and read the file."""
        self.page.evaluate("Jupyter.notebook.save_notebook()")
        return nbformat.read(self.path, as_version=4)


FRONT_ENDS = {"lab": Notebook, "notebook": Notebook7, "classic": ClassicNotebook}


def write_notebook(source: list[str] | Path, folder: Path, kernel: str) -> Path:
    """Put a notebook where a server finds it.

    Args:
        source: the sources of code cells, or the path of a notebook to copy.
        folder: that the server serves.
        kernel: which of the server's kernels runs it.

    Returns:
        The new file.
    """
    if isinstance(source, Path):
        content = nbformat.read(source, as_version=4)
    else:
        content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in source])
    content.metadata["kernelspec"] = {"name": kernel, "display_name": kernel, "language": "python"}
    path = folder / f"notebook-{secrets.token_hex(4)}.ipynb"
    nbformat.write(content, path)
    return path
