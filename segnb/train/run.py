"""What one training run is: its progress, its controls, and how it looks in a terminal."""

from __future__ import annotations

import html
import math
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from segnb import draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from segnb.data import SegmentationDataset
    from segnb.train.recipe import Recipe

LOWER_IS_BETTER = {"train_loss", "valid_loss"}


class Run:
    """Progress and result of `fit`; callbacks get the same object while it grows.

    Attributes:
        path: folder of the run.
        state: ``"running"``, ``"paused"``, ``"stopped"``, ``"finished"`` or ``"failed"``.
        message: what happened, for people; empty while all is well.
        epochs, epoch, steps, step: planned epochs, current one (from 1), steps in an epoch, current one (from 1).
        losses: training loss of every step so far.
        lr: learning rate of the last step: the highest among the groups of parameters.
        history: one dict per finished epoch: epoch, train_loss, valid_loss, miou, iou (one per label), lr (of its last step),
            seconds, elapsed (since the run began).
        best: the entry of ``history`` with the best monitored value; None before the first epoch ends.
        preview: (image, labels, prediction) of the first validation pictures, uint8.
        settings: everything that shapes the run, as JSON can hold it.
        interrupted: whether it was one of several processes and got a signal to end.
        recipe, train, valid: what `fit` was given; the recipe's batch size is the one in use.
    """

    recipe: Recipe
    train: SegmentationDataset
    valid: SegmentationDataset

    def __init__(self, path: Path, epochs: int, steps: int, monitor: str, label_names: Sequence[str]) -> None:
        self.path = path
        self.epochs, self.steps, self.monitor = epochs, steps, monitor
        self.epoch = self.step = 0
        self.state, self.message = "running", ""
        self.losses: list[float] = []
        self.lr = 0.0
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.preview: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.label_names = list(label_names)
        self.palette = draw.palette(len(self.label_names))
        self.settings: dict[str, Any] = {}
        self.interrupted = False
        self.thread: threading.Thread | None = None  # in which it trains in the background
        self.error: BaseException | None = None  # that ended it there
        self._stop, self._pause, self._finish = threading.Event(), threading.Event(), threading.Event()
        self._started, self._resting = time.monotonic(), 0.0
        self._halted: float | None = None  # when the clock was stopped, by a pause or the end

    def stop(self) -> None:
        """Ask the run to end after the current step; the best weights come back. Safe from any thread."""
        self._stop.set()

    def finish(self) -> None:
        """Ask the run to end well after the current step: it validates, keeps the best weights and is finished.

        Safe from any thread; a paused run goes on for it.
        """
        self._finish.set()
        self.resume()

    def interrupt(self) -> None:
        """Ask the run to end after the current step, because somebody interrupted its process."""
        self.interrupted = True
        self.stop()

    def pause(self) -> None:
        """Ask the run to wait after the current step. Safe from any thread."""
        self._pause.set()

    def resume(self) -> None:
        """Let a paused run go on. Safe from any thread."""
        self._pause.clear()

    def wait(self) -> Run:
        """Wait for the end of a run in the background; an interrupt of the waiting stops the run.

        Returns:
            The run itself.

        Raises:
            Exception: whatever ended the run, as `fit` would have raised it in the foreground.
        """
        if self.thread is not None:
            try:
                self.thread.join()
            except KeyboardInterrupt:
                self.stop()
                self.thread.join()
        if self.error is not None:
            raise self.error
        return self

    def should_stop(self) -> bool:
        """Wait as long as the run is paused, then say whether it was asked to end."""
        if self._pause.is_set() and not self._stop.is_set():
            self.state = "paused"
            self.stop_clock()
            while self._pause.is_set() and not self._stop.is_set():
                time.sleep(0.05)
            self.state = "running"
            self._resting += time.monotonic() - self._halted
            self._halted = None
        return self._stop.is_set()

    def should_finish(self) -> bool:
        """Say whether it was asked to finish, and has trained on something since the last validation."""
        return self._finish.is_set() and self.step > 0

    @property
    def seconds(self) -> float:
        """Seconds of work so far; pauses do not count."""
        now = time.monotonic() if self._halted is None else self._halted
        return now - self._started - self._resting

    def stop_clock(self) -> None:
        """Let `seconds` stand still."""
        self._halted = time.monotonic()

    def continue_from(self, seconds: float) -> None:
        """Count the seconds that an earlier part of this run took."""
        self._started = time.monotonic() - seconds

    @property
    def remaining(self) -> float:
        """Seconds of work left, judged by the pace so far; infinite before the first step."""
        done = (max(self.epoch - 1, 0) * self.steps + self.step) / (self.epochs * self.steps)
        return self.seconds * (1 - done) / done if done else math.inf

    def better(self, value: float) -> bool:
        """Say whether a monitored value beats the best so far; NaN never does."""
        if self.best is None:
            return True
        best = self.best[self.monitor]
        if math.isnan(best):
            return not math.isnan(value)
        return value < best if self.monitor in LOWER_IS_BETTER else value > best

    def save_config(self, file: str | Path) -> Path:
        """Write the run into a file that does it again elsewhere: ``segnb train run.yaml``.

        On several GPUs or machines: ``accelerate launch -m segnb train run.yaml``. The weights that the run began with are
        written beside the file, under the same name with ``.safetensors``.

        Args:
            file: such as ``"run.yaml"``.

        Returns:
            The file.

        Raises:
            SegnbError: the data are not read from files, or a function of one's own is loss, optimizer or transform.
        """
        from segnb.train.configuration import write_config

        return write_config(self, file)

    def plot(self) -> Figure:
        """Draw loss and mIoU by epoch."""
        return draw.curves(self.history)

    def __repr__(self) -> str:
        best = f", best {self.monitor} {self.best[self.monitor]:.3f} in epoch {self.best['epoch']}" if self.best else ""
        return f"Run({self.state} after {len(self.history)} of {self.epochs} epochs{best}, {self.seconds_text}, {self.path})"

    @property
    def seconds_text(self) -> str:
        """Time taken, for people: ``"1 min 20 s"``."""
        seconds = round(self.history[-1]["elapsed"] if self.history else 0)
        return f"{seconds // 60} min {seconds % 60} s" if seconds >= 60 else f"{seconds} s"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("epoch", "train loss", "valid loss", "mIoU", "seconds"))
        rows = "".join(
            f"<tr{' style=font-weight:bold' if entry is self.best else ''}><td>{entry['epoch']}</td>"
            f"<td>{entry['train_loss']:.4f}</td><td>{entry['valid_loss']:.4f}</td><td>{entry['miou']:.4f}</td>"
            f"<td>{entry['seconds']:.1f}</td></tr>"
            for entry in self.history
        )
        return f"<p>{html.escape(repr(self))}</p><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


