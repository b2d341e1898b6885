"""What can be repaired in memory: a new data set, with no file changed.

picture ─▶ cannot be read, leaks, no label known, ... ─▶ left out
        ─▶ mask turned, scaled, edges smoothed ────────▶ an array instead of the file
        ─▶ grey among RGB ─────────────────────────────▶ an array instead of the file
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from segnb.data.checks.looking import Look
from segnb.data.checks.meaning import as_colour
from segnb.data.checks.survey import Survey
from segnb.data.mask_values import MaskValues
from segnb.data.reading import read_image, read_mask, title_of
from segnb.data.sources import Source

REACH = 3  # pixels around a blend in which the labels that it is a blend of lie


def is_left_out(survey: Survey, look: Look) -> bool:
    """Tell whether a picture can be neither used nor repaired.

    Args:
        survey: the data set.
        look: one of its pictures.

    Returns:
        Whether it cannot be read, is a training picture that validation shows, too, or has a fault without a remedy.
    """
    if look.problems:
        return True
    if look.pair.part == "train" and any(
        twins.first is look and twins.second.pair.part == "valid" for twins in survey.twins
    ):
        return True
    fault = survey.label_fault(look)
    return (
        survey.size_fault(look) == "other"
        or fault == "unknown"
        or (fault == "smoothed" and not survey.can_snap)
        or look.image.shape[2] not in (1, survey.channels)
    )


def repair(survey: Survey, look: Look) -> tuple[Source, Source]:
    """Repair one picture.

    Args:
        survey: the data set.
        look: one of its pictures that is not left out.

    Returns:
        Its image and its mask: where they come from, or arrays in their place if something had to be done.
    """
    pair = look.pair
    image, mask = pair.image, pair.mask
    if look.image.shape[2] != survey.channels:
        pixels = read_image(image, title_of(image, "image", pair.index), pair.value_range)
        image = np.repeat(pixels, survey.channels, axis=2)
    size_fault, label_fault = survey.size_fault(look), survey.label_fault(look)
    if size_fault or label_fault:
        values = survey.meaning.values
        mask = read_mask(mask, title_of(mask, "mask", pair.index), colours=values.are_colours)
        if label_fault:
            is_grey = values.are_colours and mask.ndim == 2  # an array of numbers among colours
            mask = snap(np.repeat(mask[:, :, None], 3, axis=2) if is_grey else mask, values)
        if size_fault == "turned":
            mask = turn(mask, look.image.orientation)
        if size_fault == "scaled":
            mask = resize(mask, look.image.shape[:2])
    return image, mask


def turn(mask: np.ndarray, orientation: int) -> np.ndarray:
    """Turn a mask upright as EXIF says.

    Args:
        mask: (H, W) or (H, W, 3).
        orientation: 5 to 8, see https://www.cipa.jp/std/documents/e/DC-X008-Translation-2019-E.pdf, 4.6.4 A.

    Returns:
        (W, H) or (W, H, 3).
    """
    if orientation in (5, 7):
        return np.ascontiguousarray(np.rot90(mask.swapaxes(0, 1), 0 if orientation == 5 else 2))
    return np.ascontiguousarray(np.rot90(mask, -1 if orientation == 6 else 1))


def resize(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a mask with nearest: every new pixel takes the value of the old one at its centre.

    Args:
        mask: (H, W) or (H, W, 3).
        size: (H', W').

    Returns:
        (H', W') or (H', W', 3).
    """
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, mask.shape, strict=False))
    return mask[rows[:, None], columns]


def snap(mask: np.ndarray, values: MaskValues) -> np.ndarray:
    """Give every pixel the nearest value that means something, among those within three pixels if there are any.

    On an edge from 0 to 200 lies a 100, which may be the value of another label; but not of one that is near.

    Args:
        mask: (H, W) numbers or (H, W, 3) colours, uint8.
        values: those with a meaning.

    Returns:
        The same shape, with these values only.
    """
    pixels = mask.reshape(*mask.shape[:2], -1).astype(int)
    known = [np.atleast_1d(as_colour(code) if values.are_colours else code) for code in values.codes.tolist()]
    least = np.full(mask.shape[:2], np.inf)
    snapped = np.empty_like(pixels)
    for value in known:
        distance = np.abs(pixels - value).sum(axis=2)
        near = ndimage.binary_dilation(distance == 0, iterations=REACH)
        distance = distance + ~near * 1000  # more than any distance of colours: only if nothing is near
        nearer = distance < least
        least[nearer], snapped[nearer] = distance[nearer], value
    return snapped.reshape(mask.shape).astype(np.uint8)
