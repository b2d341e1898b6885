"""MMSegmentation's name of each tensor -> ours: the heads of query/."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from segnb.pretrained.checkpoint import rename
from segnb.pretrained.layouts import split_projections
from segnb.pretrained.mmseg.backbones.backbone import BLOCK
from segnb.pretrained.mmseg.keys.common import Patterns
from segnb.pretrained.mmseg.keys.plain import summary_last, under

# Queries of MaskFormer and Mask2Former; MMDetection counts the norms of a layer in the order in which they are used.
MASKS: Patterns = [
    (r"\.gn\.", ".1."),
    (r"^decoder\.transformer_decoder\.layers\.", "decoder.layers."),
    (r"^decoder\.transformer_decoder\.post_norm\.", "decoder.norm."),
    (r"\.self_attn\.attn\.", ".confer."),
    (r"\.cross_attn\.attn\.", ".look."),
    (r"\.out_proj\.", ".project."),
    (r"^(decoder\.layers\..*)\.ffn\.layers\.0\.0\.", r"\1.think.0."),
    (r"^(decoder\.layers\..*)\.ffn\.layers\.1\.", r"\1.think.3."),
    (r"^(decoder\.layers\..*)\.norms\.2\.", r"\1.norm_think."),
    (r"^decoder\.query_embed\.weight$", "decoder.names"),
    (r"^decoder\.cls_embed\.", "decoder.classify.classes."),
    (r"^decoder\.mask_embed\.", "decoder.classify.masks."),
]
KEYS: dict[str, Patterns] = {
    "maskformer": [
        *MASKS,
        (r"\.norms\.0\.", ".norm_confer."),
        (r"\.norms\.1\.", ".norm_look."),
        (r"^decoder\.decoder_input_proj\.", "decoder.see."),
        (r"^decoder\.pixel_decoder\.last_feat_conv\.", "decoder.climb.narrow."),
        # There fine to coarse, here coarse to fine.
        *((rf"^decoder\.pixel_decoder\.lateral_convs\.{i}\.", f"decoder.climb.project.{2 - i}.") for i in range(3)),
        *((rf"^decoder\.pixel_decoder\.output_convs\.{i}\.", f"decoder.climb.refine.{2 - i}.") for i in range(3)),
        (r"^decoder\.pixel_decoder\.mask_feature\.", "decoder.climb.embed."),
    ],
    "mask2former": [
        *MASKS,
        (r"^(decoder\.layers\..*)\.norms\.0\.", r"\1.norm_look."),
        (r"^(decoder\.layers\..*)\.norms\.1\.", r"\1.norm_confer."),
        (r"^decoder\.query_feat\.weight$", "decoder.queries"),
        (r"^decoder\.level_embed\.weight$", "decoder.levels"),
        (r"^decoder\.pixel_decoder\.", "decoder.fuse."),
        (r"^decoder\.fuse\.input_convs\.", "decoder.fuse.project."),
        (r"^decoder\.fuse\.level_encoding\.weight$", "decoder.fuse.levels"),
        (r"^decoder\.fuse\.lateral_convs\.0\.", "decoder.fuse.lateral."),
        (r"^decoder\.fuse\.output_convs\.0\.", "decoder.fuse.refine."),
        (r"^decoder\.fuse\.mask_feature\.", "decoder.fuse.embed."),
        (r"^decoder\.fuse\.encoder\.layers\.", "decoder.fuse.relate."),
        (r"\.self_attn\.sampling_offsets\.", ".look.offset."),
        (r"\.self_attn\.attention_weights\.", ".look.weigh."),
        (r"\.self_attn\.value_proj\.", ".look.value."),
        (r"\.self_attn\.output_proj\.", ".look.project."),
        (r"\.ffn\.layers\.0\.0\.", ".think.0."),
        (r"\.ffn\.layers\.1\.", ".think.2."),
        (r"\.norms\.0\.", ".norm_look."),
        (r"\.norms\.1\.", ".norm_think."),
    ],
    "segmenter": [
        (r"^decoder\.layers\.", "decoder.blocks."),
        *BLOCK,
        (r"^decoder\.dec_proj\.", "decoder.project."),
        (r"^decoder\.cls_emb$", "decoder.classes"),
        (r"^decoder\.decoder_norm\.", "decoder.norm."),
        (r"^decoder\.patch_proj\.", "decoder.project_patches."),
        (r"^decoder\.classes_proj\.", "decoder.project_classes."),
        (r"^decoder\.mask_norm\.", "decoder.classify.normalise."),
    ],
    "knet": [
        (r"^decoder\.kernel_generate_head\.conv_seg\.", "decoder.guess.1."),
        (r"^decoder\.kernel_update_head\.", "decoder.update."),
        (r"\.feat_transform\.0\.", ".read."),
        (r"\.kernel_update_conv\.", ".adapt."),
        (r"\.dynamic_layer\.", ".see_region."),
        (r"\.input_layer\.", ".see_kernel."),
        (r"\.update_gate\.", ".weigh_region.0."),
        (r"\.norm_in\.", ".weigh_region.1."),
        (r"\.input_gate\.", ".weigh_kernel.0."),
        (r"\.input_norm_in\.", ".weigh_kernel.1."),
        (r"\.norm_out\.", ".norm_region."),
        (r"\.input_norm_out\.", ".norm_kernel."),
        (r"\.fc_layer\.", ".mix.0.0."),
        (r"\.fc_norm\.", ".mix.0.1."),
        (r"\.attention\.attn\.in_proj_", ".attend.qkv."),
        (r"\.attention\.attn\.out_proj\.", ".attend.proj."),
        (r"\.attention_norm\.", ".norm_attended."),
        (r"\.ffn\.layers\.0\.0\.", ".think.fc1."),
        (r"\.ffn\.layers\.1\.", ".think.fc2."),
        (r"\.ffn_norm\.", ".norm_thought."),
        (r"\.mask_fcs\.", ".make_weights."),
        (r"\.fc_mask\.", ".make_weights.3."),
    ],
}
# A part of a tensor's name that only this method has.
MARKS = {
    "mask2former": "decode_head.pixel_decoder.level_encoding.",
    "maskformer": "decode_head.pixel_decoder.last_feat_conv.",
    "segmenter": "decode_head.cls_emb",
    "knet": "decode_head.kernel_generate_head.",
}


def count(tensors: dict[str, Tensor], prefix: str) -> int:
    """Count the numbered layers under a prefix."""
    return len({name.removeprefix(prefix).partition(".")[0] for name in tensors if name.startswith(prefix)})


def segmenter_options(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Tell the width and the number of layers."""
    return {"width": len(tensors["decode_head.dec_proj.weight"]), "layers": count(tensors, "decode_head.layers.")}


