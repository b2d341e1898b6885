"""The augmenter's controls by mouse and by keyboard: what is seen, what Python knows, and that looking draws nothing anew."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image
from plain_page import PlainPage
from playwright.sync_api import expect

from segnb.data import SegmentationDataset
from segnb.draw import palette
from segnb.widgets.augmenter.augmenter import augment

pytestmark = pytest.mark.browser

NAMES = ["sky", "bolt", "<b>nut</b>"]
SEARCH = "Search for a transform to add"


def picture(seed=0, height=48, width=64):
    blocks = np.random.default_rng(seed).integers(0, 3, (height // 16, width // 16))
    blocks[0, :3] = 0, 1, 2
    labels = np.kron(blocks, np.ones((16, 16), int)).astype(np.uint8)
    return np.repeat(labels[:, :, None] * 60 + 70, 3, axis=2), labels


@pytest.fixture
def shown(chromium):
    """Open augmenters; none may leave an error in the browser's console."""
    opened = []

    def open_one(*steps, **options):
        pairs = [picture(seed) for seed in range(3)]
        data = SegmentationDataset([p[0] for p in pairs], [p[1] for p in pairs], NAMES, names=["one", "two", "three"])
        widget = augment(data)
        widget.steps = list(steps)
        opened.append(PlainPage(chromium, widget, **options))
        opened[-1].page.locator(".segnb-draw").nth(8).wait_for()
        return opened[-1]

    yield open_one
    for page in opened:
        page.close()
        assert page.errors == []


def step(name, **values):
    return {"name": name, "values": values}


def outline(shown):
    return [("  " if one["inside"] else "") + one["name"] for one in shown.state("steps")]


def values(shown, i=0):
    return shown.state("steps")[i]["values"]


def unfold(shown, name):
    shown.page.locator(".segnb-step-name", has_text=name).click()


def tile(shown, i):
    """The canvas of a tile (0 is the picture as it is) at the middle of each pixel: (48, 64, 3)."""
    found = shown.pixels(f".segnb-draw:nth-child({i + 1}) canvas")
    times = found.shape[1] // 64
    assert found.shape[:2] == (48 * times, 64 * times)
    return found[times // 2 :: times, times // 2 :: times]


def drawn_labels(shown, i):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.widget.draws[i - 1]["labels"]))))


def test_search_and_add(shown):
    one = shown()
    page = one.page
    expect(page.locator(".segnb-empty")).to_be_visible()
    page.get_by_label(SEARCH).fill("flip")
    assert page.get_by_label("Transforms found").locator("option").all_inner_texts() == [
        "HorizontalFlip",
        "VerticalFlip",
    ]
    page.keyboard.press("ArrowDown")
    assert "vertically" in page.locator(".segnb-transform").inner_text()
    page.keyboard.press("Enter")
    assert outline(one) == ["VerticalFlip"]
    assert page.locator(".segnb-step-name:focus").inner_text().startswith("VerticalFlip")
    expect(page.locator(".segnb-results")).to_be_hidden()
    expect(page.locator(".segnb-empty")).to_be_hidden()

    page.get_by_label(SEARCH).fill("gamma")
    page.get_by_label("Transforms found").select_option("RandomGamma")
    assert "The mask stays as it is." in page.locator(".segnb-transform").inner_text()
    page.get_by_role("button", name="Add the chosen transform").click()
    page.get_by_label(SEARCH).fill("elastic transf")
    page.get_by_label("Transforms found").get_by_text("ElasticTransform").dblclick()
    assert outline(one) == ["VerticalFlip", "RandomGamma", "ElasticTransform"]
    page.get_by_label(SEARCH).fill("normalize")
    assert "Normalize is left out: data sets hand over uint8" in page.locator(".segnb-transform").inner_text()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.locator(".segnb-results")).to_be_hidden()
    assert len(one.state("steps")) == 3


