"""The one error a user of segnb meets, and the help that it carries."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SegnbError(ValueError):
    """Something given to segnb does not fit: the message says what was given, what was expected and what to do."""


def nearest(word: str, options: Iterable[str], count: int = 3) -> str:
    """Offer the options most like a misspelt word.

    Args:
        word: what was given.
        options: the valid names.
        count: how many names to offer at most.

    Returns:
        A phrase such as ``"Did you mean 'unet' or 'fpn'?"``; all names if none is close and there are few;
        otherwise the empty string.
    """
    names = sorted(options)
    close = difflib.get_close_matches(str(word).lower(), names, n=count, cutoff=0.5)
    if close:
        return "Did you mean " + " or ".join(repr(name) for name in close) + "?"
    if 0 < len(names) <= 12:
        return "Choose from: " + ", ".join(names) + "."
    return ""
