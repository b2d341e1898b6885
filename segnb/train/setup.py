"""Before the first step: checks, and the choices behind ``"auto"``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, default_collate

from segnb.errors import SegnbError
from segnb.evaluation import check_fits
from segnb.models import SegmentationModel
from segnb.train.processes import Processes

if TYPE_CHECKING:
    from segnb.data import SegmentationDataset

WORKERS = 4  # that read pictures for a GPU; a CPU has better things to do


def check_data(model: SegmentationModel, **sets: SegmentationDataset) -> None:
    """Refuse, before anything is trained, pictures that the model was not made for, and none at all."""
    for name, data in sets.items():
        if len(data) == 0:
            raise SegnbError(
                f"the data set {name} has no pictures: fit needs at least one for training and one for validation."
            )
        check_fits(model, data)


def make_accelerator(precision: str, *, all_learn: bool = True) -> Accelerator:
    """Set up device, mixed precision and processes.

    Args:
        precision: as for `fit`.
        all_learn: whether every parameter gets a gradient in every step; several processes must look for those that get none.

    Returns:
        The training engine.

    Raises:
        SegnbError: the device cannot compute with this precision.
    """
    if precision == "auto":
        if torch.cuda.is_available():
            precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        else:
            precision = "no"
    # accelerate keeps one state for the life of the process; another fit may want another precision.
    AcceleratorState._reset_state()
    try:
        return Accelerator(
            mixed_precision=precision,
            step_scheduler_with_optimizer=False,
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=not all_learn)],
        )
    except ValueError as error:
        raise SegnbError(
            f"precision={precision!r} does not work on this device ({error}): use 'bf16' or 'no'."
        ) from error


def choose_batch_size(batch_size: int | str, pictures: int, device: torch.device) -> int:
    """Resolve ``"auto"``: 8 on a CPU, 16 elsewhere, but about sixteen steps an epoch, so that few pictures still teach."""
    if batch_size == "auto":
        return min(pictures, 8 if device.type == "cpu" else 16, max(2, pictures // 16))
    return int(batch_size)


class SharedBatches(BatchSampler):
    """The batches of a single process, of each of which a process gets its share.

    Args:
        processes: that share; without, a process is alone.
        **options: of `BatchSampler`.
    """

    def __init__(self, processes: Processes | None, **options: Any) -> None:
        super().__init__(**options)
        self.processes = processes

    def __iter__(self) -> Iterator[list[int]]:
        for batch in super().__iter__():
            yield batch if self.processes is None else [batch[place] for place in self.processes.share(len(batch))]


def make_loader(
    train: SegmentationDataset,
    batch_size: int,
    device: torch.device,
    workers: int | str = "auto",
    processes: Processes | None = None,
) -> DataLoader:
    """Batch the training pictures in a new order each epoch, the same order for all processes.

    A last batch of one picture is dropped: batch normalisation has nothing to normalise over in 1×1 feature maps. So is one that
    has fewer pictures than there are processes.
    """
    if workers == "auto":
        workers = 0 if device.type == "cpu" else WORKERS
    least = 2 if processes is None else max(2, processes.count)
    short = len(train) > batch_size > 1 and 0 < len(train) % batch_size < least
    shuffler = torch.Generator()
    order = RandomSampler(train, generator=shuffler)
    return DataLoader(
        train,
        batch_sampler=SharedBatches(processes, sampler=order, batch_size=batch_size, drop_last=short),
        generator=shuffler,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        collate_fn=collate,
    )


def collate(items: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """Stack pictures of one size into a batch, and say what to do if they are not."""
    sizes = sorted({tuple(image.shape[-2:]) for image, _ in items})
    if len(sizes) > 1:
        shown = ", ".join(f"{height}×{width}" for height, width in sizes[:3])
        raise SegnbError(
            f"the training pictures have several sizes ({shown}): a batch needs one. Add a transform that makes them equal, "
            "for example albumentations.RandomCrop(256, 256, pad_if_needed=True) or albumentations.Resize(256, 256)."
        )
    return default_collate(items)


@contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """Use only algorithms that give the same result each time; where there is none, PyTorch names the operation."""
    if not wanted:
        yield
        return
    cudnn = torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it, before its first call
    # An error would forbid cross-entropy on CUDA, which has no such algorithm.
    torch.use_deterministic_algorithms(True, warn_only=True)
    cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.benchmark = benchmark
