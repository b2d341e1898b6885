"""Checkpoints of torchvision's segmentation models: weights files and enums.

Six models: FCN and DeepLabV3 on ResNet-50 and -101, DeepLabV3 and LR-ASPP on MobileNetV3. A file holds nothing but tensors; their
names and shapes tell which model it is.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from segnb.encoders import Encoder
from segnb.errors import SegnbError
from segnb.pretrained.checkpoint import Checkpoint, rename
from segnb.pretrained.smp_encoders import pair_layers

# torchvision's name of each tensor outside the backbone -> ours, as patterns tried in order.
AUXILIARY = [
    (r"^aux_classifier\.([01])\.", r"auxiliary.mix.\1."),
    (r"^aux_classifier\.4\.", "auxiliary.classify.1."),
]
KEYS: dict[str, list[tuple[str, str]]] = {
    "fcn": [
        (r"^classifier\.([01])\.", r"decoder.mix.\1."),
        (r"^classifier\.4\.", "decoder.classify.1."),
    ],
    "deeplabv3": [
        (r"^classifier\.0\.convs\.([0-3])\.", r"decoder.pool.look.\1."),
        (r"^classifier\.0\.convs\.4\.1\.", "decoder.pool.summarise.1.0."),
        (r"^classifier\.0\.convs\.4\.2\.", "decoder.pool.summarise.1.1."),
        (r"^classifier\.0\.project\.", "decoder.pool.project.0."),
        (r"^classifier\.1\.", "decoder.refine.0."),
        (r"^classifier\.2\.", "decoder.refine.1."),
        (r"^classifier\.4\.", "decoder.classify."),
    ],
    "lraspp": [
        (r"^classifier\.cbr\.", "decoder.project."),
        (r"^classifier\.scale\.1\.", "decoder.weigh.1."),
        (r"^classifier\.low_classifier\.", "decoder.classify.fine."),
        (r"^classifier\.high_classifier\.", "decoder.classify.coarse."),
    ],
}
# A tensor that only this architecture has, and the one whose rows are its classes.
MARKS = {
    "lraspp": ("classifier.cbr.0.weight", "classifier.high_classifier.weight"),
    "deeplabv3": ("classifier.0.convs.0.0.weight", "classifier.4.weight"),
    "fcn": ("classifier.0.weight", "classifier.4.weight"),
}
RESNETS = {6: "resnet50", 23: "resnet101"}  # by the number of blocks in the third stage
# torchvision reads the map of stride 8 after the first of the three blocks of that stage, and dilates from a stage's start.
MOBILENET = {"bn_eps": 1e-3, "taps": {"bn1": 2, "blocks.1": 4, "blocks.2.0": 8, "blocks.4": 16, "blocks.6": 32}}

VOC = (
    "__background__ aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant "
    "sheep sofa train tvmonitor"
)
VOC_CLASSES = VOC.split()
LICENCE = "torchvision's code is BSD-3-Clause; its weights may have terms of their own, which follow from the pictures of COCO"
READABLE = "FCN and DeepLabV3 on resnet50 and resnet101, DeepLabV3 and LR-ASPP on mobilenet_v3_large; no detectors or classifiers"


def is_weights_enum(source: Any) -> bool:
    """Say whether a source is one of torchvision's weights enums or a member of one."""
    return hasattr(source, "get_state_dict") and hasattr(source, "meta")


def recognises(tensors: dict[str, Tensor]) -> bool:
    """Say whether tensors have torchvision's names."""
    return any(name.startswith("backbone.") for name in tensors) and any(
        name.startswith("classifier.") for name in tensors
    )


