"""The pictures that wait to be painted: images are read when they are looked at, masks are kept with their history.

source ── read ──▶ image (H, W, C) uint8
folder/a.png, else the given mask, else nothing (255) ──▶ PaintedMask ── autosave ──▶ folder/a.png
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segnb import draw
from segnb.data.arguments import check_classes, check_palette, check_sources, check_value_range
from segnb.data.reading import name_of, read_image, read_mask, title_of
from segnb.data.sources import LazySource, Source
from segnb.data.wording import counted
from segnb.errors import SegnbError
from segnb.widgets.painter.mask_folder import MaskFolder
from segnb.widgets.painter.painted import PaintedMask
from segnb.widgets.painter.superpixels import superpixels
from segnb.widgets.pictures import checked_labels

if TYPE_CHECKING:
    from segnb.data.datasets import SegmentationDataset

LARGEST = 2**25  # pixels of a picture: a page holds its labels and draws them


class PaintQueue:
    """Pictures with masks that change.

    Args:
        images: a file, an array or a `LazySource` each.
        classes: names as a `SegmentationDataset` takes them; a single one means background and that class.
        names: of the pictures; by default the stems of their files, or their numbers.
        masks: what is labelled already, a source or None each.
        palette: (labels, 3) uint8; by default `draw.palette`.
        folder: where masks are saved, or None.
        value_range: see `SegmentationDataset`.

    Attributes:
        names: of the pictures.
        classes: as given.
        label_names: of the labels.
        palette: (labels, 3) uint8.
        folder: a `MaskFolder`, or None.
        value_range: as given.
        finished: indices of the pictures marked as done.

    Raises:
        SegnbError: there are no images, or an argument does not fit.
    """

    def __init__(
        self,
        images: Sequence[Source],
        classes: Sequence[str],
        *,
        names: Sequence[str] | None,
        masks: Sequence[Source | None] | None,
        palette: np.ndarray | None,
        folder: str | Path | None,
        value_range: tuple[float, float] | None,
    ) -> None:
        self._sources, self.classes = check_sources(images, "image"), check_classes(classes)
        if not self._sources:
            raise SegnbError("There are no pictures to paint: give at least one")
        self.label_names = ["background", *self.classes] if len(self.classes) == 1 else self.classes
        self.palette = check_palette(
            draw.palette(len(self.label_names)) if palette is None else palette, self.label_names
        )
        self.names = [name_of(source, i) for i, source in enumerate(self._sources)] if names is None else list(names)
        self._given = [None] * len(self._sources) if masks is None else list(masks)
        if not len(self.names) == len(self._given) == len(self._sources):
            raise SegnbError(
                f"{counted(len(self._sources), 'image')}, {counted(len(self.names), 'name')} and "
                f"{counted(len(self._given), 'mask')}: give as many of each (None for an image without a mask)"
            )
        self.value_range = check_value_range(value_range)
        self._masks: dict[int, PaintedMask] = {}
        self._image: tuple[int, np.ndarray] | None = None
        self._superpixels: tuple[tuple[int, int], np.ndarray] | None = None
        about = {"names": self.names, "sources": self._sources, "classes": self.classes, "palette": self.palette}
        self.folder = None if folder is None else MaskFolder(folder, **about, value_range=self.value_range)
        done = set(self.folder.done) if self.folder else set()
        self.finished = {index for index, name in enumerate(self.names) if name in done}

    def __len__(self) -> int:
        return len(self._sources)

    def image(self, index: int) -> np.ndarray:
        """Read an image; the last one is kept.

        Args:
            index: which.

        Returns:
            (H, W, C) uint8.

        Raises:
            SegnbError: it cannot be read, or is too large to be painted in a page.
        """
        if self._image is None or self._image[0] != index:
            source = self._sources[index]
            image = read_image(source, title_of(source, "image", index), self.value_range)
            height, width = image.shape[:2]
            if height * width > LARGEST:
                raise SegnbError(
                    f"{self.names[index]!r} has {width} × {height} pixels, a page paints up to {LARGEST // 10**6} million: "
                    "cut it into tiles first"
                )
            self._image = index, image
        return self._image[1]

    def mask(self, index: int) -> PaintedMask:
        """Find a mask; the first time it is read from the folder, or from what was given, or is unlabelled.

        Args:
            index: which.

        Returns:
            The mask itself, not a copy.

        Raises:
            SegnbError: the saved or given mask does not fit its image or the classes.
        """
        if index not in self._masks:
            image, name = self.image(index), self.names[index]
            stored = self.folder.read(index, image) if self.folder else None
            if stored is None and self._given[index] is not None:
                given = self._given[index]
                stored = read_mask(given, title_of(given, "mask", index), colours=False)
            if stored is None:
                stored = np.full(image.shape[:2], draw.IGNORE, np.uint8)
            labels = checked_labels(stored, image, name, "mask", len(self.label_names))
            self._masks[index] = PaintedMask(labels.copy())
        return self._masks[index]

    def superpixels(self, index: int, across: int) -> np.ndarray:
        """Cut an image into superpixels; the last result is kept.

        Args:
            index: which.
            across: see `segnb.widgets.painter.superpixels`.

        Returns:
            (H, W) uint16.
        """
        if self._superpixels is None or self._superpixels[0] != (index, across):
            self._superpixels = (index, across), superpixels(draw.as_rgb(self.image(index)), across)
        return self._superpixels[1]

    def save(self, index: int) -> Path | None:
        """Write a mask to the folder, if there is one; returns the file."""
        if self.folder is None:
            return None
        return self.folder.write(index, self.mask(index).labels, self._done_names())

    def finish(self, index: int, done: bool) -> None:
        """Mark a picture as done, or as not done; the mark is saved with its mask.

        Args:
            index: which.
            done: whether it is.
        """
        (self.finished.add if done else self.finished.discard)(index)
        if self.folder is not None:
            self.save(index)
            self.folder.write_about(self._done_names())

    def painted(self) -> list[int]:
        """List the pictures that have a label somewhere, as far as is known without reading masks that no one looked at."""
        found = []
        for index in range(len(self)):
            if index in self._masks:
                labelled = bool((self._masks[index].labels != draw.IGNORE).any())
            else:
                labelled = self._saved_with_labels(index) if self._is_saved(index) else self._given[index] is not None
            if labelled:
                found.append(index)
        return found

    def dataset(self) -> SegmentationDataset:
        """Make a data set of the painted pictures as they are now.

        Returns:
            A data set; unlabelled pixels are ignored.

        Raises:
            SegnbError: nothing is painted yet.
        """
        from segnb.data.datasets import SegmentationDataset

        chosen = self.painted()
        if not chosen:
            raise SegnbError("Nothing is painted yet: paint at least one picture, then ask for the data set")
        return SegmentationDataset(
            [self._sources[index] for index in chosen],
            [self._mask_source(index) for index in chosen],
            self.classes,
            # Said aloud: masks of two labels with nothing but 0 and 255 would otherwise be read as labels 0 and 1.
            mask_values=[*range(len(self.label_names)), draw.IGNORE],
            names=[self.names[index] for index in chosen],
            palette=self.palette,
            value_range=self.value_range,
        )

    def _mask_source(self, index: int) -> Source:
        """A copy of what was painted; a mask that no one looked at stays where it is."""
        if index in self._masks:
            return self._masks[index].labels.copy()
        return self.folder.files[index] if self._is_saved(index) else self._given[index]

    def _is_saved(self, index: int) -> bool:
        return self.folder is not None and self.folder.files[index].exists()

    def _saved_with_labels(self, index: int) -> bool:
        return self.names[index] in self.folder.labelled

    def is_on_disk(self) -> bool:
        """Say whether the folder alone is enough to train on what is painted."""
        return self.folder is not None and len(self.folder.images()) == len(self.painted())

    def _done_names(self) -> list[str]:
        return [self.names[index] for index in sorted(self.finished)]


class Opened(LazySource):
    """An image or mask of a data set, read when it is needed.

    Args:
        data: the data set.
        index: which of its pictures.
        part: 0 for the image, 1 for the mask.
    """

    def __init__(self, data: SegmentationDataset, index: int, part: int) -> None:
        self._data, self._index, self._part = data, index, part
        self.name = data.names[index]
        self.title = f"the {('image', 'mask')[part]} of {self.name!r}"

    def read(self) -> np.ndarray:
        """Read it: (H, W, C) or (H, W) uint8."""
        return self._data.read(self._index)[self._part]
