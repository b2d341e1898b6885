"""Tools that live in a notebook's output: watch a model train, look through pictures and masks."""

from __future__ import annotations

from segnb.widgets.base import stopping
from segnb.widgets.monitor import TrainingMonitor
from segnb.widgets.viewer import MaskViewer, explore

__all__ = ["MaskViewer", "TrainingMonitor", "explore", "stopping"]
