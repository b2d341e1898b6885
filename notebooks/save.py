"""Execute notebooks and save them as they belong in the repository.

    python notebooks/save.py notebooks/*.ipynb    # those whose code has changed since it was executed

A saved notebook remembers the digest of the code that made its outputs. A widget needs a kernel; a saved one would show an
error. Its picture stays in its place, so that GitHub shows it too.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

import nbformat

from segnb.cli import running
from segnb.files import write_atomically

WIDGET = "application/vnd.jupyter.widget-view+json"


def digest(notebook: nbformat.NotebookNode) -> str:
    """Sum up the code of a notebook, so that a change of text executes nothing."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()[:16]


def save(path: Path) -> None:
    """Execute one notebook in an empty folder, clean its outputs, and write it back."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder, running(notebook, Path(folder)) as client:
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "segnb": {"executed": digest(notebook)},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_progress_bar(output)]
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if data.pop(WIDGET, None) is not None and "image/png" in data:
                data.pop("text/html", None)
    write_atomically(path, lambda temporary: nbformat.write(notebook, temporary))
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")  # noqa: T201


def is_progress_bar(output: nbformat.NotebookNode) -> bool:
    """Tell a widget that leaves no picture: tqdm's, which would stand at 0 % in the saved notebook."""
    data = output.get("data", {})
    return WIDGET in data and "image/png" not in data


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        saved = nbformat.read(path, as_version=4)
        if saved.metadata.get("segnb", {}).get("executed") != digest(saved):
            save(path)
