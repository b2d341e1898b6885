"""Paint masks."""

from segnb.widgets.painter.painter import Painter

__all__ = ["Painter"]
