"""The arguments of a data set, brought to one form, or refused with a sentence on what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from segnb.data.sources import LazySource, MaskSource, Source
from segnb.data.wording import listed
from segnb.draw import IGNORE
from segnb.errors import SegnbError

ONE_CLASS = "one class overlaps no other, so leave multilabel out, which makes it binary."


def check_classes(classes: Sequence[str], *, multilabel: bool = False) -> list[str]:
    """Bring classes to a list.

    Args:
        classes: names of the labels.
        multilabel: whether they may overlap.

    Returns:
        A list of 1 to 255 names that all differ.

    Raises:
        SegnbError: they are something else.
    """
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        raise SegnbError(f"classes={classes!r}: give a list of names, such as ['road'] or ['sky', 'road'].")
    names = list(classes)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise SegnbError(f"classes={names!r}: give at least one name, and names only.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise SegnbError(f"classes repeats {listed([repr(name) for name in repeated])}: give each label its own name.")
    if len(names) > IGNORE:
        raise SegnbError(f"{len(names)} classes: at most 255 fit into 8-bit masks, where 255 means ignore.")
    if multilabel and len(names) == 1:
        raise SegnbError(f"multilabel=True with the single class {names[0]!r}: {ONE_CLASS}")
    return names


def check_sources(sources: Sequence[Source], kind: str) -> list[Source]:
    """Bring images or masks to a list.

    Args:
        sources: what a data set was given.
        kind: "image" or "mask".

    Returns:
        A list of paths, arrays and lazy sources.

    Raises:
        SegnbError: something else is among them.
    """
    if isinstance(sources, (str, Path)):
        raise SegnbError(f"{kind}s={str(sources)!r} is one path: give a list, or use SegmentationDataset.from_folder.")
    checked = list(sources)
    for index, source in enumerate(checked):
        if not isinstance(source, (str, Path, np.ndarray, LazySource)):
            raise SegnbError(f"{kind} {index} is a {type(source).__name__}: give a path or a NumPy array.")
    return checked


def check_plane_sources(masks: Sequence[MaskSource], names: list[str]) -> list[MaskSource]:
    """Bring the masks of a multi-label data set to a list.

    Args:
        masks: what the data set was given.
        names: the name of each class.

    Returns:
        A list of arrays, lazy sources, and lists with one source (or None) for each class.

    Raises:
        SegnbError: something else is among them.
    """
    if isinstance(masks, (str, Path)):
        raise SegnbError(f"masks={str(masks)!r} is one path: give a list, or use SegmentationDataset.from_folder.")
    checked = list(masks)
    for index, mask in enumerate(checked):
        if isinstance(mask, (np.ndarray, LazySource)):
            continue
        if not isinstance(mask, (list, tuple)) or len(mask) != len(names) or all(plane is None for plane in mask):
            what = f"{len(mask)} masks" if isinstance(mask, (list, tuple)) else f"a {type(mask).__name__}"
            raise SegnbError(
                f"mask {index} of the multi-label data set is {what}: give an array (K, H, W), or a list of one mask for each "
                f"of the {len(names)} classes ({listed(names)}), None where the picture has no such class."
            )
        check_sources([plane for plane in mask if plane is not None], f"plane of mask {index}:")
    return checked


def check_palette(palette: Sequence[Sequence[int]] | np.ndarray, names: list[str]) -> np.ndarray:
    """Bring a palette to an array.

    Args:
        palette: a colour (R, G, B) of 0 to 255 for each label.
        names: the name of each label.

    Returns:
        (labels, 3) uint8.

    Raises:
        SegnbError: it has another shape or other numbers.
    """
    colours = np.asarray(palette)
    if colours.shape != (len(names), 3) or colours.min() < 0 or colours.max() > 255:
        raise SegnbError(
            f"palette has shape {colours.shape}: give one colour (R, G, B) of 0 to 255 for each of {len(names)} labels "
            f"({listed(names)})."
        )
    return colours.astype(np.uint8)


def check_value_range(value_range: Sequence[float] | None) -> tuple[float, float] | None:
    """Bring a range to a pair of numbers, or say what is wrong with it.

    Args:
        value_range: (low, high), or None.

    Returns:
        The pair, or None.

    Raises:
        SegnbError: it is not a pair of finite numbers with the smaller one first.
    """
    if value_range is None:
        return None
    ends = np.asarray(value_range, object)
    numbers = ends.shape == (2,) and all(isinstance(end, (int, float, np.number)) for end in ends)
    if not numbers or not np.isfinite(ends.astype(float)).all() or not ends[0] < ends[1]:
        raise SegnbError(
            f"value_range={value_range!r}: give two numbers (low, high), the stored values that become 0 and 255, the "
            "smaller first."
        )
    return float(ends[0]), float(ends[1])
