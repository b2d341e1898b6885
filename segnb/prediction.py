"""From a picture, however it is given, to a label map that can be looked at and saved.

array, PIL image, path, folder, list, data set ─▶ (image, name, truth) ─▶ same-size batches ─▶ model ─▶ Prediction
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from segnb.data.datasets import SegmentationDataset
from segnb.data.reading import SUFFIXES
from segnb.draw import contact_sheet, overlay
from segnb.errors import SegnbError
from segnb.evaluation import check_fits, evaluating, same_size_batches
from segnb.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Source = np.ndarray | Image.Image | str | Path | SegmentationDataset | Sequence[Any]
Bundle = tuple[dict[str, Any], dict[str, Any]]
PIL_MODES = {1: "L", 3: "RGB"}


@dataclass(eq=False)
class Prediction:
    """A picture and what the model sees in it; shows the mask viewer in a notebook.

    Attributes:
        image: uint8 (H, W, C), the pixels the model was given.
        labels: uint8 (H, W), the most likely label of each pixel.
        confidence: float16 (H, W), the probability of that label, 0 to 1.
        probabilities: float16 (K, H, W), 0 to 1; None when many pictures were predicted, K maps of each would fill the memory.
        name: the file's stem or a number.
        truth: uint8 (H, W), 255 where ignored; None unless the source was a data set.
        label_names: name of each label; a binary model has two.
        palette: uint8 (labels, 3) colour of each label.
    """

    image: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray
    probabilities: np.ndarray | None
    name: str
    truth: np.ndarray | None
    label_names: list[str]
    palette: np.ndarray

    def overlay(self, opacity: float = 0.5) -> np.ndarray:
        """Paint the labels over the picture.

        Args:
            opacity: 0 shows the picture alone, 1 the colours alone.

        Returns:
            RGB uint8 (H, W, 3).
        """
        return overlay(self.image, self.labels, self.palette, opacity)

    def save(self, path: str | Path) -> Path:
        """Write the label map as a PNG whose pixel values are the labels and whose colours are the palette.

        Args:
            path: where, ending in ``.png``; a file already there is replaced.

        Returns:
            The path written.

        Raises:
            SegnbError: another suffix, which would change the labels or store colours only.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise SegnbError(
                f"a label map is saved as PNG, because other formats change labels; {path.name!r} does not end in .png."
            )
        picture = Image.fromarray(self.labels).convert("L")
        picture.putpalette(self.palette.tobytes())
        return write_atomically(path, lambda temporary: picture.save(temporary, format="PNG"))

    def __repr__(self) -> str:
        height, width = self.labels.shape
        found = ", ".join(self.label_names[label] for label in np.unique(self.labels))
        return f"Prediction({self.name!r}, {height}×{width}, found: {found})"

    def _repr_mimebundle_(self, **kwargs: Any) -> Bundle | None:
        return _viewer(self, **kwargs)


class Predictions(list[Prediction]):
    """Predictions of many pictures: a list that shows the mask viewer in a notebook."""

    def save(self, folder: str | Path) -> Path:
        """Write every label map as ``folder/<name>.png``; see `Prediction.save`.

        Args:
            folder: where; made if it is missing.

        Returns:
            The folder.

        Raises:
            SegnbError: two pictures have the same name, one would replace the other.
        """
        names = [prediction.name for prediction in self]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise SegnbError(f"two pictures are called {twice!r}; save them one by one with prediction.save(path).")
        for prediction in self:
            prediction.save(Path(folder) / f"{prediction.name}.png")
        return Path(folder)

    def plot(self, n: int = 8) -> Figure:
        """Draw the first pictures beside truth and prediction.

        Args:
            n: how many at most.

        Returns:
            A matplotlib figure.
        """
        rows = [(one.image, one.labels if one.truth is None else one.truth, one.labels, one.name) for one in self[:n]]
        return contact_sheet(rows, self[0].palette, self[0].label_names)

    def _repr_mimebundle_(self, **kwargs: Any) -> Bundle | None:
        return _viewer(self, **kwargs)


def _viewer(predictions: Prediction | Predictions, **kwargs: Any) -> Bundle | None:
    """Describe the mask viewer to a notebook; None where there is no kernel, so that the ``repr`` is shown."""
    from IPython import get_ipython

    if not hasattr(get_ipython(), "kernel") or predictions == []:
        return None
    from segnb.widgets import explore

    return explore(predictions)._repr_mimebundle_(**kwargs)


class _Picture(NamedTuple):
    """One thing to predict: image uint8 (C, H, W), and labels (H, W) if they are known."""

    image: Tensor
    name: str
    truth: Tensor | None = None


