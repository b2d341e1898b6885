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

from collections.abc import Sequence

from torch import Tensor, nn

from segnb.blocks import ConvNormAct, resize_like


def group_norm(channels: int) -> nn.GroupNorm:
    """Normalise in 32 groups, as the paper does."""
    return nn.GroupNorm(32, channels)


class FPN(nn.Module):
    """Feature pyramid with the semantic branch of Panoptic FPN.

    Args:
        in_channels: channels of each level, fine to coarse: (C2, C3, C4, C5).
        classes: channels of the returned logits.
        pyramid_channels: width of the pyramid.
        segmentation_channels: width of the segmentation branch, a multiple of 32.
        dropout: probability of dropping a whole channel before the classifier.
        align_corners: how the branch and the logits are enlarged; True for weights released by SMP.
    """

    strides = (4, 8, 16, 32)

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        pyramid_channels: int = 256,
        segmentation_channels: int = 128,
        dropout: float = 0.2,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.project = nn.ModuleList(nn.Conv2d(channels, pyramid_channels, 1) for channels in in_channels)
        self.branches = nn.ModuleList(
            nn.ModuleList(
                ConvNormAct(segmentation_channels if step else pyramid_channels, segmentation_channels, norm=group_norm)
                for step in range(max(1, level))
            )
            for level in range(len(in_channels))
        )
        self.classify = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(segmentation_channels, classes, 1))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn features, fine to coarse, into logits (B, classes, H/4, W/4)."""
        pyramid = [project(feature) for project, feature in zip(self.project, features, strict=True)]
        for level in range(len(pyramid) - 2, -1, -1):
            pyramid[level] = pyramid[level] + resize_like(pyramid[level + 1], pyramid[level], mode="nearest")
        merged = self.climb(pyramid, 0)
        for level in range(1, len(pyramid)):
            merged = merged + self.climb(pyramid, level)
        return self.classify(merged)

    def climb(self, pyramid: list[Tensor], level: int) -> Tensor:
        """Convolve and enlarge one level, a factor of 2 at a time, up to the finest: -> (B, segmentation_channels, H/4, W/4)."""
        x = pyramid[level]
        for step, conv in enumerate(self.branches[level]):
            x = conv(x)
            if step < level:
                x = resize_like(x, pyramid[level - step - 1], align_corners=self.align_corners)
        return x
