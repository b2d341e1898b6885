"""What two or more decoders share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from segnb.errors import SegnbError, nearest


class Stages(NamedTuple):
    """What a decoder's ``forward_all`` returns, for training.

    Attributes:
        logits: (B, classes, h, w) of earlier stages and, last, the final ones; each at a size of its own.
        clues: whatever else the decoder's ``own_loss(clues, labels)`` reads, by name; empty if it has no loss of its own.
    """

    logits: list[Tensor]
    clues: dict[str, Tensor]


class GroupNorm(nn.GroupNorm):
    """Normalise groups of channels, (B, C, H, W) -> (B, C, H, W); PyTorch's own refuses a group that is a single value."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; a single value becomes the bias."""
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


def group_norm(channels: int) -> nn.GroupNorm:
    """Normalise in 32 groups (Wu and He, ECCV 2018), or in as many as divide the channels; batches may be of any size."""
    return GroupNorm(math.gcd(channels, 32), channels)


def instance_norm(channels: int) -> nn.GroupNorm:
    """Normalise every channel of every picture by itself (Ulyanov et al., 2016)."""
    return GroupNorm(channels, channels, affine=False)


# The layers that `decoder_use_norm` names, each called with the number of channels.
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batchnorm": nn.BatchNorm2d,
    "groupnorm": group_norm,
    "layernorm": LayerNorm2d,
    "instancenorm": instance_norm,
    "identity": nn.Identity,
}


def norm_layer(name: str | bool) -> Callable[[int], nn.Module]:
    """Find a normalisation layer by name.

    Args:
        name: ``"batchnorm"`` (or True), ``"groupnorm"`` (32 groups where that divides; does not depend on the batch, so good for
            batches of one or two), ``"layernorm"`` (over the channels of each pixel), ``"instancenorm"``, or ``"identity"`` (or
            False) for none.

    Returns:
        A function from the number of channels to the layer.

    Raises:
        SegnbError: there is no such layer; the nearest names are offered.
    """
    if isinstance(name, bool):
        name = "batchnorm" if name else "identity"
    if not isinstance(name, str) or name not in NORMS:
        raise SegnbError(f"decoder_use_norm={name!r} is not a normalisation. {nearest(str(name), NORMS)}")
    return NORMS[name]


def resize_like(x: Tensor, reference: Tensor, mode: str = "bilinear", align_corners: bool = False) -> Tensor:
    """Resize a feature map to the height and width of another.

    Args:
        x: (B, C, h, w).
        reference: (B, any, H, W).
        mode: ``"bilinear"`` or ``"nearest"``.
        align_corners: whether the corner pixels keep their place; only released weights of others ask for True.

    Returns:
        (B, C, H, W).
    """
    size = reference.shape[-2:]
    if mode == "nearest":
        return F.interpolate(x, size=size, mode=mode)
    return F.interpolate(x, size=size, mode=mode, align_corners=align_corners)


def crop(x: Tensor, height: int, width: int) -> Tensor:
    """Cut (B, C, H, W) to its first rows and columns.

    As a copy: a slice is contiguous at some sizes only, and an exported graph would be bound to those.
    """
    return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]))


