"""The rules that keep the notebooks a course: short, executed, showing their pictures, the same on Colab."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
sys.path.insert(0, str(FOLDER))

import editions  # noqa: E402
import save  # noqa: E402

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
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


def test_the_list_of_notebooks_names_it_with_its_question(notebook, path):
    question = notebook.cells[0].source.partition("**The question:** ")[2].splitlines()[0]
    assert f"| [{path.stem}]({path.name}) | {question[0].upper()}{question[1:]} |" in (FOLDER / "README.md").read_text(
        "utf-8"
    )


def test_setup_pins_what_colab_has(notebook):
    setup = code_cells(notebook)[0].source
    assert 'if "google.colab" in sys.modules' in setup
    assert "%pip freeze" in setup
    assert "-c /tmp/pins.txt" in setup


def test_saved_executed_without_errors(notebook):
    assert [cell.execution_count for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert notebook.metadata["segnb"]["executed"] == save.digest(notebook), "the code has changed: make notebooks"
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


def test_every_exercise_has_a_solution_that_answers_it(notebook):
    found = editions.exercises(notebook)
    assert len(found) == sum(cell.source.count("# your turn") for cell in notebook.cells)
    assert len(found) == sum(cell.source.count(editions.FOLDED) for cell in notebook.cells) >= 1
    for number, name, solution in found:
        stored = [
            node.id
            for node in ast.walk(ast.parse(solution))
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        ]
        made = [node.name for node in ast.parse(solution).body if isinstance(node, ast.FunctionDef)]
        assert name in stored + made
        assert notebook.cells[number].source.splitlines()[-1] == f"check_{name}({name})"


def test_students_get_the_exercises_and_no_solutions(notebook):
    edition = editions.student(notebook)
    text = "\n".join(cell.source for cell in edition.cells)
    for _, name, solution in editions.exercises(notebook):
        assert f"{name} = None  # your turn" in text
        assert solution not in text
    assert editions.FOLDED not in text
    assert not [cell for cell in code_cells(edition) if cell.outputs or cell.execution_count]
    kept = [cell.source for cell in edition.cells if cell.source.startswith("## ")]
    assert "## Recap" in "\n".join(kept)


def test_instructors_get_the_solutions_in_their_places(notebook):
    edition = editions.instructor(notebook)
    for number, name, solution in editions.exercises(notebook):
        assert solution in edition.cells[number].source
        assert f"{name} = None" not in edition.cells[number].source
        ast.parse(edition.cells[number].source)


def test_both_editions_are_written(tmp_path):
    editions.write(tmp_path)
    for edition in ("student", "instructor"):
        assert [path.name for path in sorted((tmp_path / edition).iterdir())] == [path.name for path in NOTEBOOKS]
