"""The tabs of the studio, in the order of a lesson, and what each is for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Tab:
    """A step from data to export.

    Attributes:
        name: in Python.
        title: on the page.
        purpose: one sentence.
    """

    name: str
    title: str
    purpose: str


TABS = (
    Tab("data", "Data", "Look at the pictures and their masks before a model does."),
    Tab("check", "Check", "Find what would spoil the training: broken files, wrong labels, one picture on both sides."),
    Tab("augment", "Augment", "Make many pictures out of few, by changes that leave their masks true."),
    Tab("model", "Model", "Choose an encoder, which sees, and an architecture, which turns what it saw into a mask."),
    Tab("train", "Train", "Let the model learn from the training pictures; after each epoch the validation pictures judge it."),
    Tab("look", "Look", "See where the trained model is wrong on the validation pictures, the worst first, and why."),
    Tab("correct", "Correct", "Paint a mask right where it is wrong, and not the model. This step may be left out."),
    Tab("export", "Export", "Write the trained model as an ONNX file, which runs without segnb and without PyTorch."),
)  # fmt: skip
NAMES = tuple(tab.name for tab in TABS)


def title_of(name: str) -> str:
    """Write a tab as it is called on the page: ``"5 Train"``.

    Args:
        name: of the tab.

    Returns:
        Its number, counted from 1, and its title.
    """
    place = NAMES.index(name)
    return f"{place + 1} {TABS[place].title}"


def as_rows() -> list[dict[str, Any]]:
    """Put the tabs into plain data, for the page."""
    return [asdict(tab) for tab in TABS]
