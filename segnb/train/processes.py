"""Several processes train one model: each reads its share of every batch, and all take the same step.

    batch of 8 ─┬─▶ process 0: pictures 0 to 3 ─▶ gradient ─┐
                │                                           ├─ mean ─▶ the same step in both
                └─▶ process 1: pictures 4 to 7 ─▶ gradient ─┘

The mean of the gradients (Li et al., VLDB 2020, https://arxiv.org/abs/2006.15704) is that of the whole batch if each process
weighs its loss by its share of the counted pixels of the batch. What a person or a clock decides, the main process decides
for all: to stop, how long to train. In a single process nothing here does anything.
"""

from __future__ import annotations

import functools
import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from segnb.errors import SegnbError
from segnb.evaluation import Validation
from segnb.train.run import Run

Value = TypeVar("Value")

LONGEST_PAUSE = timedelta(days=7)


class Processes:
    """What the processes of a run tell each other.

    Args:
        accelerator: which started them, or found itself started by ``accelerate launch``.

    Attributes:
        count: how many there are.
        index: of this one; 0 is the main process, which writes the files and shows the progress.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.count, self.index = accelerator.num_processes, accelerator.process_index

    @property
    def is_main(self) -> bool:
        """Whether this process writes and shows."""
        return self.index == 0

    @property
    def seed(self) -> int:
        """What to add to a seed, so that no two processes throw the same dice; 0 in the main process."""
        return 1_000_003 * self.index

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up a tensor over the processes, on its device."""
        if self.count > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Say whether a flag is set in some process."""
        if self.count == 1:
            return flag
        found = torch.tensor(int(flag))
        dist.all_reduce(found, group=host_group())
        return bool(found)

    def from_main(self, make: Callable[[], Value]) -> Value:
        """Call a function in the main process; all get its result."""
        if self.count == 1:
            return make()
        result = [make() if self.is_main else None]
        dist.broadcast_object_list(result, group=host_group())
        return result[0]

    def share(self, total: int) -> range:
        """Select the places, of 0 to ``total - 1``, that this process looks at: consecutive ones, about as many for each."""
        return range(total * self.index // self.count, total * (self.index + 1) // self.count)

    def share_buffers(self, model: nn.Module) -> None:
        """Take the buffers of the main process, such as its statistics of batch normalisation."""
        if self.count > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def merge(self, found: Validation) -> Validation:
        """Add up what the processes found in their shares; the preview stays that of each."""
        if self.count == 1:
            return found
        matrix = found.matrix.matrix
        counted = int(matrix.sum())
        loss = torch.tensor([found.loss * counted if counted else 0.0, counted], dtype=torch.float64)
        dist.all_reduce(loss, group=host_group())
        merged = type(found.matrix)(len(matrix))
        merged.matrix = matrix.clone()
        dist.all_reduce(merged.matrix, group=host_group())
        total, weight = loss.tolist()
        return Validation(merged, found.counts, total / weight if weight else math.nan, found.preview)

    @contextmanager
    def stopping(self, run: Run) -> Iterator[None]:
        """Let an interrupt of one of several processes stop all of them after the same step."""
        if self.count == 1:
            yield
            return
        with handling(lambda *_: run.interrupt()):
            yield


@contextmanager
def handling(handler: Callable[[int, Any], None] | signal.Handlers) -> Iterator[None]:
    """Let something else happen on Ctrl-C; launchers pass it on to their processes as one signal or another."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handler) for number in numbers]
    try:
        yield
    finally:
        for number, handled in zip(numbers, before, strict=True):
            signal.signal(number, handled)


@functools.cache
def host_group() -> dist.ProcessGroup:
    """Connect the processes' hosts: a GPU is not waited for when they only ask each other."""
    return dist.new_group(backend="gloo", timeout=LONGEST_PAUSE)


def check_batch(batch_size: int, pictures: int, processes: int) -> None:
    """Refuse a batch that leaves a process without a picture."""
    if min(batch_size, pictures) < processes:
        what = f"batch_size={batch_size}" if batch_size < processes else f"{pictures} training pictures"
        raise SegnbError(
            f"{what} cannot be shared by {processes} processes: batch_size counts the pictures of all of them, and each needs at "
            "least one."
        )


def synchronize_norms(model: nn.Module) -> dict[str, nn.Module]:
    """Let batch normalisation see the pictures of all processes (GPUs only).

    Args:
        model: its layers are replaced by ones that share weights and statistics with them.

    Returns:
        The layers as they were, for `restore_norms`.
    """
    before = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
    convert_sync_batchnorm(model)
    return before


def restore_norms(model: nn.Module, before: dict[str, nn.Module]) -> None:
    """Put the layers back that `synchronize_norms` replaced."""
    for name, module in before.items():
        model.set_submodule(name, module)
