"""What all tables of names use."""

from __future__ import annotations

Patterns = list[tuple[str, str]]  # regular expression, replacement; tried in order

# What every head has.
COMMON: Patterns = [
    (r"\.conv\.(weight|bias)$", r".0.\1"),  # a ConvModule: convolution, norm
    (r"\.bn\.", ".1."),
    (r"^decode_head\.", "decoder."),
    (r"^decoder\.conv_seg\.", "decoder.classify.1."),
    (r"^auxiliary_head\.convs\.0\.", "auxiliary.mix."),
    (r"^auxiliary_head\.conv_seg\.", "auxiliary.classify.1."),
]
# What EncNet's head and FastFCN's share.
ENCODING: Patterns = [
    (r"^decoder\.enc_module\.encoding_project\.", "decoder.encode.project."),
    (r"^decoder\.enc_module\.encoding\.0\.codewords$", "decoder.encode.encode.codewords"),
    (r"^decoder\.enc_module\.encoding\.0\.scale$", "decoder.encode.encode.smoothing"),
    (r"^decoder\.enc_module\.encoding\.1\.", "decoder.encode.norm."),
    (r"^decoder\.enc_module\.fc\.0\.", "decoder.encode.weigh."),
    (r"^decoder\.se_layer\.", "decoder.detect."),
]
# Query, key and value of MMSegmentation's attention blocks.
ATTENTION: Patterns = [
    (r"\.(query|key|value)_project\.", r".\1."),
    (r"\.(out|output)_project\.", ".project."),
]
