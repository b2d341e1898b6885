"""Watch a model train, and steer it."""

from segnb.widgets.monitor.monitor import TrainingMonitor

__all__ = ["TrainingMonitor"]
