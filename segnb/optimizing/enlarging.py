"""Convolutions of enlarged maps, computed on the maps before they are enlarged.

Nearest ×2, then 3×3. Of the three rows that a fine pixel sees, two are copies of one coarse row, so their weights add up:

    fine row 2i     sees coarse rows  i-1, i, i       w0, w1 + w2        each of the four kinds of fine pixel (even or odd row
    fine row 2i + 1 sees coarse rows  i, i, i+1       w0 + w1, w2        and column) has a 2×2 kernel of its own

so four 2×2 convolutions of the coarse map, interleaved, do with 16 multiply-adds what took 36. Together they are a transposed
convolution with a 4×4 kernel and stride 2, which is how they are exported: a runtime interleaves better than a graph can say.
Where the fine map has one row less than twice the coarse one, its last row has zeros below it, where the doubled coarse map
goes on: that row, and so the last column, is corrected.

Bilinear to any size, then 3×3. Enlarging mixes pixels and knows no channels, the nine taps mix channels and know one pixel each:
they may change places. A pixel of the result then is a sum over coarse rows and columns:

    out[y, x] = Σ R[y + dy, i] · C[x + dx, j] · (W[dy, dx] · map[i, j])        over dy, dx in -1, 0, 1 and all i, j

with R and C the weights of the enlargement, zero outside of the fine map as its padding is. For ×4 that is a tenth of the work.
"""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segnb.blocks import crop
from segnb.optimizing.layers import Conv, is_tracing

# Which of a kernel's three rows meet which of two neighbouring coarse rows: for odd fine rows, then for even ones.
DOUBLED = torch.tensor([[[1.0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]]])
# Which of the four rows of a transposed convolution's kernel meet them, for odd fine rows, then for even ones.
TRANSPOSED = ((2, 0), (3, 1))


class PhaseConv(nn.Module):
    """Four convolutions of a coarse map, interleaved: (B, in, h, w) -> (B, out, 2h, 2w).

    Args:
        weight: (2, 2, out, in, 2, 2): for odd and even fine rows, odd and even columns.
        bias: (out,) or None.
        act: the activation.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, act: nn.Module | None = None) -> None:
        super().__init__()
        _, _, out_channels, in_channels, *_ = weight.shape
        conv = nn.Conv2d(in_channels, 4 * out_channels, 2, padding=1, device="meta")
        conv.weight = nn.Parameter(weight.flatten(0, 2).contiguous(), requires_grad=False)
        conv.bias = None if bias is None else nn.Parameter(bias.detach().repeat(4), requires_grad=False)
        self.phases = Conv(conv, act)
        kernel = weight.new_empty(in_channels, out_channels, 4, 4)
        for (odd, right), (top, left) in product(product((0, 1), repeat=2), repeat=2):
            kernel[..., TRANSPOSED[odd][top], TRANSPOSED[right][left]] = weight[odd, right, ..., top, left].T
        self.register_buffer("kernel", kernel)
        self.register_buffer("bias", None if bias is None else bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and interleave."""
        if is_tracing():
            return self.phases.act(self.transposed(x, self.bias))
        return interleave(self.phases(x), 2 * x.shape[-2], 2 * x.shape[-1])

    def transposed(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Do the same as a transposed convolution."""
        return F.conv_transpose2d(x, self.kernel, bias, stride=2, padding=1)


def interleave(phases: Tensor, height: int, width: int) -> Tensor:
    """Join the four kinds of fine pixels: (B, 4 · out, h + 1, w + 1) -> (B, out, H, W).

    Place r of ``phases`` holds the odd fine row 2r - 1 and the even one 2r.
    """
    batch, channels, *_ = phases.shape
    phases = phases.unflatten(1, (2, 2, channels // 4))
    # In steps, the copy ends where it is wanted, and in the layout in which it is wanted.
    fine = phases.new_empty(batch, height, width, channels // 4).permute(0, 3, 1, 2)
    for down in (0, 1):
        for right in (0, 1):
            target = fine[..., down::2, right::2]
            kind = phases[:, 1 - down, 1 - right, :, down:, right:]
            target.copy_(kind[..., : target.shape[-2], : target.shape[-1]])
    return fine


def doubled_transposed(conv: nn.ConvTranspose2d, act: nn.Module | None = None) -> PhaseConv:
    """Rewrite a transposed convolution with a 4×4 kernel, stride 2 and padding 1."""
    weight = conv.weight.detach().transpose(0, 1)
    kernels = [[weight[:, :, rows][..., columns] for columns in TRANSPOSED] for rows in TRANSPOSED]
    return PhaseConv(torch.stack([torch.stack(line) for line in kernels]), conv.bias, act)


class DoubledConv(PhaseConv):
    """Nearest ×2, then a 3×3 convolution: (B, in, h, w) -> (B, out, H, W), with H one of 2h and 2h - 1.

    Args:
        weight: (out, in, 3, 3).
        bias: (out,) or None.
        act: the activation.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, act: nn.Module | None = None) -> None:
        weight = weight.detach()
        doubled = DOUBLED.to(weight)
        super().__init__(torch.einsum("atk,oikl,bsl->aboits", doubled, weight, doubled), bias, act)
        bare = Conv(self.phases)  # the edges are corrected before bias and activation
        bare.bias = None
        self.bare = bare
        self.register_buffer("below", weight[:, :, 2:3].contiguous())
        self.register_buffer("right", weight[..., 2:3].contiguous())

    def forward(self, x: Tensor, like: Tensor | None = None) -> Tensor:
        """Double and convolve; the result has the size of another map, if one is given."""
        if like is None:
            return super().forward(x)
        height, width = like.shape[-2:]
        more_rows, more_columns = 2 * x.shape[-2] - height, 2 * x.shape[-1] - width
        if is_tracing():  # one graph for even and odd sizes
            fine = crop(self.transposed(x), height, width)
            last = fine[..., -1:, :] - self._from_below(x, width) * more_rows
            fine = torch.cat([fine[..., :-1, :], last], dim=-2)
            last = fine[..., -1:] - self._from_right(x, height) * more_columns
            fine = torch.cat([fine[..., :-1], last], dim=-1)
        else:
            fine = interleave(self.bare(x), height, width)
            if more_rows:
                fine[..., -1:, :] -= self._from_below(x, width)
            if more_columns:
                fine[..., -1:] -= self._from_right(x, height)
        return self.phases.act(fine if self.bias is None else fine + self.bias[:, None, None])

    def _from_below(self, x: Tensor, width: int) -> Tensor:
        """What the doubled map, where it goes on below the fine one, adds to the last row: (B, out, 1, W)."""
        row = F.interpolate(x[..., -1:, :], size=(1, width), mode="nearest")
        return F.conv2d(row, self.below, padding=(0, 1))

    def _from_right(self, x: Tensor, height: int) -> Tensor:
        """What it adds to the last column, where it goes on to the right: (B, out, H, 1)."""
        column = F.interpolate(x[..., -1:], size=(height, 1), mode="nearest")
        corner = x[..., -1:, -1:] * (2 * x.shape[-2] - height)  # it goes on below, too, or it does not
        return F.conv2d(F.pad(torch.cat([column, corner], dim=-2), (0, 0, 1, 0)), self.right)