def read_enum(weights: Any) -> Checkpoint:
    """Fetch the weights of an enum, such as ``FCN_ResNet50_Weights.DEFAULT``, or find those fetched before.

    Raises:
        SegnbError: they cannot be fetched, or are no segmentation model's.
    """
    weights = weights.DEFAULT if isinstance(weights, type) else weights
    if not re.match(r"(FCN|DeepLabV3|LRASPP)_", str(weights)):
        raise SegnbError(f"{str(weights)!r} are weights that segnb cannot read. Of torchvision it reads {READABLE}.")
    try:
        tensors = weights.get_state_dict(progress=False, check_hash=True)
    except Exception as error:
        raise SegnbError(
            f"the weights {str(weights)!r} could not be fetched ({type(error).__name__}: {error}): check the network, or "
            f"download {weights.url} elsewhere and give the file."
        ) from error
    checkpoint = read_tensors_of(tensors, str(weights))
    checkpoint.config["classes"] = list(weights.meta["categories"])
    checkpoint.notes |= {
        "source": f"torchvision, {weights}, {weights.url}",
        "licence": LICENCE,
        "trained_on": " ".join(str(weights.meta.get("_docs", "")).split()),
        "recipe": str(weights.meta.get("recipe", "")),
    }
    return checkpoint


def read_tensors_of(tensors: dict[str, Tensor], source: str) -> Checkpoint:
    """Read a state dict of one of the six models.

    Args:
        tensors: torchvision's ``model.state_dict()``, with or without the auxiliary head.
        source: what the user gave, for messages.

    Raises:
        SegnbError: another architecture or backbone.
    """
    arch = next((name for name, marks in MARKS.items() if all(mark in tensors for mark in marks)), None)
    encoder, first = find_backbone(tensors)
    if arch is None or encoder is None:
        raise SegnbError(f"{source!r} looks like a model of torchvision that segnb cannot read. It reads {READABLE}.")
    classes = len(tensors[MARKS[arch][1]])
    config: dict[str, Any] = {
        "arch": arch,
        "encoder_name": encoder,
        "in_channels": tensors[first].shape[1],
        "classes": VOC_CLASSES if classes == len(VOC_CLASSES) else classes,
    }
    mobile = encoder not in RESNETS.values()
    if mobile:
        config |= {"encoder_output_stride": 16, "encoder_options": MOBILENET}
    if any(name.startswith("aux_classifier.") for name in tensors):
        config["auxiliary"] = 8 if mobile else True
    renamed = {
        rename(name, [*KEYS[arch], *AUXILIARY]): tensor
        for name, tensor in tensors.items()
        if not name.startswith("backbone.")
    }
    return Checkpoint(
        config,
        {**convert_backbone(tensors, encoder), **renamed},
        palette=voc_palette() if classes == len(VOC_CLASSES) else None,
        notes={"source": f"torchvision, {source}"},
    )


def find_backbone(tensors: dict[str, Tensor]) -> tuple[str | None, str]:
    """Tell the encoder's name from a state dict, None if segnb does not know it, and its first kernel."""
    if "backbone.layer1.0.conv3.weight" in tensors:  # ResNets of 18 and 34 layers have no third convolution
        blocks = {match[1] for name in tensors if (match := re.match(r"backbone\.layer3\.(\d+)\.", name))}
        return RESNETS.get(len(blocks)), "backbone.conv1.weight"
    large = "backbone.16.0.weight" in tensors and len(tensors["backbone.16.0.weight"]) == 960
    return ("mobilenetv3_large_100" if large else None), "backbone.0.0.weight"


def convert_backbone(tensors: dict[str, Tensor], encoder: str) -> dict[str, Tensor]:
    """Rename a backbone's tensors: ResNets are named as in timm, the layers of MobileNets only stand in the same order."""
    given = {name.removeprefix("backbone."): t for name, t in tensors.items() if name.startswith("backbone.")}
    if encoder not in RESNETS.values():
        with torch.device("meta"):
            ours = Encoder(encoder, None, 3, (2, 4, 8, 16, 32), options=MOBILENET).state_dict()
        given = pair_layers(given, [name.removeprefix("backbone.") for name in ours])
    return {f"encoder.backbone.{name}": tensor for name, tensor in given.items()}


def voc_palette() -> list[tuple[int, int, int]]:
    """Colours of the 21 labels of Pascal VOC: the bits of a label's number, dealt to red, green and blue in turn.

    Bits 0, 3, 6 go to red, 1, 4, 7 to green, 2, 5 to blue, the lowest to a colour's highest bit.
    """
    return [
        tuple(sum((label >> (3 * turn + channel) & 1) << (7 - turn) for turn in range(3)) for channel in range(3))
        for label in range(len(VOC_CLASSES))
    ]
