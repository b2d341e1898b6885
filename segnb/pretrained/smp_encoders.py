"""SMP's own encoders, those without ``tu-``: which timm backbone computes the same, and under which names.

Each is a timm backbone, at most read at other layers, padded or dilated otherwise: see `Tapped` and `with_plain_padding`.
Compared one by one, at every level that SMP returns, with random weights and statistics.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import timm
import torch
from torch import Tensor

from segnb.encoders.taps import Tapped
from segnb.errors import SegnbError, nearest
from segnb.pretrained.checkpoint import rename

# Statistics of the pixels, where those of timm's default weights are others.
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
DPN = {"mean": [124 / 255, 117 / 255, 104 / 255], "std": [1 / (0.0167 * 255)] * 3}
STAGES = {"layer1": 4, "layer2": 8, "layer3": 16, "layer4": 32}
MBCONV = ("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_se_reduce", "_se_expand", "_project_conv", "_bn2")
BLOCKS = {"blocks.1": 4, "blocks.2": 8, "blocks.4": 16}


@dataclass(frozen=True)
class Family:
    """Encoders that are translated alike.

    Attributes:
        names: SMP's, in one string.
        twin: pattern and replacement that make timm's name of SMP's.
        options: for the `Encoder` that computes the same.
        special: more of them, by name.
        renames: patterns that make timm's names of SMP's tensors; with ``in_order``, names that sort as timm's layers stand.
        in_order: pair the layers by their order, not by name.
        dilates: what else the encoder needs where an architecture dilates it; None if SMP cannot.
    """

    names: str
    twin: tuple[str, str] = ("", "")
    options: Mapping[str, Any] = field(default_factory=dict)
    special: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    renames: tuple[tuple[str, str], ...] = ()
    in_order: bool = False
    dilates: Mapping[str, Any] | None = field(default_factory=dict)


FAMILIES = (
    Family(
        "resnet18 resnet34 resnet50 resnet101 resnet152 resnext50_32x4d resnext101_32x4d resnext101_32x8d resnext101_32x16d "
        "resnext101_32x32d resnext101_32x48d",
        ("48d$", "32d"),  # the widest one timm knows as an option only
        special={"resnext101_32x48d": {"base_width": 48}},
        dilates={"dilate_first": True},
    ),
    Family(
        "se_resnet50 se_resnet101 se_resnet152 se_resnext50_32x4d se_resnext101_32x4d senet154",
        ("^(se_?)", "legacy_se"),
        {"taps": {"layer0": 2, **STAGES}},
    ),
    Family(
        "timm-skresnet18 timm-skresnet34",
        ("^timm-", ""),
        {"taps": {"act1": 2, **STAGES}, "block_args": {"sk_kwargs": {"rd_ratio": 1 / 8, "split_input": True}}},
    ),
    Family("timm-skresnext50_32x4d", ("^timm-", ""), {"taps": {"act1": 2, **STAGES}, "block_args": {}}),
    Family("vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn", dilates=None),
    Family(
        "densenet121 densenet161 densenet169 densenet201",
        options={
            "taps": {
                "features.norm0": 2,
                "features.transition1.norm": 4,
                "features.transition2.norm": 8,
                "features.transition3.norm": 16,
                "features.norm5-act": 32,
            }
        },
        dilates=None,
    ),
    *(
        Family(
            names,
            options={
                "taps": {
                    "features.conv1_1": 2,
                    f"features.conv2_{ends[0]}+relu": 4,
                    f"features.conv3_{ends[1]}+relu": 8,
                    f"features.conv4_{ends[2]}+relu": 16,
                    "features.conv5_bn_ac": 32,
                }
            },
            special={"dpn68b": {"pretrained_cfg_overlay": DPN}},
        )
        for names, ends in (
            ("dpn68 dpn68b", (3, 4, 12)),
            ("dpn92", (3, 4, 20)),
            ("dpn98", (3, 6, 20)),
            ("dpn107", (4, 8, 20)),
            ("dpn131", (4, 8, 28)),
        )
    ),
    Family(
        "xception",
        ("", "legacy_"),
        {"taps": {"act2": 2, "block1": 4, "block2": 8, "block11": 16, "bn4": 32}, "pad_windows": True},
        dilates=None,
    ),
    Family(
        "inceptionv4",
        ("v4", "_v4"),
        {
            "taps": {"features.2": 2, "features.4": 4, "features.8": 8, "features.14": 16, "features.21": 32},
            "pad_windows": True,
        },
        dilates=None,
    ),
    Family(
        "inceptionresnetv2",
        ("resnetv2", "_resnet_v2"),
        {
            "taps": {"conv2d_2b": 2, "conv2d_4a": 4, "repeat": 8, "repeat_1": 16, "conv2d_7b": 32},
            "pad_windows": True,
        },
        dilates=None,
    ),
    Family(
        "mobilenet_v2",
        ("_v2", "v2_100"),
        {"taps": {"blocks.0": 2, "blocks.1": 4, "blocks.2": 8, "blocks.4": 16, "bn2": 32}},
        in_order=True,
    ),
    Family(
        "mobileone_s0 mobileone_s1 mobileone_s2 mobileone_s3 mobileone_s4",
        options={"taps": {"stem": 2, "stages.0": 4, "stages.1": 8, "stages.2": 16, "stages.3": 32}},
        renames=(
            (r"^stage0\.", "stem."),
            *((rf"^stage{stage}\.", f"stages.{stage - 1}.") for stage in (1, 2, 3, 4)),
            (r"rbr_conv\.", "conv_kxk."),
            (r"rbr_scale\.", "conv_scale."),
            (r"rbr_skip\.", "identity."),
            (r"\.se\.reduce\.", ".attn.fc1."),
            (r"\.se\.expand\.", ".attn.fc2."),
        ),
    ),
    Family(
        "timm-efficientnet-b0 timm-efficientnet-b1 timm-efficientnet-b2 timm-efficientnet-b3 timm-efficientnet-b4 "
        "timm-efficientnet-b5 timm-efficientnet-b6 timm-efficientnet-b7 timm-efficientnet-b8 timm-efficientnet-l2",
        ("^timm-efficientnet-", "efficientnet_"),
        {"taps": {"bn1": 2, **BLOCKS, "blocks.6": 32}},
        special={"timm-efficientnet-b1": {"pretrained_cfg_overlay": IMAGENET}},
    ),
    Family(
        "timm-tf_efficientnet_lite0 timm-tf_efficientnet_lite1 timm-tf_efficientnet_lite2 timm-tf_efficientnet_lite3 "
        "timm-tf_efficientnet_lite4",
        ("^timm-tf_", ""),
        {"taps": {"bn1": 2, **BLOCKS, "blocks.6": 32}},
    ),
    Family(
        "efficientnet-b0 efficientnet-b1 efficientnet-b2 efficientnet-b3 efficientnet-b4 efficientnet-b5 efficientnet-b6 "
        "efficientnet-b7",
        ("^efficientnet-", "tf_efficientnet_"),
        {"taps": {"bn1": 2, **BLOCKS, "blocks.6": 32}},
        special={
            # SMP reads b0 after the first of the three blocks of that stage.
            "efficientnet-b0": {
                "taps": {"bn1": 2, "blocks.1": 4, "blocks.2": 8, "blocks.4.0": 16, "blocks.6": 32},
                "padded_for": 224,
            },
            **{
                f"efficientnet-b{size}": {"padded_for": side}
                for size, side in enumerate((240, 260, 300, 380, 456, 528, 600), start=1)
            },
        },
        renames=(
            (r"^_conv_stem\.", "0.0."),
            (r"^_bn0\.", "0.1."),
            (r"^_blocks\.", "1."),
            (r"^_conv_head\.", "2.0."),
            (r"^_bn1\.", "2.1."),
            *((rf"\.{layer}\.", f".{place}.") for place, layer in enumerate(MBCONV)),
        ),
        in_order=True,
    ),
)
READABLE = {name: family for family in FAMILIES for name in family.names.split()}
# Beginnings of names that SMP once had; today it turns them into ``tu-`` ones.
RETIRED = {
    "timm-mobilenetv3": Family("", ("^timm-", "tf_")),
    **{f"timm-{begin}": Family("", ("^timm-", "")) for begin in ("regnet", "res2", "resnest", "gernet")},
}


def is_own(encoder_name: str, tensors: Mapping[str, Tensor]) -> bool:
    """Say whether the encoder of an SMP model is one of SMP's own: in the others timm's is wrapped, ``encoder.model.…``.

    SegFormer's are left to `segnb.pretrained.mit`.
    """
    if encoder_name.startswith(("tu-", "mit_")):
        return False
    return encoder_name.startswith(tuple(RETIRED)) or not any(name.startswith("encoder.model.") for name in tensors)


def family_of(encoder_name: str) -> Family:
    """Find the family of one of SMP's encoders.

    Raises:
        SegnbError: no encoder of SMP has that name.
    """
    family = READABLE.get(encoder_name) or next(
        (family for begin, family in RETIRED.items() if encoder_name.startswith(begin)), None
    )
    if family is None:
        raise SegnbError(
            f"encoder_name={encoder_name!r} is none of SMP's own encoders, and the weights are of one. "
            f"{nearest(encoder_name, READABLE)}"
        )
    return family


def twin(encoder_name: str, dilated: bool = False) -> tuple[str, dict[str, Any]]:
    """Find the encoder that computes the same as one of SMP's own.

    Args:
        encoder_name: SMP's name.
        dilated: whether the architecture caps the stride by dilation.

    Returns:
        Name and options of the `Encoder`.

    Raises:
        SegnbError: no encoder of SMP has that name, or SMP cannot dilate it.
    """
    family = family_of(encoder_name)
    if dilated and family.dilates is None:
        raise SegnbError(
            f"SMP's own {encoder_name!r} halves by pooling and cannot be dilated, neither there nor here: this architecture "
            "was trained with another encoder, or with encoder_output_stride=32."
        )
    more = family.dilates if dilated and family.dilates else {}
    return (
        re.sub(*family.twin, encoder_name, count=1),
        {**family.options, **family.special.get(encoder_name, {}), **more},
    )


def translate(encoder_name: str, tensors: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Give the tensors of one of SMP's own encoders the names of its `twin`.

    Args:
        encoder_name: SMP's name.
        tensors: SMP's tensors, their names beginning with ``encoder.``.
        depth: ``encoder_depth``. What lies deeper, and the layers before a classifier, SMP keeps but never uses: left out.

    Returns:
        The tensors, their names beginning with ``encoder.backbone.``, also those that have no place there.

    Raises:
        SegnbError: no encoder of SMP has that name.
    """
    name, options = twin(encoder_name)
    family = family_of(encoder_name)
    whole, kept = layer_names(name, options, depth)
    given = {rename(re.sub(r"^encoder\.(model\.)?", "", k), family.renames): tensor for k, tensor in tensors.items()}
    if family.in_order:
        given = pair_layers(given, whole)
    places = {flat(key): key for key in kept}
    unused = {flat(key) for key in whole} - places.keys()
    renamed = {places.get(flat(key), key): tensor for key, tensor in given.items() if flat(key) not in unused}
    return {f"encoder.backbone.{key}": tensor for key, tensor in renamed.items()}


