"""3×3 convolution of many channels with a quarter of the multiplications.

A tile of 4×4 results depends on 6×6 pixels. Both sides of the convolution are polynomials; multiplied by their values at 6×6
points, instead of coefficient by coefficient, 36 products do what took 144:

    tiles (T, 6, 6, in) ── Bᵀ · B ─▶ (T, 36 · in) ── 1×1 in 36 groups ─▶ (T, 36 · out) ── Aᵀ · A ─▶ results (T, 4, 4, out)
                                        weights, transformed once: G w Gᵀ (36, out, in)

The three steps are matrix products, which a CPU does best. A convolution with gaps of d between its taps is one of d·d maps,
interleaved. Equal to the direct way but for rounding.
Source: Lavin and Gray, CVPR 2016, https://arxiv.org/abs/1509.09308, section 4.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RESULTS, PIXELS, TAPS = 4, 6, 3  # along a side
# With infinity, these points lose a sixth of what the usual 0, 1, -1, 2, -2 lose to rounding.
POINTS = torch.tensor([0, 2 / 3, -2 / 3, 3 / 2, -3 / 2], dtype=torch.float64)
CHANNELS, TILES, WASTE = 128, 16, 1.4  # at least, at least, at most: where it was measured to pay


def powers(count: int) -> Tensor:
    """The first powers of each point, (6, count): times coefficients they give a polynomial's values at the points."""
    infinity = torch.zeros(1, count, dtype=torch.float64)
    infinity[0, -1] = 1
    return torch.cat([POINTS[:, None] ** torch.arange(count), infinity])


OF_PIXELS, OF_WEIGHTS, TO_RESULTS = powers(PIXELS).inverse().T, powers(TAPS), powers(RESULTS).T


def pays(conv: nn.Conv2d, x: Tensor) -> bool:
    """Say whether a convolution has many channels, and a map many tiles that do not reach far beyond its edges."""
    if (
        conv.kernel_size != (TAPS, TAPS)
        or conv.stride != (1, 1)
        or conv.padding != conv.dilation
        or conv.dilation[0] != conv.dilation[1]
        or conv.groups > 1
        or min(conv.in_channels, conv.out_channels) < CHANNELS
    ):
        return False
    batch, _, height, width = x.shape
    gap = conv.dilation[0]
    tiles = batch * math.prod(math.ceil(side / (RESULTS * gap)) * gap for side in (height, width))
    return tiles >= TILES and tiles * RESULTS**2 <= WASTE * batch * height * width


def along_both(matrix: Tensor, x: Tensor) -> Tensor:
    """Multiply by a matrix (m, n) along rows and columns: (T, n, n, C) -> (T, m, m, C)."""
    count, size, _, channels = x.shape
    rows = matrix.to(x) @ x.reshape(count, size, -1)
    return (matrix.to(x) @ rows.reshape(-1, size, channels)).reshape(count, len(matrix), len(matrix), channels)


def transform(conv: nn.Conv2d) -> nn.Conv2d:
    """Make the products of a 3×3 convolution: a 1×1 one in 36 groups, (B, 36 · in, h, w) -> (B, 36 · out, h, w)."""
    weight = torch.einsum("ak,oikl,bl->aboi", OF_WEIGHTS, conv.weight.double(), OF_WEIGHTS)
    groups = PIXELS**2
    made = nn.Conv2d(groups * conv.in_channels, groups * conv.out_channels, 1, groups=groups, device="meta")
    made.weight = nn.Parameter(weight.reshape(*made.weight.shape).to(conv.weight), requires_grad=False)
    made.bias = None
    if conv.bias is not None:
        ones = torch.linalg.pinv(TO_RESULTS).sum(dim=1)  # what becomes a tile of ones
        shift = torch.outer(torch.outer(ones, ones).flatten(), conv.bias.double()).flatten()
        made.bias = nn.Parameter(shift.to(conv.bias), requires_grad=False)
    return made


def convolve(x: Tensor, products: nn.Module, gap: int) -> Tensor:
    """Convolve (B, in, H, W), channels last in memory, by means of transformed products: -> (B, out, H, W)."""
    batch, channels, height, width = x.shape
    reach = RESULTS * gap
    rows, columns = math.ceil(height / reach), math.ceil(width / reach)
    edges = (0, 0, gap, columns * reach - width + gap, gap, rows * reach - height + gap)
    padded = F.pad(x.permute(0, 2, 3, 1), edges)
    picture, row, column, _ = padded.stride()
    tiles = padded.as_strided(
        (batch, rows, gap, columns, gap, PIXELS, PIXELS, channels),
        (picture, reach * row, row, reach * column, column, gap * row, gap * column, 1),
    )
    seen = along_both(OF_PIXELS, tiles.reshape(-1, PIXELS, PIXELS, channels))
    found = products(seen.reshape(1, len(seen), 1, -1).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    made = along_both(TO_RESULTS, found.reshape(len(seen), PIXELS, PIXELS, -1))
    whole = made.reshape(batch, rows, gap, columns, gap, RESULTS, RESULTS, -1).permute(0, 1, 5, 2, 3, 6, 4, 7)
    return whole.reshape(batch, rows * reach, columns * reach, -1)[:, :height, :width].permute(0, 3, 1, 2)
