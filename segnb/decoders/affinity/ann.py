"""ANN: every pixel attends to 110 means of windows instead of to all pixels; and the deep level to the one before.

    c4 (B, C4, H/8, W/8) ── key, value ─ means ─┐
    c5 (B, C5, H/8, W/8) ─┬─ query ─────────────┴─ attend ─ 1×1, C5 ─┐
    (both dilated)        └──────────────────────────────────────────┴─ concat ─ 1×1, C5 ─ 3×3, 512 ─ x
                                                                                                      │
                       x ─┬─ query = key ─┐                                                           │
                          ├─ means ───────┴─ attend ─ 1×1, 512 ─┐
                          └─────────────────────────────────────┴─ concat ─ 1×1, 512 ─ classify ─▶ (B, classes, H/8, W/8)

    means: of 1×1, 3×3, 6×6 and 8×8 windows: 1 + 9 + 36 + 64 = 110

Why: attention over all pixels costs (h·w)²; means of windows say nearly the same, and add what PSPNet sees.
Paper: Zhu et al., ICCV 2019, https://arxiv.org/abs/1908.07678, sections 3.2 to 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, pool_to_grid
from segnb.parts.attention import attend, classifier

GRIDS = (1, 3, 6, 8)


def means(x: Tensor) -> Tensor:
    """Average a map over windows of four sizes: (B, C, h, w) -> (B, C, 110)."""
    return torch.cat([pool_to_grid(x, bins).flatten(2) for bins in GRIDS], dim=2)


class AsymmetricAttention(nn.Module):
    """The pixels of one map attend to means of another: (B, C, h, w), (B, D, h, w) -> (B, out, h, w).

    Args:
        channels: C, of the map that asks.
        asked: D, of the map that is asked; None if it is the same map, then queries and keys share their weights.
        inner: channels of queries, keys and values.
        out_channels: channels of the answer.
    """

    def __init__(self, channels: int, asked: int | None, inner: int, out_channels: int) -> None:
        super().__init__()
        self.key = ConvNormAct(asked or channels, inner, 1)
        self.query = self.key if asked is None else ConvNormAct(channels, inner, 1)
        self.value = nn.Conv2d(asked or channels, inner, 1)
        self.project = nn.Conv2d(inner, out_channels, 1)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """Return what each pixel of x learns from the other map."""
        key, value = means(self.key(other)), means(self.value(other))
        query = self.query(x)
        gathered = attend(query, key[..., None], value[..., None])
        return self.project(gathered)


class ANN(nn.Module):
    """Asymmetric non-local blocks on the last two, dilated, levels.

    Args:
        in_channels: channels of the levels: (C4, C5).
        classes: channels of the returned logits.
        width: channels before the classifier.
        inner: channels of queries, keys and values.
        dropout: probability of dropping a whole channel, after the levels are joined and before the classifier.
        encoder_output_stride: stride of the maps: 8 as in the paper, or 16 or 32 for coarser and cheaper ones.
    """

    strides = (16, 32)
    least_depth = 4

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        width: int = 512,
        inner: int = 256,
        dropout: float = 0.1,
        encoder_output_stride: int = 8,
    ) -> None:
        super().__init__()
        c4, c5 = in_channels
        self.ask_level = AsymmetricAttention(c5, c4, inner, c5)
        self.fuse = nn.Sequential(nn.Conv2d(2 * c5, c5, 1, bias=False), nn.BatchNorm2d(c5), nn.Dropout2d(dropout))
        self.narrow = ConvNormAct(c5, width)
        self.ask_itself = AsymmetricAttention(width, None, inner, width)
        self.mix = ConvNormAct(2 * width, width, 1)
        self.classify = classifier(width, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (c4, c5) into logits (B, classes, H/8, W/8)."""
        c4, c5 = features
        x = self.narrow(self.fuse(torch.cat([self.ask_level(c5, c4), c5], dim=1)))
        return self.classify(self.mix(torch.cat([self.ask_itself(x, x), x], dim=1)))
