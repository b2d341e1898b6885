"""The tools in one place, as tabs from data to export."""

from segnb.tools.studio.steps import Studio, studio

__all__ = ["Studio", "studio"]
