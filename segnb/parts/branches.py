"""What the networks of parallel branches, DDRNet and PIDNet, share: residual stages, and pyramids of pooled context.

    stage:    x ─ block ─ ReLU ─ block ─ ReLU ─ … ─ block ─▶        no ReLU at its end: that is where branches exchange maps
    pyramid:  x ─┬─ 1×1 ───────────────────────────── v0 ─┐
                 ├─ mean of 5×5 places, stride 2 ──── v1 ─┤
                 ├─ mean of 9×9 places, stride 4 ──── v2 ─┼─ refined ─ concat ─ 1×1 ─┐
                 ├─ mean of 17×17 places, stride 8 ── v3 ─┤                          + ─▶
                 ├─ mean of all places ────────────── v4 ─┘                          │
                 └─ 1×1 ─────────────────────────────────────────────────────────────┘

Their coarsest branch has a stride of 64, one pixel for a small picture: hence `PooledBatchNorm` throughout.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, PooledBatchNorm, relu, resize_like

ConvNorm = partial(ConvNormAct, norm=PooledBatchNorm, act=nn.Identity)
ConvNormReLU = partial(ConvNormAct, norm=PooledBatchNorm)
POOLED_STRIDES = (2, 4, 8)


class NormActConv(nn.Sequential):
    """Normalisation, ReLU, convolution, for what had no ReLU yet: (B, in, h, w) -> (B, out, h, w).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel, odd.
        groups: parts into which the channels are cut, each with kernels of its own.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, *, groups: int = 1) -> None:
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, groups=groups, bias=False)
        super().__init__(PooledBatchNorm(in_channels), nn.ReLU(inplace=True), conv)


class Residual(nn.Module):
    """Add to a map what convolutions make of it: (B, in, h, w) -> (B, out, h/stride, w/stride).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: of the convolutions all together.
        convolve: the convolutions.
        activate: whether a ReLU follows the sum.

    Source: He et al., CVPR 2016, https://arxiv.org/abs/1512.03385, section 3.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, convolve: nn.Module, *, activate: bool = False
    ) -> None:
        super().__init__()
        self.convolve = convolve
        same = stride == 1 and in_channels == out_channels
        self.match = nn.Identity() if same else ConvNorm(in_channels, out_channels, 1, stride=stride)
        self.activate = relu(out_channels) if activate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        return self.activate(self.convolve(x) + self.match(x))


def basic_stage(in_channels: int, out_channels: int, count: int, stride: int = 1) -> nn.Sequential:
    """Chain blocks of two 3×3 convolutions, with a ReLU between blocks; the first block has the stride."""
    blocks = []
    for number in range(count):
        convolve = nn.Sequential(
            ConvNormReLU(in_channels, out_channels, stride=stride), ConvNorm(out_channels, out_channels)
        )
        blocks.append(Residual(in_channels, out_channels, stride, convolve, activate=number < count - 1))
        in_channels, stride = out_channels, 1
    return nn.Sequential(*blocks)


def bottleneck_stage(in_channels: int, out_channels: int, count: int = 1, stride: int = 1) -> nn.Sequential:
    """Chain blocks of a 1×1, a 3×3 and a 1×1 convolution, half as wide inside; no ReLU between these blocks."""
    half = out_channels // 2
    blocks = []
    for _ in range(count):
        convolve = nn.Sequential(
            ConvNormReLU(in_channels, half, 1), ConvNormReLU(half, half, stride=stride), ConvNorm(half, out_channels, 1)
        )
        blocks.append(Residual(in_channels, out_channels, stride, convolve))
        in_channels, stride = out_channels, 1
    return nn.Sequential(*blocks)


def stem(in_channels: int, width: int, count: int) -> nn.Sequential:
    """Begin with the picture: (B, in, H, W) -> (B, 2·width, H/8, W/8), after a ReLU; two stages of ``count`` blocks."""
    return nn.Sequential(
        ConvNormReLU(in_channels, width, stride=2),
        ConvNormReLU(width, width, stride=2),
        basic_stage(width, width, count),
        nn.ReLU(inplace=True),
        basic_stage(width, 2 * width, count, stride=2),
        nn.ReLU(inplace=True),
    )


def refine(in_channels: int, width: int) -> nn.Sequential:
    """Make ready to be classified what had no ReLU yet: (B, in, h, w) -> (B, width, h, w)."""
    return nn.Sequential(*NormActConv(in_channels, width), PooledBatchNorm(width), nn.ReLU(inplace=True))


class ContextPyramid(nn.Module):
    """What DAPPM and PAPPM have in common: the views of five scales, and what is made of them once refined.

    Args:
        in_channels: channels of the map.
        width: channels of each view.
        out_channels: channels of the result.
    """

    def __init__(self, in_channels: int, width: int, out_channels: int) -> None:
        super().__init__()
        pools = [nn.AvgPool2d(2 * stride + 1, stride, stride) for stride in POOLED_STRIDES]
        self.look = nn.ModuleList(
            [
                NormActConv(in_channels, width, 1),
                *(nn.Sequential(pool, NormActConv(in_channels, width, 1)) for pool in pools),
                nn.Sequential(nn.AdaptiveAvgPool2d(1), NormActConv(in_channels, width, 1)),
            ]
        )
        self.mix = NormActConv(width * len(self.look), out_channels, 1)
        self.shorten = NormActConv(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out, h, w)."""
        views = [resize_like(look(x), x) for look in self.look[1:]]
        return self.mix(torch.cat(self.relate(self.look[0](x), views), dim=1)) + self.shorten(x)

    def relate(self, first: Tensor, views: list[Tensor]) -> list[Tensor]:
        """Refine the views of (B, width, h, w) with the help of each other.

        Args:
            first: the map itself.
            views: its means, fine to coarse.
        """
        raise NotImplementedError


class DAPPM(ContextPyramid):
    """Deep aggregation pyramid pooling, (B, in, h, w) -> (B, out, h, w): each view is refined with the finer one added.

    Source: Pan et al., 2023, https://arxiv.org/abs/2101.06085, section III.
    """

    def __init__(self, in_channels: int, width: int, out_channels: int) -> None:
        super().__init__(in_channels, width, out_channels)
        self.refine = nn.ModuleList(NormActConv(width, width) for _ in self.look[1:])

    def relate(self, first: Tensor, views: list[Tensor]) -> list[Tensor]:
        """Refine one after the other."""
        refined = [first]
        for view, refine_view in zip(views, self.refine, strict=True):
            refined.append(refine_view(view + refined[-1]))
        return refined


class PAPPM(ContextPyramid):
    """Parallel aggregation pyramid pooling: all views are refined at once, (B, in, h, w) -> (B, out, h, w).

    Source: Xu et al., CVPR 2023, https://arxiv.org/abs/2206.02066, section 3.3.
    """

    def __init__(self, in_channels: int, width: int, out_channels: int) -> None:
        super().__init__(in_channels, width, out_channels)
        count = len(self.look) - 1
        self.refine = NormActConv(count * width, count * width, groups=count)

    def relate(self, first: Tensor, views: list[Tensor]) -> list[Tensor]:
        """Add the map itself to each, and refine them in one convolution of groups."""
        return [first, self.refine(torch.cat([view + first for view in views], dim=1))]
