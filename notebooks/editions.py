"""Student and instructor editions of the notebooks, from one source.

    python notebooks/editions.py editions    # makes editions/student and editions/instructor

An exercise is a code cell with a line ``answer = None  # your turn`` and, as its last line, ``check_answer(answer)``; the cell
after it folds the solution away. Students get no solution; in the instructor's edition it stands in the exercise. Neither
holds outputs.
"""

from __future__ import annotations

import copy
import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from segnb.files import write_atomically

TURN = re.compile(r"^(\w+) = None  # your turn$", re.MULTILINE)
FOLDED = "<details><summary>Solution</summary>"
SOLUTION = re.compile(re.escape(FOLDED) + r"\s*```python\n(.*?)\n```.*?</details>\s*", re.DOTALL)


def exercises(notebook: NotebookNode) -> list[tuple[int, str, str]]:
    """Find the exercises.

    Args:
        notebook: a notebook of the series.

    Returns:
        For each the number of its cell, the name of the answer, and the solution's code.
    """
    found = []
    for number, (cell, after) in enumerate(zip(notebook.cells, notebook.cells[1:], strict=False)):
        turn, solution = TURN.search(cell.source), SOLUTION.search(after.source)
        if cell.cell_type == "code" and turn and solution:
            found.append((number, turn.group(1), solution.group(1)))
    return found


def _without_outputs(notebook: NotebookNode) -> NotebookNode:
    edition = copy.deepcopy(notebook)
    for cell in edition.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return edition


def student(notebook: NotebookNode) -> NotebookNode:
    """Return a copy without solutions and without outputs."""
    edition = _without_outputs(notebook)
    for number, _, _ in exercises(notebook):
        edition.cells[number + 1].source = SOLUTION.sub("", edition.cells[number + 1].source)
    edition.cells = [cell for cell in edition.cells if cell.source.strip()]
    return edition


def instructor(notebook: NotebookNode) -> NotebookNode:
    """Return a copy with every exercise solved, without outputs."""
    edition = _without_outputs(notebook)
    for number, _, solution in exercises(notebook):
        cell = edition.cells[number]
        cell.source = TURN.sub(lambda _, code=solution: code, cell.source, count=1)
    return edition


def write(folder: Path) -> None:
    """Write both editions of all notebooks.

    Args:
        folder: gets the folders ``student`` and ``instructor``.
    """
    for edition in (student, instructor):
        place = folder / edition.__name__
        place.mkdir(parents=True, exist_ok=True)
        for path in sorted(Path(__file__).parent.glob("*.ipynb")):
            made = edition(nbformat.read(path, as_version=4))
            write_atomically(place / path.name, lambda temporary, made=made: nbformat.write(made, temporary))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
