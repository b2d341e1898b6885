"""How good is the model, on which classes, and on which pictures is it worst?

    data ─▶ same-size batches ─▶ model ─▶ label maps ─▶ one confusion matrix per picture ─▶ their sum
                                              │                    │                           │
                                           preview          worst pictures          IoU, Dice, accuracy

Only counts are kept, never logits, so a data set of any length fits in memory.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from segnb.draw import IGNORE, bars, confusion, contact_sheet
from segnb.errors import SegnbError
from segnb.metrics import ConfusionMatrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from segnb.data.datasets import SegmentationDataset

Picture = tuple[np.ndarray, np.ndarray, np.ndarray]  # image (H, W, C), truth (H, W), prediction (H, W), all uint8


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


@dataclass
class Validation:
    """What one pass over labelled batches found.

    Attributes:
        matrix: the summed confusion matrix; mIoU, IoU and Dice are read off it.
        loss: mean loss, each batch weighted by its counted pixels; NaN without a loss function.
        scores: mIoU of each picture in the order seen, 0 to 1; NaN where every pixel is ignored.
        preview: the first pictures with truth and prediction.
    """

    matrix: ConfusionMatrix
    loss: float = math.nan
    scores: list[float] = field(default_factory=list)
    preview: list[Picture] = field(default_factory=list)


def validate(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    *,
    preview: int = 4,
) -> Validation:
    """Run a model over labelled batches and count what it got right; the core of `evaluate` and of `fit`.

    Args:
        model: returns logits (B, K, H, W); needs ``label_names`` and ``labels(logits)``.
        batches: pairs of images uint8 (B, C, H, W) and labels int64 (B, H, W), 255 ignored, on any device.
        loss: (logits, labels) -> scalar, or None.
        preview: how many pictures to keep.

    Returns:
        Confusion matrix, mean loss, score of each picture and preview. The model's modes are left as found.

    Raises:
        SegnbError: a label is outside the model's classes.
    """
    found = Validation(ConfusionMatrix(len(model.label_names)))
    total, weight = 0.0, 0
    with evaluating(model) as device:
        for images, labels in batches:
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)  # noqa: PLW2901
            logits = model(images)
            if loss is not None and (counted := int((labels != IGNORE).sum())):
                total, weight = total + counted * float(loss(logits, labels)), weight + counted
            predicted = model.labels(logits)
            for one in zip(images, labels, predicted, strict=True):
                _count(found, *one)
                if len(found.preview) < preview:
                    found.preview.append(_picture(*one))
    if weight:
        found.loss = total / weight
    return found


def _count(found: Validation, _: Tensor, labels: Tensor, predicted: Tensor) -> None:
    """Add one picture to the sum, and remember its own score."""
    single = ConfusionMatrix(len(found.matrix.matrix))
    single.update(predicted, labels)
    found.matrix.matrix += single.matrix
    found.scores.append(single.miou())


def _picture(image: Tensor, labels: Tensor, predicted: Tensor) -> Picture:
    """Bring one sample to NumPy: (C, H, W) -> (H, W, C), everything uint8."""
    return (
        image.permute(1, 2, 0).to("cpu", torch.uint8).numpy(),
        labels.to("cpu", torch.uint8).numpy(),
        predicted.to("cpu", torch.uint8).numpy(),
    )


@dataclass(eq=False)
class Report:
    """What `evaluate` found; shows a readable table in a notebook.

    Attributes:
        matrix: int64 (L, L) counts of pixels, rows are the truth, columns the prediction.
        scores: float64 (N,) mIoU of each picture, 0 to 1; NaN where every pixel is ignored.
        names: name of each picture.
        label_names: name of each label; a binary model has two.
        palette: uint8 (L, 3) colour of each label.
        model: the model that was evaluated; `plot_worst` predicts with it again.
        data: the data it was evaluated on.
    """

    matrix: np.ndarray
    scores: np.ndarray
    names: list[str]
    label_names: list[str]
    palette: np.ndarray
    model: nn.Module
    data: SegmentationDataset

    def __post_init__(self) -> None:
        counts = ConfusionMatrix(len(self.matrix))
        counts.matrix += torch.from_numpy(self.matrix)
        self._iou, self._dice = counts.iou().numpy(), counts.dice().numpy()
        self._miou, self._accuracy = counts.miou(), counts.accuracy()

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union of each label, float64 (L,), 0 to 1; NaN for a label that never occurs."""
        return self._iou

    @property
    def dice(self) -> np.ndarray:
        """Dice of each label, float64 (L,), 0 to 1; NaN for a label that never occurs."""
        return self._dice

    @property
    def miou(self) -> float:
        """Mean IoU over the labels that occur, 0 to 1."""
        return self._miou

    @property
    def accuracy(self) -> float:
        """Share of counted pixels that are right, 0 to 1."""
        return self._accuracy

    def table(self) -> list[dict[str, object]]:
        """List the labels with their scores, ready for ``pandas.DataFrame``.

        Returns:
            One dictionary per label: label, iou and dice (0 to 1 or NaN), pixels (how many truly have the label).
        """
        pixels = self.matrix.sum(axis=1).tolist()
        rows = zip(self.label_names, self.iou.tolist(), self.dice.tolist(), pixels, strict=True)
        return [dict(zip(("label", "iou", "dice", "pixels"), row, strict=True)) for row in rows]

    def worst(self, n: int = 8) -> list[dict[str, object]]:
        """List the pictures the model does worst on, worst first.

        Args:
            n: how many.

        Returns:
            Dictionaries with index (in the data), name and miou; pictures without a counted pixel are left out.
            To look at them: ``segnb.predict(model, data.subset([w["index"] for w in report.worst()]))``.
        """
        order = [int(i) for i in np.argsort(self.scores, kind="stable") if not np.isnan(self.scores[i])]
        return [{"index": i, "name": self.names[i], "miou": float(self.scores[i])} for i in order[:n]]

    def plot_worst(self, n: int = 4) -> Figure:
        """Draw the worst pictures beside their truth and their prediction, which is made now.

        Args:
            n: how many.

        Returns:
            A matplotlib figure.
        """
        rows = []
        with evaluating(self.model) as device:
            for worst in self.worst(n):
                image, labels = self.data[worst["index"]]
                predicted = self.model.labels(self.model(image[None].to(device)))[0]
                rows.append((*_picture(image, labels, predicted), f"{worst['name']}  mIoU {worst['miou']:.2f}"))
        return contact_sheet(rows, self.palette, self.label_names)

    def plot(self) -> Figure:
        """Draw the confusion matrix, each row as shares of its true class.

        Returns:
            A matplotlib figure.
        """
        return confusion(self.matrix, self.label_names)

    def plot_classes(self) -> Figure:
        """Draw the IoU of each class as bars.

        Returns:
            A matplotlib figure.
        """
        return bars(self.iou, self.label_names, "IoU")

    def __repr__(self) -> str:
        return f"Report(miou={self.miou:.3f}, accuracy={self.accuracy:.3f}, images={len(self.names)})"

    def _repr_html_(self) -> str:
        """Show scores by class and the worst pictures; names come from files, so they are escaped."""
        rows = "".join(
            f"<tr><td style='text-align:left'><span style='{_swatch(colour)}'>&nbsp;</span> {html.escape(row['label'])}</td>"
            f"<td>{_score(row['iou'])}</td><td>{_score(row['dice'])}</td><td>{row['pixels']:,}</td></tr>"
            for row, colour in zip(self.table(), self.palette.tolist(), strict=True)
        )
        worst = ", ".join(f"{html.escape(image['name'])} ({image['miou']:.2f})" for image in self.worst(5))
        return (
            f"<p><b>mIoU {_score(self.miou)}</b>, pixel accuracy {_score(self.accuracy)}, {len(self.names)} images</p>"
            "<table><thead><tr><th style='text-align:left'>class</th><th>IoU</th><th>Dice</th><th>true pixels</th></tr>"
            f"</thead><tbody>{rows}</tbody></table><p>Worst first: {worst}</p>"
        )


