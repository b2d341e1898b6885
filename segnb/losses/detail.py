"""Detail loss: does a map know where the labels change?

    labels ── Laplacian: 8 · own − the 8 neighbours ──▶ above 0.1? ── of every pixel, or of the block's first pixel ──▶ target

    0 0 0 0      ·  ·  ·  ·      · · · ·   neighbours that are ignored, or outside of the picture, count as the pixel itself:
    0 0 2 2      ·  · 10  ·  ▶   · · # #   no edge is made up there; an ignored pixel has no target
    0 0 2 2      ·  ·  ·  ·      · · # #   (here a block of 2×2 takes after its first pixel)

Source: Fan et al., "Rethinking BiSeNet for real-time semantic segmentation" (STDC), CVPR 2021, https://arxiv.org/abs/2104.13188,
section 3.3. Differs from the paper: of its three maps, every pixel with weight 0.6, every second with 0.3 and every fourth with
0.1, the last alone is not above the threshold of 0.1, so it decides nothing and is left out; the target is the same.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segnb.draw import IGNORE
from segnb.losses.distribution import cross_entropy

THRESHOLD = 0.1


def detail(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy and Dice of a map of edges.

    Args:
        logits: (B, 1, h, w), of any size; enlarged to that of the labels.
        labels: (B, H, W), or (B, K, H, W) of 0 and 1; integer, 255 is ignored.

    Returns:
        A scalar of at least 0.
    """
    logits = F.interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=True)
    target = detail_target(labels)
    counted = target != IGNORE
    truth, probability = ((part * counted).flatten(1) for part in (target.float(), logits[:, 0].sigmoid()))
    overlap, areas = (probability * truth).sum(1), (probability**2).sum(1) + truth.sum(1)
    return cross_entropy(logits, target) + (1 - (2 * overlap + 1) / (areas + 1)).mean()


def detail_target(labels: Tensor) -> Tensor:
    """Mark the pixels where labels change: 1 at an edge, on the side of the larger label, 0 elsewhere.

    Args:
        labels: (B, H, W), or (B, K, H, W) of 0 and 1, then an edge of any class is one; integer, 255 is ignored.

    Returns:
        int64 (B, H, W), 255 where no label counts.
    """
    planes = labels[:, None] if labels.dim() == 3 else labels
    edges = laplacian(planes).amax(dim=1, keepdim=True) > THRESHOLD
    blocks = F.interpolate(edges[..., ::2, ::2].float(), size=edges.shape[-2:], mode="nearest") > 0
    nowhere = (planes == IGNORE).all(dim=1)
    return torch.where(nowhere, IGNORE, (edges | blocks)[:, 0].long())


def laplacian(planes: Tensor) -> Tensor:
    """Sum up how much larger each label is than its eight neighbours: integers (B, K, H, W) -> float (B, K, H, W)."""
    known = (planes != IGNORE).float()
    values = planes.float() * known
    ring = torch.ones(1, 1, 3, 3, device=planes.device)
    ring[..., 1, 1] = 0

    def around(x: Tensor) -> Tensor:
        return F.conv2d(x.flatten(0, 1)[:, None], ring, padding=1).reshape(x.shape)

    return known * (values * around(known) - around(values))
