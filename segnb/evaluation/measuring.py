"""`evaluate`: from a model and a labelled data set to a `Report`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from segnb.evaluation.batches import check_fits, same_size_batches
from segnb.evaluation.report import Report
from segnb.evaluation.validation import Observer, validate
from segnb.metrics import CalibrationBins, boundary_scores

if TYPE_CHECKING:
    from segnb.data.datasets import SegmentationDataset


def evaluate(
    model: nn.Module,
    data: SegmentationDataset,
    *,
    batch_size: int = 8,
    boundaries: bool = False,
    tolerance: float = 2.0,
    calibration: bool = False,
) -> Report:
    """Compare a model's predictions with the truth, over a whole data set.

    Pictures of one size share a batch; mixed sizes work. The scores do not depend on the batch size. The classes of a multi-label
    model are judged one by one: yes where it is at least as likely as no.

    Args:
        model: a segmentation model, on any device.
        data: labelled pictures with the model's classes; its transform applies.
        batch_size: pictures at a time.
        boundaries: also judge the outlines (boundary IoU, surface Dice, Hausdorff 95); a few milliseconds for each class of each
            picture.
        tolerance: distance in pixels up to which an outline counts as met, for surface Dice.
        calibration: also compare the model's confidence with how often it is right.

    Returns:
        A `Report`: scores by class and by picture, confusion matrix, confidence intervals, worst pictures first.

    Raises:
        SegnbError: other classes or another number of channels than the model's, only one of the two is multi-label, or a
            negative tolerance.

    Example:
        >>> report = segnb.evaluate(model, valid, boundaries=True)
        >>> report.confidence_interval("miou")
    """
    check_fits(model, data)
    pairs = (data[index] for index in range(len(data)))
    batches = ((torch.stack(images), torch.stack(labels)) for images, labels in same_size_batches(pairs, batch_size))
    outlines: list[np.ndarray] = []
    bins = CalibrationBins()
    observers: list[Observer] = []

    def judge_outlines(_: Tensor, labels: Tensor, predicted: Tensor) -> None:
        for truth, guess in zip(labels.cpu().numpy(), predicted.cpu().numpy(), strict=True):
            outlines.append(score_outlines(guess, truth, len(model.label_names), tolerance))

    def judge_confidence(logits: Tensor, labels: Tensor, _: Tensor) -> None:
        probabilities = model.probabilities(logits.float())
        if model.multilabel:  # each plane is a binary picture
            probabilities, labels = probabilities.flatten(0, 1)[:, None], labels.flatten(0, 1)
        bins.update(probabilities, labels)

    if boundaries:
        observers.append(judge_outlines)
    if calibration:
        observers.append(judge_confidence)
    found = validate(model, batches, preview=0, observers=observers)
    return Report(
        matrix=found.matrix.matrix.numpy(),
        counts=found.counts.numpy(),
        names=list(data.names),
        label_names=list(data.label_names),
        palette=data.palette,
        model=model,
        data=data,
        boundaries=np.array(outlines) if boundaries else None,
        calibration=bins if calibration else None,
    )


def score_outlines(predicted: np.ndarray, truth: np.ndarray, n_labels: int, tolerance: float) -> np.ndarray:
    """Judge the outlines of one picture, see `boundary_scores`; each plane of a multi-label one for itself.

    Args:
        predicted: (H, W), or (K, H, W) if multi-label.
        truth: the same shape.
        n_labels: number of labels, K if multi-label.
        tolerance: see `boundary_scores`.

    Returns:
        float64 (3, n_labels).
    """
    if truth.ndim == 2:
        return boundary_scores(predicted, truth, n_labels, tolerance)
    planes = zip(predicted, truth, strict=True)
    return np.stack([boundary_scores(guess, plane, 2, tolerance)[:, 1] for guess, plane in planes], axis=1)
