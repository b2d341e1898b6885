"""A pipeline of augmentation as the Python that makes it: to read it, to keep it in a notebook, to change a number.

A.Compose(...) in memory ─▶ steps and what of them is not the default ─▶ text ─▶ exec ─▶ the same pictures
"""

from __future__ import annotations

import inspect
from typing import Any

import albumentations as A

from segnb.errors import SegnbError

INDENT = "    "
WIDTH = 100  # characters: a longer step goes on several lines

# Numbers of OpenCV that mean more with their names.
INTERPOLATIONS = ("INTER_NEAREST", "INTER_LINEAR", "INTER_CUBIC", "INTER_AREA", "INTER_LANCZOS4")
BORDERS = ("BORDER_CONSTANT", "BORDER_REPLICATE", "BORDER_REFLECT", "BORDER_WRAP", "BORDER_REFLECT_101")
CONSTANTS = {"interpolation": INTERPOLATIONS, "mask_interpolation": INTERPOLATIONS, "border_mode": BORDERS}


def as_code(pipeline: A.Compose | A.BasicTransform) -> str:
    """Write the code that makes a pipeline.

    Args:
        pipeline: an albumentations pipeline or transform, such as `preset` returns.

    Returns:
        Python that imports what it needs and leaves the pipeline in ``transform``; with the same seed it makes the same
        pictures. Arguments that have their default are left out.

    Raises:
        SegnbError: a step is no albumentations transform, or was made from a function, which has no text.

    Example:
        >>> print(as_code(preset("light", (256, 256))))
        import albumentations as A
        <BLANKLINE>
        transform = A.Compose([
            A.RandomCrop(height=256, width=256, pad_if_needed=True, fill_mask=255.0),
            A.HorizontalFlip(),
            A.RandomBrightnessContrast(brightness_limit=(-0.1, 0.1), contrast_limit=(-0.1, 0.1)),
        ])
    """
    imports: set[str] = {"import albumentations as A"}
    code = _write(pipeline, "", imports)
    if "cv2." in code:
        imports.add("import cv2")
    in_order = sorted(imports, key=lambda line: (line.startswith("from"), line))
    return "\n".join([*in_order, "", f"transform = {code}"])


def _write(step: Any, indent: str, imports: set[str]) -> str:
    """Write one step, or one group of steps with all that is in it."""
    if not isinstance(step, (A.BaseCompose, A.BasicTransform)) or isinstance(step, A.Lambda):
        raise SegnbError(
            f"{type(step).__name__} cannot be written as code: as_code knows the transforms of albumentations, "
            "except A.Lambda, whose functions have no text."
        )
    kind = type(step)
    name = f"A.{kind.__name__}" if hasattr(A, kind.__name__) else kind.__name__
    if not name.startswith("A."):
        imports.add(f"from {kind.__module__} import {kind.__name__}")
    arguments = [f"{key}={_value(key, value)}" for key, value in _changed(step).items()]
    if isinstance(step, A.BaseCompose):
        steps = "".join(f"{indent}{INDENT}{_write(inside, indent + INDENT, imports)},\n" for inside in step.transforms)
        return f"{name}(" + ", ".join([f"[\n{steps}{indent}]", *arguments]) + ")"
    line = f"{name}({', '.join(arguments)})"
    if len(indent + line) <= WIDTH:
        return line
    return f"{name}(\n" + "".join(f"{indent}{INDENT}{argument},\n" for argument in arguments) + f"{indent})"


def _changed(step: A.BaseCompose | A.BasicTransform) -> dict[str, Any]:
    """List the arguments of a step that differ from its defaults."""
    parameters = {key: p for key, p in inspect.signature(type(step).__init__).parameters.items() if key != "self"}
    required = {key: getattr(step, key) for key, p in parameters.items() if p.default is p.empty}
    # Steps bring arguments into another form (0.1 -> (-0.1, 0.1)): so does one with nothing but its defaults.
    try:
        plain = type(step)(**required)
    except ValueError:
        plain = None  # LongestMaxSize and others want one of several arguments: all that are not None are written
    changed = {key: getattr(step, key) for key in parameters if key in required or _differ(step, plain, key)}
    changed.pop("transforms", None)
    return changed


def _differ(step: Any, plain: Any, key: str) -> bool:
    return getattr(step, key, None) != getattr(plain, key, None)


def _value(key: str, value: Any) -> str:
    names = CONSTANTS.get(key, ())
    return f"cv2.{names[value]}" if isinstance(value, int) and 0 <= value < len(names) else repr(value)
