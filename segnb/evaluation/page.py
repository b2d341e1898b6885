"""How a report shows itself in a notebook. Names come from files, so they are escaped."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segnb.evaluation.report import Report

HEADINGS = {
    "iou": "IoU",
    "dice": "Dice",
    "precision": "precision",
    "recall": "recall",
    "boundary_iou": "boundary IoU",
    "surface_dice": "surface Dice",
    "hausdorff95": "Hausdorff 95 (pixels)",
    "pixels": "true pixels",
}
NO_CONFUSION = (
    "The classes may overlap, so none is mistaken for another: each is judged by itself, at a probability of 0.5, and there is "
    "no confusion matrix."
)
FEWEST = 10  # pictures: an interval from fewer would be far too narrow to show unasked


def as_html(report: Report) -> str:
    """Write a report as HTML.

    Args:
        report: what to show.

    Returns:
        The summary, scores by class and the names of the worst pictures.
    """
    rows = report.table()
    columns = [name for name in HEADINGS if name in rows[0]]
    heading = "".join(f"<th>{HEADINGS[name]}</th>" for name in columns)
    body = "".join(
        f"<tr><td style='text-align:left'><span style='{_swatch(colour)}'>&nbsp;</span> {html.escape(row['label'])}</td>"
        + "".join(f"<td>{_cell(name, row[name])}</td>" for name in columns)
        + "</tr>"
        for row, colour in zip(rows, report.palette.tolist(), strict=True)
    )
    worst = ", ".join(f"{html.escape(image['name'])} ({image['miou']:.2f})" for image in report.worst(5))
    return (
        f"<p>{_summary(report)}</p><table style='text-align:right'>"
        f"<thead><tr><th style='text-align:left'>class</th>{heading}</tr></thead>"
        f"<tbody>{body}</tbody></table><p>Worst first: {worst}</p>" + f"<p>{NO_CONFUSION}</p>" * report.multilabel
    )


def _summary(report: Report) -> str:
    """Put the numbers of the whole data set into a sentence."""
    text = f"<b>mIoU {_score(report.miou)}</b>"
    if len(report.names) >= FEWEST:
        low, high = report.confidence_interval("miou")
        text += f" (95 % interval {low:.3f} to {high:.3f})"
    text += f", {'accuracy of yes and no' if report.multilabel else 'pixel accuracy'} {_score(report.accuracy)}"
    if report.calibration is not None:
        text += f", expected calibration error {_score(report.calibration.error())}"
    return f"{text}, {len(report.names)} images"


def _cell(name: str, value: float) -> str:
    if name == "pixels":
        return f"{value:,}"
    return f"{value:.1f}" if name == "hausdorff95" and not math.isnan(value) else _score(value)


def _score(value: float) -> str:
    return "absent" if math.isnan(value) else f"{value:.3f}"


def _swatch(colour: list[int]) -> str:
    return f"display:inline-block;width:1em;border:1px solid gray;background:rgb({','.join(map(str, colour))})"
