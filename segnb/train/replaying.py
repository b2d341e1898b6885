"""``segnb train run.yaml``: a written run again, with the same weights, data and recipe.

    run.yaml ─▶ model, its first weights ─┐
             ─▶ train, valid ─────────────┼─▶ fit ─▶ the same Run
             ─▶ recipe ───────────────────┘

Nothing in the file is run: it is read with YAML's safe loader, data are read by segnb's readers only, transforms are made by
albumentations from the names that it knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import albumentations as A
import yaml

from segnb.data import SegmentationDataset, crops, load_sample  # noqa: F401  albumentations then knows our crops by name
from segnb.encoders import read_tensors
from segnb.errors import SegnbError, nearest
from segnb.models import SegmentationModel, create_model
from segnb.pretrained.checkpoint import load_weights
from segnb.train.fitting import fit
from segnb.train.recipe import Recipe
from segnb.train.run import Run

if TYPE_CHECKING:
    from segnb.data.transforms import Transform

PARTS = ("model", "weights", "train", "valid", "recipe")
READERS = (
    "SegmentationDataset",
    "load_sample",
    *(name for name in dir(SegmentationDataset) if name.startswith("from_")),
)


def train_from_config(file: str | Path, *, out: str | Path | None = None, resume: bool = False) -> Run:
    """Do a written run: with the same weights, data and recipe as the one that wrote it.

    Args:
        file: that `Run.save_config` wrote.
        out: folder of the run; None makes one under ``runs/``.
        resume: go on with an unfinished run in that folder.

    Returns:
        The run.

    Raises:
        SegnbError: the file is not such a one, or something that it names is not there.
    """
    content = read_config(Path(file))
    model = make_model(content, Path(file).parent)
    train, valid = (make_data(name, content[name]) for name in ("train", "valid"))
    recipe = make_recipe(content["recipe"])
    return fit(
        model,
        train,
        valid,
        **{name: getattr(recipe, name) for name in Recipe.__dataclass_fields__},
        out=out,
        resume=resume,
    )


def make_recipe(described: Mapping[str, Any]) -> Recipe:
    """Check what `fit` is to be given."""
    known = Recipe.__dataclass_fields__
    for name in described:
        if name not in known:
            raise SegnbError(f"the recipe has no {name!r}. {nearest(str(name), known)}")
    return Recipe(**described)


def read_config(file: Path) -> dict[str, Any]:
    """Read the file and see that all its parts are there."""
    if not file.is_file():
        raise SegnbError(f"{str(file)!r} is not there: run.save_config writes such a file.")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SegnbError(f"{str(file)!r} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise SegnbError(f"{str(file)!r} is not the file of a run: run.save_config writes one.")
    for part in PARTS:
        if not isinstance(content.get(part), (str if part == "weights" else dict)):
            raise SegnbError(f"{str(file)!r} has no part {part!r}: a run has {', '.join(PARTS)}.")
    return content


def make_model(content: Mapping[str, Any], folder: Path) -> SegmentationModel:
    """Build the model with the weights that the run began with."""
    model = create_model(encoder_weights=None, **content["model"])
    file = folder / content["weights"]
    if not file.is_file():
        raise SegnbError(f"{str(file)!r} is not there: the weights that the run began with belong beside its file.")
    load_weights(model, read_tensors(file), str(file))
    return model


def make_data(name: str, described: Mapping[str, Any]) -> SegmentationDataset:
    """Read a data set again."""
    options = dict(described)
    reader, places, transform = (options.pop(key, None) for key in ("reader", "places", "transform"))
    if reader not in READERS:
        raise SegnbError(f"{name} has the unknown reader {reader!r}. {nearest(str(reader), READERS)}")
    try:
        if reader == "load_sample":
            part = options.pop("part")
            data = load_sample(**options)[("train", "valid").index(part)]
        else:
            data = (SegmentationDataset if reader == "SegmentationDataset" else getattr(SegmentationDataset, reader))(
                **options
            )
    except (TypeError, KeyError) as error:
        raise SegnbError(f"{name}: {reader} cannot be called with {', '.join(options)}: {error}") from error
    if transform is not None:
        data = data.with_transform(make_transform(name, transform))
    return data if places is None else data.subset(places)


def make_transform(name: str, described: Mapping[str, Any]) -> Transform:
    """Make an albumentations pipeline again."""
    try:
        return A.from_dict(described)
    except Exception as error:
        raise SegnbError(
            f"the transform of {name} cannot be made ({type(error).__name__}: {error}): this albumentations ({A.__version__}) "
            "may be another version than the one that wrote it."
        ) from error
