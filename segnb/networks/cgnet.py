"""CGNet: every block joins what is near a pixel to what surrounds it, and weighs both by the whole picture.

    picture ─ 3×3, stride 2 ─ 2 × 3×3 ─┬─ join ─ level of 3 blocks ─┬─ join ─ level of 21 blocks ─┬─ join ─ classify ─▶
    (B, C, H, W)     (B, 32, H/2, W/2) │           (B, 64, H/4)     │            (B, 128, H/8)    │   (B, classes, H/8, W/8)
                             picture/2 ┘           its first block, ┤           its first block's ┘
                                                          picture/4 ┘

    block:  x ─┬─ 1×1, half ─┬─ 3×3 of each channel ──────────┬─ concat ─ × weights of the channels ─ + ─▶
               │             └─ 3×3 of each channel, dilated ─┘                                       │
               └──────────────────────────────────────────────────────────────────────────────────────┘

Why: half a million weights are enough if context is looked for in every block, not only at the end.
Paper: Wu et al., IEEE Transactions on Image Processing 2021, https://arxiv.org/abs/1811.08201, section III.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from segnb.blocks import ConvNormAct
from segnb.parts.attention import classifier

WIDTHS = (32, 64, 128)
Norm = partial(nn.BatchNorm2d, eps=1e-3)
ConvNormPReLU = partial(ConvNormAct, norm=Norm, act=nn.PReLU)


class Block(nn.Module):
    """Context guided block: (B, in, h, w) -> (B, out, h, w), or (B, out, h/2, w/2).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        dilation: distance between the taps of the kernels that look at the surroundings.
        reduction: how many times fewer channels the layer between has that weighs the channels.
        halve: whether the block halves height and width; only then may the channels change, and nothing is added.
    """

    def __init__(
        self, in_channels: int, out_channels: int, dilation: int, reduction: int, *, halve: bool = False
    ) -> None:
        super().__init__()
        self.halve = halve
        inner, narrow = (out_channels if halve else out_channels // 2), out_channels // reduction
        self.narrow = (
            ConvNormPReLU(in_channels, inner, stride=2) if halve else ConvNormPReLU(in_channels, inner, kernel_size=1)
        )
        each = {"kernel_size": 3, "groups": inner, "bias": False}
        self.look_near = nn.Conv2d(inner, inner, padding=1, **each)
        self.look_around = nn.Conv2d(inner, inner, padding=dilation, dilation=dilation, **each)
        mix = [nn.Conv2d(2 * inner, out_channels, 1, bias=False)] if halve else []
        self.join = nn.Sequential(Norm(2 * inner), nn.PReLU(2 * inner), *mix)
        self.weigh = nn.Sequential(
            nn.Linear(out_channels, narrow), nn.ReLU(inplace=True), nn.Linear(narrow, out_channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Look near and around, then at the whole picture."""
        inner = self.narrow(x)
        joint = self.join(torch.cat([self.look_near(inner), self.look_around(inner)], dim=1))
        weighed = joint * self.weigh(joint.mean((2, 3)))[..., None, None]
        return weighed if self.halve else x + weighed


class Level(nn.Sequential):
    """Blocks, the first of which halves the map: (B, in, h, w) -> what the first and the last give, (B, out, h/2, w/2) each.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        count: number of blocks.
        dilation: see `Block`.
        reduction: see `Block`.
    """

    def __init__(self, in_channels: int, out_channels: int, count: int, dilation: int, reduction: int) -> None:
        rest = (Block(out_channels, out_channels, dilation, reduction) for _ in range(count - 1))
        super().__init__(Block(in_channels, out_channels, dilation, reduction, halve=True), *rest)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Apply one block after the other."""
        halve, *rest = self
        x = first = halve(x)
        for block in rest:
            x = block(x)
        return first, x


class CGNet(nn.Module):
    """Context guided network.

    Args:
        in_channels: channels of the picture: (C,).
        classes: channels of the returned logits.
        dropout: probability of dropping a whole channel before the classifier.
    """

    strides = ()
    sees_picture = True
    # Its released weights expect pixels from 0 to 255, less the mean of Cityscapes.
    statistics: ClassVar = {
        "mean": [value / 255 for value in (72.39239876, 82.90891754, 73.15835921)],
        "std": [1 / 255] * 3,
    }

    def __init__(self, in_channels: Sequence[int], classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        (channels,), (c1, c2, c3) = in_channels, WIDTHS
        self.shrink = nn.AvgPool2d(3, stride=2, padding=1)
        self.begin = nn.Sequential(ConvNormPReLU(channels, c1, stride=2), ConvNormPReLU(c1, c1), ConvNormPReLU(c1, c1))
        self.levels = nn.ModuleList(
            [
                Level(c1 + channels, c2, count=3, dilation=2, reduction=8),
                Level(2 * c2 + channels, c3, count=21, dilation=4, reduction=16),
            ]
        )
        self.join = nn.ModuleList(
            nn.Sequential(Norm(joined), nn.PReLU(joined)) for joined in (c1 + channels, 2 * c2 + channels, 2 * c3)
        )
        self.classify = classifier(2 * c3, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (picture,) into logits (B, classes, H/8, W/8)."""
        (image,) = features
        half = self.shrink(image)
        x = self.join[0](torch.cat([self.begin(image), half], dim=1))
        first, last = self.levels[0](x)
        x = self.join[1](torch.cat([last, first, self.shrink(half)], dim=1))
        first, last = self.levels[1](x)
        return self.classify(self.join[2](torch.cat([first, last], dim=1)))
