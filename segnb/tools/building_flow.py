"""How a picture flows through a model: who reads whose map, with the true shape of each.

    model on the meta device ── one forward pass ─▶ image ─▶ stages of the encoder ─▶ blocks of the decoder ─▶ logits

PyTorch's meta device runs a network on shapes alone, so the largest model costs as little as the smallest. Hooks tell when a
block starts and ends; between the blocks torch's function mode sees each ``torch.cat`` and ``+`` that joins maps, and hands on
from whom a map comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from segnb.encoders import Encoder
from segnb.models import SegmentationModel

# Functions that join maps, as they are drawn.
JOINTS = {"add": "+", "radd": "+", "iadd": "+", "mul": "×", "rmul": "×", "imul": "×", "cat": "concat"}


@dataclass(frozen=True)
class Node:
    """One block of the drawing.

    Attributes:
        kind: "image", "stage" (of the encoder), "block" (of the decoder), "head", "joint" or "logits".
        name: what is written on it.
        layer: the class of the layer; empty if it is none.
        shape: of the map that it gives, without the batch; empty for a stage that the encoder lacks.
        parameters: number of them.
        read: whether the decoder reads it, directly or not.
    """

    kind: str
    name: str
    layer: str
    shape: tuple[int, ...]
    parameters: int = 0
    read: bool = True


@dataclass(frozen=True)
class Edge:
    """A map on its way: places of the nodes that give and take it, and the shape in which it arrives."""

    source: int
    target: int
    shape: tuple[int, ...]


class Tracer(TorchFunctionMode):
    """Collects nodes and edges while a model runs."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self.edges: dict[tuple[int, int], Edge] = {}
        self._givers: dict[int, int] = {}  # id of a tensor -> place of the node that gave it
        self._alive: list[Tensor] = []  # an id is a tensor's own only while it lives
        self._depth = 0

    def add(self, node: Node) -> int:
        """Add a node; returns its place."""
        self.nodes.append(node)
        return len(self.nodes) - 1

    def connect(self, given: Any, target: int) -> None:
        """Draw an edge to the target from the giver of each tensor in ``given``."""
        for tensor in _tensors(given):
            source = self._givers.get(id(tensor))
            if source is not None and source != target and self.nodes[source].shape:
                self.edges.setdefault((source, target), Edge(source, target, tuple(tensor.shape[1:])))

    def give(self, tensors: Any, source: int) -> None:
        """Note from which node tensors come."""
        for tensor in _tensors(tensors):
            self._givers[id(tensor)] = source
            self._alive.append(tensor)

    def watch(self, module: nn.Module, finished: Any) -> list[Any]:
        """Look at a module from outside only: ``finished(inputs, outputs)`` is called after it; returns the hooks."""

        def enter(*_: Any) -> None:
            self._depth += 1

        def leave(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            self._depth -= 1
            if not self._depth:
                finished((args, kwargs), output)

        return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave, with_kwargs=True)]

    def __torch_function__(self, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if not self._depth:
            self._follow(function, (args, kwargs), result)
        return result

    def _follow(self, function: Any, given: Any, result: Any) -> None:
        """Hand on from whom a map comes; where several are joined, that is a node of its own."""
        outputs = _tensors(result)
        givers = list(dict.fromkeys(self._givers[id(x)] for x in _tensors(given) if id(x) in self._givers))
        givers = [giver for giver in givers if self.nodes[giver].shape]  # joining nothing changes nothing
        if not outputs or not givers:
            return
        if len(givers) == 1:
            self.give(outputs, givers[0])
            return
        name = function.__name__.strip("_")
        joint = self.add(Node("joint", JOINTS.get(name, name), "", tuple(outputs[0].shape[1:])))
        self.connect(given, joint)
        self.give(outputs, joint)


def trace(model: SegmentationModel, size: tuple[int, int]) -> dict[str, Any]:
    """Follow a picture through a model.

    Args:
        model: on the meta device, in any mode.
        size: height and width of the picture.

    Returns:
        ``nodes`` (dictionaries of `Node`) and ``edges`` (of `Edge`); the image is the first node, the logits are the last.
    """
    tracer = Tracer()
    image = torch.empty(1, model.in_channels, *size, device="meta")
    tracer.give(image, tracer.add(Node("image", "image", "", tuple(image.shape[1:]))))
    stages = _add_stages(tracer, model, image)

    def encoded(_: Any, features: Sequence[Tensor]) -> None:
        for position, feature in enumerate(features):  # after the maps come their tokens, if there are any
            tracer.give(feature, stages[model.encoder.levels[position % len(model.encoder.levels)]])

    hooks = tracer.watch(model.encoder, encoded)
    for path, block in blocks_of(model.decoder):
        hooks += tracer.watch(block, _finished(tracer, path, block))
    training = model.training
    try:
        with torch.no_grad(), tracer:
            logits = model.eval()(image)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    tracer.connect(logits, tracer.add(Node("logits", "logits", "", tuple(logits.shape[1:]))))
    nodes, edges = _tidy(tracer.nodes, list(tracer.edges.values()))
    return {"nodes": [asdict(node) for node in nodes], "edges": [asdict(edge) for edge in edges]}


def blocks_of(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """List the layers of a decoder as they stand in its code, with their paths: "blocks[0]", "classify".

    A layer without a matrix (normalisation alone, pooling, dropout) only changes numbers in place: it is not drawn.
    """
    for name, child in module.named_children():
        where = f"{path}[{name}]" if name.isdigit() else f"{path}.{name}".lstrip(".")
        if type(child) in (nn.ModuleList, nn.ModuleDict):
            yield from blocks_of(child, where)
        elif any(parameter.dim() > 1 for parameter in child.parameters()):
            yield where, child


def _finished(tracer: Tracer, path: str, block: nn.Module) -> Any:
    def finished(inputs: Any, outputs: Any) -> None:
        given = _tensors(outputs)
        kind = "head" if path == "classify" else "block"
        place = tracer.add(Node(kind, path, type(block).__name__, tuple(given[0].shape[1:]), _count(block)))
        tracer.connect(inputs, place)
        tracer.give(outputs, place)

    return finished


def _add_stages(tracer: Tracer, model: SegmentationModel, image: Tensor) -> dict[int, int]:
    """Add the encoder's maps, also those that the decoder leaves aside; returns the place of each level."""
    pyramid, read = _whole_pyramid(model), model.encoder.levels
    shapes = _own_shapes(pyramid, image)
    places: dict[int, int] = {}
    by_position: dict[int | None, int] = {}
    previous = 0
    for level, position in zip(pyramid.levels, pyramid.positions, strict=True):
        if position is None and level not in read:
            continue
        if position is None or position not in by_position:
            shape = () if position is None else shapes[position]
            by_position[position] = tracer.add(Node("stage", "", "", shape, read=level in read))
            if shape:
                tracer.edges[previous, by_position[position]] = Edge(previous, by_position[position], shape)
                previous = by_position[position]
        places[level] = by_position[position]
        node = tracer.nodes[places[level]]
        name = f"{node.name} c{level.bit_length() - 1}".strip()  # c2 has stride 4, as in the papers
        tracer.nodes[places[level]] = replace(node, name=name, read=node.read or level in read)
    return places


def _whole_pyramid(model: SegmentationModel) -> Encoder:
    """The model's encoder with every level up to its depth; a transformer of one stride has no others to show."""
    encoder, depth = model.encoder, model.config.get("encoder_depth", 5)
    levels = tuple(sorted({*encoder.levels, *(2**level for level in range(1, depth + 1))}))
    plain = len(encoder.levels) > 1 and len({stride for stride in encoder.reductions if stride}) == 1
    if encoder.raw or plain or levels == encoder.levels:
        return encoder
    with torch.device("meta"):
        whole = Encoder(encoder.name, None, model.in_channels, levels, output_stride=max(encoder.strides))
    return encoder if len({stride for stride in whole.reductions if stride}) == 1 else whole


def _own_shapes(encoder: Encoder, image: Tensor) -> list[tuple[int, ...]]:
    """(C, h, w) of the maps as the backbone makes them, before any of them is resized."""
    seen: list[Sequence[Tensor]] = []
    hook = encoder.backbone.register_forward_hook(lambda _module, _inputs, maps: seen.append(maps))
    training = encoder.training
    try:
        with torch.no_grad():
            features = encoder.eval()(encoder.pad(image))
    finally:
        encoder.train(training)
        hook.remove()
    if not seen:  # with prefix tokens the backbone is run by another name, and its maps come as they are
        return [tuple(x.shape[1:]) for x in features[: len(encoder.levels)]]
    last = encoder.channels_last
    return [(x.shape[3], x.shape[1], x.shape[2]) if last else tuple(x.shape[1:]) for x in seen[0]]


def _tidy(nodes: list[Node], edges: list[Edge]) -> tuple[list[Node], list[Edge]]:
    """Make one joint of sums of sums, drop what leads nowhere, and number again."""
    for place, node in enumerate(nodes):
        after = [edge for edge in edges if edge.source == place]
        if node.kind != "joint" or len(after) != 1:
            continue
        following = nodes[after[0].target]
        if (following.kind, following.name, following.shape) == (node.kind, node.name, node.shape):
            edges = [replace(edge, target=after[0].target) if edge.target == place else edge for edge in edges]
            edges.remove(after[0])
    useful = {len(nodes) - 1}
    for edge in sorted(edges, key=lambda edge: -edge.target):
        useful |= {edge.source} if edge.target in useful else set()
    kept = [place for place, node in enumerate(nodes) if place in useful or node.kind in ("image", "stage")]
    number = {place: count for count, place in enumerate(kept)}
    return [nodes[place] for place in kept], [
        replace(edge, source=number[edge.source], target=number[edge.target])
        for edge in edges
        if edge.source in number and edge.target in number
    ]


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