def test_numbers_and_sliders(shown):
    one = shown(step("GaussNoise"))
    page = one.page
    unfold(one, "GaussNoise")
    page.get_by_label("p", exact=True).fill("0.25")
    page.keyboard.press("Enter")
    assert values(one)["p"] == 0.25
    assert page.locator(".segnb-step-name").inner_text().split() == ["GaussNoise", "p", "0.25"]
    page.get_by_label("p, slider").focus()
    page.keyboard.press("ArrowRight")
    assert values(one)["p"] == pytest.approx(0.26)
    assert page.get_by_label("p", exact=True).input_value() == "0.26"

    first, second = (page.get_by_label(f"std_range, {which}, slider") for which in ("first", "second"))
    page.get_by_label("std_range, first", exact=True).fill("0.1")
    page.keyboard.press("Tab")
    assert values(one)["std_range"] == [0.1, 0.44]
    first.focus()
    page.keyboard.press("End")  # the first stops at the second
    assert values(one)["std_range"] == [0.44, 0.44]
    box = second.bounding_box()
    page.mouse.move(box["x"] + 6.5 + 0.44 * (box["width"] - 13), box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"], box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    assert values(one)["std_range"] == [0.44, 1]


def test_choices_flags_text_and_none(shown):
    one = shown(step("Affine"))
    page = one.page
    unfold(one, "Affine")
    page.get_by_label("border_mode").select_option("reflect")
    page.get_by_label("fit_output").check()
    page.get_by_label("keep_ratio").focus()
    page.keyboard.press("Space")
    page.get_by_label("fill", exact=True).fill("(10, 20, 30)")
    page.keyboard.press("Enter")
    for which, number in (("first", "-0.1"), ("second", "0.2")):
        page.get_by_label(f"translate_percent, {which}").fill(number)
    page.keyboard.press("Enter")
    found = values(one)
    assert (found["border_mode"], found["fit_output"], found["keep_ratio"], found["fill"]) == (
        2,
        True,
        True,
        [10, 20, 30],
    )
    assert found["translate_percent"] == [-0.1, 0.2]
    for which in ("first", "second"):
        page.get_by_label(f"translate_percent, {which}").fill("")
    page.keyboard.press("Enter")
    assert values(one)["translate_percent"] is None
    one.set(steps=[step("Affine", scale={"x": [0.5, 1.0], "y": [1.0, 1.0]})])  # no pair any more: as text
    assert page.get_by_label("scale", exact=True).input_value() == "{'x': (0.5, 1), 'y': (1, 1)}"
    page.get_by_label("scale", exact=True).fill("(0.8, 1.2)")
    page.keyboard.press("Enter")
    assert values(one)["scale"] == [0.8, 1.2]
    expect(page.get_by_label("mask_interpolation")).to_have_count(0)  # there is but one that keeps labels


def test_a_refused_value_is_explained_and_the_former_comes_back(shown):
    one = shown(step("RandomCrop", height=32, width=32))
    page = one.page
    unfold(one, "RandomCrop")
    for _ in range(2):  # the second time the message is the same
        page.get_by_label("height").fill("0")
        page.keyboard.press("Enter")
        page.locator(
            ".segnb-left > .segnb-error", has_text="RandomCrop refuses height=0: Input should be greater"
        ).wait_for()
        one.wait_for(lambda: page.get_by_label("height").input_value() == "32", "the former value")
    assert values(one)["height"] == 32
    page.get_by_label("height").fill("16")
    page.keyboard.press("Enter")
    assert values(one)["height"] == 16
    expect(page.locator(".segnb-left > .segnb-error")).to_have_text("", use_inner_text=True)


def test_order_by_buttons_keys_and_dragging(shown):
    one = shown(step("Blur"), step("D4"), step("Transpose"))
    page = one.page
    page.get_by_role("button", name="Move Blur down").click()
    assert outline(one) == ["D4", "Blur", "Transpose"]
    assert page.locator(":focus").get_attribute("aria-label") == "Move Blur down"
    page.keyboard.press("Enter")
    assert outline(one) == ["D4", "Transpose", "Blur"]
    assert page.get_by_role("button", name="Move Blur down").is_disabled()
    page.locator(".segnb-step-name", has_text="Transpose").focus()
    page.keyboard.press("Alt+ArrowUp")
    assert outline(one) == ["Transpose", "D4", "Blur"]
    page.keyboard.press("Alt+ArrowUp")  # there is nowhere to go
    page.keyboard.press("Alt+ArrowDown")
    assert outline(one) == ["D4", "Transpose", "Blur"]
    heads = page.locator(".segnb-step-head")
    heads.nth(2).drag_to(heads.nth(0))
    assert outline(one) == ["Blur", "D4", "Transpose"]
    heads.nth(0).drag_to(heads.nth(1))
    assert outline(one) == ["D4", "Blur", "Transpose"]

    page.get_by_label("Use Blur").uncheck()
    assert [kind["on"] for kind in one.state("steps")] == [True, False, True]
    page.get_by_label("Use Blur").focus()
    page.keyboard.press("Space")
    assert [kind["on"] for kind in one.state("steps")] == [True, True, True]
    page.get_by_role("button", name="Remove D4").click()
    assert outline(one) == ["Blur", "Transpose"]
    page.keyboard.press("Delete")  # the focus has gone to the step that took the place
    assert outline(one) == ["Transpose"]


def test_groups(shown):
    one = shown(step("OneOf"), step("Blur"), step("D4"))
    page = one.page
    page.get_by_role("button", name="Put Blur into the group above").click()
    assert outline(one) == ["OneOf", "  Blur", "D4"]
    page.locator(".segnb-step-name", has_text="D4").focus()
    page.keyboard.press("Alt+ArrowRight")
    assert outline(one) == ["OneOf", "  Blur", "  D4"]
    page.keyboard.press("Alt+ArrowLeft")
    assert outline(one) == ["OneOf", "  Blur", "D4"]
    page.get_by_role("button", name="Move OneOf down").click()  # a group takes along what is inside
    assert outline(one) == ["D4", "OneOf", "  Blur"]
    page.get_by_role("button", name="Take Blur out of the group").click()
    assert outline(one) == ["D4", "OneOf", "Blur"]
    unfold(one, "OneOf")
    page.get_by_label("p", exact=True).fill("1")
    page.keyboard.press("Enter")
    assert values(one, 1) == {"p": 1}


def test_a_click_right_after_typing_loses_nothing(shown):
    one = shown(step("Blur"), step("RandomCrop", height=32, width=32))
    page = one.page
    unfold(one, "RandomCrop")
    page.get_by_label("height").fill("24")
    page.get_by_role("button", name="Move RandomCrop up").click()  # leaving the box and the click go out together
    assert outline(one) == ["RandomCrop", "Blur"]
    assert values(one)["height"] == 24
    assert page.get_by_label("height").is_visible()  # the same step stays open


def test_an_answer_does_not_overwrite_what_is_being_typed(shown):
    one = shown(step("GaussNoise", p=0.5))
    page = one.page
    unfold(one, "GaussNoise")
    box = page.get_by_label("p", exact=True)
    box.fill("0.7")
    one.set(steps=[step("GaussNoise", p=0.3)])
    assert box.input_value() == "0.7"
    page.keyboard.press("Enter")
    assert values(one)["p"] == 0.7
    one.set(steps=[step("GaussNoise", p=0.3)])
    assert box.input_value() == "0.3"


def test_a_draw_on_the_screen_is_the_draw_in_python(shown):
    one = shown(step("HorizontalFlip", p=1.0))
    page = one.page
    page.locator(".segnb-opacity").focus()
    page.keyboard.press("End")
    colours = palette(3)
    assert np.abs(tile(one, 0) - colours[picture()[1]]).max() <= 1
    assert np.abs(tile(one, 3) - colours[picture()[1][:, ::-1]]).max() <= 1
    assert (drawn_labels(one, 3) == picture()[1][:, ::-1]).all()
    page.get_by_role("radio", name="Photo").check(force=True)
    assert np.abs(tile(one, 0) - picture()[0]).max() <= 6  # JPEG
    assert one.state("look") == "photo"


def test_looking_draws_nothing_anew(shown):
    one = shown(step("RandomCrop", height=32, width=32))
    page, before = one.page, one.widget.draws
    whole = one.pixels()
    page.get_by_role("checkbox", name="bolt").uncheck()
    assert one.state("visible") == [True, False, True]
    without = one.pixels()
    assert (np.abs(without - whole).sum(2) > 0).mean() > 0.05
    page.get_by_role("button", name="Show all classes").focus()
    page.keyboard.press("Enter")
    assert (one.pixels() == whole).all()
    page.get_by_role("button", name="Hide all classes").click()
    assert one.state("visible") == [False] * 3
    page.get_by_role("button", name="Show all classes").click()
    page.get_by_role("radio", name="Photo").check(force=True)
    photo = one.pixels()
    page.get_by_role("radio", name="Outline").check(force=True)
    lines = np.abs(one.pixels() - photo).sum(2) > 0
    assert 0.05 < lines.mean() < 0.7
    assert not lines[12:20, 12:20].any()  # the middle of a block of one label
    page.get_by_role("radio", name="Overlay").focus()
    page.keyboard.press("Space")
    assert one.state("look") == "overlay"
    page.locator(".segnb-opacity").focus()
    page.keyboard.press("Home")
    assert one.state("opacity") == 0
    page.locator(".segnb-canvas").nth(1).hover()
    page.mouse.wheel(0, 1)
    page.keyboard.press("Tab")
    assert page.locator(".segnb-status span").last.inner_text() in NAMES
    assert one.widget.draws is before
    sent = page.evaluate("window.sent")
    assert {message["type"] for message in sent} == {"set"}
    assert {name for message in sent for name in message["values"]} == {"visible", "look", "opacity"}


def test_presets_dice_pictures_and_number(shown):
    one = shown()
    page = one.page
    page.get_by_label("Start from a preset").select_option("light")
    assert outline(one) == ["RandomCrop", "HorizontalFlip", "RandomBrightnessContrast"]
    assert one.state("preset") == "light"
    before = one.widget.draws
    page.get_by_role("button", name="Throw other dice").click()
    assert one.state("seed") == 1
    assert one.widget.draws != before
    page.get_by_label("Use HorizontalFlip").uncheck()
    one.wait_for(lambda: page.get_by_label("Start from a preset").input_value() == "", "no preset any more")

    page.get_by_role("button", name="Next picture").click()
    page.locator(".segnb-title", has_text="two").wait_for()
    page.get_by_label("Number of the picture").fill("3")
    page.keyboard.press("Enter")
    page.locator(".segnb-title", has_text="three").wait_for()
    assert one.state("index") == 2
    assert page.get_by_role("button", name="Next picture").is_disabled()
    page.get_by_role("button", name="Previous picture").focus()
    page.keyboard.press("Enter")
    assert one.state("index") == 1
    page.get_by_label("Draws").fill("3")
    page.keyboard.press("Enter")
    one.wait_for(lambda: page.locator(".segnb-draw").count() == 4, "three draws and the picture")
    assert page.locator(".segnb-status span").first.inner_text().startswith("3 draws")
    page.get_by_label("Draws").fill("99")
    page.keyboard.press("Enter")
    assert one.state("number") == 12


def test_warnings_name_labels_as_text_and_steps_that_fail(shown):
    one = shown(step("Crop", x_min=0, y_min=0, x_max=32, y_max=16))
    page = one.page
    page.locator(".segnb-warnings li", has_text="<b>nut</b> vanishes in all 8 draws").wait_for()
    expect(page.locator(".segnb-lost").nth(1)).to_have_text("without <b>nut</b>", use_inner_text=True)
    expect(page.locator(".segnb-augmenter b")).to_have_count(1)  # the legend's own heading, nothing of the data
    one.set(steps=[step("RandomScale", scale_limit=0.5, p=1.0)])
    assert "they make no batch" in page.locator(".segnb-warnings li").first.inner_text()
    one.set(steps=[step("HorizontalFlip"), step("RandomCrop", height=500, width=500)])
    expect(page.locator(".segnb-problem").nth(0)).to_have_text("", use_inner_text=True)
    assert page.locator(".segnb-problem").nth(1).inner_text().startswith("⚠ Fails in all 8 draws: CropSizeError")
    expect(page.locator(".segnb-failed").nth(1)).to_have_text("Fails at RandomCrop", use_inner_text=True)
    expect(page.locator(".segnb-canvas >> visible=true")).to_have_count(1)
    one.set(steps=[])
    expect(page.locator(".segnb-canvas >> visible=true")).to_have_count(9)


def test_copy_as_code(shown):
    one = shown(step("HorizontalFlip", p=0.3))
    one.page.get_by_role("button", name="Copy as code").focus()
    one.page.keyboard.press("Enter")
    text = one.page.get_by_label("The same as Python code")
    text.wait_for()
    assert text.input_value() == one.widget.as_code()
    assert "A.HorizontalFlip(p=0.3)" in text.input_value()


def test_a_busy_kernel_is_said_and_state_is_not_lost(shown):
    one = shown(step("Blur"))
    page = one.page
    page.evaluate("window.deaf = true")
    page.get_by_role("button", name="Throw other dice").click()
    page.get_by_text("Drawing…").wait_for()
    page.get_by_label("Use Blur").uncheck()
    page.wait_for_timeout(200)
    assert len(page.evaluate("window.sent")) == 1  # the next goes out when the first is answered
    page.evaluate("window.hear()")
    page.locator(".segnb-status", has_text="8 draws").wait_for()
    assert (one.state("seed"), one.state("steps")[0]["on"]) == (1, False)


def test_the_view_ends_cleanly(shown):
    one = shown(step("Blur"), step("D4"))
    page = one.page
    listening = page.evaluate("window.listening()")
    for _ in range(5):
        page.evaluate("() => { window.end(); document.getElementById('output').replaceChildren(); window.show(); }")
    page.wait_for_timeout(200)
    assert page.evaluate("window.listening()") == listening
    page.get_by_role("button", name="Throw other dice").click()
    assert one.state("seed") == 1
    page.evaluate("window.end()")
    assert page.evaluate("window.listening()") == 0


def test_in_jupyterlab(open_notebook):
    notebook = open_notebook(
        [
            "import segnb\nfrom segnb.widgets.augmenter.augmenter import augment",
            "augmenter = augment(segnb.load_sample('shapes')[0])\naugmenter",
            "print('state', [(one['name'], one['values']['p']) for one in augmenter.steps])",
        ]
    )
    page = notebook.page
    notebook.run_all()
    notebook.wait_idle(60)
    page.locator(".segnb-draw").nth(8).wait_for()
    page.get_by_label(SEARCH).click()
    page.keyboard.type("horizontalflip", delay=20)  # letters and Enter are shortcuts of JupyterLab
    page.keyboard.press("Enter")
    page.locator(".segnb-step-name", has_text="HorizontalFlip").wait_for()
    page.keyboard.press("Tab")
    page.get_by_label("p", exact=True).fill("0.9")
    page.keyboard.press("Enter")
    page.locator(".segnb-step-name", has_text="p 0.9").wait_for()
    page.wait_for_timeout(500)
    page.evaluate(
        """() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 2;
        return window.jupyterapp.commands.execute('notebook:run-cell'); }"""
    )
    notebook.wait_for(lambda: "state [('HorizontalFlip', 0.9)]" in notebook.outputs(), "Python knows")
    notebook.run_all()  # a second view takes the place of the first
    notebook.wait_idle(60)
    page.locator(".segnb-empty").wait_for()
    expect(page.locator(".segnb-augmenter")).to_have_count(1)
    output = notebook.save().cells[1].outputs[-1]
    assert "Augmentation of" in output.data["text/html"]
    assert "image/png" in output.data
    assert notebook.console_errors() == []
