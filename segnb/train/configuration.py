"""`Run.save_config`: a run as a text file, which `segnb.train.replaying` does again.

run.yaml          model: what create_model was given
                  weights: run.safetensors
                  train, valid: reader and its arguments, places among what it reads, transform
                  recipe: what fit was given
run.safetensors   the weights that the run began with
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import albumentations as A
import numpy as np
import yaml

from segnb import __version__
from segnb.errors import SegnbError
from segnb.files import write_atomically
from segnb.pretrained import WEIGHTS
from segnb.train.checkpoint import START
from segnb.train.recipe import Recipe
from segnb.train.run import Run

if TYPE_CHECKING:
    from segnb.data.transforms import Transform

WEIGHTS_SUFFIX = ".safetensors"


class Lines(yaml.SafeDumper):
    """YAML with one line for each key, and lists of numbers and names in a row."""


Lines.add_representer(
    list,
    lambda dumper, items: dumper.represent_sequence(
        "tag:yaml.org,2002:seq", items, flow_style=not any(isinstance(item, dict) for item in items)
    ),
)


def write_config(run: Run, file: str | Path) -> Path:
    """Write a run, see `Run.save_config`."""
    file = Path(file)
    start = run.path / START / WEIGHTS
    if not start.is_file():
        raise SegnbError(
            f"{str(start)!r} is not there: without the weights that it began with, a run cannot be replayed."
        )
    weights = file.with_suffix(WEIGHTS_SUFFIX)
    content = {
        "segnb": __version__,
        "model": _plain(run.settings["model"]),
        "weights": weights.name,
        "train": describe_data("train", run.train),
        "valid": describe_data("valid", run.valid),
        "recipe": describe_recipe(run.recipe),
    }
    text = yaml.dump(content, Dumper=Lines, sort_keys=False, allow_unicode=True, width=120)
    write_atomically(weights, lambda temporary: shutil.copyfile(start, temporary))
    return write_atomically(file, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def describe_data(name: str, data: Any) -> dict[str, Any]:
    """Write down how to make a data set again: its reader, its places, its transform."""
    origin = getattr(data, "origin", None)
    if origin is None:
        raise SegnbError(
            f"the data set {name} cannot be written into a file: its pictures are in memory only. Make it from files, for "
            "example with SegmentationDataset.from_folder."
        )
    described = {**origin, "places": data.places}
    if data.transform is not None:
        described["transform"] = describe_transform(name, data.transform)
    return described


def describe_transform(name: str, transform: Transform) -> dict[str, Any]:
    """Write down an albumentations pipeline."""
    try:
        described = _plain(A.to_dict(transform))
        A.from_dict(described)  # a function with a name is written, but not read
    except Exception as error:
        raise SegnbError(
            f"the transform of {name} cannot be written into a file ({error}): use an albumentations pipeline without functions "
            "of your own."
        ) from error
    return described


def describe_recipe(recipe: Recipe) -> dict[str, Any]:
    """Write down what `fit` was given."""
    for field in ("loss", "optimizer"):
        value = getattr(recipe, field)
        if callable(value):
            raise SegnbError(
                f"{field}={value!r} cannot be written into a file: give it by name, or train from a script of your own."
            )
    return _plain(asdict(recipe))


def _plain(value: Any) -> Any:
    """Turn tuples into lists and the like, as JSON does; refuse what is neither number nor text."""
    return json.loads(json.dumps(value, default=_from_numpy))


def _from_numpy(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r} cannot be written")
