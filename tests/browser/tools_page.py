"""A JupyterLab page with many tools, whose cells are run again and again, and what the page holds after that."""

from __future__ import annotations

from front_ends import Notebook

RUN_CELL = """async ({ cell, selector, times }) => {
    const { shell, commands } = window.jupyterapp;
    const notebook = shell.currentWidget.content;
    const frame = () => new Promise(requestAnimationFrame);
    for (let i = 0; i < times; i += 1) {
        notebook.activeCellIndex = cell;
        await commands.execute("notebook:run-cell");
        const end = Date.now() + 10_000;
        while (!notebook.widgets[cell].node.querySelector(selector)) {
            if (Date.now() > end) throw new Error(`cell ${cell} shows no ${selector}`);
            await frame();
        }
        await frame();
        await frame();
    }
}"""


class Tools:
    """A JupyterLab page with every tool, each in its cell; the last cell shows the `tool` bound last once more."""

    def __init__(self, notebook: Notebook) -> None:
        self.notebook, self.page = notebook, notebook.page
        self.devtools = self.page.context.new_cdp_session(self.page)
        for domain in ("Performance", "HeapProfiler"):
            self.devtools.send(f"{domain}.enable")

    def run(self, cell: int, selector: str, times: int = 1) -> None:
        """Run a cell again and again, each time until its tool has been drawn."""
        self.page.evaluate(RUN_CELL, {"cell": cell, "selector": selector, "times": times})

    def growth(self, cell: int, selector: str, times: int) -> dict[str, float]:
        """What each run of a cell leaves behind, once the first ones have filled every cache."""
        self.run(cell, selector, times=5)
        before = self.left_behind()
        self.run(cell, selector, times=times)
        after = self.left_behind()
        return {kind: (after[kind] - before[kind]) / times for kind in after}

    def left_behind(self) -> dict[str, float]:
        """Count what the page holds once everything that can be freed has been freed."""
        self.page.wait_for_timeout(500)
        for _ in range(3):
            self.devtools.send("HeapProfiler.collectGarbage")
        values = {entry["name"]: entry["value"] for entry in self.devtools.send("Performance.getMetrics")["metrics"]}
        return {name: values[name] for name in ("JSEventListeners", "Nodes", "JSHeapUsedSize")}
