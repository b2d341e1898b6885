"""Twins: PCPVT, and SVT, which alternates attention within windows and to a smaller map."""

from __future__ import annotations

from typing import Any

from segnb.pretrained.checkpoint import Patterns, rename
from segnb.pretrained.mmseg.backbones.backbone import (
    BLOCK,
    Backbone,
    Head,
    Tensors,
    count,
    published_size,
    split_query,
)

PATTERNS: Patterns = [
    (r"\.projection\.", ".proj."),
    (r"^position_encodings\.(\d)\.proj\.", r"pos_block.\1.proj.0."),
    (r"^layers\.", "blocks."),
    *BLOCK,
    (r"^", "model."),
]
PCPVTS = {
    f"twins_pcpvt_{size}": {"widths": [64, 128, 320, 512], "depths": depths}
    for size, depths in (("small", [3, 4, 6, 3]), ("base", [3, 4, 18, 3]), ("large", [3, 8, 27, 3]))
}
SVTS = {
    f"twins_svt_{size}": {"widths": [width, 2 * width, 4 * width, 8 * width], "depths": depths}
    for size, width, depths in (
        ("small", 64, [2, 2, 10, 4]),
        ("base", 96, [2, 2, 18, 2]),
        ("large", 128, [2, 2, 18, 2]),
    )
}
OPTIONS = {"layer_norm_eps": 1e-5, "pad_patches": True}


def read(given: Tensors, head: Head, name: str | None) -> Backbone:
    """Tell widths and depths, and with them the heads.

    Raises:
        UnknownSizeError: of another size.
    """
    windows = "layers.0.0.attn.qkv.weight" in given
    wanted = {
        "widths": [len(given[f"patch_embeds.{level}.projection.weight"]) for level in range(4)],
        "depths": [count(given, rf"layers\.{level}\.(\d+)\.") for level in range(4)],
    }
    name = published_size(name, f"a Twins-{'SVT' if windows else 'PCPVT'}", wanted, SVTS if windows else PCPVTS)
    # What a stage hands on is normalised there, and the last block does so in ours.
    ends = [
        (rf"^norm_list\.{level}\.", f"layers.{level}.{depth - 1}.norm_after.")
        for level, depth in enumerate(wanted["depths"])
    ]
    tensors = {rename(key, [*ends, *PATTERNS]): tensor for key, tensor in split_query(given).items()}
    options: dict[str, Any] = {**OPTIONS, "mask_padding": True} if windows else dict(OPTIONS)
    if "norm_list.0.weight" in given:
        options["normalise_stages"] = True
    return Backbone(name, tensors, given["patch_embeds.0.projection.weight"].shape[1], options, stride=32)
