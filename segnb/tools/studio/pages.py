"""Reports as pages for the studio, and a picture of where a session stands."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import ipywidgets
from matplotlib.patches import FancyBboxPatch
from PIL import Image

from segnb import draw
from segnb.widgets.base import data_url
from segnb.widgets.studio.tabs import NAMES, TABS

LONGEST = 110  # characters of a line in the picture


def page(report: Any, alternative: str) -> ipywidgets.HTML:
    """Show a report: its tables and its figure.

    Args:
        report: with ``_repr_html_``, which escapes what comes from files, and ``plot``.
        alternative: what the figure shows.

    Returns:
        A widget.
    """
    figure = data_url(draw.png_bytes(report.plot(), dpi=90), "png")
    return ipywidgets.HTML(
        f'<div class="segnb segnb-report">{report._repr_html_()}<img alt="{alternative}" src="{figure}"></div>'
    )


def standing(tab: str, facts: Mapping[str, str], below: bytes) -> bytes:
    """Draw the tabs, what has been done in each, and a picture of the open tool.

    Args:
        tab: that is open.
        facts: what has been done, by name of the tab.
        below: a PNG file of the tool, or ``b""``.

    Returns:
        The bytes of a PNG file.
    """
    drawn = Image.open(io.BytesIO(draw.png_bytes(_steps(tab, facts), dpi=100))).convert("RGB")
    if not below:
        return _png(drawn)
    tool = Image.open(io.BytesIO(below)).convert("RGB")
    if tool.width > drawn.width:
        tool = tool.resize((drawn.width, round(tool.height * drawn.width / tool.width)), Image.Resampling.LANCZOS)
    together = Image.new("RGB", (drawn.width, drawn.height + tool.height), "white")
    together.paste(drawn, (0, 0))
    together.paste(tool, (0, drawn.height))
    return _png(together)


def _steps(tab: str, facts: Mapping[str, str]) -> draw.Figure:
    """A row of boxes, blue where the session is, and a line for each step that is done."""
    height = 0.55 + 0.23 * len(facts)
    figure = draw.Figure(figsize=(9, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 9), ylim=(0, height))
    axes.axis("off")
    for place, one in enumerate(TABS):
        ground = draw.BLUE if one.name == tab else "#eef1f4"
        ink = "white" if one.name == tab else "black" if one.name in facts else "0.45"
        box = FancyBboxPatch(
            (0.14 + place * 1.1, height - 0.4), 0.98, 0.28, boxstyle="round,pad=0.02", fc=ground, ec="0.8"
        )
        axes.add_patch(box)
        sign = " ✓" if one.name in facts else ""
        axes.text(
            0.63 + place * 1.1,
            height - 0.26,
            f"{place + 1} {one.title}{sign}",
            color=ink,
            ha="center",
            va="center",
            size=9,
        )
    lines = [(name, facts[name]) for name in NAMES if name in facts]
    for row, (name, fact) in enumerate(lines):
        text = f"{TABS[NAMES.index(name)].title}: {fact}"
        text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
        axes.text(0.14, height - 0.6 - 0.23 * row, text, va="center", size=8.5, parse_math=False)  # a class may be "$5"
    return figure


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()
