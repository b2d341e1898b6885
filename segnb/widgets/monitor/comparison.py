"""Earlier runs, to be drawn behind the one that is watched: their names and curves, small enough to travel with the widget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from segnb.errors import SegnbError
from segnb.widgets.monitor.folder import HISTORY, read_history
from segnb.widgets.monitor.series import best_epoch, number

EARLIER = 20  # runs beside a run that are offered, the newest
POINTS = 200  # epochs of a curve, at most


def earlier_runs(path: Path) -> Iterator[dict[str, Any]]:
    """Find the runs beside a run, for comparison.

    Args:
        path: folder of the run.

    Yields:
        The newest ones as `comparison` describes them; what is no run, or damaged, is left out.
    """
    try:
        folders = [folder for folder in path.resolve().parent.iterdir() if (folder / HISTORY).is_file()]
        newest = sorted(folders, key=lambda folder: (folder / HISTORY).stat().st_mtime, reverse=True)
    except OSError:
        return
    for folder in newest[: EARLIER + 1]:
        if folder != path.resolve():
            try:
                yield comparison(folder)
            except SegnbError:
                continue


def comparison(source: Any) -> dict[str, Any]:
    """Describe a run by its curves, to be drawn behind those of another.

    Args:
        source: a run, or its folder.

    Returns:
        ``name``, ``path``, ``text`` (what it reached, for people), and ``history``: rows of epoch, validation loss, mIoU.

    Raises:
        SegnbError: it is neither.
    """
    if hasattr(source, "history") and hasattr(source, "path"):
        path, history = Path(source.path), source.history
    elif isinstance(source, (str, Path)):
        path = Path(source).expanduser()
        history = read_history(path)[1]
    else:
        raise SegnbError(
            f"A run to compare with is a Run or its folder, not {type(source).__name__}: give run or run.path."
        )
    best = best_epoch(history, "miou")
    epochs = f"{len(history)} epoch" + ("s" if len(history) != 1 else "")
    every = max(1, math.ceil(len(history) / POINTS))
    return {
        "name": path.resolve().name,
        "path": str(path.resolve()),
        "text": f"best mIoU {best['miou']:.3f}, {epochs}" if best else epochs,
        "history": [
            [epoch["epoch"], number(epoch.get("valid_loss")), number(epoch["miou"])] for epoch in history[::every]
        ],
    }


def with_own_names(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tell runs of the same name in different folders apart.

    Args:
        runs: as `comparison` describes them.

    Returns:
        Each of them once; those with the same name are named by their whole path.
    """
    once = list({run["path"]: run for run in reversed(runs)}.values())[::-1]
    names = [Path(run["path"]).name for run in once]
    return [
        {**run, "name": run["path"] if names.count(name) > 1 else name} for run, name in zip(once, names, strict=True)
    ]
