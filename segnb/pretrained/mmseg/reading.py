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

from segnb.errors import SegnbError, nearest
from segnb.models import ARCHITECTURES
from segnb.networks import NETWORKS
from segnb.pretrained.checkpoint import Checkpoint, rename
from segnb.pretrained.mmseg.backbones import find_backbone
from segnb.pretrained.mmseg.keys import COMMON, KEYS, MARKS, MOVES, OPTIONS, REARRANGE

SOURCE = "MMSegmentation"
# Parts of models of the same family of libraries that do something else.
OTHERS = {
    "rpn_head": "an object detector of MMDetection",
    "roi_head": "an object detector of MMDetection",
    "bbox_head": "an object detector of MMDetection",
    "keypoint_head": "a pose model of MMPose",
    "head": "a classifier of MMPretrain or a pose model of MMPose",
}
# The tensor with a row for each class, and one for "no object" where masks are classified; of a cascade, each stage has one.
LAST = re.compile(r"decode_head\.((.+\.)?conv_seg|mask_norm|cls_embed)\.weight")
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
        known = ARCHITECTURES if arch not in ARCHITECTURES else KEYS
        raise SegnbError(f"arch={arch!r} is no method whose checkpoints segnb can read. {nearest(arch, known)}")
    classes = [len(tensor) - ("cls_embed" in name) for name, tensor in tensors.items() if LAST.match(name)][-1]
    names, palette = read_classes(meta, classes)
    found: dict[str, Any] = {"arch": arch, "classes": names}
    options = OPTIONS[arch](tensors) if arch in OPTIONS else {}
    tensors = {rename(name, MOVES.get(arch, [])): tensor for name, tensor in tensors.items()}
    encoder_tensors: Tensors = {}
    if arch in NETWORKS:
        found["in_channels"] = next(tensor.shape[1] for tensor in tensors.values() if tensor.dim() == 4)
    else:
        name = config.pop("encoder_name", None)
        encoder, encoder_tensors = find_backbone(path, tensors, arch, {**options, **config}, name)
        tweaks = [place.pop("encoder_options", {}) for place in (encoder, options, config)]
        options |= encoder
        if any(tweaks):
            options["encoder_options"] = {**tweaks[0], **tweaks[1], **tweaks[2]}
    renamed = {rename(name, [*COMMON, *KEYS[arch]]): flat(tensor) for name, tensor in tensors.items()}
    renamed.pop("", None)  # what is no weight
    if arch in REARRANGE:
        renamed = REARRANGE[arch](renamed)
    if any(name.startswith("auxiliary.") for name in renamed):
        found["auxiliary"] = True
        width, channels = renamed["auxiliary.mix.0.weight"].shape[:2]
        if width != channels // 4:
            found["auxiliary_width"] = width
    return Checkpoint(
        {**found, **options, **config}, {**encoder_tensors, **renamed}, palette, {"source": f"{SOURCE}, {path.name}"}
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
    if head == ["conv_seg"]:  # a classifier and nothing else: Segmenter's linear decoder
        return "fcn"
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