def grid_windows(side: int, bins: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cut one side of a map into windows as adaptive pooling does: each is made of all pixels that it touches.

    On a line of length side · bins, a pixel is bins long and a window is side long.

    Returns:
        (bins, side) of 1 inside each window and 0 outside, and the number of pixels in each window, (bins, 1).
    """
    pixels = torch.arange(side, device=like.device) * bins
    windows = torch.arange(bins, device=like.device)[:, None] * side
    inside = ((pixels < windows + side) & (windows < pixels + bins)).to(like.dtype)
    return inside, inside.sum(dim=1, keepdim=True)


def pool_to_grid(x: Tensor, bins: int) -> Tensor:
    """Average a map over a grid of windows: (B, C, H, W) -> (B, C, bins, bins), the numbers of `nn.AdaptiveAvgPool2d`.

    Exporters turn adaptive pooling into ordinary pooling with the windows of the one size they saw, and the file is silently
    wrong at any other. Two small matrix products, rows then columns, whose 0s and 1s are computed from the size itself, are the
    same average at every size. A window's sum is divided by its length after each product: half precision has no exact 1/3, and
    the sum over a whole window could exceed its range.

    Args:
        x: the map; smaller than the grid is fine, then windows share pixels.
        bins: windows along each side.
    """
    if bins == 1:
        return x.mean((2, 3), keepdim=True)
    rows, heights = grid_windows(x.shape[-2], bins, x)
    columns, widths = grid_windows(x.shape[-1], bins, x)
    return (rows @ x / heights) @ columns.T / widths.T


def relu(channels: int) -> nn.Module:
    """Cut off what is negative; the same for any number of channels."""
    return nn.ReLU(inplace=True)


class ConvNormAct(nn.Sequential):
    """Convolution, normalisation, ReLU: (B, in, H, W) -> (B, out, H, W).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel, odd; the output has the input's size.
        stride: 2 halves height and width, rounded up.
        dilation: distance between the kernel's taps.
        groups: into so many the channels are split, each group seen by itself; as many as there are channels is depthwise.
        separable: a depthwise convolution followed by a 1×1 (Chollet, CVPR 2017), nine times fewer multiply-adds for 3×3.
        norm_depthwise: whether the depthwise convolution of a separable one, too, is followed by normalisation and activation.
        norm: the normalisation layer, called with the number of channels; without one the convolution has a bias.
        act: the activation, called with the number of channels; `nn.Identity` for none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        separable: bool = False,
        norm_depthwise: bool = False,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
        act: Callable[[int], nn.Module] = relu,
    ) -> None:
        padding = dilation * (kernel_size // 2)
        spatial = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation}
        bias = norm is nn.Identity
        convs: list[nn.Module] = [nn.Conv2d(in_channels, out_channels, groups=groups, bias=bias, **spatial)]
        if separable:
            depthwise = nn.Conv2d(in_channels, in_channels, groups=in_channels, bias=False, **spatial)
            between = [norm(in_channels), act(in_channels)] if norm_depthwise else []
            convs = [depthwise, *between, nn.Conv2d(in_channels, out_channels, 1, bias=bias)]
        super().__init__(*convs, norm(out_channels), act(out_channels))


