"""The names of encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm

from segnb.encoders.weights import WEIGHT_FILES
from segnb.errors import SegnbError, nearest

# SegFormer's encoders (Xie et al., NeurIPS 2021) are timm's PVT v2 with an expansion of 4 in every block. timm has no
# ImageNet weights for them.
MIT: dict[str, tuple[str, dict[str, Any]]] = {
    f"mit_b{size}": (f"pvt_v2_b{size}", {"mlp_ratios": (4, 4, 4, 4)}) for size in range(6)
}


def timm_name(name: str) -> tuple[str, dict[str, Any]]:
    """Translate an encoder's name to timm's, with the keywords that belong to it."""
    return MIT.get(name, (name, {}))


def check_name(name: str, weights: str | None) -> tuple[str, str | None]:
    """Refuse unknown encoders and tags.

    Returns:
        The timm name, with the tag if one was asked for; and what to load: ``"imagenet"`` (that name's own weights), a
        file, or None.
    """
    if name in MIT:
        if weights is None or Path(weights).suffix in WEIGHT_FILES:
            return name, weights
        raise SegnbError(
            f"timm has no pretrained weights for {name!r}: pass encoder_weights=None or a file of weights."
        )
    architecture, _, tag = str(name).partition(".")
    if not timm.is_model(architecture):
        raise SegnbError(
            f"unknown encoder {name!r}: timm has no model of that name. {nearest(architecture, timm.list_models())} "
            "segnb.list_encoders('*net*') lists what there is."
        )
    given = f"the tag of encoder_name={name!r}"
    if weights is not None and weights != "imagenet" and Path(weights).suffix not in WEIGHT_FILES:
        given, tag, weights = f"encoder_weights={weights!r}", str(weights), "imagenet"
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise SegnbError(
            f"{given} is neither a file nor a timm tag of {architecture!r}. {nearest(tag, tags)} "
            "Use 'imagenet' for timm's default weights or None for random ones."
        )
    if weights == "imagenet" and not tags:
        raise SegnbError(
            f"timm has no pretrained weights for {architecture!r}: pass encoder_weights=None or a file of weights."
        )
    return (f"{architecture}.{tag}" if tag else architecture), weights
