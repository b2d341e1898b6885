"""A run as the Python that makes it: what "Copy as code" of the monitor puts on the clipboard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

WIDTH = 110  # characters: a longer call has one argument a line
MODEL = ("arch", "encoder_name")  # arguments without their names


def run_code(run: Any) -> str:
    """Write the code that makes such a run.

    Args:
        run: a `segnb.train.Run`.

    Returns:
        Python with the data, the model and the call of `segnb.fit`; arguments that have their default are left out.
    """
    model = dict(run.settings["model"])
    place = [repr(model.pop(name)) for name in MODEL if name in model]  # a network has no encoder
    if model.get("in_channels") == 3:
        del model["in_channels"]
    return "\n".join(
        [
            "import segnb",
            "",
            *_data(run.train, run.valid),
            f"model = {_call('segnb.create_model', place, model)}",
            f"run = {_call('segnb.fit', ['model', 'train', 'valid'], _changed(run))}",
            "",
            '# Exactly this run, with its augmentation and first weights: run.save_config("run.yaml"), then',
            "# segnb train run.yaml",
        ]
    )


def _data(train: Any, valid: Any) -> list[str]:
    """Write how the data were read, if that is known and short."""
    origins = [getattr(data, "origin", None) for data in (train, valid)]
    if all(origin is not None and origin["reader"] == "load_sample" for origin in origins):
        return [f"train, valid = segnb.load_sample({origins[0]['name']!r})"]
    lines = []
    for name, origin in zip(("train", "valid"), origins, strict=True):
        line = "" if origin is None else _read(dict(origin))
        lines.append(f"{name} = {line}" if 0 < len(line) < 600 else f"{name} = ...  # a segnb.SegmentationDataset")
    return lines


def _read(origin: dict[str, Any]) -> str:
    reader = origin.pop("reader")
    name = "segnb.SegmentationDataset" + ("" if reader == "SegmentationDataset" else f".{reader}")
    return _call(name, [], origin)


def _changed(run: Any) -> dict[str, Any]:
    """List what was not left to its default; the number of epochs always."""
    given = {one.name: (getattr(run.recipe, one.name), one.default) for one in fields(run.recipe)}
    found = ("batch_size",) if run.settings["batch_size"] == "auto" else ()  # the recipe holds what "auto" has chosen
    changed = {name: value for name, (value, default) in given.items() if value != default and name not in found}
    return {"epochs": run.recipe.epochs, **changed}


def _call(function: str, arguments: list[str], options: Mapping[str, Any]) -> str:
    written = [*arguments, *(f"{name}={_value(value)}" for name, value in options.items())]
    line = f"{function}({', '.join(written)})"
    return line if len(line) <= WIDTH else f"{function}(\n    " + ",\n    ".join(written) + ",\n)"


def _value(value: Any) -> str:
    """A function has a name; where it comes from, the user knows."""
    return getattr(value, "__name__", None) or repr(value)
