"""PSANet: every pixel says itself how much it takes from each other pixel, and how much it gives to it.

    c5 (B, C5, H/8, W/8) ─┬─ 1×1, 512 ── ÷2 ── each pixel takes from all others ─┐
    (dilated)             ├─ 1×1, 512 ── ÷2 ── each pixel gives to all others ───┴─ concat ── 1×1, C5 ── ×2 ─┐
                          └──────────────────────────────────────────────────────────────────────────────────┴─ concat ─┐
                                                                                                                        │
                                                           (B, classes, H/8, W/8) ◀─ classify ── 3×3, 512 ──────────────┘

    How much is in its mask:  1×1 ── 1×1 ── 97×97 numbers, one for each way to go from the pixel.      · · · · ·
    Those that stay on the map are used (here: for the pixel o of a map of 2×3 pixels).                · ┌───┐ ·
                                                                                                       · │o  │ ·
                                                                                                       · └───┘ ·

Why: attention compares what pixels look like. Here a pixel's own features say where to look, and far or near is part of it.
Paper: Zhao et al., ECCV 2018, https://hszhao.github.io/papers/eccv18_psanet.pdf, section 3.
Differs from the paper: a softmax over the pixels that are looked at, as in MMSegmentation's weights. An odd side is halved
like an even one, up to the next whole number; MMSegmentation resizes maps of odd sides by another rule.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, resize_like
from segnb.parts.attention import classifier


def place_masks(masks: Tensor, mask_size: int) -> Tensor:
    """Lay each pixel's mask over the map, centred on the pixel.

    Args:
        masks: (B, mask_size², h, w), for each pixel a number for each way to go from it, row by row.
        mask_size: side of a mask.

    Returns:
        (B, h·w, h·w): [b, j, i] is what the mask of pixel i has for the way to pixel j; 0 if that is farther than it reaches.
    """
    ways = [
        torch.arange(side, device=masks.device)[:, None]
        - torch.arange(side, device=masks.device)
        + (mask_size - 1) // 2
        for side in masks.shape[-2:]
    ]
    rows, columns = ways[0][:, None, :, None], ways[1][None, :, None, :]  # (h, 1, h, 1) and (1, w, 1, w)
    inside = (rows >= 0) & (rows < mask_size) & (columns >= 0) & (columns < mask_size)
    places = torch.where(inside, rows * mask_size + columns, 0).flatten(2).flatten(0, 1)
    placed = masks.flatten(2).gather(1, places.expand(masks.shape[0], -1, -1))
    return placed * inside.flatten(2).flatten(0, 1)


class PointwiseAttention(nn.Module):
    """Let every pixel take from all others, or give to them: (B, in, h, w) -> (B, width, h/2, w/2).

    Args:
        in_channels: channels of the map.
        width: channels of what is taken or given.
        mask_size: side of each pixel's mask.
        gives: whether the masks tell what a pixel gives to each other, instead of what it takes.
    """

    def __init__(self, in_channels: int, width: int, mask_size: int, *, gives: bool) -> None:
        super().__init__()
        self.mask_size, self.gives = mask_size, gives
        self.narrow = ConvNormAct(in_channels, width, 1)
        self.ask = nn.Sequential(ConvNormAct(width, width, 1), nn.Conv2d(width, mask_size**2, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Move what the pixels have along the ways that their masks weigh."""
        half = [(side + 1) // 2 for side in x.shape[-2:]]
        x = F.interpolate(self.narrow(x), size=half, mode="bilinear", align_corners=False)
        masks = place_masks(self.ask(x), self.mask_size)
        weights = masks.mT.softmax(dim=1) if self.gives else masks.softmax(dim=1)  # (B, from, to)
        return (x.flatten(2) @ weights).reshape(x.shape)


class PSANet(nn.Module):
    """Point-wise spatial attention in both directions on one dilated level.

    Args:
        in_channels: channels of that level: (C5,).
        classes: channels of the returned logits.
        width: channels of what is taken and given, and before the classifier.
        mask_size: side of each pixel's mask, on a map of half the size; 97 covers pictures of up to 784 pixels a side.
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
        mask_size: int = 97,
        dropout: float = 0.1,
        encoder_output_stride: int = 8,
    ) -> None:
        super().__init__()
        (channels,) = in_channels
        self.collect = PointwiseAttention(channels, width, mask_size, gives=False)
        self.distribute = PointwiseAttention(channels, width, mask_size, gives=True)
        self.widen = ConvNormAct(2 * width, channels, 1)
        self.mix = ConvNormAct(2 * channels, width)
        self.classify = classifier(width, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (c5,) into logits (B, classes, H/8, W/8)."""
        (coarse,) = features
        moved = torch.cat([self.collect(coarse), self.distribute(coarse)], dim=1)
        moved = self.widen(F.pad(moved, (1, 1, 1, 1)))  # MMSegmentation's weights were learnt with a frame of zeros
        return self.classify(self.mix(torch.cat([coarse, resize_like(moved, coarse)], dim=1)))
