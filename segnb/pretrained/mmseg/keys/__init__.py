"""MMSegmentation's name of each tensor -> ours, and what in the names tells a method.

A folder of decoders has a table here; the same regular expressions are tried in order on every tensor of a checkpoint. A table
may also have OPTIONS, which tell the options of `create_model` from the tensors as they stand in the file, and MOVES, which come
before all else, where only a part of what MMSegmentation calls the backbone is our encoder; REARRANGE changes what has been
renamed, where names alone do not tell enough.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from segnb.pretrained.mmseg.keys import affinity, fast, networks, plain, pooling, pyramid, query
from segnb.pretrained.mmseg.keys.common import COMMON, Patterns

# In the order in which marks are tried: a pyramid may stand before a head of pooling, and parts of plain heads are in others.
TABLES = (affinity, pyramid, pooling, query, networks, fast, plain)
KEYS: dict[str, Patterns] = {arch: patterns for table in TABLES for arch, patterns in table.KEYS.items()}
MARKS: dict[str, str] = {arch: mark for table in TABLES for arch, mark in table.MARKS.items()}
OPTIONS: dict[str, Callable[[dict[str, Tensor]], dict[str, Any]]] = {
    arch: tell for table in TABLES for arch, tell in getattr(table, "OPTIONS", {}).items()
}
MOVES: dict[str, Patterns] = {
    arch: patterns for table in TABLES for arch, patterns in getattr(table, "MOVES", {}).items()
}
REARRANGE: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    arch: rearrange for table in TABLES for arch, rearrange in getattr(table, "REARRANGE", {}).items()
}

__all__ = ["COMMON", "KEYS", "MARKS", "MOVES", "OPTIONS", "REARRANGE"]
