"""Look at predictions, worst first, and at why they are as they are."""

from segnb.widgets.inspector.inspector import Inspector

__all__ = ["Inspector"]
