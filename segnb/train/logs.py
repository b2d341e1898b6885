"""What a run leaves for other tools: a table for spreadsheets and pandas, and TensorBoard's files."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from segnb import draw
from segnb.errors import SegnbError, nearest
from segnb.files import write_atomically
from segnb.train.run import Run

HISTORY = "history.csv"
COLUMNS = ("epoch", "train_loss", "valid_loss", "miou", "lr", "seconds", "elapsed")


def write_history(run: Run) -> None:
    """Write the history as a table, one row for each epoch; the IoU of each label has a column of its own."""

    def write(path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow([*COLUMNS, *(f"iou {name}" for name in run.label_names)])
            table.writerows([*(entry[name] for name in COLUMNS), *entry["iou"]] for entry in run.history)

    write_atomically(run.path / HISTORY, write)


class TensorBoard:
    """Writes a run for TensorBoard, into ``tensorboard/`` in its folder: ``tensorboard --logdir runs`` shows all of them.

    The same as ``fit(..., logs="tensorboard")``.

    Raises:
        SegnbError: TensorBoard is not installed.
    """

    def __init__(self) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise SegnbError("TensorBoard is not installed: pip install tensorboard, or leave it out of logs.")

    def on_start(self, run: Run) -> None:
        """Open the log; what an earlier part of the run wrote after its last checkpoint is taken back."""
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(run.path / "tensorboard"), purge_step=len(run.losses) + 1)

    def on_step(self, run: Run) -> None:
        """Write the loss of the step."""
        self.writer.add_scalar("loss/step", run.losses[-1], len(run.losses))

    def on_epoch(self, run: Run) -> None:
        """Write the scores of the epoch, and the predictions on the first validation pictures."""
        entry, step = run.history[-1], len(run.losses)
        scalars = {
            "loss/train": entry["train_loss"],
            "loss/valid": entry["valid_loss"],
            "miou": entry["miou"],
            "lr": entry["lr"],
        }
        scalars.update({f"iou/{name}": score for name, score in zip(run.label_names, entry["iou"], strict=True)})
        for name, value in scalars.items():
            self.writer.add_scalar(name, value, step)
        for index, (image, truth, prediction) in enumerate(run.preview):
            pair = [draw.overlay(image, labels, run.palette) for labels in (truth, prediction)]
            self.writer.add_image(
                f"truth and prediction/{index}", np.concatenate(pair, axis=1), step, dataformats="HWC"
            )
        self.writer.flush()

    def on_end(self, run: Run) -> None:
        """Close the log."""
        if hasattr(self, "writer"):
            self.writer.close()


LOGS = {"tensorboard": TensorBoard}


def make_logs(logs: str | None) -> list[Any]:
    """Make the callbacks of ``fit(..., logs=)``.

    Raises:
        SegnbError: there is no such log, or its package is missing.
    """
    if logs is None:
        return []
    if logs not in LOGS:
        raise SegnbError(f"unknown logs {logs!r}. {nearest(str(logs), LOGS)} (history.csv is always written.)")
    return [LOGS[logs]()]
