"""MMSegmentation's name of each tensor -> ours: the networks of factorised or guided blocks, and those of parallel branches."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from segnb.pretrained.mmseg.keys.common import Patterns

# Normalisation before convolution: a ConvModule is {0: convolution, 1: norm} whatever its order.
BRANCHES: Patterns = [
    (r"^backbone\.", "decoder."),
    (r"\.conv1\.", ".convolve.0."),
    (r"\.conv2\.", ".convolve.1."),
    (r"\.conv3\.", ".convolve.2."),
    (r"\.downsample\.", ".match."),
    (r"^decoder\.stem\.", "decoder.begin."),
    (r"^decoder\.spp\.scales\.", "decoder.pool.look."),
    (r"^decoder\.spp\.processes\.", "decoder.pool.refine."),
    (r"^decoder\.spp\.compression\.", "decoder.pool.mix."),
    (r"^decoder\.spp\.shortcut\.", "decoder.pool.shorten."),
    (r"^(decoder\.pool\..*)\.0\.(\w+)$", r"\1.2.\2"),
    (r"^(decoder\.pool\..*)\.1\.(\w+)$", r"\1.0.\2"),
]
KEYS: dict[str, Patterns] = {
    "erfnet": [
        (r"^decoder\.convs\.0\.", "decoder.mix."),
        (r"^backbone\.encoder\.(\d+)\.0\.", r"decoder.encode.\1.convolve."),
        (r"^backbone\.encoder\.(\d+)\.1\.", r"decoder.encode.\1.norm."),
        (r"^backbone\.encoder\.", "decoder.encode."),
        (r"^backbone\.decoder\.", "decoder.decode."),
        (r"\.convs_layers\.", ".convolve."),
    ],
    "cgnet": [
        (r"^backbone\.stem\.", "decoder.begin."),
        (r"^decoder\.begin\.(\d)\.activate\.", r"decoder.begin.\1.2."),
        (r"^backbone\.norm_prelu_(\d)\.", r"decoder.join.\1."),
        (r"^backbone\.level1\.", "decoder.levels.0."),
        (r"^backbone\.level2\.", "decoder.levels.1."),
        (r"\.conv1x1\.activate\.", ".narrow.2."),
        (r"\.conv1x1\.", ".narrow."),
        (r"^(decoder\.levels\.\d\.\d+)\.1\.", r"\1.join.0."),
        (r"^(decoder\.levels\.\d\.\d+)\.activate\.", r"\1.join.1."),
        (r"\.bottleneck\.", ".join.2."),
        (r"\.f_loc\.", ".look_near."),
        (r"\.f_sur\.", ".look_around."),
        (r"\.f_glo\.fc\.", ".weigh."),
    ],
    "ddrnet": [
        *BRANCHES,
        (r"^decoder\.context_branch_layers\.", "decoder.see_context."),
        (r"^decoder\.spatial_branch_layers\.", "decoder.see_detail."),
        (r"^decoder\.compression_1\.", "decoder.tell_detail.0."),
        (r"^decoder\.compression_2\.", "decoder.tell_detail.1."),
        (r"^decoder\.down_1\.", "decoder.tell_context.0."),
        (r"^decoder\.down_2\.", "decoder.tell_context.1."),
        (r"^decoder\.head\.", "decoder.decode."),
        (r"^decoder\.aux_head\.", "decoder.classify_detail."),
        (r"^decoder\.aux_cls_seg\.", "decoder.classify_detail.5."),
        (r"^decoder\.(decode|classify_detail)\.1\.", r"decoder.\1.3."),
        (r"^decoder\.(decode|classify_detail)\.0\.0\.", r"decoder.\1.2."),
        (r"^decoder\.(decode|classify_detail)\.0\.1\.", r"decoder.\1.0."),
    ],
    "pidnet": [
        *BRANCHES,
        (r"^decoder\.i_branch_layers\.", "decoder.see_context."),
        (r"^decoder\.p_branch_layers\.", "decoder.see_detail."),
        (r"^decoder\.d_branch_layers\.", "decoder.see_boundary."),
        (r"^(decoder\.see_boundary\.\d)\.(convolve|match)\.", r"\1.0.\2."),  # a stage of one block
        (r"^decoder\.compression_1\.", "decoder.ask_context.0.narrow."),
        (r"^decoder\.compression_2\.", "decoder.ask_context.1.narrow."),
        (r"^decoder\.pag_1\.", "decoder.ask_context.0."),
        (r"^decoder\.pag_2\.", "decoder.ask_context.1."),
        (r"^(decoder\.ask_context\.\d)\.f_p\.", r"\1.query."),
        (r"^(decoder\.ask_context\.\d)\.f_i\.", r"\1.key."),
        (r"^decoder\.diff_1\.", "decoder.tell_boundary.0."),
        (r"^decoder\.diff_2\.", "decoder.tell_boundary.1."),
        (r"^decoder\.dfm\.f_p\.", "decoder.fuse.mix_detail."),
        (r"^decoder\.dfm\.f_i\.", "decoder.fuse.mix_context."),
        (r"^decoder\.dfm\.conv\.0\.", "decoder.fuse.mix.2."),
        (r"^decoder\.dfm\.conv\.1\.", "decoder.fuse.mix.0."),
        (r"^decoder\.i_head\.", "decoder.decode."),
        (r"^decoder\.p_head\.", "decoder.classify_detail."),
        (r"^decoder\.d_head\.", "decoder.find_boundary."),
        (r"^decoder\.p_cls_seg\.", "decoder.classify_detail.5."),
        (r"^decoder\.d_cls_seg\.", "decoder.find_boundary.5."),
        (r"^decoder\.(decode|classify_detail|find_boundary)\.norm\.", r"decoder.\1.3."),
        (r"^decoder\.(decode|classify_detail|find_boundary)\.conv\.0\.", r"decoder.\1.2."),
        (r"^decoder\.(decode|classify_detail|find_boundary)\.conv\.1\.", r"decoder.\1.0."),
    ],
}
# A part of a tensor's name that only this method has.
MARKS = {
    "erfnet": "backbone.encoder.2.convs_layers.",
    "cgnet": "backbone.norm_prelu_0.",
    "ddrnet": "backbone.context_branch_layers.",
    "pidnet": "backbone.p_branch_layers.",
}


STEM = "backbone.stem.0.conv.weight"


def ddrnet_options(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Tell the size by the width of the stem."""
    return {"size": "23-slim" if len(tensors[STEM]) == 32 else "23"}


def pidnet_options(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Tell the size by the width of the stem and, between the wide ones, by what fuses the branches."""
    wide = "m" if "backbone.dfm.f_p.conv.weight" in tensors else "l"
    return {"size": "s" if len(tensors[STEM]) == 32 else wide}


OPTIONS = {"ddrnet": ddrnet_options, "pidnet": pidnet_options}
