"""What every pass over pictures needs: a model that does not learn, batches of one size, data that fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from segnb.errors import SegnbError

if TYPE_CHECKING:
    from segnb.data.datasets import SegmentationDataset


@contextmanager
def evaluating(model: nn.Module) -> Iterator[torch.device]:
    """Put a model in eval mode without gradients, and every part of it back as it was afterwards.

    Each module's own mode is remembered, because a frozen encoder stays in eval inside a model that trains.

    Args:
        model: any module with parameters.

    Yields:
        The device the model is on.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        # Not inference_mode: a tensor that a module caches under it could never take part in training again.
        with torch.no_grad():
            yield next(model.parameters()).device
    finally:
        for module, mode in modes.items():
            module.training = mode


def same_size_batches(items: Iterable[tuple[Tensor, ...]], batch_size: int) -> Iterator[tuple[tuple[Tensor, ...], ...]]:
    """Collect consecutive items until the batch is full or the next picture has another size.

    Args:
        items: tuples that start with an image (C, H, W).
        batch_size: items in a batch at most.

    Yields:
        The items of one batch, transposed: all images, all second members, and so on.

    Raises:
        SegnbError: batch_size is not a positive number.
    """
    if batch_size < 1:
        raise SegnbError(f"batch_size is {batch_size}; it must be 1 or more.")
    waiting: list[tuple[Tensor, ...]] = []
    for item in items:
        if waiting and (len(waiting) == batch_size or item[0].shape != waiting[0][0].shape):
            yield tuple(zip(*waiting, strict=True))
            waiting = []
        waiting.append(item)
    if waiting:
        yield tuple(zip(*waiting, strict=True))


def check_fits(model: nn.Module, data: SegmentationDataset) -> None:
    """Refuse data that the model was not made for.

    Args:
        model: a segmentation model.
        data: labelled pictures.

    Raises:
        SegnbError: other classes or another number of channels than the model's, or only one of the two is multi-label.
    """
    if data.in_channels != model.in_channels:
        raise SegnbError(
            f"the images have {data.in_channels} channels and the model reads {model.in_channels}; "
            f"create the model with in_channels={data.in_channels}."
        )
    if data.multilabel and not model.multilabel:
        raise SegnbError(
            "the data is multi-label, its classes may overlap, and the model gives each pixel one label; create the model with "
            "multilabel=True."
        )
    if model.multilabel and not data.multilabel:
        raise SegnbError(
            "the model is multi-label, its classes may overlap, and each pixel of the data has one label; create the model "
            "without multilabel, or the data set with multilabel=True."
        )
    if len(data.label_names) != len(model.label_names):
        raise SegnbError(
            f"the data has {len(data.classes)} classes ({', '.join(data.classes)}) and the model "
            f"{model.num_classes}; create the model with classes={data.classes}."
        )
