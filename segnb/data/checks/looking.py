"""One look at a picture and its mask: all that the checks need to know of them, in a kilobyte or two.

    image ─▶ size, colours, EXIF turn, fingerprint of the pixels, hash of the appearance ─┐
                                                                                          ├─▶ Look
    mask ──▶ for each value in it: pixels, solid pixels, objects, tiny objects ───────────┘

Every file is decoded once, here; whatever is wrong with it becomes a sentence in the `Look` and stops nothing.
The hash is the difference hash of 64 bits (Neal Krawetz, "Kind of Like That", 2013,
https://www.hackerfactor.com/blog/?/archives/529-Kind-of-Like-That.html): is each cell of a small grey picture brighter
than its left neighbour? Neither size, JPEG nor brightness changes that much.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from segnb.data.reading import read_image, read_mask, title_of
from segnb.data.sources import Source

TINY = 16  # pixels: one cell of a feature map at a quarter of the size, the finest that most decoders read
MANY_VALUES = 64  # more values than this in one mask are no labels, and their objects mean nothing
ORIENTATION = 0x0112  # the EXIF tag that says how a camera was held


@dataclass(frozen=True)
class Pair:
    """A picture to look at.

    Attributes:
        name: what to call it.
        part: "train" or "valid".
        index: its place in its part.
        image: where it comes from.
        mask: where its mask comes from.
        value_range: see `SegmentationDataset`.
    """

    name: str
    part: str
    index: int
    image: Source
    mask: Source
    value_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class ImageLook:
    """What is known of an image.

    Attributes:
        shape: (H, W, C), upright.
        orientation: EXIF's number, 1 for upright; 5 to 8 swap height and width.
        mean: (C,) mean of each channel.
        square: (C,) mean of the squares.
        fingerprint: the same for the same pixels, otherwise different.
        hash: (64,) bool difference hash.
        thumbnail: (256,) float32 grey levels of 16 by 16 cells, brought to mean 0 and length 1.
    """

    shape: tuple[int, int, int]
    orientation: int
    mean: np.ndarray
    square: np.ndarray
    fingerprint: bytes
    hash: np.ndarray
    thumbnail: np.ndarray


@dataclass(frozen=True)
class MaskLook:
    """What is known of a mask; its arrays have one entry for each value that it holds.

    Attributes:
        shape: (H, W).
        in_colour: whether the values are colours 0xRRGGBB, not numbers.
        codes: (V,) the values in ascending order.
        pixels: (V,) how many pixels have it.
        solid: (V,) how many of these lie among equal neighbours; next to none where edges are smoothed.
        objects: (V,) connected areas, also over corners; 0 for all if there are more than 64 values.
        tiny: (V,) how many of these have fewer than 16 pixels.
        fingerprint: the same for the same mask.
    """

    shape: tuple[int, int]
    in_colour: bool
    codes: np.ndarray
    pixels: np.ndarray
    solid: np.ndarray
    objects: np.ndarray
    tiny: np.ndarray
    fingerprint: bytes


@dataclass
class Look:
    """What was seen of one picture.

    Attributes:
        pair: the picture.
        image: None if it cannot be read.
        mask: None if it cannot be read.
        problems: why something cannot be read, in sentences.
    """

    pair: Pair
    image: ImageLook | None = None
    mask: MaskLook | None = None
    problems: list[str] = field(default_factory=list)


def look_at(pair: Pair, *, colours: bool) -> Look:
    """Read a picture and its mask, and keep what the checks need.

    Args:
        pair: the picture.
        colours: whether colours stand for the labels, see `reading.read_mask`.

    Returns:
        The look; it has problems instead of an image or a mask that cannot be read.
    """
    look = Look(pair)
    try:
        look.image = _look_at_image(pair)
    except Exception as error:  # whatever a broken file makes a decoder raise
        look.problems.append(str(error))
    try:
        stored = read_mask(pair.mask, title_of(pair.mask, "mask", pair.index), colours=colours)
        look.mask = _look_at_mask(stored)
    except Exception as error:
        look.problems.append(str(error))
    return look


def _look_at_image(pair: Pair) -> ImageLook:
    pixels = read_image(pair.image, title_of(pair.image, "image", pair.index), pair.value_range)
    height, width, channels = pixels.shape
    levels = pixels.reshape(-1, channels).astype(np.float32)
    grey = Image.fromarray((levels @ np.full(channels, 1 / channels, np.float32)).reshape(height, width))
    cells = np.asarray(grey.resize((16, 16), Image.Resampling.BOX)).ravel()
    cells = cells - cells.mean()
    return ImageLook(
        shape=pixels.shape,
        orientation=_orientation(pair.image),
        mean=levels.mean(axis=0, dtype=np.float64),
        square=np.einsum("pc,pc->c", levels, levels, dtype=np.float64) / len(levels),
        fingerprint=_fingerprint(pixels),
        hash=_difference_hash(grey),
        thumbnail=cells / max(float(np.linalg.norm(cells)), 1e-6),
    )


def _orientation(source: Source) -> int:
    """Read the EXIF tag of a file that Pillow knows; everything else is upright."""
    if not isinstance(source, (str, Path)) or Path(source).suffix.lower() in (".tif", ".tiff"):
        return 1
    with Image.open(source) as picture:
        if picture.format == "PNG" and "exif" not in picture.info:
            return 1  # to look for the tag behind the pixels, Pillow would decode all of them
        return picture.getexif().get(ORIENTATION, 1)


def _difference_hash(grey: Image.Image) -> np.ndarray:
    """Grey picture -> (64,) bool: eight rows of nine cells, each compared with its left neighbour."""
    cells = np.asarray(grey.resize((9, 8), Image.Resampling.BOX))
    return (cells[:, 1:] > cells[:, :-1]).ravel()


def _look_at_mask(stored: np.ndarray) -> MaskLook:
    values = stored
    if stored.ndim == 3:  # colours -> 0xRRGGBB
        red, green, blue = np.moveaxis(stored.astype(np.int32), 2, 0)
        values = red << 16 | green << 8 | blue
    codes, inverse, pixels = np.unique(values, return_inverse=True, return_counts=True)
    places = inverse.reshape(values.shape)
    solid = np.bincount(places[_among_equals(values)], minlength=len(codes))
    objects, tiny = _count_objects(places, len(codes))
    return MaskLook(values.shape, stored.ndim == 3, codes, pixels, solid, objects, tiny, _fingerprint(values))


def _among_equals(values: np.ndarray) -> np.ndarray:
    """(H, W) -> (H, W) bool: has the pixel the value of its four neighbours?"""
    equal = np.ones(values.shape, bool)
    across, down = values[:, 1:] == values[:, :-1], values[1:] == values[:-1]
    equal[:, 1:] &= across
    equal[:, :-1] &= across
    equal[1:] &= down
    equal[:-1] &= down
    return equal


def _count_objects(places: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) numbers 0 to count - 1 -> connected areas of each, and how many of these are tiny."""
    objects, tiny = np.zeros(count, np.int64), np.zeros(count, np.int64)
    if count > MANY_VALUES:
        return objects, tiny
    for place, box in enumerate(ndimage.find_objects(places + 1)):
        areas, found = ndimage.label(places[box] == place, structure=np.ones((3, 3)))
        sizes = np.bincount(areas.ravel())[1:]
        objects[place], tiny[place] = found, (sizes < TINY).sum()
    return objects, tiny


def _fingerprint(array: np.ndarray) -> bytes:
    return hashlib.blake2b(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes(), digest_size=16).digest()
