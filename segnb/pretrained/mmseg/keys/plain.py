"""MMSegmentation's name of each tensor -> ours: the heads that other libraries have, too, and other heads contain."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from segnb.pretrained.mmseg.keys.common import Patterns

# The names of four heads without what stands before them, since K-Net has them under another name; see `under`.
HEADS: dict[str, Patterns] = {
    "fcn": [("convs.0.", "narrow."), ("convs.1.", "refine."), ("conv_cat.", "mix.")],
    "pspnet": [*((f"psp_modules.{grid}.1.", f"look.{grid}.") for grid in range(4)), ("bottleneck.", "mix.")],
    "deeplabv3": [("image_pool.1.", "summarise.1."), ("aspp_modules.", "look."), ("bottleneck.", "project.0.")],
    "upernet": [
        *((f"psp_modules.{grid}.1.", f"pool.look.{grid}.") for grid in range(4)),
        ("bottleneck.", "pool.mix."),
        # There fine to coarse, here coarse to fine.
        *((f"lateral_convs.{level}.", f"project.{2 - level}.") for level in range(3)),
        *((f"fpn_convs.{level}.", f"refine.{2 - level}.") for level in range(3)),
        ("fpn_bottleneck.", "mix."),
    ],
}


def under(there: str, here: str, head: str) -> Patterns:
    """Write down a head's names as patterns, under what stands before them in the file and here."""
    return [("^" + (there + name).replace(".", r"\."), here + ours) for name, ours in HEADS[head]]


WITHOUT_DROPOUT: Patterns = [(r"^decoder\.classify\.1\.", "decoder.classify.")]
KEYS: dict[str, Patterns] = {
    "segformer": [(r"^decoder\.convs\.", "decoder.project."), (r"^decoder\.fusion_conv\.", "decoder.mix.")],
    "upernet": [*under("decoder.", "decoder.", "upernet"), *WITHOUT_DROPOUT],
    "fcn": under("decoder.", "decoder.mix.", "fcn"),
    "pspnet": under("decoder.", "decoder.mix.", "pspnet"),
    "deeplabv3": [*under("decoder.", "decoder.pool.", "deeplabv3"), *WITHOUT_DROPOUT],
    "deeplabv3plus": [
        *under("decoder.", "decoder.pool.", "deeplabv3"),
        (r"^decoder\.c1_bottleneck\.", "decoder.project."),
        (r"^decoder\.sep_bottleneck\.", "decoder.mix."),
        (r"\.depthwise_conv\.", "."),
        (r"\.pointwise_conv\.0\.", ".3."),
        (r"\.pointwise_conv\.1\.", ".4."),
        *WITHOUT_DROPOUT,
    ],
}
# A part of a tensor's name that only this method has, of those not tried before.
MARKS = {
    "segformer": "decode_head.fusion_conv.",
    "upernet": "decode_head.fpn_bottleneck.",
    "pspnet": "decode_head.psp_modules.",
    "deeplabv3plus": "decode_head.sep_bottleneck.",
    "deeplabv3": "decode_head.aspp_modules.",
    "fcn": "decode_head.conv_cat.",
}


def width_of(tensors: dict[str, Tensor], layer: str) -> int:
    """Channels that a layer of the head gives."""
    return len(tensors[f"decode_head.{layer}.conv.weight"])


def fcn_options(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Tell three convolutions from none, which is Segmenter's linear decoder on the patches of a plain transformer."""
    if "decode_head.conv_cat.conv.weight" in tensors:
        return {"convs": 3, "width": width_of(tensors, "conv_cat")}
    return {"convs": 0, "encoder_output_stride": 16}


OPTIONS = {
    "segformer": lambda tensors: {
        "decoder_segmentation_channels": width_of(tensors, "fusion_conv"),
        "level_norms": True,
    },
    # Levels that are normalised are so in the backbone.
    "upernet": lambda tensors: {"decoder_channels": width_of(tensors, "fpn_bottleneck"), "level_norm_eps": None},
    "fcn": fcn_options,
    "pspnet": lambda tensors: {"psp_out_channels": width_of(tensors, "bottleneck"), "as_published": True},
    "deeplabv3": lambda tensors: {"decoder_channels": width_of(tensors, "bottleneck"), "refine": False},
    "deeplabv3plus": lambda tensors: {
        "decoder_channels": width_of(tensors, "bottleneck"),
        "decoder_fine_channels": width_of(tensors, "c1_bottleneck"),
        "encoder_output_stride": 8,
        "refine_after": True,
    },
}


def coarse_first(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Turn the order in which SegFormer's levels are joined: there fine to coarse, here coarse to fine."""
    name = "decoder.mix.0.weight"
    width, channels = tensors[name].shape[:2]
    return {**tensors, name: torch.cat(tensors[name].chunk(channels // width, dim=1)[::-1], dim=1)}


def summary_last(tensors: dict[str, Tensor], name: str = "decoder.pool.project.0.0.weight") -> dict[str, Tensor]:
    """Turn the order in which what a dilated pyramid sees is joined: there the mean of the map comes first, here last."""
    return {**tensors, name: tensors[name].roll(-len(tensors[name]), dims=1)}


REARRANGE = {"segformer": coarse_first, "deeplabv3": summary_last, "deeplabv3plus": summary_last}
