"""MMSegmentation's backbones: which timm backbone computes the same, and under which names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import Tensor

from segnb.errors import SegnbError
from segnb.pretrained.checkpoint import rename

PREFIX = "backbone."
# Blocks of each stage, and whether they have a third convolution -> depth.
DEPTHS = {
    ((2, 2, 2, 2), False): 18,
    ((3, 4, 6, 3), False): 34,
    ((3, 4, 6, 3), True): 50,
    ((3, 4, 23, 3), True): 101,
    ((3, 8, 36, 3), True): 152,
}
DEEP_STEM = {"stem_width": 32, "stem_type": "deep"}  # where timm has no name for it


def find_backbone(path: Path, tensors: dict[str, Tensor], name: str | None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Tell the backbone from its keys and shapes.

    Args:
        path: the file, for messages.
        tensors: all of the model.
        name: what the user says it is, instead.

    Returns:
        Keywords of `create_model`, and the encoder's tensors under segnb's names.

    Raises:
        SegnbError: it is not recognised.
    """
    given = {key.removeprefix(PREFIX): tensor for key, tensor in tensors.items() if key.startswith(PREFIX)}
    if "layer1.0.conv1.weight" in given:
        return read_resnet(path, given, name)
    known = ", ".join(list(given)[:3])
    raise SegnbError(
        f"{str(path)!r} has a backbone of MMSegmentation that segnb does not recognise ({known}, …): it knows ResNets."
    )


def read_resnet(path: Path, given: dict[str, Tensor], name: str | None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The plain ResNet, and ResNetV1c with three 3×3 convolutions at the start."""
    numbers = [{match[1] for key in given if (match := re.match(rf"layer{i}\.(\d+)\.", key))} for i in (1, 2, 3, 4)]
    depth = DEPTHS.get((tuple(map(len, numbers)), "layer1.0.conv3.weight" in given))
    if depth is None:
        raise SegnbError(
            f"{str(path)!r} has a ResNet of an unknown depth: {' + '.join(str(len(n)) for n in numbers)} blocks."
        )
    deep = "stem.0.weight" in given
    config: dict[str, Any] = {
        "encoder_name": name or f"resnet{depth}{'c' if deep and depth >= 50 else ''}",
        "in_channels": given["stem.0.weight" if deep else "conv1.weight"].shape[1],
    }
    if deep and not name and depth < 50:
        config["encoder_options"] = DEEP_STEM
    patterns = [(r"^stem\.7\.", "bn1."), (r"^stem\.", "conv1.")]
    return config, {f"encoder.backbone.{rename(key, patterns)}": tensor for key, tensor in given.items()}
