"""What every reader of checkpoints hands over, and how it gets into a model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from segnb.encoders import read_tensors
from segnb.errors import SegnbError
from segnb.models import SegmentationModel

Patterns = Iterable[tuple[str, str]]


@dataclass
class Checkpoint:
    """A trained model, in segnb's words.

    Attributes:
        config: the keywords of `create_model` that build it; ``classes`` are names where the file has them.
        tensors: the weights under segnb's names.
        palette: an (R, G, B) for each label, or None if the file has no colours.
        notes: ``source``, ``licence``, ``trained_on`` and the like, as far as the file says.
        value_range: the stored values that are 0 and 255 to the model, or None.
    """

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    palette: Sequence[Sequence[int]] | None = None
    notes: dict[str, str] = field(default_factory=dict)
    value_range: tuple[float, float] | None = None


def rename(name: str, patterns: Patterns) -> str:
    """Apply regular expressions to a tensor's name, one after the other."""
    for pattern, replacement in patterns:
        name = re.sub(pattern, replacement, name)
    return name


def read_weights(folder: Path, library: str) -> dict[str, Tensor]:
    """Read the weights of a folder, whole or in parts.

    Args:
        folder: holds ``model.safetensors``, with or without an index of its parts, or ``pytorch_model.bin``.
        library: whose folder it is, for the message.

    Raises:
        SegnbError: it has neither.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        parts = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        return {name: tensor for part in parts for name, tensor in read_tensors(folder / Path(part).name).items()}
    names = ("model.safetensors", "pytorch_model.bin")
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise SegnbError(f"{str(folder)!r} has the config.json of {library} but neither {' nor '.join(names)}.")
    return read_tensors(found)


def load_weights(model: SegmentationModel, tensors: dict[str, Tensor], source: str) -> None:
    """Load weights that must fit, all of them.

    Args:
        model: the model to fill.
        tensors: the weights under segnb's names.
        source: what the user gave, for the message.

    Raises:
        SegnbError: with the number of missing, unexpected and misshaped tensors and the first few names.
    """
    expected = model.state_dict()
    groups = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - expected.keys()),
        "of another shape": sorted(
            name for name in expected.keys() & tensors.keys() if expected[name].shape != tensors[name].shape
        ),
    }
    if any(groups.values()):
        built = [model.config[name] for name in ("arch", "encoder_name") if name in model.config]
        counts = ", ".join(
            f"{len(names)} {what} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
            for what, names in groups.items()
            if names
        )
        raise SegnbError(
            f"the weights in {source!r} do not fit {' on '.join(map(repr, built))}: "
            f"of {len(expected)} tensors there are {counts}. Pass the options that the model was built with, or another file."
        )
    model.load_state_dict(tensors)
