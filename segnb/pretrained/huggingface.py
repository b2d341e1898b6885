"""Checkpoints of Hugging Face transformers: SegFormer, UPerNet, DPT, and those that classify masks.

config.json ── which timm backbone is this, with which options? ──▶ config
weights     ── timm's names, segnb's names ──────────────────────▶ tensors
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import timm

from segnb.encoders.names import timm_name
from segnb.errors import SegnbError
from segnb.pretrained import huggingface_masks as masks
from segnb.pretrained import mit
from segnb.pretrained.card import read_card
from segnb.pretrained.checkpoint import Checkpoint, Patterns, read_weights, rename
from segnb.pretrained.huggingface_backbones import (
    BLOCK,
    TRANSFORMERS,
    Tensors,
    closest,
    read_backbone,
    require,
)
from segnb.pretrained.layouts import as_kernel, join, split_readouts

READABLE = "SegFormer, UPerNet on Swin or ConvNeXt, DPT, MaskFormer, Mask2Former and EoMT, each for segmentation"
# What the name of a model of each kind ends with, if it is one for segmentation.
ENDINGS = {
    "maskformer": "ForInstanceSegmentation",
    "mask2former": "ForUniversalSegmentation",
    "eomt": "ForUniversalSegmentation",
}

# What a config.json means where it says nothing; newer versions leave out whatever is as usual.
USUAL: dict[str, dict[str, Any]] = {
    **masks.USUAL,
    "segformer": {
        "num_channels": 3,
        "num_encoder_blocks": 4,
        "patch_sizes": [7, 3, 3, 3],
        "strides": [4, 2, 2, 2],
        "hidden_act": "gelu",
        "hidden_sizes": [32, 64, 160, 256],
        "depths": [2, 2, 2, 2],
        "num_attention_heads": [1, 2, 5, 8],
        "sr_ratios": [8, 4, 2, 1],
        "mlp_ratios": [4, 4, 4, 4],
        "decoder_hidden_size": 256,
        "classifier_dropout_prob": 0.1,
    },
    "upernet": {"hidden_size": 512, "pool_scales": [1, 2, 3, 6], "backbone_config": {"model_type": "resnet"}},
    "dpt": {
        "num_channels": 3,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "image_size": 384,
        "patch_size": 16,
        "is_hybrid": False,
        "qkv_bias": True,
        "backbone_config": None,
        "backbone_out_indices": [2, 5, 8, 11],
        "readout_type": "project",
        "reassemble_factors": [4, 2, 1, 0.5],
        "neck_hidden_sizes": [96, 192, 384, 768],
        "fusion_hidden_size": 256,
        "head_in_index": -1,
        "use_batch_norm_in_fusion_residual": False,
    },
}

# transformers' names -> ours, as patterns tried in order.
SEGFORMER: Patterns = [
    *mit.FROM_TRANSFORMERS,
    (r"^decode_head\.linear_c\.(\d)\.proj\.", r"decoder.project.\1."),
    (r"^decode_head\.linear_fuse\.", "decoder.mix.0."),
    (r"^decode_head\.batch_norm\.", "decoder.mix.1."),
    (r"^decode_head\.classifier\.", "decoder.classify.1."),
]
UPERNET: Patterns = [
    *((rf"^backbone\.hidden_states_norms\.stage{level + 1}\.", f"decoder.level_norms.{level}.") for level in range(4)),
    (r"^decode_head\.psp_modules\.(\d)\.1\.", r"decoder.pool.look.\1."),
    (r"^decode_head\.bottleneck\.", "decoder.pool.mix."),
    # There fine to coarse, here coarse to fine.
    *((rf"^decode_head\.lateral_convs\.{level}\.", f"decoder.project.{2 - level}.") for level in range(3)),
    *((rf"^decode_head\.fpn_convs\.{level}\.", f"decoder.refine.{2 - level}.") for level in range(3)),
    (r"^decode_head\.fpn_bottleneck\.", "decoder.mix."),
    (r"^decode_head\.classifier\.", "decoder.classify."),
    (r"(decoder\..*)\.conv\.", r"\1.0."),
    (r"(decoder\..*)\.batch_norm\.", r"\1.1."),
]
DPT: Patterns = [
    (r"^dpt\.embeddings\.cls_token", "encoder.backbone.model.cls_token"),
    (r"^dpt\.embeddings\.position_embeddings", "encoder.backbone.model.pos_embed"),
    (r"^dpt\.embeddings\.patch_embeddings\.projection\.", "encoder.backbone.model.patch_embed.proj."),
    (r"^dpt\.encoder\.layer\.", "encoder.backbone.model.blocks."),
    *BLOCK,
    (r"^neck\.reassemble_stage\.readout_projects\.(\d)\.0\.", r"decoder.tell.\1.both."),
    (r"^neck\.reassemble_stage\.layers\.(\d)\.projection\.", r"decoder.reassemble.\1.0."),
    (r"^neck\.reassemble_stage\.layers\.(\d)\.resize\.", r"decoder.reassemble.\1.1."),
    (r"^neck\.convs\.(\d)\.", r"decoder.reassemble.\1.2."),
    (r"^neck\.fusion_stage\.layers\.(\d)\.residual_layer1\.", r"decoder.refine.\1."),
    (r"^neck\.fusion_stage\.layers\.(\d)\.residual_layer2\.", r"decoder.merge.\1.0."),
    (r"^neck\.fusion_stage\.layers\.(\d)\.projection\.", r"decoder.merge.\1.1."),
    (r"\.convolution1\.", ".1."),
    (r"\.batch_norm1\.", ".2."),
    (r"\.convolution2\.", ".4."),
    (r"\.batch_norm2\.", ".5."),
    (r"^head\.head\.([01])\.", r"decoder.mix.\1."),
    (r"^head\.head\.4\.", "decoder.classify.1."),
]
# Tensors that play no part in the logits: training heads, and what DPT makes and never uses.
IDLE = (
    r"auxiliary_head\.|backbone\.(swin\.)?layernorm\.|.*\.relative_position_index$|dpt\.(layernorm|pooler)\.|"
    r"neck\.fusion_stage\.layers\.0\.residual_layer1\.|criterion\.|model\.pixel_level_module\.encoder\.(model\.|swin\.)?layernorm\."
)


def read_folder(folder: Path, config: dict[str, Any]) -> Checkpoint:
    """Read a folder that transformers' ``save_pretrained`` wrote.

    Args:
        folder: holds ``model.safetensors``, whole or in parts, or ``pytorch_model.bin``.
        config: content of its config.json.

    Raises:
        SegnbError: a model that segnb does not have, or one with an option that it does not have.
    """
    kind = config["model_type"]
    made = next(iter(config.get("architectures") or []), kind)
    if kind not in READERS or ("For" in made and not made.endswith(ENDINGS.get(kind, "ForSemanticSegmentation"))):
        raise SegnbError(f"{str(folder)!r} holds transformers' {made}. Of transformers, segnb reads {READABLE}.")
    tensors = read_weights(folder, "transformers")
    used = {name: tensor for name, tensor in tensors.items() if not re.match(IDLE, name)}
    options, used = READERS[kind]({**USUAL[kind], **config}, used)
    encoder_options = options.pop("encoder_options") | statistics(folder, options["encoder_name"])
    options = {"arch": kind, **options, "encoder_options": encoder_options, "classes": labels(config, used)}
    notes = {"source": f"transformers' {made}", **read_card(folder)}
    if any(name.startswith("auxiliary_head.") for name in tensors):
        notes["left_out"] = "the auxiliary head, which plays no part in the logits"
    return Checkpoint(options, used, notes=notes)


def segformer(config: Mapping[str, Any], tensors: Tensors) -> tuple[dict[str, Any], Tensors]:
    """Translate SegFormer: options of `create_model` and tensors."""
    require(config, num_encoder_blocks=4, patch_sizes=[7, 3, 3, 3], strides=[4, 2, 2, 2], hidden_act="gelu")
    wanted = {
        "embed_dims": config["hidden_sizes"],
        "depths": config["depths"],
        "num_heads": config["num_attention_heads"],
        "sr_ratios": config["sr_ratios"],
    }
    encoder, differing = closest(wanted, mit.SIZES)
    if list(config["mlp_ratios"]) != [4, 4, 4, 4]:
        differing["mlp_ratios"] = config["mlp_ratios"]
    named = join({rename(name, SEGFORMER): tensor for name, tensor in tensors.items()}, ("key", "value"), "kv")
    options = {
        "encoder_name": encoder,
        "in_channels": config["num_channels"],
        "encoder_options": {"layer_norm_eps": 1e-5, **differing},  # whatever the config says
        "decoder_segmentation_channels": config["decoder_hidden_size"],
        "dropout": config["classifier_dropout_prob"],
    }
    linear = re.compile(r"decoder\.project\.\d\.weight")
    return options, {name: as_kernel(x) if linear.fullmatch(name) else x for name, x in named.items()}


def upernet(config: Mapping[str, Any], tensors: Tensors) -> tuple[dict[str, Any], Tensors]:
    """Translate UPerNet: options of `create_model` and tensors."""
    require(config, pool_scales=[1, 2, 3, 6])
    backbone = config["backbone_config"] or {}
    kind = backbone.get("model_type", "resnet")
    if kind not in ("swin", "convnext"):
        raise SegnbError(
            f"this UPerNet stands on {config.get('backbone') or kind!r}. Of transformers, segnb reads {READABLE}."
        )
    stages = ["stage1", "stage2", "stage3", "stage4"]
    require({"out_features": stages, **backbone}, out_features=stages)
    options, named = read_backbone(backbone, tensors)
    options |= {"decoder_channels": config["hidden_size"], "level_norm_eps": 1e-5 if kind == "swin" else 1e-6}
    head = {name: tensor for name, tensor in tensors.items() if not name.startswith("backbone.")}
    return options, {rename(name, UPERNET): tensor for name, tensor in {**head, **named}.items()}


def dpt(config: Mapping[str, Any], tensors: Tensors) -> tuple[dict[str, Any], Tensors]:
    """Translate DPT: options of `create_model` and tensors."""
    if config["is_hybrid"] or config["backbone_config"]:
        kind = "a hybrid of convolutions and a transformer" if config["is_hybrid"] else "a backbone of its own"
        raise SegnbError(f"this DPT stands on {kind}; segnb reads DPT on a plain vision transformer only.")
    require(config, hidden_act="gelu", reassemble_factors=[4, 2, 1, 0.5], patch_size=16, head_in_index=-1)
    blocks = list(config["backbone_out_indices"])
    wanted = {
        "embed_dim": config["hidden_size"],
        "depth": config["num_hidden_layers"],
        "num_heads": config["num_attention_heads"],
        "mlp_ratio": config["intermediate_size"] / config["hidden_size"],
        "qkv_bias": config["qkv_bias"],
        "img_size": config["image_size"],
        "patch_size": config["patch_size"],
    }
    encoder, differing = closest(wanted, TRANSFORMERS)
    options = {
        "encoder_name": encoder,
        "in_channels": config["num_channels"],
        "encoder_output_indices": blocks,
        "encoder_options": {"layer_norm_eps": config["layer_norm_eps"], "bilinear_positions": True, **differing},
        "decoder_readout": {"project": "cat"}.get(config["readout_type"], config["readout_type"]),
        "decoder_intermediate_channels": config["neck_hidden_sizes"],
        "decoder_fusion_channels": config["fusion_hidden_size"],
        "decoder_use_norm": "batchnorm" if config["use_batch_norm_in_fusion_residual"] else "identity",
        "refine_coarsest": False,
        "align_corners": True,
    }
    read = tuple(f"dpt.encoder.layer.{block}." for block in range(max(blocks) + 1))
    named = {
        rename(name, DPT): tensor
        for name, tensor in tensors.items()
        if not name.startswith("dpt.encoder.layer.") or name.startswith(read)
    }
    return options, without_biases_before_norms(split_readouts(join(named, ("query", "key", "value"), "qkv")))


READERS: dict[str, Callable[[Mapping[str, Any], Tensors], tuple[dict[str, Any], Tensors]]] = {
    "segformer": segformer,
    "upernet": upernet,
    "dpt": dpt,
    **masks.READERS,
}


def without_biases_before_norms(tensors: Tensors) -> Tensors:
    """Move the biases of convolutions that batch normalisation follows into its running means: the difference is the same."""
    kept = dict(tensors)
    for name in tensors:
        if match := re.fullmatch(r"(decoder\.(?:refine\.\d|merge\.\d\.0)\.)([14])\.bias", name):
            mean = f"{match[1]}{int(match[2]) + 1}.running_mean"
            if mean in tensors:
                kept[mean] = tensors[mean] - kept.pop(name)
    return kept


def labels(config: Mapping[str, Any], tensors: Tensors) -> list[str] | int:
    """Find the names of the classes, or their number if they were never named."""
    last = re.compile(r"decoder\.classify\.(1\.|classes\.)?bias")
    name, bias = next((name, tensor) for name, tensor in tensors.items() if last.fullmatch(name))
    count = len(bias) - name.endswith("classes.bias")  # queries may also be of no object
    names = {int(index): str(name) for index, name in config.get("id2label", {}).items()}
    if sorted(names) != list(range(count)) or all(name == f"LABEL_{index}" for index, name in names.items()):
        return count
    return [names[index] for index in range(count)]


def statistics(folder: Path, encoder_name: str) -> dict[str, Any]:
    """Find the mean and spread of pixels that the model was trained with, if timm's encoder has others."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return {}
    said = json.loads(path.read_text())
    if not said.get("do_normalize", True):
        said = {"image_mean": [0.0, 0.0, 0.0], "image_std": [1.0, 1.0, 1.0]}
    usual = timm.get_pretrained_cfg(timm_name(encoder_name)[0])
    found = {key: said[f"image_{key}"] for key in ("mean", "std") if f"image_{key}" in said}
    if usual is None or any(list(getattr(usual, key)) != list(value) for key, value in found.items()):
        return {"pretrained_cfg_overlay": found}
    return {}
