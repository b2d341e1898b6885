"""How fast the tools are where they are used: in a notebook, in a browser.

    python benchmarks/widgets.py

A real JupyterLab and a headless Chromium without a graphics card, as the browser tests start them. A frame is what the tool
does in it and what the browser does to fill the canvas; the canvas has the pixels of a high-density screen, two for each
CSS pixel. What is measured is written to benchmarks/results/widgets.json and .md. It takes some two minutes.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, sync_playwright

from segnb.files import write_atomically

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results" / "widgets"
sys.path.insert(0, str(REPOSITORY / "tests" / "browser"))

from front_ends import CHROMIUM_FLAGS, Notebook, write_notebook  # noqa: E402
from servers import Server, start_lab  # noqa: E402
from widgets_parts import FIRST_PICTURE, FOLDER_OF_MANY, INSPECTOR, MOVE_SLIDER, SCROLL, TRAINING, VIEWER  # noqa: E402

MOVES = 60  # of a slider
DISPLAYS = 7  # of a tool, for a median
PICTURES = 10_000


class Row(NamedTuple):
    """A line of the table.

    Attributes:
        what: is measured.
        limit: that it should keep to, as text.
        measured: as text.
        holds: whether it does.
    """

    what: str
    limit: str
    measured: str
    holds: bool


class Desk:
    """A browser in front of a JupyterLab."""

    def __init__(self, browser: Browser, server: Server) -> None:
        self.browser, self.server = browser, server

    @contextmanager
    def notebook(self, *cells: str) -> Iterator[Notebook]:
        """Open a notebook in a window of a high-density screen."""
        context = self.browser.new_context(viewport={"width": 1280, "height": 900}, device_scale_factor=2)
        notebook = Notebook(
            context.new_page(), write_notebook(list(cells), self.server.folder, "installed"), self.server
        )
        notebook.open()
        yield notebook
        if notebook.console_errors() or "Traceback" in notebook.outputs():
            sys.exit(f"{notebook.console_errors()} {notebook.outputs()}")
        context.close()
        self.server.end_kernels()


# What is measured


def frames(desk: Desk, side: int, limit: float) -> Iterator[Row]:
    """Time the frames while a slider moves: the opacity of a prediction, the threshold of a probability."""
    cells = [
        VIEWER.format(side=side, count=1),
        "explore(predictions)",
        INSPECTOR.format(side=side, count=1),
        "inspector",
    ]
    sliders = {"opacity": ".segnb-viewer .segnb-opacity", "threshold": ".segnb-inspector .segnb-threshold"}
    with desk.notebook(*cells) as notebook:
        notebook.run_all()
        notebook.wait_idle()
        notebook.page.wait_for_timeout(2000)
        for name, selector in sliders.items():
            notebook.page.locator(selector).scroll_into_view_if_needed()
            found = notebook.page.evaluate(MOVE_SLIDER, {"selector": selector, "moves": MOVES})
            middle, high = statistics.median(found["spent"]), statistics.quantiles(found["spent"], n=20)[-1]
            wide, tall = found["canvas"]
            measured = f"median {middle:.1f} ms, 95 % within {high:.1f} ms, canvas {wide} × {tall}"
            yield Row(f"a frame of {name}, picture {side} × {side}", f"{limit:.0f} ms", measured, high <= limit)


def wire(desk: Desk) -> Iterator[Row]:
    """Count what comes over the wire when another photo of 1024² is opened, with mask, prediction and probability."""
    with desk.notebook(INSPECTOR.format(side=1024, count=3), "inspector") as notebook:
        notebook.run_all()
        notebook.wait_idle()
        notebook.page.wait_for_timeout(2000)
        sizes = []
        devtools = notebook.page.context.new_cdp_session(notebook.page)
        devtools.send("Network.enable")
        devtools.on("Network.webSocketFrameReceived", lambda event: sizes.append(_bytes(event["response"])))
        notebook.page.locator(".segnb-inspector").get_by_role("button", name="Next picture").click()
        notebook.page.wait_for_timeout(3000)
    measured = sum(sizes) / 1024
    what = "one photo of 1024 × 1024 with mask, prediction and probability"
    yield Row(what, "400 KiB", f"{measured:.0f} KiB", 100 < measured <= 400)


def _bytes(frame: dict) -> int:
    """The size of a message: binary ones are told as base64 text."""
    return len(frame["payloadData"]) * 3 // 4 if frame["opcode"] == 2 else len(frame["payloadData"])


def display(desk: Desk) -> Iterator[Row]:
    """Time the first picture of a cell that shows photos of 1024² with mask and prediction."""
    with desk.notebook(VIEWER.format(side=1024, count=4), "explore(predictions)") as notebook:
        notebook.run_all()
        notebook.wait_idle()
        times = [notebook.page.evaluate(FIRST_PICTURE, {"cell": 1}) for _ in range(DISPLAYS)]
    shown, whole = (statistics.median(one[key] for one in times) for key in ("display", "cell"))
    yield Row("first picture after display, explore, 1024 × 1024", "300 ms", f"{shown:.0f} ms", shown <= 300)
    yield Row("first picture after Shift-Enter, explore, 1024 × 1024", "", f"{whole:.0f} ms", True)


def many(desk: Desk) -> Iterator[Row]:
    """Open a folder of many pictures, and scroll through the gallery."""
    with desk.notebook(FOLDER_OF_MANY.format(pictures=PICTURES), "segnb.explore(data)") as notebook:
        notebook.run_all()
        notebook.wait_idle()
        opened = notebook.page.evaluate(FIRST_PICTURE, {"cell": 1})["cell"]
        yield Row(f"explore, open {PICTURES} pictures", "2 s", f"{opened / 1000:.2f} s", opened <= 2000)
        found = notebook.page.evaluate(SCROLL, {"selector": ".segnb-viewer .segnb-gallery", "frames": 200})
    longest = max(found["tasks"], default=0)
    pace = statistics.median(found["gaps"])
    measured = (
        f"longest task {longest:.0f} ms, a frame each {pace:.0f} ms"
        if longest
        else f"no task over 50 ms, a frame each {pace:.0f} ms"
    )
    yield Row(f"explore, scroll {PICTURES} pictures", "no task over 100 ms", measured, longest <= 100)


def training(desk: Desk) -> Iterator[Row]:
    """Train with and without the monitor, in turns."""
    with desk.notebook(TRAINING) as notebook:
        notebook.run_all()
        notebook.page.wait_for_timeout(1000)
        notebook.wait_idle()
        [line] = [line for line in notebook.outputs().splitlines() if line.startswith("TOOK ")]
    took = json.loads(line.removeprefix("TOOK "))
    alone = [wall for name, wall, _ in took if name == "alone"]
    watched = [(wall, inside) for name, wall, inside in took if name == "watched"]
    inside = statistics.median(share / wall for wall, share in watched)
    slower = statistics.median(wall / other - 1 for (wall, _), other in zip(watched, alone, strict=True))
    yield Row("training, time in the monitor's callbacks", "1 %", f"{100 * inside:.2f} %", inside <= 0.01)
    yield Row("training, wall time against no monitor", "1 %", f"{100 * slower:+.2f} %", slower <= 0.01)


def measure(desk: Desk) -> Iterator[Row]:
    """All rows."""
    yield from frames(desk, 1024, 16)
    yield from frames(desk, 4096, 50)
    yield from display(desk)
    yield from wire(desk)
    yield from many(desk)
    yield from training(desk)


def report(machine: str, rows: list[Row]) -> str:
    """The table."""
    lines = [f"| {row.what} | {row.limit} | {'' if row.holds else '**over:** '}{row.measured} |" for row in rows]
    return "\n".join([
        "# What the tools cost in the browser", "",
        "`python benchmarks/widgets.py`: a real JupyterLab in a headless Chromium without a graphics card; a screen with two",
        "pixels for each CSS pixel. A frame is everything from the slider's event to filled pixels of the canvas.", "",
        f"{date.today().isoformat()}, {machine}.", "",
        "| what | limit | measured |", "|---|---|---|", *lines, "",
    ])  # fmt: skip


def main() -> None:
    """Measure and write the table."""
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium-headless-shell") or shutil.which("chromium"), args=CHROMIUM_FLAGS
        )
        server = start_lab(Path(home))
        try:
            rows = []
            for row in measure(Desk(browser, server)):
                print(row, flush=True)
                rows.append(row)
            machine = f"{platform.machine()}, {os.cpu_count()} cores, Chromium {browser.version}"
        finally:
            server.stop()
            browser.close()
    print(report(machine, rows))
    found = {"machine": machine, "date": date.today().isoformat(), "rows": [row._asdict() for row in rows]}
    write_atomically(RESULTS.with_suffix(".json"), lambda path: path.write_text(json.dumps(found, indent=1)))
    write_atomically(RESULTS.with_suffix(".md"), lambda path: path.write_text(report(machine, rows)))


if __name__ == "__main__":
    main()