class Callback(Protocol):
    """Anything with some of these methods can watch a run; the training monitor and the progress bar do.

    All get the same run, in which everything can be read, and which they may `Run.stop` or `Run.pause`. What a callback
    raises ends the run. A run in the background calls them from its thread.
    """

    def on_start(self, run: Run) -> None:
        """Before the first step, also of a run that is gone on with."""

    def on_step(self, run: Run) -> None:
        """After each step of the optimiser; its loss is ``run.losses[-1]``."""

    def on_checkpoint(self, run: Run) -> None:
        """After the files of an epoch were written into ``run.path``; left out if the disk was full."""

    def on_epoch(self, run: Run) -> None:
        """After each epoch, its validation and its files; its scores are ``run.history[-1]``."""

    def on_end(self, run: Run) -> None:
        """When the run has finished, was stopped, or failed, and the model has its best weights back."""


class ProgressBar:
    """A run seen in a terminal: one bar an epoch."""

    def _open_bar(self, run: Run) -> None:
        """Open the bar of the epoch."""
        from tqdm import tqdm  # not tqdm.auto: a copy of a notebook's process cannot move widgets

        self.bar = tqdm(total=run.steps, desc=f"epoch {run.epoch}/{run.epochs}", unit="batch", leave=True)

    def on_step(self, run: Run) -> None:
        """Move the bar."""
        if run.step == 1:
            self._open_bar(run)
        self.bar.set_postfix_str(f"loss {run.losses[-1]:.3f}", refresh=False)
        self.bar.update()

    def on_epoch(self, run: Run) -> None:
        """Write the epoch's result behind the bar."""
        entry = run.history[-1]
        self.bar.set_postfix_str(
            f"train {entry['train_loss']:.3f}, valid {entry['valid_loss']:.3f}, mIoU {entry['miou']:.3f}"
        )
        self.bar.close()

    def on_end(self, run: Run) -> None:
        """Say how it ended."""
        if hasattr(self, "bar"):
            self.bar.close()
            self.bar.write(str(run))
