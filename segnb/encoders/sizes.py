"""Which picture sizes a backbone accepts, and the maps it makes of them: found out without computing anything.

PyTorch's meta device runs a network on shapes alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

# Sizes that no stride divides; the second leaves a remainder of 1, where rounding down, up and to even differ.
ODD_SIZES = ((107, 141), (97, 129))


def is_channels_last(backbone: nn.Module) -> bool:
    """Say whether a timm backbone returns (B, H, W, C)."""
    return getattr(backbone, "output_fmt", None) == "NHWC"


def map_shapes(blueprint: nn.Module, in_channels: int, size: tuple[int, int]) -> list[tuple[int, int, int]]:
    """Trace a picture of the given (H, W) through a backbone on the meta device: the (channels, h, w) of each map."""
    with torch.no_grad():
        maps = blueprint.eval()(torch.empty(1, in_channels, *size, device="meta"))
    last = is_channels_last(blueprint)
    return [(x.shape[3], x.shape[1], x.shape[2]) if last else tuple(x.shape[1:]) for x in maps]


def reductions_of(blueprint: nn.Module, shapes: list[tuple[int, int, int]], size: tuple[int, int]) -> list[int]:
    """Stride of each level: what timm says, unless the maps prove otherwise (its hybrids of ResNet and ViT)."""
    traced = [size[0] / height for _, height, _ in shapes]
    told = blueprint.feature_info.reduction()
    return [
        said if abs(math.log(said / seen)) < math.log(1.5) else round(seen)
        for said, seen in zip(told, traced, strict=True)
    ]


def shrunk(size: Sequence[int], stride: int) -> tuple[int, int]:
    """(H, W) -> (⌈H/stride⌉, ⌈W/stride⌉), without negative numbers: ONNX divides them towards zero."""
    return (size[0] + stride - 1) // stride, (size[1] + stride - 1) // stride


def accepted_sizes(
    blueprint: nn.Module, in_channels: int, channels: Sequence[int], reductions: Sequence[int], native: tuple[int, int]
) -> tuple[int, int, tuple[int, int] | None]:
    """Find out which picture sizes a backbone accepts.

    Returns:
        ``(1, n, None)`` any size of at least n; ``(m, m, None)`` multiples of m; ``(1, 1, (H, W))`` only this size.
    """

    def accepts(height: int, width: int) -> bool:
        try:
            shapes = map_shapes(blueprint, in_channels, (height, width))
        except Exception:
            return False
        # A backbone that miscounts its rows does not fail: it deals pixels out to channels.
        return all(min(shape) > 0 for shape in shapes) and [shape[0] for shape in shapes] == list(channels)

    if all(accepts(*size) for size in ODD_SIZES):
        return 1, next((side for side in (1, 32, 64) if accepts(side, side)), min(ODD_SIZES[1])), None
    coarsest = math.lcm(*reductions)
    for multiple in (coarsest, 2 * coarsest):
        if multiple <= 64 and accepts(3 * multiple, 5 * multiple) and accepts(4 * multiple, multiple):
            return multiple, multiple, None
    return 1, 1, native
