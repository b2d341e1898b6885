"""The studio in a browser: from data to export by mouse, by keyboard, on Colab's versions, and after the page is loaded again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from plain_page import PlainPage
from playwright.sync_api import expect
from squares import CLASSES, squares
from test_everywhere import FRONT_ENDS, serious_violations

from segnb.data import SegmentationDataset
from segnb.tools.studio import studio
from segnb.widgets.studio.tabs import NAMES, TABS

pytestmark = pytest.mark.browser

TINY = """
import json
import segnb
pair = tuple(data.subset(range(n)) for data, n in zip(segnb.load_sample("shapes"), (8, 4)))
studio = segnb.studio(pair)
studio.builder.encoder_name, studio.builder.encoder_weights = "test_efficientnet", None
"""
STATE = """
run = studio.run
print(json.dumps({
    "tab": studio.panel.tab, "facts": studio.panel.facts, "error": studio.panel.error, "epochs": studio.panel.epochs,
    "steps": [step["name"] for step in studio.augmenter.steps], "arch": studio.builder.arch,
    "run": run and [run.state, run.recipe.epochs, run.recipe.lr, [type(one).__name__ for one in run.train.transform.transforms]],
    "worst": studio.inspector.worst(4) if run and "look" in studio.panel.facts else None,
}))
"""
FAKES = """
from fake_training import FakeDataset, FakeRun
from fake_inspecting import make_inspector
from segnb.widgets import TrainingMonitor
from segnb.tools.studio import studio as open_studio

