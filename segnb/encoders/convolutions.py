"""Convolutions of a finished backbone, changed in place: TensorFlow's padding, dilation from a stage's start."""

from __future__ import annotations

import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import Tensor, nn


class HalvingConv2d(nn.Conv2d):
    """A convolution of stride 2 with TensorFlow's "same" padding: (B, in, H, W) -> (B, out, ⌈H/2⌉, ⌈W/2⌉).

    TensorFlow pads k - 2 pixels in all at an even side and k - 1 at an odd one, the odd pixel at the end. Here an odd side is
    made even first; its half is then a plain expression, and a graph for any H is exported in seconds. timm's ceilings and
    maxima keep the exporter's algebra busy for many minutes.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Make the sides even, pad by a constant, convolve."""
        sides = []
        for side, kernel, dilation in zip(x.shape[:1:-1], self.kernel_size[::-1], self.dilation[::-1], strict=True):
            to_even = (side + 1) // 2 * 2 - side
            least = (kernel - 1) * dilation - 1
            sides += [to_even + least // 2, least - least // 2]
        return F.conv2d(F.pad(x, sides), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def with_plain_padding(backbone: nn.Module, padded_for: int | None = None) -> nn.Module:
    """Replace timm's convolutions with TensorFlow's "same" padding: same weights, same output.

    Args:
        backbone: changed in place.
        padded_for: pad every picture as TensorFlow pads one with this side; for weights that were trained so. It matters at
            sides that become odd on the way down: those are padded on both ends alike.
    """
    side = padded_for or 0
    for name, conv in list(backbone.named_modules()):
        if (
            type(conv) is Conv2dSame
            and all(kernel % 2 for kernel in conv.kernel_size)
            and conv.stride in ((1, 1), (2, 2))
        ):
            even = conv.stride == (2, 2) and side % 2 == 0
            around = [d * (k // 2) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
            plain = (HalvingConv2d if even else nn.Conv2d)(
                conv.in_channels,
                conv.out_channels,
                conv.kernel_size,
                conv.stride,
                0 if even else around,
                conv.dilation,
                conv.groups,
                device="meta",
            )
            plain.weight, plain.bias = conv.weight, conv.bias
            backbone.set_submodule(name, plain)
            side = -(-side // conv.stride[0])
    return backbone


def without_idle_dilation(backbone: nn.Module) -> nn.Module:
    """Take the dilation from 1×1 convolutions, where it means nothing; PyTorch computes dilated ones by a slower way."""
    for conv in backbone.modules():
        if isinstance(conv, nn.Conv2d) and conv.kernel_size == (1, 1):
            conv.dilation = (1, 1)
    return backbone


def stages_of(backbone: nn.Module) -> dict[str, list[tuple[int, nn.Conv2d]]]:
    """Convolutions with windows, by the stage that they are in, each with the number of its block there."""
    stages: dict[str, list[tuple[int, nn.Conv2d]]] = {}
    for name, conv in backbone.named_modules():
        parts = name.split(".")
        block = max((place for place, part in enumerate(parts) if part.isdigit()), default=0)
        if isinstance(conv, nn.Conv2d) and max(conv.kernel_size) > 1:
            number = int(parts[block]) if parts[block].isdigit() else 0
            stages.setdefault(".".join(parts[:block]), []).append((number, conv))
    return stages


def set_dilation(conv: nn.Conv2d, dilation: tuple[int, int]) -> None:
    """Give a convolution a dilation, and the padding that goes with it."""
    conv.dilation = dilation
    conv.padding = tuple(d * (k // 2) for d, k in zip(dilation, conv.kernel_size, strict=True))


def dilate_whole_stages(backbone: nn.Module) -> None:
    """Give every convolution of a dilated stage the stage's dilation.

    timm leaves the first block of the stage as it is, so that its input meets no gaps; SMP, and torchvision in MobileNetV3,
    dilate it too, and their weights expect it.
    """
    for stage in stages_of(backbone).values():
        dilation = max(conv.dilation for _, conv in stage)
        for _, conv in stage:
            set_dilation(conv, dilation)


def dilate_only_first_blocks(backbone: nn.Module) -> None:
    """Give the first block of a dilated stage the stage's dilation and the others none: MMSegmentation's MobileNetV2."""
    for stage in stages_of(backbone).values():
        dilation = max(conv.dilation for _, conv in stage)
        for block, conv in stage:
            set_dilation(conv, dilation if block == 0 else (1, 1))
