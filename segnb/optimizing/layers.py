"""Layers for inference: what follows a convolution, in the same pass over memory; weights, laid out once.

    x (B, in, H, W) ── convolve ── + bias ── + plus ── activate ─▶ (B, out, H', W')      one call instead of four

PyTorch's own layers arrange their weights anew in every call (for 512×512×3×3 at 8×8 pixels that is half of the time), and each
step after a convolution reads and writes the whole map. oneDNN, inside PyTorch on x86, does it at once; `torch.compile` uses the
same operators, after a minute of compiling. They know neither gradients nor ONNX, so everywhere but in plain float32 inference
on the CPU the steps run one by one, as they were.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from segnb.optimizing import winograd

# What oneDNN can do to each value on its way out: its name, numbers and variant.
ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float], str]] = {
    nn.Identity: ("none", [], ""),
    nn.ReLU: ("relu", [], ""),
    nn.ReLU6: ("hardtanh", [0.0, 6.0], ""),
    nn.SiLU: ("swish", [], ""),
    nn.Hardswish: ("hardswish", [], ""),
    nn.Sigmoid: ("sigmoid", [], ""),
}
OPERATORS = ("_convolution_pointwise", "_reorder_convolution_weight", "_linear_pointwise", "_reorder_linear_weight")
AVAILABLE = torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS)


def is_tracing() -> bool:
    """Say whether the forward pass is being written down (export, compile), so that no step may depend on sizes."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def runs_fused(x: Tensor, weight: Tensor) -> bool:
    """Say whether oneDNN's operators can be used: float32 on the CPU, no gradient wanted, nobody tracing."""
    return (
        AVAILABLE
        and x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() > 0
        and not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))
        and not torch.is_autocast_enabled("cpu")
        and not is_tracing()
    )


class Prepared(nn.Module):
    """A layer that keeps its weights in a second form, too, made at its first call and never copied or saved."""

    prepared: tuple[Any, Any] | None = None

    def prepare(self, key: object, make: Any) -> Any:
        """Return the second form for a key, such as the size of the map; only the last one is kept."""
        if self.prepared is None or self.prepared[0] != key:
            self.prepared = (key, make())
        return self.prepared[1]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the second form out."""
        return {**self.__dict__, "prepared": None}


class Conv(Prepared, nn.Conv2d):
    """A convolution with what comes after it: (B, in, H, W) and perhaps (B, out, H', W') -> (B, out, H', W').

    Args:
        conv: the convolution whose weights are taken over, not copied.
        act: the activation; one of `ACTIVATIONS`.
    """

    def __init__(self, conv: nn.Conv2d, act: nn.Module | None = None) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            conv.stride,
            conv.padding,
            conv.dilation,
            conv.groups,
            device="meta",
        )
        self.weight, self.bias = conv.weight, conv.bias
        self.act = nn.Identity() if act is None else copy.copy(act)
        if hasattr(self.act, "inplace"):
            self.act.inplace = True  # the output of the convolution is nobody else's

    def forward(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        """Convolve, add, activate."""
        if not runs_fused(x, self.weight):
            return self._finish(super().forward(x), plus)
        x = x.contiguous(memory_format=torch.channels_last)
        if winograd.pays(self, x):
            products = self.prepare("tiles", lambda: Conv(winograd.transform(self)))
            return self._finish(winograd.convolve(x, products, self.dilation[0]), plus)
        if self._misses(x):
            return self._finish(self._by_taps(x), plus)
        how = (self.padding, self.stride, self.dilation, self.groups)
        shape = list(x.shape)  # each has its own layout, and a wrong one costs dearly
        packed = self.prepare(shape, lambda: torch.ops.mkldnn._reorder_convolution_weight(self.weight, *how, shape))
        name, numbers, variant = ACTIVATIONS[type(self.act)]
        if plus is None:
            return torch.ops.mkldnn._convolution_pointwise(x, packed, self.bias, *how, name, numbers, variant)
        if name not in ("none", "relu"):
            sums = torch.ops.mkldnn._convolution_pointwise(x, packed, self.bias, *how, "none", [], "")
            return self._finish(sums, plus)
        after = ("add", 1.0, None if name == "none" else name, [], None)
        plus = plus.contiguous(memory_format=torch.channels_last)
        return torch.ops.mkldnn._convolution_pointwise.binary(x, plus, packed, self.bias, *how, *after)

    def _finish(self, sums: Tensor, plus: Tensor | None) -> Tensor:
        """Add and activate."""
        return self.act(sums if plus is None else sums.add_(plus))

    def _misses(self, x: Tensor) -> bool:
        """Say whether a depthwise convolution has such gaps that most of its taps miss the map, for most pixels."""
        wide = 2 * min(self.dilation) >= min(x.shape[-2:])
        same = self.stride == (1, 1) and self.kernel_size == (3, 3) and self.padding == self.dilation
        return wide and same and min(self.dilation) > 1 and self.groups == self.in_channels == self.out_channels

    def _by_taps(self, x: Tensor) -> Tensor:
        """Convolve each channel by itself, tap by tap, only where a tap meets the map: oneDNN has no fast way for this."""
        (height, width), (down, right) = x.shape[-2:], self.dilation
        y = x * self.weight[:, 0, 1, 1, None, None]
        for dy in (-down, 0, down):
            for dx in (-right, 0, right):
                if (dy or dx) and abs(dy) < height and abs(dx) < width:
                    seen = x[..., max(dy, 0) : height + dy, max(dx, 0) : width + dx]
                    target = y[..., max(-dy, 0) : height - dy, max(-dx, 0) : width - dx]
                    target.addcmul_(seen, self.weight[:, 0, 1 + dy // down, 1 + dx // right, None, None])
        return y if self.bias is None else y.add_(self.bias[:, None, None])


class Linear(Prepared, nn.Linear):
    """A linear layer, its weights laid out once: (..., in) -> (..., out).

    Args:
        linear: the layer whose weights are taken over.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, device="meta")
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Multiply and add."""
        if not runs_fused(x, self.weight):
            return super().forward(x)
        rows = x.numel() // x.shape[-1]
        packed = self.prepare(rows, lambda: torch.ops.mkldnn._reorder_linear_weight(self.weight, rows))
        return torch.ops.mkldnn._linear_pointwise(x, packed, self.bias, "none", [], "")