def predict(model: nn.Module, source: Source, *, batch_size: int = 8) -> Prediction | Predictions:
    """Label every pixel of one or many pictures.

    Files and PIL images are converted to the model's one or three channels, with the camera's rotation applied. Arrays must fit
    as they are. Pictures of a data set pass through its transform, and come with the truth of the same size.

    Args:
        model: a segmentation model, on any device.
        source: uint8 array (H, W) or (H, W, C), PIL image, path of a picture, folder (its pictures, sorted by name; unreadable
            ones are skipped with a warning), data set, or a list of arrays, PIL images and paths.
        batch_size: pictures at a time; only pictures of the same size share a batch.

    Returns:
        One `Prediction` for one picture, a list of them (`Predictions`) otherwise.

    Raises:
        SegnbError: no such path, an empty folder, an unreadable file, wrong dtype or number of channels.

    Example:
        >>> segnb.predict(model, "photo.jpg").save("photo-labels.png")
    """
    pictures, single = _pictures(source, model)
    # A data set knows its names and colours best: a model made with classes=3 only has numbers.
    drawn_as = source if isinstance(source, SegmentationDataset) else model
    predictions = Predictions()
    with evaluating(model) as device:
        for images, names, truths in same_size_batches(pictures, batch_size):
            logits = model(torch.stack(images).to(device))
            labels = model.labels(logits).cpu().numpy()
            probabilities = model.probabilities(logits.float())
            likely = probabilities.amax(dim=1)
            if model.num_classes == 1:
                likely = torch.maximum(likely, 1 - likely)  # the background's probability, where that was chosen
            confidence = likely.half().cpu().numpy()
            for i, (image, name, truth) in enumerate(zip(images, names, truths, strict=True)):
                predictions.append(
                    Prediction(
                        image=image.permute(1, 2, 0).contiguous().numpy(),
                        labels=labels[i],
                        confidence=confidence[i],
                        probabilities=probabilities[i].half().cpu().numpy() if single else None,
                        name=name,
                        truth=None if truth is None else truth.to(torch.uint8).numpy(),
                        label_names=list(drawn_as.label_names),
                        palette=drawn_as.palette,
                    )
                )
    return predictions[0] if single else predictions


def _pictures(source: Source, model: nn.Module) -> tuple[Iterator[_Picture], bool]:
    """Understand what was given.

    Returns:
        The pictures, read one by one when they are needed, and whether there is exactly one by nature.
    """
    channels = model.in_channels
    if isinstance(source, SegmentationDataset):
        check_fits(model, source)
        items = (source[index] for index in range(len(source)))
        return (_Picture(image, name, truth) for (image, truth), name in zip(items, source.names, strict=True)), False
    if isinstance(source, (str, Path)) and Path(source).is_dir():
        return _folder(Path(source), channels), False
    if isinstance(source, (list, tuple)):
        if not source:
            raise SegnbError("the list of pictures is empty; give at least one array, PIL image or path.")
        return (_picture(one, channels, f"{index:03d}") for index, one in enumerate(source)), False
    return iter([_picture(source, channels, "image")]), True


def _folder(folder: Path, channels: int) -> Iterator[_Picture]:
    """Find the pictures of a folder; the check happens now, the reading later."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
    if not paths:
        raise SegnbError(f"the folder {str(folder)!r} has no pictures; expected files ending in {', '.join(SUFFIXES)}.")

    def read() -> Iterator[_Picture]:
        found = 0
        for path in paths:
            try:
                picture = _picture(path, channels, "")
            except SegnbError as error:
                warnings.warn(f"skipped: {error}", stacklevel=2)
                continue
            found += 1
            yield picture
        if not found:
            raise SegnbError(
                f"none of the {len(paths)} pictures in {str(folder)!r} can be read; the warnings name each."
            )

    return read()


def _picture(source: object, channels: int, name: str) -> _Picture:
    """Turn one array, PIL image or path into pixels with the model's number of channels."""
    if isinstance(source, (str, Path)):
        source, name = _read(Path(source)), Path(source).stem
    if isinstance(source, Image.Image):
        source = _convert(source, channels, name)
    if not isinstance(source, np.ndarray):
        raise SegnbError(
            f"predict() was given a {type(source).__name__}; it takes a uint8 array (H, W) or (H, W, C), a PIL image, "
            "a path, a folder, a list of those, or a SegmentationDataset."
        )
    return _Picture(_pixels(source, channels), name)


def _read(path: Path) -> Image.Image:
    """Decode a file completely; pixels of more than 8 bits are refused, because PIL would clip or halve them."""
    if not path.exists():
        raise SegnbError(f"there is no file or folder {str(path)!r}; the current folder is {str(Path.cwd())!r}.")
    try:
        with Image.open(path) as picture:
            deep = ";16" in str(picture.tile)  # 16-bit colours, which lose this mark when decoded
            picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what PIL raises for bad files
        raise SegnbError(
            f"{str(path)!r} cannot be read as a picture ({error}); open it in a viewer, or save it again as PNG."
        ) from error
    if deep:
        raise SegnbError(_too_deep(path.name))
    return picture


def _too_deep(name: str) -> str:
    return f"the picture {name!r} has more than 8 bits a channel; scale it to 0..255 and pass it as a uint8 array."


def _convert(picture: Image.Image, channels: int, name: str) -> np.ndarray:
    """Apply the camera's rotation and convert to the model's number of channels."""
    if picture.mode[0] in "IF":
        raise SegnbError(_too_deep(name))
    upright = ImageOps.exif_transpose(picture)
    return np.array(upright.convert(PIL_MODES[channels]) if channels in PIL_MODES else upright)


def _pixels(array: np.ndarray, channels: int) -> Tensor:
    """Check an array (H, W) or (H, W, C) and turn it into a tensor (C, H, W)."""
    if array.dtype != np.uint8:
        raise SegnbError(
            f"the image is a {array.dtype} array; predict() takes uint8 pixels 0..255: multiply by 255 if it runs from 0 to 1, "
            "then .astype('uint8')."
        )
    image = array[:, :, None] if array.ndim == 2 else array
    if image.ndim != 3 or image.size == 0:
        raise SegnbError(
            f"the image has shape {array.shape}; expected (H, W) or (H, W, C). Pass several pictures as a list."
        )
    if image.shape[2] != channels:
        hint = " It looks channels-first: use array.transpose(1, 2, 0)." if image.shape[0] == channels else ""
        raise SegnbError(
            f"the image has {image.shape[2]} channels (shape {array.shape}) and the model reads {channels}; "
            f"pass an array (H, W, {channels}), or a PIL image or path, which are converted.{hint}"
        )
    return torch.from_numpy(np.array(image.transpose(2, 0, 1)))  # a copy: the caller may change its array
