"""One label map: it shows itself, and is saved in the formats that others read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segnb.draw import IGNORE, as_rgb, overlay
from segnb.errors import SegnbError
from segnb.files import write_atomically
from segnb.prediction.coco import save_coco
from segnb.prediction.planes import write_labels, write_planes

Bundle = tuple[dict[str, Any], dict[str, Any]]


@dataclass(eq=False)
class Prediction:
    """A picture and what the model sees in it; shows the mask viewer in a notebook.

    Attributes:
        image: uint8 (H, W, C), the pixels the model was given.
        labels: uint8 (H, W), the label of each pixel: the most likely one, or by the threshold of a binary model. Of a
            multi-label model (K, H, W), 1 where a pixel has the class, by the threshold.
        confidence: float16, the probability of that label (or that answer), 0 to 1, in the shape of the labels; None if they were
            read back from a file.
        probabilities: float16 (K, H, W), 0 to 1; None when many pictures were predicted, K maps of each would fill the memory.
        name: the file's stem or a number.
        truth: uint8 in the shape of the labels, 255 where ignored; None unless the source was a data set.
        label_names: name of each label; a binary model has two.
        palette: uint8 (labels, 3) colour of each label.
        file_name: of the picture, with its suffix; None if it was no file.
    """

    image: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray | None
    probabilities: np.ndarray | None
    name: str
    truth: np.ndarray | None
    label_names: list[str]
    palette: np.ndarray
    file_name: str | None = None

    @property
    def multilabel(self) -> bool:
        """Whether the labels are a plane for each class."""
        return self.labels.ndim == 3

    def overlay(self, opacity: float = 0.5) -> np.ndarray:
        """Paint the labels over the picture; classes that overlap are painted one over the other, and their colours mix.

        Args:
            opacity: 0 shows the picture alone, 1 the colours alone.

        Returns:
            RGB uint8 (H, W, 3).
        """
        if not self.multilabel:
            return overlay(self.image, self.labels, self.palette, opacity)
        painted = as_rgb(self.image).copy()
        for plane, colour in zip(self.labels, self.palette, strict=True):
            painted = overlay(painted, np.where(plane == 1, 0, IGNORE), colour[None], opacity)
        return painted

    def save(self, path: str | Path) -> Path:
        """Write the label map as a PNG whose pixel values are the labels and whose colours are the palette.

        Of a multi-label prediction each class has a PNG of 0 and 1 in a folder of its own: ``masks/photo.png`` becomes
        ``masks/cell/photo.png`` and ``masks/nucleus/photo.png``, as `SegmentationDataset.from_folder` reads them.

        Args:
            path: where, ending in ``.png``; a file already there is replaced.

        Returns:
            The path given.

        Raises:
            SegnbError: another suffix, which would change the labels or store colours only; or the name of a class cannot be
                that of a folder.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise SegnbError(
                f"a label map is saved as PNG, because other formats change labels; {path.name!r} does not end in .png."
            )
        if self.multilabel:
            write_planes(self.labels, self.palette, path, self.label_names)
        else:
            write_labels(self.labels, self.palette, path)
        return path

    def save_overlay(self, path: str | Path, opacity: float = 0.5) -> Path:
        """Write the picture with the labels painted over it, for people to look at.

        Args:
            path: where, ending in ``.png``, ``.jpg`` or ``.jpeg``; a file already there is replaced.
            opacity: see `overlay`.

        Returns:
            The path written.

        Raises:
            SegnbError: another suffix.
        """
        path = Path(path)
        if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            raise SegnbError(f"an overlay is saved as PNG or JPEG; {path.name!r} ends in neither .png nor .jpg.")
        picture = Image.fromarray(self.overlay(opacity))
        return write_atomically(path, lambda temporary: picture.save(temporary, quality=90))

    def save_probabilities(self, path: str | Path) -> Path:
        """Write the probabilities, to be read with ``numpy.load(path)["probabilities"]``.

        Args:
            path: where, ending in ``.npz``; a file already there is replaced.

        Returns:
            The path written: compressed arrays ``probabilities`` float16 (K, H, W) and ``label_names``.

        Raises:
            SegnbError: another suffix, or the probabilities were not kept.
        """
        path = Path(path)
        if path.suffix.lower() != ".npz":
            raise SegnbError(f"probabilities are saved for NumPy; {path.name!r} does not end in .npz.")
        if self.probabilities is None:
            raise SegnbError("the probabilities were not kept: predict with probabilities=True.")
        arrays = {"probabilities": self.probabilities, "label_names": np.array(self.label_names)}
        return write_atomically(path, lambda temporary: np.savez_compressed(temporary, **arrays))

    def save_coco(self, path: str | Path, *, components: bool = False) -> Path:
        """Write the label map as COCO annotations, see `Predictions.save_coco`.

        Args:
            path: where, ending in ``.json``; a file already there is replaced.
            components: one annotation for each connected piece instead of one for each class.

        Returns:
            The path written.

        Raises:
            SegnbError: another suffix, or pycocotools is missing.
        """
        return save_coco([self], self.label_names, path, components)

    def __repr__(self) -> str:
        height, width = self.labels.shape[-2:]
        there = np.flatnonzero(self.labels.any(axis=(1, 2))) if self.multilabel else np.unique(self.labels)
        found = ", ".join(self.label_names[label] for label in there) or "nothing"
        return f"Prediction({self.name!r}, {height}×{width}, found: {found})"

    def _repr_mimebundle_(self, **kwargs: Any) -> Bundle | None:
        return viewer([self], **kwargs)


def viewer(predictions: Sequence[Prediction], **kwargs: Any) -> Bundle | None:
    """Describe the mask viewer to a notebook.

    Args:
        predictions: of one model; read when they are looked at.
        **kwargs: what IPython asks for.

    Returns:
        Data and metadata; None where there is no kernel, so that the ``repr`` is shown.
    """
    from IPython import get_ipython

    if not hasattr(get_ipython(), "kernel") or len(predictions) == 0:
        return None
    from segnb.widgets import explore

    return explore(predictions)._repr_mimebundle_(**kwargs)
