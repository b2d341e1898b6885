"""The command ``segnb``: open the notebooks, run the first one without a browser, repeat a run, look at the machine."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnb import __version__
from segnb.errors import SegnbError
from segnb.files import resource, write_atomically

if TYPE_CHECKING:
    from nbclient import NotebookClient
    from nbformat import NotebookNode

FIRST_NOTEBOOK = "00_quickstart.ipynb"
LAB_PACKAGES = ("jupyterlab", "ipykernel", "nbconvert", "nbclient")
CELL_LIMIT = 1800  # seconds
# Asked of the kernel after the last cell; the quickstart calls its results `report` and `exported`.
QUESTION = """
import json as _json
print(_json.dumps({
    "miou": getattr(globals().get("report"), "miou", None),
    "parity": getattr(globals().get("exported"), "difference", None),
}))
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: words after ``segnb``; None takes the process's own.

    Returns:
        The exit code: 0 if all went well.
    """
    parser = _parser()
    options, others = parser.parse_known_args(arguments)
    if others and options.command != "lab":
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    try:
        if options.command == "lab":
            return lab(options.folder, others)
        if options.command == "demo":
            return demo(options.out)
        if options.command == "train":
            return train(options.file, options.out, options.resume)
        return doctor()
    except (SegnbError, OSError) as error:
        print(f"segnb: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="segnb", description="Image segmentation in the notebook.")
    parser.add_argument("--version", action="version", version=f"segnb {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    lab_parser = commands.add_parser(
        "lab",
        help="open the notebooks in JupyterLab",
        description="Open the notebooks in JupyterLab. Other options (--no-browser, --port=9999, --allow-root) go to JupyterLab.",
    )
    lab_parser.add_argument("folder", nargs="?", type=Path, help="copy the notebooks here first")
    demo_parser = commands.add_parser("demo", help="run the first notebook without a browser")
    demo_parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results (default: demo)")
    train_parser = commands.add_parser(
        "train",
        help="do a run again that a notebook wrote with run.save_config",
        description="On several processes, GPUs or machines: accelerate launch -m segnb train run.yaml",
    )
    train_parser.add_argument("file", type=Path, help="what run.save_config wrote, such as run.yaml")
    train_parser.add_argument("--out", type=Path, help="folder of the run (default: a new one under runs)")
    train_parser.add_argument("--resume", action="store_true", help="go on with an unfinished run in that folder")
    commands.add_parser("doctor", help="show what works on this machine")
    return parser


def doctor() -> int:
    """Print what works on this machine; 1 if there is a problem."""
    from segnb.system import doctor as look

    diagnosis = look()
    print(diagnosis)
    return 0 if diagnosis.ok else 1


def train(file: Path, out: Path | None, resume: bool) -> int:
    """Do a written run again; 1 if it was stopped."""
    from segnb.train.replaying import train_from_config

    return 0 if train_from_config(file, out=out, resume=resume).state == "finished" else 1


def lab(folder: Path | None, others: Sequence[str]) -> int:
    """Open the notebooks in JupyterLab and wait until it ends.

    Args:
        folder: where to copy them first. None opens a checkout's notebooks in place, and copies those of an installed segnb to
            ``segnb-notebooks``.
        others: options for JupyterLab.

    Returns:
        JupyterLab's exit code.

    Raises:
        SegnbError: JupyterLab is not installed.
    """
    _need_lab()
    shipped = resource("notebooks")
    if folder is None and shipped.name == "notebooks":
        folder = shipped
    else:
        folder = Path("segnb-notebooks") if folder is None else folder
        copy_notebooks(shipped, folder)
    with own_kernel() as kernels:
        # JupyterLab refuses to start for root, which is who one is in most containers; it listens on this machine only.
        root = ["--allow-root"] if getattr(os, "geteuid", lambda: 1)() == 0 and "--allow-root" not in others else []
        return _wait([sys.executable, "-m", "jupyterlab", FIRST_NOTEBOOK, *root, *others], folder, kernels)


def _wait(command: list[str], folder: Path, kernels: Path) -> int:
    """Run a command in a folder until it ends; Ctrl-C is the command's own to answer (JupyterLab asks back)."""
    paths = [str(kernels), os.environ.get("JUPYTER_PATH", "")]
    environment = {**os.environ, "JUPYTER_PATH": os.pathsep.join(filter(None, paths))}
    process = subprocess.Popen(command, cwd=folder, env=environment)  # noqa: S603  our own command line
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def _need_lab() -> None:
    missing = [name for name in LAB_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise SegnbError(f'this needs {", ".join(missing)}: pip install "segnb[lab]"')


def copy_notebooks(shipped: Path, folder: Path) -> None:
    """Copy the shipped notebooks, and say where. A file that is there already is never overwritten.

    Args:
        shipped: segnb's own folder.
        folder: the user's; made if it is missing.

    Raises:
        SegnbError: the folder is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise SegnbError(f"{str(folder)!r} is a file; give a folder for the notebooks.")
    folder.mkdir(parents=True, exist_ok=True)
    print(f"Notebooks: {folder.resolve()}")
    for source in sorted(path for path in shipped.iterdir() if path.suffix == ".ipynb"):
        target = folder / source.name
        content = source.read_bytes()
        if not target.exists():
            write_atomically(target, lambda temporary, content=content: temporary.write_bytes(content))
        elif target.read_bytes() != content:
            print(f"  kept your {target.name}; rename or delete it to get the shipped one")


@contextmanager
def own_kernel() -> Iterator[Path]:
    """Make a kernel called python3 that is this interpreter, whatever the user's other installations call so.

    Yields:
        A folder for JUPYTER_PATH, searched before all others.
    """
    with tempfile.TemporaryDirectory(prefix="segnb-") as folder:
        kernel = Path(folder) / "kernels" / "python3" / "kernel.json"
        kernel.parent.mkdir(parents=True)
        specification = {
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=40"],
            "display_name": "Python 3 (segnb)",
            "language": "python",
            "metadata": {"debugger": True},
        }
        kernel.write_text(json.dumps(specification), encoding="utf-8")
        yield Path(folder)


@contextmanager
def running(notebook: NotebookNode, folder: Path) -> Iterator[NotebookClient]:
    """Start a kernel that is this interpreter, and end it afterwards.

    Args:
        notebook: whose cells are to be executed; outputs go into it.
        folder: the kernel's working directory.

    Yields:
        A client: ``client.execute_cell(cell, index)``.
    """
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    with own_kernel() as kernels:
        specs = KernelSpecManager(kernel_dirs=[str(kernels / "kernels")])
        manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs)
        resources = {"metadata": {"path": str(folder)}}
        client = NotebookClient(notebook, km=manager, timeout=CELL_LIMIT, resources=resources, store_widget_state=True)
        with client.setup_kernel(cleanup_kc=True):  # nbclient leaves a manager that it was given running
            yield client


def demo(out: Path) -> int:
    """Run the first notebook from top to bottom without a browser, and keep the page it makes.

    Leaves ``quickstart.html`` and what the notebook writes (``model.onnx``) in the folder, and prints the result.

    Args:
        out: the folder, in which the notebook runs.

    Returns:
        0, or 1 if a cell failed; the page then ends with its error.

    Raises:
        SegnbError: JupyterLab's packages are not installed, or the notebook is not there.
    """
    _need_lab()
    import nbformat

    path = resource("notebooks") / FIRST_NOTEBOOK
    if not path.is_file():
        raise SegnbError(f"{path} is missing: reinstall with pip install --force-reinstall segnb")
    out.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.read(path, as_version=4)
    start = time.monotonic()
    failure, answers = _run(notebook, out)
    page = write_atomically(out / "quickstart.html", lambda temporary: temporary.write_text(_page(notebook), "utf-8"))
    if failure is not None:
        print(f"\nsegnb: {failure}\nThe page up to there: {page.resolve()}", file=sys.stderr)
        return 1
    print(f"\nFinished in {time.monotonic() - start:.0f} s")
    if answers["miou"] is not None:
        print(f"valid mIoU  {answers['miou']:.3f}")
    if answers["parity"] is not None:
        print(f"parity      ONNX Runtime and PyTorch differ by {answers['parity']:.1e} at most")
    for file in (page, out / "model.onnx"):
        if file.exists():
            print(f"{file.suffix[1:]:11} {file.resolve()}")
    return 0


def _run(notebook: NotebookNode, folder: Path) -> tuple[str | None, dict[str, Any]]:
    """Execute the cells one by one, telling how far they are.

    Returns:
        What failed, or None; and the answers to `QUESTION`.
    """
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    from nbformat.v4 import new_code_cell

    code = [index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()]
    with running(notebook, folder) as client:
        for number, index in enumerate(code, 1):
            cell = notebook.cells[index]
            try:
                with _told(f"[{number:2}/{len(code)}] {cell.source.strip().splitlines()[0][:60]}", client):
                    client.execute_cell(cell, index)
            except CellExecutionError as error:
                reason = error.evalue.splitlines()[0] if error.evalue else "no message"
                return f"cell {number} of {len(code)} failed: {error.ename}: {reason}", {}
            except CellTimeoutError:
                return f"cell {number} of {len(code)} took more than {CELL_LIMIT} s", {}
            except DeadKernelError:
                return f"the kernel died in cell {number} of {len(code)}, perhaps for want of memory", {}
        question = new_code_cell(QUESTION)
        notebook.cells.append(question)  # nbclient only runs cells of its notebook
        client.execute_cell(question, len(notebook.cells) - 1)
        notebook.cells.pop()
    return None, json.loads(question.outputs[0].text)


@contextmanager
def _told(title: str, client: NotebookClient) -> Iterator[None]:
    """Print a cell's first line, signs of life while it runs, and its seconds."""
    print(f"{title:<70}", end="", flush=True)
    start, done = time.monotonic(), threading.Event()

    def live() -> None:
        last = ""
        while not done.wait(1):
            now = _training(client)
            if now != last:
                print(f"\n        {now:<62}", end="", flush=True)
                last = now

    teller = threading.Thread(target=live, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
        print(f"{time.monotonic() - start:6.1f} s", flush=True)


def _training(client: NotebookClient) -> str:
    """Say how far a training is, as its monitor would; empty if none runs."""
    for widget in list(client.widget_state.values()):
        progress = widget.get("progress")
        if isinstance(progress, dict) and progress.get("state") == "running":
            return f"epoch {progress['epoch']}/{progress['epochs']}  {progress['note']}"
    return ""


def _page(notebook: NotebookNode) -> str:
    """Turn the executed notebook into one HTML page with its pictures inside.

    Widgets need a kernel and a network; each has a picture beside it, which is taken instead.
    """
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    kinds = ["text/html", "image/svg+xml", "image/png", "image/jpeg", "text/markdown", "text/latex", "text/plain"]
    exporter = HTMLExporter(config=Config(NbConvertBase={"display_data_priority": kinds}), embed_images=True)
    page, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": "segnb quickstart"}})
    return page


if __name__ == "__main__":
    sys.exit(main())
