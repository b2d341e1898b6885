"""Tools that live in a notebook's output: look through data, augment it, watch a model train, paint masks.

`Builder`, `Inspector` and `Painter` are handed what they show; `segnb.build`, `segnb.inspect` and `segnb.paint`, in
`segnb.tools`, join them to models.
"""

from __future__ import annotations

from segnb.widgets.augmenter.augmenter import Augmenter, augment
from segnb.widgets.base import stopping
from segnb.widgets.builder.builder import Builder
from segnb.widgets.inspector.inspector import Inspector
from segnb.widgets.monitor.monitor import TrainingMonitor
from segnb.widgets.painter.painter import Painter
from segnb.widgets.viewer.viewer import MaskViewer, explore

__all__ = [
    "Augmenter",
    "Builder",
    "Inspector",
    "MaskViewer",
    "Painter",
    "TrainingMonitor",
    "augment",
    "explore",
    "stopping",
]
