"""Which of a backbone's levels plays each stride that a decoder reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from segnb.errors import SegnbError


def choose_levels(reductions: Sequence[int], strides: Sequence[int]) -> list[int | None]:
    """Choose which of a backbone's levels plays each requested stride.

    Args:
        reductions: stride of each level that the backbone has, in order of depth.
        strides: requested strides, ascending.

    Returns:
        For each requested stride the level's position, or None for a stride below 4 that the backbone lacks.
    """
    offered = [stride if stride >= 4 or stride in reductions else None for stride in strides]
    wanted = [stride for stride in offered if stride is not None]
    if len(set(reductions)) == 1:
        depth, count = len(reductions), len(wanted)
        evenly = iter(max(0, (order + 1) * depth // count - 1) for order in range(count))
        return [None if stride is None else next(evenly) for stride in offered]

    def distance(level: int, stride: int) -> tuple[float, int]:
        return abs(math.log(reductions[level] / stride)), -level

    return [None if s is None else min(range(len(reductions)), key=partial(distance, stride=s)) for s in offered]


def given_levels(
    indices: Sequence[int], reductions: Sequence[int], strides: Sequence[int], name: str
) -> list[int | None]:
    """Check levels chosen by hand: one for each requested stride that the backbone has."""
    depth, chosen = len(reductions), choose_levels(reductions, strides)
    wanted = sum(level is not None for level in chosen)
    if len(indices) != wanted or not all(isinstance(index, int) and -depth <= index < depth for index in indices):
        raise SegnbError(
            f"encoder_output_indices={indices!r}: give {wanted} numbers from 0 to {depth - 1}, levels of {name!r}."
        )
    remaining = iter(index % depth for index in indices)
    return [None if level is None else next(remaining) for level in chosen]
