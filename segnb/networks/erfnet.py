"""ERFNet: residual blocks whose 3×3 convolutions are factorised into 3×1 and 1×3.

    picture ─ halve, 16 ─ halve, 64 ─ 5 blocks ─ halve, 128 ─ 8 blocks of dilation 2, 4, 8, 16, 2, 4, 8, 16 ─┐
    (B, C, H, W)               (H/4)                  (H/8)                                                  │
          ┌──────────────────────────────────────────────────────────────────────────────────────────────────┘
          └─ double, 64 ─ 2 blocks ─ double, 16 ─ 2 blocks ─ 3×3, 128 ─ classify ─▶ (B, classes, H/2, W/2)

    halve:  x ─┬─ 3×3, stride 2 ──────────┬─ concat ─▶          block:  x ─┬─ 3×1 ─ 1×3 ─ 3×1 ─ 1×3 ─┬─ + ─▶
               └─ largest of each 2×2 ────┘                                └─────────────────────────┘

Why: a 3×1 and a 1×3 convolution have two thirds of the weights of a 3×3, and a ReLU between them.
Paper: Romera et al., IEEE Transactions on Intelligent Transportation Systems 2018, https://doi.org/10.1109/TITS.2017.2750080,
section III.
Differs from the paper: as in MMSegmentation, the classes are told apart at half the picture's size, by a head of an FCN, and
every block of the encoder drops values with the same probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, crop
from segnb.parts.attention import classifier

WIDTHS = (16, 64, 128)
Norm = partial(nn.BatchNorm2d, eps=1e-3)


class Halve(nn.Module):
    """Convolve with stride 2, and join the largest values: (B, in, h, w) -> (B, out, h/2, w/2).

    Args:
        in_channels: channels of the input, fewer than those of the output.
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(in_channels, out_channels - in_channels, 3, stride=2, padding=1)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.norm = Norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of half the size, rounded up."""
        return F.relu(self.norm(torch.cat([self.convolve(x), self.pool(x)], dim=1)))


class Block(nn.Module):
    """Two 3×3 convolutions, each as a column and a row, added to what they see: (B, C, h, w) -> the same.

    Args:
        channels: C.
        dilation: distance between the taps of the second convolution.
        dropout: probability of dropping a value before the sum.
    """

    def __init__(self, channels: int, dilation: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.convolve = nn.Sequential(
            *self.factorised(channels, 1),
            nn.ReLU(inplace=True),
            *self.factorised(channels, dilation),
            nn.Dropout(dropout),
        )

    @staticmethod
    def factorised(channels: int, dilation: int) -> list[nn.Module]:
        """Build a column, a row, and their normalisation."""
        return [
            nn.Conv2d(channels, channels, (3, 1), padding=(dilation, 0), dilation=(dilation, 1)),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, (1, 3), padding=(0, dilation), dilation=(1, dilation)),
            Norm(channels),
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        return F.relu(x + self.convolve(x))


def double(in_channels: int, out_channels: int) -> nn.Sequential:
    """Enlarge with a transposed convolution: (B, in, h, w) -> (B, out, 2·h, 2·w)."""
    enlarge = nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(enlarge, Norm(out_channels), nn.ReLU(inplace=True))


class ERFNet(nn.Module):
    """Encoder and decoder of factorised blocks.

    Args:
        in_channels: channels of the picture: (C,).
        classes: channels of the returned logits.
        width: channels before the classifier.
        dropout: probability of dropping a value in each block of the encoder, and a whole channel before the classifier.
    """

    strides = ()
    sees_picture = True

    def __init__(self, in_channels: Sequence[int], classes: int, *, width: int = 128, dropout: float = 0.1) -> None:
        super().__init__()
        # Half of what leaves a Halve is convolved, also where the picture has more channels than the paper's.
        c1 = max(WIDTHS[0], 2 * in_channels[0])
        c2 = max(WIDTHS[1], 2 * c1)
        c3 = max(WIDTHS[2], 2 * c2)
        self.encode = nn.Sequential(
            Halve(in_channels[0], c1),
            Halve(c1, c2),
            *(Block(c2, dropout=dropout) for _ in range(5)),
            Halve(c2, c3),
            *(Block(c3, dilation, dropout) for dilation in (2, 4, 8, 16) * 2),
        )
        self.decode = nn.Sequential(double(c3, c2), Block(c2), Block(c2), double(c2, c1), Block(c1), Block(c1))
        self.mix = ConvNormAct(c1, width)
        self.classify = classifier(width, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (picture,) into logits (B, classes, H/2, W/2)."""
        (image,) = features
        height, width = image.shape[-2:]
        # Three times rounded up and twice doubled, a map reaches beyond the picture.
        decoded = crop(self.decode(self.encode(image)), (height + 1) // 2, (width + 1) // 2)
        return self.classify(self.mix(decoded))
