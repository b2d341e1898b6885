"""From a picture, however it is given, to a label map that can be looked at and saved.

array, PIL image, path, folder, list, data set ─▶ same-size batches ─▶ model ─▶ probabilities ─▶ labels ─┬─▶ Prediction
                                                                         strip by strip ┘                └─▶ out/<name>.png
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from segnb.data.datasets import SegmentationDataset
from segnb.errors import SegnbError
from segnb.evaluation import evaluating, same_size_batches
from segnb.prediction.inference import Inference
from segnb.prediction.many import Predictions, SavedPredictions, mask_paths
from segnb.prediction.planes import plane_paths
from segnb.prediction.results import Prediction
from segnb.prediction.sources import Picture, Pictures, Source, open_pictures
from segnb.prediction.thresholds import check_threshold


def predict(
    model: nn.Module,
    source: Source,
    *,
    batch_size: int = 8,
    window: int | tuple[int, int] | None = None,
    overlap: float = 0.25,
    scales: float | Sequence[float] = 1.0,
    flips: str | Sequence[str] = (),
    threshold: float | Sequence[float] | None = None,
    probabilities: bool | None = None,
    out: str | Path | None = None,
) -> Prediction | Predictions | SavedPredictions:
    """Label every pixel of one or many pictures.

    Files and PIL images are converted to the model's one or three channels, with the camera's rotation applied. Arrays must fit
    as they are. Pictures of a data set pass through its transform, and come with the truth of the same size. If the model was
    trained on data with a ``value_range``, it has the same attribute: files, and whatever else has more than 8 bits, are read by
    it; uint8 arrays are pixels already.

    Windows, scales and flips combine freely; probabilities are averaged, never labels. With a window and one scale, the memory
    holds the probabilities of one strip as high as the window; with several scales, those of the whole picture, on the CPU.

    Args:
        model: a segmentation model, on any device.
        source: array (H, W) or (H, W, C), PIL image, path of a picture, folder (its pictures, sorted by name; unreadable
            ones are skipped with a warning), data set, or a list of arrays, PIL images and paths.
        batch_size: pictures or windows at a time; only pictures of the same size share a batch.
        window: height and width in pixels, or one number for both, of a window that slides over pictures too large for the
            device, or much larger than those of the training; None takes the whole picture at once.
        overlap: least share of a window that its neighbours see again, from 0 to below 1.
        scales: factors by which the picture is resized, such as ``(0.75, 1.0, 1.25)``; windows keep their size in pixels.
        flips: ``"horizontal"`` (left and right exchanged), ``"vertical"``, or both, which makes four views.
        threshold: probability above which a pixel has the class of a binary model, or each class of a multi-label one, for which
            it may also be one number for each class; 0.5 by default.
        probabilities: keep them; by default for one picture only. With ``out`` they are written to ``<name>.npz``.
        out: folder for the label maps: each is written as ``<name>.png`` as soon as it is known, and not kept in memory; of a
            multi-label model as ``<class>/<name>.png``.

    Returns:
        One `Prediction` for one picture, a list of them (`Predictions`) otherwise; with ``out``, a sequence that reads them when
        they are looked at (`SavedPredictions`).

    Raises:
        SegnbError: no such path, an empty folder, an unreadable file, wrong dtype or number of channels, an option that does not
            fit, or ``out`` would replace the pictures. What came before an unreadable file has been written.

    Example:
        >>> segnb.predict(model, "photo.jpg").save("photo-labels.png")
        >>> segnb.predict(model, "aerial.tif", window=512, flips=("horizontal", "vertical"))
        >>> masks = segnb.predict(model, "photos", out="masks")
    """
    inference = Inference.from_options(batch_size, window, overlap, scales, flips)
    least = check_threshold(threshold, model)
    pictures = open_pictures(source, model)
    # A data set knows its names and colours best: a model made with classes=3 only has numbers.
    drawn_as = source if isinstance(source, SegmentationDataset) else model
    label_names, palette = list(drawn_as.label_names), drawn_as.palette
    paths = None if out is None else _check_out(Path(out), pictures, label_names if model.multilabel else None)
    keep = pictures.single if probabilities is None else probabilities
    found, written = Predictions(), []
    # Closed at once when a mask cannot be written: the model's modes come back then, not when the generator is collected.
    with closing(_label_maps(model, pictures, inference, least, keep)) as known:
        for index, picture, maps in known:
            prediction = _prediction(picture, maps, label_names, palette)
            if paths is not None:
                prediction.save(paths[index])
                written.append(index)
            if paths is not None and probabilities:
                prediction.save_probabilities(paths[index].with_suffix(".npz"))
            if paths is None or pictures.single:
                found.append(prediction)
    if pictures.single:
        return found[0]
    return (
        found
        if paths is None
        else SavedPredictions(paths, pictures, written, label_names, palette, multilabel=model.multilabel)
    )


class _Maps(NamedTuple):
    """Labels uint8 and their probability float16, both (H, W) or (K, H, W); that of every class (K, H, W) float16, or None."""

    labels: np.ndarray
    confidence: np.ndarray
    probabilities: np.ndarray | None


def _label_maps(
    model: nn.Module, pictures: Pictures, inference: Inference, threshold: Tensor, keep: bool
) -> Iterator[tuple[int, Picture, _Maps]]:
    """Predict all pictures, and yield each as soon as it is known, with its index."""
    from tqdm.auto import tqdm

    failures: list[Exception] = []
    # A window is for large pictures: then one of them is enough at a time.
    together = inference.batch_size if inference.window is None else 1
    with (
        evaluating(model) as device,
        tqdm(total=len(pictures.names), unit="picture", delay=1, leave=False, disable=pictures.single) as bar,
    ):
        for images, indices, batch in same_size_batches(_until_failure(pictures, failures), together):
            strips = inference.strips(model, torch.stack(images), device)
            decided = [_decide(strip, threshold, model.multilabel, keep) for strip in strips]
            maps = [np.concatenate(parts, axis=-2) for parts in zip(*decided, strict=True)]
            for index, picture, *one in zip(indices, batch, *maps, strict=True):
                yield index, picture, _Maps(*one, *[None] * (not keep))
            bar.update(indices[-1] + 1 - bar.n)
    if failures:
        raise failures[0]


def _until_failure(pictures: Pictures, failures: list[Exception]) -> Iterator[tuple[Any, ...]]:
    """End at a picture that cannot be read and remember why: the ones before it wait for their batch, and are predicted first."""
    try:
        yield from pictures.each()
    except Exception as error:  # whatever a data set's transform raises, too
        failures.append(error)


def _decide(probabilities: Tensor, threshold: Tensor, multilabel: bool, keep: bool) -> list[np.ndarray]:
    """(B, K, H, W) -> labels and confidence (B, H, W), or (B, K, H, W) if multi-label; and the probabilities if they are kept."""
    if multilabel or probabilities.shape[1] == 1:
        labels = probabilities > threshold.to(probabilities.device)[:, None, None]
        confidence = torch.where(labels, probabilities, 1 - probabilities)
        if not multilabel:
            labels, confidence = labels[:, 0], confidence[:, 0]
    else:
        confidence, labels = probabilities.max(dim=1)
    kept = [labels.to(torch.uint8), confidence.half()] + [probabilities.half()] * keep
    return [tensor.cpu().numpy() for tensor in kept]


def _prediction(picture: Picture, maps: _Maps, label_names: list[str], palette: np.ndarray) -> Prediction:
    return Prediction(
        image=picture.image.permute(1, 2, 0).contiguous().numpy(),
        labels=maps.labels,
        confidence=maps.confidence,
        probabilities=maps.probabilities,
        name=picture.name,
        truth=None if picture.truth is None else picture.truth.numpy().astype(np.uint8),
        label_names=label_names,
        palette=palette,
        file_name=picture.file_name,
    )


def _check_out(folder: Path, pictures: Pictures, classes: Sequence[str] | None) -> list[Path]:
    """Name the masks, each of which is one file or one for each class, and refuse to write one over a picture."""
    paths = mask_paths(folder, pictures.names)
    files = paths if classes is None else [file for path in paths for file in plane_paths(path, classes)]
    sources = {path.resolve() for path in pictures.files}
    replaced = next((path for path in files if path.resolve() in sources), None)
    if replaced is not None:
        raise SegnbError(f"the mask {str(replaced)!r} would replace the picture itself: give another folder as out.")
    if folder.exists() and not folder.is_dir():
        raise SegnbError(f"out={str(folder)!r} is a file: give a folder; it is made if it is missing.")
    return paths
