"""`export`: writes a file in a temporary folder, compares it with PyTorch, and moves it to its place."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segnb.errors import SegnbError
from segnb.exporting.comparing import Run, compare, compare_labels, milliseconds, three_shapes
from segnb.exporting.onnx_file import opset_of
from segnb.exporting.report import INT8, TOLERANCE, Comparison, ExportReport, shape_text
from segnb.exporting.target import Target
from segnb.exporting.tracing import random_pixels
from segnb.files import write_together

if TYPE_CHECKING:
    from segnb.data.datasets import SegmentationDataset


def export(
    model: nn.Module,
    path: str | Path = "model.onnx",
    *,
    raw_pixels: bool = False,
    size: tuple[int, int] = (256, 256),
    opset: int | None = None,
    calibration: SegmentationDataset | None = None,
    validation: SegmentationDataset | None = None,
    max_drop: float = 0.005,
) -> ExportReport:
    """Write a model as a file for any batch and size, and check it against PyTorch.

    The suffix chooses the format: ``.onnx`` (ONNX), ``.pt2`` (an exported program of PyTorch, for sides larger than its coarsest
    stride, usually 32), or ``.xml`` with a ``.bin`` beside it (OpenVINO; with ``calibration`` in INT8, for fast CPUs). The file's
    metadata hold class names, palette, mean and std as JSON, so a program can use it without segnb; `ExportReport.save_runner`
    writes one. The model is left as it was found: a copy is exported.

    Args:
        model: a segmentation model, on any device.
        path: where, ending in ``.onnx``, ``.pt2`` or ``.xml``; files already there are replaced when everything went well. An
            ONNX file holds at most 2 GB.
        raw_pixels: the file takes uint8 0..255 and normalises inside, instead of float32 that is already normalised.
        size: height and width at which to compare and to measure the time; the file takes any size.
        opset: version of the ONNX operators, for ``.onnx``; None takes torch's default.
        calibration: pictures on which the ranges of the maps are measured, for ``.xml`` in INT8: up to 300 of them, without
            random augmentation and like those that the file will see; not those of ``validation``.
        validation: labelled pictures on which the file's mean IoU is compared with PyTorch's; INT8 needs them.
        max_drop: how much mean IoU the file may lose on ``validation``; 0.005 is half a point.

    Returns:
        An `ExportReport`: difference at three sizes, file size, latency, mean IoU.

    Raises:
        SegnbError: another suffix, an option that does not fit it, a missing package, a model that cannot be exported, or a file
            that does not agree with PyTorch (nothing is left at ``path`` then, or the file that was there before).

    Example:
        >>> segnb.export(model, "model.onnx", raw_pixels=True)
        >>> segnb.export(model, "model.xml", calibration=train, validation=valid)
    """
    target = Target(Path(path), raw_pixels, size, opset, calibration, validation, max_drop)
    target.check(model)
    exported = _frozen_copy(model)
    reports: list[ExportReport] = []

    def write(file: Path) -> None:
        target.write(exported, file)
        reports.append(_examine(exported, file, target))

    write_together(target.path, write)
    return reports[0]


def _frozen_copy(model: nn.Module) -> nn.Module:
    exported = copy.deepcopy(model).to("cpu", torch.float32).eval().requires_grad_(False)
    for module in exported.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # for the exporter each such step is two, with sizes to compare: a third of its time
    return exported


def _examine(model: nn.Module, file: Path, target: Target) -> ExportReport:
    """Load the file, compare its logits at three sizes and its labels, and measure its speed."""
    run = target.open(file)
    checks = []
    for shape in three_shapes(model.in_channels, target.size):
        checks.append(compare(model, run, _picture(model, shape, target), target.format))
        _refuse_difference(checks[-1], target.format)
    judged = {} if target.validation is None else _judge_labels(model, run, target)
    picture = random_pixels((1, model.in_channels, *target.size), target.raw_pixels)
    with torch.no_grad():
        torch_ms = milliseconds(lambda: model(picture))
    return ExportReport(
        path=target.path,
        format=target.format,
        checks=checks,
        size_mb=sum(part.stat().st_size for part in file.parent.iterdir()) / 1e6,
        ms=milliseconds(lambda: run(picture.numpy())),
        torch_ms=torch_ms,
        size=tuple(target.size),
        raw_pixels=target.raw_pixels,
        opset=opset_of(file) if target.suffix == ".onnx" else None,
        max_drop=target.max_drop,
        **judged,
    )


def _picture(model: nn.Module, shape: tuple[int, int, int, int], target: Target) -> Tensor:
    """Make the input for a comparison: noise, which finds every fault; for INT8, whose ranges fit pictures, a picture."""
    if target.format != INT8:
        return random_pixels(shape, target.raw_pixels)
    image = target.validation[0][0][None].float()
    pixels = F.interpolate(image, shape[-2:], mode="bilinear").round().expand(shape).contiguous()
    return pixels.to(torch.uint8) if target.raw_pixels else (pixels / 255 - model.mean) / model.std


def _refuse_difference(check: Comparison, name: str) -> None:
    if name != INT8 and not check.ok:  # NaN too
        raise SegnbError(
            f"the {name} file and PyTorch differ by {check.absolute:.2g} on an input of {shape_text(check.shape)}, "
            f"{check.relative:.1%} of the logits' range ({TOLERANCE:.1%} is allowed). Nothing was written; try another decoder "
            "or a newer torch."
        )


def _judge_labels(model: nn.Module, run: Run, target: Target) -> dict[str, float]:
    """Compare the labels on a data set, and refuse a file that became worse."""
    found = compare_labels(model, run, target.validation, target.raw_pixels)
    if found.torch_miou - found.miou > target.max_drop:
        raise SegnbError(
            f"the file's mIoU on validation is {found.miou:.4f} and PyTorch's {found.torch_miou:.4f}: it loses more than "
            f"max_drop={target.max_drop:g}. Nothing was written; calibrate with more pictures like those of validation, export "
            "without calibration, or allow more."
        )
    return found._asdict()
