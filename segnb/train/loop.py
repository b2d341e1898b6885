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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.data import DataLoader

from segnb.errors import SegnbError
from segnb.evaluation import same_size_batches, validate
from segnb.losses import Loss
from segnb.models import SegmentationModel
from segnb.pretrained import write_model
from segnb.train import checkpoint
from segnb.train.run import Run

if TYPE_CHECKING:
    from segnb.data import SegmentationDataset

STAGE_WEIGHT = 0.4


class Session:
    """What a run works with: model, optimiser, data. `Run` is what it shows."""

    def __init__(
        self,
        *,
        model: SegmentationModel,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
        accelerator: Accelerator,
        loader: DataLoader,
        valid: SegmentationDataset,
        loss: Loss,
        settings: dict[str, Any],
    ) -> None:
        self.plain_model, self.valid, self.loss, self.settings = model, valid, loss, settings
        self.accelerator, self.scheduler, self.shuffler = accelerator, scheduler, loader.generator
        self.model, self.optimizer, self.loader = accelerator.prepare(model, optimizer, loader)
        self.good_weights = weights_of(model)
        self.lr = 0.0  # of the last step
        self.stored: dict[str, Any] | None = None  # the history's entry whose weights are in the folder best/

    def train(self, run: Run, patience: int | None, watchers: Sequence[Any]) -> None:
        """Run the epochs that are left, until the end, a stop, or a failure."""
        try:
            tell(watchers, "on_start", run)
            if run.state == "finished":
                return
            for epoch in range(len(run.history) + 1, run.epochs + 1):
                run.epoch, run.step = epoch, 0
                if not self.train_epoch(run, watchers):
                    run.state, run.message = "stopped", f"stopped in epoch {epoch}"
                    return
                self.validate(run)
                self.save(run)
                tell(watchers, "on_epoch", run)
                if patience is not None and epoch - run.best["epoch"] >= patience:
                    run.message = f"no better {run.monitor} for {patience} epochs"
                    break
            run.state = "finished"
        except KeyboardInterrupt:
            run.state, run.message = "stopped", f"interrupted in epoch {run.epoch}"
        except BaseException as error:
            run.state, run.message = "failed", str(error)
            raise

    def train_epoch(self, run: Run, watchers: Sequence[Any]) -> bool:
        """Take one step for each batch; return False if asked to stop."""
        seed_epoch(self.settings["seed"] + run.epoch, self.shuffler, self.loader.dataset)
        self.model.train()
        for images, labels in self.loader:
            if run.should_stop():
                return False
            loss = self.compute_loss(channels_last(images), labels)
            run.losses.append(loss.item())
            run.step += 1
            if not math.isfinite(run.losses[-1]):
                raise self.diverged(f"the loss became {run.losses[-1]}", run)
            self.accelerator.backward(loss)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.lr = self.scheduler.get_last_lr()[0]
            if not self.accelerator.optimizer_step_was_skipped:
                self.scheduler.step()
            tell(watchers, "on_step", run)
        if not all(tensor.isfinite().all() for tensor in self.plain_model.parameters()):
            raise self.diverged("a weight became NaN or infinite, though the loss did not, before or", run)
        return True

    def compute_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of a batch; auxiliary heads and earlier stages count less, as in PSPNet (section 3.3)."""
        if self.plain_model.auxiliary is None and not hasattr(self.plain_model.decoder, "forward_all"):
            return self.loss(self.model(images), labels)
        with self.accelerator.autocast():
            outputs = self.plain_model.forward_all(images)
        stages = sum(self.loss(stage.float(), labels) for stage in outputs.stages)
        return self.loss(outputs.logits.float(), labels) + STAGE_WEIGHT * stages

    def diverged(self, what: str, run: Run) -> SegnbError:
        """Say where a run went wrong, and what to try."""
        return SegnbError(
            f"{what} at batch {run.step} of epoch {run.epoch}. The model has its last good weights back. Try a lower learning "
            f"rate (it was {self.settings['lr']:g}), precision='no', or look for broken pictures in that batch."
        )

    def validate(self, run: Run) -> None:
        """Judge the model on the validation pictures and keep its weights if they are the best."""
        seed_data(self.valid, self.settings["seed"])
        batches = (
            (channels_last(torch.stack(images)), torch.stack(labels))
            for images, labels in same_size_batches(
                (self.valid[index] for index in range(len(self.valid))), self.settings["batch_size"]
            )
        )
        found = validate(self.plain_model, batches, self.loss)
        run.preview = found.preview
        elapsed = run.seconds
        entry = {
            "epoch": run.epoch,
            "train_loss": sum(run.losses[-run.steps :]) / run.steps,
            "valid_loss": found.loss,
            "miou": found.matrix.miou(),
            "iou": found.matrix.iou().tolist(),
            "lr": self.lr,
            "seconds": elapsed - (run.history[-1]["elapsed"] if run.history else 0),
            "elapsed": elapsed,
        }
        run.history.append(entry)
        if run.better(entry[run.monitor]):
            # In this order: an interrupt in between leaves no best epoch without its weights.
            self.good_weights = weights_of(self.plain_model)
            run.best = entry

    def save(self, run: Run) -> None:
        """Write the checkpoint of the epoch."""
        if not self.accelerator.is_main_process:
            return
        state = {
            "settings": self.settings,
            "model": self.plain_model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else {},
            "history": run.history,
            "losses": run.losses,
            "best": run.history.index(run.best),
        }
        with self.writing(run):
            self.store_best(run)
            checkpoint.write_last(run.path, state)

    def store_best(self, run: Run) -> None:
        """Write the best weights, unless they are in the folder; they may be late, because the disk was full."""
        if self.stored is not run.best:
            write_model(self.plain_model, self.good_weights, run.path / checkpoint.BEST)
            self.stored = run.best

    @contextmanager
    def writing(self, run: Run) -> Iterator[None]:
        """Turn a full disk into a warning: the run in memory is worth more than its files."""
        try:
            yield
        except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have errors of their own
            warnings.warn(
                f"epoch {run.epoch} could not be saved in {run.path} ({error}). Training goes on and the best weights stay in "
                "memory: free some space, and call segnb.save_model(model, folder) at the end.",
                stacklevel=3,
            )

    def load(self, run: Run, state: dict[str, Any]) -> None:
        """Go on where an earlier run in the folder ended.

        Args:
            run: the new run.
            state: what `checkpoint.read_last` found.
        """
        self.plain_model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        run.history, run.losses = state["history"], state["losses"]
        run.best = self.stored = run.history[state["best"]]
        run.epoch, run.step = len(run.history), run.steps
        run.continue_from(run.history[-1]["elapsed"])
        self.good_weights = checkpoint.read_best(run.path) or weights_of(self.plain_model)
        if checkpoint.has_finished(run.path):
            run.state = "finished"
        else:
            (run.path / checkpoint.RESULT).unlink(missing_ok=True)  # of a stop before: the run goes on
        done = "finished" if run.state == "finished" else f"resumed after epoch {run.epoch} of {run.epochs}"
        print(f"{run.path} is there: {done}. To start afresh, pass resume=False.")  # noqa: T201

    def finish(self, run: Run) -> None:
        """Give the model its best weights back, in eval mode, free of the training engine's wrapping."""
        self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        # Left marked as prepared, the model would silently train in full precision in its next run.
        for mark in ("forward", "_is_accelerate_prepared"):
            self.plain_model.__dict__.pop(mark, None)
        run.stop_clock()
        if run.best is not None or run.state == "failed":  # stopped in the first epoch: what is there is all there is
            self.plain_model.load_state_dict(self.good_weights)
        self.plain_model.eval()
        if run.best is not None:
            best = f"best {run.monitor} {run.best[run.monitor]:.3f} in epoch {run.best['epoch']}"
            run.message = f"{run.message}; {best}" if run.message else best
        if self.accelerator.is_main_process:
            with self.writing(run):
                self.store_best(run)
                checkpoint.write_result(run)


def tell(watchers: Sequence[Any], event: str, run: Run) -> None:
    """Call a method of every watcher that has it."""
    for watcher in watchers:
        if (method := getattr(watcher, event, None)) is not None:
            method(run)


def channels_last(images: Tensor) -> Tensor:
    """Lay a batch out as the convolutions want it, while it is still uint8 and small."""
    return images.contiguous(memory_format=torch.channels_last)


def seed_epoch(seed: int, shuffler: torch.Generator, data: Any) -> None:
    """Make everything random in an epoch depend on its number alone."""
    set_seed(seed)
    shuffler.manual_seed(seed)
    seed_data(data, seed)


def seed_data(data: Any, seed: int) -> None:
    """Seed the augmentation, which draws from a generator of its own."""
    if hasattr(data, "seed"):
        data.seed(seed)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Copy the weights to the CPU's memory."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}
