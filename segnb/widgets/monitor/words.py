"""A run in words and in one picture: what is read without a browser, too."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from segnb import draw
from segnb.widgets.monitor.film import Picture
from segnb.widgets.monitor.series import number


def progress(run: Any) -> dict[str, Any]:
    """Read the numbers of the header.

    Args:
        run: a `segnb.train.Run` or a `RecordedRun`.

    Returns:
        State, epoch, step, and the seconds so far and left (None if unknown); ``note`` is the sentence below them.
    """
    return {
        "state": run.state,
        "epoch": run.epoch,
        "epochs": run.epochs,
        "step": run.step,
        "steps": run.steps,
        "seconds": number(run.seconds),
        "remaining": number(run.remaining),
        "note": note(run),
    }


def note(run: Any) -> str:
    """Say how training stands or ended; screen readers read it aloud when it changes.

    Args:
        run: a `segnb.train.Run` or a `RecordedRun`.

    Returns:
        A sentence or two.
    """
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
    if run.state == "unfinished":
        return f"No ending was written: the run still trains somewhere else, or was cut off. {saved}"
    ending, message = run.state.capitalize(), run.message.rstrip(".")
    if not message.startswith(run.state):
        return f"{ending}: {message}. {saved}" if message else f"{ending}. {saved}"
    return f"{ending}{message[len(run.state) :]}. {saved}"


def picture(run: Any, frame: Sequence[Picture]) -> bytes:
    """Draw the curves of a run, and under them what it predicts.

    Args:
        run: with at least one epoch.
        frame: pictures with truth and prediction; labels without a colour are left out.

    Returns:
        The bytes of a PNG file.
    """
    drawn = [draw.png_bytes(draw.curves(run.history), dpi=80)]
    known = len(run.label_names)
    items = [(image, *(np.where(labels < known, labels, draw.IGNORE) for labels in pair), "") for image, *pair in frame]
    if items:
        names = [str(name) for name in run.label_names]
        drawn.append(draw.png_bytes(draw.contact_sheet(items, np.asarray(run.palette), names), dpi=80))
    return _stack(drawn)


def _stack(drawn: list[bytes]) -> bytes:
    """Put PNG files under each other on white."""
    images = [Image.open(io.BytesIO(picture)) for picture in drawn]
    width = max(image.width for image in images)
    page = Image.new("RGB", (width, sum(image.height for image in images)), "white")
    top = 0
    for image in images:
        page.paste(image, ((width - image.width) // 2, top))
        top += image.height
    file = io.BytesIO()
    page.save(file, format="PNG")
    return file.getvalue()
