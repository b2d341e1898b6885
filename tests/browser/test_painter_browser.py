"""The painter in a real JupyterLab: painted by mouse and by keyboard, and compared with Python pixel by pixel."""

from __future__ import annotations

import base64
import io
import json
import secrets
import zlib
from pathlib import Path

import numpy as np
import pytest
from fake_training import LABELS, PALETTE, scene
from PIL import Image
from playwright.sync_api import expect

import segnb.widgets
from segnb.widgets.painter import strokes
from segnb.widgets.painter.painter import Painter

pytestmark = pytest.mark.browser

OPEN = """
import base64, json, zlib
import numpy as np
from fake_training import LABELS, PALETTE, guess, scene
from segnb.widgets.painter.painter import Painter

def predict(model, image):
    if model == "broken":
        raise RuntimeError("out of memory")
    return guess(scene(0)[1], 0, 0.2)

painter = Painter([scene(seed)[0] for seed in range(4)], LABELS, palette=PALETTE, folder={folder!r}, predict=predict,
                  uncertainty=lambda model, image: float(image.mean()), model="fake")
painter
"""
STATE = """
print("state", json.dumps({name: getattr(painter, name) for name in (*painter.settable, "order", "finished")} | {
    "steps": [len(painter._queue.mask(painter.index).steps), len(painter._queue.mask(painter.index).undone)],
    "mask": base64.b64encode(zlib.compress(painter.mask().tobytes())).decode()}))
"""
COUNT_MESSAGES = """() => {
    window.messages = 0;
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (...all) { window.messages += 1; return send.apply(this, all); };
}"""
WIDTH, HEIGHT = 192, 128


