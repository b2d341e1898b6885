"""One ONNX file for any batch and any size, delivered only after ONNX Runtime agreed with PyTorch at three sizes.

model ─▶ float32 copy on the CPU ─▶ traced at an odd size ─▶ file under a temporary name
  │                                              │
  └── logits at three sizes ─── compared ─── ONNX Runtime ─▶ renamed to its final name
"""

from __future__ import annotations

import copy
import html
import importlib.util
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from segnb.draw import Figure
from segnb.errors import SegnbError
from segnb.files import write_atomically

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

INPUT, OUTPUT = "image", "logits"
AXES = {0: "batch", 2: "height", 3: "width"}
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
CHATTY = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")
TOLERANCE = 1e-3  # of the logits' range: rounding is a hundredth of it, a wrong graph a hundred times more
POINTS = 2000  # logits kept from each comparison for the figure
RUNS = 5


@dataclass(frozen=True, eq=False)
class Comparison:
    """PyTorch and ONNX Runtime on the same random pixels.

    Attributes:
        shape: of the input, (B, C, H, W).
        absolute: largest difference of two logits.
        relative: the same, divided by the range (largest minus smallest) of PyTorch's logits.
        torch_logits: float32 (n,), a sample of PyTorch's logits, n up to 2000.
        onnx_logits: float32 (n,), ONNX Runtime's at the same places.
    """

    shape: tuple[int, int, int, int]
    absolute: float
    relative: float
    torch_logits: np.ndarray
    onnx_logits: np.ndarray

    @property
    def ok(self) -> bool:
        """Whether the difference is rounding only."""
        return self.relative <= TOLERANCE


@dataclass(frozen=True, eq=False)
class ExportReport:
    """What `export` wrote and how well it agrees with PyTorch; shows a small table in a notebook.

    Attributes:
        path: the ONNX file.
        checks: one comparison for each of three sizes.
        size_mb: of the file, in millions of bytes.
        onnx_ms: median time of one picture of ``size`` in ONNX Runtime on the CPU, milliseconds.
        torch_ms: the same in PyTorch, float32 on the CPU.
        size: height and width at which was timed.
        raw_pixels: whether the file takes uint8 pixels 0..255 (True) or normalised float32 (False).
        opset: version of the ONNX operators.
    """

    path: Path
    checks: list[Comparison]
    size_mb: float
    onnx_ms: float
    torch_ms: float
    size: tuple[int, int]
    raw_pixels: bool
    opset: int

    @property
    def ok(self) -> bool:
        """Whether all sizes agree; `export` raises instead of returning a report for which this is False."""
        return all(check.ok for check in self.checks)

    @property
    def difference(self) -> float:
        """Largest difference of two logits over all sizes, absolute."""
        return max(check.absolute for check in self.checks)

    def plot(self) -> Figure:
        """Draw ONNX Runtime's logits against PyTorch's; agreement is the diagonal.

        Returns:
            A matplotlib figure.
        """
        figure = Figure(figsize=(4.2, 4), layout="constrained")
        axes = figure.subplots()
        for check in self.checks:
            axes.scatter(check.torch_logits, check.onnx_logits, s=6, alpha=0.5, label=_shape(check.shape))
        low, high = axes.get_xlim()
        axes.plot([low, high], [low, high], color="0.6", linewidth=0.8, zorder=0)
        axes.set(
            xlabel="PyTorch logits", ylabel="ONNX Runtime logits", title=f"largest difference {self.difference:.1e}"
        )
        axes.legend(title="batch × channels × size", fontsize=8)
        return figure

    def __repr__(self) -> str:
        return (
            f"ExportReport({str(self.path)!r}, ok={self.ok}, difference={self.difference:.1e}, {self.size_mb:.1f} MB)"
        )

    def _repr_html_(self) -> str:
        """Show size, speed and the three comparisons; the path is the user's text, so it is escaped."""
        takes = "raw pixels, uint8 0–255" if self.raw_pixels else "normalised pixels, float32"
        rows = "".join(
            f"<tr><td>{_shape(check.shape)}</td><td>{check.absolute:.1e}</td><td>{check.relative:.1e}</td>"
            f"<td>{'✓' if check.ok else '✗'}</td></tr>"
            for check in self.checks
        )
        height, width = self.size
        return (
            f"<p><b>{html.escape(str(self.path))}</b>: {self.size_mb:.1f} MB, opset {self.opset}, takes {takes}</p>"
            "<table><thead><tr><th>batch × channels × size</th><th>largest difference</th><th>of the logits' range</th>"
            f"<th></th></tr></thead><tbody>{rows}</tbody></table>"
            f"<p>One {height}×{width} picture on this CPU: ONNX Runtime {self.onnx_ms:.0f} ms, PyTorch {self.torch_ms:.0f} ms</p>"
        )


