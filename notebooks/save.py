"""Execute notebooks and save them as they belong in the repository.

    python notebooks/save.py notebooks/00_quickstart.ipynb

A widget needs a kernel; a saved one would show an error. Its picture stays in its place, so that GitHub shows it too.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from segnb.cli import own_kernel
from segnb.files import write_atomically

WIDGET = "application/vnd.jupyter.widget-view+json"


def save(path: Path) -> None:
    """Execute one notebook in an empty folder, clean its outputs, and write it back."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder, own_kernel() as kernels:
        from jupyter_client.kernelspec import KernelSpecManager
        from jupyter_client.manager import AsyncKernelManager

        specs = KernelSpecManager(kernel_dirs=[str(kernels / "kernels")])
        manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs)
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, km=manager, resources=resources, store_widget_state=False, timeout=1800).execute()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if data.pop(WIDGET, None) is not None and "image/png" in data:
                data.pop("text/html", None)
    write_atomically(path, lambda temporary: nbformat.write(notebook, temporary))
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")  # noqa: T201


if __name__ == "__main__":
    for name in sys.argv[1:]:
        save(Path(name))