class ResizedConv(nn.Module):
    """Bilinear enlargement, then a 3×3 convolution: (B, in, h, w) -> (B, out, H, W).

    Args:
        weight: (out, in, 3, 3).
        align_corners: whether the corner pixels keep their place.
        bias: (out,) or None.
    """

    def __init__(self, weight: Tensor, align_corners: bool = False, bias: Tensor | None = None) -> None:
        super().__init__()
        self.align_corners = align_corners
        out_channels, in_channels, *_ = weight.shape
        taps = nn.Conv2d(in_channels, 9 * out_channels, 1, bias=False, device="meta")
        ordered = weight.detach().permute(2, 3, 0, 1).reshape(9 * out_channels, in_channels, 1, 1)
        taps.weight = nn.Parameter(ordered.contiguous(), requires_grad=False)
        self.taps = Conv(taps)
        self.register_buffer("bias", None if bias is None else bias.detach())

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """Apply the taps, then enlarge to the given size and add up, rows first."""
        batch, _, h, w = x.shape
        taps = self.taps(x).unflatten(1, (3, 3, -1)).permute(0, 1, 4, 2, 5, 3)  # (B, dy, h, dx, w, out)
        rows = self._weights(x, h, height) @ taps.reshape(batch, 3 * h, -1)  # (B, H, dx · w · out)
        fine = self._weights(x, w, width) @ rows.reshape(batch, height, 3 * w, -1)  # (B, H, W, out)
        return (fine if self.bias is None else fine + self.bias).permute(0, 3, 1, 2)

    def _weights(self, x: Tensor, small: int, large: int) -> Tensor:
        """Share of each coarse row in the fine rows -1, 0 and 1 places away from each fine row: (large, 3 · small)."""
        places = torch.arange(-1, large + 1, device=x.device, dtype=x.dtype)
        inside = ((places >= 0) & (places < large)).to(x.dtype)
        if self.align_corners:
            source = places * ((small - 1) / torch.sym_max(large - 1, 1))
        else:
            source = ((places + 0.5) * (small / large) - 0.5).clamp(min=0)
        source = source.clamp(max=small - 1)
        shares = (1 - (source[:, None] - torch.arange(small, device=x.device, dtype=x.dtype)).abs()).clamp(min=0)
        shares = shares * inside[:, None]
        return torch.cat([shares[:large], shares[1 : large + 1], shares[2:]], dim=1)
