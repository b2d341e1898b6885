"""What can go wrong while a run works, in words: what happened, what is kept, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch
from accelerate.utils.memory import should_reduce_batch_size

from segnb.errors import SegnbError
from segnb.train.run import Run

Item = TypeVar("Item")


def reading(items: Iterable[Item], run: Run) -> Iterator[Item]:
    """Pass on what a loader gives.

    Raises:
        SegnbError: a picture cannot be read, or a process that reads pictures died; the message says in which epoch.
    """
    try:
        yield from items
    except (SegnbError, OSError) as error:
        raise SegnbError(f"{last_words(error)} (Met in epoch {run.epoch}.) {way_on(run)}") from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise SegnbError(
            f"a process that reads pictures died in epoch {run.epoch}, most often because memory ran out: try workers=0, or a "
            f"smaller cache_mb of the data set. {way_on(run)}"
        ) from error


def last_words(error: Exception) -> str:
    """Read the message of an error; one from another process carries it at the end of a traceback."""
    text = str(error)
    if "Original Traceback" not in text:
        return text
    return text.strip().rpartition("\n")[2].partition(": ")[2]


def way_on(run: Run) -> str:
    """Say what a failed run leaves, and how to go on."""
    if run.best is None:
        return "The model has the weights back that it came with; put it right and call fit again."
    return (
        f"The model has the weights of epoch {run.best['epoch']} back, the best one. Put it right and call fit again with the "
        f"same settings: it goes on after epoch {len(run.history)}."
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether memory ran out: of the GPU, or of the host."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or should_reduce_batch_size(error)


def explain(error: BaseException, run: Run, batch_size: int) -> BaseException:
    """Put what ended a run in words, where they are known; other errors are returned as they are."""
    if is_out_of_memory(error):
        return out_of_memory(run, batch_size)
    if isinstance(error, RuntimeError) and "Connection closed by peer" in str(error):
        return SegnbError(
            f"another process of this run ended in epoch {run.epoch}: what it said tells why. {way_on(run)}"
        )
    return error


def out_of_memory(run: Run, batch_size: int) -> SegnbError:
    """Say that memory ran out where the batch cannot be made smaller."""
    advice = (
        f"batch_size={max(1, batch_size // 2)} with accumulate=2, which computes the same in two halves,"
        if batch_size > 1
        else "smaller pictures or crops,"
    )
    return SegnbError(
        f"memory ran out in epoch {run.epoch} with {batch_size} pictures at a time: try {advice} precision='bf16' or a smaller "
        f"encoder. {way_on(run)}"
    )


class DivergedError(SegnbError):
    """The loss or a weight became NaN or infinite."""


def diverged(what: str, run: Run, lr: float) -> DivergedError:
    """Say where the numbers of a run went wrong, and what to try."""
    return DivergedError(
        f"{what} at batch {run.step} of epoch {run.epoch}. The model has its last good weights back. Try a lower learning "
        f"rate (it was {lr:g}), clip=1.0, precision='no', or look for broken pictures in that batch."
    )
