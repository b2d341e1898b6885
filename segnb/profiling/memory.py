"""How much memory a forward pass needs at once, besides the weights."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_memory(model: nn.Module, batch: Tensor) -> int | None:
    """Run a forward pass and watch its memory.

    Args:
        model: in eval mode.
        batch: (B, C, H, W), on the model's device.

    Returns:
        Bytes of the batch and of the most that was alive beside it at one time, see `profile`; None on Apple GPUs, where torch
        does not tell.
    """
    gc.collect()  # garbage that is freed during the pass would count as less memory
    if batch.device.type == "cuda":
        before = torch.cuda.memory_allocated(batch.device)
        torch.cuda.reset_peak_memory_stats(batch.device)
        model(batch)
        return batch.nbytes + torch.cuda.max_memory_allocated(batch.device) - before
    if batch.device.type == "cpu":
        with _LiveTensors([batch, *model.parameters(), *model.buffers()]) as live:
            model(batch)
        return batch.nbytes + live.peak
    return None


class _LiveTensors(TorchDispatchMode):
    """Adds up the bytes of the tensors that operations return, until they are freed.

    Args:
        known: tensors that were there before; views of them are not new memory.
    """

    def __init__(self, known: Sequence[Tensor]) -> None:
        super().__init__()
        self.live = self.peak = 0
        # By address, not by object: Python sees the same memory through many views.
        self._counted = {storage.data_ptr() for tensor in known if (storage := _storage(tensor)) is not None}

    def __torch_dispatch__(
        self, operation: Any, _: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and (storage := _storage(tensor)) is not None:
                self._count(storage)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        address, size = storage.data_ptr(), storage.nbytes()
        if address not in self._counted:
            self._counted.add(address)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._forget, address, size).atexit = False

    def _forget(self, address: int, size: int) -> None:
        self._counted.discard(address)
        self.live -= size


def _storage(tensor: Tensor) -> torch.UntypedStorage | None:
    """The memory under a tensor; None for a layout of its own, such as oneDNN's, which shows none."""
    return None if tensor.is_mkldnn else tensor.untyped_storage()
