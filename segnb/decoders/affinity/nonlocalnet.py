"""Non-local network: every pixel gathers from all others, weighed by how like they are.

    c5 (B, C5, H/8, W/8) ─┬─ 3×3, 512 ─ x ─ non-local ─ 3×3, 512 ─┐
    (dilated)             └───────────────────────────────────────┴─ concat ─ 3×3, 512 ─ classify ─▶ (B, classes, H/8, W/8)

    non-local:  x ─┬─ 1×1 query (256, h·w) ──┐
                   ├─ 1×1 key   (256, h·w) ──┴─ likeness (h·w, h·w) ─ softmax ─┐
                   ├─ 1×1 value (256, h·w) ────────────────────────────────────┴─ × ─ 1×1, 512 ─┐
                   └────────────────────────────────────────────────────────────────────────────┴─ + ─▶

Why: a convolution sees its window; here a wheel at one end of a bus learns from the wheel at the other in a single step.
Paper: Wang et al., CVPR 2018, https://arxiv.org/abs/1711.07971, sections 3.2 and 3.3, embedded Gaussian with 1/√C.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segnb.parts.attention import RelateBetween, attend, classifier


class NonLocal(nn.Module):
    """Add to each pixel what it gathered from all: (B, C, h, w) -> the same.

    Args:
        channels: C.
        inner: channels of queries, keys and values.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, inner, 1)
        self.mix = nn.Sequential(nn.Conv2d(inner, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Relate all pixels."""
        return x + self.mix(attend(self.query(x), self.key(x), self.value(x)))


class NonLocalNet(nn.Module):
    """Non-local block on one dilated level.

    Args:
        in_channels: channels of that level: (C5,).
        classes: channels of the returned logits.
        width: channels around the block; queries, keys and values have half as many.
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
        dropout: float = 0.1,
        encoder_output_stride: int = 8,
    ) -> None:
        super().__init__()
        (channels,) = in_channels
        self.relate = RelateBetween(channels, width, NonLocal(width, width // 2))
        self.classify = classifier(width, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (c5,) into logits (B, classes, H/8, W/8)."""
        (coarse,) = features
        return self.classify(self.relate(coarse))
