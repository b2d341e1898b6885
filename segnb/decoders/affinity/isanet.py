"""ISANet: attend twice among few pixels, first among distant ones, then among neighbours.

    c5 (B, C5, H/8, W/8) ─ 3×3, 512 ─┬─ long range ─ short range ─┐
    (dilated)                        └────────────────────────────┴─ concat ─ 1×1, 512 ─ classify ─▶ (B, classes, H/8, W/8)

    cut into windows of 8×8:    a b │ a b       long range:   all a attend to each other, all b, …: one pixel of each window
                                c d │ c d       short range:  the a b c d of a window attend to each other
                                ────┼────
                                a b │ a b       two steps lead from any pixel to any other, at the cost of a fraction of
                                c d │ c d       all pairs

Paper: Huang et al., 2019, https://arxiv.org/abs/1907.12273, section 3.2; IJCV 2021.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segnb.blocks import ConvNormAct
from segnb.parts.attention import attend, classifier


class SelfAttention(nn.Module):
    """All pixels of a map attend to each other: (B, C, h, w) -> the same.

    Args:
        channels: C.
        inner: channels of queries and keys.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.query = nn.Sequential(ConvNormAct(channels, inner, 1), ConvNormAct(inner, inner, 1))
        self.key = nn.Sequential(ConvNormAct(channels, inner, 1), ConvNormAct(inner, inner, 1))
        self.value = nn.Conv2d(channels, channels, 1)
        self.project = ConvNormAct(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Relate all pixels."""
        return self.project(attend(self.query(x), self.key(x), self.value(x)))


class ISANet(nn.Module):
    """Interlaced sparse self-attention on one dilated level.

    Args:
        in_channels: channels of that level: (C5,).
        classes: channels of the returned logits.
        width: channels of the map that attends.
        inner: channels of queries and keys.
        window: side of the windows, in pixels of the map.
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
        inner: int = 256,
        window: int = 8,
        dropout: float = 0.1,
        encoder_output_stride: int = 8,
    ) -> None:
        super().__init__()
        (channels,) = in_channels
        self.window = window
        self.narrow = ConvNormAct(channels, width)
        self.relate_distant = SelfAttention(width, inner)
        self.relate_near = SelfAttention(width, inner)
        self.mix = ConvNormAct(2 * width, width, 1)
        self.classify = classifier(width, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (c5,) into logits (B, classes, H/8, W/8)."""
        (coarse,) = features
        x = self.narrow(coarse)
        height, width = x.shape[-2:]
        rows, columns = ((length + self.window - 1) // self.window for length in (height, width))
        missing = rows * self.window - height, columns * self.window - width
        top, left = (length // 2 for length in missing)
        margins = left, missing[1] - left, top, missing[0] - top
        related = self.interlace(F.pad(x, margins), rows, columns)
        related = F.pad(related, [-margin for margin in margins])  # a slice would bind an exported graph to some sizes
        return self.classify(self.mix(torch.cat([related, x], dim=1)))

    def interlace(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """Attend among one pixel of each of the rows × columns windows, then inside each: (B, C, h, w) -> the same."""
        batch, channels = x.shape[:2]
        side = self.window
        x = x.reshape(batch, channels, rows, side, columns, side).permute(0, 3, 5, 1, 2, 4)
        x = self.relate_distant(x.reshape(batch * side * side, channels, rows, columns))
        x = x.reshape(batch, side, side, channels, rows, columns).permute(0, 4, 5, 3, 1, 2)
        x = self.relate_near(x.reshape(batch * rows * columns, channels, side, side))
        x = x.reshape(batch, rows, columns, channels, side, side).permute(0, 3, 1, 4, 2, 5)
        return x.reshape(batch, channels, rows * side, columns * side)
