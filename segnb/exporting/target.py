"""What `export` was asked for: checked before anything is done, and written in the format that the suffix names."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from segnb.errors import SegnbError
from segnb.evaluation import check_fits
from segnb.exporting.comparing import Run
from segnb.exporting.onnx_file import open_onnx, write_onnx
from segnb.exporting.openvino_file import open_openvino, write_openvino
from segnb.exporting.program import open_program, write_program
from segnb.exporting.report import INT8

if TYPE_CHECKING:
    from segnb.data.datasets import SegmentationDataset

FORMATS = {".onnx": "ONNX", ".pt2": "torch.export", ".xml": "OpenVINO"}
OPENERS = {".onnx": open_onnx, ".pt2": open_program, ".xml": open_openvino}
PACKAGES = {
    ".onnx": ("onnx", "onnxscript", "onnxruntime"),
    ".pt2": (),
    ".xml": ("onnx", "onnxscript", "openvino"),  # its graph is made from ONNX's
}


@dataclass(frozen=True)
class Target:
    """The arguments of `export`, by the same names."""

    path: Path
    raw_pixels: bool
    size: tuple[int, int]
    opset: int | None
    calibration: SegmentationDataset | None
    validation: SegmentationDataset | None
    max_drop: float

    @property
    def suffix(self) -> str:
        """What chooses the format."""
        return self.path.suffix.lower()

    @property
    def format(self) -> str:
        """The format's name in the report."""
        return FORMATS[self.suffix] if self.calibration is None else INT8

    def check(self, model: nn.Module) -> None:
        """Refuse arguments that do not fit each other, the model, or what is installed.

        Args:
            model: what will be exported.

        Raises:
            SegnbError: what does not fit.
        """
        self._check_format()
        needed = (*PACKAGES[self.suffix], *["nncf"] * (self.calibration is not None))
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        if missing:
            raise SegnbError(f'export needs {" and ".join(missing)}: pip install "segnb[export]"')
        if len(self.size) != 2 or min(self.size) < 32:
            raise SegnbError(f"size={self.size!r}: give (height, width) of at least 32 each.")
        if not 0 <= self.max_drop <= 1:
            raise SegnbError(
                f"max_drop is {self.max_drop!r}; give how much mean IoU may be lost, from 0 to 1, such as 0.005."
            )
        for data in (self.calibration, self.validation):
            if data is not None:
                check_fits(model, data)

    def _check_format(self) -> None:
        name = self.path.name
        if self.suffix not in FORMATS:
            raise SegnbError(
                f"{name!r} does not say which format to write: end it in .onnx (ONNX), .pt2 (torch.export) or .xml (OpenVINO)."
            )
        if self.opset is not None and self.suffix != ".onnx":
            raise SegnbError(f"opset is the version of ONNX's operators; leave it out for {name!r}.")
        if self.calibration is not None and self.suffix != ".xml":
            raise SegnbError(
                f"calibration makes an INT8 file of OpenVINO; use {self.path.with_suffix('.xml').name!r} instead of {name!r}, or "
                "leave calibration out."
            )
        if self.calibration is not None and self.validation is None:
            raise SegnbError(
                "INT8 changes the logits, so the file is judged by its labels: give validation=, labelled pictures that are not "
                "in calibration."
            )

    def write(self, model: nn.Module, file: Path) -> None:
        """Write the model's file.

        Args:
            model: float32 on the CPU, in eval mode.
            file: where; its suffix is the target's.
        """
        if self.suffix == ".onnx":
            write_onnx(model, file, self.size, self.raw_pixels, self.opset)
        elif self.suffix == ".pt2":
            write_program(model, file, self.size, self.raw_pixels)
        else:
            write_openvino(model, file, self.size, self.raw_pixels, self.calibration)

    def open(self, file: Path) -> Run:
        """Load what was written into its runtime."""
        return OPENERS[self.suffix](file)
