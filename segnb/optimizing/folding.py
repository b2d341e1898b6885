"""Put what follows a convolution into it: batch normalisation into the weights, addition and activation into the call.

In evaluation, batch normalisation multiplies each channel by a number and adds another, which the convolution itself can do:

    norm(conv(x)) = (conv(x) - mean) · s + beta,   s = gamma / √(var + eps):   weights w · s and bias (b - mean) · s + beta

This holds where the normalisation is all that the convolution's output is used for. In a sequence that is plain to see; in a
backbone, torch.fx writes down what is used where.
"""

from __future__ import annotations

import copy
import operator
from typing import Any

import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import fx, nn

from segnb.blocks import PooledBatchNorm
from segnb.encoders.convolutions import HalvingConv2d
from segnb.optimizing.layers import ACTIVATIONS, Conv, Linear

PADDING_CONVS = (HalvingConv2d, Conv2dSame)  # these pad by themselves first
NORMS = (nn.BatchNorm2d, PooledBatchNorm, BatchNormAct2d)
ADDITIONS = (operator.add, torch.add)
IDLE = (nn.Identity, nn.Dropout, nn.Dropout2d)  # in evaluation


def is_conv(module: nn.Module) -> bool:
    """Say whether a module is a convolution and nothing else: a subclass may do something to its weights first."""
    return (
        type(module) in (nn.Conv2d, Conv) and module.padding_mode == "zeros" and module.padding not in ("same", "valid")
    )


def is_norm(module: nn.Module) -> bool:
    """Say whether a module is a batch normalisation with fixed statistics."""
    return type(module) in NORMS and module.running_mean is not None


def fold(conv: nn.Module, norm: nn.BatchNorm2d) -> nn.Module:
    """Return a convolution that also normalises; works for transposed convolutions too."""
    with torch.no_grad():
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        scale = scale if norm.weight is None else scale * norm.weight
        shift = -norm.running_mean * scale + (0 if norm.bias is None else norm.bias)
        shift = shift if conv.bias is None else shift + conv.bias * scale
        folded = copy.copy(conv)
        folded._parameters = dict(conv._parameters)
        by_output = scale.reshape(1, -1, 1, 1) if isinstance(conv, nn.ConvTranspose2d) else scale.reshape(-1, 1, 1, 1)
        folded.weight = nn.Parameter((conv.weight * by_output).to(conv.weight.dtype), requires_grad=False)
        folded.bias = nn.Parameter(shift.to(conv.weight.dtype), requires_grad=False)
    return folded


def fuse_sequences(module: nn.Module) -> None:
    """Fuse, in place, convolution, normalisation and activation wherever they follow each other in an `nn.Sequential`."""
    for child in module.children():
        fuse_sequences(child)
    if isinstance(module, nn.Sequential):
        layers = list(module)
        fused = fuse_layers(layers)
        for name in list(module._modules):
            del module._modules[name]
        for place, layer in enumerate(fused):
            module.add_module(str(place), layer)


def fuse_layers(layers: list[nn.Module]) -> list[nn.Module]:
    """Fuse a list of layers that follow each other; what does nothing in evaluation is left out."""
    fused: list[nn.Module] = []
    for layer in layers:
        last = fused[-1] if fused else None
        if type(layer) in IDLE:
            continue
        open_conv = type(last) is Conv and type(last.act) is nn.Identity
        if is_norm(layer) and not hasattr(layer, "act") and (open_conv or type(last) is nn.ConvTranspose2d):
            fused[-1] = fold(last, layer)
        elif open_conv and type(layer) in ACTIVATIONS:
            fused[-1] = Conv(last, layer)
        else:
            fused.append(Conv(layer) if is_conv(layer) else layer)
    return fused


def pack(module: nn.Module) -> nn.Module:
    """Replace, in place, every convolution and linear layer that is not fused by one with packed weights; return the module."""
    if type(module) is nn.Linear or is_conv(module):
        return module if isinstance(module, Conv) else (Linear(module) if type(module) is nn.Linear else Conv(module))
    for name, child in list(module.named_children()):
        setattr(module, name, pack(child))
    return module


