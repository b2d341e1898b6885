"""Label maps of many pictures, in memory or in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from segnb.draw import contact_sheet
from segnb.errors import SegnbError
from segnb.prediction.coco import save_coco
from segnb.prediction.planes import flattened, read_labels
from segnb.prediction.results import Bundle, Prediction, viewer
from segnb.prediction.sources import Pictures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class _Many:
    """What predictions of many pictures can do, in memory or on disk."""

    def plot(self, n: int = 8) -> Figure:
        """Draw the first pictures beside truth and prediction; of classes that overlap the smaller one lies on top.

        Args:
            n: how many at most.

        Returns:
            A matplotlib figure.
        """
        rows = []
        for one in self[:n]:
            labels, truth = flattened(one.labels), flattened(one.truth)
            rows.append((one.image, labels if truth is None else truth, labels, one.name))
        return contact_sheet(rows, self[0].palette, self[0].label_names)

    def save_coco(self, path: str | Path, *, components: bool = False) -> Path:
        """Write the label maps as one COCO file of run lengths, with an area and a bounding box each.

        A category's id is its label; a label called "background" is left out. Needs pycocotools.

        Args:
            path: where, ending in ``.json``; a file already there is replaced.
            components: one annotation for each connected piece (neighbours by edge or corner) instead of one for each class.

        Returns:
            The path written.

        Raises:
            SegnbError: another suffix, or pycocotools is missing.
        """
        return save_coco(self, self[0].label_names, path, components)

    def _repr_mimebundle_(self, **kwargs: Any) -> Bundle | None:
        return viewer(self, **kwargs)


class Predictions(_Many, list[Prediction]):
    """Predictions of many pictures: a list that shows the mask viewer in a notebook."""

    def save(self, folder: str | Path) -> Path:
        """Write every label map as ``folder/<name>.png``, multi-label ``folder/<class>/<name>.png``; see `Prediction.save`.

        Args:
            folder: where; made if it is missing.

        Returns:
            The folder.

        Raises:
            SegnbError: two pictures have the same name, one would replace the other, or a name cannot be a file's.
        """
        for prediction, path in zip(self, mask_paths(folder, [one.name for one in self]), strict=True):
            prediction.save(path)
        return Path(folder)


class SavedPredictions(_Many, Sequence[Prediction]):
    """Predictions written to a folder: a sequence that reads picture and mask when one is looked at.

    A data set's pictures pass through its transform again, which must not be random then.

    Args:
        paths: the masks of all pictures; those in ``indices`` were written.
        pictures: where the pictures come from.
        indices: which pictures were predicted.
        label_names: see `Prediction`.
        palette: see `Prediction`.
        multilabel: whether each class has a file of its own.
    """

    def __init__(
        self,
        paths: list[Path],
        pictures: Pictures,
        indices: list[int],
        label_names: list[str],
        palette: np.ndarray,
        *,
        multilabel: bool,
    ) -> None:
        self._paths, self._pictures, self._indices = paths, pictures, indices
        self._label_names, self._palette, self._multilabel = label_names, palette, multilabel

    @property
    def paths(self) -> list[Path]:
        """The mask written for each picture; multi-label, in the folder of each class beside it."""
        return [self._paths[index] for index in self._indices]

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...

    @overload
    def __getitem__(self, index: slice) -> Predictions: ...

    def __getitem__(self, index: int | slice) -> Prediction | Predictions:
        if isinstance(index, slice):
            return Predictions(self[place] for place in range(len(self))[index])
        place = self._indices[index]
        picture = self._pictures.read(place)
        return Prediction(
            image=picture.image.permute(1, 2, 0).contiguous().numpy(),
            labels=read_labels(self._paths[place], self._label_names if self._multilabel else None),
            confidence=None,
            probabilities=None,
            name=picture.name,
            truth=None if picture.truth is None else picture.truth.numpy().astype(np.uint8),
            label_names=self._label_names,
            palette=self._palette,
            file_name=picture.file_name,
        )

    def __repr__(self) -> str:
        return f"SavedPredictions({len(self)} masks in {str(self._paths[0].parent)!r})"


def mask_paths(folder: str | Path, names: Sequence[str]) -> list[Path]:
    """Name the file of each mask in a folder.

    Args:
        folder: where.
        names: of the pictures.

    Returns:
        ``folder/<name>.png`` for each.

    Raises:
        SegnbError: two have the same name, or a name would lead out of the folder.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise SegnbError(f"two pictures are called {name!r}; save them one by one with prediction.save(path).")
        if name in ("", ".", "..") or set(name) & {"/", "\\", "\0"}:
            raise SegnbError(
                f"a picture is called {name!r}, which cannot be a file's name: save it with prediction.save(path)."
            )
        seen.add(name)
    return [Path(folder) / f"{name}.png" for name in names]
