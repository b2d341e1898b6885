"""What the readers of backbones take and give, and what they share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from segnb.errors import SegnbError
from segnb.pretrained.checkpoint import Patterns
from segnb.pretrained.huggingface_backbones import closest

Tensors = dict[str, Tensor]
NORM_STRIDES = (4, 8, 16, 32)
# MMSegmentation's names in a block of a transformer -> timm's.
BLOCK: Patterns = [
    (r"\.ln([12])\.", r".norm\1."),
    (r"\.attn\.attn\.in_proj_", ".attn.qkv."),
    (r"\.attn\.attn\.out_proj\.", ".attn.proj."),
    (r"\.ffn\.layers\.0\.0\.", ".mlp.fc1."),
    (r"\.ffn\.layers\.1\.", ".mlp.fc2."),
]


class Head(NamedTuple):
    """What reads the backbone's maps.

    Attributes:
        arch: the architecture.
        levels: strides of the maps that it reads, and its auxiliary head, ascending.
        settings: all options of the architecture, with the values that are known or usual.
    """

    arch: str
    levels: tuple[int, ...]
    settings: Mapping[str, Any]


@dataclass
class Backbone:
    """A backbone of MMSegmentation, in the words of segnb's `Encoder`.

    Attributes:
        name: the timm backbone that computes the same.
        tensors: its weights under the names that they have in the `Encoder`'s backbone.
        in_channels: channels of the picture.
        options: for the `Encoder`.
        others: more weights of the `Encoder`, under its names.
        norms: weight and bias of the normalisation after whole levels, by their stride.
        stride: of the coarsest map, where the architecture lets one choose; None: as it is used to.
        plain: whether it is a plain transformer, whose maps are all of one size.
        blocks: the four blocks after which a plain transformer is read; None: evenly spaced ones.
    """

    name: str
    tensors: Tensors
    in_channels: int
    options: dict[str, Any] = field(default_factory=dict)
    others: Tensors = field(default_factory=dict)
    norms: dict[int, Tensors] = field(default_factory=dict)
    stride: int | None = None
    plain: bool = False
    blocks: Sequence[int] | None = None


def count(given: Tensors, pattern: str) -> int:
    """Count the different numbers that a regular expression's group finds at the start of the names."""
    return len({match[1] for name in given if (match := re.match(pattern, name))})


def take_norms(given: Tensors, pattern: str) -> tuple[dict[int, Tensors], Tensors]:
    """Take out the normalisations that follow whole levels.

    Args:
        given: the backbone's tensors.
        pattern: the start of the names of a level's, with its number, from 0, as a group.

    Returns:
        Weight and bias of each by its level's stride; and all other tensors.
    """
    norms: dict[int, Tensors] = {}
    others: Tensors = {}
    for name, tensor in given.items():
        if match := re.fullmatch(rf"{pattern}\.(weight|bias)", name):
            norms.setdefault(NORM_STRIDES[int(match[1])], {})[match[2]] = tensor
        else:
            others[name] = tensor
    return norms, others


def split_query(given: Tensors) -> Tensors:
    """Cut PyTorch's joint layers into ``.q.`` and ``.kv.``, where keys and values come from a smaller map than queries."""
    split: Tensors = {}
    for name, tensor in given.items():
        if match := re.fullmatch(r"(.*\.attn\.)attn\.in_proj_(weight|bias)", name):
            third = len(tensor) // 3
            split[f"{match[1]}q.{match[2]}"], split[f"{match[1]}kv.{match[2]}"] = tensor[:third], tensor[third:]
        else:
            split[name] = tensor
    return split


def as_linear(tensors: Tensors) -> Tensors:
    """Turn 1×1 convolutions that timm has as linear layers, ``.mlp.fc1.`` and ``.mlp.fc2.``, into these."""
    return {
        name: tensor.flatten(1) if re.search(r"\.mlp\.fc[12]\.weight$", name) else tensor
        for name, tensor in tensors.items()
    }


class UnknownSizeError(SegnbError):
    """Says what was recognised of a backbone, in words that follow "has"."""


def closest_size(
    name: str | None, wanted: Mapping[str, Any], offered: Mapping[str, Mapping[str, Any]]
) -> tuple[str, dict[str, Any]]:
    """Find the timm backbone that differs least from what is wanted, and what differs; a name that was given says all."""
    return (name, {}) if name else closest(wanted, offered)


def published_size(
    name: str | None, family: str, wanted: Mapping[str, Any], offered: Mapping[str, Mapping[str, Any]]
) -> str:
    """Find the timm backbone that is wanted among the published ones: not all of its options leave a trace in a file.

    Raises:
        UnknownSizeError: none of them, and no name was given.
    """
    found = name or next((each for each, facts in offered.items() if wanted.items() <= facts.items()), None)
    if found is None:
        told = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in wanted.items())
        raise UnknownSizeError(f"{family} of no published size ({told})")
    return found
