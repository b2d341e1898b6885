"""What is written into a data-flow drawing, and how wide it is."""

from __future__ import annotations

import math
from collections.abc import Sequence

PADDED = 0.12  # log2 of how much larger a padded picture may be
LETTERS = {" ": 0.33, "×": 0.84, "→": 0.84, "[": 0.4, "]": 0.4, ".": 0.33}  # widths in parts of the height; others 0.63


def shape_text(shape: Sequence[int]) -> str:
    """(64, 32, 32) -> "64×32×32"."""
    return "×".join(map(str, shape))


def scale_text(given: Sequence[int], taken: Sequence[int]) -> str:
    """Say how a map is resized on its way.

    Args:
        given: (C, h, w) where it comes from.
        taken: (C, h, w) where it arrives.

    Returns:
        ``"×2"``, ``"÷2"``, ``"→ 6×6"``, or nothing.
    """
    if len(given) != 3 or len(taken) != 3 or tuple(given[1:]) == tuple(taken[1:]):
        return ""
    (small, large), sign = ((given, taken), "×") if given[1] <= taken[1] else ((taken, given), "÷")
    factor = round(large[1] / small[1])
    # Sizes are halved rounding up: 23 rows come from 45.
    exact = factor > 1 and all(-(-large[axis] // factor) == small[axis] for axis in (1, 2))
    return f"{sign}{factor}" if exact else f"→ {shape_text(taken[1:])}"


def text_width(text: str, size: float) -> float:
    """Estimate the pixels that a line of text takes, on the safe side of the fonts that browsers and matplotlib use."""
    return size * sum(LETTERS.get(letter, 0.63) for letter in text)


def has_stride(size: Sequence[int], sides: Sequence[int], stride: int) -> bool:
    """Whether a map has the size of a picture divided by the stride, rounded up or, where the encoder pads, nearly."""
    return all(
        -(-of // stride) == side or abs(math.log2(of / side / stride)) < PADDED
        for of, side in zip(size, sides, strict=True)
    )
