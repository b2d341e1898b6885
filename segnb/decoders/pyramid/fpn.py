"""FPN: give every level the meaning of the coarser ones, bring all to one size, add.

    c5 ─ 1×1 ─ p5 ───────────── conv ×2 conv ×2 conv ×2 ─┐
               │ ×2                                      │
    c4 ─ 1×1 ─ + ─ p4 ───────── conv ×2 conv ×2 ─────────┤
                   │ ×2                                  +  (B, 128, H/4, W/4) ─ dropout ─ classify ─▶ (B, classes, H/4, W/4)
    c3 ─ 1×1 ───── + ─ p3 ───── conv ×2 ─────────────────┤
                       │ ×2                              │
    c2 ─ 1×1 ───────── + ─ p2 ─ conv ────────────────────┘

Every p has 256 channels and its level's size: c2 H/4 … c5 H/32.
Paper: Lin et al., CVPR 2017, https://arxiv.org/abs/1612.03144, section 3 (the pyramid); Kirillov et al., "Panoptic Feature
Pyramid Networks", CVPR 2019, https://arxiv.org/abs/1901.02446, section 3.1 and figure 3 (the segmentation branch).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, interpolation_mode, norm_layer, resize_like
from segnb.errors import SegnbError


class FPN(nn.Module):
    """Feature pyramid with the semantic branch of Panoptic FPN.

    Args:
        in_channels: channels of each level, fine to coarse: (C2, C3, C4, C5).
        classes: channels of the returned logits.
        decoder_pyramid_channels: width of the pyramid.
        decoder_segmentation_channels: width of the segmentation branch, a multiple of 32.
        decoder_merge_policy: ``"add"`` or ``"cat"``, how the levels of the segmentation branch are joined.
        decoder_interpolation: ``"nearest"`` or ``"bilinear"``, how a coarse level is enlarged before it is added.
        decoder_dropout: probability of dropping a whole channel before the classifier.
        decoder_use_norm: normalisation layer of the segmentation branch, see `segnb.blocks.norm_layer`.
        smooth: convolve every p, 3×3, before the branch reads it, as in the first paper; SMP does not.
        align_corners: how the branch and the logits are enlarged; True for weights released by SMP.
    """

    strides = (4, 8, 16, 32)

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        decoder_pyramid_channels: int = 256,
        decoder_segmentation_channels: int = 128,
        decoder_merge_policy: str = "add",
        decoder_interpolation: str = "nearest",
        decoder_dropout: float = 0.2,
        decoder_use_norm: str | bool = "groupnorm",
        smooth: bool = False,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        if decoder_merge_policy not in ("add", "cat"):
            raise SegnbError(f"decoder_merge_policy={decoder_merge_policy!r}: give 'add' or 'cat'.")
        self.merge_policy, self.align_corners = decoder_merge_policy, align_corners
        self.interpolation = interpolation_mode(decoder_interpolation)
        width, branch, norm = decoder_pyramid_channels, decoder_segmentation_channels, norm_layer(decoder_use_norm)
        self.project = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in in_channels)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in in_channels if smooth)
        self.branches = nn.ModuleList(
            nn.ModuleList(ConvNormAct(branch if step else width, branch, norm=norm) for step in range(max(1, level)))
            for level in range(len(in_channels))
        )
        merged = branch * (1 if decoder_merge_policy == "add" else len(in_channels))
        self.classify = nn.Sequential(nn.Dropout2d(decoder_dropout), nn.Conv2d(merged, classes, 1))

    @classmethod
    def strides_for(cls, depth: int, settings: Mapping[str, Any]) -> tuple[int, ...]:
        """Say which levels to read: the last four that an encoder of this depth has."""
        return tuple(2**level for level in range(max(1, depth - 3), depth + 1))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn features, fine to coarse, into logits (B, classes, H/4, W/4)."""
        return self.merge(self.pyramid(features))

    def pyramid(self, features: list[Tensor]) -> list[Tensor]:
        """Add to each level what the coarser ones know: features -> (B, pyramid channels, ...) for each, fine to coarse."""
        pyramid = [project(feature) for project, feature in zip(self.project, features, strict=True)]
        for level in range(len(pyramid) - 2, -1, -1):
            pyramid[level] = pyramid[level] + resize_like(pyramid[level + 1], pyramid[level], self.interpolation)
        return [smooth(p) for smooth, p in zip(self.smooth, pyramid, strict=True)] if self.smooth else pyramid

    def merge(self, pyramid: list[Tensor]) -> Tensor:
        """Bring all levels of the pyramid to the size of the finest, join and classify them."""
        merged = self.climb(pyramid, 0)
        if self.merge_policy == "cat":
            coarse_first = range(len(pyramid) - 1, 0, -1)
            return self.classify(torch.cat([*(self.climb(pyramid, level) for level in coarse_first), merged], dim=1))
        for level in range(1, len(pyramid)):
            merged = merged + self.climb(pyramid, level)
        return self.classify(merged)

    def climb(self, pyramid: list[Tensor], level: int) -> Tensor:
        """Convolve and enlarge one level, by 2 at a time, to the size of the finest: -> (B, branch channels, H/4, W/4)."""
        x = pyramid[level]
        for step, conv in enumerate(self.branches[level]):
            x = conv(x)
            if step < level:
                x = resize_like(x, pyramid[level - step - 1], align_corners=self.align_corners)
        return x
