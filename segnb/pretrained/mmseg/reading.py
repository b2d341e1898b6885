"""Checkpoints of MMSegmentation: weights files and what its runner saved, of versions 0.x and 1.x.

    {"meta": {"dataset_meta": {"classes", "palette"}}, "state_dict": {"backbone.…", "decode_head.…", "auxiliary_head.…"}}
                                  │                            │             │               │
                              names, colours               encoder        decoder        auxiliary

A file names neither its method nor its backbone: both are recognised by keys and shapes. What leaves no trace in them, such as
the dilation of a backbone, is that of MMSegmentation's own configs; other values are keywords of `load_model`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import Tensor

from segnb.decoders import DECODERS
from segnb.errors import SegnbError, nearest
from segnb.pretrained.checkpoint import Checkpoint, rename
from segnb.pretrained.mmseg_encoders import find_backbone
from segnb.pretrained.mmseg_heads import COMMON, KEYS, MARKS

SOURCE = "MMSegmentation"
# Parts of models of the same family of libraries that do something else.
OTHERS = {
    "rpn_head": "an object detector of MMDetection",
    "roi_head": "an object detector of MMDetection",
    "bbox_head": "an object detector of MMDetection",
    "keypoint_head": "a pose model of MMPose",
    "head": "a classifier of MMPretrain or a pose model of MMPose",
}
LAST = re.compile(r"decode_head\.(\d+\.)?conv_seg\.weight")  # of a cascade, there is one for each stage
Tensors = dict[str, Tensor]


def recognises(path: Path, tensors: Tensors) -> bool:
    """Say whether tensors have MMSegmentation's names.

    Raises:
        SegnbError: they are of a library of the same family, for another task.
    """
    parts = {name.partition(".")[0] for name in tensors}
    other = next((what for part, what in OTHERS.items() if part in parts), None)
    if "backbone" in parts and other is not None:
        raise SegnbError(f"{str(path)!r} is {other}: segnb reads segmentation models, those of {SOURCE} among them.")
    return {"backbone", "decode_head"} <= parts


def read_state_dict(path: Path, tensors: Tensors, meta: dict[str, Any], config: dict[str, Any]) -> Checkpoint:
    """Read the tensors of a model.

    Args:
        path: the file, for messages.
        tensors: MMSegmentation's ``model.state_dict()``.
        meta: what its runner wrote beside them, may be empty.
        config: what the user says: ``arch``, ``encoder_name`` and options of `create_model`; the file tells most of it.

    Raises:
        SegnbError: an unknown method or backbone.
    """
    arch = config.pop("arch", None) or find_method(path, tensors)
    if arch not in KEYS:
        known = DECODERS if arch not in DECODERS else KEYS
        raise SegnbError(f"arch={arch!r} is no method whose checkpoints segnb can read. {nearest(arch, known)}")
    encoder, encoder_tensors = find_backbone(path, tensors, config.pop("encoder_name", None))
    heads = {name: tensor for name, tensor in tensors.items() if not name.startswith("backbone.")}
    renamed = {rename(name, [*COMMON, *KEYS[arch]]): flat(tensor) for name, tensor in heads.items()}
    classes = [len(tensor) for name, tensor in tensors.items() if LAST.match(name)][-1]
    names, palette = read_classes(meta, classes)
    found: dict[str, Any] = {"arch": arch, **encoder, "classes": names}
    if any(name.startswith("auxiliary.") for name in renamed):
        found["auxiliary"] = True
    return Checkpoint(
        {**found, **config}, {**encoder_tensors, **renamed}, palette, {"source": f"{SOURCE}, {path.name}"}
    )


def flat(tensor: Tensor) -> Tensor:
    """The weights (C, 1, 1) of a LayerNorm over the channels of a single pixel -> (C,); others stay as they are."""
    return tensor.flatten() if tensor.dim() == 3 and tensor.shape[1:] == (1, 1) else tensor


def find_method(path: Path, tensors: Tensors) -> str:
    """Tell the method from the names in its head."""
    for arch, mark in MARKS.items():
        if any(mark in name for name in tensors):
            return arch
    head = sorted({name.split(".")[1] for name in tensors if name.startswith("decode_head.")})
    raise SegnbError(
        f"{str(path)!r} is a checkpoint of {SOURCE} whose method segnb does not recognise: its head has {', '.join(head[:6])}. "
        f"Say it with arch=…, one of {', '.join(sorted(KEYS))}."
    )


def read_classes(meta: dict[str, Any], count: int) -> tuple[Any, Any]:
    """Names and colours of the classes, from the words of version 1.x or 0.x; their number if there are none."""
    told = meta.get("dataset_meta") or meta
    told = {str(key).lower(): value for key, value in told.items()} if isinstance(told, dict) else {}
    names, palette = told.get("classes"), told.get("palette")
    return (
        [str(name) for name in names] if fits(names, count) else count,
        [tuple(int(part) for part in colour) for colour in palette] if fits(palette, count) else None,
    )


def fits(values: Any, count: int) -> bool:
    """Say whether there is one value for each class."""
    return isinstance(values, (list, tuple)) and len(values) == count
