"""The steps that the augmenter lists: made, checked by the library, moved.

    {"name": "RandomCrop", "values": {"height": 128, ...}, "on": True, "inside": False}
    {"name": "OneOf",      "values": {"p": 0.2},           "on": True, "inside": False}  ─┐
    {"name": "Blur",       ...,                                        "inside": True }   ├─▶ one A.OneOf([Blur, GaussNoise])
    {"name": "GaussNoise", ...,                                        "inside": True }  ─┘

Steps are plain data, because the browser changes them and a saved notebook keeps them.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from segnb.errors import SegnbError, nearest
from segnb.widgets.augmenter.catalogue import GROUP, find, schema
from segnb.widgets.augmenter.parameters import LABELS_STAY, controls_of, defaults, starting_values

if TYPE_CHECKING:
    import albumentations as A

Step = dict[str, Any]


def make_step(
    name: str, values: Mapping[str, Any], size: tuple[int, int], *, on: bool = True, inside: bool = False
) -> Step:
    """Make a step, with values to begin with where none are given.

    Args:
        name: of the transform.
        values: parameter -> value.
        size: (height, width) to crop or resize to, unless given.
        on: whether the pipeline holds it.
        inside: whether it belongs to the group above.

    Returns:
        The step, its values as JSON has them (lists, not tuples).

    Raises:
        SegnbError: there is no such transform or parameter, or the library refuses a value.
    """
    find(name)
    unknown = [key for key in values if key not in controls_of(name)]
    if unknown:
        raise SegnbError(
            f"{name} has no parameter {unknown[0]!r} to set here. {nearest(unknown[0], controls_of(name))}".rstrip()
        )
    complete = {**starting_values(name, size), **values}
    for key, allowed in LABELS_STAY.items():
        if complete.get(key) not in (None, *allowed):
            raise SegnbError(
                f"{name} refuses {key}={complete[key]!r}: it would blend labels into ones that mean something else."
            )
    complete = _settle(name, complete)
    make_transform(name, complete)
    in_order = {key: complete[key] for key in controls_of(name) if key in complete}
    return {"name": name, "values": json.loads(json.dumps(in_order)), "on": bool(on), "inside": bool(inside)}


def check_steps(steps: Any, size: tuple[int, int]) -> list[Step]:
    """Check a whole list, as it comes from the browser or from a user.

    Args:
        steps: the steps; only ``name`` must be there.
        size: see `make_step`.

    Returns:
        Complete steps; a step that stands below no group is outside.

    Raises:
        SegnbError: see `make_step`.
    """
    if not isinstance(steps, Sequence) or not all(isinstance(step, Mapping) and "name" in step for step in steps):
        raise SegnbError("steps is a list of dictionaries such as {'name': 'HorizontalFlip', 'values': {'p': 0.5}}.")
    checked: list[Step] = []
    for step in steps:
        below_group = bool(checked) and (checked[-1]["inside"] or checked[-1]["name"] == GROUP)
        inside = step.get("inside", False) and below_group and step["name"] != GROUP
        checked.append(make_step(step["name"], step.get("values", {}), size, on=step.get("on", True), inside=inside))
    return checked


def move_step(steps: Sequence[Step], i: int, to: int) -> list[Step]:
    """Move a step; a group takes with it what is inside. Between two steps of a group it becomes one of them.

    Args:
        steps: checked ones.
        i: which, from 0.
        to: its place afterwards, as counted without what moves.

    Returns:
        The steps in their new order.

    Raises:
        SegnbError: there is no such place, or it is in another group.
    """
    end = i + 1
    while steps[i]["name"] == GROUP and end < len(steps) and steps[end]["inside"]:
        end += 1
    block, rest = list(steps[i:end]), [*steps[:i], *steps[end:]]
    if not 0 <= to <= len(rest):
        raise SegnbError(f"A step cannot move to place {to}: the places are 0 to {len(rest)}.")
    within = to < len(rest) and rest[to]["inside"]
    if within and steps[i]["name"] == GROUP:
        raise SegnbError(f"A group cannot move to place {to}, which is inside a group.")
    if steps[i]["name"] != GROUP:
        block = [{**steps[i], "inside": within}]
    return rest[:to] + block + rest[to:]


def make_transform(name: str, values: Mapping[str, Any]) -> A.BasicTransform:
    """Make one transform.

    Args:
        name: of the transform; of a group, one that holds nothing.
        values: parameter -> value.

    Returns:
        The transform of albumentations.

    Raises:
        SegnbError: the library refuses a value, with its reason.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hints at other transforms; a value that is refused raises
        try:
            return find(name)([], **values) if name == GROUP else find(name)(**values)
        except Exception as error:
            raise SegnbError(f"{name}: {' '.join(str(error).split())}") from error


def _settle(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Let the library check the values, and write numbers as it understands them: a limit of 0.2 as (-0.2, 0.2)."""
    once = _validate(name, values)
    twice = _validate(name, {**values, **{key: once[key] for key in values}})  # some add to what they are given
    controls = controls_of(name)
    settled = dict(values)
    for key, value in values.items():
        numbers = once[key] if isinstance(once[key], tuple) else (once[key],)
        plain = all(isinstance(number, (int, float)) for number in numbers)
        given = value is not None  # some put another argument in the place of None
        if given and controls[key]["kind"] in ("pair", "number") and plain and once[key] == twice[key]:
            settled[key] = once[key]
    return settled


def _validate(name: str, values: dict[str, Any]) -> dict[str, Any]:
    from pydantic import ValidationError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return schema(name)(**{**defaults(name, hidden=True), **values}, strict=True).model_dump()
        except ValidationError as error:
            raise SegnbError(_reason(name, values, error.errors())) from error


def _reason(name: str, values: dict[str, Any], problems: list[dict[str, Any]]) -> str:
    """Make one sentence of pydantic's list, which has an entry for each type that a value could have had."""
    key = problems[0]["loc"][0] if problems[0]["loc"] else None
    texts = [
        one["msg"].removeprefix("Value error, ").rstrip(".") for one in problems if key is None or one["loc"][0] == key
    ]
    reason = ", or ".join(dict.fromkeys(texts))
    return f"{name}: {reason}." if key is None else f"{name} refuses {key}={values.get(key)!r}: {reason}."
