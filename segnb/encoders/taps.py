"""A backbone read elsewhere than where timm reads it, and dilated stage by stage: what the weights of other libraries expect.

    image ── layer ── layer ─▶ c1 ── layer ── layer ── layer ─▶ c2 ── layer ─▶ c3 ...
                       tap                              tap             tap

timm reads DenseNet before the normalisation of a transition, MobileNetV2 before its last convolution; others do not. And it
cannot dilate every backbone. Both take only the layers in a row, which is how convolutional backbones are made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from segnb.errors import SegnbError, nearest

RELU, NO_ACTIVATION = "+relu", "-act"


class Levels:
    """Strides of the levels that a backbone has, and which of them it returns, in timm's words."""

    def __init__(self, strides: Sequence[int], out_indices: Sequence[int]) -> None:
        self.info = [{"reduction": stride} for stride in strides]
        self.out_indices = list(out_indices)

    def reduction(self) -> list[int]:
        """Strides of the returned levels."""
        return [self.info[index]["reduction"] for index in self.out_indices]


class Tapped(nn.ModuleDict):
    """A backbone as its layers in a row, read after some of them: (B, in, H, W) -> one map for each tap.

    Args:
        model: a timm model whose children, one after the other, make its features.
        out_indices: which taps to return; layers after the deepest are left out.
        taps: the layers to read after, and the strides of their maps, fine to coarse. ``"+relu"`` behind a layer's name: read
            through a ReLU, which the next layer does not see; ``"-act"``: the layer loses its activation.
        output_stride: the largest stride that a map may have: layers beyond it are dilated, from a stage's first one on.
        pad_windows: whether to pad each 3×3 convolution and max pooling by one pixel, so that strides divide evenly.
        **_: what timm hands to its own readers of features.

    Raises:
        SegnbError: no layer of that name.
    """

    def __init__(
        self,
        model: nn.Module,
        out_indices: Sequence[int] = (0, 1, 2, 3, 4),
        *,
        taps: Mapping[str, int],
        output_stride: int = 32,
        pad_windows: bool = False,
        **_: Any,
    ) -> None:
        super().__init__()
        layers = dict(layers_of(model))
        ends = [last_layer(tap.removesuffix(RELU).removesuffix(NO_ACTIVATION), list(layers)) for tap in taps]
        strides = list(taps.values())
        self.feature_info = Levels(strides, [index for index in out_indices if index < len(taps)])
        kept = [ends[index] for index in self.feature_info.out_indices]
        self.after = {
            layer.replace(".", "_"): tap.endswith(RELU) for layer, tap in zip(ends, taps, strict=True) if layer in kept
        }
        for layer, tap in zip(ends, taps, strict=True):
            if tap.endswith(NO_ACTIVATION):
                layers[layer].act = nn.Identity()
        level = 0
        for name, layer in layers.items():
            dilate(layer, strides[level] // output_stride)
            if pad_windows:
                pad(layer)
            self[name.replace(".", "_")] = layer
            if name == kept[-1]:
                break
            level += name == ends[level]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Run the layers and collect the maps."""
        maps = []
        for name, layer in self.items():
            x = layer(x)
            if name in self.after:
                maps.append(F.relu(x) if self.after[name] else x)
        return maps


def layers_of(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Name the layers of a backbone in order, those inside plain sequences too."""
    for name, child in module.named_children():
        if type(child).forward is nn.Sequential.forward:
            yield from layers_of(child, f"{prefix}{name}.")
        else:
            yield prefix + name, child


def last_layer(tap: str, layers: Sequence[str]) -> str:
    """Find the layer that a tap means: itself, or the last one of a sequence."""
    found = [layer for layer in layers if f"{layer}.".startswith(f"{tap}.")]
    if not found:
        raise SegnbError(f"encoder_options: there is no layer {tap!r} to read after. {nearest(tap, layers)}")
    return found[-1]


def dilate(layer: nn.Module, rate: int) -> None:
    """Give up the strides of a layer, and look as far as it would have looked with them."""
    for conv in layer.modules():
        if rate > 1 and isinstance(conv, nn.Conv2d):
            conv.stride, conv.dilation = (1, 1), (rate, rate)
            conv.padding = tuple(rate * (kernel // 2) for kernel in conv.kernel_size)


def pad(layer: nn.Module) -> None:
    """Pad every 3×3 window by one pixel."""
    for window in layer.modules():
        if isinstance(window, nn.Conv2d) and window.kernel_size == (3, 3):
            window.padding = (1, 1)
        elif isinstance(window, nn.MaxPool2d):
            window.padding = 1
