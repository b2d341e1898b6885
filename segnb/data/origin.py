"""How a data set was made, in values that a text file can hold: a training run can then be written down and replayed."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from segnb.data.datasets import SegmentationDataset

Reader = TypeVar("Reader", bound="Callable[..., SegmentationDataset]")

PATHS = ("images", "masks", "annotations", "root")  # the arguments of readers that tell a place
NOT_CONTENT = ("cls", "transform", "cache_mb", "download")  # the arguments that do not tell what is in the data set


def remembers(reader: Reader) -> Reader:
    """Let a data set know which reader made it, with which arguments.

    Args:
        reader: a class method of `SegmentationDataset`, before it is made one.

    Returns:
        The same reader; what it returns has the attribute ``origin``, see `describe_call`.
    """

    @functools.wraps(reader)
    def read(*arguments: Any, **options: Any) -> SegmentationDataset:
        data = reader(*arguments, **options)
        data.origin = describe_call(reader.__name__, inspect.signature(reader).bind(*arguments, **options).arguments)
        return data

    return read


def describe_call(reader: str, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """Write down how a data set was read.

    Args:
        reader: its name.
        arguments: what it was given, by name.

    Returns:
        ``{"reader": name, **arguments}`` with absolute paths; None if an argument lives in memory only, such as an array.
    """
    told = {name: value for name, value in arguments.items() if name not in NOT_CONTENT and value is not None}
    try:
        return {"reader": reader, **{name: _to_text(value, name in PATHS) for name, value in told.items()}}
    except TypeError:
        return None


def _to_text(value: Any, is_path: bool) -> Any:
    """Turn a value into numbers, strings, and lists of them; a picture is none."""
    if is_path and isinstance(value, (str, Path)):
        return os.path.abspath(Path(value).expanduser())  # noqa: PTH100  resolve() would follow links, which may move
    if isinstance(value, np.ndarray) and not is_path:  # a palette
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_to_text(part, is_path) for part in value]
    if isinstance(value, (str, int, float)) and not is_path:
        return value
    raise TypeError(f"{type(value).__name__} cannot be written down")
