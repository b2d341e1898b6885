"""`paint`: label pictures by hand or with a model, train on them, correct what it got wrong, and so on.

    pictures ─▶ paint ─▶ masks in a folder ─▶ painter.dataset() ─▶ fit ─▶ model
                  ▲                                                         │
                  └── order_by_uncertainty(model), use_prediction() ◀───────┘

To label first what a model is least sure of is uncertainty sampling; here a picture's uncertainty is the mean entropy of
its pixels. Source: Settles, "Active Learning Literature Survey", 2009, section 3.1, http://digital.library.wisc.edu/1793/60660.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from segnb.data.reading import SUFFIXES
from segnb.data.sources import Source
from segnb.data.wording import listed
from segnb.errors import SegnbError
from segnb.widgets.painter.painter import Painter
from segnb.widgets.painter.queue import Opened

if TYPE_CHECKING:
    from segnb.data.datasets import SegmentationDataset
    from segnb.models import SegmentationModel

Given = np.ndarray | Image.Image | str | Path


def paint(
    images: Given | Sequence[Given] | SegmentationDataset,
    classes: Sequence[str] | None = None,
    *,
    model: SegmentationModel | None = None,
    masks: Given | Sequence[Given | None] | None = None,
    folder: str | Path | None = None,
    value_range: tuple[float, float] | None = None,
) -> Painter:
    """Paint masks: brush, eraser, polygon, fill, superpixels, and a model's prediction to correct.

    Pixels that no one labelled are 255 and ignored in training. With ``folder`` every mask is saved as ``<name>.png`` as
    soon as it changes, and the same call goes on where it was left, also after the kernel has ended.

    Args:
        images: one array (H, W) or (H, W, C), PIL image or path; a list of them; a folder (its pictures, sorted by name);
            or a `SegmentationDataset`, whose masks are then corrected.
        classes: names of the labels 0, 1, ..., as `SegmentationDataset` takes them: a single name means background and
            that class. By default those of the data set or of the model.
        model: labels pictures for "Use prediction"; its classes are matched by name. Needed for nothing else.
        masks: what is labelled already, given like ``images``; None in a list is a picture without a mask. In a folder
            masks are found by the names of the pictures.
        folder: where masks are saved; made if it is missing. None keeps them in memory only.
        value_range: see `SegmentationDataset`.

    Returns:
        A `Painter`; the last expression of a cell shows it. Nothing of torch is loaded until a model is used.

    Raises:
        SegnbError: there are no pictures or classes, or something does not fit; the message names it.

    Example:
        >>> painter = segnb.paint("photos", ["background", "cell"], folder="masks")
        >>> data = painter.dataset()
        >>> run = segnb.fit(model, data, data)
        >>> painter.order_by_uncertainty(model)  # the next pictures to paint
        >>> painter.use_prediction("unlabelled")
    """
    is_dataset = hasattr(images, "read") and hasattr(images, "label_names")
    names = palette = None
    if is_dataset:
        sources, given = _opened(images, masks, value_range)
        names = list(images.names)
    else:
        sources = _sources(images)
        given = _masks(masks, [source.stem if isinstance(source, Path) else None for source in sources])
    classes = _classes(classes, images, model)
    label_names = ["background", *classes] if len(classes) == 1 else list(classes)
    if is_dataset and len(label_names) == len(images.palette):
        palette = images.palette
    return Painter(
        sources,
        classes,
        names=names,
        masks=given,
        palette=palette,
        folder=folder,
        value_range=value_range,
        model=model,
        predict=partial(predicted_labels, label_names=label_names),
        uncertainty=mean_entropy,
    )


def predicted_labels(model: SegmentationModel, image: np.ndarray, *, label_names: Sequence[str]) -> np.ndarray:
    """Label a picture, in the numbers of another list of names.

    Args:
        model: a segmentation model.
        image: (H, W, C) uint8.
        label_names: what the labels to return are called.

    Returns:
        (H, W) uint8.

    Raises:
        SegnbError: the model has classes that are not in the list, or reads another number of channels.
    """
    from segnb.prediction import predict

    prediction = predict(_checked(model), _as_picture(image))
    theirs = list(prediction.label_names)
    unknown = [name for name in theirs if name not in label_names]
    if unknown and len(theirs) != len(label_names):
        raise SegnbError(
            f"The model has classes that are not painted ({listed(unknown)}); there are {listed(list(label_names))}: give "
            "a model with these names"
        )
    # As many labels under other names, as those of a model that was made with classes=3: their order counts.
    table = np.array(
        [place if unknown else list(label_names).index(name) for place, name in enumerate(theirs)], np.uint8
    )
    return table[prediction.labels]


def mean_entropy(model: SegmentationModel, image: np.ndarray) -> float:
    """Measure how unsure a model is of a picture.

    Args:
        model: a segmentation model.
        image: (H, W, C) uint8.

    Returns:
        The mean over the pixels: 0 where it is sure of one class, 1 where all are equally likely.

    Raises:
        SegnbError: the model reads another number of channels.
    """
    from segnb.prediction import predict
    from segnb.tools.explaining import entropy

    return float(entropy(predict(_checked(model), _as_picture(image), probabilities=True).probabilities).mean())


def _checked(model: Any) -> SegmentationModel:
    if not hasattr(model, "label_names") or not hasattr(model, "probabilities"):
        raise SegnbError(
            f"model is a {type(model).__name__}: give what segnb.create_model or segnb.load_model returned"
        )
    return model


def _as_picture(image: np.ndarray) -> Image.Image | np.ndarray:
    """Grey and RGB as PIL images, which `predict` converts to the model's one or three channels."""
    if image.shape[2] == 1:
        return Image.fromarray(image[:, :, 0])
    return Image.fromarray(image) if image.shape[2] == 3 else image


