"""MMSegmentation's name of each tensor -> ours: BiSeNet and the networks made for speed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from segnb.pretrained.mmseg.keys.common import Patterns

SEPARABLE: Patterns = [(r"\.depthwise_conv\.", ".0."), (r"\.pointwise_conv\.", ".1.")]
REFINEMENT: Patterns = [(r"\.conv_layer\.", ".narrow."), (r"\.atten_conv_layer\.1\.", ".weigh.")]
# The last head, and auxiliary ones under their new names, with one convolution each.
HEADS: Patterns = [
    (r"^decoder\.convs\.0\.", "decoder.mix."),
    (r"\.convs\.(\d)\.", r".\1."),
    (r"\.conv_seg\.", ".2."),
]
# MMSegmentation counts the fine one first.
GUESSES: Patterns = [(r"^auxiliary_head\.0\.", "decoder.guess.1."), (r"^auxiliary_head\.1\.", "decoder.guess.0.")]


def count_on(pattern: str, replacement: str, numbers: range, first: int = 0) -> Patterns:
    """Patterns for names with a number, such as layer1 and layer2, whose numbers begin with another one here."""
    return [(pattern.format(number), replacement.format(first + place)) for place, number in enumerate(numbers)]


KEYS: dict[str, Patterns] = {
    "bisenetv1": [
        *count_on(r"^decoder\.spatial_path\.layer{}\.", "decoder.keep_places.{}.", range(1, 5)),
        (r"^decoder\.context_path\.arm32\.", "decoder.refine.0."),
        (r"^decoder\.context_path\.arm16\.", "decoder.refine.1."),
        (r"^decoder\.context_path\.conv_head32\.", "decoder.smooth.0."),
        (r"^decoder\.context_path\.conv_head16\.", "decoder.smooth.1."),
        (r"^decoder\.context_path\.gap_conv\.1\.", "decoder.summarise."),
        (r"^decoder\.ffm\.conv1\.", "decoder.join.mix."),
        (r"^decoder\.ffm\.conv_atten\.", "decoder.join.weigh."),
        *REFINEMENT,
        *GUESSES,
        *HEADS,
    ],
    "bisenetv2": [
        (r"^backbone\.detail\.detail_branch\.", "decoder.detail."),
        (r"^backbone\.semantic\.stage4_CEBlock\.gap\.", "decoder.context.summarise."),
        (r"^backbone\.semantic\.stage4_CEBlock\.conv_gap\.", "decoder.context.summarise.2."),
        (r"^backbone\.semantic\.stage4_CEBlock\.conv_last\.", "decoder.context.mix."),
        *count_on(r"^backbone\.semantic\.stage{}\.", "decoder.semantic.{}.", range(1, 5)),
        (r"\.conv_first\.", ".shrink."),
        (r"\.semantic\.0\.convs\.", ".semantic.0.convolve."),
        (r"\.fuse_last\.", ".mix."),
        (r"\.conv1\.", ".gather."),
        (r"\.dwconv\.", ".expand."),
        (r"\.conv2\.0\.", ".project."),
        (r"\.shortcut\.0\.", ".shortcut."),
        (r"^backbone\.bga\.", "decoder.aggregate."),
        (r"\.(detail|semantic)_dwconv\.0\.pointwise_conv\.0\.", r".\1_dwconv.0.pointwise_conv."),
        (r"\.detail_dwconv\.0\.", ".keep_detail."),
        (r"\.semantic_dwconv\.0\.", ".keep_meaning."),
        (r"\.detail_down\.", ".shrink."),
        (r"\.semantic_conv\.0\.", ".project."),
        (r"\.aggregate\.conv\.", ".aggregate.mix."),
        *SEPARABLE,
        (r"^auxiliary_head\.", "decoder.guess."),
        (r"\.guess\.(\d)\.conv_seg\.", r".guess.\1.3."),
        *HEADS,
    ],
    "fastscnn": [
        (r"^backbone\.learning_to_downsample\.conv\.", "decoder.shrink.0."),
        (r"^backbone\.learning_to_downsample\.dsconv(\d)\.", r"decoder.shrink.\1."),
        *count_on(r"^backbone\.global_feature_extractor\.bottleneck{}\.", "decoder.deepen.{}.", range(1, 4)),
        (r"^(decoder\.deepen\.\d\.\d)\.conv\.", r"\1.look."),
        (r"^backbone\.global_feature_extractor\.ppm\.(\d)\.1\.", r"decoder.look.\1."),
        (r"^backbone\.global_feature_extractor\.out\.", "decoder.summarise."),
        (r"^backbone\.feature_fusion\.dwconv\.", "decoder.enlarge.0."),
        (r"^backbone\.feature_fusion\.conv_lower_res\.", "decoder.enlarge.1."),
        (r"^backbone\.feature_fusion\.conv_higher_res\.", "decoder.project."),
        *SEPARABLE,
        (r"^decoder\.convs\.", "decoder.mix."),
        (r"^auxiliary_head\.0\.", "decoder.guess_coarse."),
        (r"^auxiliary_head\.1\.", "decoder.guess_fine."),
        *HEADS,
    ],
    "stdc": [
        (r"^backbone\.backbone\.stages\.([01])\.", r"decoder.shrink.\1."),
        *count_on(r"^backbone\.backbone\.stages\.{}\.", "decoder.levels.{}.", range(2, 5)),
        (r"\.layers\.0\.", ".narrow."),
        *count_on(r"\.layers\.{}\.", ".look.{}.", range(1, 4)),
        (r"\.downsample\.", ".shrink."),
        (r"^backbone\.arms\.", "decoder.refine."),
        (r"^backbone\.convs\.", "decoder.smooth."),
        (r"^backbone\.conv_avg\.", "decoder.summarise."),
        (r"^backbone\.ffm\.conv0\.", "decoder.join.mix."),
        (r"^backbone\.ffm\.attention\.1\.0\.", "decoder.join.weigh.0."),
        (r"^backbone\.ffm\.attention\.2\.0\.", "decoder.join.weigh.2."),
        (r"^auxiliary_head\.2\.(laplacian|fusion)_kernel$", ""),  # constants of its loss
        (r"^auxiliary_head\.2\.", "decoder.find_detail."),
        *REFINEMENT,
        *GUESSES,
        *HEADS,
    ],
    "icnet": [
        (r"^backbone\.backbone\.stem\.", "decoder.see_half."),
        *count_on(r"^backbone\.backbone\.layer{}\.", "decoder.see_half.{}.", range(1, 3), first=10),
        *count_on(r"^backbone\.backbone\.layer{}\.", "decoder.see_quarter.{}.", range(3, 5)),
        (r"^backbone\.conv_sub1\.", "decoder.see_whole."),
        (r"^backbone\.conv_sub2\.", "decoder.project_half."),
        (r"^backbone\.conv_sub4\.", "decoder.project_quarter."),
        (r"^backbone\.psp_modules\.(\d)\.1\.", r"decoder.look.\1."),
        (r"^backbone\.psp_bottleneck\.", "decoder.mix_windows."),
        (r"^neck\.cff_24\.", "decoder.fuse_half."),
        (r"^neck\.cff_12\.", "decoder.fuse_whole."),
        (r"\.conv_low\.", ".see."),
        (r"\.conv_high\.", ".project."),
        (r"^auxiliary_head\.", "decoder.guess."),
        *HEADS,
    ],
}
# A part of a tensor's name that only this method has.
MARKS = {
    "bisenetv1": "backbone.spatial_path.",
    "bisenetv2": "backbone.bga.",
    "fastscnn": "backbone.learning_to_downsample.",
    "stdc": "backbone.conv_avg.",
    "icnet": "backbone.psp_modules.",
}
# Of what MMSegmentation calls the backbone here, only a part is the encoder.
MOVES: dict[str, Patterns] = {
    "bisenetv1": [(r"^backbone\.(?!context_path\.backbone\.)", "decode_head."), (r"^backbone\.context_path\.", "")],
}


def tell_stdc(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """STDC2 has a third block at stride 8."""
    return {"variant": 2 if "backbone.backbone.stages.2.2.layers.0.conv.weight" in tensors else 1}


def tell_icnet(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """A ResNet's depth shows in the number of blocks of its third stage."""
    blocks = {name.split(".")[3] for name in tensors if name.startswith("backbone.backbone.layer3.")}
    return {"depth": {2: 18, 6: 50, 23: 101}.get(len(blocks))}


OPTIONS: dict[str, Callable[[dict[str, Tensor]], dict[str, Any]]] = {"stdc": tell_stdc, "icnet": tell_icnet}
