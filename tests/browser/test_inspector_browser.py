"""The inspector in a real JupyterLab: every control by mouse and by keyboard; canvas and Python state compared."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from fake_inspecting import FakePictures
from fake_training import PALETTE
from PIL import Image
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

OPEN = "from fake_inspecting import make_inspector\ninspector = make_inspector({options})\ninspector"
STATE = (
    "import json\nprint('state', json.dumps({name: getattr(inspector, name) for name in inspector.settable} | "
    "{'worst': inspector.worst(), 'ranking': inspector.ranking(), 'asked': [str(a[0]) for a in inspector._pictures.asked]}))"
)
COUNT_MESSAGES = """() => {
    window.messages = 0;
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (...all) { window.messages += 1; return send.apply(this, all); };
}"""


def pixels(page, selector: str = ".segnb-canvas >> visible=true") -> np.ndarray:
    """The canvas as (H, W, 3) integers."""
    page.wait_for_timeout(200)  # it is drawn with the next frame
    url = page.locator(selector).last.evaluate("canvas => canvas.toDataURL('image/png')")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")).astype(int)


def centres(image: np.ndarray, height: int = 96, width: int = 144) -> np.ndarray:
    """The colour in the middle of each pixel of the picture, which the canvas enlarges by a whole number."""
    times = image.shape[1] // width
    assert image.shape[:2] == (times * height, times * width)
    return image[times // 2 :: times, times // 2 :: times]


class Opened:
    """A notebook that shows the inspector in its first cell and prints the state with its second."""

    def __init__(self, open_notebook, options: str = "6", more: str = "") -> None:
        self.notebook = open_notebook([OPEN.format(options=options), STATE, more or "None"])
        self.page = self.notebook.page
        self.run(0)
        self.page.locator(".segnb-title", has_text="scene-").wait_for()

    def state(self) -> dict:
        """What Python knows, by running the second cell again."""
        self.page.wait_for_timeout(300)  # clicks are sent together, after 60 ms
        self.run(1)
        lines = [line for line in self.notebook.outputs().splitlines() if line.startswith("state ")]
        return json.loads(lines[-1].removeprefix("state "))

    def run(self, cell: int) -> None:
        """Run one cell."""
        self.page.evaluate(
            """cell => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = cell;
            return window.jupyterapp.commands.execute('notebook:run-cell'); }""",
            cell,
        )
        self.notebook.wait_idle(60)

    def layer(self, name: str) -> None:
        self.page.get_by_role("radio", name=name, exact=True).check(force=True)

    def menu(self, label: str):
        return self.page.get_by_label(label, exact=True)

    def title(self, text: str) -> None:
        self.page.locator(".segnb-title", has_text=text).wait_for()

    def quiet(self) -> None:
        """Wait until Python has answered."""
        self.notebook.wait_for(lambda: self.page.locator(".segnb-status [aria-live]").inner_text() == "", "an answer")


def test_order_filter_and_walk(open_notebook):
    opened = Opened(open_notebook)
    page = opened.page
    state = opened.state()
    opened.title(state["worst"][0])

    page.get_by_role("button", name="Next picture").click()
    opened.title(state["worst"][1])
    page.locator(".segnb-inspector").focus()
    page.keyboard.press("ArrowRight")
    opened.title(state["worst"][2])
    page.keyboard.press("ArrowLeft")
    opened.title(state["worst"][1])
    place = page.locator("input[type=number]").first
    place.fill("5")
    page.keyboard.press("Enter")
    opened.title(state["worst"][4])
    page.locator(".segnb-place").focus()
    page.keyboard.press("End")
    opened.title(state["worst"][5])
    assert page.get_by_role("button", name="Next picture").is_disabled()
    box = page.locator(".segnb-strip").bounding_box()
    page.mouse.click(
        box["x"] + box["width"] / 12 * 0.5, box["y"] + 15
    )  # few pictures: twelve bars would fill the strip
    opened.title(state["worst"][0])

    opened.menu("Worst first by").select_option("loss")
    opened.title("scene-005")
    assert (opened.state()["metric"], opened.state()["shown"]) == ("loss", 5)
    opened.menu("Worst first by").select_option("iou")
    opened.menu("Class").select_option("car")
    state = opened.state()
    assert (state["metric"], state["label"]) == ("iou", 5)
    opened.title(state["worst"][0])
    assert "IoU of car" in page.locator(".segnb-title").inner_text()
    opened.menu("Pictures").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    opened.menu("Pictures").select_option("errors")
    state = opened.state()
    assert state["only"] == "errors"
    expect(page.locator(".segnb-walk .segnb-faint")).to_have_text(f"of {len(state['ranking'])}", use_inner_text=True)
    assert state["shown"] == state["ranking"][0]
    use_the_confusion_matrix(opened)
    assert opened.notebook.console_errors() == []


def test_looking_asks_nothing_of_python(open_notebook):
    opened = Opened(open_notebook)
    page = opened.page
    asked = opened.state()["asked"]
    before = pixels(page)
    fader = page.locator(".segnb-opacity")
    fader.focus()
    page.keyboard.press("End")
    opaque = pixels(page)
    assert np.abs(opaque - before).mean() > 3
    shown = FakePictures().picture(opened.state()["shown"])
    assert np.array_equal(centres(opaque), PALETTE[shown["prediction"]])
    page.get_by_role("checkbox", name="sky").uncheck()
    without = pixels(page)
    changed = np.abs(centres(without) - centres(opaque)).sum(2) > 0
    assert not changed[shown["prediction"] != 0].any()
    assert changed[shown["prediction"] == 0].mean() > 0.99
    page.get_by_role("button", name="Show all classes").click()
    assert np.array_equal(pixels(page), opaque)
    state = opened.state()
    assert (state["opacity"], state["visible"]) == (1, [True] * 8)
    assert state["asked"] == asked

    page.evaluate(COUNT_MESSAGES)
    page.get_by_role("button", name="Zoom in").click()
    canvas = page.locator(".segnb-canvas >> visible=true").last
    canvas.focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    assert page.locator(".segnb-pointed").inner_text().startswith("x ")
    assert not np.array_equal(pixels(page), opaque)
    page.keyboard.press("0")
    page.locator(".segnb-inspector").focus()
    page.mouse.move(5, 5)
    assert np.array_equal(pixels(page), opaque)
    assert page.evaluate("window.messages") == 0
    look_at_errors_in_two_patterns_and_swipe(opened)
    assert opened.notebook.console_errors() == []


def look_at_errors_in_two_patterns_and_swipe(opened) -> None:
    page = opened.page
    opened.layer("Errors")
    wrong = pixels(page)
    assert (np.ptp(wrong, axis=2) == 0).mean() > 0.5  # grey where the prediction is right
    assert page.locator(".segnb-marks").inner_text().startswith("wrong")
    opened.menu("Class").select_option("building")
    page.wait_for_timeout(100)
    text = page.locator(".segnb-marks").inner_text()
    assert "false positive" in text
    assert "false negative" in text
    page.locator(".segnb-opacity").focus()
    page.keyboard.press("End")
    marked = centres(pixels(page))
    item = FakePictures().picture(opened.state()["shown"])
    truth, guess = item["labels"], item["prediction"]
    false_positive, false_negative = (guess == 1) & (truth != 1) & (truth != 255), (truth == 1) & (guess != 1)
    white, orange, blue = ((marked == colour).all(2) for colour in ([255, 255, 255], [213, 94, 0], [0, 114, 178]))
    assert orange.sum() > 10
    assert blue.sum() > 10
    assert np.array_equal(orange | white & false_positive, false_positive)
    assert np.array_equal(blue | white & false_negative, false_negative)
    opened.layer("Truth")
    truth = pixels(page)
    opened.layer("Prediction")
    prediction = pixels(page)
    opened.menu("Beside").select_option("truth")
    middle = pixels(page)
    half = middle.shape[1] // 2
    assert np.array_equal(middle[:, : half - 6], truth[:, : half - 6])
    assert np.array_equal(middle[:, half + 6 :], prediction[:, half + 6 :])
    box = page.locator(".segnb-canvas >> visible=true").bounding_box()
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 30)
    assert opened.state()["split"] == pytest.approx(0.25, abs=0.02)
    page.locator(".segnb-swipe").focus()
    page.keyboard.press("Home")
    assert np.array_equal(pixels(page)[:, 6:], prediction[:, 6:])
    state = opened.state()
    assert (state["split"], state["left"], state["layer"]) == (0, "truth", "prediction")


def use_the_confusion_matrix(opened) -> None:
    page = opened.page
    matrix = page.locator(".segnb-matrix")
    box = matrix.bounding_box()
    side = (box["width"] - 7) / 8
    page.mouse.move(box["x"] + 7 + 0.5 * side, box["y"] + 7 + 1.5 * side)
    assert page.locator(".segnb-cell").inner_text().startswith("building → sky: ")
    page.mouse.click(box["x"] + 7 + 0.5 * side, box["y"] + 7 + 1.5 * side)
    opened.quiet()
    state = opened.state()
    assert (state["confused"], state["layer"]) == ([1, 0], "errors")
    assert state["shown"] == state["ranking"][0]
    opened.title(state["worst"][0])
    assert page.locator(".segnb-opened").inner_text().startswith(f"{len(state['ranking'])} with building → sky")
    assert page.locator(".segnb-marks").inner_text().startswith("building → sky")

    page.get_by_role("button", name="Close the cell").click()
    assert opened.state()["confused"] == []
    matrix.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")  # arrives by the keyboard
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert opened.state()["confused"] == [1, 1]
    matrix.focus()
    page.keyboard.press("Enter")
    assert opened.state()["confused"] == []


def test_maps_are_computed_on_demand_and_python_moves_the_page(open_notebook):
    move = "inspector.order('iou', 'car').show(2)\ninspector.layer, inspector.opacity = 'errors', 0.25"
    opened = Opened(open_notebook, more=move)
    page = opened.page
    assert page.get_by_role("radio", name="Grad-CAM").is_disabled()
    opened.layer("Entropy")
    page.locator(".segnb-marks", has_text="about entropy").wait_for()
    opened.menu("Class").select_option("car")
    opened.layer("Probability")
    page.locator(".segnb-marks", has_text="IoU").wait_for()
    page.locator(".segnb-opacity").focus()
    page.keyboard.press("End")
    heat = pixels(page)
    middle = heat.shape[0] // 2
    assert np.abs(heat[middle, 2] - [68, 1, 84]).max() <= 4  # viridis from its first colour
    assert np.abs(heat[middle, -3] - [253, 231, 37]).max() <= 4  # to its last
    white = (heat[middle] == 255).all(1)
    assert np.flatnonzero(white).mean() / heat.shape[1] == pytest.approx(0.5, abs=0.02)
    limit = page.locator(".segnb-threshold")
    limit.focus()
    for _ in range(50):
        page.keyboard.press("ArrowRight")
    white = (pixels(page)[middle] == 255).all(1)
    assert np.flatnonzero(white).mean() / heat.shape[1] == pytest.approx(0.75, abs=0.02)
    assert opened.state()["threshold"] == pytest.approx(0.75)

    opened.layer("Grad-CAM")
    page.locator(".segnb-marks", has_text="about gradcam").wait_for()
    opened.menu("Stage").select_option("c2")
    opened.quiet()
    opened.layer("Features")
    opened.menu("Channel").fill("3")
    page.keyboard.press("Enter")
    opened.quiet()
    state = opened.state()
    assert (state["layer"], state["stage"], state["channel"], state["label"]) == ("features", "c2", 3, 5)
    opened.layer("Variance")
    page.locator(".segnb-marks", has_text="about variance").wait_for()
    opened.menu("Class").select_option("all")
    opened.layer("Features")
    opened.quiet()
    column = pixels(page)[:, 50]
    assert np.abs(column[2] - [68, 1, 84]).max() <= 6
    assert np.abs(column[-3] - [253, 231, 37]).max() <= 6

    opened.run(2)  # Python moves the page
    opened.title("scene-002")
    assert page.get_by_role("radio", name="Errors").is_checked()
    expect(page.locator(".segnb-opacity")).to_have_value("0.25")
    assert opened.menu("Class").input_value() == "5"
    page.get_by_role("button", name="Copy as code").click()
    code = page.locator(".segnb-code")
    code.wait_for()
    assert (
        "inspector.order('iou', 'car')\ninspector.show('scene-002')\ninspector.layer = 'errors'" in code.input_value()
    )
    assert "inspector.opacity = 0.25" in code.input_value()
    assert opened.notebook.console_errors() == []


def test_two_models_side_by_side(open_notebook):
    opened = Opened(open_notebook, "6, compared=True")
    page = opened.page
    opened.menu("Worst first by").select_option("gain")
    state = opened.state()
    opened.title(state["worst"][0])
    opened.layer("Differences")
    page.locator(".segnb-marks", has_text="only the other is right").wait_for()
    opened.menu("Beside").select_option("other")
    page.get_by_role("radio", name="Side by side").check(force=True)
    canvases = page.locator(".segnb-canvas >> visible=true")
    opened.notebook.wait_for(lambda: canvases.count() == 2, "two canvases")
    assert opened.state()["compare"] == "side"
    first, second = (canvases.nth(i).bounding_box() for i in (0, 1))
    assert first["width"] == second["width"]
    assert first["x"] + first["width"] < second["x"]
    opened.layer("Prediction")
    before = pixels(page)
    opened.menu("Beside").select_option("truth")
    canvases.first.focus()
    page.keyboard.press("+")
    page.wait_for_timeout(200)
    assert not np.array_equal(pixels(page), before)  # the other follows
    assert opened.notebook.console_errors() == []


def test_a_file_that_vanishes_is_named_and_a_second_view_is_the_only_one(open_notebook):
    breaks = """def broken(index, whole=inspector._pictures.picture):
    if index == 4:
        raise OSError("scene-004.jpg is <b>gone</b>")
    return whole(index)
inspector._pictures.picture = broken"""
    opened = Opened(open_notebook, more=breaks)
    opened.run(2)
    page = opened.page
    ranking = opened.state()["ranking"]
    place, other = ranking.index(4), ranking.index(2)
    number = page.locator("input[type=number]").first
    number.fill(str(place + 1))
    page.keyboard.press("Enter")
    page.locator(".segnb-error", has_text="OSError: scene-004.jpg is <b>gone</b>").wait_for()
    number.fill(str(other + 1))
    page.keyboard.press("Enter")
    opened.title("scene-002")
    opened.notebook.wait_for(lambda: page.locator(".segnb-error").inner_text() == "", "the error has gone")

    opened.run(0)
    page.locator(".segnb-title", has_text="scene-").wait_for()
    expect(page.locator(".segnb-inspector")).to_have_count(1)
    page.evaluate(COUNT_MESSAGES)
    page.get_by_role("button", name="Next picture").click()
    page.wait_for_timeout(500)
    assert page.evaluate("window.messages") == 1  # one view, one message
    assert opened.notebook.console_errors() == []
