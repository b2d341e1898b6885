"""Predictions without a model, for the inspector's tests: street scenes of boxes, guessed worse and worse."""

from __future__ import annotations

import numpy as np
from fake_training import LABELS, PALETTE, guess, scene

from segnb.widgets.inspector.cell_counts import CellCounts
from segnb.widgets.inspector.findings import Findings
from segnb.widgets.inspector.inspector import Inspector


def confusion(truth: np.ndarray, prediction: np.ndarray, n_labels: int = len(LABELS)) -> np.ndarray:
    """(L, L) counts of pixels, by the definition."""
    counted = truth != 255
    matrix = np.zeros((n_labels, n_labels), np.int64)
    np.add.at(matrix, (truth[counted], prediction[counted]), 1)
    return matrix


def iou(matrix: np.ndarray) -> np.ndarray:
    """(L,) intersection over union, NaN for an absent label."""
    hits = np.diag(matrix).astype(float)
    union = matrix.sum(0) + matrix.sum(1) - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)


class FakePictures:
    """What `segnb.inspect` gives the inspector, computed without a model; notes what it was asked for."""

    def __init__(self, count: int = 6, height: int = 96, width: int = 144, compared: bool = False) -> None:
        self.size, self.compared = (height, width), compared
        self.stages = {
            "c2": "encoder, stride 4",
            "c5": "encoder, stride 32",
            "decoder": "decoder, before the last layer",
        }
        self.names = [f"scene-{seed:03d}" for seed in range(count)]
        self.asked: list[tuple] = []

    def picture(self, index: int) -> dict[str, np.ndarray | None]:
        self.asked.append(("picture", index))
        image, truth = scene(index, *self.size)
        truth[:4, :4] = 255
        other = guess(truth, index + 100, 0.1) if self.compared else None
        if other is not None:
            other[other == 255] = 0
        prediction = guess(truth, index, 0.05 * (index + 1))
        prediction[prediction == 255] = 0
        return {"image": image, "labels": truth, "prediction": prediction, "other": other}

    def probability(self, index: int, label: int) -> np.ndarray:
        self.asked.append(("probability", index, label))
        height, width = self.size
        return np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))  # rises from left to right

    def explanation(self, kind, index, *, label, stage, channel, progress):
        self.asked.append((kind, index, label, stage, channel))
        progress(0.5)
        height, width = self.size
        rows = np.linspace(0, 3, height // (8 if kind in ("gradcam", "features") else 1), dtype=np.float32)
        return np.tile(rows[:, None], (1, width // (8 if len(rows) < height else 1))), f"about {kind}"


def make_inspector(count: int = 6, **options) -> Inspector:
    """An inspector of fake pictures; `inspector._pictures.asked` lists what was computed."""
    pictures = FakePictures(count, **options)
    cells = CellCounts(len(LABELS))
    gains = []
    for index in range(count):
        item = pictures.picture(index)
        found = confusion(item["labels"], item["prediction"])
        cells.add(found[None])
        if pictures.compared:
            gains.append(np.nanmean(iou(found)) - np.nanmean(iou(confusion(item["labels"], item["other"]))))
    matrices = [confusion(item["labels"], item["prediction"]) for item in map(pictures.picture, range(count))]
    by_class = np.array([iou(matrix) for matrix in matrices])
    scores = {
        "miou": np.nanmean(by_class, axis=1),
        "iou": by_class,
        "accuracy": np.array([np.trace(matrix) / matrix.sum() for matrix in matrices]),
        "loss": np.linspace(0.1, 2, count),
    }
    if pictures.compared:
        scores["gain"] = np.array(gains)
    pictures.asked.clear()
    return Inspector(pictures, Findings(cells, scores, names=pictures.names, label_names=LABELS, palette=PALETTE))
