"""The widgets in a real JupyterLab, on a training that is a loop of sleeps: the buttons are used while the cell is busy."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

IMPORTS = (
    "from fake_training import FakeDataset, FakePrediction, FakeRun\nfrom segnb.widgets import TrainingMonitor, explore"
)

COUNT_QUESTIONS = """() => {
    window.questions = 0;
    const send = WebSocket.prototype.send;
    const text = (data) => (typeof data === 'string' ? data : new TextDecoder().decode(data));
    WebSocket.prototype.send = function (data) {
        if (!text(data).includes('"type":"set"')) window.questions += 1;  // "set" tells what was clicked, and asks nothing
        return send.call(this, data);
    };
}"""


def pixels(page, selector: str = ".segnb-canvas") -> np.ndarray:
    """The canvas as (H, W, 4) integers."""
    page.wait_for_timeout(150)  # it is drawn with the next frame
    url = page.locator(selector).first.evaluate("canvas => canvas.toDataURL('image/png')")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA")).astype(int)


def curve_points(page) -> int:
    """How many points the drawn loss curve has."""
    return page.locator(".segnb-loss .segnb-raw").evaluate(
        "path => (path.getAttribute('d') ?? '').split(/[ML]/).length - 1"
    )


def open_training(open_notebook, kernel: str, **options):
    """A notebook whose second cell is training, with the monitor in view."""
    values = ", ".join(f"{name}={value}" for name, value in options.items())
    train = f"run = FakeRun({values}).train(TrainingMonitor())\nprint('ended:', run.state, len(run.losses))"
    notebook = open_notebook([IMPORTS, train], kernel=kernel)
    notebook.run_all()
    notebook.page.locator(".segnb-state", has_text="Training").wait_for()
    return notebook


@pytest.mark.parametrize("kernel", ["installed", "newest"])
def test_monitor_while_the_cell_is_busy(open_notebook, kernel):
    notebook = open_training(open_notebook, kernel, epochs=500, steps=40, pause=0.02)
    page = notebook.page
    assert notebook.running_cells() == 1

    few = notebook.wait_for(lambda: curve_points(page), "a first point of the curve")
    notebook.wait_for(lambda: curve_points(page) >= few + 20, "the curve grows while the cell is busy")
    page.locator(".segnb-miou circle").nth(1).wait_for()  # two epochs validated
    expect(page.locator(".segnb-classes .segnb-score").last).to_have_text("absent", use_inner_text=True)
    expect(page.locator(".segnb-previews canvas")).to_have_count(12)

    page.locator(".segnb-pause:enabled").click()
    page.locator(".segnb-state", has_text="Paused").wait_for()
    assert "press Resume" in page.locator(".segnb-note").inner_text()
    resting = curve_points(page)
    page.wait_for_timeout(1000)
    assert curve_points(page) == resting
    assert notebook.running_cells() == 1

    page.locator(".segnb-pause").focus()
    page.keyboard.press("Space")  # the keyboard works, and JupyterLab does not take the key
    page.locator(".segnb-state", has_text="Training").wait_for()
    notebook.wait_for(lambda: curve_points(page) >= resting + 10, "the curve grows again")

    page.locator(".segnb-stop").click()
    page.locator(".segnb-state", has_text="Stopped").wait_for()
    notebook.wait_idle(20)
    assert "ended: stopped" in notebook.outputs()
    assert page.locator(".segnb-note").inner_text().startswith("Stopped in epoch")
    expect(page.locator(".segnb-stop")).to_be_disabled()
    expect(page.locator(".segnb-hint")).to_be_hidden()
    assert notebook.console_errors() == []


def test_monitor_at_the_end(open_notebook):
    notebook = open_training(open_notebook, "installed", epochs=3, steps=20)
    page = notebook.page
    notebook.wait_idle(30)
    page.locator(".segnb-state", has_text="Finished").wait_for()
    expect(page.locator(".segnb-monitor")).to_have_count(1)  # the final picture replaced nothing that lives
    expect(page.locator(".segnb-miou circle")).to_have_count(3)
    assert page.locator(".segnb-monitor progress").evaluate("bar => bar.value") == 1

    output = notebook.save().cells[1].outputs[0]  # what GitHub shows of the saved file
    picture = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
    assert picture.width > 600
    assert "Best mIoU" in output.data["text/html"]
    assert notebook.console_errors() == []


def test_viewer_composes_in_the_browser(open_notebook):
    notebook = open_notebook([IMPORTS, "viewer = explore([FakePrediction(seed) for seed in range(3)])\nviewer"])
    page = notebook.page
    notebook.run_all()
    notebook.wait_idle(30)
    page.locator(".segnb-title", has_text="scene-000").wait_for()
    notebook.wait_for(
        lambda: page.locator(".segnb-gallery-cell canvas:not(.segnb-waiting)").count() == 3, "all thumbnails"
    )
    page.evaluate(COUNT_QUESTIONS)
    before = pixels(page)

    slider = page.locator(".segnb-opacity")
    slider.focus()
    for _ in range(45):
        page.keyboard.press("ArrowRight")
    opaque = pixels(page)
    assert slider.input_value() == "1"
    assert np.abs(opaque - before).mean() > 3
    sky = opaque[opaque.shape[0] // 40, opaque.shape[1] // 2, :3]
    assert sky.tolist() == [86, 180, 233]  # the palette's own colour, so no colour management touched the labels

    page.locator(".segnb-row", has_text="sky").get_by_role("checkbox").uncheck()
    without = pixels(page)
    changed = np.abs(without - opaque).sum(2) > 0
    assert 0.15 < changed.mean() < 0.5  # the sky, a third of the picture, and nothing else
    assert not changed[int(0.95 * changed.shape[0]) :].any()
    page.get_by_role("button", name="Show all classes").click()
    assert np.array_equal(pixels(page), opaque)

    page.locator(".segnb-against").select_option("truth")
    middle = pixels(page)
    page.locator(".segnb-swipe").focus()
    page.keyboard.press("End")
    truth_only = pixels(page)
    page.keyboard.press("Home")
    half = middle.shape[1] // 2
    assert np.array_equal(middle[:, : half - 4], truth_only[:, : half - 4])
    assert np.array_equal(middle[:, half + 4 :], opaque[:, half + 4 :])
    assert not np.array_equal(middle[:, : half - 4], opaque[:, : half - 4])
    page.locator(".segnb-canvas").scroll_into_view_if_needed()
    box = page.locator(".segnb-canvas").bounding_box()
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 20)
    expect(page.locator(".segnb-swipe")).to_have_value("25")
    page.locator(".segnb-against").select_option("")

    page.get_by_role("radio", name="Errors").check(force=True)
    errors = pixels(page)
    assert (np.ptp(errors[:, :, :3], axis=2) == 0).mean() > 0.6  # grey where the prediction is right
    assert page.locator(".segnb-legend-head").inner_text().split() == ["Classes", "wrong"]
    assert page.evaluate("window.questions") == 0  # the kernel was never asked
    assert notebook.console_errors() == []


def test_viewer_fetches_pictures_by_keyboard_and_shows_errors(open_notebook):
    notebook = open_notebook([IMPORTS, "data = FakeDataset(12)\nexplore(data)", "len(data.reads)"])
    page = notebook.page
    notebook.run_all()
    notebook.wait_idle(30)
    title = page.locator(".segnb-title")
    title.filter(has_text="scene-000").wait_for()
    assert page.get_by_role("radio", name="Truth").is_checked()
    assert not page.get_by_role("radio", name="Prediction").is_visible()
    assert page.get_by_role("button", name="Previous picture").is_disabled()

    page.locator(".segnb-viewer").focus()
    for _ in range(10):  # beyond the eight that came with the widget
        page.keyboard.press("ArrowRight")
    title.filter(has_text="scene-010").wait_for()
    first = pixels(page)
    page.keyboard.press("ArrowLeft")
    title.filter(has_text="scene-009").wait_for()
    assert not np.array_equal(pixels(page), first)

    page.get_by_label("Number of the picture").fill("3")
    page.keyboard.press("Enter")
    title.filter(has_text="scene-002").wait_for()
    road = page.locator(".segnb-row", has_text="road").locator(".segnb-percent")
    assert 20 < float(road.inner_text().removesuffix(" %")) < 45
    canvas = page.locator(".segnb-canvas")
    assert canvas.evaluate("c => c.clientWidth / 192") == 3  # whole pixels
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 31, box["y"] + 7)
    expect(page.locator(".segnb-pointed")).to_have_text("x 10, y 2  ·  truth: sky", use_inner_text=True)

    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")  # a second widget, a fresh view
    notebook.wait_idle(30)
    assert notebook.console_errors() == []


def test_a_picture_that_cannot_be_read_is_named_in_the_widget(open_notebook):
    broken = """class Broken(FakeDataset):
    def read(self, index):
        if index == 9:
            raise OSError("scene-009.jpg is truncated")
        return super().read(index)
explore(Broken(12))"""
    notebook = open_notebook([IMPORTS, broken])
    page = notebook.page
    notebook.run_all()
    notebook.wait_idle(30)
    page.get_by_label("Number of the picture").fill("10")
    page.keyboard.press("Enter")
    page.locator(".segnb-error", has_text="OSError: scene-009.jpg is truncated").wait_for()
    page.get_by_role("button", name="Next picture").click()
    page.locator(".segnb-title", has_text="scene-010").wait_for()
    expect(page.locator(".segnb-error")).to_have_text("", use_inner_text=True)
    assert notebook.console_errors() == []
