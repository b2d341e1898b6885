"""EMANet: describe all pixels by 64 bases, found by expectation-maximisation, and rebuild every pixel from them.

    c5 (B, C5, H/8, W/8) ─┬─ 3×3, 512 ─┬─ 1×1 ─ x ─ rebuilt from bases ─ ReLU ─ 1×1 ─┐
    (dilated)             │            └─────────────────────────────────────────────┴─ + ─ ReLU ─ 3×3, 256 ─┐
                          └──────────────────────────────────────────────────────────────────────────────────┴─ concat
                                                                                                               │
    three times:  E  (h·w, 64)   how much each pixel belongs to each base: softmax of x · base             3×3, 256
                  M  (512, 64)   each base becomes the mean of its pixels, of length 1                         │
    then:         x̃ = bases · E, of rank 64: noise is gone                            classify ─▶ (B, classes, H/8, W/8)

Why: comparing all pixels with 64 bases is cheaper than comparing them with each other, and smooths what they say.
Paper: Li et al., ICCV 2019, https://arxiv.org/abs/1907.13426, sections 3.2 and 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segnb.blocks import ConvNormAct
from segnb.parts.attention import classifier


class Bases(nn.Module):
    """Rebuild each pixel from a few bases: (B, C, h, w) -> the same.

    Args:
        channels: C.
        bases: how many.
        rounds: of expectation and maximisation.
        momentum: how fast the bases that the rounds begin with follow those that they end with, in training.
    """

    def __init__(self, channels: int, bases: int, rounds: int, momentum: float) -> None:
        super().__init__()
        self.rounds, self.momentum = rounds, momentum
        self.register_buffer("start", F.normalize(torch.randn(1, channels, bases), dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """Find the bases of each picture, and return what they say of its pixels."""
        pixels = x.flatten(2)  # (B, C, h·w)
        with torch.no_grad():
            bases = self.start.expand(x.shape[0], -1, -1)
            for _ in range(self.rounds):
                belongs = (pixels.mT @ bases).softmax(dim=2)  # (B, h·w, bases)
                bases = F.normalize(pixels @ F.normalize(belongs, p=1, dim=1), dim=1)
        if self.training:
            self.follow(bases)
        return (bases @ belongs.mT).reshape(x.shape)

    @torch.no_grad()
    def follow(self, bases: Tensor) -> None:
        """Let the bases that the next batch begins with move towards the mean of those found here."""
        found = F.normalize(bases.mean(dim=0, keepdim=True), dim=1)
        self.start.lerp_(found.to(self.start.dtype), self.momentum)


class EMANet(nn.Module):
    """Expectation-maximisation attention on one dilated level.

    Args:
        in_channels: channels of that level: (C5,).
        classes: channels of the returned logits.
        width: channels of the pixels that are rebuilt.
        bases: how many.
        rounds: of expectation and maximisation.
        momentum: how fast the first bases follow the last ones in training.
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
        bases: int = 64,
        rounds: int = 3,
        momentum: float = 0.1,
        dropout: float = 0.1,
        encoder_output_stride: int = 8,
    ) -> None:
        super().__init__()
        (channels,) = in_channels
        narrow = width // 2
        self.narrow = ConvNormAct(channels, width)
        # Lets negative values in, and is left as it is: a second one after the rounds would learn the same.
        self.turn = nn.Conv2d(width, width, 1).requires_grad_(False)
        self.rebuild = Bases(width, bases, rounds, momentum)
        self.join = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width))
        self.refine = ConvNormAct(width, narrow)
        self.mix = ConvNormAct(channels + narrow, narrow)
        self.classify = classifier(narrow, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (c5,) into logits (B, classes, H/8, W/8)."""
        (coarse,) = features
        x = self.narrow(coarse)
        rebuilt = self.join(self.rebuild(self.turn(x)).relu())
        return self.classify(self.mix(torch.cat([coarse, self.refine((x + rebuilt).relu())], dim=1)))
