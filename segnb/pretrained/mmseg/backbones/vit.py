"""Plain transformers: the vision transformer (also DeiT's weights), BEiT, and MAE as BEiT's code has it."""

from __future__ import annotations

import math
from typing import Any

import torch

from segnb.pretrained.checkpoint import Patterns, rename
from segnb.pretrained.huggingface_backbones import TRANSFORMERS
from segnb.pretrained.mmseg.backbones.backbone import (
    BLOCK,
    Backbone,
    Head,
    Tensors,
    UnknownSizeError,
    closest_size,
    count,
)

PATTERNS: Patterns = [
    (r"^patch_embed\.projection\.", "patch_embed.proj."),
    (r"^layers\.", "blocks."),
    *BLOCK,
    (r"^", "model."),
]
BEITS = {
    f"beit_{size}_patch16_224": {"embed_dim": width, "depth": depth, "num_heads": heads, "mlp_ratio": 4.0}
    for size, width, depth, heads in (("base", 768, 12, 12), ("large", 1024, 24, 16))
}
# Between the maps and a head for a pyramid: a tensor that tells which one it is, and the names.
NECKS: dict[str, tuple[str, Patterns]] = {
    "convolve": (
        "neck.convs.0.conv.weight",
        [
            *((rf"^neck\.lateral_convs\.{level}\.conv\.", f"level_necks.stride{4 << level}.0.") for level in range(4)),
            *((rf"^neck\.convs\.{level}\.conv\.", f"level_necks.stride{4 << level}.2.") for level in range(4)),
        ],
    ),
    "deconvolve": (
        "neck.upsample_4x.0.weight",
        [(r"^neck\.upsample_4x\.", "level_necks.stride4."), (r"^neck\.upsample_2x\.", "level_necks.stride8.")],
    ),
}
# The blocks that MMSegmentation's configs read of BEiT and MAE; those of the others are evenly spaced, and the last.
BLOCKS = {12: (3, 5, 7, 11), 24: (7, 11, 15, 23)}


def read(given: Tensors, head: Head, name: str | None) -> Backbone:
    """Tell width, depth and picture size; all that were published have heads 64 channels wide.

    What leaves no trace is as in the configs of the method: SETR enlarges positions bilinearly, and where it aggregates levels
    its transformer takes the patches alone; DPT adds more under the roots.

    Raises:
        UnknownSizeError: made for pictures that are not square.
    """
    patches = given["patch_embed.projection.weight"]
    width, in_channels, patch = patches.shape[:3]
    wanted = {
        **size_of_blocks(given),
        "num_heads": width // 64,
        "qkv_bias": "layers.0.attn.attn.in_proj_bias" in given,
        "img_size": side_of_square(given["pos_embed"].shape[1] - 1) * patch,
        "patch_size": patch,
    }
    name, options = closest_size(name, wanted, TRANSFORMERS)
    options["bilinear_positions" if head.arch.startswith("setr") else "bicubic_positions"] = True
    options["layer_norm_eps"] = 1e-5 if head.arch == "dpt" else 1e-6
    norms = (
        {head.levels[-1]: {part: given[f"ln1.{part}"] for part in ("weight", "bias")}} if "ln1.weight" in given else {}
    )
    tensors = {rename(key, PATTERNS): tensor for key, tensor in given.items() if not key.startswith("ln1.")}
    tensors.setdefault("model.patch_embed.proj.bias", torch.zeros(width))  # version 1.2 has none
    if head.settings.get("upsample") == "mla":
        options |= {"class_token": False, "global_pool": "avg"}
        del tensors["model.cls_token"]
        tensors["model.pos_embed"] = tensors["model.pos_embed"][:, 1:]
    return Backbone(name, tensors, in_channels, options, norms=norms, stride=patch, plain=True)


def read_beit(given: Tensors, head: Head, name: str | None) -> Backbone:
    """Tell width and depth; heads and picture size from the tables of relative positions.

    Raises:
        UnknownSizeError: made for pictures that are not square.
    """
    patches = given["patch_embed.projection.weight"]
    table = given["layers.0.attn.relative_position_bias_table"]
    in_channels, patch = patches.shape[1:3]
    name, options = closest_size(name, {**size_of_blocks(given), "num_heads": table.shape[1]}, BEITS)
    side = (side_of_square(len(table) - 3) + 1) // 2 * patch  # three more entries are for the class token
    options["pretrained_cfg_overlay"] = {"input_size": [in_channels, side, side]}
    if "pos_embed" in given:
        options["use_abs_pos_emb"] = True
    tensors = {
        rename(key, PATTERNS): tensor
        for key, tensor in split_biases(given).items()
        if not key.endswith(".relative_position_index")
    }
    blocks = BLOCKS.get(count(given, r"layers\.(\d+)\."))
    return Backbone(name, tensors, in_channels, options, stride=patch, plain=True, blocks=blocks)


def size_of_blocks(given: Tensors) -> dict[str, Any]:
    """Width, depth and expansion."""
    inner, width = given["layers.0.ffn.layers.0.0.weight"].shape
    return {"embed_dim": width, "depth": count(given, r"layers\.(\d+)\."), "mlp_ratio": inner / width}


def side_of_square(positions: int) -> int:
    """Side of a table of positions.

    Raises:
        UnknownSizeError: it is no square.
    """
    side = math.isqrt(positions)
    if side * side != positions:
        raise UnknownSizeError(f"a plain transformer for pictures that are not square: {positions} positions")
    return side


def split_biases(given: Tensors) -> Tensors:
    """Cut MAE's biases of query, key and value as BEiT has them: it has none for keys, since softmax cancels that one."""
    split: Tensors = {}
    for key, tensor in given.items():
        if key.endswith(".attn.qkv.bias"):
            block = key.removesuffix("qkv.bias")
            split[f"{block}q_bias"], _, split[f"{block}v_bias"] = tensor.chunk(3)
        else:
            split[key] = tensor
    return split


def put_neck(backbone: Backbone, tensors: Tensors, head: Head) -> None:
    """Add what stands between the maps of a plain transformer and a head that reads several; its tensors are taken out.

    Args:
        backbone: is told.
        tensors: all of the model.
        head: reads the maps.
    """
    kind = next((kind for kind, (mark, _) in NECKS.items() if mark in tensors), None)
    if kind is None:
        if len(head.levels) > 1:
            backbone.options["own_sizes"] = True
        return
    backbone.options["level_necks"] = kind
    for key in [key for key in tensors if key.startswith("neck.")]:
        backbone.others[rename(key, NECKS[kind][1])] = tensors.pop(key)
