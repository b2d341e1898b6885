"""The frame of the studio: tabs from data to export."""

from segnb.widgets.studio.panel import Panel

__all__ = ["Panel"]