class ChannelWeights(nn.Sequential):
    """A weight from 0 to 1 for every channel, read off the means of all: (B, C, H, W) -> (B, C, 1, 1).

    Args:
        channels: channels of the map.
        reduction: how many times fewer channels the layer between has.

    Source: Hu et al., CVPR 2018, https://arxiv.org/abs/1709.01507, section 3.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        narrow = max(1, channels // reduction)
        super().__init__(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, narrow, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(narrow, channels, 1),
            nn.Sigmoid(),
        )


class SCSE(nn.Module):
    """Weigh every channel and, beside that, every pixel: (B, C, H, W) -> (B, C, H, W).

    Source: Roy et al., MICCAI 2018, https://arxiv.org/abs/1803.02579, section 2. Differs from the paper: 16 times fewer channels
    between the two layers instead of 2, as in SMP.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh_channels = ChannelWeights(channels)
        self.weigh_pixels = nn.Sequential(nn.Conv2d(channels, 1, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of x weighed by channel and x weighed by pixel."""
        return x * (self.weigh_channels(x) + self.weigh_pixels(x))


# The layers that `decoder_attention_type` names, each called with the number of channels.
ATTENTIONS: dict[str, Callable[[int], nn.Module]] = {"scse": SCSE}


def attention_layer(name: str | None) -> Callable[[int], nn.Module]:
    """Find the attention of ``decoder_attention_type`` by name, None for none; called with the number of channels."""
    if name is None:
        return nn.Identity
    if name not in ATTENTIONS:
        raise SegnbError(f"decoder_attention_type={name!r}: give 'scse', or None for none.")
    return ATTENTIONS[name]


def interpolation_mode(name: str) -> str:
    """Check ``decoder_interpolation``."""
    if name not in ("nearest", "bilinear"):
        raise SegnbError(f"decoder_interpolation={name!r}: give 'nearest' or 'bilinear'.")
    return name


# Channels after each step of a U-Net, coarse to fine; the last ones are those at the picture's size.
U_WIDTHS = (256, 128, 64, 32, 16)


def u_widths(decoder_channels: Sequence[int] | None, in_channels: Sequence[int]) -> list[int]:
    """Find the channels after each step of a U-Net.

    Args:
        decoder_channels: one number a step, coarse to fine; None for as many of 256, 128, 64, 32, 16 as there are steps, the
            last ones, so that a size has the same width whatever the encoder's depth.
        in_channels: channels of each level that the decoder reads, fine to coarse: as many as there are steps.

    Raises:
        SegnbError: not a number for each step.
    """
    steps = len(in_channels)
    if decoder_channels is None:
        return list(U_WIDTHS[-steps:])
    if not isinstance(decoder_channels, Sequence) or len(decoder_channels) != steps or min(decoder_channels) < 1:
        raise SegnbError(f"decoder_channels={decoder_channels!r}: give {steps} numbers, coarse to fine.")
    return list(decoder_channels)


class UpBlock(nn.Module):
    """A step of a U-Net: enlarge, join the skips, convolve twice: (B, in, h, w), (B, skip, H, W) -> (B, out, H, W).

    Args:
        in_channels: channels of the coarse map.
        skip_channels: channels of all skips together, 0 if there is but an empty one, which tells the size; None for the last
            step, which has no skip and doubles.
        out_channels: channels of the result.
        norm: see `ConvNormAct`.
        attention: applied to the joined maps and to the result, see `attention_layer`.
        interpolation: ``"nearest"`` or ``"bilinear"``, how the coarse map is enlarged.
    """

    def __init__(
        self,
        in_channels: int,
        skip_channels: int | None,
        out_channels: int,
        *,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
        attention: Callable[[int], nn.Module] = nn.Identity,
        interpolation: str = "nearest",
    ) -> None:
        super().__init__()
        self.in_channels, self.interpolation = in_channels, interpolation_mode(interpolation)
        joined = in_channels + (skip_channels or 0)
        self.weigh_joined = nn.Identity() if skip_channels is None else attention(joined)
        self.mix = nn.Sequential(
            ConvNormAct(joined, out_channels, norm=norm), ConvNormAct(out_channels, out_channels, norm=norm)
        )
        self.weigh_mixed = attention(out_channels)

    def forward(self, x: Tensor, *skips: Tensor) -> Tensor:
        """Return the finer map, of the size of the skips; without one, exactly twice the size of x."""
        if skips:
            x = resize_like(x, skips[0], mode=self.interpolation)
            x = torch.cat([x, *(skip for skip in skips if skip.shape[1])], dim=1)
        else:
            x = F.interpolate(x, scale_factor=2.0, mode=self.interpolation)
        return self.weigh_mixed(self.mix(self.weigh_joined(x)))


class PooledBatchNorm(nn.BatchNorm2d):
    """Batch normalisation of maps that may be pooled to one pixel, (B, C, h, w) -> the same, that can train on a batch of one.

    One value per channel has no variance; then the running statistics stand in for those of the batch.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, h, w)."""
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: (B, in, h, w) -> (B, width, h, w).

    One look at each pixel, one through each dilated 3×3 window, one at the mean of the whole map.

    Args:
        in_channels: channels of the map.
        width: channels of each look and of the result.
        rates: dilation of each window.
        window: makes each 3×3 window, called with channels, width and ``dilation``.
        dropout: probability of dropping a value of the result.
        kernel_size: of the convolution that joins what was seen.

    Source: Chen et al., 2017, https://arxiv.org/abs/1706.05587, section 3.3.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        rates: Sequence[int],
        *,
        window: Callable[..., nn.Module] = ConvNormAct,
        dropout: float = 0.5,
        kernel_size: int = 1,
    ) -> None:
        super().__init__()
        self.look = nn.ModuleList(
            [
                ConvNormAct(in_channels, width, kernel_size=1),
                *(window(in_channels, width, dilation=rate) for rate in rates),
            ]
        )
        self.summarise = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), ConvNormAct(in_channels, width, kernel_size=1, norm=PooledBatchNorm)
        )
        joined = width * (len(rates) + 2)
        self.project = nn.Sequential(ConvNormAct(joined, width, kernel_size=kernel_size), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """Look through every window and join what was seen."""
        views = [look(x) for look in self.look]
        summary = self.summarise(x).expand(-1, -1, *x.shape[-2:])
        return self.project(torch.cat([*views, summary], dim=1))
