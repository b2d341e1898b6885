"""TrainingMonitor: curves, predictions and the Stop button of a running training.

    Run ── on_start, on_step, on_epoch, on_end ──▶ TrainingMonitor ── traits, at most 4 times a second ──▶ browser
    Run ◀── stop(), pause(), resume() ─────────── TrainingMonitor ◀── button pressed ───────────────────── browser

The losses of a long training are thinned as they come, so an update is as small after a day as after a minute.
"""

from __future__ import annotations

import io
import math
import threading
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import traitlets
from PIL import Image

from segnb import draw
from segnb.widgets.base import SegnbWidget, data_url, stopping

INTERVAL = 0.25  # seconds between updates; each costs about 2 ms of the training's time
POINTS = 400  # of the loss curve, at most
THUMBNAIL = 224  # pixels of the longer side of a preview
PREVIEWS = 4
BUSY = ("running", "paused")


class Thinned:
    """A growing series kept at no more than ``limit`` points: each is the mean of ``every`` values in a row.

    Args:
        limit: how many points to keep; an even number.
    """

    def __init__(self, limit: int = POINTS) -> None:
        self.limit = limit
        self.every = 1
        self.count = 0  # values seen
        self._sums: list[float] = []

    def extend(self, values: Iterable[float]) -> None:
        """Take values at the end of the series; when there are too many points, neighbours are merged.

        Args:
            values: the new ones.
        """
        for value in values:
            if self.count % self.every:
                self._sums[-1] += value
            else:
                if len(self._sums) == self.limit:
                    self._sums = [a + b for a, b in zip(self._sums[::2], self._sums[1::2], strict=True)]
                    self.every *= 2
                self._sums.append(value)
            self.count += 1

    def points(self) -> list[float | None]:
        """Read the series.

        Returns:
            The means, at most ``limit``; None where a value was not finite.
        """
        last = self.count - self.every * (len(self._sums) - 1)  # values in the last point, which may not be full
        sizes = [self.every] * (len(self._sums) - 1) + [last]
        return [_number(total / size) for total, size in zip(self._sums, sizes, strict=False)]


class TrainingMonitor(SegnbWidget):
    """Shows a training while it runs: a callback of `segnb.fit`, which makes one by itself in a notebook.

    Curves of loss and mean IoU, IoU of each class, time left, predictions on a few validation pictures, and buttons to
    pause and stop. Saved notebooks keep the final curves as a picture.

    Args:
        interval: least seconds between two updates of the browser.
    """

    progress = traitlets.Dict().tag(sync=True)
    losses = traitlets.Dict().tag(sync=True)
    history = traitlets.List().tag(sync=True)
    iou = traitlets.List().tag(sync=True)
    label_names = traitlets.List().tag(sync=True)
    palette = traitlets.List().tag(sync=True)
    examples = traitlets.List().tag(sync=True)  # photo and truth of each preview, sent once
    predictions = traitlets.List().tag(sync=True)  # their predictions, sent after each epoch
    stop_with = traitlets.Unicode("interrupt").tag(sync=True)

    def __init__(self, interval: float = INTERVAL) -> None:
        super().__init__(stop_with=stopping())
        self.interval = interval
        self._lock = threading.Lock()  # a button's thread and the training loop both send
        self._run: Any = None
        self._shown: Any = None
        self._last = -math.inf
        self._curve = Thinned()

    # What the training calls

    def on_start(self, run: Any) -> None:
        """Show the monitor below the cell; called once, before the first step.

        Args:
            run: the run to watch.
        """
        self._run, self._curve = run, Thinned()
        self.error = ""
        self.label_names = [str(name) for name in run.label_names]
        self.palette = np.asarray(run.palette).tolist()
        self.examples, self.predictions = [], []
        self._update(run)
        self._show()

    def on_step(self, run: Any) -> None:
        """Update the curve and the progress, unless the last update was just now; a change of state is always sent.

        Args:
            run: the run to watch.
        """
        if time.monotonic() - self._last >= self.interval or run.state != self.progress.get("state"):
            self._update(run)

    def on_epoch(self, run: Any) -> None:
        """Show the new scores and predictions; called after each validation.

        Args:
            run: the run to watch.
        """
        self._update(run, pictures=True)

    def on_end(self, run: Any) -> None:
        """Show how training ended, and put the final curves into the saved notebook.

        Args:
            run: the run to watch.
        """
        self._update(run, pictures=True)
        if self._shown is not None:
            self._shown.update(self)

    # What the buttons call

    def on_command(self, message: dict[str, Any]) -> None:
        """Do what a button says; the run only sets a flag, which its loop reads after the current step.

        Args:
            message: ``{"type": "stop" | "pause" | "resume"}``, or ``"look"`` to ask what has become of it: a loop that
                waits calls nobody.
        """
        command = message.get("type")
        if self._run is None or self._run.state not in BUSY:
            return
        if command in ("stop", "pause", "resume"):
            getattr(self._run, command)()
        if command == "look" and self._run.state != self.progress.get("state"):
            self._update(self._run)

    # What is seen

    def describe(self) -> str:
        """Say how far training is and what it reached."""
        if self._run is None:
            return "TrainingMonitor: nothing to show before training starts"
        return f"Training of {self._run.epochs} epochs: {_note(self._run) or self._run.state}"

    def figure_png(self) -> bytes:
        """Draw the curves, and under them the predictions of the last epoch.

        Returns:
            The bytes of a PNG file; ``b""`` before the first epoch has ended.
        """
        run = self._run
        if run is None or not run.history:
            return b""
        pictures = [draw.png_bytes(draw.curves(run.history), dpi=80)]
        if run.preview:
            items = [(*pair, "") for pair in run.preview[:2]]
            sheet = draw.contact_sheet(items, np.asarray(run.palette), self.label_names)
            pictures.append(draw.png_bytes(sheet, dpi=80))
        return _stack(pictures)

    def _show(self) -> None:
        """Display the widget if this is a notebook; in a plain Python there is nowhere to show it."""
        from IPython import get_ipython
        from IPython.display import display

        if getattr(get_ipython(), "kernel", None) is not None:
            self._shown = display(self, display_id=True)

    def _update(self, run: Any, pictures: bool = False) -> None:
        """Send what changed. Trouble with showing must never end a training: it is shown instead."""
        try:
            with self._lock, self.hold_sync():
                self._last = time.monotonic()
                if len(run.losses) < self._curve.count:  # memory ran out, and the run started again
                    self._curve = Thinned()
                self._curve.extend(run.losses[self._curve.count :])
                self.losses = {"every": self._curve.every, "values": self._curve.points()}
                self.history = [_row(epoch) for epoch in run.history]
                self.iou = [_number(score) for score in run.history[-1]["iou"]] if run.history else []
                self.progress = _progress(run)
                if pictures:
                    self._update_pictures(run)
        except Exception as problem:
            self.show_error(problem)

    def _update_pictures(self, run: Any) -> None:
        preview = run.preview[:PREVIEWS]
        colours = np.asarray(run.palette)
        if len(self.examples) != len(preview):
            self.examples = [
                {
                    "image": _thumbnail(draw.as_rgb(image)),
                    "truth": _thumbnail(draw.overlay(image, labels, colours, 0.65)),
                }
                for image, labels, _ in preview
            ]
        self.predictions = [
            _thumbnail(draw.overlay(image, prediction, colours, 0.65)) for image, _, prediction in preview
        ]


