"""What the values in masks mean, found out from all masks together.

values of all masks ─▶ those that fill areas ─▶ 0, 255          ─▶ mask_values=[0, 255]
                       (not smoothed edges)     1, 2, ... n     ─▶ mask_values=[1, 2, ... n]
                                                0, s, 2s, ...   ─▶ mask_values=[0, s, 2s, ...]
                                                black, a colour ─▶ mask_values=[(0, 0, 0), (R, G, B)]
                                                many colours    ─▶ the code to complete: which is which, only you know
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from segnb.data.checks.looking import Look, MaskLook
from segnb.data.mask_values import MaskValue, MaskValues
from segnb.draw import IGNORE

Kind = Literal["", "0 and 255", "from 1", "evenly spaced", "colours"]

SOLID = 0.1  # of the pixels of a value lie among equals where it fills areas; where it is a smoothed edge, none do
FEW_BLENDS = 3  # so many values or more make a smoothed edge; fewer may be a class of thin lines
NEARLY_ALL = 0.8  # of the pixels; the rest are smoothed edges, or a few masks gone wrong


@dataclass(frozen=True)
class Meaning:
    """How to read the masks of a data set.

    Attributes:
        values: translates the masks.
        mask_values: the argument of `SegmentationDataset` for it; None if the masks hold labels.
        kind: what was found where masks hold something else than labels.
        certain: whether there is only one way to read them; if not, ``values`` reads them as labels.
        code: the argument written out, to be completed if it is not certain.
    """

    values: MaskValues
    mask_values: list[MaskValue] | None = None
    kind: Kind = ""
    certain: bool = True
    code: str = ""


def understand(looks: list[Look], names: list[str], given: MaskValues) -> Meaning:
    """Find out what the values in masks mean.

    Args:
        looks: all pictures.
        names: the name of each label.
        given: how the data set reads them, or would.

    Returns:
        What the user said, if it was said; otherwise what the values look like.
    """
    if given.given:
        return Meaning(given, entries(given))
    masks = [look.mask for look in looks if look.mask is not None]
    in_colour = any(mask.in_colour for mask in masks)
    pixels, solid = _count(masks, in_colour)
    if in_colour:
        jpeg = any(is_jpeg(look) for look in looks)
        kind, found = "colours", [as_colour(code) for code in _used(pixels, solid, jpeg)]
    else:
        kind, found = _recognise(pixels, solid, len(names))
    if not kind:
        return Meaning(given)
    if len(found) != len(names) or (kind == "colours" and not (len(names) == 2 and found[0] == (0, 0, 0))):
        return Meaning(given, kind=kind, certain=False, code=f"mask_values={found}")
    return Meaning(MaskValues(names, found), found, kind, code=f"mask_values={found}")


def entries(values: MaskValues) -> list[MaskValue]:
    """Write the argument ``mask_values`` that makes such values.

    Args:
        values: what a data set was given.

    Returns:
        The value or colour of each label, and of pixels to ignore if there is one.
    """
    ordered = sorted(zip(values.labels.tolist(), values.codes.tolist(), strict=True))
    ignored = [code for label, code in ordered if label == IGNORE]
    codes = [code for label, code in ordered if label != IGNORE] + [code for code in ignored if code != IGNORE][:1]
    return [as_colour(code) for code in codes] if values.are_colours else codes


def as_colour(code: int) -> tuple[int, int, int]:
    """Write 0xRRGGBB as (R, G, B)."""
    return code >> 16, code >> 8 & 255, code & 255


def codes_of(mask: MaskLook, in_colour: bool) -> np.ndarray:
    """Bring the values of a mask to those of its data set.

    Args:
        mask: the mask.
        in_colour: whether colours stand for labels in this data set; a number is then that grey.

    Returns:
        (V,) codes, see `MaskValues`.
    """
    return mask.codes.astype(np.int64) * 0x010101 if in_colour and not mask.in_colour else mask.codes


def is_jpeg(look: Look) -> bool:
    """Whether the mask is a JPEG file, which changes values all over the place."""
    return str(look.pair.mask).lower().endswith((".jpg", ".jpeg")) and not isinstance(look.pair.mask, np.ndarray)


def blends(mask: MaskLook, jpeg: bool) -> np.ndarray:
    """Tell which values of a mask are smoothed edges.

    Args:
        mask: the mask.
        jpeg: whether its file is one.

    Returns:
        (V,) bool; all False if there are fewer than three such values, unless the file is a JPEG.
    """
    thin = mask.solid < SOLID * mask.pixels
    return thin if thin.sum() >= FEW_BLENDS or jpeg else np.zeros_like(thin)


def _count(masks: list[MaskLook], in_colour: bool) -> tuple[dict[int, int], set[int]]:
    """Count the pixels of each value over all masks, and find those that fill areas."""
    if not masks:
        return {}, set()
    codes, place = np.unique(np.concatenate([codes_of(mask, in_colour) for mask in masks]), return_inverse=True)
    pixels = np.bincount(place, np.concatenate([mask.pixels for mask in masks]))
    solid = np.bincount(place, np.concatenate([mask.solid for mask in masks]))
    return dict(zip(codes.tolist(), pixels.tolist(), strict=True)), set(codes[solid >= SOLID * pixels].tolist())


def _used(pixels: dict[int, int], solid: set[int], jpeg: bool) -> list[int]:
    """List the values that are no smoothed edges, ascending."""
    return sorted(solid if jpeg or len(pixels) - len(solid) >= FEW_BLENDS else pixels)


def _recognise(pixels: dict[int, int], solid: set[int], n: int) -> tuple[Kind, list[MaskValue]]:
    """Compare the numbers in masks with the usual ways of storing n labels."""
    stored_as_labels = pixels.keys() <= {*range(n), IGNORE}
    if stored_as_labels and not (n == 2 and pixels.keys() == {0, IGNORE}):
        return "", []
    for kind, values in _usual_ways(pixels, solid, n):
        if sum(pixels.get(value, 0) for value in {*values, IGNORE}) >= NEARLY_ALL * sum(pixels.values()):
            return kind, values
    return "", []


def _usual_ways(pixels: dict[int, int], solid: set[int], n: int) -> Iterator[tuple[Kind, list[MaskValue]]]:
    """List the ways that the values allow."""
    if n == 2 and {0, IGNORE} <= solid and 1 not in solid:
        yield "0 and 255", [0, IGNORE]
    if 0 not in solid and n in pixels:
        yield "from 1", list(range(1, n + 1))
    step = min((code for code in solid if code > 0), default=0)
    if step > 1 and {0, step * (n - 1)} <= solid:
        yield "evenly spaced", list(range(0, step * n, step))