class OnScreen:
    """A painter on a page: where its pixels are, and what they look like."""

    page: object
    canvas: object

    @property
    def zoom(self) -> float:
        """Screen pixels of a picture pixel."""
        return self.canvas.evaluate("canvas => canvas.clientWidth") / WIDTH

    def place(self, x: int, y: int) -> tuple[float, float]:
        """Where on the screen a pixel of the picture is."""
        self.canvas.scroll_into_view_if_needed()
        box, zoom = self.canvas.bounding_box(), self.zoom
        return box["x"] + (x + 0.5) * zoom, box["y"] + (y + 0.5) * zoom

    def drag(self, *points: tuple[int, int]) -> None:
        self.page.mouse.move(*self.place(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.place(*point))
        self.page.mouse.up()

    def click(self, *points: tuple[int, int]) -> None:
        for point in points:
            self.page.mouse.click(*self.place(*point))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def colours(self) -> np.ndarray:
        """The colours in the middle of every picture pixel, (H, W, 3), without the tool's cursor."""
        self.page.mouse.move(5, 5)
        self.canvas.evaluate("canvas => canvas.blur()")
        self.page.wait_for_timeout(200)
        url = self.canvas.evaluate("canvas => canvas.toDataURL('image/png')")
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))
        step = image.shape[1] // WIDTH
        return image[step // 2 :: step, step // 2 :: step]

    def shows(self, mask: np.ndarray, seed: int = 0) -> bool:
        """Whether the canvas, at full opacity, shows these labels and leaves the rest of the photo alone."""
        seen = self.colours()
        labelled = mask != 255
        difference = np.abs(seen.astype(int) - scene(seed)[0]).mean(axis=2)[
            ~labelled
        ]  # JPEG changes the photo a little
        return bool((seen[labelled] == PALETTE[mask[labelled]]).all() and (difference < 60).all())


class Opened(OnScreen):
    """A notebook that shows a painter in its first cell and prints its state with its second."""

    def __init__(self, open_notebook, *more: str) -> None:
        folder = f"masks-{secrets.token_hex(4)}"
        self.notebook = open_notebook([OPEN.format(folder=folder), STATE, *more])
        self.folder = self.notebook.path.parent / folder
        self.page = self.notebook.page
        self.run(0)
        self.title("000")
        self.canvas = self.page.locator(".segnb-canvas")
        assert self.zoom == int(self.zoom) >= 3  # whole pixels

    def run(self, cell: int) -> None:
        """Run one cell."""
        self.page.evaluate(
            """cell => { const notebook = window.jupyterapp.shell.currentWidget.content; notebook.activeCellIndex = cell;
            return window.jupyterapp.commands.execute('notebook:run-cell'); }""",
            cell,
        )
        self.notebook.wait_idle(60)

    def state(self) -> dict:
        """What Python knows."""
        self.page.wait_for_timeout(300)  # settings are sent together, after 60 ms
        self.run(1)
        line = [line for line in self.notebook.outputs().splitlines() if line.startswith("state ")][-1]
        state = json.loads(line.removeprefix("state "))
        labels = np.frombuffer(zlib.decompress(base64.b64decode(state["mask"])), np.uint8)
        return {**state, "mask": labels.reshape(HEIGHT, WIDTH)}

    def title(self, text: str) -> None:
        self.page.locator(".segnb-title", has_text=text).wait_for()

    def tool(self, name: str) -> None:
        self.page.get_by_role("radio", name=name, exact=True).check(force=True)

    def saved(self) -> None:
        """Wait until Python has confirmed and saved."""
        self.page.locator(".segnb-status", has_text="Saved").wait_for()

    def opaque(self) -> None:
        self.page.locator(".segnb-opacity").focus()
        self.press("End")
        self.canvas.focus()


def test_mouse_and_methods_paint_the_same_pixels(open_notebook):
    twin = """
twin = Painter([scene(0)[0]], LABELS)
twin.brush([(20, 30), (90, 41), (60, 80)], 15, "road")
twin.erase([(50, 36), (70, 36)], 12)
twin.polygon([(100, 20), (150, 25), (140, 70), (105, 60)], "car")
twin.fill(5, 5, "sky", "both", 24)
twin.snap([(160, 100), (180, 110)], label="person")
print("same:", np.array_equal(twin.mask(), painter.mask()), np.unique(twin.mask()).tolist())
"""
    opened = Opened(open_notebook, twin)
    page = opened.page
    opened.opaque()
    page.locator(".segnb-row", has_text="road").click()
    page.evaluate(COUNT_MESSAGES)
    page.wait_for_timeout(300)
    before = page.evaluate("window.messages")
    page.mouse.move(*opened.place(20, 30))
    page.mouse.down()
    page.mouse.move(*opened.place(90, 41))
    page.mouse.move(*opened.place(60, 80))
    page.wait_for_timeout(300)
    assert page.evaluate("window.messages") == before  # nothing is sent while the brush moves
    page.mouse.up()
    opened.saved()
    assert page.evaluate("window.messages") == before + 1

    opened.press("e", "[")
    opened.drag((50, 36), (70, 36))
    opened.tool("Polygon")
    opened.canvas.focus()
    opened.press("6")
    opened.click((100, 20), (150, 25), (140, 70))
    page.mouse.dblclick(*opened.place(10, 120))  # one corner, and no zoom
    opened.press("Backspace")
    opened.click((105, 60))
    opened.press("Enter")
    opened.tool("Fill")
    page.get_by_label("Within").select_option("both")
    page.locator(".segnb-row", has_text="sky").click()
    opened.click((5, 5))
    opened.canvas.focus()
    opened.press("s", "7")
    opened.page.wait_for_timeout(500)
    page.locator(".segnb-status", has_text="superpixels…").wait_for(state="detached")
    opened.drag((160, 100), (180, 110))
    page.wait_for_timeout(500)

    opened.run(2)
    assert "same: True [0, 2, 5, 6, 255]" in opened.notebook.outputs()
    state = opened.state()
    assert (state["tool"], state["label"], state["size"], state["within"]) == ("snap", 6, 12, "both")
    assert state["steps"] == [5, 0]
    assert opened.shows(state["mask"])
    saved = np.asarray(Image.open(opened.folder / "000.png"))
    assert np.array_equal(saved, state["mask"])

    opened.canvas.focus()
    opened.press("z")
    page.get_by_role("button", name="Undo (Z)").click()
    opened.canvas.focus()
    opened.press("Control+z")
    undone = opened.state()
    assert undone["steps"] == [2, 3]
    assert set(np.unique(undone["mask"])) == {2, 255}
    assert opened.shows(undone["mask"])
    opened.canvas.focus()
    opened.press("Shift+Z", "Control+y")
    page.get_by_role("button", name="Redo (Shift Z)").click()
    again = opened.state()
    assert np.array_equal(again["mask"], state["mask"])
    assert opened.shows(again["mask"])
    assert page.get_by_role("button", name="Redo (Shift Z)").is_disabled()
    assert opened.notebook.console_errors() == []


def test_keyboard_alone_paints_and_walks_through_the_queue(open_notebook):
    opened = Opened(
        open_notebook,
        "painter.show(2)\npainter.brush([(9, 9)], 5, 'tree')",
        "print(painter.order_by_uncertainty())",
        "painter",
    )
    page = opened.page
    opened.opaque()
    opened.press("3", "]", "ArrowRight")  # the cross starts in the middle
    x, y = 97, 64
    expect(page.locator(".segnb-pointed")).to_have_text(f"x {x}, y {y}  ·  unlabelled", use_inner_text=True)
    opened.press("Space", "ArrowRight", "Shift+ArrowDown", "Space", "ArrowUp")
    opened.saved()
    state = opened.state()
    assert (state["label"], state["size"]) == (2, 18)
    expected = strokes.brush((HEIGHT, WIDTH), np.array([(x, y), (x + 1, y), (x + 1, y + 10)]), 18)
    assert np.array_equal(state["mask"] == 2, expected)
    opened.canvas.focus()
    opened.press("p", "4", "Space", *["ArrowLeft"] * 4, "Space", *["Shift+ArrowUp"] * 2, "Space", "Enter")
    mask = opened.state()["mask"]
    corners = np.array([(x + 1, y + 9), (x - 3, y + 9), (x - 3, y - 11)])
    assert np.array_equal(mask == 3, strokes.polygon((HEIGHT, WIDTH), corners))
    assert opened.shows(mask)

    opened.canvas.focus()
    opened.press("d", "PageDown")
    opened.title("001")
    state = opened.state()
    assert (state["index"], state["finished"]) == (1, [0])
    assert (state["mask"] == 255).all()
    page.get_by_role("button", name="Next picture").click()
    opened.title("002")
    number = page.get_by_label("Number of the picture in the queue")
    number.fill("4")
    number.press("Enter")
    opened.title("003")
    assert page.get_by_role("button", name="Next picture").is_disabled()
    page.get_by_label("Done").check()
    assert opened.state()["finished"] == [0, 3]
    assert sorted(path.name for path in opened.folder.glob("*.png")) == ["000.png", "003.png"]

    opened.run(2)  # from Python
    opened.title("002")
    state = opened.state()
    assert (state["mask"] == 4).sum() == 21
    assert opened.shows(state["mask"], seed=2)
    opened.run(3)
    order = opened.state()["order"]
    assert order[2:] == [0, 3]  # the done ones last
    opened.title(f"00{order[0]}")
    assert number.input_value() == "1"

    opened.run(4)  # a second view of the same painter shows the same strokes
    other = page.locator(".segnb-canvas").nth(1)
    other.scroll_into_view_if_needed()
    page.locator(".segnb-title", has_text=f"00{order[0]}").nth(1).wait_for()
    opened.canvas = page.locator(".segnb-canvas").first
    opened.canvas.focus()
    opened.press("b")
    opened.drag((30, 90), (60, 95))
    page.wait_for_timeout(500)
    assert (opened.colours()[90, 35] == PALETTE[3]).all()
    opened.canvas = other
    assert (opened.colours()[90, 35] == PALETTE[3]).all()
    assert opened.notebook.console_errors() == []


def test_prediction_errors_code_and_a_second_run_of_the_cell(open_notebook):
    opened = Opened(open_notebook, "painter.model = 'broken'", "painter.model = None")
    page = opened.page
    opened.opaque()
    opened.press("2")
    page.get_by_label("Where to use the prediction").select_option("class")
    page.get_by_role("button", name="Use prediction").click()
    opened.saved()
    assert set(np.unique(opened.state()["mask"])) == {1, 255}
    page.get_by_label("Where to use the prediction").select_option("all")
    page.get_by_role("button", name="Use prediction").focus()
    opened.press("Enter")
    page.wait_for_timeout(500)
    mask = opened.state()["mask"]
    assert 255 not in mask
    assert opened.shows(mask)

    opened.run(2)
    page.get_by_role("button", name="Use prediction").click()
    page.locator(".segnb-error", has_text="RuntimeError: out of memory").wait_for()
    opened.tool("Brush")
    opened.drag((30, 30), (40, 30))  # it lives on
    page.locator(".segnb-error:empty").wait_for(state="attached")
    assert opened.state()["mask"][30, 35] == 1
    opened.run(3)
    assert page.get_by_role("button", name="Use prediction").is_hidden()

    page.get_by_role("button", name="Copy as code").click()
    code = page.locator(".segnb-code")
    code.wait_for()
    assert f"folder = Path('{opened.folder.name}')" in code.input_value()
    assert "segnb.fit(model, train, valid" in code.input_value()

    page.get_by_role("button", name="Zoom in").click()
    wide = opened.colours()
    opened.canvas.focus()
    opened.press("0")
    assert not np.array_equal(opened.colours(), wide)
    zoom = opened.zoom
    opened.press("+")
    opened.page.wait_for_timeout(100)
    opened.page.keyboard.down("Shift")
    x, y = opened.place(60, 60)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 40 * zoom, y)
    page.mouse.up()
    opened.page.keyboard.up("Shift")
    steps = opened.state()["steps"]
    opened.run(0)  # another painter: the masks are read from the folder, the old view and its listeners are gone
    opened.title("000")
    expect(page.locator(".segnb-painter")).to_have_count(1)
    assert steps[0] == 3  # moving the picture painted nothing
    opened.canvas.focus()
    opened.press("5")
    opened.drag((100, 100), (110, 100))
    opened.saved()
    state = opened.state()
    assert state["steps"] == [1, 0]
    assert state["mask"][100, 105] == 4
    assert state["mask"][30, 35] == 1
    assert opened.notebook.console_errors() == []


