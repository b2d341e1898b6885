"""What was clicked in the mask viewer, written as Python code that can be run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def viewing_code(
    source: Any,
    flags: str | Path | None,
    changed: Mapping[str, Any],
    filters: Sequence[str],
    flagged: Sequence[str],
    *,
    pages: int = 1,
) -> str:
    """Write code that opens the same view and picks the same pictures.

    Args:
        source: what is explored; it appears under the name that the notebook has for it.
        flags: the file of flags if one was given.
        changed: traits that differ from what they were to begin with.
        filters: names of the traits that choose and sort pictures.
        flagged: names of the flagged pictures.
        pages: how many the viewer has for each picture, one for each class that may overlap with others.

    Returns:
        Lines of Python.
    """
    name = variable_of(source)
    file = "" if flags is None else f", flags={str(flags)!r}"
    lines = ["import segnb", ""]
    if name is None:
        name = "data" if hasattr(source, "read") else "predictions"
        lines += [f"# {name}: what explore() was given"]
    lines += [f"viewer = segnb.explore({name}{file})"]
    lines += [f"viewer.{trait} = {value!r}" for trait, value in changed.items()]
    if any(trait in filters for trait in changed):
        lines += [f"found = {_pick(source, name, 'viewer.found', pages)}"]
    if flagged:
        lines += [
            f"flagged = {list(flagged)!r}",
            "places = [i for i, name in enumerate(viewer.names) if name in flagged]",
            f"chosen = {_pick(source, name, 'places', pages)}",
        ]
    return "\n".join([*lines, "viewer"])


def variable_of(value: Any) -> str | None:
    """Find the name that the notebook has given to an object.

    Args:
        value: the object.

    Returns:
        A variable's name; None if there is none, or no notebook.
    """
    from IPython import get_ipython

    names = getattr(get_ipython(), "user_ns", {})
    return next((name for name, other in names.items() if other is value and not name.startswith("_")), None)


def _pick(source: Any, name: str, places: str, pages: int) -> str:
    """Write how to take some pictures: a data set has subsets, of predictions a list is made."""
    if pages > 1:
        places = f"sorted({{place // {pages} for place in {places}}})"
    if hasattr(source, "subset"):
        return f"{name}.subset({places})"
    return f"[{name}[i] for i in {places}]"
