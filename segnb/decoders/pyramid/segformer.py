"""SegFormer: project every level to the same width, resize, concatenate, mix.

    c2 (B, C2, H/4,  W/4)  ── 1×1 ───────┐
    c3 (B, C3, H/8,  W/8)  ── 1×1 ── ×2 ─┤
    c4 (B, C4, H/16, W/16) ── 1×1 ── ×4 ─┼─ concat (4·width) ── 1×1 ── classify ─▶ (B, classes, H/4, W/4)
    c5 (B, C5, H/32, W/32) ── 1×1 ── ×8 ─┘

Why so little: a transformer encoder already sees the whole image; the decoder only aligns scales.
Paper: Xie et al., NeurIPS 2021, https://arxiv.org/abs/2105.15203, section 3.2 and equation 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, resize_like


class SegFormer(nn.Module):
    """All-MLP decoder over four levels.

    Args:
        in_channels: channels of each level, fine to coarse: (C2, C3, C4, C5), after C1 if ``stem``.
        classes: channels of the returned logits.
        decoder_segmentation_channels: channels every level is projected to (paper: 256 for B0-B1, 768 for B2-B5).
        dropout: probability of dropping a whole channel before the classifier.
        level_norms: normalise each level after its projection and cut off what is negative, as in MMSegmentation's weights; the
            paper's and transformers' projections are linear.
        stem: also read the level of stride 2, as SMP does with encoders that have one; it is shrunk to H/4.
        align_corners: how the logits are enlarged; True for weights released by SMP.
    """

    strides = (4, 8, 16, 32)

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        decoder_segmentation_channels: int = 256,
        dropout: float = 0.1,
        level_norms: bool = False,
        stem: bool = False,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        width = decoder_segmentation_channels
        self.align_corners = align_corners
        self.quarter = int(stem)
        project = ConvNormAct if level_norms else nn.Conv2d
        self.project = nn.ModuleList(project(channels, width, 1) for channels in in_channels)
        self.mix = ConvNormAct(width * len(in_channels), width, kernel_size=1)
        self.classify = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(width, classes, 1))

    @classmethod
    def strides_for(cls, depth: int, settings: Mapping[str, Any]) -> tuple[int, ...]:
        """Say which levels to read, given the encoder's depth and the options."""
        strides = (2, *cls.strides) if settings["stem"] else cls.strides
        return tuple(stride for stride in strides if stride <= 2**depth)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn features, fine to coarse, into logits (B, classes, H/4, W/4)."""
        quarter = features[self.quarter]
        # A 1×1 convolution and bilinear resizing may change places: the finer level is shrunk first.
        shrunk = [resize_like(f, quarter) if level < self.quarter else f for level, f in enumerate(features)]
        levels = [resize_like(project(f), quarter) for project, f in zip(self.project, shrunk, strict=True)]
        mixed = self.mix(torch.cat(levels[::-1], dim=1))  # coarse first, the order of the released weights
        return self.classify(mixed)
