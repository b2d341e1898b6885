"""DANet: pixels attend to pixels, and channels to channels; the two are added.

    c5 (B, C5, H/8, W/8) ─┬─ 3×3, 512 ─ position attention ─ 3×3, 512 ─┬─ classify (stage)
    (dilated)             │                                            ├─ + ── classify ─▶ (B, classes, H/8, W/8)
                          └─ 3×3, 512 ─ channel attention ── 3×3, 512 ─┴─ classify (stage)

    position:  (h·w, 64) queries × (64, h·w) keys   ─ softmax ─ × values (512, h·w)     which places belong together
    channel:   (512, h·w) × (h·w, 512), largest − it ─ softmax ─ × (512, h·w)           which responses belong together

Why: a channel of a deep map answers to something like a class; channels that answer to related things can help each other.
Paper: Fu et al., CVPR 2019, https://arxiv.org/abs/1809.02983, sections 3.2 and 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segnb.blocks import ConvNormAct, Stages
from segnb.parts.attention import Scale, attend, classifier


class PositionAttention(nn.Module):
    """Add to each pixel what it gathered from all: (B, C, h, w) -> the same.

    Args:
        channels: C.
        inner: channels of queries and keys.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.join = Scale()

    def forward(self, x: Tensor) -> Tensor:
        """Relate all pixels."""
        return x + self.join(attend(self.query(x), self.key(x), self.value(x), scale=1.0))


class ChannelAttention(nn.Module):
    """Add to each channel what it gathered from those that are least like it: (B, C, h, w) -> the same."""

    def __init__(self) -> None:
        super().__init__()
        self.join = Scale()

    def forward(self, x: Tensor) -> Tensor:
        """Relate all channels."""
        maps = x.flatten(2)  # (B, C, h·w)
        likeness = maps @ maps.mT  # (B, C, C)
        weights = (likeness.amax(dim=2, keepdim=True) - likeness).softmax(dim=2)
        return x + self.join((weights @ maps).reshape(x.shape))


class DANet(nn.Module):
    """Position and channel attention on one dilated level.

    Args:
        in_channels: channels of that level: (C5,).
        classes: channels of the returned logits.
        width: channels around both attentions.
        inner: channels of the queries and keys of the position attention.
        dropout: probability of dropping a whole channel before each classifier.
        encoder_output_stride: stride of the map: 8 as in the paper, or 16 or 32 for coarser and cheaper ones.
    """

    strides = (32,)

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        width: int = 512,
        inner: int = 64,
        dropout: float = 0.1,
        encoder_output_stride: int = 8,
    ) -> None:
        super().__init__()
        (channels,) = in_channels
        self.relate_places = nn.Sequential(
            ConvNormAct(channels, width), PositionAttention(width, inner), ConvNormAct(width, width)
        )
        self.relate_channels = nn.Sequential(
            ConvNormAct(channels, width), ChannelAttention(), ConvNormAct(width, width)
        )
        self.classify_places = classifier(width, classes, dropout)
        self.classify_channels = classifier(width, classes, dropout)
        self.classify = classifier(width, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (c5,) into logits (B, classes, H/8, W/8)."""
        (coarse,) = features
        return self.classify(self.relate_places(coarse) + self.relate_channels(coarse))

    def forward_all(self, features: list[Tensor]) -> Stages:
        """Logits of the places alone, of the channels alone, and of both: each learns by itself, too."""
        (coarse,) = features
        places, channels = self.relate_places(coarse), self.relate_channels(coarse)
        stages = [self.classify_places(places), self.classify_channels(channels), self.classify(places + channels)]
        return Stages(stages, {})