def test_many_classes_are_found_by_name_and_html_stays_text(open_notebook):
    source = """
import json
import numpy as np
from playwright.sync_api import expect
from segnb.widgets.painter.painter import Painter
names = [f"<b>class</b> {number}" for number in range(253)] + ["<img src=x onerror=alert(1)>"]
painter = Painter([np.zeros((20, 30, 3), np.uint8)], names)
painter
"""
    notebook = open_notebook([source, "print('label', painter.label)"])
    page = notebook.page
    notebook.run_all()
    notebook.wait_idle()
    page.locator(".segnb-title", has_text="000").wait_for()
    search = page.get_by_label("Find a class")
    search.fill("onerror")
    expect(page.locator(".segnb-row:visible")).to_have_count(1)
    expect(page.locator(".segnb-row:visible .segnb-name")).to_have_text(
        "<img src=x onerror=alert(1)>", use_inner_text=True
    )
    search.press("Enter")
    page.locator(".segnb-chosen", has_text="onerror").wait_for()
    search.press("Escape")
    search.press_sequentially("> 12")  # digits are no shortcuts here
    expect(page.locator(".segnb-row:visible")).to_have_count(11)
    search.press("Enter")
    page.locator(".segnb-chosen", has_text="<b>class</b> 12").wait_for()
    search.press("Escape")
    expect(page.locator(".segnb-row:visible")).to_have_count(255)
    page.locator(".segnb-canvas").focus()
    page.keyboard.press("9")
    page.locator(".segnb-chosen", has_text="<b>class</b> 8").wait_for()
    assert notebook.console_errors() == []


