"""MobileNetV2, and MobileNetV3, which pads as TensorFlow does; all of MMSegmentation's configs dilate them to a stride of 8."""

from __future__ import annotations

import re

from segnb.pretrained.checkpoint import Patterns, rename
from segnb.pretrained.mmseg.backbones.backbone import Backbone, Head, Tensors, published_size

V2: Patterns = [
    (r"^conv1\.conv\.", "conv_stem."),
    (r"^conv1\.bn\.", "bn1."),
    # The first block does not widen.
    (r"^layer1\.0\.conv\.0\.conv\.", "blocks.0.0.conv_dw."),
    (r"^layer1\.0\.conv\.0\.bn\.", "blocks.0.0.bn1."),
    (r"^layer1\.0\.conv\.1\.conv\.", "blocks.0.0.conv_pw."),
    (r"^layer1\.0\.conv\.1\.bn\.", "blocks.0.0.bn2."),
    *((rf"^layer{stage}\.", f"blocks.{stage - 1}.") for stage in range(2, 8)),
    (r"\.conv\.0\.conv\.", ".conv_pw."),
    (r"\.conv\.0\.bn\.", ".bn1."),
    (r"\.conv\.1\.conv\.", ".conv_dw."),
    (r"\.conv\.1\.bn\.", ".bn2."),
    (r"\.conv\.2\.conv\.", ".conv_pwl."),
    (r"\.conv\.2\.bn\.", ".bn3."),
]
V2_SIZES = {"mobilenetv2_100": {"first_width": 32, "last_width": 320}}
# Blocks of each stage; one more convolution follows.
V3_DEPTHS = {"tf_mobilenetv3_large_100": (1, 2, 3, 4, 2, 3), "tf_mobilenetv3_small_100": (1, 2, 3, 2, 3)}
V3_SIZES = {
    "tf_mobilenetv3_large_100": {"layers": 17, "last_width": 960},
    "tf_mobilenetv3_small_100": {"layers": 13, "last_width": 576},
}
V3_BLOCK: Patterns = [
    (r"^se\.conv1\.conv\.", "se.conv_reduce."),
    (r"^se\.conv2\.conv\.", "se.conv_expand."),
    (r"^bn\.", "bn1."),
]
V3_WIDENING: Patterns = [
    (r"^expand_conv\.conv\.", "conv_pw."),
    (r"^expand_conv\.bn\.", "bn1."),
    (r"^depthwise_conv\.conv\.", "conv_dw."),
    (r"^depthwise_conv\.bn\.", "bn2."),
    (r"^linear_conv\.conv\.", "conv_pwl."),
    (r"^linear_conv\.bn\.", "bn3."),
]
V3_PLAIN: Patterns = [
    (r"^depthwise_conv\.conv\.", "conv_dw."),
    (r"^depthwise_conv\.bn\.", "bn1."),
    (r"^linear_conv\.conv\.", "conv_pw."),
    (r"^linear_conv\.bn\.", "bn2."),
]


def read_v2(given: Tensors, head: Head, name: str | None) -> Backbone:
    """Tell that it has the usual width.

    Raises:
        UnknownSizeError: of another width.
    """
    first = given["conv1.conv.weight"]
    wanted = {"first_width": len(first), "last_width": len(given["layer7.0.conv.2.conv.weight"])}
    name = published_size(name, "a MobileNetV2", wanted, V2_SIZES)
    tensors = {rename(key, V2): tensor for key, tensor in given.items()}
    return Backbone(name, tensors, first.shape[1], {"dilate_only_first_blocks": True}, stride=8)


def read_v3(given: Tensors, head: Head, name: str | None) -> Backbone:
    """Tell the large from the small one.

    Raises:
        UnknownSizeError: of another size.
    """
    last = max(int(match[1]) for key in given if (match := re.match(r"layer(\d+)\.", key)))
    wanted = {"layers": last + 1, "last_width": len(given[f"layer{last}.conv.weight"])}
    name = published_size(name, "a MobileNetV3", wanted, V3_SIZES)
    depths = V3_DEPTHS.get(name, V3_DEPTHS["tf_mobilenetv3_large_100" if last == 16 else "tf_mobilenetv3_small_100"])
    places = [f"blocks.{stage}.{block}" for stage, depth in enumerate((*depths, 1)) for block in range(depth)]
    tensors: Tensors = {}
    for key, tensor in given.items():
        number, part = re.fullmatch(r"layer(\d+)\.(.*)", key).groups()
        if number == "0":
            tensors[rename(part, [(r"^conv\.", "conv_stem."), (r"^bn\.", "bn1.")])] = tensor
        else:
            widens = f"layer{number}.expand_conv.conv.weight" in given
            patterns = [*V3_BLOCK, *(V3_WIDENING if widens else V3_PLAIN)]
            tensors[f"{places[int(number) - 1]}.{rename(part, patterns)}"] = tensor
    return Backbone(name, tensors, given["layer0.conv.weight"].shape[1], {"dilate_first": True}, stride=8)
