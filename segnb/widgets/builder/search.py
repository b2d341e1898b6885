"""Finding an encoder among many: the same rules as the browser's list."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from segnb.errors import SegnbError, nearest

WEIGHTS = ("any", "pretrained", "offline")
ORDERS = ("name", "parameters")
NOT_STATED = "not stated"
ALL: dict[str, Any] = {"pattern": "", "max_parameters": None, "weights": "any", "licence": "", "order": "name"}


class EncoderRow(NamedTuple):
    """What the list shows of an encoder.

    Attributes:
        name: as in ``create_model(encoder_name=...)``.
        parameters: number of them.
        strides: of its maps.
        tags: (tag, licence) of each set of pretrained weights, best first; the licence is empty where it is not stated.
        offline: whether weights are on this machine.
    """

    name: str
    parameters: int
    strides: Sequence[int]
    tags: Sequence[tuple[str, str]]
    offline: bool


def found(rows: Sequence[EncoderRow], filters: Mapping[str, Any]) -> list[str]:
    """List the encoders that pass all filters, in the wanted order.

    Args:
        rows: all encoders.
        filters: as in `ALL`. A pattern with ``*`` or ``?`` must match the whole name, any other must occur in it.

    Returns:
        Names.
    """
    kept = [row for row in rows if _passes(row, filters)]
    by_parameters = filters["order"] == "parameters"
    return [row.name for row in sorted(kept, key=lambda row: (by_parameters and row.parameters, row.name))]


def checked_filters(filters: Mapping[str, Any], licences: Sequence[str]) -> dict[str, Any]:
    """Refuse filters that mean nothing.

    Args:
        filters: some or all of the keys of `ALL`.
        licences: those that occur.

    Returns:
        All keys.

    Raises:
        SegnbError: an unknown key, or a value that it cannot have.
    """
    for name in filters:
        if name not in ALL:
            raise SegnbError(f"the list of encoders has no filter {name!r}. {nearest(name, ALL)}")
    values = {**ALL, **filters}
    for name, options in (("weights", WEIGHTS), ("order", ORDERS), ("licence", ("", *licences))):
        if values[name] not in options:
            raise SegnbError(f"{name}={values[name]!r}. {nearest(str(values[name]), options)}")
    most = values["max_parameters"]
    if most is not None and (isinstance(most, bool) or not isinstance(most, (int, float)) or most < 0):
        raise SegnbError(f"max_parameters={most!r}: give a number of parameters, such as 30e6, or None for no limit.")
    if not isinstance(values["pattern"], str):
        raise SegnbError(f"pattern={values['pattern']!r}: give a part of a name, or a pattern such as 'convnext*'.")
    return values


def licences_of(rows: Sequence[EncoderRow]) -> list[str]:
    """List the licences that occur, the most frequent first."""
    counts: dict[str, int] = {}
    for row in rows:
        for licence in {licence or NOT_STATED for _, licence in row.tags}:
            counts[licence] = counts.get(licence, 0) + 1
    return sorted(counts, key=lambda licence: (-counts[licence], licence))


def _passes(row: EncoderRow, filters: Mapping[str, Any]) -> bool:
    pattern = filters["pattern"].strip().lower().replace("[", "[[]")  # in names a bracket has no meaning
    if "*" not in pattern and "?" not in pattern:
        pattern = f"*{pattern}*"
    available = {"any": True, "pretrained": bool(row.tags), "offline": row.offline}[filters["weights"]]
    most, licence = filters["max_parameters"], filters["licence"]
    return (
        available
        and fnmatch.fnmatchcase(row.name, pattern)
        and (most is None or row.parameters <= most)
        and (not licence or licence in {stated or NOT_STATED for _, stated in row.tags})
    )
