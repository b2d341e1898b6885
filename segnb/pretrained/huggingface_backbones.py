"""Backbones of Hugging Face transformers: which timm backbone computes the same, and under which names.

A model of theirs stands on a backbone with a config of its own; here the names of its tensors begin with ``backbone.``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from segnb.errors import SegnbError
from segnb.pretrained.checkpoint import Patterns, rename
from segnb.pretrained.layouts import join

Tensors = dict[str, Tensor]

# What a config means where it says nothing; newer versions leave out whatever is as usual.
USUAL: dict[str, dict[str, Any]] = {
    "swin": {
        "num_channels": 3,
        "patch_size": 4,
        "embed_dim": 96,
        "depths": [2, 2, 6, 2],
        "num_heads": [3, 6, 12, 24],
        "window_size": 7,
        "mlp_ratio": 4.0,
        "qkv_bias": True,
        "hidden_act": "gelu",
        "use_absolute_embeddings": False,
        "layer_norm_eps": 1e-5,
    },
    "convnext": {
        "num_channels": 3,
        "patch_size": 4,
        "hidden_sizes": [96, 192, 384, 768],
        "depths": [3, 3, 9, 3],
        "hidden_act": "gelu",
    },
    "resnet": {
        "num_channels": 3,
        "embedding_size": 64,
        "hidden_sizes": [256, 512, 1024, 2048],
        "depths": [3, 4, 6, 3],
        "layer_type": "bottleneck",
        "hidden_act": "relu",
        "downsample_in_first_stage": False,
        "downsample_in_bottleneck": False,
    },
}

# timm's backbones, by the options that tell them apart.
SWINS = {
    name: {"embed_dim": width, "depths": depths, "num_heads": [width * 2**level // 32 for level in range(4)], **window}
    for name, width, depths, window in (
        ("swin_tiny_patch4_window7_224", 96, [2, 2, 6, 2], {"window_size": 7}),
        ("swin_small_patch4_window7_224", 96, [2, 2, 18, 2], {"window_size": 7}),
        ("swin_base_patch4_window7_224", 128, [2, 2, 18, 2], {"window_size": 7}),
        ("swin_base_patch4_window12_384", 128, [2, 2, 18, 2], {"window_size": 12}),
        ("swin_large_patch4_window7_224", 192, [2, 2, 18, 2], {"window_size": 7}),
        ("swin_large_patch4_window12_384", 192, [2, 2, 18, 2], {"window_size": 12}),
    )
}
CONVNEXTS = {
    f"convnext_{size}": {"dims": [width * 2**level for level in range(4)], "depths": [3, 3, deep, 3]}
    for size, width, deep in (
        ("tiny", 96, 9),
        ("small", 96, 27),
        ("base", 128, 27),
        ("large", 192, 27),
        ("xlarge", 256, 27),
    )
}
TRANSFORMERS = {
    f"vit_{size}_patch16_384": {
        "embed_dim": width,
        "depth": depth,
        "num_heads": heads,
        "mlp_ratio": 4.0,
        "qkv_bias": True,
        "img_size": 384,
        "patch_size": 16,
    }
    for size, width, depth, heads in (
        ("tiny", 192, 12, 3),
        ("small", 384, 12, 6),
        ("base", 768, 12, 12),
        ("large", 1024, 24, 16),
    )
}
RESNETS = {
    kind: {f"resnet{depth}": {"layers": layers, "channels": [64, 128, 256, 512]} for depth, layers in sizes.items()}
    for kind, sizes in {
        "basic": {18: [2, 2, 2, 2], 34: [3, 4, 6, 3]},
        "bottleneck": {50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]},
    }.items()
}

# transformers' names -> ours, as patterns tried in order.
BLOCK: Patterns = [
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.(self|attention)\.", ".attn."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
]
SWIN: Patterns = [
    (r"^backbone\.embeddings\.patch_embeddings\.projection\.", "encoder.backbone.patch_embed.proj."),
    (r"^backbone\.embeddings\.norm\.", "encoder.backbone.patch_embed.norm."),
    (r"^backbone\.encoder\.layers\.", "encoder.backbone.layers_"),
    # There a level ends with the merging of patches, in timm the next one begins with it.
    *((rf"layers_{level}\.downsample\.", f"layers_{level + 1}.downsample.") for level in (2, 1, 0)),
    *BLOCK,
]
CONVNEXT: Patterns = [
    (r"^backbone\.embeddings\.patch_embeddings\.", "encoder.backbone.stem_0."),
    (r"^backbone\.embeddings\.layernorm\.", "encoder.backbone.stem_1."),
    (r"^backbone\.encoder\.stages\.", "encoder.backbone.stages_"),
    (r"\.downsampling_layer\.", ".downsample."),
    (r"\.layers\.(\d+)\.", r".blocks.\1."),
    (r"\.layer_scale_parameter$", ".gamma"),
    (r"\.dwconv\.", ".conv_dw."),
    (r"\.layernorm\.", ".norm."),
    (r"\.pwconv([12])\.", r".mlp.fc\1."),
]
RESNET: Patterns = [
    (r"^backbone\.embedder\.embedder\.convolution\.", "encoder.backbone.conv1."),
    (r"^backbone\.embedder\.embedder\.normalization\.", "encoder.backbone.bn1."),
    # There stages and convolutions are counted from 0, in timm from 1.
    *((rf"^backbone\.encoder\.stages\.{stage}\.layers\.", f"encoder.backbone.layer{stage + 1}.") for stage in range(4)),
    (r"\.shortcut\.convolution\.", ".downsample.0."),
    (r"\.shortcut\.normalization\.", ".downsample.1."),
    *((rf"\.layer\.{step}\.convolution\.", f".conv{step + 1}.") for step in range(3)),
    *((rf"\.layer\.{step}\.normalization\.", f".bn{step + 1}.") for step in range(3)),
]
PATTERNS = {"swin": SWIN, "convnext": CONVNEXT, "resnet": RESNET}


def read_backbone(config: Mapping[str, Any], tensors: Tensors) -> tuple[dict[str, Any], Tensors]:
    """Translate a backbone of four levels: options of `create_model`, and the encoder's tensors.

    Args:
        config: its own config.
        tensors: of the model; those whose names begin with ``backbone.`` are read.

    Raises:
        SegnbError: it is of another kind, or has an option that timm has no equal of.
    """
    kind = str(config.get("model_type", "swin")).removeprefix("maskformer-")
    if kind not in PATTERNS:
        known = "Swin, ConvNeXt and ResNet"
        raise SegnbError(f"this model of transformers stands on {kind!r}; of its backbones segnb reads {known}.")
    config = {**USUAL[kind], **config}
    encoder, options = {"swin": find_swin, "convnext": find_convnext, "resnet": find_resnet}[kind](config)
    named = {rename(name, PATTERNS[kind]): tensor for name, tensor in tensors.items() if name.startswith("backbone.")}
    if kind == "convnext" and not any(name.endswith(".gamma") for name in named):  # made without layer scales
        kernels = {name: tensor for name, tensor in named.items() if name.endswith(".conv_dw.weight")}
        named |= {name.replace(".conv_dw.weight", ".gamma"): torch.ones(len(x)) for name, x in kernels.items()}
    options = {"encoder_name": encoder, "in_channels": config["num_channels"], "encoder_options": options}
    return options, join(named, ("query", "key", "value"), "qkv")


def find_swin(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Tell timm's name, and the options that make it compute the same."""
    require(config, patch_size=4, hidden_act="gelu", use_absolute_embeddings=False, qkv_bias=True, mlp_ratio=4.0)
    require(config, layer_norm_eps=1e-5)
    wanted = {name: config[name] for name in ("embed_dim", "depths", "num_heads", "window_size")}
    encoder, differing = closest(wanted, SWINS)
    return encoder, {**differing, "always_partition": True, "pad_before_shift": True}


