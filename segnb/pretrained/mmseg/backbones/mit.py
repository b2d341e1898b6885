"""SegFormer's encoder, the Mix Transformer."""

from __future__ import annotations

from segnb.pretrained.checkpoint import Patterns, rename
from segnb.pretrained.mit import SIZES
from segnb.pretrained.mmseg.backbones.backbone import (
    Backbone,
    Head,
    Tensors,
    as_linear,
    closest_size,
    count,
    split_query,
)

# A level is a list there: the cut into patches, the blocks, the normalisation.
PATTERNS: Patterns = [
    (r"^layers\.0\.0\.", "patch_embed."),
    (r"^layers\.(\d)\.0\.", r"stages_\1.downsample."),
    (r"^layers\.(\d)\.1\.", r"stages_\1.blocks."),
    (r"^layers\.(\d)\.2\.", r"stages_\1.norm."),
    (r"\.projection\.", ".proj."),
    (r"\.attn\.attn\.out_proj\.", ".attn.proj."),
    (r"\.ffn\.layers\.0\.", ".mlp.fc1."),
    (r"\.ffn\.layers\.1\.", ".mlp.dwconv."),
    (r"\.ffn\.layers\.4\.", ".mlp.fc2."),
]


def read(given: Tensors, head: Head, name: str | None) -> Backbone:
    """Tell widths, depths, heads and how much smaller the map of the keys is.

    MMSegmentation's first level has one head, and all heads are equally wide.
    """
    widths = [len(given[f"layers.{level}.2.weight"]) for level in range(4)]
    shrinking = [given.get(f"layers.{level}.1.0.attn.sr.weight") for level in range(4)]
    wanted = {
        "embed_dims": widths,
        "depths": [count(given, rf"layers\.{level}\.1\.(\d+)\.") for level in range(4)],
        "num_heads": [width // widths[0] for width in widths],
        "sr_ratios": [1 if kernel is None else kernel.shape[-1] for kernel in shrinking],
    }
    name, differing = closest_size(name, wanted, SIZES)
    ratio = len(given["layers.0.1.0.ffn.layers.0.weight"]) // widths[0]
    if ratio != 4:
        differing["mlp_ratios"] = [ratio] * 4
    named = {rename(key, PATTERNS): tensor for key, tensor in split_query(given).items()}
    first = given["layers.0.0.projection.weight"]
    return Backbone(name, as_linear(named), first.shape[1], {"layer_norm_eps": 1e-6, **differing}, stride=32)