def _opened(data: SegmentationDataset, masks: Any, value_range: Any) -> tuple[list[Source], list[Source]]:
    """A data set -> its images and its masks, read when they are looked at."""
    if masks is not None or value_range is not None:
        raise SegnbError("masks and value_range belong to images that are no data set: a data set has its own")
    images, labels = ([Opened(data, index, part) for index in range(len(data))] for part in (0, 1))
    return images, labels


def _sources(images: Any) -> list[Source]:
    """One image, a folder or a list of images -> a source each."""
    if _is_folder(images):
        files = _pictures(images)
        if not files:
            raise SegnbError(
                f"The folder {str(images)!r} has no pictures: expected files ending in {', '.join(SUFFIXES)}"
            )
        return list(files)
    return [_source(image) for image in _several(images)]


def _source(image: Any) -> Any:
    if isinstance(image, Image.Image):
        upright = ImageOps.exif_transpose(image)
        return np.array(upright.convert("L" if upright.mode in ("1", "L", "LA") else "RGB"))
    return Path(image).expanduser() if isinstance(image, (str, Path)) else image


def _masks(masks: Any, stems: Sequence[str | None]) -> list[Source | None] | None:
    """Masks given like images -> a source or None for each image; those of a folder are found by the images' names."""
    if masks is None:
        return None
    if _is_folder(masks):
        files = {file.stem: file for file in _pictures(masks)}
        return [files.get(stem) for stem in stems]
    return [np.asarray(mask) if isinstance(mask, Image.Image) else mask for mask in _several(masks)]


def _several(given: Any) -> Sequence[Any]:
    return given if isinstance(given, Sequence) and not isinstance(given, str) else [given]


def _is_folder(given: Any) -> bool:
    return isinstance(given, (str, Path)) and Path(given).expanduser().is_dir()


def _pictures(folder: str | Path) -> list[Path]:
    files = sorted(Path(folder).expanduser().iterdir())
    return [file for file in files if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")]


def _classes(classes: Sequence[str] | None, images: Any, model: Any) -> Sequence[str]:
    """The classes given, or those of the data set, or of the model."""
    known = getattr(images, "label_names", None)
    if classes is None:
        classes = getattr(images, "classes", None) or getattr(model, "classes", None)
        if classes is None:
            raise SegnbError(
                'What should be painted? Give the names of the classes, such as classes=["background", "cell"]'
            )
    elif known is not None:
        names = ["background", *classes] if len(classes) == 1 else list(classes)
        if names[: len(known)] != list(known):
            raise SegnbError(
                f"The data set's labels are {listed(list(known))}, but classes={list(classes)}: give the same names in the "
                "same order, with new ones at the end, or leave them out"
            )
    return classes
