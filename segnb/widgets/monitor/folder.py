"""What the monitor finds in the folder of a run, and what it leaves there.

runs/unet-resnet34-1a2b3c/
history.csv, result.json   scores of all epochs, how it ended: written by segnb.fit, with or without a monitor
monitor/record.json        the curves by step, names and colours of the classes, the code
monitor/*.jpg, *.png       the film, see `monitor_film`
notes.txt                  what people wrote about the run

Everything is read as plain numbers and text; a file that is something else is named in an error.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segnb import draw
from segnb.errors import SegnbError
from segnb.files import write_atomically
from segnb.widgets.monitor.film import FOLDER
from segnb.widgets.monitor.series import best_epoch, number

HISTORY, RESULT, NOTES = "history.csv", "result.json", "notes.txt"
RECORD = f"{FOLDER}/record.json"
IOU = "iou "  # how the columns of the classes begin
STATES = ("finished", "stopped", "failed")


@dataclass
class RecordedRun:
    """A run as its folder tells it: what the monitor reads of a `segnb.train.Run`.

    Attributes:
        path: its folder.
        state: how it ended; ``"unfinished"`` if no ending was written.
    """

    path: Path
    label_names: list[str]
    palette: np.ndarray
    history: list[dict[str, Any]]
    state: str
    message: str
    monitor: str
    epochs: int
    steps: int

    remaining = None

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The epoch that was kept."""
        return best_epoch(self.history, self.monitor)

    @property
    def epoch(self) -> int:
        """Epochs that were finished."""
        return len(self.history)

    @property
    def step(self) -> int:
        """The last step of the last epoch."""
        return self.steps

    @property
    def seconds(self) -> float:
        """Time that the epochs took."""
        return self.history[-1].get("elapsed", math.nan) if self.history else math.nan


def read_run(path: Path) -> RecordedRun:
    """Read a run from its folder.

    Args:
        path: the folder, such as ``run.path``.

    Returns:
        The run; without curves by step if it was trained without a monitor.

    Raises:
        SegnbError: there is no run, or a file in the folder is damaged.
    """
    names, history = read_history(path)
    record = read_record(path) or {
        "label_names": names,
        "palette": draw.palette(max(1, len(names))),
        "monitor": "miou",
        "epochs": len(history),
        "steps": 1,
    }
    result = _read_json(path / RESULT) or {}
    return RecordedRun(
        path=path,
        label_names=record["label_names"],
        palette=np.array(record["palette"], np.uint8),
        history=history,
        state=result["state"] if result.get("state") in STATES else "unfinished",
        message=str(result.get("message", "")),
        monitor=record["monitor"],
        epochs=record["epochs"],
        steps=record["steps"],
    )


def read_history(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Read the table of scores that every run has.

    Args:
        path: folder of the run.

    Returns:
        The names of the labels, and one dict for each epoch, as in ``run.history``; empty before the first epoch has ended.

    Raises:
        SegnbError: the folder is not that of a run, or the table is damaged.
    """
    file = path / HISTORY
    if not file.is_file():
        if (path / RECORD).is_file():
            return [], []
        raise SegnbError(f"{str(path)!r} holds no run ({HISTORY} is not there): give a folder such as run.path.")
    try:
        with file.open(newline="", encoding="utf-8") as table:
            rows = list(csv.DictReader(table, strict=True))
        history = [_epoch(row) for row in rows]
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        raise SegnbError(f"{str(file)!r} is not the table of a run ({error}): segnb.fit writes one.") from error
    names = [column.removeprefix(IOU) for column in rows[0] if column.startswith(IOU)] if rows else []
    return names, history


def _epoch(row: Mapping[str, str]) -> dict[str, Any]:
    """One line of the table -> an entry of the history."""
    scores = {name: float(value) for name, value in row.items() if not name.startswith(IOU)}
    iou = [float(value) for name, value in row.items() if name.startswith(IOU)]
    return {**scores, "epoch": int(row["epoch"]), "miou": float(row["miou"]), "iou": iou}


def write_record(run: Any, losses: Mapping[str, Any], rates: Mapping[str, Any], code: str) -> None:
    """Write what the folder must hold, beside the table, to show the run again.

    Args:
        run: the run.
        losses: its curve, as `StepSeries.read_losses` returns it.
        rates: its curves, as `StepSeries.read_rates` returns them.
        code: that makes such a run.
    """
    record = {
        "label_names": [str(name) for name in run.label_names],
        "palette": np.asarray(run.palette).tolist(),
        "monitor": run.monitor,
        "epochs": run.epochs,
        "steps": run.steps,
        "losses": losses,
        "rates": rates,
        "code": code,
    }
    write_atomically(run.path / RECORD, lambda temporary: temporary.write_text(json.dumps(record), encoding="utf-8"))


def read_record(path: Path) -> dict[str, Any] | None:
    """Read what `write_record` wrote.

    Args:
        path: folder of the run.

    Returns:
        The record; None if there is none.

    Raises:
        SegnbError: the file is something else.
    """
    record = _read_json(path / RECORD)
    if record is None:
        return None
    try:
        names, colours = record["label_names"], np.array(record["palette"])
        if not all(isinstance(name, str) for name in names) or colours.shape != (len(names), 3):
            raise ValueError("names and colours do not fit each other")
        if colours.dtype.kind != "i" or not 0 <= colours.min() <= colours.max() <= 255:
            raise ValueError("a colour is not 0 to 255")
        return {
            "label_names": names,
            "palette": colours.tolist(),
            "monitor": str(record["monitor"]),
            "epochs": max(1, int(record["epochs"])),
            "steps": max(1, int(record["steps"])),
            "losses": _checked_series(record["losses"]),
            "rates": _checked_series(record["rates"]),
            "code": str(record["code"]),
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SegnbError(
            f"{str(path / RECORD)!r} is no record of a monitor ({error}): delete it, and the run is shown by its table alone."
        ) from error


def _checked_series(values: Mapping[str, Any]) -> dict[str, Any]:
    """Take numbers and lists of numbers only: they are drawn."""
    checked = {}
    for name, value in values.items():
        if isinstance(value, list):
            checked[name] = [None if one is None else number(float(one)) for one in value]
        else:
            checked[name] = int(value)
    return checked


def read_notes(path: Path) -> str:
    """Read what people wrote about a run.

    Args:
        path: its folder.

    Returns:
        The text; empty if there is none.
    """
    file = path / NOTES
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def write_notes(path: Path, text: str) -> None:
    """Write what people say about a run into its folder.

    Args:
        path: the folder.
        text: all of it; no file is left if it is empty.
    """
    if text.strip():
        write_atomically(path / NOTES, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    else:
        (path / NOTES).unlink(missing_ok=True)


def _read_json(file: Path) -> dict[str, Any] | None:
    """Read a mapping; None if the file is not there."""
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SegnbError(
            f"{str(file)!r} cannot be read ({error}): delete it to see what else is in the folder."
        ) from error
    if not isinstance(content, dict):
        raise SegnbError(f"{str(file)!r} is not a file of a run: delete it to see what else is in the folder.")
    return content
