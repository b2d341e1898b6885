"""What the affinity decoders share: a map whose pixels are related to each other between two convolutions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segnb.blocks import ConvNormAct


def attend(query: Tensor, key: Tensor, value: Tensor, scale: float | None = None) -> Tensor:
    """Let every pixel of the query gather values from the pixels whose keys are like it.

    Args:
        query: (B, C, h, w).
        key: (B, C, ...), one for each place that may be looked at.
        value: (B, D, ...), what is there.
        scale: factor of the products before the softmax; None is 1/√C.

    Returns:
        (B, D, h, w).

    Source: Vaswani et al., NeurIPS 2017, https://arxiv.org/abs/1706.03762, section 3.2.1.
    """
    pixels = [
        part.flatten(2).mT.unsqueeze(1) for part in (query, key, value)
    ]  # with heads, one: ONNX knows no other form
    gathered = F.scaled_dot_product_attention(*pixels, scale=scale).squeeze(1)
    return gathered.mT.reshape(*value.shape[:2], *query.shape[-2:])


class Scale(nn.Module):
    """A factor that is learnt, from 0 on: what is scaled joins in little by little. Any shape -> the same."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply by the factor."""
        return x * self.scale


class RelateBetween(nn.Module):
    """A map that is narrowed, related, refined and joined to what it was: (B, in, h, w) -> (B, width, h, w).

        x ─┬─ 3×3, width ── relate ── 3×3, width ─┐
           └──────────────────────────────────────┴─ concat ── 3×3, width ─▶

    Args:
        in_channels: channels of the map.
        width: channels in between and of the result.
        relate: (B, width, h, w) -> the same: here pixels learn from each other.
    """

    def __init__(self, in_channels: int, width: int, relate: nn.Module) -> None:
        super().__init__()
        self.narrow = ConvNormAct(in_channels, width)
        self.relate = relate
        self.refine = ConvNormAct(width, width)
        self.mix = ConvNormAct(in_channels + width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map after its pixels have learnt from each other."""
        return self.mix(torch.cat([x, self.refine(self.relate(self.narrow(x)))], dim=1))


def classifier(width: int, classes: int, dropout: float) -> nn.Sequential:
    """The last layer: (B, width, h, w) -> logits (B, classes, h, w)."""
    return nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(width, classes, 1))
