"""segnb's own folders.

folder/
config.json         how to build the model again, the names and colours of its labels, the range of values that it reads, where
                    its weights come from
model.safetensors   the weights
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from segnb.data.arguments import check_value_range
from segnb.encoders import read_tensors
from segnb.errors import SegnbError
from segnb.files import write_atomically
from segnb.models import SegmentationModel
from segnb.pretrained.checkpoint import Checkpoint

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def save_model(model: SegmentationModel, folder: str | Path) -> Path:
    """Write a model to a folder that `load_model` reads; each file appears whole or not at all.

    Args:
        model: made by `create_model`.
        folder: made if it is missing.

    Returns:
        The folder.

    Raises:
        SegnbError: the model was optimised.
    """
    return write_model(model, model.state_dict(), folder)


def write_model(model: SegmentationModel, weights: dict[str, Tensor], folder: str | Path) -> Path:
    """Write a model with other weights than it has now, such as those of its best epoch; see `save_model`."""
    from safetensors.torch import save_file

    if model.inference_only:
        raise SegnbError(
            "an optimised model cannot be saved: save the model that it was made from, and optimise that after loading."
        )
    folder = Path(folder)
    config = {**model.config, "label_names": model.label_names, "palette": np.asarray(model.palette).tolist()}
    if model.value_range is not None:
        config["value_range"] = list(model.value_range)
    if model.notes:
        config["notes"] = model.notes
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_atomically(folder / WEIGHTS, lambda path: save_file(tensors, path))
    write_atomically(folder / CONFIG, lambda path: path.write_text(json.dumps(config, indent=1)))
    return folder


def read_folder(folder: Path, config: dict[str, Any]) -> Checkpoint:
    """Read a folder that `save_model` wrote.

    Args:
        folder: holds the weights.
        config: content of its config.json.

    Raises:
        SegnbError: the config is not one of segnb's.
    """
    try:
        config = dict(config)
        colours, _, notes = config.pop("palette"), config.pop("label_names"), config.pop("notes", {})
        value_range = check_value_range(config.pop("value_range", None))
    except KeyError as error:
        raise SegnbError(
            f"{str(folder / CONFIG)!r} is not the config of a segnb model: it has no {error}. Give a folder that "
            "segnb.save_model wrote."
        ) from error
    return Checkpoint(config, read_tensors(folder / WEIGHTS), colours, notes, value_range)
