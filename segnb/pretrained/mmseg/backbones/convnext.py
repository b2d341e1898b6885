"""ConvNeXt, which MMSegmentation takes from MMPretrain."""

from __future__ import annotations

import torch

from segnb.pretrained.checkpoint import Patterns, rename
from segnb.pretrained.huggingface_backbones import CONVNEXTS
from segnb.pretrained.mmseg.backbones.backbone import (
    Backbone,
    Head,
    Tensors,
    as_linear,
    closest_size,
    count,
    take_norms,
)

PATTERNS: Patterns = [
    (r"^downsample_layers\.0\.", "stem_"),
    (r"^downsample_layers\.(\d)\.", r"stages_\1.downsample."),
    (r"^stages\.(\d)\.", r"stages_\1.blocks."),
    (r"\.depthwise_conv\.", ".conv_dw."),
    (r"\.pointwise_conv([12])\.", r".mlp.fc\1."),
]


def read(given: Tensors, head: Head, name: str | None) -> Backbone:
    """Tell widths and depths."""
    first = given["downsample_layers.0.0.weight"]
    wanted = {
        "dims": [len(given[f"stages.{level}.0.depthwise_conv.weight"]) for level in range(4)],
        "depths": [count(given, rf"stages\.{level}\.(\d+)\.") for level in range(4)],
    }
    name, differing = closest_size(name, wanted, CONVNEXTS)
    norms, others = take_norms(given, r"norm(\d)")
    tensors = as_linear({rename(key, PATTERNS): tensor for key, tensor in others.items()})
    if not any(key.endswith(".gamma") for key in tensors):  # made without layer scales
        kernels = {key: tensor for key, tensor in tensors.items() if key.endswith(".conv_dw.weight")}
        tensors |= {key.replace(".conv_dw.weight", ".gamma"): torch.ones(len(x)) for key, x in kernels.items()}
    return Backbone(name, tensors, first.shape[1], differing, norms=norms, stride=32)
