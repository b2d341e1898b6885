"""FastFCN: three levels of an ordinary encoder together replace the fine map of a dilated one.

    c3 (B, C3, H/8,  W/8)  ── 3×3, 512 ────────┐           ┌─ 3×3, rate 1 ─┐
    c4 (B, C4, H/16, W/16) ── 3×3, 512 ── ×2 ──┼─ concat ──┼─ 3×3, rate 2 ─┼─ concat (2048, H/8, W/8) ── head ── classify
    c5 (B, C5, H/32, W/32) ── 3×3, 512 ── ×4 ──┘           ├─ 3×3, rate 4 ─┤                                        │
                                                           └─ 3×3, rate 8 ─┘                (B, classes, H/8, W/8) ◀┘

    head:  psp   means of windows, as in PSPNet            ── 3×3, 512
           aspp  dilated windows, as in DeepLabV3          ── 3×3, 512
           enc   3×3, 512 ── a codebook weighs the channels, as in EncNet

Why: a dilated encoder computes its last two stages at 4 and 16 times as many pixels.
Paper: Wu et al., 2019, https://arxiv.org/abs/1903.11816, section 3.3 (joint pyramid upsampling).
Differs from the paper: one 3×3 convolution joins what the dilated windows of aspp saw, as in MMSegmentation's weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segnb.blocks import ASPP, ConvNormAct, Stages, resize_like
from segnb.errors import SegnbError
from segnb.losses.presence import presence
from segnb.parts.attention import classifier
from segnb.parts.contexts import ContextEncoding, PyramidPooling


class JointPyramidUpsampling(nn.Module):
    """Make one fine map of several levels: [(B, C, h, w), …], fine to coarse -> (B, 4·width, h, w) of the finest.

    Args:
        in_channels: channels of each level.
        width: channels of each level after its convolution, and of each dilated window.
    """

    rates = (1, 2, 4, 8)

    def __init__(self, in_channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(ConvNormAct(channels, width) for channels in in_channels)
        joined = width * len(in_channels)
        self.look = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(joined, joined, 3, padding=rate, dilation=rate, groups=joined, bias=False),
                nn.BatchNorm2d(joined),
                ConvNormAct(joined, width, 1),
            )
            for rate in self.rates
        )

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Join the levels at the size of the finest and look at them through dilated windows."""
        projected = [project(level) for project, level in zip(self.project, levels, strict=True)]
        joined = torch.cat([resize_like(level, projected[0]) for level in projected], dim=1)
        return torch.cat([look(joined) for look in self.look], dim=1)


class FastFCN(nn.Module):
    """Joint pyramid upsampling under a head of another architecture.

    Args:
        in_channels: channels of each level, fine to coarse: (C3, C4, C5).
        classes: channels of the returned logits.
        head: ``"psp"``, ``"aspp"`` or ``"enc"``; the last learns to say which classes are in the picture, too.
        width: channels of each level, of each window and before the classifier.
        dropout: probability of dropping a whole channel before the classifier.
    """

    strides = (8, 16, 32)
    presence_weight = 0.2

    def __init__(
        self, in_channels: Sequence[int], classes: int, *, head: str = "psp", width: int = 512, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.upsample = JointPyramidUpsampling(in_channels, width)
        channels = width * len(self.upsample.rates)
        self.head = head
        if head == "psp":
            self.look = PyramidPooling(channels, width)
        elif head == "aspp":
            self.look = ASPP(channels, width, (12, 24, 36), kernel_size=3, dropout=0.0)
        elif head == "enc":
            self.look = ConvNormAct(channels, width)
            self.encode = ContextEncoding(width, codewords=32)
            self.detect = nn.Linear(width, classes)
        else:
            raise SegnbError(f"head={head!r}: give 'psp', 'aspp' or 'enc'.")
        self.classify = classifier(width, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn c3, c4, c5 into logits (B, classes, H/8, W/8)."""
        return self.forward_all(features).logits[-1]

    def forward_all(self, features: list[Tensor]) -> Stages:
        """The logits; and from the head enc, for each class, whether it is in the picture: ``presence`` (B, classes)."""
        x, clues = self.look(self.upsample(features)), {}
        if self.head == "enc":
            x, scene = self.encode(x)
            clues["presence"] = self.detect(scene)
        return Stages([self.classify(x)], clues)

    def own_loss(self, clues: dict[str, Tensor], labels: Tensor) -> Tensor:
        """Compare the classes that were detected with those that are there, as in EncNet."""
        return self.presence_weight * presence(clues["presence"], labels)
