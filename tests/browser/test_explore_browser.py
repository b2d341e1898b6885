"""The gallery of explore(): every control by mouse and by keyboard, in a plain page and in a real JupyterLab."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from fake_training import LABELS, PALETTE, FakeDataset, FakePrediction, scene
from plain_page import PlainPage
from playwright.sync_api import expect

from segnb.widgets import MaskViewer, explore
from segnb.widgets.viewer.facts import object_sizes

pytestmark = pytest.mark.browser


@pytest.fixture
def show(chromium, tmp_path, monkeypatch):
    """Show what explore() makes of a source in a plain page, with flags in a file of its own."""
    monkeypatch.chdir(tmp_path)
    pages = []

    def show_one(source, **options) -> PlainPage:
        widget = source if isinstance(source, MaskViewer) else explore(source)
        shown = PlainPage(chromium, widget, **options)
        pages.append(shown)
        shown.page.locator(".segnb-title", has_text="×").wait_for()
        return shown

    yield show_one
    for shown in pages:
        assert shown.errors == []
        shown.close()


def names_shown(shown: PlainPage) -> list[str]:
    """Names in the cells, in the order of the gallery."""
    shown.page.wait_for_timeout(150)
    cells = shown.page.locator(".segnb-gallery-cell").evaluate_all(
        "cells => cells.map((cell) => [Number(cell.ariaPosInSet), cell.querySelector('.segnb-gallery-cell-name').textContent])"
    )
    return [name for _, name in sorted(cells)]


def all_read(shown: PlainPage) -> None:
    """Wait until the survey has seen every picture."""
    count = shown.widget.count
    shown.wait_for(lambda: len(shown.widget._gallery._facts) == count, "all pictures are read")
    shown.page.wait_for_timeout(500)


def selected(shown: PlainPage) -> str:
    return shown.page.locator(".segnb-selected .segnb-gallery-cell-name").inner_text()


# Gallery


def test_thumbnails_show_the_picture_under_the_colours_of_its_classes(show):
    shown = show(FakeDataset(12))
    page = shown.page
    shown.wait_for(lambda: page.locator(".segnb-gallery-cell canvas:not(.segnb-waiting)").count() == 12, "thumbnails")
    small = page.locator(".segnb-gallery-cell canvas").first
    assert small.evaluate("canvas => [canvas.width, canvas.height]") == [160, 107]
    shown.set(opacity=1.0)
    cells = shown.pixels(".segnb-gallery-cell canvas")
    labels = scene(0)[1]
    rows = ((np.arange(107) + 0.5) / 107 * 128).astype(int)
    columns = ((np.arange(160) + 0.5) / 160 * 192).astype(int)
    np.testing.assert_array_equal(cells, PALETTE[labels[np.ix_(rows, columns)]])
    shown.set(opacity=0.0)
    assert np.abs(shown.pixels(".segnb-gallery-cell canvas") - cells).mean() > 10
    assert page.locator(".segnb-gallery-cell").first.get_attribute("aria-label") == "scene-000"


def test_a_gallery_of_ten_thousand_makes_only_the_cells_in_view(show):
    data = FakeDataset(10_000, 24, 36)
    shown = show(data)
    page = shown.page
    box = page.get_by_role("listbox", name="Pictures")
    assert page.locator(".segnb-gallery-cell").count() <= 40
    assert page.locator(".segnb-gallery-cell").first.get_attribute("aria-setsize") == "10000"
    box.evaluate("box => { box.scrollTop = 0.5 * box.scrollHeight; }")
    middle = names_shown(shown)
    assert len(middle) <= 40
    assert 4900 < int(middle[10].removeprefix("scene-")) < 5100
    shown.wait_for(
        lambda: page.locator(".segnb-gallery-cell canvas:not(.segnb-waiting)").count() >= 16, "thumbnails there"
    )
    asked = {index for message in shown.sent("thumbnails") for index in message["indexes"]}
    assert len(asked) < 120  # not those that were scrolled past
    assert all(len(message["indexes"]) <= 32 for message in shown.sent("thumbnails"))
    box.focus()
    page.keyboard.press("End")
    page.locator(".segnb-title", has_text="scene-9999").wait_for()
    assert names_shown(shown)[-1] == "scene-9999"
    assert shown.state("index") == 9999


def test_scrolling_goes_on_while_the_kernel_is_busy(show):
    shown = show(FakeDataset(400, 24, 36))
    page = shown.page
    page.evaluate("window.deaf = true")
    box = page.get_by_role("listbox")
    for place in (0.2, 0.4, 0.6, 0.8, 1.0):
        box.evaluate("(box, place) => { box.scrollTop = place * box.scrollHeight; }", place)
        page.wait_for_timeout(30)
    assert names_shown(shown)[-1] == "scene-399"
    asked = shown.sent("thumbnails")
    page.evaluate("window.hear()")
    last = page.locator(".segnb-gallery-cell", has_text="scene-399").locator("canvas:not(.segnb-waiting)")
    shown.wait_for(lambda: last.count() == 1, "the thumbnail in view")
    assert len(shown.sent("thumbnails")) <= len(asked) + 4  # nothing has piled up


def test_the_survey_rests_and_ends_and_stops_when_nobody_looks(show):
    data = FakeDataset(60, 24, 36)
    shown = show(data)
    all_read(shown)
    surveys = len(shown.sent("survey"))
    assert surveys >= 1
    shown.page.wait_for_timeout(400)
    assert len(shown.sent("survey")) == surveys
    assert sorted(set(data.reads)) == list(range(60))

    hidden = show(FakeDataset(200, 24, 36))
    hidden.page.evaluate("document.body.style.paddingTop = '4000px'")
    hidden.page.evaluate("window.scrollTo(0, 0)")
    hidden.page.wait_for_timeout(400)
    before = len(hidden.sent("survey"))
    hidden.page.wait_for_timeout(500)
    assert len(hidden.sent("survey")) == before


@pytest.mark.parametrize(
    ("key", "expected"), [("ArrowRight", 1), ("ArrowDown", 8), ("End", 39), ("PageDown", 16), ("ArrowLeft", 0)]
)
def test_keys_in_the_gallery(show, key, expected):
    shown = show(FakeDataset(40))
    box = shown.page.get_by_role("listbox")
    box.focus()
    shown.page.keyboard.press(key)
    assert shown.state("index") == expected
    assert selected(shown) == f"scene-{expected:03d}"
    active = box.get_attribute("aria-activedescendant")
    assert shown.page.locator(f"#{active}").get_attribute("aria-selected") == "true"
    shown.page.keyboard.press("Enter")
    assert shown.page.locator(".segnb-canvas").first.evaluate("canvas => canvas === document.activeElement")


def test_a_click_opens_a_picture(show):
    shown = show(FakeDataset(40))
    shown.page.locator(".segnb-gallery-cell", has_text="scene-012").click()
    shown.page.locator(".segnb-title", has_text="scene-012  ·  192 × 128").wait_for()
    assert shown.state("index") == 12
    assert shown.page.get_by_label("Number of the picture").input_value() == "13"


# Filters and order: the browser's rules are Python's


def test_filters_by_mouse_and_keyboard_are_those_of_python(show):
    shown = show(FakeDataset(40))
    page, widget = shown.page, shown.widget
    all_read(shown)

    def agrees() -> list[int]:
        shown.page.wait_for_timeout(200)
        found = widget.found
        names = [widget.names[index] for index in found]
        visible = names_shown(shown)
        assert visible == names[: len(visible)]
        expect(page.locator(".segnb-total")).to_have_text(f"of {len(found)}", use_inner_text=True)
        return found

    page.get_by_label("Part of the name").click()
    page.keyboard.type("E-01")
    assert agrees() == list(range(10, 20))
    assert widget.search == "E-01"
    page.get_by_label("Sort by", exact=True).select_option("largest object")
    page.get_by_label("Pictures with this class").select_option("tree")
    assert shown.state("descending") is True  # the largest first
    largest = {index: object_sizes(scene(index)[1])[4][-1] for index in range(10, 20)}
    assert agrees() == sorted(largest, key=lambda index: -largest[index])
    page.get_by_role("button", name="Descending: click for ascending").click()
    assert agrees() == sorted(largest, key=largest.get)
    bound = sorted(largest.values())[5]
    page.get_by_label("Least pixels of an object").fill(str(bound))
    assert len(agrees()) == sum(any(size >= bound for size in object_sizes(scene(i)[1])[4]) for i in range(10, 20))
    page.get_by_label("Most pixels of an object").fill("10")
    assert agrees() == []
    assert page.get_by_text("No picture passes the filters").is_visible()
    assert widget.object_pixels == [bound, 10]
    page.get_by_label("Most pixels of an object").fill("")
    page.get_by_label("Least pixels of an object").fill("")
    page.get_by_label("Part of the name").fill("")
    for sort in ("name", "area", "smallest object", "data"):
        page.get_by_label("Sort by", exact=True).focus()
        page.get_by_label("Sort by", exact=True).select_option(sort)
        assert len(agrees()) == sum(4 in object_sizes(scene(i)[1]) for i in range(40))
    assert widget.error == ""


def test_filters_set_in_python_move_the_controls(show):
    shown = show([FakePrediction(seed) for seed in range(6)])
    page = shown.page
    all_read(shown)
    shown.set(
        search="scene", with_class="car", object_pixels=[20, None], sort="errors", descending=True, only_flagged=False
    )
    assert page.get_by_label("Part of the name").input_value() == "scene"
    assert page.get_by_label("Pictures with this class").input_value() == "car"
    assert page.get_by_label("Least pixels of an object").input_value() == "20"
    assert page.get_by_label("Sort by", exact=True).input_value() == "errors"
    assert names_shown(shown) == [shown.widget.names[index] for index in shown.widget.found]
    wrong = [shown.widget._gallery.facts(index).wrong for index in shown.widget.found]
    assert wrong == sorted(wrong, reverse=True)


def test_filtering_asks_the_kernel_nothing(show):
    shown = show(FakeDataset(40))
    all_read(shown)
    shown.page.evaluate("window.deaf = true")
    before = len(shown.page.evaluate("window.sent.filter((message) => message.type !== 'set')"))
    shown.page.get_by_label("Pictures with this class").select_option("person")
    shown.page.get_by_label("Sort by", exact=True).select_option("name")
    shown.page.get_by_role("button", name="Ascending: click for descending").click()
    assert names_shown(shown)[0] == "scene-039"
    after = shown.page.evaluate("window.sent.filter((message) => message.type !== 'set')")
    asked = [message for message in after[before:] if message["type"] != "thumbnails"]  # cells that were never in view
    assert asked == []


def test_class_frequency(show):
    shown = show(FakeDataset(10))
    all_read(shown)
    bar = shown.page.locator(".segnb-frequency")
    pixels = shown.widget.class_pixels
    total = sum(pixels.values())
    said = bar.get_attribute("aria-label")
    assert f"road {100 * pixels['road'] / total:.1f} %" in said
    parts = bar.locator("span")
    expect(parts).to_have_count(8)
    width = parts.evaluate_all("parts => parts.map((part) => part.getBoundingClientRect().width)")
    assert width[2] / sum(width) == pytest.approx(pixels["road"] / total, abs=0.03)
    assert min(width) >= 2  # a rare class can be seen
    shown.set(search="scene-003")
    only = shown.widget.class_pixels
    assert f"road {100 * only['road'] / sum(only.values()):.1f} %" in bar.get_attribute("aria-label")


# One picture


def test_zoom_to_single_pixels_and_the_label_under_the_cursor(show):
    shown = show(FakeDataset(3))
    page = shown.page
    canvas = page.locator(".segnb-canvas")
    labels = scene(0)[1]
    canvas.focus()
    for _ in range(12):
        page.keyboard.press("+")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowDown")
    text = page.locator(".segnb-pointed").inner_text()
    x, y = (int(part.split(" ")[1]) for part in text.split("  ·  ")[0].split(", "))
    assert text == f"x {x}, y {y}  ·  truth: {LABELS[labels[y, x]]}"
    shown.set(opacity=1.0)
    close = shown.pixels()
    corner = close[:3, -3:].reshape(-1, 3)
    assert len(np.unique(corner, axis=0)) == 1  # one pixel of the picture is many of the screen
    page.keyboard.press("0")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 3 * 100 + 1, box["y"] + 3 * 70 + 1)
    expect(page.locator(".segnb-pointed")).to_have_text(
        f"x 100, y 70  ·  truth: {LABELS[labels[70, 100]]}", use_inner_text=True
    )


def test_layers_style_and_opacity(show):
    shown = show(FakePrediction(0))
    page = shown.page
    truth, prediction = shown.widget._items[0]["labels"], shown.widget._items[0]["prediction"]
    shown.set(opacity=1.0)
    assert np.array_equal(shown.pixels()[::3, ::3][:128, :192], PALETTE[prediction])
    page.get_by_role("radio", name="Truth").focus()
    page.keyboard.press("ArrowLeft")  # radio buttons follow the arrows
    assert shown.state("layer") == "photo"
    page.get_by_role("radio", name="Truth").check(force=True)
    assert shown.state("layer") == "truth"
    assert np.array_equal(shown.pixels()[::3, ::3][:128, :192], PALETTE[truth])

    page.get_by_role("radio", name="Outline").check(force=True)
    assert shown.state("labels_as") == "outline"
    expect(page.locator(".segnb-opacity")).to_be_disabled()
    outlined = shown.pixels()
    shown.set(layer="photo")
    photo = shown.pixels()
    changed = np.abs(outlined - photo).sum(2) > 0
    assert 0.01 < changed.mean() < 0.25
    inside = np.zeros((128, 192), bool)
    inside[2:-2, 2:-2] = [
        [len(np.unique(truth[y - 1 : y + 2, x - 1 : x + 2])) == 1 for x in range(2, 190)] for y in range(2, 126)
    ]
    assert not changed[1::3, 1::3][:128, :192][inside].any()  # nothing but the outline


def test_two_layers_side_by_side_move_together(show):
    shown = show(FakePrediction(1))
    page = shown.page
    page.get_by_label("Layer to compare with").select_option("truth")
    assert page.get_by_role("slider", name="Place of the dividing line").is_visible()
    page.get_by_role("radio", name="Side by side").check(force=True)
    assert shown.state("arrangement") == "side by side"
    canvases = page.locator(".segnb-canvas")
    expect(canvases).to_have_count(2)
    assert page.locator(".segnb-tag:not(:empty)").all_inner_texts() == ["Truth", "Prediction"]
    assert not page.get_by_role("slider", name="Place of the dividing line").is_visible()
    shown.set(opacity=1.0)
    truth = shown.widget._items[0]["labels"]
    left = shown.pixels(".segnb-canvas >> nth=0")
    zoom = left.shape[1] / 192
    place = ((np.arange(192) + 0.5) * zoom).astype(int), ((np.arange(128) + 0.5) * zoom).astype(int)
    assert (left[np.ix_(place[1], place[0])] == PALETTE[truth]).all(2).mean() > 0.97

    box = canvases.nth(1).bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    page.mouse.down()
    page.mouse.move(box["x"] + 10, box["y"] + 20)
    page.mouse.up()
    page.mouse.move(1, 1)
    shown.set(against="photo", layer="photo")  # no second layer any more
    expect(canvases).to_have_count(1)
    shown.set(layer="truth", against="photo")
    expect(canvases).to_have_count(2)
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    shown.set(labels_as="outline", shown=[])  # two equal pictures now, but for the cross that follows the pointer
    left, right = shown.pixels(".segnb-canvas >> nth=0"), shown.pixels(".segnb-canvas >> nth=1")
    differ = np.abs(left - right).sum(2) > 0
    assert 0 < differ.sum() < 400


def test_classes_and_numbers(show):
    shown = show(FakePrediction(2))
    page = shown.page
    page.get_by_role("checkbox", name="road").focus()
    page.keyboard.press("Space")
    assert shown.state("shown") == [name for name in LABELS if name != "road"]
    page.get_by_role("button", name="Hide all classes").click()
    assert shown.state("shown") == []
    shown.set(shown=["car"])
    assert page.get_by_role("checkbox", name="car").is_checked()
    assert not page.get_by_role("checkbox", name="sky").is_checked()
    page.get_by_role("radio", name="px").check(force=True)
    assert shown.state("numbers") == "pixels"
    counts = np.bincount(shown.widget._items[0]["prediction"].ravel(), minlength=8)
    written = page.locator(".segnb-percent").all_inner_texts()
    assert written == [f"{count:,}" for count in counts]


# Flags


def test_flags_by_mouse_and_keyboard_are_written_at_once(show):
    shown = show(FakeDataset(12))
    page, widget = shown.page, shown.widget
    flag = page.locator(".segnb-flag")
    flag.click()
    assert shown.state("flagged") == ["scene-000"]
    assert flag.get_attribute("aria-pressed") == "true"
    page.locator(".segnb-gallery-cell", has_text="scene-003").click()
    page.keyboard.press("f")
    assert shown.state("flagged") == ["scene-000", "scene-003"]
    assert json.loads(widget.flags_path.read_text()) == {"flagged": ["scene-000", "scene-003"]}
    assert page.locator(".segnb-gallery-cell-badge:not(:empty)").all_inner_texts() == ["⚑", "⚑"]
    page.get_by_label("Flagged", exact=True).check()
    assert names_shown(shown) == ["scene-000", "scene-003"]
    assert widget.found == [0, 3]
    page.get_by_label("Part of the name").focus()
    page.keyboard.type("f")  # a letter, not a flag
    assert shown.state("flagged") == ["scene-000", "scene-003"]
    assert explore(FakeDataset(12)).flagged == ["scene-000", "scene-003"]


def test_code_is_on_the_clipboard(show):
    shown = show(FakeDataset(5))
    shown.context.grant_permissions(["clipboard-read", "clipboard-write"])
    shown.set(sort="name")
    shown.page.get_by_role("button", name="Copy as code").click()
    shown.page.locator(".segnb-code:visible").wait_for()
    expect(shown.page.locator(".segnb-code")).to_have_value(shown.widget.as_code())


# Trouble


def test_a_picture_that_vanishes_is_told_twice_and_the_gallery_lives_on(show):
    data = FakeDataset(14)
    read = data.read

    def gone(index):
        if index == 10:
            raise FileNotFoundError("scene-010.png is gone")
        return read(index)

    data.read = gone
    shown = show(data)
    page = shown.page
    all_read(shown)
    cell = page.locator(".segnb-gallery-cell", has_text="scene-010")
    expect(cell.locator(".segnb-gallery-cell-badge")).to_have_text("⚠", use_inner_text=True)
    assert cell.get_attribute("aria-label") == "scene-010, FileNotFoundError: scene-010.png is gone"
    for _ in range(2):
        cell.click()
        page.locator(".segnb-error", has_text="FileNotFoundError: scene-010.png is gone").wait_for()
        expect(page.locator(".segnb-title")).to_have_text("scene-010", use_inner_text=True)
        expect(page.locator(".segnb-away")).to_have_count(1)  # not the picture before it under the wrong name
        page.locator(".segnb-gallery-cell", has_text="scene-012").click()
        page.locator(".segnb-title", has_text="scene-012  ·  192 × 128").wait_for()
        expect(page.locator(".segnb-away")).to_have_count(0)
        expect(page.locator(".segnb-error")).to_have_text("", use_inner_text=True)


def test_names_are_text_and_sizes_may_be_odd(show):
    name = "<img src=x onerror=alert(1)>"
    items = [
        {"image": np.zeros((1, 1, 3), np.uint8), "labels": np.zeros((1, 1), np.uint8), "name": name},
        {"image": np.zeros((3, 20_000, 3), np.uint8), "labels": np.zeros((3, 20_000), np.uint8), "name": "wide"},
        {"image": np.full((40, 30), 255, np.uint8), "name": "no mask"},
    ]
    shown = show(MaskViewer(items, ["<b>sky</b>", "a" * 200], PALETTE[:2]))
    page = shown.page
    shown.wait_for(lambda: page.locator(".segnb-gallery-cell canvas:not(.segnb-waiting)").count() == 3, "thumbnails")
    expect(page.locator("img, .segnb b:has-text('sky')")).to_have_count(0)
    expect(page.locator(".segnb-title")).to_have_text(f"{name}  ·  1 × 1", use_inner_text=True)
    shown.set(index=1)
    page.locator(".segnb-title", has_text="wide  ·  20000 × 3").wait_for()
    canvas = page.locator(".segnb-canvas")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    x = int(page.locator(".segnb-pointed").inner_text().split(",")[0].removeprefix("x "))
    assert abs(x - 10_000) < 40  # places of the original, though it is shown reduced
    shown.set(index=2)
    page.locator(".segnb-title", has_text="no mask").wait_for()
    assert page.locator(".segnb-percent").all_inner_texts() == ["", ""]
    expect(page.locator(".segnb-error")).to_have_text("", use_inner_text=True)


def test_two_hundred_and_fifty_five_classes(show):
    labels = np.arange(255, dtype=np.uint8).repeat(4).reshape(30, 34)
    names = [f"class {i}" for i in range(255)]
    palette = np.stack([np.arange(255)] * 3, axis=1).astype(np.uint8)
    shown = show(MaskViewer([{"image": np.zeros((30, 34), np.uint8), "labels": labels, "name": "x"}], names, palette))
    shown.set(opacity=1.0)
    expect(shown.page.locator(".segnb-row")).to_have_count(255)
    zoom = shown.pixels().shape[1] // 34
    assert np.array_equal(shown.pixels()[::zoom, ::zoom, 0], labels)


def test_a_closed_view_leaves_nothing_behind(show):
    shown = show(FakeDataset(300, 24, 36))
    page = shown.page
    for _ in range(3):
        page.evaluate("window.end(); document.getElementById('output').replaceChildren(); ")
        assert page.evaluate("window.listening()") == 0
        page.wait_for_timeout(300)
        before = page.evaluate("window.sent.length")
        page.wait_for_timeout(300)
        assert page.evaluate("window.sent.length") == before  # no timer goes on asking
        page.evaluate("window.show()")
        page.locator(".segnb-title", has_text="scene-000").wait_for()
    page.locator(".segnb-viewer").focus()
    before = len(shown.sent("set"))
    page.keyboard.press("f")
    assert shown.state("flagged") == ["scene-000"]
    assert len(shown.sent("set")) == before + 1


def test_dark_theme_and_narrow_page(show):
    shown = show(FakeDataset(20), dark=True, width=520, scale=2)
    page = shown.page
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.locator(".segnb-canvas").evaluate("canvas => canvas.width / canvas.clientWidth") == 2
    ink = page.locator(".segnb-viewer").evaluate("root => getComputedStyle(root).color")
    assert ink == "rgb(224, 224, 224)"
    if folder := os.environ.get("SEGNB_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/explore-narrow-dark.png", full_page=True)


# In JupyterLab

STATE = (
    "import json\nprint('state', json.dumps({name: getattr(viewer, name) for name in viewer.settable} | "
    "{'found': viewer.found, 'reads': len(data.reads)}))"
)
OPEN = (
    "from fake_training import FakeDataset\nfrom segnb.widgets import explore\n"
    "data = FakeDataset(40)\nviewer = explore(data, flags='{flags}')\nviewer"
)
RUN = """(index) => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    notebook.activeCellIndex = index;
    return window.jupyterapp.commands.execute('notebook:run-cell');
}"""


def test_gallery_in_jupyterlab(open_notebook, tmp_path):
    notebook = open_notebook([OPEN.format(flags=tmp_path / "mine.json"), STATE])
    page = notebook.page

    def state() -> dict:
        page.wait_for_timeout(400)
        page.evaluate(RUN, 1)
        notebook.wait_idle(20)
        lines = [line for line in notebook.outputs().splitlines() if line.startswith("state ")]
        return json.loads(lines[-1].removeprefix("state "))

    notebook.run_all()
    notebook.wait_idle(60)
    page.locator(".segnb-title", has_text="scene-000").wait_for()
    box = page.get_by_role("listbox", name="Pictures")
    box.focus()
    page.keyboard.press("ArrowDown")  # JupyterLab leaves the key alone
    page.keyboard.press("f")
    page.get_by_label("Sort by", exact=True).select_option("name")
    page.get_by_role("button", name="Ascending: click for descending").click()
    found = state()
    name = f"scene-{found['index']:03d}"
    assert found["index"] > 3  # one row down
    assert found["flagged"] == [name]
    assert found["found"] == list(range(39, -1, -1))
    notebook.wait_for(lambda: state()["reads"] >= 40, "the survey has read all pictures")
    expect(page.locator(".segnb-gallery-cell").first).to_be_visible()

    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    notebook.wait_for(lambda: notebook.kernel_status() == "idle", "the kernel is there again", 60)
    page.wait_for_timeout(3000)
    page.evaluate(RUN, 0)
    notebook.wait_idle(60)
    page.locator(".segnb-title", has_text="scene-000").wait_for()
    expect(page.locator(".segnb-viewer")).to_have_count(1)
    assert state()["flagged"] == [name]  # it was in the file
    expect(page.locator(".segnb-gallery-cell-badge:not(:empty)")).to_have_count(1)

    page.evaluate(RUN, 0)  # a fresh view again; the old one listens no more
    notebook.wait_idle(60)
    page.locator(".segnb-title", has_text="scene-000").wait_for()
    page.locator(".segnb-viewer").focus()
    page.keyboard.press("f")
    assert state()["flagged"] == ["scene-000", name]
    expect(page.locator(".segnb-error")).to_have_text("", use_inner_text=True)
    assert notebook.console_errors() == []
