"""TrainingMonitor: curves, predictions and the Stop button of a training, while it runs and long after.

    Run ── on_start, on_step, on_epoch, on_end ──▶ TrainingMonitor ── traits, at most 4 times a second ──▶ browser
    Run ◀── stop(), finish(), pause(), resume() ── TrainingMonitor ◀── button pressed ───────────────────── browser
                                                     │      ▲
                              after each epoch       ▼      │  from_folder
                                       runs/…/monitor/, notes.txt

What is only looked at (epochs of the film, classes, runs to compare with) is in the browser already; the
kernel is told, not asked.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import traitlets

from segnb.errors import SegnbError
from segnb.widgets.base import stopping
from segnb.widgets.monitor import folder as folders
from segnb.widgets.monitor.code import run_code
from segnb.widgets.monitor.comparison import comparison, earlier_runs, with_own_names
from segnb.widgets.monitor.film import Film
from segnb.widgets.monitor.series import StepSeries, row
from segnb.widgets.monitor.traits import MonitorTraits
from segnb.widgets.monitor.words import note, picture, progress

INTERVAL = 0.25  # seconds between updates; each costs about 2 ms of the training's time
BUSY = ("running", "paused")
COMMANDS = ("stop", "finish", "pause", "resume")
SHOWN_CLASSES = 12  # curves that are drawn to begin with
FRAMES_AT_ONCE = 40  # epochs of the film in one message


class TrainingMonitor(MonitorTraits):
    """Shows a training while it runs: a callback of `segnb.fit`, which makes one by itself in a notebook.

    Curves of loss, mean IoU, IoU of each class, learning rate and speed; earlier runs behind them; a film of the predictions on
    a few validation pictures; notes; and buttons to pause, finish and stop. Saved notebooks keep the final curves as a picture,
    and `from_folder` shows the run again.

    Args:
        interval: least seconds between two updates of the browser.

    Example:
        >>> monitor = TrainingMonitor.from_folder("runs/unet-resnet34-1a2b3c")
        >>> monitor.compare("runs/fpn-resnet34-4d5e6f").note("the smaller one is enough")
    """

    def __init__(self, interval: float = INTERVAL) -> None:
        self._run: Any = None
        super().__init__(stop_with=stopping())
        self.interval = interval
        self._lock = threading.Lock()  # a button's thread and the training loop both send
        self._shown: Any = None
        self._last = -math.inf
        self._series: StepSeries | None = None
        self._film = Film(Path())
        self._code = ""

    @classmethod
    def from_folder(cls, run: Any) -> TrainingMonitor:
        """Show a run that has ended, or that was cut off, from what is in its folder; nothing is trained.

        Args:
            run: the folder, or the `segnb.train.Run` itself.

        Returns:
            A monitor with all curves, the film and the notes; the last expression of a cell shows it. Curves by step and the film
            are there if a monitor watched the training, as in every notebook.

        Raises:
            SegnbError: there is no run, or a file in the folder is damaged.
        """
        if not isinstance(run, (str, Path)) and not hasattr(run, "history"):
            raise SegnbError(f"from_folder was given {type(run).__name__}: give the folder of a run, or a Run.")
        monitor = cls()
        found = run if hasattr(run, "history") else folders.read_run(Path(run).expanduser())
        monitor._begin(found)
        monitor._read_texts(found)
        record = folders.read_record(Path(found.path))
        if record is not None:
            monitor._code = record["code"]
            monitor.losses, monitor.rates = record["losses"], record["rates"]
        elif hasattr(found, "losses"):
            monitor.losses = StepSeries(found).read_losses(found)
        monitor._film.read(len(found.history))
        monitor._update_scores(found)
        monitor._send_film()
        return monitor

    # What the training calls

    def on_start(self, run: Any) -> None:
        """Show the monitor below the cell; called once, before the first step.

        Args:
            run: the run to watch.
        """
        self._begin(run)
        self._series = StepSeries(run)
        self._try(self._read_texts, run)
        self._try(self._open_folder, run)
        self._update(run)
        self._show()

    def on_step(self, run: Any) -> None:
        """Update the curves and the progress, unless the last update was just now; a change of state is always sent.

        Args:
            run: the run to watch.
        """
        self._series.add(run)
        if time.monotonic() - self._last >= self.interval or run.state != self.progress.get("state"):
            self._update(run)

    def on_epoch(self, run: Any) -> None:
        """Show the new scores and predictions, and put them into the run's folder; called after each validation.

        Args:
            run: the run to watch.
        """
        self._update(run)
        self._try(self._keep, run)
        self._series.rest(run)

    def on_end(self, run: Any) -> None:
        """Show how training ended, and put the final curves into the saved notebook.

        Args:
            run: the run to watch.
        """
        self._update(run)
        self._try(self._keep, run)
        if self._shown is not None:
            self._shown.update(self)

    # What can be clicked, and called

    def on_command(self, message: dict[str, Any]) -> None:
        """Do what a button says; the run only sets a flag, which its loop reads after the current step.

        Args:
            message: ``{"type": "stop" | "finish" | "pause" | "resume"}``; ``"look"`` asks what has become of it, since a
                loop that waits calls nobody; ``"film"`` asks for the frames that were sent before the page was open.
        """
        command = message.get("type")
        if command == "film":
            with self._lock:
                frames = [(str(epoch), texts) for epoch, texts in self._film.frames.items()]
            for first in range(0, len(frames), FRAMES_AT_ONCE):
                self.send({"type": "film", "frames": dict(frames[first : first + FRAMES_AT_ONCE])})
        if self._run is None or self._run.state not in BUSY:
            return
        if command in COMMANDS:
            getattr(self._run, command)()
        if command == "look" and self._run.state != self.progress.get("state"):
            self._update(self._run)

    def compare(self, *runs: Any) -> TrainingMonitor:
        """Draw the curves of other runs behind those of this one; without arguments, of none.

        Args:
            runs: `segnb.train.Run` objects or folders of runs. Those beside this run's folder are in the monitor's list anyway.

        Returns:
            The monitor.

        Raises:
            SegnbError: there is no run.
        """
        found = [comparison(run) for run in runs]
        paths = {run["path"] for run in found}
        self.earlier = with_own_names([*found, *(run for run in self.earlier if run["path"] not in paths)])
        self.compared = [run["name"] for run in self.earlier if run["path"] in paths]
        return self

    def note(self, text: str) -> TrainingMonitor:
        """Add a line to the notes.

        Args:
            text: what is to be remembered about the run; it is kept in the run's folder.

        Returns:
            The monitor.
        """
        self.notes = f"{self.notes.rstrip()}\n{text}".lstrip("\n")
        return self

    def as_code(self) -> str:
        """Write the code that makes such a run, and what was chosen to be compared with it."""
        lines = [self._code or "# Nothing is known about this run but its scores."]
        if self.compared and self._run is not None:
            chosen = [run["path"] for run in self.earlier if run["name"] in self.compared]
            lines += [
                "",
                "from segnb.widgets import TrainingMonitor",
                f"TrainingMonitor.from_folder({str(self._run.path)!r}).compare({', '.join(map(repr, chosen))})",
            ]
        return "\n".join(lines)

    # What is seen

    def describe(self) -> str:
        """Say how far training is and what it reached."""
        if self._run is None:
            return "TrainingMonitor: nothing to show before training starts"
        return f"Training of {self._run.epochs} epochs: {note(self._run) or self._run.state}"

    def figure_png(self) -> bytes:
        """Draw the curves, and under them the predictions of the last epoch.

        Returns:
            The bytes of a PNG file; ``b""`` before the first epoch has ended.
        """
        if self._run is None or not self._run.history:
            return b""
        return picture(self._run, self._film.last_frame()[:2])

    @traitlets.observe("notes")
    def _write_notes(self, _change: dict[str, Any]) -> None:
        path = Path() if self._run is None else Path(self._run.path)
        if self._run is not None and path.is_dir() and folders.read_notes(path).rstrip() != self.notes.rstrip():
            folders.write_notes(path, self.notes)

    def _begin(self, run: Any) -> None:
        """Show another run: nothing of the one before is left."""
        if self._run is not None:
            self._run, self.notes = None, ""
        self.error = ""
        self.label_names = [str(name) for name in run.label_names]
        self.palette = np.asarray(run.palette).tolist()
        self.shown_classes = list(range(min(SHOWN_CLASSES, len(self.label_names))))
        self._film, self._code = Film(Path(run.path)), ""
        self.film_epoch, self.film_picture, self.playing = 0, 0, False
        self.examples, self.film_epochs, self.latest = [], [], {}
        self.losses, self.rates, self.history = {}, {}, []
        self._run = run

    def _read_texts(self, run: Any) -> None:
        """Read what the folder says about the run and those beside it; what was noted and chosen before stays."""
        self.earlier = with_own_names([*self._chosen(), *earlier_runs(Path(run.path))])
        found = folders.read_notes(Path(run.path))
        self.notes = "\n".join(text for text in (found.rstrip(), self.notes) if text)

    def _chosen(self) -> list[dict[str, Any]]:
        """Runs that were given to `compare` before the start."""
        return [run for run in self.earlier if run["name"] in self.compared]

    def _open_folder(self, run: Any) -> None:
        """Go on with the film of an earlier part of the run, or make place for a new one."""
        if run.history:
            self._film.read(len(run.history))
            self._send_film()
        else:
            self._film.clear()
        self._code = run_code(run)
        self._write_record(run)

    def _keep(self, run: Any) -> None:
        """Put the new predictions into the film, and all of it into the folder."""
        epoch = len(run.history)
        if run.preview and epoch and epoch not in self._film.frames:
            with self._lock:
                self._film.add(epoch, run.preview, len(run.palette))
            self._send_film()
        self._write_record(run)

    def _write_record(self, run: Any) -> None:
        if Path(run.path).is_dir():
            folders.write_record(run, self.losses, self.rates, self._code)

    def _send_film(self) -> None:
        film = self._film
        with self.hold_sync():
            self.examples, self.film_epochs = film.examples, sorted(film.frames)
            if film.frames:
                newest = max(film.frames)
                self.latest = {"epoch": newest, "frames": film.frames[newest]}

    def _show(self) -> None:
        """Display the widget if this is a notebook; in a plain Python there is nowhere to show it."""
        from IPython import get_ipython
        from IPython.display import display

        if getattr(get_ipython(), "kernel", None) is not None:
            self._shown = display(self, display_id=True)

    def _update(self, run: Any) -> None:
        """Send what changed."""
        with self._lock, self.hold_sync():
            self._last = time.monotonic()
            self._try(self._update_steps, run)
            self._try(self._update_scores, run)

    def _update_steps(self, run: Any) -> None:
        self.losses, self.rates = self._series.read_losses(run), self._series.read_rates(run)

    def _update_scores(self, run: Any) -> None:
        if len(self.history) != len(run.history):
            self.history = [row(epoch) for epoch in run.history]
        self.progress = progress(run)

    def _try(self, action: Callable[[Any], None], run: Any) -> None:
        """Trouble with showing must never end a training: it is shown instead."""
        try:
            action(run)
        except Exception as problem:
            self.show_error(problem)
