"""Tensors out of a pickle that holds other objects as well, without running any of its code.

A training library may write its loggers and messages beside the weights. `torch.load` with ``weights_only`` then refuses the
whole file. Here only what makes tensors is made; everything else becomes a `Nothing`, whatever class the file names.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import _utils

ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): _utils._rebuild_parameter,
    ("torch", "Size"): torch.Size,
}


class Nothing:
    """Stands for an object that was not made; takes whatever a pickle does to it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        """Drop an item."""

    def extend(self, items: Any) -> None:
        """Drop items."""


class Unpickler(pickle.Unpickler):
    """Finds the classes of tensors, and `Nothing` for all others."""

    def find_class(self, module: str, name: str) -> Any:
        """Look a class up in the list of those that make tensors."""
        return ALLOWED.get((module, name), Nothing)


class InertPickle:
    """What `torch.load` takes as a ``pickle_module``."""

    __name__ = "segnb.encoders.unpickling"
    Unpickler = Unpickler

    @staticmethod
    def load(file: Any, **options: Any) -> Any:
        """Read one object; for files of before PyTorch 1.6."""
        return Unpickler(file, **options).load()


def load_inert(path: Path) -> Any:
    """Read a file that `torch.save` wrote, making nothing but tensors and plain containers, numbers and text.

    Args:
        path: the file.

    Returns:
        Its content, with `Nothing` in place of other objects.
    """
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=InertPickle)
