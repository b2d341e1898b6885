"""The rules that keep the notebooks a course: short, executed, showing their pictures, the same on Colab."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert "00_quickstart" in [path.stem for path in NOTEBOOKS]


def test_short(notebook, path):
    cells = code_cells(notebook)
    lines = sum(bool(line.strip()) for cell in cells for line in cell.source.splitlines())
    assert len(cells) <= 12
    assert lines <= 80
    assert path.stat().st_size <= 400_000


def test_first_cell_says_what_it_is_about(notebook, path):
    first = notebook.cells[0].source
    assert first.startswith("# ")
    for part in ("**The question:**", "**You will**", "**You need**", "**It takes**"):
        assert part in first
    assert f"https://colab.research.google.com/github/segnb/segnb/blob/main/notebooks/{path.name}" in first


def test_setup_pins_what_colab_has(notebook):
    setup = code_cells(notebook)[0].source
    assert 'if "google.colab" in sys.modules' in setup
    assert "%pip freeze" in setup
    assert "-c /tmp/pins.txt" in setup


def test_saved_executed_without_errors(notebook):
    assert [cell.execution_count for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert "widgets" not in notebook.metadata
    data = [output.get("data", {}) for output in outputs]
    assert not [kinds for kinds in data if WIDGET in kinds], (
        "save it with python notebooks/save.py: a widget needs a kernel"
    )
    assert sum("image/png" in kinds for kinds in data) >= 3, "the saved notebook shows no pictures"


def test_claims_are_asserted(notebook):
    assert sum("assert " in cell.source for cell in code_cells(notebook)) >= 3


def test_an_exercise_can_be_checked_and_its_solution_is_folded(notebook):
    assert any("def check_" in cell.source for cell in code_cells(notebook))
    assert any("<details><summary>Solution</summary>" in cell.source for cell in notebook.cells)
    assert any("Predict first" in cell.source for cell in notebook.cells)
    assert any(cell.source.startswith("## Recap") for cell in notebook.cells)


def test_ids_are_stable(notebook):
    assert [cell.id for cell in notebook.cells] == [f"cell-{index:02d}" for index in range(len(notebook.cells))]