def find_convnext(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Tell timm's name, and the sizes that differ."""
    require(config, patch_size=4, hidden_act="gelu")
    return closest({"dims": config["hidden_sizes"], "depths": config["depths"]}, CONVNEXTS)


def find_resnet(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Tell timm's name, and the sizes that differ."""
    require(config, embedding_size=64, hidden_act="relu", downsample_in_first_stage=False)
    require(config, downsample_in_bottleneck=False)
    widening = 4 if config["layer_type"] == "bottleneck" else 1
    channels = [width // widening for width in config["hidden_sizes"]]
    return closest({"layers": config["depths"], "channels": channels}, RESNETS[config["layer_type"]])


def require(config: Mapping[str, Any], **values: Any) -> None:
    """Refuse a model with an option that segnb has no equal of."""
    for name, value in values.items():
        given = list(config[name]) if isinstance(value, list) else config[name]
        if given != value:
            raise SegnbError(f"this model of transformers has {name}={given!r}; segnb reads only those with {value!r}.")


def closest(wanted: Mapping[str, Any], offered: Mapping[str, Mapping[str, Any]]) -> tuple[str, dict[str, Any]]:
    """Find the timm backbone that differs least from what is wanted: its name, and what differs."""
    differing = {
        name: {key: value for key, value in wanted.items() if value != facts[key]} for name, facts in offered.items()
    }
    return min(differing.items(), key=lambda pair: len(pair[1]))
