"""One pass over labelled batches: what `fit` does after every epoch, and `evaluate` once.

Only counting waits for the device, to check the labels; losses and counts stay there until the last batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from segnb.data.planes import flatten
from segnb.evaluation.batches import evaluating
from segnb.metrics import ConfusionMatrix, MultilabelConfusionMatrix
from segnb.metrics.scores import SUMMARIES

Picture = tuple[np.ndarray, np.ndarray, np.ndarray]  # image (H, W, C), truth (H, W), prediction (H, W), all uint8
Observer = Callable[[Tensor, Tensor, Tensor], None]  # logits (B, K, H, W); labels and predicted, both (B, [K,] H, W)


@dataclass
class Validation:
    """What one pass over labelled batches found.

    Attributes:
        matrix: the summed confusion matrix, or those of all classes of a multi-label model; mIoU, IoU and Dice are read off it.
        counts: int64 (N, 4, L) true positives, false positives, false negatives and true negatives of each picture and label.
        loss: mean loss, each batch weighted by its counted pixels; NaN without a loss function.
        preview: the first pictures with truth and prediction.
    """

    matrix: ConfusionMatrix | MultilabelConfusionMatrix
    counts: Tensor
    loss: float = math.nan
    preview: list[Picture] = field(default_factory=list)

    @property
    def scores(self) -> list[float]:
        """Mean IoU of each picture in the order seen, 0 to 1; NaN where every pixel is ignored."""
        return SUMMARIES["miou"](self.counts).tolist()


def validate(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    *,
    preview: int = 4,
    observers: Sequence[Observer] = (),
) -> Validation:
    """Run a model over labelled batches and count what it got right; the core of `evaluate` and of `fit`.

    Args:
        model: returns logits (B, K, H, W); needs ``multilabel``, ``label_names`` and ``labels(logits)``.
        batches: pairs of images uint8 (B, C, H, W) and labels (B, H, W), or (B, K, H, W) if multi-label, integer, 255 ignored, on
            any device.
        loss: (logits, labels) -> scalar, or None; a batch without a counted pixel has no weight.
        preview: how many pictures to keep.
        observers: see logits, labels and label maps of every batch, for measures that cost more than counting.

    Returns:
        Confusion matrix, mean loss, counts of each picture and preview. The model's modes are left as found.

    Raises:
        SegnbError: a label is outside the model's classes.
    """
    counts, losses, kept = [], [], []
    with evaluating(model) as device:
        matrix = (MultilabelConfusionMatrix if model.multilabel else ConfusionMatrix)(len(model.label_names), device)
        for images, labels in batches:
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)  # noqa: PLW2901
            logits = model(images)
            predicted = model.labels(logits)
            found = matrix.update(predicted, labels)
            counts.append(matrix.counts_of(found))
            if loss is not None:
                losses.append(torch.stack([loss(logits, labels).float(), found.sum().float()]))
            for observe in observers:
                observe(logits, labels, predicted)
            missing = preview - len(kept)
            kept += map(to_picture, images[:missing], labels[:missing], predicted[:missing])
    matrix.matrix = matrix.matrix.cpu()
    gathered = torch.cat(counts).cpu() if counts else torch.zeros(0, *matrix.counts().shape, dtype=torch.int64)
    return Validation(matrix, gathered, _weighted_mean(losses), kept)


def _weighted_mean(losses: list[Tensor]) -> float:
    """Average losses, given as (loss, weight); what a loss says about a batch without a counted pixel is left out."""
    if not losses:
        return math.nan
    values, weights = torch.stack(losses).cpu().double().T
    counted = weights > 0
    return (values[counted] @ weights[counted] / weights.sum()).item()


def to_picture(image: Tensor, labels: Tensor, predicted: Tensor) -> Picture:
    """Bring one sample to NumPy: (C, H, W) -> (H, W, C), everything uint8; classes that overlap to one map to look at."""
    truth, guess = (maps.to("cpu", torch.uint8).numpy() for maps in (labels, predicted))
    if truth.ndim == 3:
        truth, guess = flatten(truth), flatten(guess)
    return image.permute(1, 2, 0).to("cpu", torch.uint8).numpy(), truth, guess
