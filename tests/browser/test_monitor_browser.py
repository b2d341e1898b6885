"""The training monitor in a real browser: what is chosen, the film, notes, and a run that is shown again."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

SETUP = """
import tempfile
from pathlib import Path
from fake_training import FakeRun
from segnb.widgets import TrainingMonitor

folder = Path(tempfile.mkdtemp())

def train(name, shown=False, **options):
    monitor, run = TrainingMonitor(), FakeRun(**{"epochs": 4, "steps": 6, "pause": 0.001, **options})
    run.path = folder / name
    run.path.mkdir(parents=True, exist_ok=True)
    if not shown:
        monitor._show = lambda: None
    run.train(monitor)
    return run.write()
"""
STATE = (
    "print(monitor.shown_classes, monitor.compared, monitor.film_epoch, monitor.film_picture, monitor.film_view, "
    "monitor.playing, repr(monitor.notes), monitor.error)"
)
COUNT_MESSAGES = """() => {
    window.messages = [];
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (...all) {
        window.messages.push(typeof all[0] === "string" ? all[0] : new TextDecoder().decode(all[0]));
        return send.apply(this, all);
    };
}"""

COUNT_OBSERVERS = """() => {
    window.observers = 0;
    const Plain = window.ResizeObserver;
    window.ResizeObserver = class extends Plain {
        observe(node) {
            if (!this.counted && node.classList.contains("segnb-chart")) { this.counted = true; window.observers += 1; }
            super.observe(node);
        }
        disconnect() {
            if (this.counted) window.observers -= 1;
            super.disconnect();
        }
    };
}"""


def pixels(page, selector: str = ".segnb-film-prediction") -> np.ndarray:
    """The first visible canvas as (H, W, 3) integers."""
    page.wait_for_timeout(250)  # frames are decoded, then drawn
    url = page.locator(f"{selector}:visible").first.evaluate("canvas => canvas.toDataURL('image/png')")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")).astype(int)


def run_last_cell(notebook) -> str:
    """Run the last cell and return its output."""
    page = notebook.page
    page.locator(".jp-CodeCell").last.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    page.wait_for_timeout(400)
    notebook.wait_idle(20)
    return page.locator(".jp-CodeCell").last.locator(".jp-OutputArea-output").last.inner_text().strip()


@pytest.fixture
def show_again(open_notebook):
    """Open a notebook that shows a finished run from its folder, with another one beside it; it ends with a cell."""

    def show(last_cell: str):
        cells = [
            SETUP,
            "train('first', epochs=3); run = train('second')",
            "monitor = TrainingMonitor.from_folder(run.path)\nmonitor",
            last_cell,
        ]
        notebook = open_notebook(cells)
        notebook.run_all()
        notebook.wait_idle(60)
        notebook.page.locator(".segnb-state", has_text="Finished").wait_for()
        return notebook

    return show


def test_a_run_is_shown_again_and_everything_can_be_chosen(show_again):
    notebook = show_again(STATE)
    page = notebook.page
    page.evaluate(COUNT_MESSAGES)
    expect(page.locator(".segnb-miou circle")).to_have_count(4)
    expect(page.locator(".segnb-iou .segnb-class-line")).to_have_count(8)
    expect(page.locator(".segnb-buttons")).to_be_hidden()
    assert page.locator(".segnb-now").all_inner_texts()[0] != ""
    assert page.locator(".segnb-loss .segnb-raw").get_attribute("d").startswith("M")

    # Classes, by mouse and by keyboard
    page.locator(".segnb-class", has_text="road").locator("input").click()
    expect(page.locator(".segnb-iou .segnb-class-line")).to_have_count(7)
    page.locator(".segnb-class", has_text="car").locator("input").focus()
    page.keyboard.press("Space")
    notebook.wait_for(lambda: page.locator(".segnb-iou .segnb-class-line").count() == 6, "two classes are hidden")

    # Earlier runs
    expect(page.locator(".segnb-other")).to_have_count(0)
    page.locator(".segnb-run", has_text="first").locator("input").focus()
    page.keyboard.press("Space")
    notebook.wait_for(lambda: page.locator(".segnb-other").count() == 2, "its loss and its mIoU are drawn")

    # The film
    expect(page.locator(".segnb-film-epoch")).to_have_text("epoch 4 of 4", use_inner_text=True)
    newest = pixels(page)
    page.locator(".segnb-scrub").focus()
    page.keyboard.press("Home")
    notebook.wait_for(lambda: page.locator(".segnb-film-epoch").inner_text() == "epoch 1 of 4", "the first epoch")
    oldest = pixels(page)
    assert np.abs(newest - oldest).max() > 50
    page.keyboard.press("End")
    assert np.array_equal(pixels(page), newest)
    page.locator(".segnb-play").click()
    notebook.wait_for(lambda: page.locator(".segnb-film-epoch").inner_text() == "epoch 2 of 4", "the film runs")
    notebook.wait_for(lambda: page.locator(".segnb-film-epoch").inner_text() == "epoch 4 of 4", "the film ends")
    notebook.wait_for(lambda: page.locator(".segnb-play").inner_text() == "▶", "the film stops")
    page.locator(".segnb-scrub").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".segnb-triple:visible")).to_have_count(4)
    page.locator(".segnb-film-which").get_by_role("radio", name="2").check(force=True)
    expect(page.locator(".segnb-triple:visible")).to_have_count(1)
    page.get_by_role("radio", name="Errors").check(force=True)
    caption = page.locator(".segnb-triple:visible figcaption").last
    notebook.wait_for(lambda: caption.inner_text().startswith("wrong "), "the share that is wrong")
    errors = pixels(page)
    share = float(caption.inner_text().removeprefix("wrong ").removesuffix(" %")) / 100
    assert 0 < share < 0.5
    coloured = (np.ptp(errors, axis=2) > 25).mean()  # three quarters of a wrong pixel's stripes are vermillion
    assert 0.5 * share < coloured <= share

    # Notes
    page.locator(".segnb-notes").fill("worth keeping")
    page.wait_for_timeout(300)
    asked = [message for message in page.evaluate("window.messages") if '"type":"film"' in message]
    assert asked == []  # looking asks for nothing: only what was chosen is told
    assert run_last_cell(notebook) == ("[0, 1, 3, 4, 6, 7] ['first'] 3 2 errors False 'worth keeping'")
    assert notebook.console_errors() == []


def test_finish_now_while_the_cell_is_busy(open_notebook):
    cells = [
        SETUP,
        "run = train('long', shown=True, epochs=500, steps=40, pause=0.02)\nprint('ended:', run.state, run.message)",
    ]
    notebook = open_notebook(cells)
    page = notebook.page
    notebook.run_all()
    page.locator(".segnb-state", has_text="Training").wait_for()
    page.locator(".segnb-miou circle").nth(1).wait_for()
    page.locator(".segnb-film-epoch", has_text="epoch 2").wait_for()
    page.locator(".segnb-scrub").focus()
    page.keyboard.press("Home")  # looking back while it trains
    notebook.wait_for(lambda: page.locator(".segnb-film-epoch").inner_text() == "epoch 1 of 500", "the first epoch")
    page.locator(".segnb-miou circle").nth(2).wait_for()
    expect(page.locator(".segnb-film-epoch")).to_have_text("epoch 1 of 500", use_inner_text=True)  # it stays there
    page.locator(".segnb-finish:enabled").focus()
    page.keyboard.press("Space")
    page.locator(".segnb-state", has_text="Finished").wait_for()
    notebook.wait_idle(20)
    assert "ended: finished finished early, in epoch" in notebook.outputs()
    assert page.locator(".segnb-note").inner_text().startswith("Finished early, in epoch")
    assert notebook.console_errors() == []


def test_what_python_sets_is_seen_and_nothing_is_left_when_the_cell_is_run_again(show_again):
    notebook = show_again(
        "monitor.film_epoch = 2\nmonitor.film_picture = 1\nmonitor.film_view = 'errors'\nmonitor.shown_classes = [0]\n"
        "monitor.compare(folder / 'first').note('from Python');"
    )
    page = notebook.page
    page.locator(".segnb-film-epoch", has_text="epoch 2 of 4").wait_for()
    notebook.wait_for(lambda: page.locator(".segnb-triple:visible").count() == 1, "one picture")
    assert page.get_by_role("radio", name="Errors").is_checked()
    expect(page.locator(".segnb-class-line")).to_have_count(1)
    expect(page.locator(".segnb-run", has_text="first").locator("input")).to_be_checked()
    expect(page.locator(".segnb-notes")).to_have_value("from Python")

    page.locator(".segnb-copy").focus()
    page.keyboard.press("Enter")
    code = page.locator(".segnb-code")
    code.wait_for()
    assert "run = segnb.fit(model, train, valid, epochs=4)" in code.input_value()
    assert code.input_value().endswith("/first')")

    page.evaluate(COUNT_OBSERVERS)
    for _ in range(3):
        page.locator(".jp-CodeCell").nth(2).locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        page.wait_for_timeout(300)
        notebook.wait_idle(20)
    page.locator(".segnb-state", has_text="Finished").wait_for()
    expect(page.locator(".segnb-monitor")).to_have_count(1)
    assert page.evaluate("window.observers") == 1  # of the last view: the others have ended
    expect(page.locator(".segnb-notes")).to_have_value("from Python")  # it is in the folder of the run
    assert notebook.console_errors() == []
