"""The builder in a real JupyterLab: every control by mouse and by keyboard, and what Python then knows."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

IMPORTS = """import itertools, json
from segnb.tools.building import build
calls = itertools.count()"""
BUILD = "builder = build('unet', 'test_efficientnet', classes=['<b>road</b>', 'car'], size=(64, 96))\nbuilder"
ASK = "print(next(calls), json.dumps([builder.design(), builder.filters, builder.measured]))"
COUNT_MESSAGES = """() => {
    window.messages = 0;
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (...all) { window.messages += 1; return send.apply(this, all); };
}"""


@pytest.fixture
def built(open_notebook):
    """A notebook with a builder in view."""
    notebook = open_notebook([IMPORTS, BUILD, ASK])
    notebook.run_all()
    notebook.page.locator(".segnb-builder .segnb-node").first.wait_for()
    notebook.wait_idle(60)
    return notebook


def python_state(notebook) -> tuple[dict, dict, dict]:
    """Run the last cell again, and read what Python knows: design, filters, measurement."""
    page = notebook.page
    settled(notebook)
    cell = page.locator(".jp-CodeCell").last
    before = cell.locator(".jp-OutputArea-output").inner_text()
    cell.locator(".cm-content").click()
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-cell')")
    output = cell.locator(".jp-OutputArea-output")
    notebook.wait_for(lambda: output.count() == 1 and output.inner_text() != before, "the cell has run again")
    return tuple(json.loads(output.inner_text().partition(" ")[2]))


def settled(notebook) -> None:
    """Wait until the drawing is that of the controls."""
    page = notebook.page
    page.wait_for_timeout(150)  # a change is told to the kernel within 60 ms
    notebook.wait_for(
        lambda: page.locator(".segnb-builder [aria-live]", has_text="Tracing").count() == 0, "the shapes are traced"
    )


def blocks(page) -> dict[str, str]:
    """The drawn blocks: name and what is said of it."""
    said = page.locator(".segnb-node").evaluate_all("nodes => nodes.map((node) => node.getAttribute('aria-label'))")
    return {sentence.partition("  ·  ")[0]: sentence for sentence in said}


def test_choosing_by_mouse(built):
    page = built.page
    assert "gives 16 × 64 × 96" in blocks(page)["blocks[4]"]
    assert page.locator(".segnb-count").inner_text().endswith("encoders")

    page.get_by_label("Architecture", exact=True).select_option("fpn")
    settled(built)
    assert "branches[3][2]" in blocks(page)
    assert page.locator(".segnb-idea").inner_text().startswith("Give every level the meaning of the coarser ones")

    page.get_by_label("Search encoders").fill("test_*net")
    page.get_by_label("At most so many million parameters").fill("0.2")
    page.get_by_label("Order", exact=True).select_option("parameters")
    page.get_by_label("Weights", exact=True).select_option("pretrained")
    rows = page.locator(".segnb-encoder-name")
    assert rows.all_inner_texts() == ["test_efficientnet", "test_nfnet", "test_byobnet"]
    page.locator(".segnb-encoder", has_text="test_byobnet").click()
    settled(built)
    assert page.locator(".segnb-encoder[aria-selected=true]").inner_text().startswith("test_byobnet")
    assert "encoder 199.9 k" in page.locator(".segnb-cost").first.inner_text()

    page.get_by_label("Weights of the encoder").select_option("")
    option = page.locator(".segnb-option", has_text="decoder_merge_policy")
    option.locator("select").select_option("cat")
    page.locator(".segnb-option", has_text="align_corners").locator("input").check()
    page.locator(".segnb-option", has_text="decoder_dropout").locator("input").fill("0.5")
    page.get_by_label("Height of the picture").fill("128")
    page.get_by_label("Width of the picture").fill("192")
    page.get_by_label("Search encoders").focus()
    settled(built)
    assert "gives 2 × 128 × 192" in blocks(page)["logits"]
    assert "gives 512 × 32 × 48" in blocks(page)["concat"]

    design, filters, _ = python_state(built)
    assert (design["arch"], design["encoder_name"], design["encoder_weights"]) == ("fpn", "test_byobnet", None)
    assert design["options"] == {"decoder_merge_policy": "cat", "align_corners": True, "decoder_dropout": 0.5}
    assert design["size"] == [128, 192]
    assert filters == {
        "pattern": "test_*net", "max_parameters": 200000, "weights": "pretrained", "licence": "", "order": "parameters",
    }  # fmt: skip

    page.get_by_role("button", name="Copy as code").click()
    code = page.get_by_label("The same as Python code")
    code.wait_for()
    assert "'test_byobnet'," in code.input_value()
    assert "classes=['<b>road</b>', 'car']," in code.input_value()
    expect(page.locator(".segnb-builder b", has_text="road")).to_have_count(0)  # nowhere did a name become HTML
    assert built.console_errors() == []


def test_choosing_by_keyboard(built):
    page = built.page
    architecture = page.get_by_label("Architecture", exact=True)
    architecture.focus()
    page.keyboard.press("ArrowDown")
    settled(built)
    assert "climbs[0][0]" in blocks(page)  # U-Net++ comes after U-Net

    search = page.get_by_label("Search encoders")
    search.focus()
    page.keyboard.type("test_resnet")
    page.keyboard.press("ArrowDown")  # into the list, whose first row is pointed at
    page.keyboard.press("Enter")
    settled(built)
    assert page.locator(".segnb-encoder[aria-selected=true]").inner_text().startswith("test_resnet")
    search.fill("test_")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    second = page.locator(".segnb-encoder").nth(1).locator(".segnb-encoder-name").inner_text()
    page.keyboard.press("Space")
    settled(built)

    depth = page.locator(".segnb-option", has_text="encoder_depth").locator("select")
    depth.focus()
    page.keyboard.press("ArrowUp")
    height = page.get_by_label("Height of the picture")
    height.fill("80")
    page.keyboard.press("Enter")
    settled(built)
    assert "c5" not in blocks(page)

    page.evaluate(COUNT_MESSAGES)
    page.locator(".segnb-node").first.focus()
    pointed = page.locator(".segnb-status .segnb-title")
    assert pointed.inner_text().startswith("image")
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    assert pointed.inner_text().startswith("c2")
    page.keyboard.press("End")
    assert pointed.inner_text().startswith("logits  ·  gives 2 × 80 × 96  ·  reads classify")
    expect(page.locator(".segnb-arrow.segnb-here")).to_have_count(1)
    page.locator(".segnb-node", has_text="finish").hover()
    assert pointed.inner_text().startswith("finish  ·  UpBlock")
    assert page.evaluate("window.messages") == 0  # looking asks nobody

    design, _, _ = python_state(built)
    assert (design["arch"], design["encoder_name"]) == ("unetplusplus", second)
    assert design["options"] == {"encoder_depth": 4}
    assert design["size"] == [80, 96]
    assert built.console_errors() == []


def test_measuring_with_progress_and_cancel(built):
    page = built.page
    measure = page.get_by_role("button", name="Measure", exact=True)
    measure.focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Measure again").wait_for(timeout=60_000)
    assert "weights; a pass needs" in page.locator(".segnb-cost").nth(2).inner_text()
    _, _, measured = python_state(built)
    assert f"{measured['ms']:.1f} ms" in page.locator(".segnb-cost").nth(3).inner_text()
    expect(page.locator(".segnb-cost progress")).to_be_hidden()

    page.get_by_label("Height of the picture").fill("1024")
    page.get_by_label("Width of the picture").fill("1024")
    page.get_by_label("Search encoders").focus()
    settled(built)
    measure.click()
    page.locator(".segnb-cost progress").wait_for()
    page.get_by_role("button", name="Cancel").click()
    measure.wait_for(timeout=60_000)
    assert python_state(built)[2] == {}
    assert built.console_errors() == []


def test_what_cannot_be_is_grey_or_said(built):
    page = built.page
    depth = page.locator(".segnb-option", has_text="encoder_depth").locator("select")
    depth.select_option("1")
    search = page.get_by_label("Search encoders")
    search.fill("test_convnext")
    settled(built)
    row = page.locator(".segnb-encoder").first
    assert row.get_attribute("aria-disabled") == "true"
    assert row.get_attribute("title").startswith("test_convnext has no map of stride 2")
    row.click(force=True)  # Playwright would wait until it is enabled
    settled(built)
    depth.select_option("5")
    channels = page.locator(".segnb-option", has_text="decoder_channels").locator("input")
    channels.fill("32, 16")
    page.keyboard.press("Enter")
    page.locator(".segnb-wrong", has_text="decoder_channels").wait_for()
    assert page.get_by_role("button", name="Measure", exact=True).is_disabled()
    assert python_state(built)[0]["encoder_name"] == "test_efficientnet"
    channels.fill("")
    page.keyboard.press("Enter")
    settled(built)
    expect(page.locator(".segnb-wrong")).to_have_text("", use_inner_text=True)
    search.fill("no such encoder")
    expect(page.locator(".segnb-count")).to_have_text("No encoder fits: widen the filters", use_inner_text=True)
    assert built.console_errors() == []


def test_python_moves_the_controls_and_a_second_run_leaves_one_view(open_notebook):
    change = """builder.arch = 'segformer'
builder.encoder_name = 'test_convnext'
builder.options = {'dropout': 0.3}
builder.size = (96, 64)
found = builder.search('test_vit*', weights='pretrained')"""
    notebook = open_notebook([IMPORTS, BUILD, change])
    page = notebook.page
    for _ in range(2):
        notebook.run_all()
        page.wait_for_timeout(300)
        notebook.wait_idle(60)
    page.locator(".segnb-node", has_text="project[3]").wait_for()
    expect(page.locator(".segnb-builder")).to_have_count(1)
    assert page.get_by_label("Architecture", exact=True).input_value() == "segformer"
    assert page.get_by_label("Search encoders").input_value() == "test_vit*"
    expect(page.locator(".segnb-option", has_text="dropout").locator("input")).to_have_value("0.3")
    assert page.get_by_label("Height of the picture").input_value() == "96"
    expect(page.locator(".segnb-remarks")).to_be_hidden()
    assert page.locator(".segnb-heading").all_text_contents() == ["Encoder test_convnext", "Decoder segformer"]
    output = notebook.save().cells[1].outputs[0]  # what GitHub shows
    assert "unet on test_efficientnet" in output.data["text/html"]
    assert output.data["image/png"]
    assert notebook.console_errors() == []
