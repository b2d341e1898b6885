"""SegNeXt's MSCAN, of which segnb has its own."""

from __future__ import annotations

from segnb.encoders import mscan
from segnb.pretrained.mmseg.backbones.backbone import Backbone, Head, Tensors, count, published_size

SIZES = {name: {"widths": list(widths), "depths": list(depths)} for name, (widths, depths) in mscan.SIZES.items()}


def read(given: Tensors, head: Head, name: str | None) -> Backbone:
    """Tell widths and depths.

    Raises:
        UnknownSizeError: of another size.
    """
    wanted = {
        "widths": [len(given[f"norm{stage}.weight"]) for stage in (1, 2, 3, 4)],
        "depths": [count(given, rf"block{stage}\.(\d+)\.") for stage in (1, 2, 3, 4)],
    }
    name = published_size(name, "an MSCAN", wanted, SIZES)
    tensors = {mscan.rename_released(key).replace("stages.", "stages_"): tensor for key, tensor in given.items()}
    return Backbone(name, tensors, given["patch_embed1.proj.0.weight"].shape[1])