class SlowKernel(OnScreen):
    """The painter's own script in a plain page, and a kernel that hears and answers only when it is told to."""

    START = """async ([script, state]) => {
        const handlers = {};
        window.sent = [];
        window.model = {
            get: (name) => state[name],
            send: (message) => window.sent.push(message),
            on: (event, handler) => (handlers[event] ??= []).push(handler),
            off: (event, handler) => { handlers[event] = handlers[event].filter((one) => one !== handler); },
        };
        window.fire = (event, value) => (handlers[event] ?? []).slice().forEach((handler) => handler(value));
        window.change = (name, value) => { state[name] = value; window.fire(`change:${name}`); };
        window.left = () => Object.values(handlers).flat().length;
        const module = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
        window.end = module.default.render({ model: window.model, el: document.getElementById("here") });
    }"""

    def __init__(self, chromium, painter: Painter) -> None:
        self.page, self.painter, self.errors = chromium.new_page(viewport={"width": 1000, "height": 800}), painter, []
        self.page.on("pageerror", lambda error: self.errors.append(f"{error}"))
        self.answers: list[tuple[str, list]] = []
        self.page.set_content(f"<style>{painter._css}</style><div id=here></div>")
        state = {name: value for name, value in painter.get_state().items() if not name.startswith("_")}
        painter.send = lambda message: self.answers.append(("fire", ["msg:custom", message]))
        painter.observe(self._follow)
        self.page.evaluate(self.START, [painter._esm, state])
        self.canvas = self.page.locator(".segnb-canvas")
        self.page.locator(".segnb-title", has_text="000").wait_for()
        self.hear()
        self.answer()

    def _follow(self, change: dict) -> None:
        if self.painter.trait_metadata(change["name"], "sync"):
            self.answers.append(("change", [change["name"], change["new"]]))

    def hear(self, strokes: int = 0) -> None:
        """Python gets what the page has sent, once that many strokes are among it: their PNGs are made when there is time."""
        self.page.wait_for_function(
            "strokes => window.sent.filter(({ type }) => type === 'paint').length >= strokes", arg=strokes
        )
        self.page.wait_for_timeout(150)
        for message in self.page.evaluate("window.sent.splice(0)"):
            self.painter._receive(self.painter, message, [])

    def answer(self, count: int | None = None) -> None:
        """The page gets the first of Python's answers, or all."""
        now, self.answers = self.answers[:count], self.answers[count:] if count else []
        for function, values in now:
            self.page.evaluate("([name, values]) => window[name](...values)", [function, values])
        self.page.wait_for_timeout(150)


