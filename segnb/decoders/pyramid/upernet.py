"""UPerNet: what the whole picture shows goes down the pyramid, then one convolution reads all levels at once.

    c5 ── means of 1×1, 2×2, 3×3 and 6×6 windows, concat, 3×3 ── p5 ───────────── ×8 ─┐
                                                                 │ ×2                 │
    c4 ── 1×1 ────────────────────────────────────────────────── + ── p4 ── 3×3 ─ ×4 ─┤
                                                                      │ ×2            ├─ concat (4·256) ── 3×3 ── classify
    c3 ── 1×1 ─────────────────────────────────────────────────────── + ── p3 ─ 3×3 ×2┤              ─▶ (B, classes, H/4, W/4)
                                                                           │ ×2       │
    c2 ── 1×1 ──────────────────────────────────────────────────────────── + p2 ─ 3×3 ┘

Every p has 256 channels and its level's size: c2 H/4 … c5 H/32.
Why: deep maps see less far than they could. Pooled windows add the whole scene; the pyramid gives it back its edges.
Paper: Xiao et al., ECCV 2018, https://arxiv.org/abs/1807.10221, section 3.1 and figure 4.
Differs from the paper: each level is normalised first, since the maps of transformers and ConvNeXts are sums that nothing has
normalised; the weights of SMP and transformers need it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, PooledBatchNorm, norm_layer, pool_to_grid, resize_like

# A single window is one value per channel: nothing to normalise over within a picture, or within a batch of one.
FOR_ONE_WINDOW: dict[Callable[[int], nn.Module], Callable[[int], nn.Module]] = {
    nn.BatchNorm2d: PooledBatchNorm,
    nn.InstanceNorm2d: nn.Identity,
}


class PyramidPooling(nn.Module):
    """Join a map with its means over windows of four sizes: (B, in, h, w) -> (B, width, h, w)."""

    grids = (1, 2, 3, 6)

    def __init__(self, in_channels: int, width: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        norms = [FOR_ONE_WINDOW.get(norm, norm) if bins == 1 else norm for bins in self.grids]
        self.look = nn.ModuleList(ConvNormAct(in_channels, width, kernel_size=1, norm=each) for each in norms)
        self.mix = ConvNormAct(in_channels + width * len(self.grids), width, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Look through every grid of windows and join what was seen."""
        windows = [look(pool_to_grid(x, bins)) for look, bins in zip(self.look, self.grids, strict=True)]
        return self.mix(torch.cat([x, *(resize_like(window, x) for window in windows)], dim=1))


class UPerNet(nn.Module):
    """Feature pyramid under pyramid pooling.

    Args:
        in_channels: channels of each level, fine to coarse: (C2, C3, C4, C5).
        classes: channels of the returned logits.
        decoder_channels: width of the pyramid (paper: 512).
        decoder_use_norm: normalisation layer, see `segnb.blocks.norm_layer`.
        level_norm_eps: the small number under the root of the normalisation of each level over its channels; None for levels as
            the encoder makes them, as in the paper.
        align_corners: how the logits are enlarged; True for weights released by SMP.
    """

    strides = (4, 8, 16, 32)

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        decoder_channels: int = 256,
        decoder_use_norm: str | bool = "batchnorm",
        level_norm_eps: float | None = 1e-6,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        norm, width = norm_layer(decoder_use_norm), decoder_channels
        *finer, coarsest = in_channels
        self.level_norms = nn.ModuleList(
            nn.Identity() if level_norm_eps is None else LayerNorm2d(channels, eps=level_norm_eps)
            for channels in in_channels
        )
        self.pool = PyramidPooling(coarsest, width, norm)
        # Coarse to fine, the order in which they are used.
        self.project = nn.ModuleList(ConvNormAct(channels, width, kernel_size=1, norm=norm) for channels in finer[::-1])
        self.refine = nn.ModuleList(ConvNormAct(width, width, norm=norm) for _ in finer)
        self.mix = ConvNormAct(width * len(in_channels), width, norm=norm)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn features, fine to coarse, into logits (B, classes, H/4, W/4)."""
        finest, *coarser = self.pyramid(features)
        fine_first = [finest, *(resize_like(level, finest) for level in coarser)]
        return self.classify(self.mix(torch.cat(fine_first, dim=1)))

    def pyramid(self, features: list[Tensor]) -> list[Tensor]:
        """Climb from the pooled coarsest level: features -> (B, decoder_channels, ...) for each, fine to coarse."""
        *finer, coarsest = [norm(feature) for norm, feature in zip(self.level_norms, features, strict=True)]
        pyramid = [self.pool(coarsest)]
        for project, level in zip(self.project, finer[::-1], strict=True):
            projected = project(level)
            pyramid.append(projected + resize_like(pyramid[-1], projected))
        refined = [pyramid[0], *(refine(p) for refine, p in zip(self.refine, pyramid[1:], strict=True))]
        return refined[::-1]
