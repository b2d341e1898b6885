"""Masks read at points instead of at all pixels, and the points where a prediction is least sure.

    mask (H, W) ── bilinear, at (x, y) from 0 to 1 ──▶ value

Why: nearly all pixels of a mask are easy; twelve thousand points teach as much as a million pixels, for a third of the memory.
Source: Kirillov et al., "PointRend", CVPR 2020, https://arxiv.org/abs/1912.08193, section 3.1; Cheng et al., "Mask2Former", CVPR
2022, https://arxiv.org/abs/2112.01527, section 3.3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def read_at(masks: Tensor, points: Tensor) -> Tensor:
    """Read masks at points: (N, H, W), (N or 1, P, 2) -> (N, P).

    Args:
        masks: of any size.
        points: (x, y) from 0 to 1 over the whole width and height; the same for all masks if there is one row of them.
    """
    grid = (2 * points - 1).unsqueeze(1).expand(len(masks), -1, -1, -1)
    return F.grid_sample(masks.unsqueeze(1), grid, padding_mode="border", align_corners=False)[:, 0, 0]


def random_points(rows: int, count: int, like: Tensor) -> Tensor:
    """Draw points evenly: (rows, count, 2), on the device of ``like``."""
    return torch.rand(rows, count, 2, device=like.device)


@torch.no_grad()
def uncertain_points(masks: Tensor, count: int, *, candidates: int = 3, share: float = 0.75) -> Tensor:
    """Choose points where masks are least sure, and some at random.

    Args:
        masks: logits (N, H, W).
        count: points for each mask.
        candidates: how many times as many points are looked at.
        share: part of the points that are the least sure of those, with the logits nearest to 0.

    Returns:
        (N, count, 2), (x, y) from 0 to 1.
    """
    looked_at = random_points(len(masks), candidates * count, masks)
    certainty = read_at(masks, looked_at).abs()
    chosen = certainty.topk(int(share * count), dim=1, largest=False).indices
    unsure = looked_at.gather(1, chosen.unsqueeze(2).expand(-1, -1, 2))
    return torch.cat([unsure, random_points(len(masks), count - chosen.shape[1], masks)], dim=1)
