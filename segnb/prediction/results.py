"""One label map: it shows itself, and is saved in the formats that others read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segnb.draw import overlay
from segnb.errors import SegnbError
from segnb.files import write_atomically
from segnb.prediction.coco import save_coco

Bundle = tuple[dict[str, Any], dict[str, Any]]


@dataclass(eq=False)
class Prediction:
    """A picture and what the model sees in it; shows the mask viewer in a notebook.

    Attributes:
        image: uint8 (H, W, C), the pixels the model was given.
        labels: uint8 (H, W), the label of each pixel: the most likely one, or by the threshold of a binary model.
        confidence: float16 (H, W), the probability of that label, 0 to 1; None if the labels were read back from a file.
        probabilities: float16 (K, H, W), 0 to 1; None when many pictures were predicted, K maps of each would fill the memory.
        name: the file's stem or a number.
        truth: uint8 (H, W), 255 where ignored; None unless the source was a data set.
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
        height, width = self.labels.shape
        found = ", ".join(self.label_names[label] for label in np.unique(self.labels))
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
