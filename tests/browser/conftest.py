"""A real Jupyter on the loopback and a headless Chromium to look at it.

def test_something(open_notebook):
    notebook = open_notebook(["import segnb", "segnb.explore(data)"])   # sources of code cells, or a path
    notebook.run_all()
    notebook.page.locator(".segnb-viewer").wait_for()
    assert notebook.console_errors() == []

open_notebook(cells, kernel="newest")                          the newest ipykernel
open_notebook(cells, front_end="notebook")                     Notebook 7
open_notebook(cells, front_end="classic", kernel="colab")      Colab's versions: Notebook 6.5, ipywidgets 7
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from front_ends import CHROMIUM_FLAGS, FRAMES, FRONT_ENDS, Notebook, write_notebook
from playwright.sync_api import Error, expect, sync_playwright
from servers import COLAB, COLAB_PYTHON, NEWEST, TESTS, Server, start_classic, start_lab

IN_CI = os.environ.get("CI", "").lower() in ("1", "true")

sys.path.insert(0, str(TESTS))  # fake_training is there; the kernels get the same path


LONGEST = 300  # seconds for a test; calls into a page that hangs have no limit of their own


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test here a limit, and two more chances: without a graphics card a browser loses frames now and then."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(LONGEST))
            item.add_marker(pytest.mark.flaky(reruns=2))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tell why a test is repeated: what fails each time is wrong, what fails often should be looked at."""
    if report.outcome == "rerun":
        print(f"\nrepeated: {report.nodeid}\n{report.longreprtext[-2000:]}", file=sys.__stdout__)


def missing(reason: str) -> None:
    """Skip with a reason on a user's machine; in CI everything must be there."""
    if IN_CI:
        pytest.fail(f"CI must run the browser tests: {reason}")
    pytest.skip(reason)


class Servers:
    """The servers that tests have asked for: each is started once."""

    def __init__(self, new_folder: Callable[[str], Path]) -> None:
        self.new_folder = new_folder
        self.running: dict[str, Server] = {}

    def lab(self) -> Server:
        if importlib.util.find_spec("jupyterlab") is None:
            missing("JupyterLab is not installed: pip install 'segnb[lab]'")
        return self._once("lab", start_lab)

    def notebook(self) -> Server:
        if importlib.util.find_spec("notebook") is None:
            missing("Notebook 7 is not installed: pip install notebook")
        return self.lab()

    def classic(self) -> Server:
        if not COLAB_PYTHON.exists():
            missing(f"{COLAB} is missing: make test builds it, if there is a Python 3.13")
        return self._once("classic", start_classic)

    def stop(self) -> None:
        for server in self.running.values():
            server.stop()

    def _once(self, name: str, start: Callable[[Path], Server]) -> Server:
        if name not in self.running:
            self.running[name] = start(self.new_folder(name))
        return self.running[name]


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The servers, started when they are first needed."""
    all_of_them = Servers(tmp_path_factory.mktemp)
    yield all_of_them
    all_of_them.stop()


@pytest.fixture(scope="session")
def lab(servers: Servers) -> Server:
    """A JupyterLab with two kernels, "installed" and (if it is there) "newest"."""
    return servers.lab()


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    """The system's Chromium, or the one that Playwright has downloaded."""
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium-headless-shell") or shutil.which("chromium"), args=CHROMIUM_FLAGS
            )
        except Error as problem:
            missing(
                f"no Chromium: apt-get install chromium-headless-shell, or playwright install chromium ({problem.message[:80]})"
            )
        yield browser
        browser.close()


@contextmanager
def _browser_window(servers: Servers, chromium: object, **options: object) -> Iterator[Callable[..., Notebook]]:
    """A fresh browser window that opens notebooks; all kernels are shut down when it closes."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, **options)
    context.set_default_timeout(30_000)
    expect.set_options(timeout=20_000)
    context.add_init_script(FRAMES)

    def open_one(source: list[str] | Path, *, kernel: str = "installed", front_end: str = "lab") -> Notebook:
        if kernel == "newest" and not NEWEST.is_dir():
            missing(f"{NEWEST} is missing: make test installs it")
        server = getattr(servers, front_end)()
        path = write_notebook(source, server.folder, kernel)
        notebook = FRONT_ENDS[front_end](context.new_page(), path, server)
        notebook.open()
        return notebook

    yield open_one
    context.close()
    for server in servers.running.values():
        server.end_kernels()


@pytest.fixture
def open_notebook(servers: Servers, chromium: object) -> Iterator[Callable[..., Notebook]]:
    """Open a notebook in a fresh browser window; all kernels are shut down after the test."""
    with _browser_window(servers, chromium) as open_one:
        yield open_one


@pytest.fixture(scope="module")
def open_for_module(servers: Servers, chromium: object) -> Iterator[Callable[..., Notebook]]:
    """The same for a notebook that all tests of a file share; no test of that file may use `open_notebook`."""
    with _browser_window(servers, chromium) as open_one:
        yield open_one
