"""A widget in a plain page: Python in this process answers its messages, so that a click and its trait meet in one test.

    shown = PlainPage(chromium, explore(data))
    shown.page.get_by_label("Sort by").select_option("name")
    assert shown.state("sort") == "name"

Real front ends are in the other tests; here every control is tried in a fraction of the time.
"""

from __future__ import annotations

import base64
import io
import json
import time

import numpy as np
from PIL import Image

MODEL = """() => {
    window.sent = [];
    window.listeners = {};
    window.deaf = false;  // as a kernel that is busy: what was sent is answered later
    const waiting = [];
    const answer = (message) => window.toPython(message).then((events) => window.deliver(events));
    window.model = {
        get: (name) => window.traits[name],
        on: (event, handler) => { (window.listeners[event] ??= new Set()).add(handler); },
        off: (event, handler) => { window.listeners[event].delete(handler); },
        send: (message) => { window.sent.push(message); window.deaf ? waiting.push(message) : answer(message); },
    };
    window.hear = () => { window.deaf = false; waiting.splice(0).forEach(answer); };
    window.deliver = (events) => {
        for (const [event, value] of events) {
            if (event.startsWith("change:")) window.traits[event.slice(7)] = value;
            window.listeners[event]?.forEach((handler) => handler(value));
        }
    };
    window.listening = () => Object.values(window.listeners).reduce((sum, handlers) => sum + handlers.size, 0);
}"""

RENDER = """async (source) => {
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const module = await import(url);
    window.show = () => { window.end = module.default.render({ model: window.model, el: document.getElementById("output") }); };
    window.show();
}"""

DARK = (
    "--jp-ui-font-color1: #e0e0e0; --jp-ui-font-color2: #b0b0b0; --jp-border-color2: #424242; --jp-layout-color2: #2b2b2b; "
    "--jp-layout-color1: #111"
)


class PlainPage:
    """A page with one widget.

    Args:
        browser: Chromium.
        widget: whose messages are answered here.
        dark: JupyterLab's dark theme instead of the light one.
        width: of the page in CSS pixels.
        scale: screen pixels for a CSS pixel.
    """

    def __init__(self, browser, widget, *, dark: bool = False, width: int = 1000, scale: float = 1) -> None:
        self.widget, self.errors, self._events = widget, [], []
        self.context = browser.new_context(viewport={"width": width, "height": 1000}, device_scale_factor=scale)
        self.context.set_default_timeout(10_000)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda problem: self.errors.append(str(problem)))
        self.page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        widget.send = lambda message: self._events.append(["msg:custom", message])
        of_ipywidgets = {"layout", "tabbable", "tooltip"}
        names = [name for name in widget.traits(sync=True) if not name.startswith("_") and name not in of_ipywidgets]
        widget.observe(lambda change: self._events.append([f"change:{change['name']}", change["new"]]), names)
        self.page.expose_function("toPython", self._receive)
        light, theme = str(not dark).lower(), f"background: #111; {DARK}" if dark else ""
        self.page.set_content(
            f'<html lang="en"><title>widget</title><body data-jp-theme-light="{light}" style="margin: 12px; {theme}">'
            '<style></style><main id="output"></main></body></html>'
        )
        self.page.evaluate("css => { document.querySelector('style').textContent = css; }", widget._css)
        traits = json.loads(json.dumps({name: getattr(widget, name) for name in names}))
        self.page.evaluate("traits => { window.traits = traits; }", traits)
        self.page.evaluate(MODEL)
        self.page.evaluate(RENDER, widget._esm)

    def _receive(self, message: dict) -> list:
        self.widget._receive(self.widget, message, [])
        return self._taken()

    def _taken(self) -> list:
        events, self._events = self._events, []
        return events

    def set(self, **traits: object) -> None:
        """Change traits in Python, as a cell does."""
        for name, value in traits.items():
            setattr(self.widget, name, value)
        self.page.evaluate("events => window.deliver(events)", self._taken())
        self.page.wait_for_timeout(120)

    def state(self, name: str) -> object:
        """A trait in Python, after what was clicked has arrived there."""
        self.page.wait_for_timeout(150)
        return getattr(self.widget, name)

    def wait_for(self, condition, what: str, seconds: float = 10) -> object:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := condition():
                return value
            self.page.wait_for_timeout(50)
        raise AssertionError(f"not within {seconds} s: {what}")

    def pixels(self, selector: str = ".segnb-canvas") -> np.ndarray:
        """A canvas as (H, W, 3) integers."""
        self.page.wait_for_timeout(100)  # it is drawn with the next frame
        url = self.page.locator(selector).first.evaluate("canvas => canvas.toDataURL('image/png')")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")).astype(int)

    def sent(self, kind: str) -> list[dict]:
        """Messages of one type that the page has sent."""
        return [message for message in self.page.evaluate("window.sent") if message["type"] == kind]

    def close(self) -> None:
        self.context.close()
