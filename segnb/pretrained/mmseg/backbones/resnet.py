"""ResNet, with its stems and shortcuts of the versions c and d, ResNeXt and ResNeSt: MMSegmentation's have timm's names."""

from __future__ import annotations

from typing import Any

import timm

from segnb.pretrained.checkpoint import Patterns, rename
from segnb.pretrained.mmseg.backbones.backbone import Backbone, Head, Tensors, UnknownSizeError, count

# Blocks of each stage, and whether they have a third convolution -> depth.
DEPTHS = {
    ((2, 2, 2, 2), False): 18,
    ((3, 4, 6, 3), False): 34,
    ((3, 4, 6, 3), True): 50,
    ((3, 4, 23, 3), True): 101,
    ((3, 8, 36, 3), True): 152,
    ((3, 24, 36, 3), True): 200,
}
# Depth -> name, and channels of the first convolution.
RESNESTS = {50: ("resnest50d", 32), 101: ("resnest101e", 64), 200: ("resnest200e", 64)}
DEEP_STEM = {"stem_width": 32, "stem_type": "deep"}  # where timm has no name for it
# Three 3×3 convolutions at the start; the last normalisation counts as the first one's in timm.
STEM: Patterns = [(r"^stem\.7\.", "bn1."), (r"^stem\.", "conv1.")]


def read(given: Tensors, head: Head, name: str | None) -> Backbone:
    """Tell the depth, the stem and the groups.

    Raises:
        UnknownSizeError: of another depth.
    """
    blocks = tuple(count(given, rf"layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4))
    depth = DEPTHS.get((blocks, "layer1.0.conv3.weight" in given))
    split = "layer1.0.conv2.fc1.weight" in given
    if name is None and (depth is None or (split and depth not in RESNESTS)):
        family = "ResNeSt" if split else "ResNet"
        raise UnknownSizeError(f"a {family} of an unknown depth: {' + '.join(map(str, blocks))} blocks")
    first = given["stem.0.weight" if "stem.0.weight" in given else "conv1.weight"]
    options: dict[str, Any] = {}
    if name is None:
        name, options = split_size(given, depth) if split else plain_size(given, depth)
    if "layer2.0.downsample.2.weight" in given:  # an average comes first
        options["skip_pooling_without_stride"] = True
    if "layer1.0.conv3.weight" not in given:
        options["dilate_only_first_convolutions"] = True
    tensors = {rename(key, STEM): tensor for key, tensor in given.items()}
    return Backbone(name, tensors, first.shape[1], options)


def split_size(given: Tensors, depth: int) -> tuple[str, dict[str, Any]]:
    """Name and options of a ResNeSt."""
    name, usual = RESNESTS[depth]
    width = len(given["stem.0.weight"])
    return name, {} if width == usual else {"stem_width": width}


def plain_size(given: Tensors, depth: int) -> tuple[str, dict[str, Any]]:
    """Name and options of a ResNet or ResNeXt."""
    deep, averaged = "stem.0.weight" in given, "layer2.0.downsample.2.weight" in given
    kernels = given["layer1.0.conv2.weight"]
    groups = len(kernels) // kernels.shape[1]
    version = {(True, False): "c", (True, True): "d"}.get((deep, averaged), "")
    name = f"resnet{depth}{version}" if groups == 1 else f"resnext{depth}_{groups}x{kernels.shape[1]}d"
    if timm.is_model(name) and (groups == 1 or not version):
        return name, {"stem_width": len(given["stem.0.weight"])} if deep and len(given["stem.0.weight"]) != 32 else {}
    options: dict[str, Any] = {**DEEP_STEM, "stem_width": len(given["stem.0.weight"])} if deep else {}
    options |= {"avg_down": True} if averaged else {}
    options |= {"cardinality": groups, "base_width": kernels.shape[1]} if groups > 1 else {}
    return f"resnet{depth}", options
