"""ICNet: the deep part of the network sees the picture at a quarter of its size; lighter parts, at half and whole, add the edges.

    image ────── three 3×3 of stride 2 ─────────── w (64, H/8)
      │ ½
      └───────── first half of a ResNet ─────────── h (512, H/16) ── 1×1, 256
                   │ ½
                   └── second half of it ────────── q (2048, H/32) ── windows ── 3×3, 512 ── 1×1, 256

    q ── ×2 ── see ─┬─ + ── relu ── ×2 ── see ─┬─ + ── relu ── 3×3 ── classify ─▶ (B, classes, H/8, W/8)
                  guess │                    guess │
    h ────────── 1×1, 128      w ─────────── 1×1, 128         see: 3×3, dilated twice, 128

The guesses are stages, which learn from the labels by themselves: "cascade label guidance".
Why: what is there can be told from a small picture, at a sixteenth of the work; only where exactly needs the large one.
Paper: Zhao et al., ECCV 2018, https://arxiv.org/abs/1704.08545, section 3.
Differs from the paper: the picture of a quarter is the half-size branch's map made smaller, guesses are made after the dilated
convolution, and windows are joined, not added, as in MMSegmentation's weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import timm
import torch
import torch.nn.functional as F
from timm.models.resnet import BasicBlock
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, Stages, resize_like
from segnb.errors import SegnbError
from segnb.parts.attention import classifier
from segnb.parts.contexts import WindowMeans

DEPTHS = (18, 50, 101)


def halve(x: Tensor) -> Tensor:
    """Make a map half as large, as bilinear resizing by exactly ½ does: means of 2×2 pixels; (B, C, h, w) -> (B, C, h/2, w/2).

    An odd last row or column is dropped, but a single one stays: 2 // (1 + 1) = 1 is added first.
    """
    height, width = x.shape[-2:]
    return F.avg_pool2d(F.pad(x, (0, 2 // (width + 1), 0, 2 // (height + 1)), mode="replicate"), 2)


class Fuse(nn.Module):
    """Add a coarse map to a finer one: (B, coarse, h/2, w/2), (B, fine, h, w) -> sum and coarse part, (B, width, h, w)."""

    def __init__(self, coarse: int, fine: int, width: int) -> None:
        super().__init__()
        self.see = ConvNormAct(coarse, width, dilation=2)
        self.project = ConvNormAct(fine, width, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum, and the coarse map as it was added."""
        coarse = self.see(resize_like(coarse, fine))
        return coarse + self.project(fine), coarse


class ICNet(nn.Module):
    """Image cascade network, whole.

    Args:
        in_channels: channels of the picture, (C,).
        classes: channels of the returned logits.
        depth: layers of the ResNet: 18, 50 or 101.
        width: channels in which the branches are joined.
        dropout: probability of dropping a whole channel before each classifier.
    """

    sees_picture = True
    strides = ()

    def __init__(
        self, in_channels: Sequence[int], classes: int, *, depth: int = 50, width: int = 128, dropout: float = 0.0
    ) -> None:
        super().__init__()
        (picture,) = in_channels
        if depth not in DEPTHS:
            raise SegnbError(f"depth={depth!r}: give {', '.join(map(str, DEPTHS))}, the layers of the ResNet.")
        options = {"in_chans": picture, "output_stride": 8, "stem_type": "deep", "stem_width": 32}
        resnet = timm.create_model(f"resnet{depth}", pretrained=False, **options)
        for block in (*resnet.layer3, *resnet.layer4):
            if isinstance(block, BasicBlock):  # of which MMSegmentation dilates only the first convolution
                block.conv2.dilation = block.conv2.padding = (1, 1)
        # What comes out of a ReLU may be padded by zeros: one more below and to the right, so that no last row goes unseen.
        pool = nn.Sequential(nn.ZeroPad2d((1, 2, 1, 2)), nn.MaxPool2d(3, stride=2))
        self.see_half = nn.Sequential(*resnet.conv1, resnet.bn1, resnet.act1, pool, resnet.layer1, resnet.layer2)
        self.see_quarter = nn.Sequential(resnet.layer3, resnet.layer4)
        half, quarter = (resnet.feature_info[level]["num_chs"] for level in (2, 4))
        light = max(1, width // 4)
        self.see_whole = nn.Sequential(
            ConvNormAct(picture, light, stride=2),
            ConvNormAct(light, light, stride=2),
            ConvNormAct(light, 2 * light, stride=2),
        )
        self.look = WindowMeans(quarter, 4 * width)
        self.mix_windows = ConvNormAct(quarter + 4 * 4 * width, 4 * width)
        self.project_half = ConvNormAct(half, 2 * width, 1)
        self.project_quarter = ConvNormAct(4 * width, 2 * width, 1)
        self.fuse_half = Fuse(2 * width, 2 * width, width)
        self.fuse_whole = Fuse(width, 2 * light, width)
        self.guess = nn.ModuleList(
            nn.Sequential(ConvNormAct(width, width), *classifier(width, classes, dropout)) for _ in range(2)
        )
        self.mix = ConvNormAct(width, width)
        self.classify = classifier(width, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (image,) into logits (B, classes, H/8, W/8)."""
        joined, _ = self.cascade(features)
        return self.classify(self.mix(joined))

    def forward_all(self, features: list[Tensor]) -> Stages:
        """Logits of the quarter at H/16, of quarter and half at H/8, and of all three."""
        joined, coarser = self.cascade(features)
        guesses = [guess(x) for guess, x in zip(self.guess, coarser, strict=True)]
        return Stages([*guesses, self.classify(self.mix(joined))], {})

    def cascade(self, features: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Join the branches: the sum of all (B, width, H/8, W/8), and what the coarser ones gave to it, H/16 and H/8."""
        (image,) = features
        half = self.see_half(halve(image))
        quarter = self.see_quarter(halve(half))
        quarter = self.mix_windows(torch.cat([*self.look(quarter), quarter], dim=1))
        joined, from_quarter = self.fuse_half(self.project_quarter(quarter), self.project_half(half))
        joined, from_half = self.fuse_whole(joined.relu(), self.see_whole(image))
        return joined.relu(), [from_quarter, from_half]
