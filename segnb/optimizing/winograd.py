"""3×3 convolution of many channels with a quarter of the multiplications.

A tile of 4×4 results depends on 6×6 pixels. Both sides of the convolution are polynomials; multiplied by their values at 6×6
points, instead of coefficient by coefficient, 36 products do what took 144:

    tiles (36, T, in) ── Bᵀ ⊗ Bᵀ ─▶ (36, T, in) ── 36 matrix products ─▶ (36, T, out) ── Aᵀ ⊗ Aᵀ ─▶ (16, T, out): 4×4 results
                                     weights, transformed once: G w Gᵀ (36, in, out)

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
# For rows and columns at once.
OF_TILES, TO_TILES = (torch.kron(matrix, matrix).float() for matrix in (OF_PIXELS, TO_RESULTS))


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


def transform(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Transform weights (out, in, 3, 3) to (36, in, out), and the bias to (36, 1, out)."""
    transformed = torch.einsum("ak,oikl,bl->abio", OF_WEIGHTS, weight.double(), OF_WEIGHTS).flatten(0, 1)
    ones = torch.linalg.pinv(TO_RESULTS).sum(dim=1)  # what becomes a tile of ones
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    shift = torch.outer(ones, ones).reshape(-1, 1, 1) * bias.double()
    return transformed.to(weight.dtype).contiguous(), shift.to(weight.dtype)


def convolve(x: Tensor, weight: Tensor, shift: Tensor, gap: int) -> Tensor:
    """Convolve (B, in, H, W), channels last in memory, with transformed weights: -> (B, out, H, W)."""
    batch, channels, height, width = x.shape
    reach = RESULTS * gap
    rows, columns = math.ceil(height / reach), math.ceil(width / reach)
    edges = (0, 0, gap, columns * reach - width + gap, gap, rows * reach - height + gap)
    padded = F.pad(x.permute(0, 2, 3, 1), edges)
    picture, row, column, _ = padded.stride()
    tiles = padded.as_strided(
        (PIXELS, PIXELS, batch, rows, gap, columns, gap, channels),
        (gap * row, gap * column, picture, reach * row, row, reach * column, column, 1),
    )
    seen = (OF_TILES @ tiles.reshape(PIXELS**2, -1)).reshape(PIXELS**2, -1, channels)
    products = torch.baddbmm(shift, seen, weight).flatten(1)
    made = (TO_TILES @ products).reshape(RESULTS, RESULTS, batch, rows, gap, columns, gap, -1)
    whole = made.permute(2, 3, 0, 4, 5, 1, 6, 7).reshape(batch, rows * reach, columns * reach, -1)
    return whole[:, :height, :width].permute(0, 3, 1, 2)
