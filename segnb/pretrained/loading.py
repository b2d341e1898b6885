"""One door for every kind of trained model."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from segnb.encoders import read_content
from segnb.encoders.weights import WEIGHT_FILES
from segnb.errors import SegnbError
from segnb.models import SegmentationModel, class_names, create_model
from segnb.pretrained import folder as own
from segnb.pretrained import huggingface, mmseg, smp, torchvision
from segnb.pretrained.checkpoint import Checkpoint, load_weights

HUB_FILES = [
    "config.json",
    "preprocessor_config.json",
    "*.safetensors",
    "*.index.json",
    "pytorch_model.bin",
    "README.md",
]


def load_model(source: Any, classes: int | Sequence[str] | None = None, **config: Any) -> SegmentationModel:
    """Read a trained model: segnb's own, SMP's, MMSegmentation's, torchvision's or one of Hugging Face transformers.

    Args:
        source: a folder that `save_model` or `fit` wrote (``run.path / "best"``), that SMP's or transformers' ``save_pretrained``
            wrote; the id of such a folder on the Hugging Face hub, ``"owner/name"``; a torchvision weights file or enum; a file
            with the state dict of an SMP model; a checkpoint of MMSegmentation, of any version.
        classes: number or names of other classes: the last layer is then new, and must be trained.
        **config: what a bare state dict of SMP or MMSegmentation does not say: ``arch``, ``encoder_name`` and options of
            `create_model`.

    Returns:
        The model in eval mode, on the CPU, with the names and colours of its labels and, in ``notes``, where it comes from.
        Save it with `save_model`; reading that folder needs no network.

    Raises:
        SegnbError: nothing there, nothing known, or weights that do not fit.

    Example:
        >>> model = segnb.load_model("smp-hub/segformer-b0-512x512-ade-160k")
    """
    checkpoint = read(source, config)
    before = class_names(checkpoint.config.get("classes", 1))
    if classes is not None:
        checkpoint.config["classes"] = class_names(classes)
        checkpoint.palette = None
    model = create_model(encoder_weights=None, **checkpoint.config)
    if model.num_classes != len(before):
        replace_classifier(checkpoint.tensors, model, len(before), str(source))
    load_weights(model, checkpoint.tensors, str(source))
    if checkpoint.palette is not None:
        model.palette = np.asarray(checkpoint.palette, dtype=np.uint8)
    model.notes, model.value_range = checkpoint.notes, checkpoint.value_range
    return model.eval()


def read(source: Any, config: dict[str, Any]) -> Checkpoint:
    """Recognise the kind of a source and read it."""
    if torchvision.is_weights_enum(source):
        return torchvision.read_enum(source)
    path = Path(source)
    if path.is_dir():
        return read_folder(path, path)
    if path.suffix in WEIGHT_FILES or path.exists():
        return read_file(path, config)
    if str(source).count("/") == 1 and not str(source).startswith((".", "/", "~")):
        return read_folder(download(str(source)), source)
    raise SegnbError(
        f"{str(source)!r} is not there: give a folder that segnb.save_model wrote, such as run.path / 'best', a file of "
        "weights, or the id of a model on the Hugging Face hub, 'owner/name'."
    )


def read_folder(path: Path, source: Any) -> Checkpoint:
    """Read a folder with a config.json: segnb's, SMP's or transformers'."""
    missing = [name for name in (own.CONFIG, own.WEIGHTS) if not (path / name).is_file()]
    if own.CONFIG in missing:
        raise SegnbError(
            f"{str(source)!r} is not a model: it has no {' and no '.join(missing)}. "
            "Give a folder that segnb.save_model wrote, such as run.path / 'best'."
        )
    try:
        config = json.loads((path / own.CONFIG).read_text())
        keys = config.keys()
    except (ValueError, AttributeError) as error:
        raise SegnbError(
            f"{str(path / own.CONFIG)!r} is not the config of a model ({type(error).__name__}: {error}). Give a folder that "
            "segnb.save_model wrote."
        ) from error
    if "_model_class" in keys:
        return smp.read_folder(path, config)
    if "model_type" in keys:
        return huggingface.read_folder(path, config)
    if missing:
        raise SegnbError(f"{str(source)!r} is not a segnb model: it has no {missing[0]}; segnb.save_model writes one.")
    return own.read_folder(path, config)


def read_file(path: Path, config: dict[str, Any]) -> Checkpoint:
    """Read a file of weights: MMSegmentation's and torchvision's by its keys, SMP's with the keywords of `create_model`."""
    tensors, meta = read_content(path)
    if mmseg.recognises(path, tensors):
        return mmseg.read_state_dict(path, tensors, meta, config)
    if torchvision.recognises(tensors):
        return torchvision.read_tensors_of(tensors, path.name)
    if any(name.startswith("segmentation_head.") for name in tensors):
        return smp.read_state_dict(path, tensors, config)
    known = ", ".join(list(tensors)[:3])
    raise SegnbError(
        f"{str(path)!r} holds {len(tensors)} tensors ({known}, …) of no kind of model that segnb knows: it reads state dicts of "
        "MMSegmentation's, torchvision's and SMP's segmentation models, and folders of segnb, SMP and transformers."
    )


def download(hub_id: str) -> Path:
    """Fetch a model from the Hugging Face hub, or find it among what was fetched before."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=HUB_FILES))
    except Exception as error:
        raise SegnbError(
            f"{hub_id!r} is no folder here and could not be fetched from the Hugging Face hub ({type(error).__name__}): check "
            "the id and the network, or download the model elsewhere and give its folder."
        ) from error


def replace_classifier(tensors: dict[str, Tensor], model: SegmentationModel, before: int, source: str) -> None:
    """Put fresh tensors where a checkpoint has a row or column for each of its own classes, and tell the user."""
    more = before - model.num_classes
    for name, fresh in model.state_dict().items():
        sides = list(zip(tensors[name].shape, fresh.shape, strict=False)) if name in tensors else []
        if any(old != new for old, new in sides) and all(old in (new, new + more) for old, new in sides):
            tensors[name] = fresh
    warnings.warn(
        f"{source!r} was trained for {before} classes; for your {model.num_classes} the last layer is new: train it before use.",
        stacklevel=3,
    )