def _score(value: float) -> str:
    return "absent" if math.isnan(value) else f"{value:.3f}"


def _swatch(colour: list[int]) -> str:
    return f"display:inline-block;width:1em;border:1px solid gray;background:rgb({','.join(map(str, colour))})"


def evaluate(model: nn.Module, data: SegmentationDataset, *, batch_size: int = 8) -> Report:
    """Compare a model's predictions with the truth, over a whole data set.

    Pictures of one size share a batch; mixed sizes work. The scores do not depend on the batch size.

    Args:
        model: a segmentation model, on any device.
        data: labelled pictures with the model's classes; its transform applies.
        batch_size: pictures at a time.

    Returns:
        A `Report`: mIoU, IoU and Dice by class, confusion matrix, worst pictures first.

    Raises:
        SegnbError: other classes or another number of channels than the model's.
    """
    check_fits(model, data)
    pairs = (data[index] for index in range(len(data)))
    batches = ((torch.stack(images), torch.stack(labels)) for images, labels in same_size_batches(pairs, batch_size))
    found = validate(model, batches, preview=0)
    return Report(
        matrix=found.matrix.matrix.numpy(),
        scores=np.array(found.scores),
        names=list(data.names),
        label_names=list(data.label_names),
        palette=data.palette,
        model=model,
        data=data,
    )


def check_fits(model: nn.Module, data: SegmentationDataset) -> None:
    """Refuse data that the model was not made for.

    Args:
        model: a segmentation model.
        data: labelled pictures.

    Raises:
        SegnbError: other classes or another number of channels than the model's.
    """
    if data.in_channels != model.in_channels:
        raise SegnbError(
            f"the images have {data.in_channels} channels and the model reads {model.in_channels}; "
            f"create the model with in_channels={data.in_channels}."
        )
    if len(data.label_names) != len(model.label_names):
        raise SegnbError(
            f"the data has {len(data.classes)} classes ({', '.join(data.classes)}) and the model "
            f"{model.num_classes}; create the model with classes={data.classes}."
        )
