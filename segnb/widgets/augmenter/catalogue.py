"""Which transforms of albumentations the augmenter offers: all that the installed library has, but those named here.

every class in albumentations ─┬─▶ works on a picture with its mask: offered, with its group and its docstring
                               └─▶ left out, with the reason
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from segnb.errors import SegnbError, nearest

GROUP = "OneOf"  # throws one of the transforms inside it

# What cannot work on a picture with its mask. Transforms of volumes, and those that read another input by its key
# (reference images, metadata, a box), are found by their base class and their parameters.
LEFT_OUT = {
    "AtLeastOneBBoxRandomCrop": "it chooses its crop by bounding boxes",
    "BBoxSafeRandomCrop": "it chooses its crop by bounding boxes",
    "RandomSizedBBoxSafeCrop": "it chooses its crop by bounding boxes",
    "FromFloat": "data sets hand over uint8 already",
    "ToFloat": "data sets hand over uint8, and the model normalises by itself",
    "Normalize": "data sets hand over uint8, and the model normalises by itself",
    "ToRGB": "a data set keeps its number of channels",
    "Lambda": "its functions cannot be written as code",
}


@cache
def transforms() -> dict[str, type]:
    """Find the transforms that work on a picture with its mask.

    Returns:
        Name -> class, in alphabetical order; `GROUP` is first.
    """
    import albumentations as A

    found = {name: kind for name, kind in sorted(vars(A).items()) if reason_left_out(name, kind) == ""}
    return {GROUP: A.OneOf, **found}


@cache
def left_out() -> dict[str, str]:
    """Tell which transforms are not offered.

    Returns:
        Name -> reason.
    """
    import albumentations as A

    reasons = {name: reason_left_out(name, kind) for name, kind in sorted(vars(A).items())}
    return {name: reason for name, reason in reasons.items() if reason}


def reason_left_out(name: str, kind: Any) -> str | None:
    """Decide whether something of the library is offered.

    Args:
        name: in the library.
        kind: what bears the name.

    Returns:
        The empty string for a transform that is offered, a reason for one that is not, None for anything else.
    """
    import albumentations as A

    if (
        not inspect.isclass(kind)
        or not issubclass(kind, A.BasicTransform)
        or kind.__module__ == A.BasicTransform.__module__
    ):
        return None  # no transform, or one of the base classes (and NoOp)
    if name in LEFT_OUT:
        return LEFT_OUT[name]
    if not issubclass(kind, (A.DualTransform, A.ImageOnlyTransform)) or issubclass(kind, A.Transform3D):
        return "it works on volumes or tensors, not on a picture with its mask"
    if any(parameter.endswith("_key") for parameter in inspect.signature(kind).parameters):
        return "it needs more than a picture and its mask, such as reference images"
    return ""


def find(name: str) -> type:
    """Look a transform up.

    Args:
        name: its class name.

    Returns:
        The class.

    Raises:
        SegnbError: it is left out, or there is none.
    """
    if name in transforms():
        return transforms()[name]
    if name in left_out():
        raise SegnbError(f"A.{name} cannot be used here: {left_out()[name]}.")
    raise SegnbError(f"albumentations has no transform {name!r}. {nearest(name, transforms())}".rstrip())


def entries() -> list[dict[str, str]]:
    """Describe all transforms for the search.

    Returns:
        For each its ``name``, ``group`` (the library's own: Blur, Crops, ...), ``about`` (a sentence or two) and
        ``masks``: whether masks follow.
    """
    import albumentations as A

    return [
        {
            "name": name,
            "group": "Groups" if name == GROUP else kind.__module__.split(".")[2].capitalize(),
            "about": _first_paragraph(inspect.getdoc(kind) or ""),
            "masks": not issubclass(kind, A.ImageOnlyTransform),
        }
        for name, kind in transforms().items()
    ]


def schema(name: str) -> type:
    """Give the pydantic model that checks the parameters of a transform.

    Args:
        name: of the transform.

    Returns:
        Its ``InitSchema``.
    """
    import albumentations as A

    return getattr(find(name), "InitSchema", A.BasicTransform.InitSchema)


def _first_paragraph(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split())