def _shape(shape: tuple[int, ...]) -> str:
    return "{}×{}×{}×{}".format(*shape)


def export(
    model: nn.Module,
    path: str | Path = "model.onnx",
    *,
    raw_pixels: bool = False,
    size: tuple[int, int] = (256, 256),
    opset: int | None = None,
) -> ExportReport:
    """Write a model as one ONNX file for any batch and size, and check it against PyTorch.

    The file's metadata hold class names, palette, mean and std as JSON, so a program can use it without segnb. The model is left
    as it was found: a copy is exported.

    Args:
        model: a segmentation model, on any device.
        path: where, ending in ``.onnx``; a file already there is replaced when everything went well. At most 2 GB.
        raw_pixels: the file takes uint8 0..255 and normalises inside, instead of float32 that is already normalised.
        size: height and width at which to compare and to measure the time; the file takes any size.
        opset: version of the ONNX operators; None takes torch's default.

    Returns:
        An `ExportReport`: difference at three sizes, file size, latency.

    Raises:
        SegnbError: a package is missing, the model cannot be exported, or ONNX Runtime's logits differ from PyTorch's (nothing is
            left at ``path`` then, or the file that was there before).

    Example:
        >>> segnb.export(model, "model.onnx", raw_pixels=True)
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise SegnbError(f'export needs {" and ".join(missing)}: pip install "segnb[export]"')
    path = Path(path)
    if path.suffix.lower() != ".onnx":
        raise SegnbError(
            f"export writes ONNX; {path.name!r} does not end in .onnx: use {path.with_suffix('.onnx').name!r}."
        )
    if len(size) != 2 or min(size) < 32:
        raise SegnbError(f"size={size!r}: give (height, width) of at least 32 each.")
    exported = copy.deepcopy(model).to("cpu", torch.float32).eval().requires_grad_(False)
    for module in exported.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # for the exporter each such step is two, with sizes to compare: a third of its time
    reports: list[ExportReport] = []

    def write(temporary: Path) -> None:
        proto = _trace(exported, size, raw_pixels, opset)
        _describe(proto, exported, raw_pixels)
        temporary.write_bytes(proto.SerializeToString())
        reports.append(_examine(exported, temporary, path, size, raw_pixels))

    write_atomically(path, write)
    return reports[0]


def _pixels(shape: tuple[int, ...], raw_pixels: bool) -> Tensor:
    """Random input of the kind the file takes, the same at every call."""
    random = torch.Generator().manual_seed(0)
    if raw_pixels:
        return torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)
    return torch.randn(shape, generator=random)


def _trace(model: nn.Module, size: tuple[int, int], raw_pixels: bool, opset: int | None) -> ModelProto:
    """Run torch's exporter.

    The picture it traces with has odd sides: at even ones a step such as "resize unless the size is right already" takes its
    shortcut, and the exporter would keep the shortcut for all sizes.
    """
    height, width = size
    example = _pixels((2, model.in_channels, height | 1, width | 1), raw_pixels)
    try:
        with _quiet():
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                dynamic_shapes=(dict.fromkeys(AXES, torch.export.Dim.DYNAMIC),),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=opset,
                external_data=False,
                verbose=False,
            )
    except Exception as error:
        reason = next(
            (line for line in str(error.__cause__ or error).splitlines() if line.strip()), type(error).__name__
        )
        raise SegnbError(
            f"this model cannot be written as ONNX for any size: {reason.strip()} "
            "Try another encoder or decoder, or a newer torch and onnxscript."
        ) from error
    return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's warnings and log lines, which speak of its own inside."""
    loggers = {logging.getLogger(name): logging.getLogger(name).level for name in CHATTY}
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)


