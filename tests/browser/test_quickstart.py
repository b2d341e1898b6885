"""The first notebook in a real JupyterLab, as a newcomer runs it: watch, pause, resume, stop, look.

SEGNB_SCREENSHOT=notebooks/monitor.png makes the README's picture on the way.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from test_widgets_browser import curve_points, pixels

pytestmark = pytest.mark.browser
QUICKSTART = Path(__file__).parents[2] / "notebooks" / "00_quickstart.ipynb"


@pytest.mark.parametrize("kernel", ["installed", "newest"])
def test_quickstart(lab, open_notebook, kernel):
    lab.put_setting("@jupyterlab/notebook-extension:tracker", {"windowingMode": "none"})  # keep every cell in the page
    notebook = open_notebook(QUICKSTART, kernel=kernel)
    page = notebook.page
    page.evaluate("window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    notebook.run_all()

    monitor = page.locator(".segnb-monitor")
    monitor.locator(".segnb-state", has_text="Training").wait_for(timeout=120_000)
    few = notebook.wait_for(lambda: curve_points(page), "a first point of the curve", 60)
    notebook.wait_for(lambda: curve_points(page) >= few + 8, "the curve grows while the cell is busy", 60)
    monitor.locator(".segnb-miou circle").nth(1).wait_for(timeout=120_000)  # two epochs are validated
    assert notebook.running_cells() > 1  # the training cell, and those that wait for it
    assert monitor.locator(".segnb-previews canvas").count() >= 3

    if screenshot := os.environ.get("SEGNB_SCREENSHOT"):
        monitor.locator(".segnb-miou circle").nth(6).wait_for(timeout=300_000)
        monitor.screenshot(path=screenshot)

    monitor.locator(".segnb-pause:enabled").click()
    monitor.locator(".segnb-state", has_text="Paused").wait_for()
    resting = curve_points(page)
    page.wait_for_timeout(1500)
    assert curve_points(page) == resting

    monitor.locator(".segnb-pause").click()
    monitor.locator(".segnb-state", has_text="Training").wait_for()
    notebook.wait_for(lambda: curve_points(page) > resting, "the curve grows again", 60)

    monitor.locator(".segnb-stop").click()
    monitor.locator(".segnb-state", has_text="Stopped").wait_for()
    notebook.wait_idle(60)
    # Stopped after two epochs, the model cannot have what the next cell asserts: that cell says so, with the run's own words.
    assert "Run(stopped after" in notebook.outputs()

    viewer = page.locator(".segnb-viewer").first
    viewer.scroll_into_view_if_needed()
    before = pixels(page)
    slider = viewer.locator(".segnb-opacity")
    slider.focus()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    assert np.abs(pixels(page) - before).mean() > 3
    assert notebook.console_errors() == []
