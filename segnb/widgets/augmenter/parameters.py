"""How each parameter of a transform is set: its kind, its bounds and the value to begin with, read from the library.

    InitSchema.limit: Annotated[tuple[float, float] | float, AfterValidator(...)]   ─▶ a pair of numbers, their bounds
    InitSchema.border_mode: Literal[0, 1, 2, 3, 4]                                  ─▶ a choice
    __init__(..., p=0.5) and the section "Args:" of the docstring                   ─▶ the value to begin with, a help

Only names that OpenCV gives its numbers, and values where the library has none, are written down here.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from segnb.draw import IGNORE
from segnb.widgets.augmenter.catalogue import find, schema

PARAMETERS_LEFT_OUT = {
    "bbox_labels": "for bounding boxes",
    "rotate_method": "for bounding boxes",
    "keypoint_remapping_method": "for key points",
    "mask_params": "for a function, which cannot be written as code",
}
# Anything else would blend labels into ones that mean something else.
LABELS_STAY = {"mask_interpolation": (0, 6), "area_for_downscale": (None, "image")}

INTERPOLATION = {
    0: "nearest",
    1: "linear",
    2: "cubic",
    3: "area",
    4: "Lanczos",
    5: "linear, exact",
    6: "nearest, exact",
}
BORDER = {0: "constant", 1: "replicate", 2: "reflect", 3: "wrap", 4: "reflect 101"}
CONSTANTS = {"interpolation": INTERPOLATION, "mask_interpolation": INTERPOLATION, "border_mode": BORDER}  # of OpenCV


@cache
def controls_of(name: str) -> dict[str, dict[str, Any]]:
    """Read how each parameter of a transform is set.

    Args:
        name: of the transform.

    Returns:
        Parameter -> ``kind`` ("number", "pair", "flag", "choice" or "text"), ``whole`` numbers or not, ``low`` and
        ``high`` (None: no bound), ``options`` (pairs of value and text), ``none`` (whether None may be given) and
        ``help``. The probability p is first.
    """
    fields, helps = schema(name).model_fields, _parameter_helps(inspect.getdoc(find(name)) or "")
    # A parameter that the library's own model lacks has no effect: the library drops what is given.
    usable = [
        key for key in inspect.signature(find(name)).parameters if key in fields and key not in PARAMETERS_LEFT_OUT
    ]
    found = {key: _control(key, fields[key].annotation, fields[key].metadata) for key in usable}
    found = {key: {**control, "help": helps.get(key, "")} for key, control in found.items() if control}
    return {"p": found["p"], **{key: control for key, control in found.items() if key != "p"}}


def defaults(name: str, *, hidden: bool = False) -> dict[str, Any]:
    """Read the library's own values.

    Args:
        name: of the transform.
        hidden: whether to give those of parameters that are left out, too.

    Returns:
        Parameter -> default, for those that have one.
    """
    signature = inspect.signature(find(name)).parameters
    keys = [key for key in signature if key in schema(name).model_fields] if hidden else controls_of(name)
    values = {key: signature[key].default for key in keys}
    return {key: value for key, value in values.items() if value is not inspect.Parameter.empty}


def starting_values(name: str, size: tuple[int, int]) -> dict[str, Any]:
    """Give values to begin with: the library's, or some that suit the picture where it has none or they do nothing.

    What comes in from outside the picture is labelled 255, ignored, where the library would make a class of it.

    Args:
        name: of the transform.
        size: (height, width) to crop or resize to.

    Returns:
        Parameter -> value.
    """
    height, width = size
    known = defaults(name)
    if isinstance(known.get("fill_mask"), (int, float)):
        known["fill_mask"] = IGNORE
    missing = {
        "height": height,
        "width": width,
        "size": size,
        "min_max_height": (max(1, height // 2), height),
        "num_grid_xy": (4, 4),
        "magnitude": 10,
    }
    special = {
        "Crop": {"x_max": width, "y_max": height},
        "CropAndPad": {"percent": -0.1},
        "PadIfNeeded": {"min_height": height, "min_width": width},
        "LongestMaxSize": {"max_size": max(size)},
        "SmallestMaxSize": {"max_size": min(size)},
        "ConstrainedCoarseDropout": {"mask_indices": [1]},
        "XYMasking": {
            "num_masks_x": 1,
            "num_masks_y": 1,
            "mask_x_length": -(-width // 8),
            "mask_y_length": -(-height // 8),
        },
    }
    required = {key: value for key, value in missing.items() if key in controls_of(name) and key not in known}
    return {**known, **required, **special.get(name, {})}


def _control(name: str, annotation: Any, metadata: list[Any]) -> dict[str, Any] | None:
    """Turn a parameter's type into a control; None for one whose values cannot be written down."""
    parts = list(_parts(annotation, tuple(metadata)))
    types = [part for part, _ in parts if part is not NoneType]
    rules = [rule for _, rules in parts for rule in rules]
    if any(not isinstance(get_origin(part) or part, type) and get_origin(part) is not Literal for part in types) or any(
        _is_foreign(part) for part in types
    ):
        return None
    options = [value for part in types if get_origin(part) is Literal for value in get_args(part)]
    low, high = _bounds(rules)
    control = {"kind": _kind(types), "whole": _whole(types, rules), "low": low, "high": high}
    control["none"] = len(types) < len(parts) or None in options
    allowed = [value for value in options if value in LABELS_STAY.get(name, options)]
    control["options"] = [[value, CONSTANTS.get(name, {}).get(value, str(value).lower())] for value in allowed]
    return control


