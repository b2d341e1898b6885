"""CCNet: every pixel gathers from its row and its column; doing so twice reaches the whole picture.

    c5 (B, C5, H/8, W/8) ─┬─ 3×3, 512 ─ x ─ criss-cross ─ criss-cross ─ 3×3, 512 ─┐
    (dilated)             └───────────────────────────────────────────────────────┴─ concat ─ 3×3, 512 ─ classify
                                                                                                           │
                             │ · · ·          the same weights both times                                  ▼
                             │ · · ·                                                         (B, classes, H/8, W/8)
    a pixel sees:         ───┼──────   h + w − 1 pixels instead of h·w
                             │ · · ·

Why: a non-local block compares all pairs of pixels; this needs the square root of that, in time and memory.
Paper: Huang et al., ICCV 2019, https://arxiv.org/abs/1811.11721, sections 3.2 and 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segnb.parts.attention import RelateBetween, Scale, classifier


class CrissCross(nn.Module):
    """Add to each pixel what it gathered from its row and column: (B, C, h, w) -> the same.

    Args:
        channels: C.
        inner: channels of queries and keys.
        times: how often.
    """

    def __init__(self, channels: int, inner: int, times: int) -> None:
        super().__init__()
        self.times = times
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.join = Scale()

    def forward(self, x: Tensor) -> Tensor:
        """Gather as often as asked."""
        for _ in range(self.times):
            x = x + self.join(self.gather(self.query(x), self.key(x), self.value(x)))
        return x

    def gather(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Weigh the h + w − 1 pixels of each pixel's cross by likeness, in one softmax."""
        height = query.shape[-2]
        column = torch.einsum("bchw,bcgw->bhwg", query, key)  # likeness to the h pixels of its column
        row = torch.einsum("bchw,bchv->bhwv", query, key)  # and to the w pixels of its row
        itself = torch.eye(height, dtype=torch.bool, device=query.device)[:, None, :]
        column = column.masked_fill(itself, -torch.inf)  # its own place is in the row already
        weights = torch.cat([column, row], dim=3).softmax(dim=3)
        from_column = torch.einsum("bhwg,bcgw->bchw", weights[..., :height], value)
        return from_column + torch.einsum("bhwv,bchv->bchw", weights[..., height:], value)


class CCNet(nn.Module):
    """Criss-cross attention on one dilated level.

    Args:
        in_channels: channels of that level: (C5,).
        classes: channels of the returned logits.
        width: channels around the attention; queries and keys have an eighth as many.
        times: how often every pixel gathers; after two it knows of all others.
        dropout: probability of dropping a whole channel before the classifier.
        encoder_output_stride: stride of the map: 8 as in the paper, or 16 or 32 for coarser and cheaper ones.
    """

    strides = (32,)

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        width: int = 512,
        times: int = 2,
        dropout: float = 0.1,
        encoder_output_stride: int = 8,
    ) -> None:
        super().__init__()
        (channels,) = in_channels
        self.relate = RelateBetween(channels, width, CrissCross(width, max(1, width // 8), times))
        self.classify = classifier(width, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (c5,) into logits (B, classes, H/8, W/8)."""
        (coarse,) = features
        return self.classify(self.relate(coarse))