def layer_names(name: str, options: Mapping[str, Any], depth: int) -> tuple[list[str], list[str]]:
    """Names of the tensors of a whole timm backbone, and of those that an encoder keeps, down to a depth."""
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
        whole = list(model.state_dict())
        taps = options.get("taps")
        strides = list(taps.values()) if taps else [level["reduction"] for level in model.feature_info]
        levels = [level for level, stride in enumerate(strides) if stride <= 2**depth]
        kept = (
            Tapped(model, levels, taps=taps)
            if taps
            else timm.create_model(name, features_only=True, out_indices=levels)
        )
    return whole, list(kept.state_dict())


def flat(key: str) -> str:
    """Forget the difference between ``blocks.0.conv`` and ``blocks_0.conv``, a backbone that was taken apart."""
    return key.replace(".", "_")


def pair_layers(tensors: Mapping[str, Tensor], whole: Sequence[str]) -> dict[str, Tensor]:
    """Give tensors timm's names, layer by layer: sorted by the numbers in their names they stand as timm's do."""

    def place(layer: str) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", layer)]

    layers = sorted({key.rpartition(".")[0] for key in tensors}, key=place)
    timms = list(dict.fromkeys(key.rpartition(".")[0] for key in whole))
    if len(layers) != len(timms):
        return dict(tensors)  # of another encoder: the names will show it
    names = dict(zip(layers, timms, strict=True))
    pieces = {key: key.rpartition(".") for key in tensors}
    return {f"{names[pieces[key][0]]}.{pieces[key][2]}": tensor for key, tensor in tensors.items()}
