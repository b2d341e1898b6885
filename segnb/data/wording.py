"""Small phrases that several messages share."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, noun: str) -> str:
    """Write a number with its noun.

    Args:
        number: how many there are.
        noun: what they are, in the singular, for which an s makes the plural.

    Returns:
        "1 image", "2 images".
    """
    return f"{number} {noun}{'s' * (number != 1)}"


def listed(words: Sequence[str], most: int = 8) -> str:
    """Write out the first words of a list that may be long.

    Args:
        words: all of them.
        most: how many to write out.

    Returns:
        "a, b, c", or "a, b and 7 more".
    """
    rest = len(words) - most
    return ", ".join(words[:most]) + (f" and {rest} more" if rest > 0 else "")
