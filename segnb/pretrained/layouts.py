"""Layers that libraries cut into other pieces than segnb and timm do."""

from __future__ import annotations

import re

import torch
from torch import Tensor


def join(tensors: dict[str, Tensor], parts: tuple[str, ...], whole: str) -> dict[str, Tensor]:
    """Join linear layers that read the same thing, such as query, key and value, into one.

    Args:
        tensors: some have names with ``.part.`` in them, for every part.
        parts: in the order in which the whole stacks them.
        whole: what stands in the name in their place.
    """
    joined = {}
    for name, tensor in tensors.items():
        part = next((part for part in parts if f".{part}." in name), None)
        if part is None:
            joined[name] = tensor
        elif part == parts[0]:
            pieces = [tensors[name.replace(f".{part}.", f".{other}.")] for other in parts]
            joined[name.replace(f".{part}.", f".{whole}.")] = torch.cat(pieces)
    return joined


def as_kernel(weight: Tensor) -> Tensor:
    """Turn the weight of a linear layer into that of a 1×1 convolution."""
    return weight[..., None, None]


def split_readouts(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cut DPT's linear layers on patch and token, ``….tell.1.both.weight``, into the patch's half and the token's."""
    split = {}
    for name, tensor in tensors.items():
        if name.endswith(".both.weight"):
            channels = len(tensor)
            split[name.replace(".both.", ".patches.")] = as_kernel(tensor[:, :channels])
            split[name.replace(".both.", ".token.")] = tensor[:, channels:]
        else:
            split[name.replace(".both.", ".patches.")] = tensor
    return split


def split_projections(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cut PyTorch's stacked projections, ``….in_proj_weight``, into those of query, key and value; others stay as they are."""
    split = {}
    for name, tensor in tensors.items():
        match = re.fullmatch(r"(.*)\.in_proj_(weight|bias)", name)
        if match:
            parts = zip(("query", "key", "value"), tensor.chunk(3), strict=True)
            split |= {f"{match[1]}.{part}.{match[2]}": piece for part, piece in parts}
        else:
            split[name] = tensor
    return split
