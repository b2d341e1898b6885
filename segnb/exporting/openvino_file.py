"""OpenVINO: a graph in an .xml file and its weights in a .bin file beside it, compiled for the CPU that runs it.

Format: https://docs.openvino.ai. The graph is read from the same ONNX graph that an .onnx file would hold.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from segnb.errors import SegnbError
from segnb.exporting.comparing import Run
from segnb.exporting.metadata import describe
from segnb.exporting.onnx_file import INPUT, OUTPUT, onnx_graph
from segnb.exporting.quantizing import quantize
from segnb.exporting.quiet import import_silently
from segnb.exporting.tracing import reason_of

if TYPE_CHECKING:
    from segnb.data.datasets import SegmentationDataset

ABOUT = "segnb"  # section of the file's runtime information that holds the metadata
# CPUs with bfloat16 would compute in it, and give other logits than PyTorch; INT8 operators stay INT8.
PRECISION = {"INFERENCE_PRECISION_HINT": "f32"}


def write_openvino(
    model: nn.Module, file: Path, size: tuple[int, int], raw_pixels: bool, calibration: SegmentationDataset | None
) -> None:
    """Write a model as an OpenVINO graph with its metadata.

    Args:
        model: float32 on the CPU, in eval mode.
        file: where the ``.xml`` goes; the ``.bin`` gets the same stem.
        size: height and width near which it is traced.
        raw_pixels: whether the file takes uint8 pixels.
        calibration: pictures like those that will be seen, for INT8; None keeps float32.

    Raises:
        SegnbError: the model cannot be traced, converted or quantised.
    """
    openvino = import_silently("openvino")
    graph = onnx_graph(model, size, raw_pixels, opset=None)
    try:
        network = openvino.Core().read_model(graph.SerializeToString())
    except Exception as error:
        raise SegnbError(
            f"OpenVINO cannot read this model's graph: {reason_of(error)} Try another encoder or decoder, or a newer openvino."
        ) from error
    if calibration is not None:
        network = quantize(network, model, calibration, raw_pixels)
    for name, value in describe(model, raw_pixels).items():
        network.set_rt_info(value, [ABOUT, name])
    openvino.save_model(network, file, compress_to_fp16=False)


def open_openvino(file: Path) -> Run:
    """Load a graph and compile it for this CPU.

    Args:
        file: the ``.xml`` that `write_openvino` wrote.

    Returns:
        Runs it.
    """
    openvino = import_silently("openvino")
    core = openvino.Core()
    # From memory: Windows cannot rename a file that is mapped.
    network = core.compile_model(
        core.read_model(file.read_bytes(), file.with_suffix(".bin").read_bytes()), "CPU", PRECISION
    )

    def run(image: np.ndarray) -> np.ndarray:
        return network({INPUT: image})[OUTPUT]

    return run
