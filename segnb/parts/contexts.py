"""What tells every pixel about the whole scene: shared by the decoders that look at pooled windows or at codewords."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, PooledBatchNorm, pool_to_grid, resize_like

# A single window is one value per channel: nothing to normalise over within a picture, or within a batch of one.
FOR_ONE_WINDOW: dict[Callable[[int], nn.Module], Callable[[int], nn.Module]] = {
    nn.BatchNorm2d: PooledBatchNorm,
    nn.InstanceNorm2d: nn.Identity,
}


class PyramidPooling(nn.Module):
    """Join a map with its means over windows of four sizes: (B, in, h, w) -> (B, width, h, w).

    Args:
        in_channels: channels of the map.
        width: channels of each size of windows, and of the result.
        norm: see `segnb.blocks.ConvNormAct`.
        align_corners: how the windows are enlarged.

    Source: Zhao et al., CVPR 2017, https://arxiv.org/abs/1612.01105, section 3.2.
    """

    grids = (1, 2, 3, 6)

    def __init__(
        self,
        in_channels: int,
        width: int,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
        *,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        norms = [FOR_ONE_WINDOW.get(norm, norm) if bins == 1 else norm for bins in self.grids]
        self.look = nn.ModuleList(ConvNormAct(in_channels, width, kernel_size=1, norm=each) for each in norms)
        self.mix = ConvNormAct(in_channels + width * len(self.grids), width, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Look through every grid of windows and join what was seen."""
        windows = [look(pool_to_grid(x, bins)) for look, bins in zip(self.look, self.grids, strict=True)]
        views = [resize_like(window, x, align_corners=self.align_corners) for window in windows]
        return self.mix(torch.cat([x, *views], dim=1))


class WindowMeans(nn.ModuleList):
    """What the whole map, its halves, thirds and sixths look like: (B, in, h, w) -> a list of four maps (B, width, h, w).

    Each grid of windows is averaged, convolved and enlarged to the map's size.

    Args:
        in_channels: channels of the map.
        width: channels of each result.

    Source: Zhao et al., CVPR 2017, https://arxiv.org/abs/1612.01105, section 3.2.
    """

    grids = (1, 2, 3, 6)

    def __init__(self, in_channels: int, width: int) -> None:
        norms = [PooledBatchNorm if bins == 1 else nn.BatchNorm2d for bins in self.grids]
        super().__init__(ConvNormAct(in_channels, width, kernel_size=1, norm=norm) for norm in norms)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Look through every grid."""
        return [resize_like(look(pool_to_grid(x, bins)), x) for look, bins in zip(self, self.grids, strict=True)]


class AttentionRefinement(nn.Module):
    """Convolve, and weigh each channel by what the whole map shows: (B, in, h, w) -> (B, width, h, w).

    Args:
        in_channels: channels of the map.
        width: channels of the result.

    Source: Yu et al., "BiSeNet", ECCV 2018, https://arxiv.org/abs/1808.00897, section 3.2.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.narrow = ConvNormAct(in_channels, width)
        self.weigh = ConvNormAct(width, width, 1, norm=PooledBatchNorm, act=lambda _: nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighed map."""
        x = self.narrow(x)
        return x * self.weigh(x.mean((2, 3), keepdim=True))


class Codebook(nn.Module):
    """Describe a map by how its pixels differ from learnt codewords: (B, C, h, w) -> (B, codewords, C).

    A pixel belongs to each codeword by a softmax over its negative distances, each times a factor that is learnt; a codeword
    sums up the differences of the pixels that belong to it.

    Args:
        channels: C.
        codewords: how many.

    Source: Zhang, Xue and Dana, CVPR 2017, https://arxiv.org/abs/1612.02844, section 3.
    """

    def __init__(self, channels: int, codewords: int) -> None:
        super().__init__()
        bound = (codewords * channels) ** -0.5
        self.codewords = nn.Parameter(torch.empty(codewords, channels).uniform_(-bound, bound))
        self.smoothing = nn.Parameter(torch.empty(codewords).uniform_(-1, 0))

    def forward(self, x: Tensor) -> Tensor:
        """Sum up the differences."""
        pixels = x.flatten(2).mT  # (B, h·w, C)
        belongs = (self.smoothing * self.distances(pixels)).softmax(dim=2)  # (B, h·w, codewords)
        # The mean of the pixels of a codeword is within the range of half precision; their sum may not be.
        count = belongs.sum(dim=1, keepdim=True)
        means = (belongs / count.clamp(min=1e-6)).mT @ pixels
        return count.mT * (means - self.codewords)

    def distances(self, pixels: Tensor) -> Tensor:
        """Squared distance of every pixel from every codeword: (B, h·w, C) -> (B, h·w, codewords)."""
        products = pixels @ self.codewords.mT
        return pixels.square().sum(dim=2, keepdim=True) - 2 * products + self.codewords.square().sum(dim=1)


class ContextEncoding(nn.Module):
    """Strengthen the channels that matter in a scene like this one: (B, C, h, w) -> the same, and the scene, (B, C).

        x ─┬─ 1×1, C ── codebook (codewords, C) ── norm ── mean over the codewords ── scene (C) ── linear ── sigmoid ─┐
           └───────────────────────────────────────────────────────────────────────────────────────────────── x + x · it ─▶

    Args:
        channels: C.
        codewords: how many the scene is described by.

    Source: Zhang et al., CVPR 2018, https://arxiv.org/abs/1803.08904, section 3.1.
    """

    def __init__(self, channels: int, codewords: int) -> None:
        super().__init__()
        self.project = ConvNormAct(channels, channels, 1)
        self.encode = Codebook(channels, codewords)
        self.norm = nn.BatchNorm1d(codewords)
        self.weigh = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Describe the scene and weigh the channels by it."""
        scene = self.norm(self.encode(self.project(x))).relu().mean(dim=1)
        return x + x * self.weigh(scene).sigmoid()[..., None, None], scene
