"""Points of a picture at which it is unsure which class wins: what PointRend learns from.

    logits (B, K, h, w) ── read at 3·N random points ── uncertainty ── the ¾·N least sure ─┬─▶ (B, N, 2), x and y from 0 to 1
                                                                ¼·N other random points ───┘

Source: Kirillov et al., CVPR 2020, https://arxiv.org/abs/1912.08193, sections 3.1 and 3.3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segnb.losses.points import random_points

CANDIDATES, UNSURE = 3, 0.75  # points looked at for each one that is chosen; share of the least sure among the chosen


def uncertainty(logits: Tensor, yes_or_no: bool) -> Tensor:
    """Say how little it takes to change a decision: (B, K, ...) -> (B, ...), at most 0, which is undecided.

    Args:
        logits: of pixels or points.
        yes_or_no: whether each class is decided for itself; otherwise the two most likely ones compete.
    """
    if yes_or_no:
        return -logits.abs().amin(dim=1)
    first, second = logits.topk(2, dim=1).values.unbind(dim=1)
    return second - first


def read_between(maps: Tensor, points: Tensor) -> Tensor:
    """Read maps between their pixels, bilinearly, 0 outside: (B, C, h, w) at (B, N, 2), x and y from 0 to 1 -> (B, C, N)."""
    exact = torch.promote_types(maps.dtype, torch.float32)  # half precision could not tell neighbours apart
    grid = 2 * points.to(exact).unsqueeze(2) - 1
    return F.grid_sample(maps.to(exact), grid, align_corners=False).squeeze(3).to(maps.dtype)


def labels_at(labels: Tensor, points: Tensor) -> Tensor:
    """Look up labels (B, H, W) or (B, K, H, W) at points (B, N, 2): -> (B, N, 1) or (B, K, N, 1), as losses take them."""
    height, width = labels.shape[-2:]
    columns = (points[..., 0] * width).long().clamp(max=width - 1)
    rows = (points[..., 1] * height).long().clamp(max=height - 1)
    places = rows * width + columns
    if labels.dim() == 4:
        places = places.unsqueeze(1).expand(-1, labels.shape[1], -1)
    return labels.flatten(-2).gather(-1, places).unsqueeze(-1)


@torch.no_grad()
def choose_points(logits: Tensor, count: int, yes_or_no: bool) -> Tensor:
    """Draw points of each picture, most of them where its logits (B, K, h, w) are least sure: -> (B, count, 2)."""
    batch, unsure = logits.shape[0], int(UNSURE * count)
    drawn = random_points(batch, CANDIDATES * count, logits)
    chosen = uncertainty(read_between(logits, drawn), yes_or_no).topk(unsure, dim=1).indices
    hard = drawn.gather(1, chosen.unsqueeze(2).expand(-1, -1, 2))
    return torch.cat([hard, random_points(batch, count - unsure, logits)], dim=1)
