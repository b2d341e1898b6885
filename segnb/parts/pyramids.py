"""A pyramid of maps that knows the whole scene: what UPerNet reads, and K-Net learns its first kernels on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, resize_like
from segnb.parts.contexts import PyramidPooling


class PyramidFusion(nn.Module):
    """Pool the coarsest level, climb from it, and join all levels: features, fine to coarse, -> (B, width, H/4, W/4).

    Args:
        in_channels: channels of each level, fine to coarse.
        width: channels of the pyramid and of the result.
        norm: see `ConvNormAct`.
        level_norm_eps: the small number under the root of the normalisation of each level over its channels; None for levels
            as the encoder makes them.

    Source: Xiao et al., ECCV 2018, https://arxiv.org/abs/1807.10221, section 3.1 and figure 4.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        width: int,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
        *,
        level_norm_eps: float | None = None,
    ) -> None:
        super().__init__()
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

    def forward(self, features: list[Tensor]) -> Tensor:
        """Read all levels of the pyramid at the size of the finest."""
        finest, *coarser = self.pyramid(features)
        fine_first = [finest, *(resize_like(level, finest) for level in coarser)]
        return self.mix(torch.cat(fine_first, dim=1))

    def pyramid(self, features: list[Tensor]) -> list[Tensor]:
        """Climb from the pooled coarsest level: features -> (B, width, ...) for each, fine to coarse."""
        *finer, coarsest = [norm(feature) for norm, feature in zip(self.level_norms, features, strict=True)]
        pyramid = [self.pool(coarsest)]
        for project, level in zip(self.project, finer[::-1], strict=True):
            projected = project(level)
            pyramid.append(projected + resize_like(pyramid[-1], projected))
        refined = [pyramid[0], *(refine(p) for refine, p in zip(self.refine, pyramid[1:], strict=True))]
        return refined[::-1]