def _progress(run: Any) -> dict[str, Any]:
    """The numbers of the header, and the sentence below it."""
    return {
        "state": run.state,
        "epoch": run.epoch,
        "epochs": run.epochs,
        "step": run.step,
        "steps": run.steps,
        "seconds": _number(run.seconds),
        "remaining": _number(run.remaining),
        "note": _note(run),
    }


def _note(run: Any) -> str:
    """One sentence about how training stands or ended, read aloud by screen readers when it changes."""
    best = ""
    if run.best:
        score = run.best.get(run.monitor, math.nan)
        name = "mIoU" if run.monitor == "miou" else run.monitor
        best = f"Best {name} {score:.3f} in epoch {run.best['epoch']}"
    if run.state == "running":
        return f"{best} so far." if best else ""
    if run.state == "paused":
        return "Paused: press Resume to go on." + (f" {best} so far." if best else "")
    saved = f"{best}, saved in {run.path}." if best else "No epoch was finished, so nothing was saved."
    ending, message = run.state.capitalize(), run.message.rstrip(".")
    if not message.startswith(run.state):
        return f"{ending}: {message}. {saved}" if message else f"{ending}. {saved}"
    return f"{ending}{message[len(run.state) :]}. {saved}"


def _row(epoch: dict[str, Any]) -> dict[str, float | None]:
    """One epoch as the charts need it."""
    return {key: _number(epoch.get(key)) for key in ("epoch", "train_loss", "valid_loss", "miou")}


def _number(value: float | None) -> float | None:
    """Round for the wire; JSON knows no NaN."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{float(value):.5g}")


def _thumbnail(picture: np.ndarray) -> str:
    """(H, W, 3) uint8 -> a small JPEG as a data URL."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=85, subsampling=0)  # full colour resolution: edges of classes stay sharp
    return data_url(file.getvalue(), "jpeg")


def _stack(pictures: list[bytes]) -> bytes:
    """Put PNG files under each other on white."""
    images = [Image.open(io.BytesIO(picture)) for picture in pictures]
    width = max(image.width for image in images)
    page = Image.new("RGB", (width, sum(image.height for image in images)), "white")
    top = 0
    for image in images:
        page.paste(image, ((width - image.width) // 2, top))
        top += image.height
    file = io.BytesIO()
    page.save(file, format="PNG")
    return file.getvalue()
