"""MMSegmentation's name of each tensor -> ours: the heads of affinity/."""

from __future__ import annotations

import math

from segnb.pretrained.mmseg.keys.common import ATTENTION, Patterns

BETWEEN: Patterns = [
    (r"^decoder\.convs\.0\.", "decoder.relate.narrow."),
    (r"^decoder\.convs\.1\.", "decoder.relate.refine."),
    (r"^decoder\.conv_cat\.", "decoder.relate.mix."),
]
NON_LOCAL: Patterns = [
    *BETWEEN,
    (r"^decoder\.nl_block\.g\.0\.", "decoder.relate.relate.value."),
    (r"^decoder\.nl_block\.theta\.0\.", "decoder.relate.relate.query."),
    (r"^decoder\.nl_block\.phi\.0\.", "decoder.relate.relate.key."),
    (r"^decoder\.nl_block\.conv_out\.", "decoder.relate.relate.mix."),
]
KEYS: dict[str, Patterns] = {
    "nonlocalnet": NON_LOCAL,
    "dnlnet": [
        (r"^(.*)\.nl_block\.conv_mask\.", r"\1.relate.relate.stand_out."),
        (r"^decoder\.dnl_block\.conv_mask\.", "decoder.relate.relate.stand_out."),
        (r"^decoder\.dnl_block\.", "decoder.nl_block."),
        *NON_LOCAL,
    ],
    "gcnet": [
        *BETWEEN,
        (r"^decoder\.gc_block\.conv_mask\.", "decoder.relate.relate.weigh."),
        (r"^decoder\.gc_block\.channel_add_conv\.", "decoder.relate.relate.transform."),
    ],
    "ccnet": [
        *BETWEEN,
        (r"^decoder\.cca\.(query|key|value)_conv\.", r"decoder.relate.relate.\1."),
        (r"^decoder\.cca\.gamma\.", "decoder.relate.relate.join."),
    ],
    "danet": [
        (r"^decoder\.pam_in_conv\.", "decoder.relate_places.0."),
        (r"^decoder\.pam\.(query_project|key_project|value_project)\.", r"decoder.relate_places.1.\1."),
        (r"_project\.", "."),
        (r"^decoder\.pam\.gamma\.", "decoder.relate_places.1.join."),
        (r"^decoder\.pam_out_conv\.", "decoder.relate_places.2."),
        (r"^decoder\.cam_in_conv\.", "decoder.relate_channels.0."),
        (r"^decoder\.cam\.gamma\.", "decoder.relate_channels.1.join."),
        (r"^decoder\.cam_out_conv\.", "decoder.relate_channels.2."),
        (r"^decoder\.pam_conv_seg\.", "decoder.classify_places.1."),
        (r"^decoder\.cam_conv_seg\.", "decoder.classify_channels.1."),
    ],
    "emanet": [
        (r"^decoder\.ema_in_conv\.", "decoder.narrow."),
        (r"^decoder\.ema_mid_conv\.0\.", "decoder.turn."),
        (r"^decoder\.ema_module\.bases$", "decoder.rebuild.start"),
        (r"^decoder\.ema_out_conv\.", "decoder.join."),
        (r"^decoder\.bottleneck\.", "decoder.refine."),
        (r"^decoder\.conv_cat\.", "decoder.mix."),
    ],
    "isanet": [
        (r"^decoder\.in_conv\.", "decoder.narrow."),
        (r"^decoder\.global_relation\.", "decoder.relate_distant."),
        (r"^decoder\.local_relation\.", "decoder.relate_near."),
        (r"^decoder\.out_conv\.", "decoder.mix."),
        *ATTENTION,
    ],
    "ann": [
        (r"^decoder\.fusion\.stages\.0\.", "decoder.ask_level."),
        (r"^decoder\.fusion\.bottleneck\.", "decoder.fuse."),
        (r"^decoder\.bottleneck\.", "decoder.narrow."),
        (r"^decoder\.context\.stages\.0\.", "decoder.ask_itself."),
        (r"^decoder\.context\.bottleneck\.", "decoder.mix."),
        *ATTENTION,
    ],
    "ocrnet": [
        (r"^decoder\.0\.convs\.0\.", "decoder.guess.0."),
        (r"^decoder\.0\.conv_seg\.", "decoder.guess.2."),
        (r"^decoder\.1\.conv_seg\.", "decoder.classify.1."),
        (r"^decoder\.1\.bottleneck\.", "decoder.narrow."),
        (r"^decoder\.1\.object_context_block\.bottleneck\.", "decoder.ask_regions.mix."),
        (r"^decoder\.1\.object_context_block\.", "decoder.ask_regions."),
        *ATTENTION,
    ],
    "psanet": [
        (r"^decoder\.reduce\.", "decoder.collect.narrow."),
        (r"^decoder\.attention\.", "decoder.collect.ask."),
        (r"^decoder\.reduce_p\.", "decoder.distribute.narrow."),
        (r"^decoder\.attention_p\.", "decoder.distribute.ask."),
        (r"^decoder\.proj\.", "decoder.widen."),
        (r"^decoder\.bottleneck\.", "decoder.mix."),
    ],
}
# A part of a tensor's name that only this method has.
MARKS = {
    "dnlnet": "decode_head.dnl_block.",
    "nonlocalnet": "decode_head.nl_block.",
    "gcnet": "decode_head.gc_block.",
    "ccnet": "decode_head.cca.",
    "danet": "decode_head.pam.",
    "emanet": "decode_head.ema_module.",
    "isanet": "decode_head.global_relation.",
    "ann": "decode_head.context.stages.",
    "ocrnet": "decode_head.1.object_context_block.",
    "psanet": "decode_head.attention_p.",
}
# What the names and shapes in a file tell of the options of `create_model`.
OPTIONS = {"psanet": lambda tensors: {"mask_size": math.isqrt(len(tensors["decode_head.attention.1.weight"]))}}
