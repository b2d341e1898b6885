"""What `export` found out about the file it wrote, as numbers, a table and a figure."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segnb.draw import Figure

TOLERANCE = 1e-3  # of the logits' range: rounding is a hundredth of it, a wrong graph a hundred times more
INT8 = "OpenVINO INT8"
RUNTIMES = {"ONNX": "ONNX Runtime"}  # where the program that runs a format has another name


@dataclass(frozen=True, eq=False)
class Comparison:
    """PyTorch and the exported file on the same pixels.

    Attributes:
        shape: of the input, (B, C, H, W).
        absolute: largest difference of two logits.
        relative: the same, divided by the range (largest minus smallest) of PyTorch's logits.
        torch_logits: float32 (n,), a sample of PyTorch's logits, n up to 2000.
        logits: float32 (n,), the file's at the same places.
    """

    shape: tuple[int, int, int, int]
    absolute: float
    relative: float
    torch_logits: np.ndarray
    logits: np.ndarray

    @property
    def ok(self) -> bool:
        """Whether the difference is rounding only."""
        return self.relative <= TOLERANCE


@dataclass(frozen=True, eq=False)
class ExportReport:
    """What `export` wrote and how well it agrees with PyTorch; shows a small table in a notebook.

    Attributes:
        path: the file; beside an OpenVINO ``.xml`` lies its ``.bin``.
        format: "ONNX", "torch.export", "OpenVINO" or "OpenVINO INT8".
        checks: one comparison for each of three sizes: on random pixels, or, of INT8, on a picture of ``validation``.
        size_mb: of the file, with its ``.bin``, in millions of bytes.
        ms: median time of one picture of ``size`` in the file's runtime on the CPU, milliseconds.
        torch_ms: the same in PyTorch, float32 on the CPU.
        size: height and width at which was timed.
        raw_pixels: whether the file takes uint8 pixels 0..255 (True) or normalised float32 (False).
        opset: version of the ONNX operators; None for other formats.
        miou: mean IoU of the file on ``validation``, 0 to 1; None without.
        torch_miou: of PyTorch.
        agreement: share of the pixels of ``validation`` to which both give the same label; None without.
        max_drop: how much mean IoU the file may lose.
    """

    path: Path
    format: str
    checks: list[Comparison]
    size_mb: float
    ms: float
    torch_ms: float
    size: tuple[int, int]
    raw_pixels: bool
    opset: int | None = None
    miou: float | None = None
    torch_miou: float | None = None
    agreement: float | None = None
    max_drop: float = 0.005

    @property
    def ok(self) -> bool:
        """Whether the file agrees with PyTorch; `export` raises instead of returning a report for which this is False.

        The logits must be equal but for rounding, at all sizes; those of INT8 cannot be. With ``validation`` the mean IoU must
        not have dropped by more than ``max_drop``.
        """
        equal = self.format == INT8 or all(check.ok for check in self.checks)
        return equal and (self.miou is None or self.torch_miou - self.miou <= self.max_drop)

    @property
    def difference(self) -> float:
        """Largest difference of two logits over all sizes, absolute; of INT8 that of rounding to 8 bits."""
        return max(check.absolute for check in self.checks)

    def save_runner(self) -> Path:
        """Write a short program that runs the file with NumPy and its runtime only: no torch, no segnb.

        ``python model_runner.py photo.jpg mask.png`` labels a picture; ``from model_runner import segment`` does it in a program.

        Returns:
            The program, ``<stem>_runner.py`` beside the file; one already there is replaced.

        Raises:
            SegnbError: the format is torch.export, which needs torch to run.
        """
        from segnb.exporting.runner import write_runner

        return write_runner(self.path)

    def plot(self) -> Figure:
        """Draw the file's logits against PyTorch's; agreement is the diagonal.

        Returns:
            A matplotlib figure.
        """
        figure = Figure(figsize=(4.2, 4), layout="constrained")
        axes = figure.subplots()
        for check in self.checks:
            axes.scatter(check.torch_logits, check.logits, s=6, alpha=0.5, label=shape_text(check.shape))
        low, high = axes.get_xlim()
        axes.plot([low, high], [low, high], color="0.6", linewidth=0.8, zorder=0)
        axes.set(
            xlabel="PyTorch logits",
            ylabel=f"{self._runtime} logits",
            title=f"largest difference {self.difference:.1e}",
        )
        axes.legend(title="batch × channels × size", fontsize=8)
        return figure

    @property
    def _runtime(self) -> str:
        return RUNTIMES.get(self.format, self.format)

    def __repr__(self) -> str:
        return (
            f"ExportReport({str(self.path)!r}, ok={self.ok}, difference={self.difference:.1e}, {self.size_mb:.1f} MB)"
        )

    def _repr_html_(self) -> str:
        """Show size, speed and the comparisons; the path is the user's text, so it is escaped."""
        about = [self.format, f"{self.size_mb:.1f} MB"] + [f"opset {self.opset}"] * (self.opset is not None)
        about.append("takes raw pixels, uint8 0–255" if self.raw_pixels else "takes normalised pixels, float32")
        exact = self.format != INT8
        rows = "".join(
            f"<tr><td>{shape_text(check.shape)}</td><td>{check.absolute:.1e}</td><td>{check.relative:.1e}</td>"
            + f"<td>{'✓' if check.ok else '✗'}</td>" * exact
            + "</tr>"
            for check in self.checks
        )
        height, width = self.size
        return (
            f"<p><b>{html.escape(str(self.path))}</b>: {', '.join(about)}</p>"
            "<table><thead><tr><th>batch × channels × size</th><th>largest difference</th><th>of the logits' range</th>"
            f"{'<th></th>' * exact}</tr></thead><tbody>{rows}</tbody></table>{self._labels_html()}"
            f"<p>One {height}×{width} picture on this CPU: {self._runtime} {self.ms:.0f} ms, PyTorch {self.torch_ms:.0f} ms</p>"
        )

    def _labels_html(self) -> str:
        """Say what became of the labels, if they were compared."""
        if self.miou is None:
            return ""
        return (
            f"<p>mIoU {self.miou:.3f}, PyTorch {self.torch_miou:.3f}; the same label for {self.agreement:.1%} of the pixels "
            f"{'✓' if self.ok else '✗'}</p>"
        )


def shape_text(shape: tuple[int, ...]) -> str:
    """Write a shape as people do, ``1×3×256×256``."""
    return "×".join(map(str, shape))
