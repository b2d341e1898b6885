"""How fine can a decoder draw, and how far does it read? Neither needs any training.

    labels ── mean over squares of the stride ── enlarge ── argmax ─▶ what such a map can draw ─▶ coarse_iou

    random map ── decoder ── logits in the middle ── gradient ─▶ how strongly each place is read ─▶ places_read

The gradient as the view of a unit: Luo et al., "Understanding the effective receptive field", NeurIPS 2016,
https://arxiv.org/abs/1701.04128, section 2.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segnb.errors import SegnbError
from segnb.metrics import ConfusionMatrix


def coarse_iou(labels: Tensor, classes: int, stride: int) -> np.ndarray:
    """Compute the IoU of a model that knows the share of each class in each square of its only map.

    The shares are enlarged bilinearly to the picture, as every model's scores are. It is no strict bound: scores that favour thin
    classes can reach somewhat more.

    Args:
        labels: (B, H, W) int64, 0 to ``classes - 1``.
        classes: how many.
        stride: side of the squares in pixels.

    Returns:
        (classes,) 0 to 1; NaN for a class that does not occur.

    Raises:
        SegnbError: a stride that does not divide the pictures' sides.
    """
    height, width = labels.shape[-2:]
    if stride < 1 or height % stride or width % stride:
        raise SegnbError(f"stride={stride!r}: give one that divides both sides of the pictures, {height} × {width}.")
    shares = F.one_hot(labels, classes).movedim(3, 1).float()
    known = F.avg_pool2d(shares, stride)
    drawn = F.interpolate(known, size=(height, width), mode="bilinear").argmax(dim=1)
    matrix = ConfusionMatrix(classes)
    matrix.update(drawn, labels)
    return matrix.iou().numpy()


def places_read(decoder: nn.Module, channels: int, side: int = 33) -> np.ndarray:
    """Measure how strongly the logits in the middle depend on each place of the map that a decoder reads.

    Args:
        decoder: one that reads a single map and answers at its size; it stays as it is.
        channels: of the map, whose values are random, the same at every call.
        side: places along each side of the map, odd.

    Returns:
        float32 (side, side): absolute gradients of the sum of the logits in the middle, added over the channels. Exactly 0 is
        what cannot be seen.
    """
    random = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, channels, side, side, generator=random, requires_grad=True)
    training = decoder.training
    try:
        logits = decoder.eval()([coarse])
    finally:
        decoder.train(training)
    (gradient,) = torch.autograd.grad(logits[0, :, side // 2, side // 2].sum(), coarse)
    return gradient[0].abs().sum(dim=0).numpy()
