"""Pictures with masks, checked as they are read: what does not fit is named with file and fix, never trained on.

image file ─▶ 8 bits, upright, grey or RGB ─────────▶ (H, W, C) uint8 ─┐            ┌─▶ (C, H, W) uint8
                                                                       ├─ transform ┤
mask file ──▶ numbers or colours ─▶ labels, checked ─▶ (H, W) uint8 ───┘            └─▶ (H, W) int64
                                     └── both kept in memory, up to a bound

Of a multi-label data set the labels are (K, H, W) uint8 of no and yes, see `segnb.data.planes`.
"""

from __future__ import annotations

import copy
import json
import operator
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from segnb.data.arguments import (
    check_classes,
    check_palette,
    check_plane_sources,
    check_sources,
    check_value_range,
)
from segnb.data.cache import Cache
from segnb.data.explaining import describe_channels, describe_transform, explain_sizes
from segnb.data.mask_values import MaskValue, MaskValues
from segnb.data.origin import describe_call
from segnb.data.planes import Plane, PlaneOf, PlaneValues, plane_palette, read_planes
from segnb.data.readers import Readers
from segnb.data.reading import name_of, read_image, read_mask, title_of
from segnb.data.sources import MaskSource, Source
from segnb.data.transforms import Transform, apply_transform, check_transform, seed_transform
from segnb.data.wording import counted
from segnb.draw import IGNORE
from segnb.errors import SegnbError, nearest
from segnb.files import resource