def _parts(annotation: Any, rules: tuple[Any, ...]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Walk through the members of a union, each with the rules that hold for it."""
    if get_origin(annotation) is Annotated:
        yield from _parts(annotation.__origin__, (*rules, *annotation.__metadata__))
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _parts(part, rules)
    else:
        yield annotation, rules


def _is_foreign(part: Any) -> bool:
    """Say whether a type is neither of Python's own data nor made of it: an array, a function."""
    kind = get_origin(part) or part
    return isinstance(kind, type) and (kind.__module__ == "numpy" or kind.__name__ == "Callable")


def _kind(types: list[Any]) -> str:
    if all(get_origin(part) is Literal for part in types):
        return "choice"
    if types == [bool]:
        return "flag"
    if any(_is_pair(part) for part in types):
        return "pair"
    return "number" if set(types) <= {int, float} else "text"


def _is_pair(part: Any) -> bool:
    return get_origin(part) is tuple and len(get_args(part)) == 2 and set(get_args(part)) <= {int, float}


def _whole(types: list[Any], rules: list[Any]) -> bool:
    """Say whether only whole numbers make sense: the type says so, or a rule that cuts the rest off."""
    numbers = {member for part in types for member in (get_args(part) or (part,))}
    return float not in numbers or any(getattr(_function(rule), "__name__", "") == "float2int" for rule in rules)


def _bounds(rules: list[Any]) -> tuple[float | None, float | None]:
    """Read the bounds off the rules of a parameter: pydantic's own, and the library's functions that check a pair."""
    lows, highs = [], []
    for rule in rules:
        lows += [getattr(rule, name, None) for name in ("ge", "gt")]
        highs += [getattr(rule, name, None) for name in ("le", "lt")]
        function = _function(rule)
        if function is not None:
            inner = inspect.getclosurevars(function).nonlocals  # check_range_bounds(min_val, max_val) makes a closure
            lows.append(0 if function.__name__ == "process_non_negative_range" else inner.get("min_val"))
            highs.append(inner.get("max_val"))
    return max(filter(_is_number, lows), default=None), min(filter(_is_number, highs), default=None)


def _function(rule: Any) -> Any:
    function = getattr(rule, "func", None)
    return function if inspect.isfunction(function) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _parameter_helps(text: str) -> dict[str, str]:
    """Cut the section "Args:" of a docstring into parameter -> first sentence."""
    section = re.split(r"^\w[\w ]*:\s*$", text.partition("Args:\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    found = re.findall(r"^ {4}(\w+)[^\n]*?:\s+(.*?)(?=^ {4}\w|\Z)", section, re.MULTILINE | re.DOTALL)
    return {name: " ".join(words.split()).partition(". ")[0].rstrip(".")[:200] for name, words in found}
