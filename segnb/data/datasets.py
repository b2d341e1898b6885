"""Pictures with masks, checked as they are read: what does not fit is named with file and fix, never trained on.

image file ─▶ 8 bits, upright, grey or RGB ─────────▶ (H, W, C) uint8 ─┐            ┌─▶ (C, H, W) uint8
                                                                       ├─ transform ┤
mask file ──▶ numbers or colours ─▶ labels, checked ─▶ (H, W) uint8 ───┘            └─▶ (H, W) int64
                                     └── both kept in memory, up to a bound
"""

from __future__ import annotations

import copy
import json
import operator
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from segnb import draw
from segnb.data.transforms import Transform, apply_transform, check_transform, seed_transform
from segnb.errors import SegnbError, nearest
from segnb.files import resource

IGNORE = 255
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")

Source = str | Path | np.ndarray
MaskValue = int | Sequence[int]


class SegmentationDataset(Dataset[tuple[Tensor, Tensor]]):
    """Images with masks for training and evaluation.

    Files may be PNG, JPEG, TIFF or WebP with 8 bits. Images are turned upright as their EXIF tag says; grey ones have
    one channel, all others three (palettes are looked up, an alpha channel is dropped); arrays keep their channels.
    Masks are read as stored: grey values or palette indexes are the labels. If there are two labels and the masks hold
    nothing but 0 and 255, then 255 means the second label; in all other cases 255 marks pixels to ignore.

    Decoded pictures stay in memory until ``cache_mb`` is full. None is ever dropped for another: an epoch reads every
    picture once, so the one dropped would be needed as soon as the one that replaces it. Copies made by
    `with_transform` and `subset` share that memory. Each worker process of a ``DataLoader`` fills its own: give the
    loader ``persistent_workers=True``, or the memory is lost after every epoch.

    Args:
        images: paths, or arrays (H, W) or (H, W, C) uint8.
        masks: as many paths, or arrays (H, W) of integers.
        classes: names of the labels 0, 1, ... in their order. A single name means binary: 0 background, 1 that class.
        transform: an albumentations pipeline, or any ``transform(image=, mask=) -> {"image":, "mask":}``.
        mask_values: what the masks hold for each label, where that is not the label itself: a grey value (or palette
            index) or an (R, G, B) colour each. One more entry at the end stands for pixels to ignore.
        names: what to call the pictures; by default the stems of their files, or their numbers.
        palette: (labels, 3) uint8 colours to draw with; by default the colours in ``mask_values``, or `draw.palette`.
        cache_mb: bound of the memory for decoded pictures in megabytes; 0 keeps none.

    Attributes:
        classes: the names given.
        label_names: the name of each label; for a single class "background" and that class.
        palette: (labels, 3) uint8 colours.
        in_channels: channels of every image, as the first one has them.
        names: one for each picture.
        transform: the transform; `with_transform` sets another.

    Raises:
        SegnbError: an argument or the first picture does not fit; when read, any other picture that does not fit.

    Example:
        >>> data = SegmentationDataset(["a.jpg", "b.jpg"], ["a.png", "b.png"], classes=["road"])
        >>> image, labels = data[0]  # (3, H, W) uint8, (H, W) int64
    """

    def __init__(
        self,
        images: Sequence[Source],
        masks: Sequence[Source],
        classes: Sequence[str],
        transform: Transform | None = None,
        *,
        mask_values: Sequence[MaskValue] | None = None,
        names: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | np.ndarray | None = None,
        cache_mb: float = 1024,
    ) -> None:
        self.classes = _check_classes(classes)
        self.label_names = ["background", *self.classes] if len(self.classes) == 1 else list(self.classes)
        self._images, self._masks = _check_sources(images, "image"), _check_sources(masks, "mask")
        if len(self._images) != len(self._masks):
            raise SegnbError(f"{len(self._images)} images but {len(self._masks)} masks: give one mask for each image")
        if not self._images:
            raise SegnbError("A data set needs at least one image; the list is empty")
        self.names = list(names) if names is not None else [_name(image, i) for i, image in enumerate(self._images)]
        if len(self.names) != len(self._images):
            raise SegnbError(f"{len(self.names)} names for {len(self._images)} images: give one name for each")
        check_transform(transform)
        self.transform = transform
        self._values = _MaskValues(self.label_names, mask_values)
        if mask_values is None and len(self.label_names) == 2 and self._masks_are_0_and_255():
            self._values = _MaskValues(self.label_names, (0, 255), detected=True)
        self.palette = _check_palette(self._values.palette if palette is None else palette, self.label_names)
        self.in_channels = _read_image(self._images[0], _title(self._images[0], "image", 0)).shape[2]
        self._keys = list(range(len(self._images)))  # the places of this copy's pictures in the cache
        self._cache = _Cache(cache_mb)
        self._worker_seed: int | None = None
        self.read(0)

    @classmethod
    def from_folder(
        cls,
        images: str | Path,
        masks: str | Path,
        classes: Sequence[str],
        transform: Transform | None = None,
        *,
        mask_values: Sequence[MaskValue] | None = None,
        palette: Sequence[Sequence[int]] | np.ndarray | None = None,
        cache_mb: float = 1024,
    ) -> SegmentationDataset:
        """Pair the files of two folders by name without extension: ``images/01.JPG`` with ``masks/01.png``.

        Args:
            images: folder of images; hidden files, other types of file and folders in it are passed over.
            masks: folder of masks.
            classes: see the class.
            transform: see the class.
            mask_values: see the class.
            palette: see the class.
            cache_mb: see the class.

        Returns:
            The data set, sorted by name.

        Raises:
            SegnbError: a folder is missing or empty, a file has no partner, or two files share a name.
        """
        image_files, mask_files = _list_folder(images), _list_folder(masks)
        if image_files.keys() != mask_files.keys():
            raise SegnbError(_explain_unmatched(image_files, mask_files))
        stems = sorted(image_files)
        return cls(
            [image_files[stem] for stem in stems],
            [mask_files[stem] for stem in stems],
            classes,
            transform,
            mask_values=mask_values,
            palette=palette,
            cache_mb=cache_mb,
        )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Read and transform: image (C, H, W) uint8 and labels (H, W) int64, where 255 is to be ignored."""
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
            image (H, W, C) uint8 and labels (H, W) uint8, both free to be changed.

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
            raise SegnbError("subset was given no index: a data set needs at least one image")
        other = copy.copy(self)
        for attribute in ("_images", "_masks", "names", "_keys"):
            values = getattr(self, attribute)
            setattr(other, attribute, [values[place] for place in places])
        return other

    def seed(self, seed: int) -> None:
        """Make the random transform repeatable from here on, in this process.

        Workers of a ``DataLoader`` need no call: they follow ``torch.manual_seed``, or the loader's ``generator``.

        Args:
            seed: any integer from 0.
        """
        seed_transform(self.transform, seed)

    def __repr__(self) -> str:
        lines = [
            f"SegmentationDataset of {len(self)} image{'s' * (len(self) != 1)} "
            f"({self.in_channels} channel{'s' * (self.in_channels != 1)})",
            "  labels: "
            + ", ".join(f"{label} {name}" for label, name in enumerate(self.label_names))
            + "; 255 is ignored",
            f"  masks: {self._values.describe()}",
            f"  transform: {_describe_transform(self.transform)}",
            f"  in memory: {self._cache.describe()}",
        ]
        return "\n".join(lines)

    def _decode(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read and check one image and its mask."""
        image_name, mask_name = _title(self._images[index], "image", index), _title(self._masks[index], "mask", index)
        image = _read_image(self._images[index], image_name)
        if image.shape[2] != self.in_channels:
            raise SegnbError(
                f"{image_name} has {_channels(image.shape[2])}, the first image has {_channels(self.in_channels)}: "
                "convert all images to the same kind"
            )
        labels = self._values.to_labels(_read_mask(self._masks[index], mask_name, self._values.are_colours), mask_name)
        if image.shape[:2] != labels.shape:
            raise SegnbError(_explain_sizes(image_name, image.shape, mask_name, labels.shape))
        return image, labels

    def _masks_are_0_and_255(self) -> bool:
        """Look whether masks hold nothing but 0 and 255: in 32 of them, or in more until one is not empty."""
        stride = -(-len(self._masks) // 32)
        spread = sorted(range(len(self._masks)), key=lambda index: index % stride)  # every stride-th first
        found: set[int] = set()
        for count, index in enumerate(spread):
            if count >= 32 and found != {0}:
                break
            stored = _read_mask(self._masks[index], _title(self._masks[index], "mask", index), colours=False)
            found.update(np.unique(stored).tolist())
            if stored.ndim == 3 or not found <= {0, 255}:
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
    return train, valid


class _Cache:
    """Decoded pictures by key, until a number of bytes is reached.

    It needs no lock: two threads that miss the same picture both decode it, and the bound is met to within a picture.
    """

    def __init__(self, megabytes: float) -> None:
        self.size = int(megabytes * 1e6)
        self.used = 0
        self.pairs: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def get(self, key: int) -> tuple[np.ndarray, np.ndarray] | None:
        return self.pairs.get(key)

    def put(self, key: int, pair: tuple[np.ndarray, np.ndarray]) -> None:
        needed = sum(array.nbytes for array in pair)
        if self.used + needed <= self.size:
            self.pairs[key] = pair
            self.used += needed

    def describe(self) -> str:
        return f"{len(self.pairs)} decoded, {self.used / 1e6:.0f} of {self.size / 1e6:.0f} MB"

    def __getstate__(self) -> dict[str, Any]:
        """Travel empty: a worker process reads its own pictures faster than it receives all of them."""
        return {"size": self.size, "used": 0, "pairs": {}}


class _MaskValues:
    """What the numbers or colours in the masks of one data set mean.

    A mask pixel becomes one code: its number, or its colour as 0xRRGGBB. ``codes`` are those allowed, in ascending
    order, ``labels`` what they mean.
    """

    def __init__(self, names: list[str], values: Sequence[MaskValue] | None, *, detected: bool = False) -> None:
        self.names, self.detected, self.given = names, detected, values is not None and not detected
        self.palette = draw.palette(len(names))
        self.are_colours = False
        meaning = {label: label for label in range(len(names))}
        if values is not None:
            entries = _check_mask_values(values, names)
            self.are_colours = isinstance(entries[0], tuple)
            if self.are_colours:
                self.palette = np.array(entries[: len(names)], np.uint8)
            meaning = {_code(entry): label for label, entry in enumerate(entries)}
            if len(entries) > len(names):
                meaning[_code(entries[-1])] = IGNORE
        if not self.are_colours:
            meaning.setdefault(IGNORE, IGNORE)
        self.codes = np.array(sorted(meaning))
        self.labels = np.array([meaning[code] for code in sorted(meaning)], np.uint8)

    def to_labels(self, stored: np.ndarray, where: str) -> np.ndarray:
        """Translate a mask (H, W) of numbers or (H, W, 3) of colours into labels (H, W) uint8; ``where`` names it."""
        if stored.ndim == 3 and not self.are_colours:
            raise SegnbError(_explain_colours(where, _to_codes(stored), len(self.names)))
        codes = _to_codes(stored)
        if stored.ndim == 2 and self.are_colours:
            codes = codes.astype(np.int64) * 0x010101  # a number among colours is that grey
        place = np.searchsorted(self.codes, codes).clip(max=len(self.codes) - 1)
        unknown = self.codes[place] != codes
        if unknown.any():
            raise SegnbError(self._explain_unknown(where, codes, unknown))
        return self.labels[place]

    def _explain_unknown(self, where: str, codes: np.ndarray, unknown: np.ndarray) -> str:
        bad, present = np.unique(codes[unknown]), np.unique(codes)
        row, column = np.argwhere(unknown)[0]
        kind = "colour" if self.are_colours else "value"
        listed = _list([_as_colour(code) if self.are_colours else str(code) for code in bad.tolist()])
        found = f"{where} has the {kind}{'s' * (len(bad) > 1)} {listed} (first at row {row}, column {column})"
        if self.given:
            return (
                f"{found}, not listed in mask_values: list one {kind} for each of the {len(self.names)} labels "
                "and, as one more entry at the end, the one to ignore" + _smoothing_hint(where, bad)
            )
        if self.detected:
            return (
                f"{found}, while the masks looked at first hold only 0 and 255 (read as 255 = {self.names[1]!r}): "
                "save all masks in one way, or say what the values mean with mask_values" + _smoothing_hint(where, bad)
            )
        n = len(self.names)
        fix = _fix_for_labels(where, bad, present, n)
        return f"{found}, but {n} labels are numbered 0 to {n - 1} (255 = ignore): {fix}"

    def describe(self) -> str:
        if self.detected:
            return f"0 and 255, where 255 means {self.names[1]}"
        if self.given:
            return f"one {'colour' if self.are_colours else 'value'} for each label, as mask_values says"
        return "labels as stored"


def _check_classes(classes: Sequence[str]) -> list[str]:
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        raise SegnbError(f"classes={classes!r}: give a list of names, such as ['road'] or ['sky', 'road']")
    names = list(classes)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise SegnbError(f"classes={names!r}: give at least one name, and names only")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise SegnbError(
            f"classes repeats {_list([repr(name) for name in repeated])}: give each label a name of its own"
        )
    if len(names) > IGNORE:
        raise SegnbError(f"{len(names)} classes: at most 255 fit into 8-bit masks, where 255 means ignore")
    return names


def _check_sources(sources: Sequence[Source], kind: str) -> list[Source]:
    if isinstance(sources, (str, Path)):
        raise SegnbError(f"{kind}s={str(sources)!r} is one path: give a list, or use SegmentationDataset.from_folder")
    checked = list(sources)
    for index, source in enumerate(checked):
        if not isinstance(source, (str, Path, np.ndarray)):
            raise SegnbError(f"{kind} {index} is a {type(source).__name__}: give a path or a NumPy array")
    return checked


def _check_palette(palette: Sequence[Sequence[int]] | np.ndarray, names: list[str]) -> np.ndarray:
    colours = np.asarray(palette)
    if colours.shape != (len(names), 3) or colours.min() < 0 or colours.max() > 255:
        raise SegnbError(
            f"palette has shape {colours.shape}: give one colour (R, G, B) of 0 to 255 for each of {len(names)} labels "
            f"({_list(names)})"
        )
    return colours.astype(np.uint8)


def _check_mask_values(values: Sequence[MaskValue], names: list[str]) -> list[int | tuple[int, ...]]:
    """Bring mask_values to a list of numbers or a list of colours, or say what is wrong with them."""
    entries = [int(entry) if np.ndim(entry) == 0 else tuple(int(part) for part in entry) for entry in values]
    n = len(names)
    if len(entries) not in (n, n + 1):
        raise SegnbError(
            f"mask_values has {len(entries)} entries for {n} labels ({_list(names)}): give one for each label, "
            "in this order, and at most one more for pixels to ignore"
        )
    sizes = {len(entry) if isinstance(entry, tuple) else 0 for entry in entries}
    if sizes not in ({0}, {3}) or not all(0 <= part <= 255 for part in np.ravel(entries)):
        raise SegnbError(f"mask_values={entries}: give numbers 0 to 255 only, or colours (R, G, B) of 0 to 255 only")
    if len(set(entries)) < len(entries):
        raise SegnbError(f"mask_values={entries} lists the same value twice: give each label a value of its own")
    return entries


def _code(entry: int | tuple[int, ...]) -> int:
    """A number stays; (R, G, B) becomes 0xRRGGBB."""
    return entry if isinstance(entry, int) else entry[0] << 16 | entry[1] << 8 | entry[2]


def _to_codes(stored: np.ndarray) -> np.ndarray:
    """(H, W) numbers stay; (H, W, 3) colours -> (H, W) of 0xRRGGBB."""
    if stored.ndim == 2:
        return stored
    red, green, blue = np.moveaxis(stored.astype(np.int32), 2, 0)
    return red << 16 | green << 8 | blue


def _as_colour(code: int) -> str:
    return str((code >> 16, code >> 8 & 255, code & 255))


# Reading files and arrays ---------------------------------------------------------------------------------------------


def _read_image(source: Source, where: str) -> np.ndarray:
    """A file or an array -> (H, W, C) uint8."""
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim not in (2, 3) or source.size == 0:
            raise SegnbError(
                f"{where} is an array {source.shape} {source.dtype}, not (H, W) or (H, W, C) uint8: convert it first, "
                'for example (image * 255).astype("uint8") if its values run from 0 to 1'
            )
        return source if source.ndim == 3 else source[:, :, None]
    picture = _open(source, where, 'convert to uint8 first, for example (image / 257).astype("uint8")')
    pixels = np.array(picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB"))
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _read_mask(source: Source, where: str, colours: bool) -> np.ndarray:
    """A file or an array -> (H, W) numbers or (H, W, 3) colours; a colour mask that is all grey counts as numbers."""
    if isinstance(source, np.ndarray):
        is_colour = source.ndim == 3 and source.shape[2] == 3 and source.dtype == np.uint8
        if not (is_colour or (source.ndim == 2 and source.dtype.kind in "biu")) or source.size == 0:
            raise SegnbError(
                f"{where} is an array {source.shape} {source.dtype}: give (H, W) integers, one label for each pixel"
            )
        stored = source.astype(np.uint8) if source.dtype == bool else source
    else:
        picture = _open(source, where, 'save labels as uint8, for example Image.fromarray(labels.astype("uint8"))')
        if picture.mode in ("LA", "PA") and not colours:
            picture = picture.getchannel(0)
        is_number = picture.mode in ("1", "L", "P") and not colours
        stored = np.array(picture if is_number else picture.convert("RGB")).astype(np.uint8)
    is_grey = stored.ndim == 3 and not colours and (stored == stored[:, :, :1]).all()
    return stored[:, :, 0] if is_grey else stored


def _open(path: str | Path, where: str, to_8_bits: str) -> Image.Image:
    """Decode a file completely and turn it upright; more than 8 bits are refused with the advice ``to_8_bits``."""
    pages = 1
    try:
        with Image.open(path) as picture:
            if picture.format == "TIFF":
                pages = picture.n_frames
            deep = picture.mode[0] in "IF" or ";16" in str(picture.tile)  # PIL would quietly halve 16-bit colours
            picture.load()
            upright = ImageOps.exif_transpose(picture)
    except FileNotFoundError:
        raise SegnbError(f"{where} does not exist (looked for in {Path(path).parent.resolve()})") from None
    except Exception as error:  # PIL's decoders raise whatever they stumble over
        raise SegnbError(
            f"{where} cannot be read as an image ({error}): replace the file, or remove it together with its partner"
        ) from error
    if pages > 1:
        raise SegnbError(f"{where} has {pages} pages: save the one to use as a file of its own")
    if deep:
        raise SegnbError(f"{where} has 16 or more bits per channel, segnb reads 8: {to_8_bits}")
    return upright


def _name(source: Source, index: int) -> str:
    return f"{index:03d}" if isinstance(source, np.ndarray) else Path(source).stem


def _title(source: Source, kind: str, index: int) -> str:
    """Call an image or mask by its file in an error, or by its number if it is an array."""
    return f"{kind} {index}" if isinstance(source, np.ndarray) else f"{source}"


# Folders --------------------------------------------------------------------------------------------------------------


def _list_folder(folder: str | Path) -> dict[str, Path]:
    """Find the pictures of a folder by their stems."""
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise SegnbError(_explain_missing(folder))
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
            if path.stem in files:
                raise SegnbError(
                    f"{files[path.stem].name} and {path.name} in {folder} have the same name: pairs are found by it, "
                    "so keep one of them"
                )
            files[path.stem] = path
    if not files:
        inside = [path.name + "/" * path.is_dir() for path in sorted(folder.iterdir())]
        raise SegnbError(
            f"{folder} has no PNG, JPEG, TIFF or WebP files; it holds {_list(inside) if inside else 'nothing'}"
        )
    return files


# What to say ----------------------------------------------------------------------------------------------------------


def _list(words: Sequence[str], most: int = 8) -> str:
    rest = len(words) - most
    return ", ".join(words[:most]) + (f" and {rest} more" if rest > 0 else "")


def _channels(count: int) -> str:
    return f"{count} channel{'s' * (count != 1)}" + {1: " (grey)", 3: " (RGB)"}.get(count, "")


def _describe_transform(transform: Transform | None) -> str:
    steps = getattr(transform, "transforms", None)
    if transform is None or steps is None:
        return "none" if transform is None else getattr(transform, "__name__", type(transform).__name__)
    return f"{type(transform).__name__}({_list([type(step).__name__ for step in steps])})"


def _explain_missing(folder: Path) -> str:
    if folder.exists():
        return f"{folder} is a file: give the folder that holds the files"
    missing = folder
    while not missing.parent.is_dir():
        missing = missing.parent
    there = sorted(path.name for path in missing.parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    hint = nearest(missing.name, there) or _list(there)
    return f"There is no folder {folder}: {missing.parent.resolve()} has {len(there)} folders. {hint}".rstrip()


def _explain_unmatched(images: dict[str, Path], masks: dict[str, Path]) -> str:
    parts = []
    for kind, partner, mine, others in (("image", "mask", images, masks), ("mask", "image", masks, images)):
        alone = [path.name for stem, path in mine.items() if stem not in others]
        if alone:
            parts.append(f"{len(alone)} {kind}{'s' * (len(alone) > 1)} without {partner} ({_list(alone, 5)})")
    return (
        f"{len(images.keys() & masks.keys())} of {len(images)} images and {len(masks)} masks pair up by name; "
        f"{' and '.join(parts)}: rename or remove them, or pass two sorted lists of paths to "
        "SegmentationDataset(images, masks, classes)"
    )


def _explain_sizes(image: str, image_shape: tuple[int, ...], mask: str, mask_shape: tuple[int, ...]) -> str:
    height, width, channels = image_shape
    text = (
        f"{image} is {width} × {height} pixels but {mask} is {mask_shape[1]} × {mask_shape[0]}: make both the "
        "same size, resizing masks with nearest only"
    )
    if (width, height) == mask_shape:
        text += "; one may be turned: images are shown upright as EXIF says, so draw or save the mask upright, too"
    if (width, channels) == mask_shape:
        text += "; the image looks channels-first: give image.transpose(1, 2, 0)"
    return text


def _explain_colours(where: str, codes: np.ndarray, labels: int) -> str:
    found = [_as_colour(code) for code in islice(np.unique(codes).tolist(), 9)]
    return (
        f"{where} is a colour mask (with {_list(found)}): say which colour means which label with "
        f"mask_values=[(R, G, B), ...], one colour for each of the {labels} labels"
    )


def _smoothing_hint(where: str, bad: np.ndarray) -> str:
    """Many values that no one chose come from smoothed edges or from JPEG."""
    if where.lower().endswith((".jpg", ".jpeg")):
        return ". JPEG changes values: save masks as PNG"
    if len(bad) >= 8:
        return ". Edges look smoothed (anti-aliased): draw masks without smoothing, or threshold them"
    return ""


def _fix_for_labels(where: str, bad: np.ndarray, present: np.ndarray, labels: int) -> str:
    counted = present[present != IGNORE]
    if counted.min() > 0 and counted.max() == labels:
        return (
            f"0 is absent, so they seem to be numbered from 1; then pass mask_values=range(1, {labels + 1}), "
            f"otherwise name all {labels + 1} labels in classes"
        )
    stored = "the stored values in mask_values, one for each label and one more at the end for pixels to ignore"
    smoothing = _smoothing_hint(where, bad)
    if smoothing and counted.max() > 2 * len(counted):
        return smoothing[2:]
    if counted.max() < IGNORE and counted.max() <= 2 * len(counted):
        return f"name all {counted.max() + 1} labels in classes, or list {stored}"
    return f"list {stored}"
