"""Checkpoints of Hugging Face transformers that classify masks: MaskFormer, Mask2Former and EoMT."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from segnb.errors import SegnbError
from segnb.pretrained.checkpoint import Patterns, rename
from segnb.pretrained.huggingface_backbones import closest, read_backbone, require
from segnb.pretrained.layouts import join, split_projections

Tensors = dict[str, Tensor]

# What a config.json means where it says nothing.
USUAL: dict[str, dict[str, Any]] = {
    "maskformer": {
        "fpn_feature_size": 256,
        "mask_feature_size": 256,
        "backbone_config": {
            "model_type": "swin",
            "embed_dim": 128,
            "depths": [2, 2, 18, 2],
            "num_heads": [4, 8, 16, 32],
            "window_size": 12,
        },
        "decoder_config": {},
    },
    "mask2former": {
        "feature_size": 256,
        "mask_feature_size": 256,
        "hidden_dim": 256,
        "encoder_feedforward_dim": 1024,
        "dim_feedforward": 2048,
        "activation_function": "relu",
        "encoder_layers": 6,
        "decoder_layers": 10,
        "num_attention_heads": 8,
        "pre_norm": False,
        "enforce_input_projection": False,
        "common_stride": 4,
        "feature_strides": [4, 8, 16, 32],
        "num_queries": 100,
        "backbone_config": {"model_type": "swin", "depths": [2, 2, 18, 2]},
    },
    "eomt": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
        "image_size": 640,
        "patch_size": 16,
        "num_channels": 3,
        "mlp_ratio": 4,
        "use_swiglu_ffn": False,
        "num_upscale_blocks": 2,
        "num_blocks": 4,
        "num_queries": 200,
        "num_register_tokens": 4,
    },
}
# The transformer decoder of MaskFormer, which has a config of its own.
DETR = {
    "d_model": 256,
    "num_queries": 100,
    "decoder_layers": 6,
    "decoder_attention_heads": 8,
    "decoder_ffn_dim": 2048,
    "activation_function": "relu",
    "dropout": 0.1,
    "auxiliary_loss": False,
}
# timm's backbones under EoMT, by the options that tell them apart.
DINOV2 = {
    f"vit_{size}_patch14_reg4_dinov2": {
        "embed_dim": width,
        "depth": depth,
        "num_heads": heads,
        "mlp_ratio": 4,
        "img_size": 518,
        "patch_size": 14,
        "reg_tokens": 4,
    }
    for size, width, depth, heads in (("small", 384, 12, 6), ("base", 768, 12, 12), ("large", 1024, 24, 16))
}

# transformers' names -> ours, as patterns tried in order.
PIXELS: Patterns = [
    (r"^model\.pixel_level_module\.encoder\.(model\.|swin\.)?", "backbone."),
    (r"^model\.pixel_level_module\.decoder\.", "pixels."),
    (r"^model\.transformer_module\.", "decoder."),
    (r"^decoder\.decoder\.", "decoder."),
    # Counted by stage, or from 0.
    *(
        (rf"^backbone\.hidden_states_norms\.(stage{level + 1}|{level})\.", f"encoder.level_norms.stride{4 * 2**level}.")
        for level in range(4)
    ),
]
QUERIES: Patterns = [
    (r"^class_predictor\.", "decoder.classify.classes."),
    (r"^(decoder\.mask_predictor\.)?mask_embedder\.0\.0\.", "decoder.classify.masks.0."),
    (r"^(decoder\.mask_predictor\.)?mask_embedder\.1\.0\.", "decoder.classify.masks.2."),
    (r"^(decoder\.mask_predictor\.)?mask_embedder\.2\.0\.", "decoder.classify.masks.4."),
    (r"^decoder\.queries_embedder\.weight$", "decoder.names"),
    (r"^decoder\.layernorm\.", "decoder.norm."),
    (r"\.self_attn\.", ".confer."),
    (r"\.(encoder_attn|cross_attn)\.", ".look."),
    (r"\.self_attn_layer_norm\.", ".norm_confer."),
    (r"\.(encoder_attn|cross_attn)_layer_norm\.", ".norm_look."),
    (r"\.final_layer_norm\.", ".norm_think."),
    (r"\.(mlp\.)?fc1\.", ".think.0."),
    (r"\.(mlp\.)?fc2\.", ".think.3."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.(o|out)_proj\.", ".project."),
]
MASKFORMER: Patterns = [
    (r"^pixels\.fpn\.stem\.", "decoder.climb.narrow."),
    (r"^pixels\.fpn\.layers\.(\d)\.proj\.", r"decoder.climb.project.\1."),
    (r"^pixels\.fpn\.layers\.(\d)\.block\.", r"decoder.climb.refine.\1."),
    (r"^pixels\.mask_projection\.", "decoder.climb.embed."),
    (r"^decoder\.input_projection\.", "decoder.see."),
    *QUERIES,
]
MASK2FORMER: Patterns = [
    (r"^pixels\.input_projections\.", "decoder.fuse.project."),
    (r"^pixels\.level_embed$", "decoder.fuse.levels"),
    (r"^pixels\.adapter_1\.", "decoder.fuse.lateral."),
    (r"^pixels\.layer_1\.", "decoder.fuse.refine."),
    (r"^pixels\.mask_projection\.", "decoder.fuse.embed."),
    (r"^pixels\.encoder\.layers\.(\d+)\.self_attn\.", r"decoder.fuse.relate.\1.look."),
    (r"^pixels\.encoder\.layers\.(\d+)\.self_attn_layer_norm\.", r"decoder.fuse.relate.\1.norm_look."),
    (r"^pixels\.encoder\.layers\.(\d+)\.fc2\.", r"decoder.fuse.relate.\1.think.2."),
    (r"^pixels\.encoder\.layers\.", "decoder.fuse.relate."),
    (r"\.sampling_offsets\.", ".offset."),
    (r"\.attention_weights\.", ".weigh."),
    (r"\.value_proj\.", ".value."),
    (r"\.output_proj\.", ".project."),
    (r"^decoder\.queries_features\.weight$", "decoder.queries"),
    (r"^decoder\.level_embed\.weight$", "decoder.levels"),
    *QUERIES,
]
EOMT: Patterns = [
    (r"^embeddings\.cls_token$", "encoder.backbone.model.cls_token"),
    (r"^embeddings\.register_tokens$", "encoder.backbone.model.reg_token"),
    (r"^embeddings\.position_embeddings\.weight$", "encoder.backbone.model.pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "encoder.backbone.model.patch_embed.proj."),
    (r"\.attention\.", ".attn."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.out_proj\.", ".proj."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"^layernorm\.", "decoder.norm."),
    (r"^query\.weight$", "decoder.queries"),
    (r"^upscale_block\.block\.(\d+)\.conv1\.", r"decoder.enlarge.\1.0."),
    (r"^upscale_block\.block\.(\d+)\.conv2\.", r"decoder.enlarge.\1.2."),
    (r"^upscale_block\.block\.(\d+)\.layernorm2d\.", r"decoder.enlarge.\1.3."),
    *((rf"^mask_head\.fc{step + 1}\.", f"decoder.classify.masks.{2 * step}.") for step in range(3)),
    (r"^class_predictor\.", "decoder.classify.classes."),
]


def read_on_levels(config: Mapping[str, Any], tensors: Tensors, patterns: Patterns) -> tuple[dict[str, Any], Tensors]:
    """Translate what MaskFormer and Mask2Former share: the backbone of four levels, and names."""
    named = {rename(name, PIXELS): tensor for name, tensor in tensors.items()}
    options, encoder = read_backbone(config["backbone_config"], named)
    rest = {name: tensor for name, tensor in named.items() if not name.startswith("backbone.")}
    if any(name.startswith("encoder.level_norms.") for name in rest):
        options["encoder_options"]["level_norms"] = [4, 8, 16, 32]
    return options, {**encoder, **split_projections({rename(name, patterns): tensor for name, tensor in rest.items()})}


def maskformer(config: Mapping[str, Any], tensors: Tensors) -> tuple[dict[str, Any], Tensors]:
    """Translate MaskFormer: options of `create_model` and tensors."""
    queries = {**DETR, **config["decoder_config"]}
    require(queries, activation_function="relu", auxiliary_loss=False)
    require(config, fpn_feature_size=queries["d_model"], mask_feature_size=queries["d_model"])
    options, named = read_on_levels(config, tensors, MASKFORMER)
    options |= {
        "width": queries["d_model"],
        "queries": queries["num_queries"],
        "layers": queries["decoder_layers"],
        "heads": queries["decoder_attention_heads"],
        "hidden": queries["decoder_ffn_dim"],
        "dropout": queries["dropout"],
    }
    return options, named


def mask2former(config: Mapping[str, Any], tensors: Tensors) -> tuple[dict[str, Any], Tensors]:
    """Translate Mask2Former: options of `create_model` and tensors."""
    width, hidden = config["hidden_dim"], config["dim_feedforward"]
    require(config, feature_size=width, mask_feature_size=width, encoder_feedforward_dim=hidden // 2)
    require(config, activation_function="relu", pre_norm=False, enforce_input_projection=False)
    require(config, common_stride=4, feature_strides=[4, 8, 16, 32])
    options, named = read_on_levels(config, tensors, MASK2FORMER)
    options |= {
        "width": width,
        "queries": config["num_queries"],
        "layers": config["decoder_layers"] - 1,  # there the queries as they start count as one
        "pixel_layers": config["encoder_layers"],
        "heads": config["num_attention_heads"],
        "hidden": hidden,
    }
    return options, named


def eomt(config: Mapping[str, Any], tensors: Tensors) -> tuple[dict[str, Any], Tensors]:
    """Translate EoMT: options of `create_model` and tensors."""
    require(config, hidden_act="gelu", use_swiglu_ffn=False)
    shares = tensors.get("attn_mask_probs")
    if shares is not None and shares.any():
        raise SegnbError(
            f"this EoMT's training is not over: its blocks let shares of {shares.tolist()} of the queries see only their masks. "
            "segnb reads those in which none does so any more."
        )
    wanted = {
        "embed_dim": config["hidden_size"],
        "depth": config["num_hidden_layers"],
        "num_heads": config["num_attention_heads"],
        "mlp_ratio": config["mlp_ratio"],
        "img_size": config["image_size"],
        "patch_size": config["patch_size"],
        "reg_tokens": config["num_register_tokens"],
    }
    encoder, differing = closest(wanted, DINOV2)
    options = {
        "encoder_name": encoder,
        "in_channels": config["num_channels"],
        "encoder_options": {"layer_norm_eps": config["layer_norm_eps"], **differing},
        "queries": config["num_queries"],
        "blocks": config["num_blocks"],
    }
    first = config["num_hidden_layers"] - config["num_blocks"]
    blocks = [(rf"^layers\.{number}\.", f"encoder.backbone.model.blocks.{number}.") for number in range(first)]
    blocks += [(rf"^layers\.{first + number}\.", f"decoder.blocks.{number}.") for number in range(config["num_blocks"])]
    named = {
        rename(name, [*blocks, *EOMT]): tensor
        for name, tensor in tensors.items()
        if tensor.numel() and name != "attn_mask_probs"
    }
    named = join(named, ("query", "key", "value"), "qkv")
    positions = "encoder.backbone.model.pos_embed"
    steps = torch.zeros((), dtype=torch.long)
    return options, {**named, positions: named[positions].unsqueeze(0), "decoder.steps": steps}


READERS: dict[str, Callable[[Mapping[str, Any], Tensors], tuple[dict[str, Any], Tensors]]] = {
    "maskformer": maskformer,
    "mask2former": mask2former,
    "eomt": eomt,
}
