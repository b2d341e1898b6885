"""The numbers of a training as the monitor's charts need them: thinned, rounded, free of NaN.

    losses ────────── 10,000 steps ──▶ Thinned ──▶ at most 400 points, each the mean of 32 steps
    learning rates ── since the start ─▶ Thinned ──▶ at most 200 points
    seconds ───────── since the start ─▶ Thinned ──▶ images a second, at as many points
    history ───────── epochs ─────────────────────▶ one row each

So an update of the browser is as small after a day as after a minute.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LOSSES = 400  # points of the loss curve, at most
RATES = 200  # points of learning rate and of speed, at most
SCORES = ("epoch", "train_loss", "valid_loss", "miou", "lr")


class Thinned:
    """A growing series kept at no more than ``limit`` points: each is the mean of ``every`` values in a row.

    Args:
        limit: how many points to keep; an even number.
    """

    def __init__(self, limit: int = LOSSES) -> None:
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
        return [number(total / size) for total, size in zip(self._sums, sizes, strict=False)]


class StepSeries:
    """Loss, learning rate and speed of the steps of a run.

    Args:
        run: at its start, or at the step after which it is gone on with.
    """

    def __init__(self, run: Any) -> None:
        self.losses = Thinned()
        self._since = run.seconds
        self._begin(len(run.losses))

    def add(self, run: Any) -> None:
        """Take the step that was just done; to be called after each.

        Args:
            run: the run, with the step's loss and learning rate.
        """
        if len(run.losses) != self._first + self._rates.count + 1:  # memory ran out, and the run started again
            self._begin(len(run.losses) - 1)
        now = run.seconds
        self._rates.extend([run.lr])
        self._seconds.extend([now - self._since])
        self._since = now

    def rest(self, run: Any) -> None:
        """Let the next step's time begin now: validation is no training.

        Args:
            run: the run.
        """
        self._since = run.seconds

    def read_losses(self, run: Any) -> dict[str, Any]:
        """Read the curve of the training loss.

        Args:
            run: the run.

        Returns:
            ``every``: steps in a point; ``values``: their mean losses, None where one was not finite.
        """
        if len(run.losses) < self.losses.count:
            self.losses = Thinned()
        self.losses.extend(run.losses[self.losses.count :])
        return {"every": self.losses.every, "values": self.losses.points()}

    def read_rates(self, run: Any) -> dict[str, Any]:
        """Read the curves of learning rate and speed.

        Args:
            run: the run.

        Returns:
            ``first``: steps before the first point; ``every``: steps in a point; ``lr``: mean learning rates; ``speed``: images
            trained on in a second.
        """
        images = images_in_step(run)
        seconds = self._seconds.points()
        speed = [number(images / taken) if taken else None for taken in seconds]
        return {"first": self._first, "every": self._rates.every, "lr": self._rates.points(), "speed": speed}

    def _begin(self, done: int) -> None:
        self._first = done  # steps whose rates are not known: of an earlier part of the run
        self._rates, self._seconds = Thinned(RATES), Thinned(RATES)


def images_in_step(run: Any) -> int:
    """Count the images that a step of a run trains on.

    Args:
        run: the run.

    Returns:
        The size of its batches, times those that make one step.
    """
    return min(len(run.train), run.recipe.batch_size * run.recipe.accumulate)


def row(epoch: Mapping[str, Any]) -> dict[str, Any]:
    """One epoch as the charts need it.

    Args:
        epoch: an entry of a run's history.

    Returns:
        Its scores, and ``iou``: one for each label; None for what is unknown.
    """
    return {**{key: number(epoch.get(key)) for key in SCORES}, "iou": [number(score) for score in epoch["iou"]]}


def best_epoch(history: Sequence[Mapping[str, Any]], monitor: str) -> Mapping[str, Any] | None:
    """Find the epoch that a run kept.

    Args:
        history: of the run.
        monitor: ``"miou"``, or the name of a loss.

    Returns:
        The first of the best entries; None if there is none with a number.
    """
    known = [epoch for epoch in history if number(epoch.get(monitor)) is not None]
    sign = 1 if monitor == "miou" else -1
    return max(known, key=lambda epoch: sign * epoch[monitor], default=None)


def number(value: float | None) -> float | None:
    """Round for the wire.

    Args:
        value: any number, or None.

    Returns:
        Five digits of it; None for NaN and infinity, which JSON does not know.
    """
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.5g}")
