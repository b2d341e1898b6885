"""ONNX: a graph of standard operators in one file, which ONNX Runtime and many others run.

Format: https://onnx.ai. The graph comes from torch's exporter; OpenVINO's file is made from the same graph.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from segnb.errors import SegnbError
from segnb.exporting.comparing import Run
from segnb.exporting.metadata import describe
from segnb.exporting.quiet import quiet
from segnb.exporting.tracing import AXES, dynamic_axes, example_for, reason_of

if TYPE_CHECKING:
    from onnx import ModelProto

INPUT, OUTPUT = "image", "logits"


def write_onnx(model: nn.Module, file: Path, size: tuple[int, int], raw_pixels: bool, opset: int | None) -> None:
    """Write a model as one ONNX file with its metadata.

    Args:
        model: float32 on the CPU, in eval mode.
        file: where.
        size: height and width near which it is traced.
        raw_pixels: whether the file takes uint8 pixels.
        opset: version of the operators; None takes torch's default.

    Raises:
        SegnbError: torch's exporter cannot, or ONNX's checker refuses what it made.
    """
    import onnx

    graph = onnx_graph(model, size, raw_pixels, opset)
    onnx.helper.set_model_props(graph, describe(model, raw_pixels))
    content = graph.SerializeToString()
    try:
        onnx.checker.check_model(content, full_check=True)
    except Exception as error:
        raise SegnbError(
            f"torch wrote a graph that ONNX refuses: {error}. Try another opset or a newer onnx."
        ) from error
    file.write_bytes(content)


def onnx_graph(model: nn.Module, size: tuple[int, int], raw_pixels: bool, opset: int | None) -> ModelProto:
    """Run torch's exporter, name the axes, and take out its stack traces: they hold this machine's paths.

    Args:
        model: see `write_onnx`.
        size: see `write_onnx`.
        raw_pixels: see `write_onnx`.
        opset: see `write_onnx`.

    Returns:
        The graph, whose batch, height and width vary.

    Raises:
        SegnbError: the exporter cannot.
    """
    import torch

    try:
        with quiet():
            program = torch.onnx.export(
                model,
                (example_for(model, size, raw_pixels),),
                dynamo=True,
                dynamic_shapes=dynamic_axes(),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=opset,
                external_data=False,
                verbose=False,
            )
    except Exception as error:
        raise SegnbError(
            f"this model cannot be written as ONNX for any size: {reason_of(error)} "
            "Try another encoder or decoder, or a newer torch and onnxscript."
        ) from error
    graph = program.model_proto
    symbols = {graph.graph.input[0].type.tensor_type.shape.dim[axis].dim_param: name for axis, name in AXES.items()}
    for value in (*graph.graph.input, *graph.graph.output, *graph.graph.value_info):
        value.ClearField("metadata_props")
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in symbols:
                dimension.dim_param = symbols[dimension.dim_param]
    for node in graph.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    return graph


def open_onnx(file: Path) -> Run:
    """Load a file into ONNX Runtime.

    Args:
        file: what `write_onnx` wrote.

    Returns:
        Runs it on the CPU.

    Raises:
        SegnbError: ONNX Runtime refuses the file.
    """
    import onnxruntime

    try:  # from memory: Windows cannot rename a file that a session holds open
        session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise SegnbError(
            f"ONNX Runtime refuses the file: {error}. Try another opset or a newer onnxruntime."
        ) from error

    def run(image: np.ndarray) -> np.ndarray:
        return session.run([OUTPUT], {INPUT: image})[0]

    return run


def opset_of(file: Path) -> int:
    """Read the version of a file's standard operators."""
    import onnx

    return next(entry.version for entry in onnx.load(file).opset_import if not entry.domain)
