"""Training: one loop, on any device, that can be watched, paused, stopped and resumed.

    for each epoch:  train on every batch ─▶ validate ─▶ keep the best weights ─▶ write a checkpoint
                          │      ▲
              callbacks ◀─┘      └── pause and stop are looked up between two steps

Each epoch seeds its own random numbers (order of the pictures, augmentation, dropout), so a run that was cut off goes on
exactly as it would have gone on.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import set_seed

from segnb.evaluation import same_size_batches, validate
from segnb.train.budget import Budget
from segnb.train.engine import Engine, channels_last, start_reading
from segnb.train.faults import diverged, explain, is_out_of_memory, reading
from segnb.train.keeping import Keeper
from segnb.train.processes import Processes
from segnb.train.recipe import Recipe, parse_budget
from segnb.train.run import Run

if TYPE_CHECKING:
    from segnb.data import SegmentationDataset


class Session:
    """A run at work: the engine takes steps, the keeper keeps, watchers watch. `Run` is what it shows.

    Args:
        engine: takes steps.
        keeper: keeps weights and files.
        valid: pictures to judge by.
        recipe: how to train.

    Attributes:
        watchers: objects with some of the methods of `Callback`.
    """

    def __init__(self, engine: Engine, keeper: Keeper, valid: SegmentationDataset, recipe: Recipe) -> None:
        self.engine, self.keeper, self.valid, self.recipe = engine, keeper, valid, recipe
        self.processes = engine.processes
        self.watchers: Sequence[Any] = ()
        seconds = parse_budget(recipe.budget)
        batches = math.ceil(len(valid) / engine.batch_size)
        self.budget = None if seconds is None else Budget(seconds, batches, engine.progression)

    def train(self, run: Run) -> None:
        """Run the epochs that are left, until the end, a stop, or a failure."""
        try:
            with self.processes.stopping(run):
                self.run_epochs(run)
        except KeyboardInterrupt:
            run.state, run.message = "stopped", f"interrupted in epoch {run.epoch}"
        except BaseException as error:
            problem = explain(error, run, self.engine.batch_size)
            run.state, run.message = "failed", str(problem)
            if problem is error:
                raise
            raise problem from error

    def run_epochs(self, run: Run) -> None:
        """Run the epochs that are left, until the end or a stop."""
        self.tell("on_start", run)
        while len(run.history) < run.epochs and run.state != "finished":
            run.epoch, run.step = len(run.history) + 1, 0
            if not self.train_epoch(run):
                what = "interrupted" if run.interrupted else "stopped"
                run.state, run.message = "stopped", f"{what} in epoch {run.epoch}"
                return
            self.validate(run)
            if self.keeper.save(run):
                self.tell("on_checkpoint", run)
            self.tell("on_epoch", run)
            if self.processes.any(run.should_finish()):
                run.message = f"finished early, in epoch {run.epoch}"
                break
            if self.is_out_of_patience(run):
                run.message = f"no better {run.monitor} for {self.recipe.patience} epochs"
                break
        run.state = "finished"

    def is_out_of_patience(self, run: Run) -> bool:
        """Say whether no epoch was better for long; while pictures are halved, the best is still to come."""
        since = max(run.best["epoch"], self.engine.progression.half_epochs(run.epochs))
        return self.recipe.patience is not None and run.epoch - since >= self.recipe.patience

    def train_epoch(self, run: Run) -> bool:
        """Train on every picture, in smaller batches if memory runs out at first; return False if asked to stop."""
        while True:
            try:
                return self.take_steps(run)
            except Exception as error:
                auto = self.recipe.batch_size == "auto" and self.processes.count == 1  # of several, the others go on
                if not (is_out_of_memory(error) and auto and self.engine.batch_size > 1 and not run.history):
                    raise
            self.shrink_batch(run)  # out of the except: the error would keep the memory of the failed step alive

    def take_steps(self, run: Run) -> bool:
        """Take the steps of an epoch; return False if asked to stop."""
        seed_epoch(self.recipe.seed + run.epoch, self.engine.shuffler, self.engine.train, self.processes)
        self.engine.start_epoch(run.epoch)
        for group in reading(self.engine.groups(), run):
            if self.processes.any(run.should_stop() or run.should_finish()):
                if self.processes.any(run.should_stop()):
                    return False
                break
            read_loss = start_reading(self.engine.backward(group))
            self.engine.update(len(run.losses) + 1)
            run.lr = self.engine.lr
            run.losses.append(read_loss())
            run.step += 1
            if not math.isfinite(run.losses[-1]):
                raise diverged(f"the loss became {run.losses[-1]}", run, self.recipe.lr)
            self.tell("on_step", run)
            if self.budget is not None and self.budget.is_due(run):
                self.budget.plan_first(run)
                run.epochs, run.steps = self.processes.from_main(lambda: (run.epochs, run.steps))
                self.engine.plan(run.epochs, run.steps, done=len(run.losses))
            if run.step == run.steps:
                break
        if not self.engine.is_finite():
            raise diverged("a weight became NaN or infinite, though the loss did not, before or", run, self.recipe.lr)
        return True

    def shrink_batch(self, run: Run) -> None:
        """Start the run again with batches of half the size."""
        size = self.engine.batch_size // 2
        warnings.warn(
            f"memory ran out with {2 * size} pictures at a time: training starts again with {size}. The learning rate stays "
            f"{self.recipe.lr:g}.",
            stacklevel=2,
        )
        self.engine.shrink(size, self.keeper.good_weights)
        run.recipe = replace(run.recipe, batch_size=size)
        run.steps, run.step = self.engine.steps, 0
        run.losses.clear()

    def validate(self, run: Run) -> None:
        """Judge the model, or the average of its weights, on the validation pictures; keep what was judged best."""
        seed_data(self.valid, self.recipe.seed)
        pictures = reading((self.valid[index] for index in self.processes.share(len(self.valid))), run)
        batches = (
            (channels_last(torch.stack(images)), torch.stack(labels))
            for images, labels in same_size_batches(pictures, math.ceil(self.engine.batch_size / self.processes.count))
        )
        with self.engine.averaged():
            self.processes.share_buffers(self.engine.plain_model)
            found = self.processes.merge(validate(self.engine.plain_model, batches, self.engine.loss))
            run.preview = found.preview
            elapsed = self.processes.from_main(lambda: run.seconds)
            entry = {
                "epoch": run.epoch,
                "train_loss": sum(run.losses[-run.step :]) / run.step,
                "valid_loss": found.loss,
                "miou": found.matrix.miou(),
                "iou": found.matrix.iou().tolist(),
                "lr": self.engine.lr,
                "seconds": elapsed - (run.history[-1]["elapsed"] if run.history else 0),
                "elapsed": elapsed,
            }
            self.keeper.add_epoch(run, entry)
        self.engine.end_epoch(entry[run.monitor])
        if self.budget is not None and self.processes.from_main(lambda: self.budget.plan_again(run)):
            run.epochs = self.processes.from_main(lambda: run.epochs)
            self.engine.plan(run.epochs, run.steps, done=len(run.losses))

    def finish(self, run: Run) -> None:
        """Leave the model and the folder as they are to be found, and tell the watchers."""
        self.keeper.finish(run)
        self.tell("on_end", run)

    def tell(self, event: str, run: Run) -> None:
        """Call a method of every watcher that has it."""
        for watcher in self.watchers:
            if (method := getattr(watcher, event, None)) is not None:
                method(run)


def seed_epoch(seed: int, shuffler: torch.Generator, data: Any, processes: Processes) -> None:
    """Make everything random in an epoch depend on its number and the process; the order of the pictures on its number alone."""
    set_seed(seed + processes.seed)
    shuffler.manual_seed(seed)
    seed_data(data, seed + processes.seed)


def seed_data(data: Any, seed: int) -> None:
    """Seed the augmentation, which draws from a generator of its own."""
    if hasattr(data, "seed"):
        data.seed(seed)
