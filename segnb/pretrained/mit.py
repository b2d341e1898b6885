"""SegFormer's encoder, the Mix Transformer: what its layers are called in SMP and transformers, and what in timm (PVT v2)."""

from __future__ import annotations

from torch import Tensor

from segnb.pretrained.checkpoint import Patterns, rename

# Widths and depths; Xie et al., NeurIPS 2021, table 6.
SIZES = {
    name: {"embed_dims": list(dims), "depths": list(depths), "num_heads": [1, 2, 5, 8], "sr_ratios": [8, 4, 2, 1]}
    for name, dims, depths in (
        ("mit_b0", (32, 64, 160, 256), (2, 2, 2, 2)),
        ("mit_b1", (64, 128, 320, 512), (2, 2, 2, 2)),
        ("mit_b2", (64, 128, 320, 512), (3, 4, 6, 3)),
        ("mit_b3", (64, 128, 320, 512), (3, 4, 18, 3)),
        ("mit_b4", (64, 128, 320, 512), (3, 8, 27, 3)),
        ("mit_b5", (64, 128, 320, 512), (3, 6, 40, 3)),
    )
}

# SMP counts levels from 1.
FROM_SMP: Patterns = [
    (r"encoder\.patch_embed1\.", "encoder.patch_embed."),
    *((rf"encoder\.patch_embed{i + 1}\.", f"encoder.stages_{i}.downsample.") for i in range(1, 4)),
    *((rf"encoder\.block{i + 1}\.", f"encoder.stages_{i}.blocks.") for i in range(4)),
    *((rf"encoder\.norm{i + 1}\.", f"encoder.stages_{i}.norm.") for i in range(4)),
    (r"\.mlp\.dwconv\.dwconv\.", ".mlp.dwconv."),
]

FROM_TRANSFORMERS: Patterns = [
    (r"^segformer\.encoder\.", "encoder.backbone."),
    (r"\.patch_embeddings\.0\.", ".patch_embed."),
    (r"\.patch_embeddings\.(\d)\.", r".stages_\1.downsample."),
    (r"\.block\.(\d)\.", r".stages_\1.blocks."),
    (r"backbone\.layer_norm\.(\d)\.", r"backbone.stages_\1.norm."),
    (r"\.layer_norm_([12])\.", r".norm\1."),
    (r"\.attention\.self\.", ".attn."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.query\.", ".q."),
    (r"\.layer_norm\.", ".norm."),
    (r"\.mlp\.dense([12])\.", r".mlp.fc\1."),
    (r"\.mlp\.dwconv\.dwconv\.", ".mlp.dwconv."),
]


def is_from_smp(tensors: dict[str, Tensor]) -> bool:
    """Say whether the encoder of an SMP model is a Mix Transformer."""
    return "encoder.patch_embed1.proj.weight" in tensors


def from_smp(tensors: dict[str, Tensor], depth: int = 5) -> dict[str, Tensor]:
    """Give the encoder's tensors, ``encoder.…``, timm's names, and leave the others as they are.

    Levels deeper than ``encoder_depth``, which SMP keeps and never uses, are left out.
    """
    unused = tuple(f"encoder.stages_{level}." for level in range(depth - 1, 4))
    named = {
        rename(name, FROM_SMP) if name.startswith("encoder.") else name: tensor for name, tensor in tensors.items()
    }
    return {name: tensor for name, tensor in named.items() if not name.startswith(unused)}
