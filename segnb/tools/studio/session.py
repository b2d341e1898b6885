"""What was done in a studio, step by step, as a notebook that does it again.

what each tool writes as code ─▶ steps: a heading, a sentence, a cell ─▶ lesson.ipynb ─▶ the same model
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segnb.errors import SegnbError
from segnb.files import write_atomically

SEED = 0  # of the model's first weights; `fit` has 0 of its own
SUFFIX = ".ipynb"
TITLE = "# A lesson in segmentation\n\nWritten by `segnb.studio`: run the cells from top to bottom."


@dataclass(frozen=True)
class Step:
    """A step of a lesson.

    Attributes:
        title: its heading.
        text: a sentence or two.
        code: of the cell.
    """

    title: str
    text: str
    code: str


def own_lines(code: str) -> str:
    """Take out of a tool's code what earlier cells have said already.

    Args:
        code: what ``as_code()`` has written.

    Returns:
        Lines without the import of segnb and the hints on what the names in them are.
    """
    lines = [line.split("  # or ")[0] for line in code.splitlines()]
    return "\n".join(line for line in lines if line != "import segnb" and not line.startswith("# data: ")).strip()


def as_script(steps: Sequence[Step]) -> str:
    """Write the steps as one text of Python.

    Args:
        steps: in their order.

    Returns:
        Lines, with a comment for each step.
    """
    return "\n\n".join(["import segnb", *(f"# {step.title}\n{step.code}" for step in steps)])


def notebook_path(given: str | Path) -> Path:
    """Check the name of a notebook.

    Args:
        given: the file.

    Returns:
        Its path.

    Raises:
        SegnbError: it does not end in ``.ipynb``.
    """
    path = Path(given).expanduser()
    if path.suffix != SUFFIX:
        raise SegnbError(f"{str(given)!r} is no name of a notebook: use {path.with_suffix(SUFFIX).name!r}.")
    return path


def write_notebook(steps: Sequence[Step], path: Path) -> Path:
    """Write the steps as a notebook.

    Args:
        steps: in their order.
        path: of the file; one that is there is replaced.

    Returns:
        The file.
    """
    cells = [_cell("markdown", TITLE), _cell("code", "import segnb")]
    for number, step in enumerate(steps, start=1):
        cells += [_cell("markdown", f"## {number} {step.title}\n\n{step.text}"), _cell("code", step.code)]
    notebook = {
        "cells": [{"id": f"cell-{place:02d}", **cell} for place, cell in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _cell(kind: str, source: str) -> dict[str, Any]:
    """A cell as nbformat 4.5 has it; the format is plain JSON, and nbformat is not there in every environment."""
    code = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {}, "source": source, **code}
