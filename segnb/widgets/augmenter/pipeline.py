"""Steps of the augmenter -> pipeline of albumentations, and back.

RandomCrop              A.Compose([
OneOf              ◀──▶     A.RandomCrop(...),
  Blur                      A.OneOf([A.Blur(...), A.GaussNoise(...)]),
  GaussNoise            ])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from segnb.errors import SegnbError
from segnb.widgets.augmenter.catalogue import GROUP, find, transforms
from segnb.widgets.augmenter.parameters import controls_of, defaults
from segnb.widgets.augmenter.steps import Step, make_step, make_transform

if TYPE_CHECKING:
    import albumentations as A


def assemble(steps: Sequence[Step]) -> tuple[A.Compose, dict[int, int]]:
    """Make the pipeline.

    Args:
        steps: checked ones; those that are off are left out, and a group with nothing inside.

    Returns:
        The pipeline, and where each of its transforms stands in the list: id -> place.
    """
    import albumentations as A

    made: list[Any] = []
    places: dict[int, int] = {}
    for place, (step, members) in blocks(steps):
        if not step["on"]:
            continue
        group = step["name"] == GROUP
        transform = _make_group(step, members, places) if group else make_transform(step["name"], step["values"])
        if transform is not None:
            made.append(transform)
            places[id(transform)] = place
    return A.Compose(made), places


def blocks(steps: Sequence[Step]) -> list[tuple[int, tuple[Step, list[tuple[int, Step]]]]]:
    """Put the steps of a group with it.

    Args:
        steps: checked ones.

    Returns:
        (place, (step, members)) of each step that is not inside a group; members are (place, step).
    """
    found: list[tuple[int, tuple[Step, list[tuple[int, Step]]]]] = []
    for place, step in enumerate(steps):
        if step["inside"]:
            found[-1][1][1].append((place, step))
        else:
            found.append((place, (step, [])))
    return found


def name_values(steps: Sequence[Step], pipeline: A.Compose, places: Mapping[int, int]) -> None:
    """Put the values of the steps under their names on the transforms: some keep them in another form, as code a wrong one.

    Args:
        steps: those that made the pipeline.
        pipeline: of `assemble`; good for nothing but being written as code afterwards.
        places: of `assemble`.
    """
    for transform in pipeline.transforms:
        for one in (transform, *_members(transform)):
            for key, value in steps[places[id(one)]]["values"].items():
                setattr(one, key, tuple(value) if isinstance(value, list) else value)


def read_pipeline(pipeline: A.Compose, size: tuple[int, int]) -> list[Step]:
    """Turn a pipeline into steps.

    Args:
        pipeline: of transforms that are offered, and groups of them.
        size: see `make_step`.

    Returns:
        The steps that make the same pipeline.

    Raises:
        SegnbError: a transform cannot be shown as a step.
    """
    import albumentations as A

    if not isinstance(pipeline, A.Compose):
        raise SegnbError(f"{type(pipeline).__name__} is no A.Compose of transforms.")
    if pipeline.p != 1:
        raise SegnbError(f"A pipeline with p={pipeline.p} cannot be shown as steps: give each step its own p.")
    steps: list[Step] = []
    for transform in pipeline.transforms:
        steps.append(_read_step(transform, size))
        steps += [_read_step(member, size, inside=True) for member in _members(transform)]
    if any(step["inside"] and step["name"] == GROUP for step in steps):
        raise SegnbError("A group inside a group cannot be shown as steps.")
    return steps


def _read_step(transform: Any, size: tuple[int, int], *, inside: bool = False) -> Step:
    """Turn one transform into a step, or say that its arguments cannot be read off it."""
    name = _offered_name(transform)
    step = make_step(name, _given(name, transform), size, inside=inside)
    again = make_transform(name, step["values"])
    for key in controls_of(name):
        if getattr(again, key, None) != getattr(transform, key, None):
            raise SegnbError(f"{name} cannot be shown as a step: it keeps {key} in another form than it was given.")
    return step


def _members(transform: Any) -> Sequence[Any]:
    """List what is inside a group; ColorJitter has ``transforms`` of another kind."""
    return transform.transforms if type(transform).__name__ == GROUP else ()


def _offered_name(transform: Any) -> str:
    name = type(transform).__name__
    if transforms().get(name) is not type(transform):
        raise SegnbError(
            f"{name} cannot be shown as a step: it is not one of the transforms that albumentations offers here."
        )
    return name


def _given(name: str, transform: Any) -> dict[str, Any]:
    """Read the arguments off a transform; those that it keeps as a new one does were not given."""
    stored = {key: getattr(transform, key, None) for key in controls_of(name)}
    known = defaults(name)
    try:
        plain = make_transform(name, {key: value for key, value in stored.items() if key not in known})
    except SegnbError:  # it wants one of several arguments, as LongestMaxSize does: then all were given
        plain = None
    same = {key for key in known if getattr(plain, key, None) == stored[key]}
    return {key: known[key] if key in same else _simplify(value) for key, value in stored.items()}


def _simplify(value: Any) -> Any:
    """{"x": (0.9, 1.1), "y": (0.9, 1.1)} -> (0.9, 1.1): some transforms keep what was given once for both sides."""
    if isinstance(value, dict) and set(value) == {"x", "y"} and value["x"] == value["y"]:
        return value["x"]
    return value


def _make_group(step: Step, members: list[tuple[int, Step]], places: dict[int, int]) -> Any:
    inside = [(place, make_transform(member["name"], member["values"])) for place, member in members if member["on"]]
    if not any(transform.p for _, transform in inside):  # their p are weights: all zero cannot be thrown
        return None
    places.update({id(transform): place for place, transform in inside})
    return find(GROUP)([transform for _, transform in inside], **step["values"])
