"""Fast-SCNN: both paths of a two-branch network share their first layers, which learn to make the picture small.

    image ── 3×3 ── separable ── separable ─────────────────── x (64, H/8)      ── guess (stage)
             each of stride 2
    x ── 3 bottlenecks, ½ ── 3, ½ ── 3 ── windows ── 3×3 ───── y (128, H/32)    ── guess (stage)

    x ── 1×1, 128 ─────────────────────────────── + ── relu ── separable ── separable ── classify ─▶ (B, classes, H/8, W/8)
    y ── ×4 ── 3×3 of each channel ── 1×1, 128 ───┘

    separable:   3×3 of each channel ─ 1×1
    bottleneck:  1×1, to six times as many channels ─ 3×3 of each channel ─ 1×1, + what came in

Why: the first layers of a fine and of a coarse branch learn the same edges; learnt once, they leave time for the rest. No layer
needs a pretrained classifier.
Paper: Poudel, Liwicki and Cipolla, BMVC 2019, https://arxiv.org/abs/1902.04502, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, Stages, resize_like
from segnb.parts.attention import classifier
from segnb.parts.contexts import WindowMeans

EXPANSION = 6


def separable(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Look at each channel by itself, then at each pixel by itself; only here both are normalised."""
    return nn.Sequential(
        ConvNormAct(in_channels, in_channels, stride=stride, groups=in_channels, act=nn.Identity),
        ConvNormAct(in_channels, out_channels, 1),
    )


class Bottleneck(nn.Module):
    """Widen, look at each channel by itself, narrow: (B, in, h, w) -> (B, out, h/stride, w/stride).

    Source: Sandler et al., CVPR 2018, https://arxiv.org/abs/1801.04381, section 3.3.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        wide = EXPANSION * in_channels
        self.adds = stride == 1 and in_channels == out_channels
        self.look = nn.Sequential(
            ConvNormAct(in_channels, wide, 1),
            ConvNormAct(wide, wide, stride=stride, groups=wide),
            ConvNormAct(wide, out_channels, 1, act=nn.Identity),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add what was seen to the map, where it has the map's shape."""
        return x + self.look(x) if self.adds else self.look(x)


class FastSCNN(nn.Module):
    """Fast segmentation network, whole.

    Args:
        in_channels: channels of the picture, (C,).
        classes: channels of the returned logits.
        dropout: probability of dropping a whole channel before each classifier.
    """

    sees_picture = True
    strides = ()

    def __init__(self, in_channels: Sequence[int], classes: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        (picture,) = in_channels
        self.shrink = nn.Sequential(ConvNormAct(picture, 32, stride=2), separable(32, 48, 2), separable(48, 64, 2))
        self.deepen = nn.Sequential(
            *(
                nn.Sequential(Bottleneck(before, after, stride), *(Bottleneck(after, after, 1) for _ in range(2)))
                for before, after, stride in ((64, 64, 2), (64, 96, 2), (96, 128, 1))
            )
        )
        self.look = WindowMeans(128, 32)
        self.summarise = ConvNormAct(256, 128)
        self.enlarge = nn.Sequential(ConvNormAct(128, 128, groups=128), ConvNormAct(128, 128, 1, act=nn.Identity))
        self.project = ConvNormAct(64, 128, 1, act=nn.Identity)
        self.guess_coarse = nn.Sequential(ConvNormAct(128, 32), *classifier(32, classes, dropout))
        self.guess_fine = nn.Sequential(ConvNormAct(64, 32), *classifier(32, classes, dropout))
        self.mix = nn.Sequential(separable(128, 128), separable(128, 128))
        self.classify = classifier(128, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (image,) into logits (B, classes, H/8, W/8)."""
        return self.join(*self.read(features))

    def forward_all(self, features: list[Tensor]) -> Stages:
        """Logits of the shared layers, of the deep path, and the final ones."""
        fine, coarse = self.read(features)
        return Stages([self.guess_fine(fine), self.guess_coarse(coarse), self.join(fine, coarse)], {})

    def read(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Make the picture small, (B, 64, H/8, W/8), and look at the whole of it, (B, 128, H/32, W/32)."""
        (image,) = features
        fine = self.shrink(image)
        deep = self.deepen(fine)
        return fine, self.summarise(torch.cat([deep, *self.look(deep)], dim=1))

    def join(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Add both paths and classify."""
        joined = self.project(fine) + self.enlarge(resize_like(coarse, fine))
        return self.classify(self.mix(joined.relu()))
