"""Swin, version 1."""

from __future__ import annotations

import math

from torch import Tensor

from segnb.pretrained.checkpoint import Patterns, rename
from segnb.pretrained.huggingface_backbones import SWINS
from segnb.pretrained.mmseg.backbones.backbone import BLOCK, Backbone, Head, Tensors, closest_size, count, take_norms

PATTERNS: Patterns = [
    (r"^patch_embed\.projection\.", "patch_embed.proj."),
    (r"^stages\.", "layers_"),
    # There a level ends with the merging of patches, in timm the next one begins with it.
    *((rf"layers_{level}\.downsample\.", f"layers_{level + 1}.downsample.") for level in (2, 1, 0)),
    (r"\.attn\.w_msa\.", ".attn."),
    *BLOCK,
]
# Always whole windows, also on maps smaller than one; padded before the shift, at the end of every side.
OPTIONS = {"always_partition": True, "pad_before_shift": True, "pad_patches": True}


def read(given: Tensors, head: Head, name: str | None) -> Backbone:
    """Tell widths and depths; heads and windows from the tables of relative positions."""
    tables = [given[f"stages.{level}.blocks.0.attn.w_msa.relative_position_bias_table"] for level in range(4)]
    first = given["patch_embed.projection.weight"]
    wanted = {
        "embed_dim": len(first),
        "depths": [count(given, rf"stages\.{level}\.blocks\.(\d+)\.") for level in range(4)],
        "num_heads": [table.shape[1] for table in tables],
        "window_size": (math.isqrt(len(tables[0])) + 1) // 2,
    }
    name, differing = closest_size(name, wanted, SWINS)
    norms, others = take_norms(given, r"norm(\d)")
    tensors = {
        rename(key, PATTERNS): reorder(tensor) if ".downsample." in key else tensor
        for key, tensor in others.items()
        if not key.endswith(".relative_position_index")
    }
    return Backbone(name, tensors, first.shape[1], {**OPTIONS, **differing}, norms=norms, stride=32)


def reorder(tensor: Tensor) -> Tensor:
    """Put what four merged pixels give, last dimension, from (channel, row, column) into timm's (column, row, channel)."""
    return tensor.unflatten(-1, (-1, 2, 2)).transpose(-1, -3).flatten(-3)
