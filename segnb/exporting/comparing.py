"""Does the file say what PyTorch says? Logits at three sizes, labels on a whole data set, and the time of one picture."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from segnb.errors import SegnbError
from segnb.evaluation import evaluating, same_size_batches
from segnb.exporting.report import Comparison, shape_text
from segnb.metrics import ConfusionMatrix, MultilabelConfusionMatrix

if TYPE_CHECKING:
    from segnb.data.datasets import SegmentationDataset

Run = Callable[[np.ndarray], np.ndarray]  # what the file takes (B, C, H, W) -> logits (B, K, H, W)
POINTS = 2000  # logits kept from each comparison for the figure
RUNS = 5
BATCH = 4


class Labelled(NamedTuple):
    """The labels of PyTorch and of the file, both judged by the same truth.

    Attributes:
        torch_miou: of PyTorch, 0 to 1.
        miou: of the file, 0 to 1.
        agreement: share of the pixels to which both give the same label, 0 to 1.
    """

    torch_miou: float
    miou: float
    agreement: float


def three_shapes(channels: int, size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Choose inputs that differ in batch and size, one of them with odd sides."""
    height, width = size
    half = (3, channels, height // 2 | 1, width // 2 + 2 | 1)
    return [(1, channels, height, width), half, (2, channels, height + width // 8, width // 2 + 8)]


def compare(model: nn.Module, run: Run, picture: Tensor, name: str) -> Comparison:
    """Run PyTorch and the file on the same input.

    Args:
        model: in eval mode, on the CPU.
        run: the file.
        picture: (B, C, H, W), of the kind that the file takes.
        name: of the format, for messages.

    Returns:
        How much the logits differ.

    Raises:
        SegnbError: the file fails, or its logits have another shape.
    """
    shape = tuple(picture.shape)
    with torch.no_grad():
        expected = model(picture).numpy()
    try:
        found = run(picture.numpy())
    except Exception as error:
        raise SegnbError(
            f"the {name} file fails on an input of {shape_text(shape)}, nothing was written: {error}"
        ) from error
    if found.shape != expected.shape:
        raise SegnbError(
            f"the {name} file returns {shape_text(found.shape)} for an input of {shape_text(shape)}, PyTorch "
            f"{shape_text(expected.shape)}: the exporter fixed a size that should vary. Nothing was written; try another decoder "
            "or a newer torch."
        )
    absolute = float(np.abs(found - expected).max())
    relative = absolute / max(float(np.ptp(expected)), 1e-2)  # nearly constant logits: rounding is no error
    step = max(1, expected.size // POINTS)
    return Comparison(
        shape, absolute, relative, expected.ravel()[::step][:POINTS].copy(), found.ravel()[::step][:POINTS].copy()
    )


def compare_labels(model: nn.Module, run: Run, data: SegmentationDataset, raw_pixels: bool) -> Labelled:
    """Let PyTorch and the file label a data set.

    Args:
        model: on the CPU.
        run: the file.
        data: labelled pictures, of any sizes.
        raw_pixels: whether the file takes uint8 pixels.

    Returns:
        The mIoU of both, and how often they agree.

    Raises:
        SegnbError: no pixel of the data is labelled.
    """
    kind = MultilabelConfusionMatrix if model.multilabel else ConfusionMatrix
    by_torch, by_file = kind(len(model.label_names)), kind(len(model.label_names))
    equal = total = 0
    items = (data[index] for index in range(len(data)))
    with evaluating(model):
        for images, truths in same_size_batches(items, BATCH):
            raw, truth = torch.stack(images), torch.stack(truths)
            normalised = (raw / 255 - model.mean) / model.std
            expected = model.labels(model(normalised))
            found = model.labels(torch.from_numpy(run((raw if raw_pixels else normalised).numpy())))
            by_torch.update(expected, truth)
            by_file.update(found, truth)
            equal += int((expected == found).sum())
            total += found.numel()
    if int(by_torch.matrix.sum()) == 0:
        raise SegnbError("no pixel of validation is labelled, so nothing can be compared; give pictures with masks.")
    return Labelled(by_torch.miou(), by_file.miou(), equal / total)


def milliseconds(run: Callable[[], object]) -> float:
    """Median time of a few runs after one to warm up."""
    run()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * median(times)
