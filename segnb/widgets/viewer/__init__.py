"""Look through pictures, masks and predictions."""

from segnb.widgets.viewer.viewer import MaskViewer, explore

__all__ = ["MaskViewer", "explore"]
