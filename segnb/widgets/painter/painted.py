"""One mask that is being painted, with its history: only what changed is kept, compressed.

labels (H, W) ── change ──▶ smallest rectangle that holds all changed pixels ── before, after ──▶ undo, redo
"""

from __future__ import annotations

import zlib
from collections import deque
from typing import NamedTuple

import numpy as np

STEPS = 200  # that can be undone

Box = tuple[slice, slice]  # rows and columns


class Step(NamedTuple):
    """A change of the labels inside a box, zlib of both."""

    box: Box
    before: bytes
    after: bytes


class PaintedMask:
    """Labels that can be changed, and changed back.

    Args:
        labels: (H, W) uint8, 255 where unlabelled; taken over, not copied.

    Attributes:
        labels: as they are now.
        undone: steps that `redo` can bring back, the next one last.
        steps: steps that `undo` can take back, the next one last.
    """

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels
        self.steps: deque[Step] = deque(maxlen=STEPS)
        self.undone: list[Step] = []

    def paint(self, covered: np.ndarray, label: int | np.ndarray) -> Box | None:
        """Give pixels a label.

        Args:
            covered: (H, W) bool, the pixels.
            label: one for all, or (H, W) uint8.

        Returns:
            The box of the pixels that changed; None if all bore that label already.
        """
        changed = covered & (self.labels != label)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        if not len(rows):
            return None
        box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
        before = _compressed(self.labels[box])
        self.labels[box] = np.where(changed[box], label if np.isscalar(label) else label[box], self.labels[box])
        self.steps.append(Step(box, before, _compressed(self.labels[box])))
        self.undone.clear()
        return box

    def undo(self) -> Box | None:
        """Take the last step back; returns its box, or None if there is none."""
        if not self.steps:
            return None
        step = self.steps.pop()
        self.undone.append(step)
        return self._put(step.box, step.before)

    def redo(self) -> Box | None:
        """Bring back what was undone last; returns its box, or None if there is none."""
        if not self.undone:
            return None
        step = self.undone.pop()
        self.steps.append(step)
        return self._put(step.box, step.after)

    def _put(self, box: Box, labels: bytes) -> Box:
        inside = self.labels[box]
        inside[:] = np.frombuffer(zlib.decompress(labels), np.uint8).reshape(inside.shape)
        return box


def _compressed(labels: np.ndarray) -> bytes:
    return zlib.compress(labels.tobytes(), 1)
