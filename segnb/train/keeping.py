"""What a run keeps: the best weights in memory, and its files after every epoch, so that little is ever lost."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from safetensors import SafetensorError
from torch import Tensor, nn

from segnb.pretrained import write_model
from segnb.train import checkpoint
from segnb.train.engine import Engine
from segnb.train.logs import write_history
from segnb.train.run import Run


class Keeper:
    """Keeps the best weights and the files of a run.

    Args:
        engine: whose state is written.
        settings: of the run; a checkpoint with other ones is not gone on with.

    Attributes:
        good_weights: those of the best epoch, on the host; before the first epoch ends, those that the model came with.
    """

    def __init__(self, engine: Engine, settings: dict[str, Any]) -> None:
        self.engine, self.model, self.settings = engine, engine.plain_model, settings
        self.good_weights = weights_of(self.model)
        self.stored: dict[str, Any] | None = None  # the history's entry whose weights are in the folder best/

    def save_start(self, run: Run) -> None:
        """Write the weights that the model came with: with them the run can be done again."""
        if self.engine.processes.is_main:
            with self.writing(run, "the model as it came"):
                write_model(self.model, self.good_weights, run.path / checkpoint.START)

    def add_epoch(self, run: Run, entry: dict[str, Any]) -> None:
        """Add an epoch to the history, and keep the weights that the model holds now if they are the best."""
        run.history.append(entry)
        if run.better(entry[run.monitor]):
            # In this order: an interrupt in between leaves no best epoch without its weights.
            self.good_weights = weights_of(self.model)
            run.best = entry

    def save(self, run: Run) -> bool:
        """Write the files of an epoch; say whether that went well."""
        if not self.engine.processes.is_main:
            return True
        state = {
            **self.engine.state_dict(),
            "settings": self.settings,
            "epochs": run.epochs,
            "steps": run.steps,
            "history": run.history,
            "losses": run.losses,
            "best": run.history.index(run.best),
        }
        with self.writing(run, f"epoch {run.epoch}"):
            self.store_best(run)
            checkpoint.write_last(run.path, state)
            write_history(run)
            return True
        return False

    def store_best(self, run: Run) -> None:
        """Write the best weights, unless they are in the folder; they may be late, because the disk was full."""
        if self.stored is not run.best:
            write_model(self.model, self.good_weights, run.path / checkpoint.BEST)
            self.stored = run.best

    @contextmanager
    def writing(self, run: Run, what: str) -> Iterator[None]:
        """Turn a full disk into a warning: the run in memory is worth more than its files."""
        try:
            yield
        except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have errors of their own
            warnings.warn(
                f"{what} could not be saved in {run.path} ({error}). Training goes on and the best weights stay in "
                "memory: free some space, and call segnb.save_model(model, folder) at the end.",
                stacklevel=3,
            )

    def load(self, run: Run, state: dict[str, Any]) -> None:
        """Go on where an earlier run in the folder ended.

        Args:
            run: the new run.
            state: what `checkpoint.read_last` found.
        """
        self.engine.load_state_dict(state)
        run.epochs, run.steps = state["epochs"], state["steps"]
        run.history, run.losses = state["history"], state["losses"]
        run.best = self.stored = run.history[state["best"]]
        run.epoch, run.step = len(run.history), run.steps
        run.continue_from(run.history[-1]["elapsed"])
        self.good_weights = checkpoint.read_best(run.path) or weights_of(self.model)
        if checkpoint.how_ended(run.path) == "finished":
            run.state = "finished"
        else:
            (run.path / checkpoint.RESULT).unlink(missing_ok=True)  # of a stop before: the run goes on
        done = "finished" if run.state == "finished" else f"resumed after epoch {run.epoch} of {run.epochs}"
        if self.engine.processes.is_main:
            print(f"{run.path} is there: {done}. To start afresh, pass resume=False.")  # noqa: T201

    def finish(self, run: Run) -> None:
        """Give the model its best weights back, in eval mode, free of the training engine's wrapping."""
        self.engine.release()
        run.stop_clock()
        if run.best is not None or run.state == "failed":  # stopped in the first epoch: what is there is all there is
            self.model.load_state_dict(self.good_weights)
        self.model.eval()
        if run.best is not None:
            best = f"best {run.monitor} {run.best[run.monitor]:.3f} in epoch {run.best['epoch']}"
            run.message = f"{run.message}; {best}" if run.message else best
        if self.engine.processes.is_main:
            with self.writing(run, f"epoch {run.epoch}"):
                self.store_best(run)
                checkpoint.write_result(run)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Copy the weights to the CPU's memory."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}
