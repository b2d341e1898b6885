"""torch.export: the traced operations of PyTorch itself, in one file that loads without segnb's or timm's code.

Format: https://docs.pytorch.org/docs/stable/export.html. It is where the compilers of PyTorch start (AOTInductor, ExecuTorch).
"""

from __future__ import annotations

import io
import json
import math
import operator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.fx import Graph

from segnb.errors import SegnbError
from segnb.exporting.comparing import Run
from segnb.exporting.metadata import describe
from segnb.exporting.quiet import quiet
from segnb.exporting.tracing import dynamic_axes, example_for, reason_of

ABOUT = "segnb.json"  # name of the metadata among the program's extra files


def write_program(model: nn.Module, file: Path, size: tuple[int, int], raw_pixels: bool) -> None:
    """Write a model as an exported program with its metadata.

    Args:
        model: float32 on the CPU, in eval mode.
        file: where.
        size: height and width near which it is traced.
        raw_pixels: whether the program takes uint8 pixels.

    Raises:
        SegnbError: torch cannot trace the model.
    """
    try:
        with quiet():
            program = torch.export.export(
                model, (example_for(model, size, raw_pixels),), dynamic_shapes=dynamic_axes(), strict=False
            )
            _round_up_by_integers(program.graph)
            for node in program.graph.nodes:
                node.meta.pop("stack_trace", None)  # holds this machine's paths
            program.example_inputs = None  # would travel in the file
            torch.export.save(program, file, extra_files={ABOUT: json.dumps(describe(model, raw_pixels))})
    except Exception as error:
        raise SegnbError(
            f"this model cannot be exported by torch.export for any size: {reason_of(error)} "
            "Try another encoder or decoder, or a newer torch."
        ) from error


def _round_up_by_integers(graph: Graph) -> None:
    """Replace ``math.ceil(x / y)``, which timm's padding computes and torch cannot save, by ``(x + y - 1) // y``.

    The division stays in the graph: it costs nothing, and other operations may use it.
    """
    for rounded in graph.find_nodes(op="call_function", target=math.ceil):
        divided = rounded.args[0]
        x, y = divided.args
        with graph.inserting_before(rounded):
            added = graph.call_function(operator.add, (x, y - 1))
            whole = graph.call_function(operator.floordiv, (added, y))
        added.meta["val"] = x.meta["val"] + y - 1
        whole.meta["val"] = added.meta["val"] // y
        rounded.replace_all_uses_with(whole)
        graph.erase_node(rounded)


def open_program(file: Path) -> Run:
    """Load a program.

    Args:
        file: what `write_program` wrote.

    Returns:
        Runs it on the CPU.
    """
    with quiet():  # from memory: Windows cannot rename a file that is mapped
        module = torch.export.load(io.BytesIO(file.read_bytes())).module()

    def run(image: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(image)).numpy()

    return run
