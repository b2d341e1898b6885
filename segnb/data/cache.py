"""Decoded pictures kept in memory, up to a bound."""

from __future__ import annotations

from typing import Any

import numpy as np


class Cache:
    """Decoded pictures by key, until a number of bytes is reached.

    It needs no lock: two threads that miss the same picture both decode it, and the bound is met to within a picture.

    Args:
        megabytes: the bound; 0 keeps none.
    """

    def __init__(self, megabytes: float) -> None:
        self.size = int(megabytes * 1e6)
        self.used = 0
        self.pairs: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def get(self, key: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Find an image and its labels; None if they are not kept."""
        return self.pairs.get(key)

    def put(self, key: int, pair: tuple[np.ndarray, np.ndarray]) -> None:
        """Keep an image and its labels if there is room; nothing is dropped for them."""
        needed = sum(array.nbytes for array in pair)
        if self.used + needed <= self.size:
            self.pairs[key] = pair
            self.used += needed

    def describe(self) -> str:
        """Say how many pictures are kept, and how full the memory is."""
        return f"{len(self.pairs)} decoded, {self.used / 1e6:.0f} of {self.size / 1e6:.0f} MB"

    def __getstate__(self) -> dict[str, Any]:
        """Travel empty: a worker process reads its own pictures faster than it receives all of them."""
        return {"size": self.size, "used": 0, "pairs": {}}