class Tracer(fx.Tracer):
    """Write down a backbone's steps; the modules that `fuse_graph` knows are steps."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        """Say which modules to leave whole."""
        leaf = isinstance(module, (Conv, *PADDING_CONVS, *NORMS)) or type(module).__name__.endswith("Same")
        return leaf or super().is_leaf_module(module, qualified_name)


def fuse_parts(module: nn.Module) -> None:
    """Fuse, in place, the largest parts of a backbone that torch.fx can follow, when it cannot follow the whole."""
    for name, part in list(module.named_children()):
        if any(is_norm(inner) for inner in part.modules()) and next(part.children(), None) is not None:
            try:
                setattr(module, name, fuse_graph(part))
            except Exception:  # its code branches; that of its parts may not
                fuse_parts(part)


def fuse_graph(backbone: nn.Module) -> nn.Module:
    """Return a backbone with its normalisations, additions and activations inside its convolutions.

    What is returned should be compared with the backbone: torch.fx takes ``x += y`` for ``x = x + y``, which differs where x has
    another name, too.

    Raises:
        Exception: of any kind, when the backbone's code depends on the values or sizes of its input: torch.fx cannot follow.
    """
    graph = Tracer().trace(backbone)
    traced = fx.GraphModule(backbone, graph)
    calls = _count_calls(graph)
    for node in list(graph.nodes):
        if node.op == "call_module" and calls[node.target] == 1:
            _fuse_node(traced, node, calls)
    for node in list(graph.nodes):
        _fuse_addition(traced, node, calls)
    graph.eliminate_dead_code()
    graph.lint()
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def _count_calls(graph: fx.Graph) -> dict[str, int]:
    calls: dict[str, int] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            calls[node.target] = calls.get(node.target, 0) + 1
    return calls


def _module(traced: fx.GraphModule, node: Any) -> nn.Module | None:
    """The module that a node calls, if it calls one."""
    return traced.get_submodule(node.target) if isinstance(node, fx.Node) and node.op == "call_module" else None


def _fuse_node(traced: fx.GraphModule, node: fx.Node, calls: dict[str, int]) -> None:
    """Fuse a module with the convolution before it, if that is used for nothing else."""
    module, source = traced.get_submodule(node.target), node.args[0] if node.args else None
    if type(module) in IDLE:
        node.replace_all_uses_with(source)
        traced.graph.erase_node(node)
        return
    if is_conv(module):
        traced.set_submodule(node.target, Conv(module))
        return
    conv = _module(traced, source)
    if conv is None or len(source.users) > 1 or calls[source.target] > 1:
        return
    is_open = isinstance(conv, Conv) and type(conv.act) is nn.Identity and len(source.args) == 1
    if is_norm(module) and (is_open or isinstance(conv, PADDING_CONVS)):
        folded, act = fold(conv, module), getattr(module, "act", nn.Identity())
        if is_open and type(act) in ACTIVATIONS:
            folded, act = Conv(folded, act), nn.Identity()
        traced.set_submodule(source.target, folded)
        traced.set_submodule(node.target, act)
        if type(act) is nn.Identity:
            node.replace_all_uses_with(source)
            traced.graph.erase_node(node)
    elif is_open and type(module) in ACTIVATIONS:
        traced.set_submodule(source.target, Conv(conv, module))
        node.replace_all_uses_with(source)
        traced.graph.erase_node(node)


def _fuse_addition(traced: fx.GraphModule, node: fx.Node, calls: dict[str, int]) -> None:
    """Turn relu(conv(x) + y), a residual block's end, into one call."""
    if node.target not in ADDITIONS or len(node.args) != 2 or node.kwargs:
        return
    pairs = (node.args, node.args[::-1])
    source, other = next((pair for pair in pairs if _can_add(traced, *pair, calls)), (None, None))
    if source is None:
        return
    act, last = nn.Identity(), node
    user = next(iter(node.users)) if len(node.users) == 1 else None
    if type(_module(traced, user)) is nn.ReLU:
        act, last = nn.ReLU(), user
    traced.set_submodule(source.target, Conv(_module(traced, source), act))
    with traced.graph.inserting_before(node):
        fused = traced.graph.call_module(source.target, (*source.args, other))
    last.replace_all_uses_with(fused)
    for done in dict.fromkeys((last, node, source)):
        traced.graph.erase_node(done)


def _can_add(traced: fx.GraphModule, source: Any, other: Any, calls: dict[str, int]) -> bool:
    """Say whether a node is a convolution whose output goes nowhere else, and the other one a tensor to be added."""
    conv = _module(traced, source)
    return (
        isinstance(conv, Conv)
        and type(conv.act) is nn.Identity
        and len(source.args) == len(source.users) == calls[source.target] == 1
        and isinstance(other, fx.Node)
    )
