"""What judging found, and the order that follows: the browser computes the same from the same float32 numbers."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import numpy as np

from segnb.errors import SegnbError
from segnb.widgets.inspector.cell_counts import CellCounts

TITLES = {
    "miou": "Mean IoU",
    "iou": "IoU",
    "dice": "Dice",
    "accuracy": "Accuracy",
    "loss": "Loss",
    "boundary_iou": "Boundary IoU",
    "gain": "Mean IoU minus the other's",
}
MORE_IS_WORSE = ("loss",)
PRESENCE = {"truth": 1, "prediction": 2, "errors": 4}  # bits: where a picture has a class


class Findings:
    """Scores and counts of judged pictures.

    Args:
        cells: the confusion matrix of each picture.
        scores: by name (see `TITLES`), (N,) or, of each label, (N, L); NaN where a picture has no such score.
        names: of the pictures.
        label_names: of the labels.
        palette: (L, 3) uint8, one colour for each label.
        note: a sentence on the whole, such as that some pictures are missing.

    Attributes:
        scores: float32 by name, (N,), or (N, L + 1) where the last column is the mean over the labels that a picture has.
        presence: uint8 (N, L), for each picture and label the sum of `PRESENCE`.

    Raises:
        SegnbError: there are no pictures, or the numbers of names, colours and scores differ.
    """

    def __init__(
        self,
        cells: CellCounts,
        scores: Mapping[str, np.ndarray],
        *,
        names: Sequence[str],
        label_names: Sequence[str],
        palette: np.ndarray,
        note: str = "",
    ) -> None:
        if not len(cells):
            raise SegnbError("there are no pictures to inspect: give at least one.")
        for what, found, expected in (
            ("names", len(names), len(cells)),
            ("names of labels", len(label_names), cells.n_labels),
            ("colours", len(palette), cells.n_labels),
            *((f"values of {name!r}", len(values), len(cells)) for name, values in scores.items()),
        ):
            if found != expected:
                raise SegnbError(
                    f"{found} {what} for {len(cells)} pictures with {cells.n_labels} labels; expected {expected}."
                )
        self.cells, self.note = cells, note
        self.names, self.label_names = [str(name) for name in names], [str(name) for name in label_names]
        self.palette = np.asarray(palette)
        self.scores = {name: _with_mean(values) for name, values in scores.items()}
        self.presence = _presence(cells.counts())

    def ranking(self, metric: str, label: int = -1, only: str = "all", confused: Sequence[int] = ()) -> list[int]:
        """Order the pictures, worst first.

        Args:
            metric: a name in ``scores``.
            label: whose score, and of which class the filter speaks; -1 for the mean and no filter.
            only: "all", or a name in `PRESENCE`.
            confused: (true, predicted) label: the pictures with pixels of that cell, most first, whatever their score.

        Returns:
            Indices; pictures without the score are left out.
        """
        if len(confused):
            order, kept = -self.cells.pixels(*confused), self.cells.pixels(*confused) > 0
        else:
            values = self.scores[metric]
            values = values if values.ndim == 1 else values[:, label]
            order, kept = -values if metric in MORE_IS_WORSE else values, ~np.isnan(values)
            if label >= 0 and only != "all":
                kept &= self.presence[:, label] & PRESENCE[only] > 0
        return [index for index in np.argsort(order, kind="stable").tolist() if kept[index]]


def as_text(array: np.ndarray) -> str:
    """Write the bytes of an array as base64."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _with_mean(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float32)
    if values.ndim == 1:
        return values
    known = (~np.isnan(values)).sum(axis=1)
    mean = np.divide(np.nansum(values, axis=1), known, out=np.full(len(values), np.nan, np.float32), where=known > 0)
    return np.column_stack([values, mean])


def _presence(counts: np.ndarray) -> np.ndarray:
    """(N, 4, L) counts -> uint8 (N, L)."""
    hits, false_alarms, misses, _ = counts.transpose(1, 0, 2)
    places = {"truth": hits + misses, "prediction": hits + false_alarms, "errors": false_alarms + misses}
    return sum((places[name] > 0).astype(np.uint8) * np.uint8(bit) for name, bit in PRESENCE.items())
