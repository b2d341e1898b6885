"""The training of a studio: its options, its monitor, and what it began with.

A training is kept with the augmentation, the model and the corrections that it began with: what is clicked afterwards waits
for the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from segnb.errors import SegnbError
from segnb.tools.studio.reading import call
from segnb.tools.studio.session import SEED, Step
from segnb.widgets.monitor.monitor import TrainingMonitor

if TYPE_CHECKING:
    from segnb.models import SegmentationModel
    from segnb.train.run import Run
    from segnb.widgets.builder.builder import Builder
    from segnb.widgets.studio.panel import Panel

    Told = Callable[[Run], object]


class StudioMonitor(TrainingMonitor):
    """The monitor of a training in the studio, which shows it in its own place."""

    def _show(self) -> None:
        """Show nothing below the cell."""


class Watcher:
    """A callback of `segnb.fit` that tells the studio; what goes wrong in showing must not end a training.

    Args:
        panel: where problems are shown.
        begin: called with the run before its first step.
        go_on: called with the run after each validation.
        end: called with the run when the model has its best weights.
    """

    def __init__(self, panel: Panel, begin: Told, go_on: Told, end: Told) -> None:
        self.panel, self.begin, self.go_on, self.end = panel, begin, go_on, end

    def on_start(self, run: Run) -> None:
        """Tell that it begins."""
        self._tell(self.begin, run)

    def on_epoch(self, run: Run) -> None:
        """Tell of another epoch."""
        self._tell(self.go_on, run)

    def on_end(self, run: Run) -> None:
        """Tell of the end."""
        self._tell(self.end, run)

    def _tell(self, told: Told, run: Run) -> None:
        try:
            told(run)
        except Exception as problem:
            self.panel.show_error(problem)


@dataclass(frozen=True)
class Training:
    """A training, and what it began with.

    Attributes:
        run: of `segnb.fit`.
        options: that it was given.
        augmentation: code that gives ``train`` its transform, or empty.
        model: code that makes the model.
        rounds: of corrections that were in use.
    """

    run: Run
    options: dict[str, Any]
    augmentation: str
    model: str
    rounds: int

    @property
    def is_running(self) -> bool:
        """Whether it goes on."""
        return self.run.state in ("running", "paused")

    def fact(self) -> str:
        """Say in a few words how it stands."""
        run = self.run
        if self.is_running:
            score = f", best mIoU so far {run.best['miou']:.3f}" if run.best else ""
            return f"epoch {run.epoch} of {run.epochs}{score}"
        score = f", best mIoU {run.best['miou']:.3f} in epoch {run.best['epoch']}" if run.best else ""
        return f"{run.state} after {len(run.history)} of {run.epochs} epochs{score}"

    def as_step(self) -> Step:
        """Write it as a step of the lesson."""
        text = (
            "After each epoch the model is judged on the validation pictures; the weights of the best epoch are kept. "
            "First weights and dice are seeded, so that the same numbers come out again."
        )
        if "budget" in self.options:
            text += " But a time budget finds the number of epochs from the pace: they then differ a little."
        if len(self.run.history) < self.run.epochs:
            text += f" In the studio it was ended after {len(self.run.history)} of {self.run.epochs} epochs."
        return Step("Train", text, f"run = {call('segnb.fit', ['model', 'train', 'valid'], self.options)}\nrun")


def options_of_fit(epochs: int, rate: str, budget: str) -> dict[str, Any]:
    """Read the form of the tab.

    Args:
        epochs: passes over the pictures.
        rate: a number, or "auto" or empty.
        budget: such as "10 min"; empty for none.

    Returns:
        Arguments of `segnb.fit`; what has its default is left out.

    Raises:
        SegnbError: the rate is no number.
    """
    options: dict[str, Any] = {"epochs": epochs}
    if rate.strip() not in ("", "auto"):
        try:
            options["lr"] = float(rate)
        except ValueError:
            raise SegnbError(f"The learning rate {rate!r} is no number: give one such as 0.002, or auto.") from None
    if budget.strip():
        options["budget"] = _number_or_text(budget.strip())
    return options


def new_model(builder: Builder) -> SegmentationModel:
    """Build the chosen model with its first weights, the same each time; random numbers elsewhere stay as they are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return builder.create(builder.encoder_weights)


def _number_or_text(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value
