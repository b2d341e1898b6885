"""What nbval runs of an exercise: first as a student finds it, then solved.

Untouched, its check gives a hint; with the folded solution it says that all is right.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from editions import exercises

PROOF = """
assert not check_{name}({name}).startswith("Right!") and len(check_{name}({name})) > 20, "no hint for None"
{solution}
assert check_{name}({name}).startswith("Right!"), check_{name}({name})
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add both proofs to the cell of every exercise; nothing runs twice."""
    for item in items:
        notebook = getattr(item.parent, "nb", None)
        if notebook is None:
            continue
        for number, name, solution in exercises(notebook):
            if item.cell is notebook.cells[number]:
                item.cell.source += PROOF.format(name=name, solution=solution)
