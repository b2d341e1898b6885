"""MMSegmentation's backbones: which timm backbone computes the same, and under which names.

    backbone.… ── which family, by a name that only it has ── which size, by shapes ──▶ encoder_name, encoder_options
               └─ MMSegmentation's names, timm's names ───────────────────────────────▶ encoder.backbone.…, encoder.level_norms.…

One file is one family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import timm
from torch import Tensor

from segnb.encoders.names import timm_name
from segnb.errors import SegnbError
from segnb.models import ARCHITECTURES, AUXILIARY_STRIDE, check_options, decoder_strides
from segnb.networks import NETWORKS
from segnb.pretrained.mmseg.backbones import convnext, hrnet, mit, mobilenet, mscan, resnet, swin, twins, vit
from segnb.pretrained.mmseg.backbones.backbone import Backbone, Head, Tensors, UnknownSizeError

PREFIX = "backbone."
# The start of a tensor's name that only this family has; tried in order.
FAMILIES: dict[str, Callable[[Tensors, Head, str | None], Backbone]] = {
    "stage4.0.branches.": hrnet.read,
    "layer1.0.conv1.": resnet.read,
    "layers.0.1.0.attn.": mit.read,
    "stages.0.blocks.0.attn.w_msa.": swin.read,
    "downsample_layers.": convnext.read,
    "layers.0.attn.relative_position_bias_table": vit.read_beit,
    "layers.0.attn.attn.": vit.read,
    "position_encodings.": twins.read,
    "layer1.0.conv.": mobilenet.read_v2,
    "layer1.depthwise_conv.": mobilenet.read_v3,
    "block1.0.attn.spatial_gating_unit.": mscan.read,
}
KNOWN = (
    "BEiT, ConvNeXt, HRNet, MAE, MiT, MobileNetV2, MobileNetV3, MSCAN, ResNeSt, ResNet, ResNeXt, Swin, Twins and ViT"
)
# Statistics of the pixels, which a file does not tell: those of ImageNet, but for Segmenter.
STATISTICS = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
SEGMENTER_STATISTICS = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


def find_backbone(
    path: Path, tensors: dict[str, Tensor], arch: str, options: Mapping[str, Any], name: str | None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Tell the backbone from its keys and shapes, and take its tensors, and those of a neck that is the encoder's, out.

    Args:
        path: the file, for messages.
        tensors: all of the model; those of the encoder are taken out.
        arch: the architecture.
        options: of the architecture, as far as they are known.
        name: what the user says it is, instead.

    Returns:
        Keywords of `create_model`, and the encoder's tensors under segnb's names.

    Raises:
        SegnbError: it is not recognised.
    """
    given = {key.removeprefix(PREFIX): tensors.pop(key) for key in list(tensors) if key.startswith(PREFIX)}
    read = next((read for start, read in FAMILIES.items() if any(key.startswith(start) for key in given)), None)
    if read is None:
        known = ", ".join(list(given)[:3])
        raise SegnbError(
            f"{str(path)!r} has a backbone of MMSegmentation that segnb does not recognise ({known}, …): it knows {KNOWN}. If "
            f"this is a network with a backbone of its own, say so with arch=…, one of {', '.join(sorted(NETWORKS))}."
        )
    decoder = ARCHITECTURES[arch]
    settings = check_options(arch, decoder, {})
    settings |= {option: options[option] for option in settings.keys() & options.keys()}
    auxiliary = any(key.startswith("auxiliary_head.") for key in tensors)
    levels = {*decoder_strides(arch, decoder, 5, settings), *([AUXILIARY_STRIDE] if auxiliary else [])}
    head = Head(arch, tuple(sorted(levels)), settings)
    try:
        backbone = read(given, head, name)
    except UnknownSizeError as found:
        raise SegnbError(
            f"{str(path)!r} has {found}: say with encoder_name=… which timm backbone it is, and with encoder_options={{…}} in "
            "what it differs."
        ) from found
    if backbone.plain and not getattr(decoder, "raw", False):
        vit.put_neck(backbone, tensors, head)
    segmenter = arch == "segmenter" or settings.get("convs") == 0  # its linear decoder is an FCN without convolutions
    config = keywords(backbone, head, SEGMENTER_STATISTICS if segmenter else STATISTICS)
    if backbone.stride in (8, 16, 32) and "encoder_output_stride" in settings:
        config["encoder_output_stride"] = backbone.stride
    return config, named_tensors(backbone, head)


def keywords(backbone: Backbone, head: Head, statistics: Mapping[str, list[float]]) -> dict[str, Any]:
    """Turn a backbone, and mean and spread of the pixels that it was trained with, into keywords of `create_model`."""
    found = dict(backbone.options)
    if norms := [level for level in head.levels if level in backbone.norms]:
        found["level_norms"] = norms
    usual = timm.get_pretrained_cfg(timm_name(backbone.name)[0])
    if usual is None or any(list(getattr(usual, key)) != value for key, value in statistics.items()):
        found["pretrained_cfg_overlay"] = {**found.get("pretrained_cfg_overlay", {}), **statistics}
    config: dict[str, Any] = {"encoder_name": backbone.name, "in_channels": backbone.in_channels}
    if found:
        config["encoder_options"] = found
    if backbone.blocks is not None:
        config["encoder_output_indices"] = list(backbone.blocks[-len(head.levels) :])
    return config


def named_tensors(backbone: Backbone, head: Head) -> dict[str, Tensor]:
    """Give the weights segnb's names; without the normalisations of levels that nothing reads."""
    named = {f"encoder.backbone.{key}": tensor for key, tensor in backbone.tensors.items()}
    named |= {f"encoder.{key}": tensor for key, tensor in backbone.others.items()}
    for level, norm in backbone.norms.items():
        if level in head.levels:
            named |= {f"encoder.level_norms.stride{level}.{part}": tensor for part, tensor in norm.items()}
    return named
