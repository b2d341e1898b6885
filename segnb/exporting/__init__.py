"""From a model to a file that runs without segnb, delivered only after it agreed with PyTorch.

                                 ┌─▶ .onnx  ONNX            ONNX Runtime, nearly everywhere
model ─▶ float32 copy ─▶ traced ─┼─▶ .xml   OpenVINO        CPUs; with calibration pictures in INT8, much faster there
                                 └─▶ .pt2   torch.export    PyTorch without segnb's code
                                        │
                          loaded again, compared ─▶ renamed to its final name ─▶ ExportReport ─▶ a program around it
"""

from segnb.exporting.exporter import export
from segnb.exporting.report import Comparison, ExportReport

__all__ = ["Comparison", "ExportReport", "export"]
