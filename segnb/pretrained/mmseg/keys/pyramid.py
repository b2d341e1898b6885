"""MMSegmentation's name of each tensor -> ours: the heads of pyramid/."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from segnb.pretrained.mmseg.keys.common import ENCODING, Patterns

FPN: Patterns = [
    (r"^neck\.lateral_convs\.(\d)\.0\.", r"decoder.project.\1."),
    (r"^neck\.fpn_convs\.(\d)\.0\.", r"decoder.smooth.\1."),
    (r"^decoder\.scale_heads\.(\d)\.0\.", r"decoder.branches.\1.0."),
    (r"^decoder\.scale_heads\.(\d)\.2\.", r"decoder.branches.\1.1."),
    (r"^decoder\.scale_heads\.(\d)\.4\.", r"decoder.branches.\1.2."),
]
KEYS: dict[str, Patterns] = {
    "fpn": FPN,
    "segnext": [
        (r"\.gn\.", ".1."),
        (r"^decoder\.squeeze\.", "decoder.narrow."),
        (r"^decoder\.hamburger\.ham_in\.", "decoder.open."),
        (r"^decoder\.hamburger\.ham_out\.", "decoder.join."),
        (r"^decoder\.align\.", "decoder.mix."),
    ],
    "pointrend": [
        (r"^decoder\.0\.", "decoder."),
        *FPN,
        (r"^decoder\.conv_seg\.", "decoder.classify.1."),
        (r"^decoder\.(project|smooth|branches|classify)\.", r"decoder.guess.\1."),
        (r"^decoder\.1\.fcs\.(\d)\.0\.", r"decoder.decide.read.\1."),
        (r"^decoder\.1\.fc_seg\.", "decoder.decide.classify."),
    ],
    "fastfcn": [
        (r"^neck\.conv_layers\.(\d)\.0\.", r"decoder.upsample.project.\1."),
        (r"^neck\.dilation_layers\.(\d)\.0\.depthwise_conv\.", r"decoder.upsample.look.\1."),
        (r"^neck\.dilation_layers\.(\d)\.0\.pointwise_conv\.", r"decoder.upsample.look.\1.2."),
        (r"^decoder\.psp_modules\.(\d)\.1\.", r"decoder.look.look.\1."),
        (r"^decoder\.aspp_modules\.", "decoder.look.look."),
        (r"^decoder\.image_pool\.1\.", "decoder.look.summarise.1."),
        *ENCODING,
    ],
    "setr": [
        (r"^decoder\.(norm|up_convs)\.", r"decoder.enlarge.\1."),
        (r"^neck\.norm\.", "decoder.enlarge.norm."),
        (r"^neck\.mla\.channel_proj\.", "decoder.enlarge.project."),
        (r"^neck\.mla\.feat_extract\.", "decoder.enlarge.refine."),
        (r"^auxiliary_head\.(\d)\.(norm|up_convs)\.", r"decoder.classify_early.\1.0.\2."),
        (r"^auxiliary_head\.(\d)\.conv_seg\.", r"decoder.classify_early.\1.1.1."),
        (r"\.up_convs\.", ".grow."),
    ],
}
# A part of a tensor's name that only this method has.
MARKS: dict[str, str] = {
    "fastfcn": "neck.dilation_layers.",
    "setr": "decode_head.up_convs.",
    "fpn": "decode_head.scale_heads.",
    "segnext": "decode_head.hamburger.",
    "pointrend": "decode_head.1.fc_seg.",
}


def tell_fastfcn(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The head, from what only it has; and the dilation that MMSegmentation's configs leave in the encoder."""
    marks = {"psp": "decode_head.psp_modules.0.1.conv.weight", "aspp": "decode_head.aspp_modules.0.conv.weight"}
    head = next((head for head, mark in marks.items() if mark in tensors), "enc")
    return {"head": head, "encoder_options": {"stage_dilations": (1, 1, 2, 4)}}


def rearrange_fastfcn(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The 3×3 convolution has the same name in all heads there; in aspp it sees the mean of the map first, and ours last."""
    aspp = "decoder.look.summarise.1.0.weight" in tensors
    psp = not aspp and "decoder.look.look.0.0.weight" in tensors
    place = "look.project.0" if aspp else "look.mix" if psp else "look"
    tensors = {name.replace("decoder.bottleneck.", f"decoder.{place}."): tensor for name, tensor in tensors.items()}
    if aspp:
        weight = tensors[f"decoder.{place}.0.weight"]
        tensors[f"decoder.{place}.0.weight"] = weight.roll(-len(weight), dims=1)
    return tensors


def tell_setr(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The way of upsampling; and the blocks that MMSegmentation's configs read of a large transformer."""
    if "neck.mla.channel_proj.0.conv.weight" in tensors:
        return {"upsample": "mla"}
    progressive = "decode_head.up_convs.1.0.conv.weight" in tensors
    early = {name.split(".")[3] for name in tensors if name.startswith("auxiliary_head.2.up_convs.")}
    options: dict[str, Any] = {"upsample": "pup" if progressive else "naive", "early_steps": len(early)}
    if any(name.startswith("backbone.layers.23.") for name in tensors):
        options["encoder_output_indices"] = (9, 14, 19, 23)
    return options


# What the names and shapes in a file tell of the options of `create_model`.
OPTIONS = {
    "fastfcn": tell_fastfcn,
    "setr": tell_setr,
    "fpn": lambda tensors: {"decoder_use_norm": "batchnorm", "smooth": True, "decoder_dropout": 0.1},
    "segnext": lambda tensors: {"width": len(tensors["decode_head.squeeze.conv.weight"])},
    "pointrend": lambda tensors: {
        "decoder_options": {"decoder_use_norm": "batchnorm", "smooth": True, "decoder_dropout": 0.0}
    },
}
# What renaming alone cannot do.
REARRANGE = {"fastfcn": rearrange_fastfcn}