studio = open_studio((FakeDataset(8), FakeDataset(4)))
monitor = TrainingMonitor()
monitor._show = lambda: None
FakeRun(epochs=2, steps=4, pause=0).train(monitor)
studio._tools["train"], studio._tools["look"] = monitor, make_inspector(6)  # no torch is needed for them
studio._missing = dict
studio
"""


def tab(page, name):
    title = next(one.title for one in TABS if one.name == name)
    return page.locator(".segnb-studio").get_by_role("tab", name=title)


def open_tab(notebook, name):
    """Click a tab and wait until Python has answered."""
    tab(notebook.page, name).click()
    settled(notebook)


def settled(notebook, seconds=60):
    """Wait until nothing is asked and nothing is going on."""
    page = notebook.page
    page.wait_for_timeout(150)
    busy = page.locator(".segnb-studio .segnb-status", has_text="…")
    notebook.wait_for(lambda: busy.count() == 0, "the studio is at rest", seconds)


def python_state(notebook) -> dict:
    """Run the last cell again, and read what Python knows."""
    cell = notebook.page.locator(".jp-CodeCell").last
    cell.locator(".cm-content").click()
    notebook.page.evaluate("window.jupyterapp.commands.execute('notebook:run-cell')")
    notebook.page.wait_for_timeout(200)
    notebook.wait_idle()
    return json.loads(cell.locator(".jp-OutputArea-output").inner_text())


def test_from_data_to_export_by_mouse(open_notebook):
    notebook = open_notebook([TINY, "studio", STATE])
    page = notebook.page
    notebook.run_all()
    page.locator(".segnb-studio").wait_for()
    notebook.wait_idle(60)
    box = page.locator(".segnb-studio-box")
    box.locator(".segnb-viewer").wait_for()

    box.get_by_label("Validation").check(force=True)
    settled(notebook)
    open_tab(notebook, "check")
    page.get_by_role("button", name="Check the data").click()
    settled(notebook)
    expect(box.locator(".segnb-report table")).to_have_count(2)
    expect(box.locator(".segnb-viewer")).to_have_count(0)
    open_tab(notebook, "augment")
    page.get_by_label("Search for a transform to add").fill("HorizontalFlip")
    page.keyboard.press("Enter")
    page.wait_for_timeout(500)
    open_tab(notebook, "model")
    box.get_by_label("Architecture").select_option("fpn")
    page.wait_for_timeout(1500)

    open_tab(notebook, "look")
    assert page.get_by_text("There is no trained model yet.").is_visible()
    page.get_by_role("button", name="Go to Train").click()
    settled(notebook)
    assert (
        page.locator(".segnb-studio-hint").inner_text()
        == "Model: fpn on test_efficientnet. Augmentation: HorizontalFlip."
    )
    box.get_by_label("Epochs").fill("2")
    box.get_by_label("Learning rate").fill("0.004")
    page.get_by_role("button", name="Train", exact=True).click()
    box.locator(".segnb-monitor").wait_for()
    open_tab(notebook, "data")  # it trains in the background: the studio stays free
    box.locator(".segnb-viewer").wait_for()
    open_tab(notebook, "train")
    box.locator(".segnb-monitor").get_by_text("Finished").first.wait_for()

    open_tab(notebook, "look")
    box.locator(".segnb-inspector canvas").first.wait_for()
    open_tab(notebook, "correct")
    box.get_by_label("Worst pictures").fill("2")
    page.get_by_role("button", name="Paint them").click()
    box.locator(".segnb-painter").wait_for()
    settled(notebook)
    page.get_by_role("button", name="Use the painted masks").click()
    page.get_by_text("No mask was changed yet").wait_for()
    open_tab(notebook, "export")
    expect(page.locator(".segnb-studio .segnb-error")).to_have_text("", use_inner_text=True)
    box.get_by_label("File", exact=True).fill("browser.onnx")
    page.get_by_role("button", name="Export").click()
    box.locator(".segnb-report").get_by_text("ONNX Runtime").first.wait_for(timeout=90_000)
    settled(notebook)
    box.get_by_label("The session as a notebook").fill("browser.ipynb")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("Saved as browser.ipynb").wait_for()
    folder = notebook.path.parent
    assert (folder / "browser.onnx").exists()
    assert (folder / "browser.ipynb").exists()

    state = python_state(notebook)
    assert state["tab"] == "export"
    assert state["steps"] == ["HorizontalFlip"]
    assert state["arch"] == "fpn"
    assert state["run"] == ["finished", 2, 0.004, ["HorizontalFlip"]]
    assert len(state["worst"]) == 4
    assert list(state["facts"]) == ["data", "check", "augment", "model", "train", "look", "export"]
    assert state["error"] == ""
    marked = box.get_by_role("tab").all_inner_texts()
    assert ["✓" in text for text in marked] == [name in state["facts"] for name in NAMES]
    assert serious_violations(page) == []
    saved = notebook.save()  # the picture was renewed when the training and the export ended
    texts = [output.data["text/plain"] for output in saved.cells[1].outputs]
    assert len(texts) == 1
    assert "browser.onnx" in texts[0]
    assert notebook.console_errors() == []


@pytest.mark.parametrize(("front_end", "kernel"), FRONT_ENDS, ids=["-".join(pair) for pair in FRONT_ENDS])
def test_tools_change_places_in_every_front_end(open_notebook, front_end, kernel):
    notebook = open_notebook([FAKES], front_end=front_end, kernel=kernel)
    page = notebook.page
    notebook.run_all()
    box = page.locator(".segnb-studio-box")
    roots = {"data": ".segnb-viewer", "train": ".segnb-monitor", "look": ".segnb-inspector"}
    box.locator(roots["data"]).wait_for(timeout=60_000)
    for name in ("look", "train", "data", "look"):
        open_tab(notebook, name)
        box.locator(roots[name]).wait_for()
        assert [other for other in roots if box.locator(roots[other]).count()] == [
            name
        ]  # views of the others have ended
        assert tab(page, name).get_attribute("aria-selected") == "true"
    canvas = box.locator(".segnb-inspector .segnb-canvas:visible").first
    canvas.wait_for()
    size = canvas.bounding_box()
    assert size["width"] > 200
    assert size["height"] > 100
    panel, tool = (box.locator(root).bounding_box() for root in (".segnb-studio", roots["look"]))
    assert tool["y"] >= panel["y"] + panel["height"]  # below, not over it
    assert abs(tool["width"] - panel["width"]) < 2
    expect(page.locator(".segnb-error:not(:empty)")).to_have_count(0)
    assert serious_violations(page) == []
    assert notebook.console_errors() == []


def test_the_studio_comes_back_with_the_page(open_notebook):
    notebook = open_notebook([FAKES])
    page = notebook.page
    notebook.run_all()
    page.locator(".segnb-studio-box .segnb-viewer").wait_for(timeout=60_000)
    open_tab(notebook, "look")
    page.locator(".segnb-inspector").wait_for()
    notebook.save()
    page.reload()
    page.locator(".segnb-studio-box .segnb-inspector").wait_for(timeout=60_000)
    page.wait_for_timeout(3000)
    open_tab(notebook, "train")
    page.locator(".segnb-studio-box .segnb-monitor").wait_for()
    expect(page.locator(".segnb-inspector")).to_have_count(0)


# The panel in a plain page


@pytest.fixture
def panel(chromium, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = studio(SegmentationDataset(*squares(10), CLASSES))
    page = PlainPage(chromium, one.panel)
    page.studio = one
    yield page
    page.close()


def test_arrows_go_from_tab_to_tab_and_enter_opens(panel):
    page = panel.page
    focused = lambda: page.evaluate("document.activeElement.textContent")  # noqa: E731
    tab(page, "data").focus()
    walk = [("ArrowRight", "2Check"), ("ArrowRight", "3Augment"), ("ArrowLeft", "2Check"), ("End", "8Export")]
    walk += [("ArrowRight", "1Data✓"), ("ArrowLeft", "8Export"), ("Home", "1Data✓"), ("ArrowRight", "2Check")]
    for key, title in walk:
        page.keyboard.press(key)
        assert focused() == title
    assert panel.state("tab") == "data"  # moving about opens nothing: that may take seconds
    page.keyboard.press("Enter")
    assert panel.state("tab") == "check"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    assert panel.state("tab") == "augment"
    assert [node.get_attribute("aria-selected") for node in page.get_by_role("tab").all()].index("true") == 2
    assert sum(node.get_attribute("tabindex") == "0" for node in page.get_by_role("tab").all()) == 1
    labelled = page.get_by_role("tabpanel").get_attribute("aria-labelledby")
    assert page.locator(f"#{labelled}").inner_text().startswith("3")
    expect(page.locator(".segnb-studio-purpose")).to_have_text(TABS[2].purpose, use_inner_text=True)
    assert panel.errors == []


def test_each_field_reaches_python_by_keyboard(panel):
    page, one = panel.page, panel.studio
    page.get_by_label("Training").focus()
    page.keyboard.press("ArrowRight")
    panel.wait_for(lambda: one.panel.part == "validation", "the other part")
    assert one.box.children[1].names == one.validation_data.names
    tab(page, "train").click()
    page.get_by_label("Epochs").fill("7")
    page.get_by_label("Learning rate").fill("0.02")
    page.get_by_label("Time limit").fill("45 s")
    panel.wait_for(lambda: (one.panel.epochs, one.panel.rate, one.panel.budget) == (7, "0.02", "45 s"), "the form")
    page.get_by_label("Epochs").fill("0")
    assert panel.state("epochs") == 7
    page.get_by_label("Learning rate").focus()
    assert page.get_by_label("Epochs").input_value() == "7"  # what cannot be goes
    page.get_by_label("The session as a notebook").fill("a.ipynb")
    assert panel.state("notebook") == "a.ipynb"
    panel.set(epochs=3, rate="auto")
    assert (page.get_by_label("Epochs").input_value(), page.get_by_label("Learning rate").input_value()) == (
        "3",
        "auto",
    )
    assert panel.errors == []


def test_a_problem_is_said_and_goes_with_the_next_click(panel):
    page = panel.page
    tab(page, "train").click()
    page.get_by_label("Learning rate").fill("fast")
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_text("The learning rate 'fast' is no number").wait_for()
    page.get_by_label("The session as a notebook").fill("lesson.txt")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("use 'lesson.ipynb'").wait_for()
    tab(page, "data").click()
    assert panel.state("error") == ""
    expect(page.get_by_role("alert")).to_have_text("")


def test_what_is_missing_leads_to_where_it_is_made(panel):
    page = panel.page
    for name in ("look", "correct", "export"):
        tab(page, name).click()
        page.get_by_text("There is no trained model yet.").wait_for()
        expect(page.get_by_role("button", name="Export")).to_have_count(0)
        page.get_by_role("button", name="Go to Train").click()
        panel.wait_for(lambda: panel.studio.panel.tab == "train", "the tab")
    page.get_by_text("The session so far").click()
    rows = page.locator(".segnb-studio-facts li").all_inner_texts()
    assert rows[0].startswith("Data 8 training and 2 validation pictures; classes: ground, square")
    assert rows[1:] == [f"{one.title} not yet" for one in TABS[1:]]


def test_a_busy_kernel_is_waited_for(panel):
    page = panel.page
    page.evaluate("window.deaf = true")
    tab(page, "check").click()
    assert page.locator(".segnb-status").inner_text() == "Waiting for the kernel…"
    assert page.get_by_role("button", name="Check the data").is_disabled()
    page.evaluate("window.hear()")
    panel.wait_for(lambda: page.get_by_role("button", name="Check the data").is_enabled(), "the answer")
    expect(page.locator(".segnb-status")).to_have_text("", use_inner_text=True)


def test_a_view_that_ends_leaves_no_listener(panel):
    page = panel.page
    before = page.evaluate("window.listening()")
    for _ in range(5):
        page.evaluate("window.end(); window.show()")
    assert page.evaluate("window.listening()") == before
    page.evaluate("window.end()")
    assert page.evaluate("window.listening()") == 0


@pytest.mark.parametrize("width", [1000, 420])
def test_nothing_is_cut_off(chromium, tmp_path, monkeypatch, width):
    monkeypatch.chdir(tmp_path)
    one = studio(SegmentationDataset(*squares(10), CLASSES))
    page = PlainPage(chromium, one.panel, width=width, dark=width < 500)
    for name in NAMES:
        tab(page.page, name).click()
        page.wait_for(lambda name=name: one.panel.tab == name, name)
        assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    edges = [node.bounding_box() for node in page.page.get_by_role("tab").all()]
    assert len(np.unique([edge["y"] for edge in edges])) == (1 if width == 1000 else 3)
    page.close()
