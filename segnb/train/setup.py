"""Before the first step: checks, and the choices behind ``"auto"``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate

from segnb.errors import SegnbError, nearest
from segnb.evaluation import check_fits
from segnb.models import SegmentationModel

if TYPE_CHECKING:
    from segnb.data import SegmentationDataset

MONITORS = ("miou", "valid_loss", "train_loss")
PRECISIONS = ("auto", "no", "bf16", "fp16")


def check_fit(
    model: SegmentationModel,
    train: SegmentationDataset,
    valid: SegmentationDataset,
    *,
    epochs: int,
    monitor: str,
    patience: int | None,
) -> None:
    """Refuse, before anything is trained, what cannot work."""
    if not isinstance(epochs, int) or epochs < 1:
        raise SegnbError(f"epochs={epochs!r}: give a whole number of at least 1.")
    if patience is not None and (not isinstance(patience, int) or patience < 1):
        raise SegnbError(f"patience={patience!r}: give a whole number of epochs of at least 1, or None.")
    if monitor not in MONITORS:
        raise SegnbError(f"unknown monitor {monitor!r}. {nearest(monitor, MONITORS)}")
    for name, data in (("train", train), ("valid", valid)):
        if len(data) == 0:
            raise SegnbError(
                f"the data set {name} has no pictures: fit needs at least one for training and one for validation."
            )
        check_fits(model, data)


def make_accelerator(precision: str) -> Accelerator:
    """Set up device and mixed precision."""
    if precision not in PRECISIONS:
        raise SegnbError(f"unknown precision {precision!r}. {nearest(precision, PRECISIONS)}")
    if precision == "auto":
        if torch.cuda.is_available():
            precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        else:
            precision = "no"
    # accelerate keeps one state for the life of the process; another fit may want another precision.
    AcceleratorState._reset_state()
    try:
        return Accelerator(mixed_precision=precision, step_scheduler_with_optimizer=False)
    except ValueError as error:
        raise SegnbError(
            f"precision={precision!r} does not work on this device ({error}): use 'bf16' or 'no'."
        ) from error


def choose_batch_size(batch_size: int | str, pictures: int, device: torch.device) -> int:
    """Resolve ``"auto"``: 8 on a CPU, 16 elsewhere, but about sixteen steps an epoch, so that few pictures still teach."""
    if batch_size == "auto":
        return min(pictures, 8 if device.type == "cpu" else 16, max(2, pictures // 16))
    if not isinstance(batch_size, int) or batch_size < 1:
        raise SegnbError(f"batch_size={batch_size!r}: give a whole number of at least 1, or 'auto'.")
    return batch_size


def choose_lr(lr: float | str, model: SegmentationModel) -> float:
    """Resolve ``"auto"``: encoders with batch normalisation stand a higher rate than transformers."""
    if lr == "auto":
        normalised = any(isinstance(module, nn.BatchNorm2d) for module in model.encoder.modules())
        return 4e-3 if normalised else 3e-4
    if not isinstance(lr, (int, float)) or not 0 < lr < math.inf:
        raise SegnbError(f"lr={lr!r}: give a positive number such as 2e-3, or 'auto'.")
    return float(lr)


def make_loader(train: SegmentationDataset, batch_size: int, device: torch.device) -> DataLoader:
    """Batch the training pictures in a new order each epoch.

    A last batch of one picture is dropped: batch normalisation has nothing to normalise over in 1×1 feature maps.
    """
    lone = len(train) > 1 and batch_size > 1 and len(train) % batch_size == 1
    return DataLoader(
        train,
        batch_size,
        shuffle=True,
        generator=torch.Generator(),
        drop_last=lone,
        num_workers=0 if device.type == "cpu" else 4,
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
