"""`inspect`: judge every picture once, then look at the ones that went wrong.

    data ─▶ model, and another ─▶ counts and loss of each picture ─▶ Inspector: which picture?
                  └──────────── predicts the shown picture again ─▶ Inspector: labels, probabilities, maps

Only counts are kept for all pictures; maps exist for the one that is shown. So the memory does not grow with the maps.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from segnb.errors import SegnbError
from segnb.evaluation import check_fits, evaluating, same_size_batches
from segnb.losses import cross_entropy
from segnb.metrics import boundary_scores, confusion_matrices
from segnb.metrics.scores import get_score
from segnb.prediction import predict
from segnb.tools.explaining import (
    VIEWS,
    class_probability,
    entropy,
    feature_map,
    grad_cam,
    stages,
    view_variance,
)
from segnb.widgets.inspector.cell_counts import CellCounts
from segnb.widgets.inspector.findings import Findings
from segnb.widgets.inspector.inspector import Inspector

if TYPE_CHECKING:
    from segnb.data.datasets import SegmentationDataset

SCORES = ("miou", "iou", "dice", "accuracy")


def inspect(
    model: nn.Module,
    data: SegmentationDataset,
    *,
    against: nn.Module | None = None,
    batch_size: int = 8,
    boundaries: bool = False,
) -> Inspector:
    """Look at a model's predictions, the worst first, and at why they went wrong.

    Every picture is judged once, with a progress bar; interrupted, the pictures judged so far are shown. The models are copied,
    so that training them further changes nothing here.

    Args:
        model: a segmentation model, on any device.
        data: labelled pictures with the model's classes. Its transform applies, to judge and again to show: a random one
            would show something else than was judged.
        against: another model with the same classes, to compare with.
        batch_size: pictures at a time.
        boundaries: also judge the outlines (boundary IoU); a few milliseconds for each class of each picture.

    Returns:
        An `Inspector`; the last expression of a cell shows it.

    Raises:
        SegnbError: other classes or another number of channels than a model's, or what is given as a model is none.
        KeyboardInterrupt: interrupted before the first pictures were judged.

    Example:
        >>> inspector = segnb.inspect(model, valid)
        >>> inspector.order("iou", "car").worst(5)
        >>> inspector.explain("gradcam", "c5")
    """
    models = [_own(one, data) for one in (model, against) if one is not None]
    tallies = [Tally(one, boundaries) for one in models]
    note = _judge(tallies, data, batch_size)
    judged = min(len(tally.cells) for tally in tallies)
    scores = [tally.scores(judged) for tally in tallies]
    if against is not None:
        scores[0]["gain"] = scores[0]["miou"] - scores[1]["miou"]
    findings = Findings(
        tallies[0].cells.first(judged),
        scores[0],
        names=data.names[:judged],
        label_names=data.label_names,
        palette=data.palette,
        note=note,
    )
    return Inspector(ModelPictures(models, data), findings)


def _own(model: nn.Module, data: SegmentationDataset) -> nn.Module:
    """Copy a model that fits the data; an optimised one cannot change any more and is taken as it is."""
    if not hasattr(model, "label_names"):
        raise SegnbError(
            f"inspect() was given a {type(model).__name__}; it takes a model of segnb.create_model or segnb.load_model."
        )
    if model.multilabel:
        raise SegnbError(
            "inspect() shows one label for each pixel, and the classes of this model may overlap (multilabel=True): "
            "segnb.evaluate(model, data) scores them, segnb.explore(segnb.predict(model, data)) shows them."
        )
    check_fits(model, data)
    return model if model.inference_only else copy.deepcopy(model).requires_grad_(False).eval()


def _judge(tallies: list[Tally], data: SegmentationDataset, batch_size: int) -> str:
    """Show all pictures to all models; say how far that came if it was interrupted."""
    from tqdm.auto import tqdm

    pairs = (data[index] for index in range(len(data)))
    try:
        with tqdm(total=len(data), desc="Judging", unit="picture", leave=False) as bar:
            for images, labels in same_size_batches(pairs, batch_size):
                for tally in tallies:
                    tally.add(torch.stack(images), torch.stack(labels))
                bar.update(len(images))
    except KeyboardInterrupt:
        judged = min(len(tally.cells) for tally in tallies)
        if not judged:
            raise
        return f"Interrupted: the first {judged} of {len(data)} pictures"
    return ""


class Tally:
    """What is kept of one model's predictions: counts, never maps.

    Args:
        model: in eval mode.
        boundaries: whether to judge the outlines.
    """

    def __init__(self, model: nn.Module, boundaries: bool = False) -> None:
        self.model = model
        self.cells = CellCounts(len(model.label_names))
        self.losses: list[float] = []
        self.outlines: list[np.ndarray] | None = [] if boundaries else None

    def add(self, images: Tensor, labels: Tensor) -> None:
        """Judge pictures of one size.

        Args:
            images: (B, C, H, W) uint8.
            labels: (B, H, W) integers, 255 ignored.
        """
        n_labels = self.cells.n_labels
        with evaluating(self.model) as device:
            labels = labels.to(device)
            logits = self.model(images.to(device)).float()
            predicted = self.model.labels(logits)
            found = confusion_matrices(predicted, labels, n_labels).cpu().numpy()
            pairs = zip(logits.split(1), labels.split(1), strict=True)
            self.losses += [cross_entropy(*pair).item() for pair in pairs]
        if self.outlines is not None:
            maps = zip(predicted.cpu().numpy(), labels.cpu().numpy(), strict=True)
            self.outlines += [boundary_scores(guess, truth, n_labels)[0] for guess, truth in maps]
        self.cells.add(found)  # last: an interrupted picture is not counted

    def scores(self, judged: int) -> dict[str, np.ndarray]:
        """Score the pictures.

        Args:
            judged: how many of them, from the first.

        Returns:
            float64 (N,) or, of each label, (N, L), by name: miou, iou, dice, accuracy (0 to 1), loss (cross-entropy), and
            boundary_iou (0 to 1) if outlines were judged; NaN where nothing counts or the label is absent.
        """
        counts = torch.from_numpy(self.cells.first(judged).counts())
        found = {name: get_score(name)(counts).numpy() for name in SCORES}
        found["loss"] = np.where(np.isnan(found["accuracy"]), np.nan, self.losses[:judged])
        if self.outlines is not None:
            found["boundary_iou"] = np.array(self.outlines[:judged])
        return found


class ModelPictures:
    """What the inspector shows of one picture, computed when it is looked at; the last picture's probabilities are kept.

    Args:
        models: one or two, in eval mode.
        data: the pictures.
    """

    def __init__(self, models: list[nn.Module], data: SegmentationDataset) -> None:
        self.model, *others = models
        self.against = others[0] if others else None
        self.data = data
        self.compared = bool(others)
        self.stages = {} if self.model.inference_only else stages(self.model)
        self._lock = threading.RLock()  # clicks are answered on another thread than cells
        self._kept: dict[str, Any] = {"index": None}

    def picture(self, index: int) -> dict[str, np.ndarray | None]:
        """Predict one picture.

        Args:
            index: in the data.

        Returns:
            image (H, W, C), labels, prediction and other (the second model's prediction, or None), each (H, W), all uint8.
        """
        with self._lock:
            image, labels = self.data[index]
            pixels = image.permute(1, 2, 0).contiguous().numpy()
            found = predict(self.model, pixels)
            other = None if self.against is None else predict(self.against, pixels, probabilities=False).labels
            self._kept = {"index": index, "image": image, "probabilities": found.probabilities}
            truth = labels.numpy().astype(np.uint8)
            return {"image": pixels, "labels": truth, "prediction": found.labels, "other": other}

    def probability(self, index: int, label: int) -> np.ndarray:
        """Read the probability of a label.

        Args:
            index: in the data.
            label: which one.

        Returns:
            float32 (H, W), 0 to 1.
        """
        with self._lock:
            return class_probability(self._keep(index)["probabilities"], label)

    def explanation(
        self,
        kind: str,
        index: int,
        *,
        label: int | None,
        stage: str,
        channel: int | None,
        progress: Callable[[float], None],
    ) -> tuple[np.ndarray, str]:
        """Compute a map that explains a prediction.

        Args:
            kind: "entropy", "variance", "gradcam" or "features".
            index: in the data.
            label: of the class to explain; None for all.
            stage: whose feature map.
            channel: of the feature map; None for all.
            progress: told which share of the work is done.

        Returns:
            float32 (h, w), and a few words on what it is.
        """
        with self._lock:
            kept = self._keep(index)
            image = kept["image"]
            if kind == "entropy":
                return entropy(kept["probabilities"]), "0 sure, 1 all classes alike"
            if kind == "variance":
                return view_variance(self.model, image, label, progress), f"{len(VIEWS)} mirrored and resized views"
            if kind == "gradcam":
                return grad_cam(self.model, image, label, stage), self.stages[stage]
            found, channels = feature_map(self.model, image, stage, channel)
            which = f"mean of {channels} channels" if channel is None else f"channel {channel} of {channels}"
            return found, f"{self.stages[stage]}, {which}"

    def _keep(self, index: int) -> dict[str, Any]:
        if self._kept["index"] != index:
            self.picture(index)
        return self._kept
