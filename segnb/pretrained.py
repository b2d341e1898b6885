"""Models as files: segnb's own folders, and the keys of other libraries' checkpoints.

folder/
config.json         how to build the model again, the names and colours of its labels
model.safetensors   the weights
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from segnb.encoders import read_tensors
from segnb.errors import SegnbError
from segnb.files import write_atomically
from segnb.models import SegmentationModel, create_model

CONFIG, WEIGHTS = "config.json", "model.safetensors"

# SMP's name of each tensor -> ours, as patterns tried in order. \1, \2 are layer numbers and the rest of the name.
SMP_KEYS: dict[str, list[tuple[str, str]]] = {
    "unet": [
        (r"decoder\.blocks\.(\d+)\.conv([12])\.", r"decoder.blocks.\1.mix.conv\2."),
        (r"\.conv1\.", ".0."),
        (r"\.conv2\.", ".1."),
        (r"segmentation_head\.0\.", "decoder.classify."),
    ],
    "fpn": [
        (r"decoder\.p5\.", "decoder.project.3."),
        (r"decoder\.p4\.skip_conv\.", "decoder.project.2."),
        (r"decoder\.p3\.skip_conv\.", "decoder.project.1."),
        (r"decoder\.p2\.skip_conv\.", "decoder.project.0."),
        *((rf"decoder\.seg_blocks\.{i}\.block\.(\d+)\.block\.", rf"decoder.branches.{3 - i}.\1.") for i in range(4)),
        (r"segmentation_head\.0\.", "decoder.classify.1."),
    ],
    "deeplabv3plus": [
        (r"decoder\.aspp\.0\.convs\.([123])\.0\.([01])\.", r"decoder.pool.look.\1.\2."),
        (r"decoder\.aspp\.0\.convs\.([123])\.1\.", r"decoder.pool.look.\1.2."),
        (r"decoder\.aspp\.0\.convs\.0\.", "decoder.pool.look.0."),
        (r"decoder\.aspp\.0\.convs\.4\.1\.", "decoder.pool.summarise.1.0."),
        (r"decoder\.aspp\.0\.convs\.4\.2\.", "decoder.pool.summarise.1.1."),
        (r"decoder\.aspp\.0\.project\.", "decoder.pool.project.0."),
        (r"decoder\.aspp\.1\.", "decoder.refine."),
        (r"decoder\.aspp\.2\.", "decoder.refine.2."),
        (r"decoder\.block1\.", "decoder.project."),
        (r"decoder\.block2\.0\.([01])\.", r"decoder.mix.\1."),
        (r"decoder\.block2\.1\.", "decoder.mix.2."),
        (r"segmentation_head\.0\.", "decoder.classify."),
    ],
    "segformer": [
        (r"decoder\.mlp_stage\.(\d+)\.linear\.", r"decoder.project.\1."),
        (r"decoder\.fuse_stage\.", "decoder.mix."),
        (r"segmentation_head\.0\.", "decoder.classify.1."),
    ],
}


def save_model(model: SegmentationModel, folder: str | Path) -> Path:
    """Write a model to a folder that `load_model` reads; each file appears whole or not at all.

    Args:
        model: made by `create_model`.
        folder: made if it is missing.

    Returns:
        The folder.
    """
    return write_model(model, model.state_dict(), folder)


def write_model(model: SegmentationModel, weights: dict[str, Tensor], folder: str | Path) -> Path:
    """Write a model with other weights than it has now, such as those of its best epoch; see `save_model`."""
    from safetensors.torch import save_file

    folder = Path(folder)
    config = {**model.config, "label_names": model.label_names, "palette": np.asarray(model.palette).tolist()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_atomically(folder / WEIGHTS, lambda path: save_file(tensors, path))
    write_atomically(folder / CONFIG, lambda path: path.write_text(json.dumps(config, indent=1)))
    return folder


def load_model(folder: str | Path) -> SegmentationModel:
    """Read a model that `save_model` or `fit` wrote. Needs no network: the weights come from the file.

    Args:
        folder: for example ``run.path / "best"``.

    Returns:
        The model in eval mode, on the CPU.

    Raises:
        SegnbError: the folder is not a model, or its weights do not fit its config.
    """
    folder = Path(folder)
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise SegnbError(
            f"{str(folder)!r} is not a segnb model: it has no {' and no '.join(missing)}. "
            "Give a folder that segnb.save_model wrote, such as run.path / 'best'."
        )
    config, colours = read_config(folder / CONFIG)
    model = create_model(encoder_weights=None, **config)
    tensors, expected = read_tensors(folder / WEIGHTS), model.state_dict()
    missing, unexpected = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    misfits = {name for name in expected.keys() & tensors.keys() if expected[name].shape != tensors[name].shape}
    if wrong := sorted(missing | unexpected | misfits):
        raise SegnbError(
            f"the weights in {str(folder)!r} do not fit its config: {len(missing)} tensors are missing, {len(unexpected)} are "
            f"unexpected and {len(misfits)} have another shape ({', '.join(wrong[:3])}). "
            "Save the model again with segnb.save_model."
        )
    model.load_state_dict(tensors)
    model.palette = np.asarray(colours, dtype=np.uint8)
    return model.eval()


def read_config(path: Path) -> tuple[dict[str, Any], list[list[int]]]:
    """Read how to build a model again: the keywords of `create_model`, and the colours of its labels.

    Raises:
        SegnbError: the file is damaged, or another library's.
    """
    try:
        config = json.loads(path.read_text())
        colours = config.pop("palette")
        config.pop("label_names")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise SegnbError(
            f"{str(path)!r} is not the config of a segnb model ({type(error).__name__}: {error}); it may belong to another "
            "library. Give a folder that segnb.save_model wrote."
        ) from error
    return config, colours


def convert_smp(arch: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of an SMP checkpoint to segnb's names.

    Args:
        arch: architecture, as in `create_model`.
        tensors: SMP's ``model.state_dict()``.

    Returns:
        A state dict for the segnb model of the same architecture, encoder, channels and classes.

    Raises:
        SegnbError: the architecture's keys are not known.
    """
    if arch not in SMP_KEYS:
        raise SegnbError(f"SMP's checkpoints of {arch!r} cannot be read yet; those of {', '.join(SMP_KEYS)} can.")
    renamed = {}
    for name, tensor in tensors.items():
        if name.startswith("encoder."):
            renamed[re.sub(r"^encoder\.(model\.)?", "encoder.backbone.", name)] = tensor
            continue
        for pattern, replacement in SMP_KEYS[arch]:
            name = re.sub(pattern, replacement, name)  # noqa: PLW2901
        renamed[name] = tensor
    return _fine_to_coarse(renamed) if arch == "segformer" else renamed


def _fine_to_coarse(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Turn SMP's linear layers, coarse first, into 1×1 convolutions, fine first."""
    levels = sum(bool(re.fullmatch(r"decoder\.project\.\d+\.bias", name)) for name in tensors)
    turned = {}
    for name, tensor in tensors.items():
        if match := re.fullmatch(r"decoder\.project\.(\d+)\.(weight|bias)", name):
            level, kind = levels - 1 - int(match[1]), match[2]
            turned[f"decoder.project.{level}.{kind}"] = tensor[..., None, None] if kind == "weight" else tensor
        else:
            turned[name] = tensor
    return turned