def test_a_slow_kernel_loses_no_stroke_and_doubles_none(chromium):
    images = [scene(0)[0], scene(0)[0]]
    kernel = SlowKernel(chromium, Painter(images, LABELS, palette=PALETTE))
    page, painter = kernel.page, kernel.painter
    kernel.painter.opacity = 1
    kernel.answer()
    kernel.canvas.focus()
    kernel.press("2")
    kernel.drag((40, 40), (90, 60))
    kernel.press("z", "3")  # undone before the kernel has even heard of the stroke
    kernel.drag((60, 30), (70, 80))
    assert (painter.mask() == 255).all()
    kernel.hear(strokes=2)
    assert set(np.unique(painter.mask())) == {2, 255}  # the second stroke brings nothing of the first one back
    while kernel.answers:
        kernel.answer(1)
        assert (kernel.colours()[50:60, 65] == PALETTE[2]).all()  # what is not confirmed yet stays in sight
    assert kernel.shows(painter.mask())

    painter.brush([(120, 100)], 21, "car")  # from Python, while the page has a stroke under way
    kernel.page.mouse.move(*kernel.place(100, 100))
    page.mouse.down()
    page.mouse.move(*kernel.place(125, 100))
    kernel.answer()
    page.mouse.up()
    kernel.hear(strokes=1)
    kernel.answer()
    assert painter.mask()[100, 125] == 2
    assert painter.mask()[93, 120] == 2
    assert painter.mask()[91, 120] == 5
    assert kernel.shows(painter.mask())

    def full(_index: int) -> None:
        raise OSError("No space left on device")

    painter._queue.save = full
    kernel.drag((10, 10), (20, 10))
    kernel.hear(strokes=1)
    kernel.answer()
    assert "No space left on device" in page.locator(".segnb-error").inner_text()
    assert painter.mask()[10, 15] == 2
    assert kernel.shows(painter.mask())
    del painter._queue.save

    page.mouse.move(*kernel.place(10, 120))
    page.mouse.down()
    page.mouse.move(*kernel.place(30, 120))
    painter.show(1)  # the stroke so far belongs to the picture that it was painted on
    kernel.answer()
    page.mouse.move(*kernel.place(60, 120))
    page.mouse.up()
    kernel.hear(strokes=1)
    kernel.answer()
    assert painter.mask(0)[120, 25] == 2
    assert painter.mask(0)[120, 50] == 255
    assert (painter.mask(1) == 255).all()
    assert kernel.shows(painter.mask(1))

    page.evaluate("window.end()")
    assert page.evaluate("window.left()") == 0  # no listener stays behind
    assert kernel.errors == []
    page.close()


def test_page_and_kernel_agree_on_every_pixel_of_random_strokes(chromium):
    """The rules of strokes.js and strokes.py, without a notebook: hundreds of strokes in one call."""
    random = np.random.default_rng(0)
    cases = []
    for _ in range(300):
        width, height = random.integers(1, 60, 2).tolist()
        points = (random.random((random.integers(1, 8), 2)) * (width, height)).astype(int).tolist()
        cases.append({"width": width, "height": height, "points": points, "size": int(random.integers(1, 45))})
    folder = Path(segnb.widgets.__file__).parent
    script = "\n".join((folder / f"{name}.js").read_text("utf-8") for name in ("shared", "stage", "painter/strokes"))
    page = chromium.new_page()
    drawn = page.evaluate(
        f"""cases => {{ {script}
        return cases.map(({{ width, height, points, size }}) => {{
            const corners = points.map(([x, y]) => ({{ x, y }}));
            return ["brush", "polygon"].map((kind) => {{
                const stroke = new Stroke(new Uint8Array(width * height), width, height, 1);
                if (kind === "polygon") stroke.polygon(corners);
                else corners.forEach((point, i) => stroke.brush(corners[Math.max(0, i - 1)], point, size));
                return [...stroke.covered];
            }});
        }}); }}""",
        cases,
    )
    page.close()
    for case, (brush, polygon) in zip(cases, drawn, strict=True):
        shape, points = (case["height"], case["width"]), np.array(case["points"])
        assert np.array_equal(np.reshape(brush, shape) > 0, strokes.brush(shape, points, case["size"])), case
        assert np.array_equal(np.reshape(polygon, shape) > 0, strokes.polygon(shape, points)), case