class SegmentationDataset(Readers, Dataset[tuple[Tensor, Tensor]]):
    """Images with masks for training and evaluation.

    Files may be PNG, JPEG, TIFF or WebP. Images are turned upright as their EXIF tag says; grey ones have one channel, a
    TIFF of many bands has all of them (it needs ``segnb[data]``), all others have three (palettes are looked up, an alpha
    channel is dropped); arrays keep their channels. What has more than 8 bits is brought to 8 by ``value_range``. Masks
    are read as stored: grey values or palette indexes are the labels. If there are two labels and the masks hold nothing
    but 0 and 255, then 255 means the second label; in all other cases 255 marks pixels to ignore.

    With ``multilabel`` a pixel may have several classes, or none: the labels are a plane of 0 (no), 1 (yes) and 255
    (ignored) for each class. Planes that hold nothing but 0 and 255 are read as no and yes.

    Decoded pictures stay in memory until ``cache_mb`` is full. None is ever dropped for another: an epoch reads every
    picture once, so the one dropped would be needed as soon as the one that replaces it. Copies made by
    `with_transform` and `subset` share that memory. Each worker process of a ``DataLoader`` fills its own: give the
    loader ``persistent_workers=True``, or the memory is lost after every epoch.

    Args:
        images: paths, or arrays (H, W) or (H, W, C), uint8 unless there is a ``value_range``.
        masks: as many paths, or arrays (H, W) of integers. With ``multilabel``: arrays (K, H, W), or for each picture a list
            of K masks, one for each class, None where the picture has no such class.
        classes: names of the labels 0, 1, ... in their order. A single name means binary: 0 background, 1 that class.
        transform: an albumentations pipeline, or any ``transform(image=, mask=) -> {"image":, "mask":}``.
        mask_values: what the masks hold for each label, where that is not the label itself: a grey value (or palette
            index) or an (R, G, B) colour each. One more entry at the end stands for pixels to ignore. With ``multilabel``:
            what no and yes are in every plane.
        names: what to call the pictures; by default the stems of their files, or their numbers.
        palette: (labels, 3) uint8 colours to draw with; by default the colours in ``mask_values``, or `draw.palette`.
        value_range: (low, high), the stored values that become 0 and 255 in all images, for example (0, 4095) for a 12-bit
            camera in 16-bit files, or (0, 1); what lies outside becomes 0 or 255, and NaN becomes 0.
        multilabel: whether classes may overlap; there must be two or more.
        cache_mb: bound of the memory for decoded pictures in megabytes; 0 keeps none.

    Attributes:
        classes: the names given.
        label_names: the name of each label; for a single class "background" and that class, with ``multilabel`` the classes.
        palette: (labels, 3) uint8 colours.
        in_channels: channels of every image, as the first one has them.
        names: one for each picture.
        transform: the transform; `with_transform` sets another.
        value_range: the pair given, or None.
        multilabel: whether classes may overlap.
        origin: the reader that made it and its arguments; None if they live in memory only.

    Raises:
        SegnbError: an argument or the first picture does not fit; when read, any other picture that does not fit.

    Example:
        >>> data = SegmentationDataset(["a.jpg", "b.jpg"], ["a.png", "b.png"], classes=["road"])
        >>> image, labels = data[0]  # (3, H, W) uint8, (H, W) int64
    """

    def __init__(
        self,
        images: Sequence[Source],
        masks: Sequence[MaskSource],
        classes: Sequence[str],
        transform: Transform | None = None,
        *,
        mask_values: Sequence[MaskValue] | None = None,
        names: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | np.ndarray | None = None,
        value_range: tuple[float, float] | None = None,
        multilabel: bool = False,
        cache_mb: float = 1024,
    ) -> None:
        given = {"images": images, "masks": masks, "classes": classes, "mask_values": mask_values}
        more = {"names": names, "palette": palette, "value_range": value_range, "multilabel": multilabel or None}
        self.origin = describe_call("SegmentationDataset", {**given, **more})
        self.multilabel = bool(multilabel)
        self.classes = check_classes(classes, multilabel=self.multilabel)
        self.label_names = ["background", *self.classes] if len(self.classes) == 1 else list(self.classes)
        self._images = check_sources(images, "image")
        self._masks = check_plane_sources(masks, self.classes) if multilabel else check_sources(masks, "mask")
        if len(self._images) != len(self._masks):
            raise SegnbError(f"{len(self._images)} images but {len(self._masks)} masks: give one mask for each image.")
        if not self._images:
            raise SegnbError("A data set needs at least one image; the list is empty.")
        self.names = list(names) if names is not None else [name_of(image, i) for i, image in enumerate(self._images)]
        if len(self.names) != len(self._images):
            raise SegnbError(f"{len(self.names)} names for {len(self._images)} images: give one name for each.")
        check_transform(transform)
        self.transform = transform
        binary = multilabel or len(self.label_names) == 2
        detected = mask_values is None and binary and self._masks_are_0_and_255()
        values = (0, 255) if detected else mask_values
        self._values = (
            PlaneValues(values, detected=detected)
            if multilabel
            else MaskValues(self.label_names, values, detected=detected)
        )
        colours = plane_palette(len(self.classes)) if multilabel else self._values.palette
        self.palette = check_palette(colours if palette is None else palette, self.label_names)
        self.value_range = check_value_range(value_range)
        self.in_channels = self._read_image(0).shape[2]
        self._keys = list(range(len(self._images)))  # the places of this copy's pictures in the cache
        self._cache = Cache(cache_mb)
        self._worker_seed: int | None = None
        self.read(0)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Read and transform: image (C, H, W) uint8 and labels (H, W) int64, where 255 is to be ignored.

        Of a multi-label data set the labels are (K, H, W) uint8.
        """
        worker = get_worker_info()
        if worker is not None and worker.seed != self._worker_seed:
            # Every worker starts with a copy of one random state, the same in each epoch: left alone, all of them throw
            # the same dice. Torch's seed differs between workers and epochs and follows torch.manual_seed.
            self._worker_seed = worker.seed
            seed_transform(self.transform, worker.seed)
        image, labels = self.read(index)
        return apply_transform(self.transform, image, labels, self.names[index])

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read one picture without the transform.

        Args:
            index: 0 to ``len(data) - 1``, or negative from the end.

        Returns:
            image (H, W, C) uint8 and labels (H, W) uint8, or (K, H, W) if multi-label; both free to be changed.

        Raises:
            SegnbError: a file cannot be read or does not fit; the message names it.
            IndexError: there is no such picture.
        """
        index = range(len(self))[operator.index(index)]
        pair = self._cache.get(self._keys[index])
        if pair is None:
            pair = self._decode(index)
            self._cache.put(self._keys[index], pair)
        image, labels = pair
        return image.copy(), labels.copy()

    def count(self, index: int) -> np.ndarray:
        """Count the pixels of each label in one picture, without the transform.

        Args:
            index: see `read`.

        Returns:
            (labels,) int64; of a multi-label data set the pixels that have the class.
        """
        labels = self.read(index)[1]
        if self.multilabel:
            return (labels == 1).sum(axis=(1, 2))
        return np.bincount(labels.ravel(), minlength=IGNORE + 1)[: len(self.label_names)]

    def with_transform(self, transform: Transform | None) -> SegmentationDataset:
        """Copy the data set with another transform; the copy shares the decoded pictures.

        Args:
            transform: see the class.

        Returns:
            The copy.

        Raises:
            SegnbError: the transform would mix labels.
        """
        check_transform(transform)
        other = copy.copy(self)
        other.transform = transform
        return other

    def subset(self, indices: Iterable[int]) -> SegmentationDataset:
        """Pick some pictures; the copy shares the transform and the decoded pictures.

        Args:
            indices: which ones, in the order wanted.

        Returns:
            The copy.

        Raises:
            SegnbError: nothing is picked.
            IndexError: there is no such picture.
        """
        places = [range(len(self))[operator.index(index)] for index in indices]
        if not places:
            raise SegnbError("subset was given no index: a data set needs at least one image.")
        other = copy.copy(self)
        other._images = [self._images[place] for place in places]
        other._masks = [self._masks[place] for place in places]
        other._keys = [self._keys[place] for place in places]
        other.names = [self.names[place] for place in places]
        return other

    def of_class(self, name: str) -> SegmentationDataset:
        """Take one class of a multi-label data set by itself, for what looks at one label a pixel, such as `check_dataset`.

        Args:
            name: one of ``classes``.

        Returns:
            A binary data set of the same pictures, with the transform.

        Raises:
            SegnbError: there is no such class, or classes do not overlap.
        """
        if not self.multilabel:
            raise SegnbError("of_class is for multi-label data sets; in this one each pixel has one label already.")
        if name not in self.classes:
            raise SegnbError(f"there is no class {name!r}. {nearest(name, self.classes)}")
        k = self.classes.index(name)
        planes = [
            PlaneOf(partial(self._planes, index), k, f"the mask of {picture!r} ({name})", picture)
            for index, picture in enumerate(self.names)
        ]
        return SegmentationDataset(
            self._images,
            planes,
            [name],
            self.transform,
            mask_values=(0, 1, IGNORE),
            names=self.names,
            palette=np.stack([np.zeros(3, np.uint8), self.palette[k]]),
            value_range=self.value_range,
        )

    @property
    def places(self) -> list[int]:
        """Where this copy's pictures are among those that the reader gave."""
        return list(self._keys)

    def seed(self, seed: int) -> None:
        """Make the random transform repeatable from here on, in this process.

        Workers of a ``DataLoader`` need no call: they follow ``torch.manual_seed``, or the loader's ``generator``.

        Args:
            seed: any integer from 0.
        """
        seed_transform(self.transform, seed)

    def __repr__(self) -> str:
        labels = ", ".join(f"{label} {name}" for label, name in enumerate(self.label_names))
        overlap = ", which may overlap" if self.multilabel else ""
        values = (
            "" if self.value_range is None else "  values: {:g} to {:g} become 0 to 255\n".format(*self.value_range)
        )
        return (
            f"SegmentationDataset of {counted(len(self), 'image')} ({counted(self.in_channels, 'channel')})\n"
            f"{values}"
            f"  labels{overlap}: {labels}; 255 is ignored\n"
            f"  masks: {self._values.describe()}\n"
            f"  transform: {describe_transform(self.transform)}\n"
            f"  in memory: {self._cache.describe()}"
        )

    def _decode(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read and check one image and its mask."""
        image, image_title = self._read_image(index), title_of(self._images[index], "image", index)
        if image.shape[2] != self.in_channels:
            raise SegnbError(
                f"{image_title} has {describe_channels(image.shape[2])}, the first image has "
                f"{describe_channels(self.in_channels)}: convert all images to the same kind."
            )
        labels = []
        for stored, title in self._read_masks(index, colours=self._values.are_colours):
            plane = np.zeros(image.shape[:2], np.uint8) if stored is None else self._values.to_labels(stored, title)
            if image.shape[:2] != plane.shape:
                raise SegnbError(explain_sizes(image_title, image.shape, title, plane.shape))
            labels.append(plane)
        return image, np.stack(labels) if self.multilabel else labels[0]

    def _planes(self, index: int) -> np.ndarray:
        """The labels (K, H, W) of one picture."""
        return self.read(index)[1]

    def _read_image(self, index: int) -> np.ndarray:
        """Read one image: (H, W, C) uint8."""
        return read_image(self._images[index], title_of(self._images[index], "image", index), self.value_range)

    def _read_masks(self, index: int, *, colours: bool) -> list[Plane]:
        """Read one mask as it is stored, or the planes of all classes; each with its title."""
        mask, title = self._masks[index], title_of(self._masks[index], "mask", index)
        if self.multilabel:
            return read_planes(mask, title, self.classes, colours=colours)
        return [(read_mask(mask, title, colours=colours), title)]

    def _masks_are_0_and_255(self) -> bool:
        """Look whether masks hold nothing but 0 and 255: in 32 of them, or in more until one is not empty."""
        stride = -(-len(self._masks) // 32)
        spread = sorted(range(len(self._masks)), key=lambda index: index % stride)  # every stride-th first
        found: set[int] = set()
        for count, index in enumerate(spread):
            if count >= 32 and found != {0}:
                break
            masks = [stored for stored, _ in self._read_masks(index, colours=False) if stored is not None]
            found.update(*(np.unique(stored).tolist() for stored in masks))
            if any(stored.ndim == 3 for stored in masks) or not found <= {0, 255}:
                return False
        return found == {0, 255}


def load_sample(name: str, transform: Transform | None = None) -> tuple[SegmentationDataset, SegmentationDataset]:
    """Load one of the small data sets that travel with segnb.

    Args:
        name: "street", "cells", "lungs", "metal" or "shapes".
        transform: for both; `SegmentationDataset.with_transform` sets one later.

    Returns:
        The training and the validation set.

    Raises:
        SegnbError: there is no such sample.

    Example:
        >>> train, valid = segnb.load_sample("street")
    """
    folder = resource("data_samples")
    samples = sorted(file.parent.name for file in folder.glob("*/classes.json"))
    if name not in samples:
        raise SegnbError(f"There is no sample {name!r}. {nearest(name, samples)}")
    about = json.loads((folder / name / "classes.json").read_text(encoding="utf-8"))
    train, valid = (
        SegmentationDataset.from_folder(
            folder / name / part / "images",
            folder / name / part / "masks",
            about["classes"],
            transform,
            palette=about["palette"],
        )
        for part in ("train", "valid")
    )
    train.origin, valid.origin = ({"reader": "load_sample", "name": name, "part": part} for part in ("train", "valid"))
    return train, valid
