"""Checkpoints of torchvision's segmentation models: weights files and enums."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from segnb.pretrained.checkpoint import Checkpoint


def is_weights_enum(source: Any) -> bool:
    """Say whether a source is a member of one of torchvision's weights enums."""
    return hasattr(source, "get_state_dict") and hasattr(source, "meta")


def recognises(tensors: dict[str, Tensor]) -> bool:
    """Say whether tensors have torchvision's names."""
    return any(name.startswith("backbone.") for name in tensors) and any(
        name.startswith("classifier.") for name in tensors
    )


def read_enum(weights: Any) -> Checkpoint:
    """Fetch the weights of an enum."""
    raise NotImplementedError


def read_tensors_of(tensors: dict[str, Tensor], source: str) -> Checkpoint:
    """Read a state dict."""
    raise NotImplementedError
