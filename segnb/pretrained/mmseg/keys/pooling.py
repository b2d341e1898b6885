"""MMSegmentation's name of each tensor -> ours: the heads of pooling/."""

from __future__ import annotations

from segnb.pretrained.mmseg.keys.common import ENCODING, Patterns

KEYS: dict[str, Patterns] = {
    "apcnet": [
        (r"^decoder\.acm_modules\.(\d)\.", r"decoder.look.\1."),
        (r"\.pooled_redu_conv\.", ".narrow_means."),
        (r"\.input_redu_conv\.", ".narrow."),
        (r"\.global_info\.", ".summarise."),
        (r"\.gla\.", ".ask."),
        (r"\.residual_conv\.", ".join."),
        (r"\.fusion_conv\.", ".mix."),
        (r"^decoder\.bottleneck\.", "decoder.mix."),
    ],
    "dmnet": [
        (r"^decoder\.dcm_modules\.(\d)\.", r"decoder.filters.\1."),
        (r"\.filter_gen_conv\.", ".make_kernel."),
        (r"\.input_redu_conv\.", ".narrow."),
        (r"^(decoder\.filters\.\d)\.norm\.", r"\1.activate.0."),
        (r"^decoder\.bottleneck\.", "decoder.mix."),
    ],
    "encnet": [(r"^decoder\.bottleneck\.", "decoder.narrow."), *ENCODING],
}
# A part of a tensor's name that only this method has.
MARKS = {
    "apcnet": "decode_head.acm_modules.",
    "dmnet": "decode_head.dcm_modules.",
    "encnet": "decode_head.enc_module.",
}
