"""What a finished backbone needs to learn as an encoder: a batch of one must do, and nothing may wait for a gradient in vain."""

from __future__ import annotations

from timm.layers.selective_kernel import SelectiveKernelAttn
from torch import nn

from segnb.blocks import PooledBatchNorm

# What only the classifier behind the backbone uses, by the class that has it; timm leaves it in.
IDLE: dict[str, tuple[str, ...]] = {
    "PoolingVisionTransformer": ("norm",),
    "EfficientViM": ("weights",),
    "EfficientViMDistilled": ("weights", "weights_dist"),
}


def accept_one_picture(backbone: nn.Module) -> None:
    """Let a backbone train on a batch of one; changed in place.

    Selective kernels (Li et al., CVPR 2019, https://arxiv.org/abs/1903.06586, section 3.1) normalise, over the batch, a map
    that is pooled to one pixel: a single picture has no variance there.
    """
    for module in backbone.modules():
        if type(module) is SelectiveKernelAttn and type(module.bn) is nn.BatchNorm2d:
            module.bn.__class__ = PooledBatchNorm


def freeze_idle(backbone: nn.Module) -> None:
    """Take the parameters that get no gradient out of training; they stay in the weights, where checkpoints have them."""
    for module in backbone.modules():
        for name in IDLE.get(type(module).__name__, ()):
            getattr(module, name).requires_grad_(False)
