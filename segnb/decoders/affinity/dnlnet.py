"""DNL: the non-local block taken apart: what a pixel is like, and what is worth looking at for all.

    c5 (B, C5, H/8, W/8) ─┬─ 3×3, 512 ─ x ─ disentangled ─ 3×3, 512 ─┐
    (dilated)             └──────────────────────────────────────────┴─ concat ─ 3×3, 512 ─ classify ─▶ (B, classes, H/8, W/8)

    disentangled:  x ─┬─ query − its mean ─┐
                      ├─ key − its mean ───┴─ likeness ─ softmax ─ × value ──┐     pairwise: within a region
                      ├─ 1×1 ─ softmax over all pixels ─ × value ────────────┴─ + ─ 1×1 ─┐     unary: its outline
                      └──────────────────────────────────────────────────────────────────┴─ + ─▶

Why: in a non-local block the two are multiplied and hinder each other: mostly one weight is learnt, the same for all pixels.
Paper: Yin et al., ECCV 2020, https://arxiv.org/abs/2006.06668, section 4.
Differs from the paper: the likeness is divided by 0.05·√C before the softmax, as in the released weights.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segnb.parts.attention import RelateBetween, attend, classifier

TEMPERATURE = 0.05


class DisentangledNonLocal(nn.Module):
    """Add to each pixel what it gathered from its like and from what stands out: (B, C, h, w) -> the same.

    Args:
        channels: C.
        inner: channels of queries, keys and values.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.scale = 1 / (TEMPERATURE * inner**0.5)
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, inner, 1)
        self.stand_out = nn.Conv2d(channels, 1, 1)
        self.mix = nn.Sequential(nn.Conv2d(inner, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Relate all pixels."""
        query, key = (part - part.mean((2, 3), keepdim=True) for part in (self.query(x), self.key(x)))
        value = self.value(x)
        pairwise = attend(query, key, value, self.scale)
        weights = self.stand_out(x).flatten(2).softmax(dim=2)  # (B, 1, h·w)
        unary = (value.flatten(2) @ weights.mT)[..., None]  # (B, inner, 1, 1), the same for all pixels
        return x + self.mix(pairwise + unary)


class DNLNet(nn.Module):
    """Disentangled non-local block on one dilated level.

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
        self.relate = RelateBetween(channels, width, DisentangledNonLocal(width, width // 2))
        self.classify = classifier(width, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (c5,) into logits (B, classes, H/8, W/8)."""
        (coarse,) = features
        return self.classify(self.relate(coarse))
