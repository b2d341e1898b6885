"""What holds for every tool: it shows in every front end, leaves a picture, leaves nothing behind, and needs no mouse.

A tool is one line of TOOLS.
"""

from __future__ import annotations

from typing import NamedTuple

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from nbconvert import HTMLExporter
from playwright.sync_api import expect
from tools_page import Tools

pytestmark = pytest.mark.browser


class Tool(NamedTuple):
    """A tool under test.

    Attributes:
        name: of the tool.
        cell: binds `tool` and shows it, with small fake data whose classes are LABELS.
        selector: of its root.
        with_torch: its cell needs torch, which the environment with Colab's versions lacks.
        with_names: it shows the names of the classes.
        views: how many widgets it is made of.
    """

    name: str
    cell: str
    selector: str
    with_torch: bool = False
    with_names: bool = True
    views: int = 1


TRAIN = "tool = TrainingMonitor()\nFakeRun(epochs=1, steps=2, pause=0).train(tool);"
AUGMENT = "tool = Augmenter(FakeDataset(4))\ntool.add('HorizontalFlip')\ntool"
BUILD = "tool = build('unet', 'test_efficientnet', classes=LABELS, size=(64, 96))\ntool"
STUDIO = """from segnb.tools.studio import studio
opened = studio((FakeDataset(4), FakeDataset(2)))
tool = opened.box
opened"""
TOOLS = [
    Tool("explore", "tool = explore(FakeDataset(4))\ntool", ".segnb-viewer"),
    Tool("monitor", TRAIN, ".segnb-monitor"),
    Tool("augment", AUGMENT, ".segnb-augmenter", with_torch=True),
    Tool(
        "build", f"from segnb.tools.building import build\n{BUILD}", ".segnb-builder", with_torch=True, with_names=False
    ),
    Tool("inspect", "tool = make_inspector(6)\ntool", ".segnb-inspector"),
    Tool("paint", "tool = Painter([scene(seed)[0] for seed in range(3)], LABELS)\ntool", ".segnb-painter"),
    Tool("studio", STUDIO, ".segnb-studio-box", views=3),  # the box, the panel, the gallery
]
EACH_TOOL = pytest.mark.parametrize("tool", TOOLS, ids=[tool.name for tool in TOOLS])

HOSTILE = "<img src=x onerror=document.title='taken'> & <b>car</b>"  # a class name, as a data set may bring it
SETUP = """
from fake_training import LABELS, FakeDataset, FakeRun, scene
from fake_inspecting import make_inspector
from segnb.widgets import TrainingMonitor, explore
from segnb.widgets.augmenter.augmenter import Augmenter
from segnb.widgets.painter.painter import Painter
"""
NO_BUFFERS = "assert not any(isinstance(value, bytes) for value in tool.get_state().values())  # Colab would drop them"
NAMED_BADLY = f"{SETUP}\nLABELS[0] = {HOSTILE!r}"

FRONT_ENDS = [
    ("lab", "installed"),
    ("lab", "newest"),
    ("notebook", "installed"),
    ("notebook", "newest"),
    ("classic", "colab"),
]
HINT = "Run this cell in JupyterLab"


# Shown, and what is left of it without a kernel


@pytest.mark.parametrize(("front_end", "kernel"), FRONT_ENDS, ids=["-".join(pair) for pair in FRONT_ENDS])
def test_every_tool_in_every_front_end(open_notebook, front_end, kernel):
    tools = [tool for tool in TOOLS if not (tool.with_torch and kernel == "colab")]
    cells = [cell for tool in tools for cell in (tool.cell, NO_BUFFERS)]
    notebook = open_notebook([NAMED_BADLY, *cells], front_end=front_end, kernel=kernel)
    page = notebook.page
    notebook.run_all()
    for tool in tools:
        root = page.locator(tool.selector).first
        root.wait_for()
        if tool.with_names:
            root.get_by_text(HOSTILE).first.wait_for(state="attached")  # as text
        assert "".join(root.locator(".segnb-error").all_inner_texts()) == "", tool.name
    notebook.wait_idle(60)
    expect(page.locator(".segnb img[src='x']")).to_have_count(0)
    assert page.title() != "taken"
    assert "Traceback" not in notebook.outputs()
    assert notebook.console_errors() == []
    if front_end == "classic":
        page.evaluate("document.documentElement.setAttribute('theme', 'dark')")  # as Colab does
        assert serious_violations(page) == []

    saved = notebook.save()
    for tool, cell in zip(tools, saved.cells[1::2], strict=True):
        assert_fallback(tool, cell)


def assert_fallback(tool: Tool, cell: nbformat.NotebookNode) -> None:
    """A saved cell without its kernel is a picture and a hint, on the page that nbconvert makes of it."""
    alone = nbformat.v4.new_notebook(cells=[cell])
    html, _ = HTMLExporter().from_notebook_node(alone)
    assert "data:image/webp;base64," in html, tool.name
    assert HINT in html, tool.name
    assert "widget-view+json" not in html, tool.name
    assert HOSTILE not in html, tool.name  # escaped
    [picture] = {output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})}
    assert len(picture) < 200_000, tool.name


# One page with all tools, for what needs to be looked at in one front end only


