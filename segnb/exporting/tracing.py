"""What every tracer is given: an example picture, and which of its axes vary."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

AXES = {0: "batch", 2: "height", 3: "width"}


def random_pixels(shape: tuple[int, ...], raw_pixels: bool) -> Tensor:
    """Random input of the kind the file takes, the same at every call.

    Args:
        shape: (B, C, H, W).
        raw_pixels: uint8 0..255 instead of float32 with mean 0 and deviation 1.

    Returns:
        A tensor of that shape.
    """
    random = torch.Generator().manual_seed(0)
    if raw_pixels:
        return torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)
    return torch.randn(shape, generator=random)


def example_for(model: nn.Module, size: tuple[int, int], raw_pixels: bool) -> Tensor:
    """Make the picture with which to trace.

    Its sides are odd: at even ones a step such as "resize unless the size is right already" takes its shortcut, and the exporter
    would keep the shortcut for all sizes.

    Args:
        model: has ``in_channels``.
        size: height and width, made odd.
        raw_pixels: see `random_pixels`.

    Returns:
        (2, C, H, W).
    """
    height, width = size
    return random_pixels((2, model.in_channels, height | 1, width | 1), raw_pixels)


def dynamic_axes() -> tuple[dict[int, Any]]:
    """Batch, height and width vary."""
    return (dict.fromkeys(AXES, torch.export.Dim.DYNAMIC),)


def reason_of(error: Exception) -> str:
    """First line of what an exporter complained about, which it wraps in errors and pages of its own."""
    lines = str(error.__cause__ or error).splitlines()
    return next((line.strip() for line in lines if line.strip()), type(error).__name__)
