"""What `evaluate` found: scores of classes and of pictures, how sure they are, and where to look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from segnb.draw import bars, confusion, contact_sheet
from segnb.errors import SegnbError, nearest
from segnb.evaluation.batches import evaluating
from segnb.evaluation.page import NO_CONFUSION, as_html
from segnb.evaluation.validation import to_picture
from segnb.metrics import BOUNDARY_SCORES, CalibrationBins
from segnb.metrics.bootstrap import Interval, confidence_interval
from segnb.metrics.scores import CLASS_SCORES, answer_accuracy, get_score

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from segnb.data.datasets import SegmentationDataset

Row = dict[str, object]


@dataclass(eq=False)
class Report:
    """What `evaluate` found; shows a readable table in a notebook.

    Attributes:
        matrix: int64 (L, L) counts of pixels, rows are the truth, columns the prediction; of a multi-label model (L, 2, 2), no
            and yes for each class.
        counts: int64 (N, 4, L), the confusion matrix of each picture reduced to what scores are read off: true positives, false
            positives, false negatives and true negatives of each label.
        names: name of each picture.
        label_names: name of each label; a binary model has two.
        palette: uint8 (L, 3) colour of each label.
        model: the model that was evaluated; `plot_worst` predicts with it again.
        data: the data it was evaluated on.
        boundaries: float64 (N, 3, L) boundary IoU and surface Dice (0 to 1), Hausdorff 95 (pixels) of each picture and label, NaN
            where a picture has no such label; None unless asked for.
        calibration: how confident and how often right; None unless asked for.
    """

    matrix: np.ndarray
    counts: np.ndarray
    names: list[str]
    label_names: list[str]
    palette: np.ndarray
    model: nn.Module
    data: SegmentationDataset
    boundaries: np.ndarray | None = None
    calibration: CalibrationBins | None = None

    def score(self, name: str) -> float | np.ndarray:
        """Read any score off the counts.

        Args:
            name: of each label: ``"iou"``, ``"dice"``, ``"precision"``, ``"recall"``, ``"specificity"``; one number: ``"miou"``,
                ``"mean_dice"``, ``"mean_precision"``, ``"mean_accuracy"``, ``"frequency_weighted_iou"``, ``"accuracy"``.

        Returns:
            float64 (L,), 0 to 1, NaN for a label that never occurs; or a float.

        Raises:
            SegnbError: there is no such score.
        """
        value = self._function(name)(torch.from_numpy(self.counts).sum(0))
        return value.numpy() if value.dim() else value.item()

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union of each label, float64 (L,), 0 to 1; NaN for a label that never occurs."""
        return self.score("iou")

    @property
    def dice(self) -> np.ndarray:
        """Dice of each label, float64 (L,), 0 to 1; NaN for a label that never occurs."""
        return self.score("dice")

    @property
    def miou(self) -> float:
        """Mean IoU over the labels that occur, 0 to 1."""
        return self.score("miou")

    @property
    def multilabel(self) -> bool:
        """Whether the classes may overlap, and were judged one by one."""
        return self.matrix.ndim == 3

    @property
    def accuracy(self) -> float:
        """Share of counted pixels that are right, 0 to 1; multi-label, of the answers yes and no of all classes."""
        return self.score("accuracy")

    @property
    def scores(self) -> np.ndarray:
        """Mean IoU of each picture, float64 (N,), 0 to 1; NaN where every pixel is ignored."""
        return self._by_picture("miou")

    def confidence_interval(
        self, score: str = "miou", *, level: float = 0.95, samples: int = 1000, seed: int = 0
    ) -> Interval:
        """Say how far a score could be off because these pictures were chosen and not others: bootstrap over pictures.

        Args:
            score: as in `score`.
            level: share of the resampled scores inside the interval, between 0 and 1.
            samples: how many times to resample the pictures.
            seed: the same seed gives the same interval.

        Returns:
            ``(low, high)``: floats, or arrays (L,) for a score of each label. See `segnb.metrics.bootstrap` for what it means;
            with fewer than some 20 pictures it is too narrow.

        Raises:
            SegnbError: there is no such score, or level or samples are out of range.
        """
        return confidence_interval(self.counts, self._function(score), level=level, samples=samples, seed=seed)

    def table(self) -> list[Row]:
        """List the labels with their scores, ready for ``pandas.DataFrame``.

        Returns:
            One dictionary per label: label, iou, dice, precision, recall and specificity (0 to 1 or NaN), pixels (how many truly
            have the label). If boundaries were asked for, also boundary_iou, surface_dice (0 to 1) and hausdorff95 (pixels),
            each the mean over the pictures with the label.
        """
        columns = {"label": self.label_names}
        columns |= {name: self.score(name).tolist() for name in CLASS_SCORES}
        columns["pixels"] = self.counts[:, [0, 2]].sum(axis=(0, 1)).tolist()  # hits and misses
        if self.boundaries is not None:
            columns |= dict(zip(BOUNDARY_SCORES, _nanmean(self.boundaries, axis=0).tolist(), strict=True))
        return _rows(columns)

    def pictures(self) -> list[Row]:
        """List the pictures with their scores, ready for ``pandas.DataFrame``.

        Returns:
            One dictionary per picture: index (in the data), name, pixels (how many count), miou, mean_dice, accuracy, and the IoU
            of each label as ``"iou <label>"`` (0 to 1 or NaN). If boundaries were asked for, also boundary_iou, surface_dice and
            hausdorff95, each the mean over the picture's labels.
        """
        columns = {"index": list(range(len(self.names))), "name": self.names}
        columns["pixels"] = self.counts.sum(axis=1).max(axis=1).tolist()  # of overlapping classes one may ignore more
        columns |= {name: self._by_picture(name).tolist() for name in ("miou", "mean_dice", "accuracy")}
        by_label = self._by_picture("iou").T.tolist()
        columns |= {f"iou {label}": values for label, values in zip(self.label_names, by_label, strict=True)}
        if self.boundaries is not None:
            columns |= dict(zip(BOUNDARY_SCORES, _nanmean(self.boundaries, axis=2).T.tolist(), strict=True))
        return _rows(columns)

    def worst(self, n: int = 8, by: str = "miou") -> list[Row]:
        """List the pictures the model does worst on, worst first.

        Args:
            n: how many.
            by: a score of `pictures`: ``"miou"``, ``"accuracy"``, ``"iou road"`` for the label road, ``"hausdorff95"`` ...

        Returns:
            Dictionaries with index (in the data), name and the score; pictures without it (nothing counted, or no such label)
            are left out.
            To look at them: ``segnb.predict(model, data.subset([w["index"] for w in report.worst()]))``.

        Raises:
            SegnbError: pictures have no such score.
        """
        rows = self.pictures()
        known = [name for name in rows[0] if name not in ("index", "name", "pixels")]
        if by not in known:
            hint = "; pass boundaries=True to evaluate" if by in BOUNDARY_SCORES else f". {nearest(by, known)}"
            raise SegnbError(f"pictures have no score {by!r}{hint} report.pictures() lists all.")
        scored = [row for row in rows if not np.isnan(row[by])]
        scored.sort(key=lambda row: row[by], reverse=by == "hausdorff95")  # a distance: more is worse
        return [{"index": row["index"], "name": row["name"], by: row[by]} for row in scored[:n]]

    def plot_worst(self, n: int = 4, by: str = "miou") -> Figure:
        """Draw the worst pictures beside their truth and their prediction, which is made now.

        Args:
            n: how many.
            by: see `worst`.

        Returns:
            A matplotlib figure.

        Raises:
            SegnbError: pictures have no such score.
        """
        rows = []
        with evaluating(self.model) as device:
            for worst in self.worst(n, by):
                image, labels = self.data[worst["index"]]
                predicted = self.model.labels(self.model(image[None].to(device)))[0]
                title = f"{worst['name']}  {by.replace('iou', 'IoU', 1)} {worst[by]:.2f}"
                rows.append((*to_picture(image, labels, predicted), title))
        return contact_sheet(rows, self.palette, self.label_names)

    def plot(self) -> Figure:
        """Draw the confusion matrix, each row as shares of its true class.

        Returns:
            A matplotlib figure.

        Raises:
            SegnbError: the classes may overlap.
        """
        if self.multilabel:
            raise SegnbError(f"{NO_CONFUSION} See report.plot_classes() and report.table().")
        return confusion(self.matrix, self.label_names)

    def plot_classes(self) -> Figure:
        """Draw the IoU of each class as bars.

        Returns:
            A matplotlib figure.
        """
        return bars(self.iou, self.label_names, "IoU")

    def plot_calibration(self) -> Figure:
        """Draw how often the model is right against how confident it is.

        Returns:
            A matplotlib figure.

        Raises:
            SegnbError: calibration was not asked for.
        """
        if self.calibration is None:
            raise SegnbError("confidence was not judged; pass calibration=True to evaluate.")
        return self.calibration.plot()

    def _by_picture(self, name: str) -> np.ndarray:
        return self._function(name)(torch.from_numpy(self.counts)).numpy()

    def _function(self, name: str) -> Callable[[Tensor], Tensor]:
        return answer_accuracy if self.multilabel and name == "accuracy" else get_score(name)

    def __repr__(self) -> str:
        return f"Report(miou={self.miou:.3f}, accuracy={self.accuracy:.3f}, images={len(self.names)})"

    def _repr_html_(self) -> str:
        return as_html(self)


def _nanmean(values: np.ndarray, axis: int) -> np.ndarray:
    """Average what is there; NaN, without a warning, where nothing is."""
    return torch.from_numpy(values).nanmean(axis).numpy()


def _rows(columns: dict[str, list]) -> list[Row]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
