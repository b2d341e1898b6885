"""What a model costs: parameters, multiply-adds, memory and time of a forward pass, on the device it is on.

model ─┬─ its weights ───────────────────────────▶ parameters
       ├─ one picture, operations counted ───────▶ multiply-adds
       └─ for each batch size: warm up ─┬─ once ─▶ peak memory
                                        └─ runs ─▶ median time, quartiles
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from segnb.data.wording import counted
from segnb.errors import SegnbError
from segnb.evaluation import evaluating
from segnb.profiling.memory import peak_memory
from segnb.profiling.report import Latency, Profile

WARM_UP = 3  # passes: the first ones choose algorithms, lay out weights and ask the system for memory


def profile(
    model: nn.Module, size: int | tuple[int, int], *, batch_sizes: Sequence[int] = (1, 4), runs: int = 10
) -> Profile:
    """Measure what a model costs to run, on the device and in the precision it has.

    **Multiply-adds** are half the operations of `torch.utils.flop_counter`: convolutions and matrix products, attention's
    included. Left out is what adds little arithmetic, though not always little time: biases, normalisation, activations, pooling,
    softmax, resizing and the normalisation of the pixels. Other tools report the same number as "FLOPs", "MACs" or doubled.

    **Peak memory** is what a forward pass without gradients needs besides the weights: the batch and every intermediate result
    that is alive at the same time. On a CUDA card it is read off torch's allocator, workspaces of convolutions included. On a CPU
    the bytes of each tensor that an operation of torch returns are added until it is freed; scratch space inside one operation
    is not seen. Training needs several times more.

    **Time** runs from a batch of raw pixels on the device to its logits there: three passes to warm up, then ``runs`` passes,
    each waited for. Copying to a card and decoding of files are not part of it.

    Args:
        model: a segmentation model, on any device; its modes and weights stay as they are. On the meta device it has no values:
            give ``batch_sizes=()``, and parameters and multiply-adds are counted without computing.
        size: height and width of the pictures, or one number for both.
        batch_sizes: how many pictures at a time; empty measures neither time nor memory.
        runs: passes to time for each batch size.

    Returns:
        A `Profile`.

    Raises:
        SegnbError: a size or number that is not a positive integer, or a model on the meta device with batch sizes.

    Example:
        >>> segnb.profile(segnb.create_model("unet", "resnet34", None), 256)
    """
    height, width = _check("size", (size, size) if isinstance(size, int) else size, length=2)
    batch_sizes = _check("batch_sizes", batch_sizes)
    (runs,) = _check("runs", (runs,))
    with evaluating(model) as device:
        if device.type == "meta" and batch_sizes:
            raise SegnbError("the model is on the meta device and cannot be run: give batch_sizes=() to count only.")
        batch = _pixels(max([1, *batch_sizes]), model.in_channels, height, width).to(device)
        encoder = getattr(model, "encoder", None)
        return Profile(
            size=(height, width),
            parameters=_parameters(model),
            trainable=sum(weight.numel() for weight in model.parameters() if weight.requires_grad),
            encoder=(_parameters(encoder) or None) if isinstance(encoder, nn.Module) else None,
            multiply_adds=None if getattr(model, "inference_only", False) else _multiply_adds(model, batch[:1]),
            latencies=[_measure(model, batch[:count].clone(), runs) for count in batch_sizes],
            machine=_machine(next(model.parameters())),
        )


def _check(name: str, values: Any, length: int | None = None) -> tuple[int, ...]:
    """Take a tuple or list of positive whole numbers, and nothing else."""
    fits = isinstance(values, (tuple, list)) and length in (None, len(values))
    if not fits or not all(isinstance(value, int) and value >= 1 for value in values):
        wanted = {"size": "one number or (height, width)", "runs": "a number"}.get(name, "a tuple such as (1, 4)")
        raise SegnbError(f"{name} is {values!r}; give {wanted} of 1 or more.")
    return tuple(values)


def _parameters(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _pixels(*shape: int) -> Tensor:
    """Random raw pixels, the same at every call; the global random state is not touched."""
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def _multiply_adds(model: nn.Module, picture: Tensor) -> int:
    # The plain form of attention: fused ones have another name on each device, and torch does not count all of them.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(picture)
    return counter.get_total_flops() // 2


def _measure(model: nn.Module, batch: Tensor, runs: int) -> Latency:
    """Warm up, look at the memory once, then time."""
    wait: Callable[[], None] = torch.accelerator.synchronize if batch.device.type != "cpu" else lambda: None
    for _ in range(WARM_UP):
        model(batch)
    peak = peak_memory(model, batch)
    times = []
    for _ in range(runs):
        wait()
        start = time.perf_counter()
        model(batch)
        wait()
        times.append(1000 * (time.perf_counter() - start))
    lower, median, upper = np.percentile(times, (25, 50, 75)).tolist()
    return Latency(len(batch), median, (lower, upper), runs, peak)


def _machine(weight: Tensor) -> str:
    """Name what the numbers hold for."""
    about = f"torch {torch.__version__}, {str(weight.dtype).removeprefix('torch.')}"
    if weight.device.type == "cuda":
        return f"{torch.cuda.get_device_name(weight.device)}, {about}"
    if weight.device.type != "cpu":
        return f"{weight.device.type} on {platform.machine()}, {about}"
    name = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):  # Linux, where platform knows the architecture only
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return f"{name}, {counted(torch.get_num_threads(), 'thread')}, {about}"