def _describe(proto: ModelProto, model: nn.Module, raw_pixels: bool) -> None:
    """Name the axes, add the metadata, and take out the exporter's stack traces: they hold this machine's paths."""
    import onnx

    symbols = {proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_param: name for axis, name in AXES.items()}
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        value.ClearField("metadata_props")
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in symbols:
                dimension.dim_param = symbols[dimension.dim_param]
    for node in proto.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    onnx.helper.set_model_props(
        proto,
        {
            "classes": json.dumps(model.classes),
            "label_names": json.dumps(model.label_names),
            "palette": json.dumps(model.palette.tolist()),
            "mean": json.dumps([round(value, 6) for value in model.mean.flatten().tolist()]),
            "std": json.dumps([round(value, 6) for value in model.std.flatten().tolist()]),
            "input": "uint8 0..255" if raw_pixels else "float32 (pixel / 255 - mean) / std",
            "config": json.dumps(model.config, default=str),
        },
    )


def _examine(model: nn.Module, file: Path, path: Path, size: tuple[int, int], raw_pixels: bool) -> ExportReport:
    """Check the file's form, compare its logits at three sizes, and measure its speed."""
    import onnx
    import onnxruntime

    content = file.read_bytes()  # from memory: Windows cannot rename a file that a session holds open
    try:
        onnx.checker.check_model(content, full_check=True)
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise SegnbError(
            f"torch wrote a file that ONNX refuses: {error}. Try another opset or a newer onnxruntime."
        ) from error
    height, width = size
    shapes = ((1, height, width), (3, height // 2 | 1, width // 2 + 2 | 1), (2, height + width // 8, width // 2))
    checks = [_compare(model, session, _pixels((b, model.in_channels, h, w), raw_pixels)) for b, h, w in shapes]
    picture = _pixels((1, model.in_channels, height, width), raw_pixels)
    with torch.no_grad():
        torch_ms = _milliseconds(lambda: model(picture))
    onnx_ms = _milliseconds(lambda: session.run(None, {INPUT: picture.numpy()}))
    opset = next(entry.version for entry in onnx.load_model_from_string(content).opset_import if not entry.domain)
    return ExportReport(path, checks, len(content) / 1e6, onnx_ms, torch_ms, (height, width), raw_pixels, opset)


def _compare(model: nn.Module, session: InferenceSession, picture: Tensor) -> Comparison:
    shape = tuple(picture.shape)
    with torch.no_grad():
        expected = model(picture).numpy()
    try:
        found: Any = session.run(None, {INPUT: picture.numpy()})[0]
    except Exception as error:
        raise SegnbError(f"the ONNX file fails on an input of {_shape(shape)}, nothing was written: {error}") from error
    if found.shape != expected.shape:
        raise SegnbError(
            f"the ONNX file returns {_shape(found.shape)} for an input of {_shape(shape)}, PyTorch {_shape(expected.shape)}: the "
            "exporter fixed a size that should vary. Nothing was written; try another decoder or a newer torch."
        )
    absolute = float(np.abs(found - expected).max())
    relative = absolute / max(float(np.ptp(expected)), 1e-2)  # nearly constant logits: rounding is no error
    if not relative <= TOLERANCE:  # NaN too
        raise SegnbError(
            f"ONNX Runtime and PyTorch differ by {absolute:.2g} on an input of {_shape(shape)}, {relative:.1%} of the logits' "
            f"range ({TOLERANCE:.1%} is allowed). Nothing was written; try another decoder or a newer torch."
        )
    step = max(1, expected.size // POINTS)
    return Comparison(
        shape, absolute, relative, expected.ravel()[::step][:POINTS].copy(), found.ravel()[::step][:POINTS].copy()
    )


def _milliseconds(run: Callable[[], object]) -> float:
    """Median time of a few runs after one to warm up."""
    run()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * median(times)