@pytest.fixture(scope="module")
def tools(lab, open_for_module):
    """All tools in one JupyterLab page, run once."""
    lab.put_setting("@jupyterlab/notebook-extension:tracker", {"windowingMode": "none"})  # keep every cell in the page
    notebook = open_for_module([SETUP, *(tool.cell for tool in TOOLS), EMPTY, NO_PICTURES, "tool"])
    notebook.run_all()
    for tool in TOOLS:
        notebook.page.locator(tool.selector).first.wait_for()
    notebook.wait_idle(60)
    return Tools(notebook)


# Usable by all


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_axe_finds_nothing_serious(tools, theme):
    page = tools.page
    page.evaluate(f"window.jupyterapp.commands.execute('apputils:change-theme', {{ theme: 'JupyterLab {theme}' }})")
    page.locator(f"body[data-jp-theme-light={str(theme == 'Light').lower()}]").wait_for(state="attached")
    page.wait_for_timeout(500)  # colours fade
    assert serious_violations(page) == []


def serious_violations(page: object) -> list[str]:
    """What axe-core finds serious or critical inside the tools."""
    response = Axe().run(page, ".segnb").response
    assert len(response["passes"]) > 5  # it has looked
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in response["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


MARK_STOPS = """root => {
    // What Tab should reach: of a group of radio buttons the chosen one, which arrows then move.
    const seen = (node) => node.checkVisibility({ checkVisibilityCSS: true }) && !node.disabled && node.tabIndex >= 0;
    const nodes = [...root.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')].filter(seen);
    const stops = nodes.filter((node) => node.type !== 'radio' || node.checked);
    stops.forEach((node, i) => { node.dataset.stop = i; });
    return stops.map((node) => node.outerHTML.slice(0, 120));
}"""


@EACH_TOOL
def test_tab_reaches_every_control(tools, tool):
    page, root = tools.page, tools.page.locator(tool.selector).first
    stops = root.evaluate(MARK_STOPS)
    root.locator("[data-stop='0']").focus()
    reached = set()
    while len(reached) < len(stops) + 20 and root.evaluate("root => root.contains(document.activeElement)"):
        reached.add(page.evaluate("document.activeElement.dataset.stop ?? document.activeElement.className"))
        page.keyboard.press("Tab")  # it also stops at boxes that scroll, so that arrows can scroll them
    assert [html for place, html in enumerate(stops) if str(place) not in reached] == []


@EACH_TOOL
def test_every_control_has_a_name(tools, tool):
    found = tools.devtools.send("Runtime.evaluate", {"expression": f"document.querySelector({tool.selector!r})"})
    tools.devtools.send("Accessibility.enable")
    nodes = tools.devtools.send("Accessibility.queryAXTree", {"objectId": found["result"]["objectId"]})["nodes"]
    tools.devtools.send("Accessibility.disable")  # it would slow down every change of the page
    focusable = [
        node
        for node in nodes
        if any(entry["name"] == "focusable" and entry["value"]["value"] for entry in node.get("properties", []))
    ]
    assert focusable
    assert [node["role"]["value"] for node in focusable if not node.get("name", {}).get("value", "").strip()] == []


# Nothing stays

RUNS = 50
VIEWS = 20
FEW = 10  # listeners that JupyterLab itself makes meanwhile; a tool that forgot one would leave one for each run
SOME = 20  # nodes for each run that wait to be collected; a view that stayed would leave hundreds
EMPTY = """
import anywidget
class Empty(anywidget.AnyWidget):
    _esm = "export default { render({ el }) { el.classList.add('empty-widget'); } }"
Empty()
"""
NO_PICTURES = """
from segnb.widgets.base import SegnbWidget  # its picture for saved notebooks takes longer to draw than all the rest
kinds = [SegnbWidget]
for kind in kinds:
    kinds += kind.__subclasses__()
    kind.figure_png = lambda self: b""
"""


@pytest.fixture(scope="module")
def left_by_nothing(tools):
    """What every run of an empty widget leaves: ipywidgets keeps each view, and its element, as long as its model."""
    return tools.growth(1 + len(TOOLS), ".empty-widget", VIEWS)


@EACH_TOOL
def test_a_cell_that_is_run_again_leaves_nothing(tools, left_by_nothing, tool):
    left = tools.growth(1 + TOOLS.index(tool), tool.selector, RUNS)
    views = 2 if tool.name == "monitor" else tool.views  # that one is drawn anew when the training has ended
    listeners = "JSEventListeners"
    assert left[listeners] * RUNS < left_by_nothing[listeners] * RUNS * views + FEW, (left, left_by_nothing)
    assert left["Nodes"] < left_by_nothing["Nodes"] * views + SOME, (left, left_by_nothing)


@EACH_TOOL
def test_a_tool_that_is_shown_again_takes_no_memory(tools, left_by_nothing, tool):
    tools.run(1 + TOOLS.index(tool), tool.selector)
    left = tools.growth(3 + len(TOOLS), tool.selector, VIEWS)
    listeners = "JSEventListeners"
    assert left[listeners] * VIEWS < left_by_nothing[listeners] * VIEWS * tool.views + FEW, (left, left_by_nothing)
    assert left["Nodes"] < left_by_nothing["Nodes"] * tool.views + SOME, (left, left_by_nothing)
    assert left["JSHeapUsedSize"] < left_by_nothing["JSHeapUsedSize"] + 50_000, (left, left_by_nothing)
