"""Choose architecture and encoder, and see what the model computes."""

from segnb.widgets.builder.builder import Builder

__all__ = ["Builder"]