def one_row_a_class(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give each class of Segmenter a row: (1, classes, width) -> (classes, width)."""
    return {**tensors, "decoder.classes": tensors["decoder.classes"].squeeze(0)}


def mask_options(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Tell the sizes of a mask classifier's queries; MMSegmentation's all have eight heads."""
    queries, width = tensors["decode_head.query_embed.weight"].shape
    return {
        "width": width,
        "queries": queries,
        "layers": count(tensors, "decode_head.transformer_decoder.layers."),
        "hidden": len(tensors["decode_head.transformer_decoder.layers.0.ffn.layers.0.0.weight"]),
    }


def mask2former_options(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Tell the sizes of queries, and how often pixels look at each other."""
    return {**mask_options(tensors), "pixel_layers": count(tensors, "decode_head.pixel_decoder.encoder.layers.")}


def first_head(tensors: dict[str, Tensor], prefix: str) -> str:
    """Tell which architecture makes the map of K-Net's first classifier."""
    marks = {"fpn_bottleneck.": "upernet", "psp_modules.": "pspnet", "aspp_modules.": "deeplabv3", "conv_cat.": "fcn"}
    return next(head for mark, head in marks.items() if any(name.startswith(prefix + mark) for name in tensors))


def knet_options(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Tell the first head, the width and the number of rounds."""
    head = first_head(tensors, "decode_head.kernel_generate_head.")
    return {
        "head": head,
        "width": tensors["decode_head.kernel_generate_head.conv_seg.weight"].shape[1],
        "rounds": count(tensors, "decode_head.kernel_update_head."),
        "encoder_output_stride": 32 if head == "upernet" else 8,
    }


def name_first_head(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the layers of K-Net's first head the names that they have here, which depend on the architecture."""
    prefix = "decoder.kernel_generate_head."
    head = first_head(tensors, prefix)
    patterns = under(prefix, "decoder.decode.", head)
    renamed = {rename(name, patterns): tensor for name, tensor in tensors.items()}
    return summary_last(renamed, "decoder.decode.project.0.0.weight") if head == "deeplabv3" else renamed


OPTIONS = {
    "segmenter": segmenter_options,
    "knet": knet_options,
    "maskformer": mask_options,
    "mask2former": mask2former_options,
}
REARRANGE = {
    "segmenter": one_row_a_class,
    "knet": name_first_head,
    "maskformer": split_projections,
    "mask2former": split_projections,
}
