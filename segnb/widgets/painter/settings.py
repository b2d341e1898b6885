"""What can be set in a painter, by a click or from Python, and what is said about values that do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import traitlets

from segnb import draw
from segnb.data.wording import counted
from segnb.errors import SegnbError, nearest
from segnb.widgets.base import SegnbWidget
from segnb.widgets.painter.superpixels import BIGGEST, SMALLEST

TOOLS = ("brush", "eraser", "polygon", "fill", "snap", "move")
WITHIN = ("label", "colour", "both")
LARGEST_BRUSH = 500

Proposal = dict[str, Any]  # traitlets gives a new value as proposal["value"]


class PainterSettings(SegnbWidget):
    """The traits of a painter; see `segnb.widgets.painter.painter.Painter` for what they mean."""

    settable = ("index", "tool", "label", "size", "superpixel_size", "within", "tolerance", "opacity")

    class_names = traitlets.List().tag(sync=True)
    palette = traitlets.List().tag(sync=True)
    first = traitlets.Dict().tag(sync=True)  # the first picture travels with the widget: the kernel may be busy
    order = traitlets.List().tag(sync=True)
    finished = traitlets.List().tag(sync=True)
    can_predict = traitlets.Bool().tag(sync=True)
    # Any: the checks below explain themselves better than the types of traitlets do.
    index = traitlets.Any(0).tag(sync=True)
    tool = traitlets.Any("brush").tag(sync=True)
    label = traitlets.Any(0).tag(sync=True)
    size = traitlets.Any(15).tag(sync=True)
    superpixel_size = traitlets.Any(20).tag(sync=True)
    within = traitlets.Any("label").tag(sync=True)
    tolerance = traitlets.Any(24).tag(sync=True)
    opacity = traitlets.Any(0.55).tag(sync=True)

    def checked_index(self, index: Any) -> int:
        """Refuse what is no picture of the queue: a whole number from 0."""
        if not isinstance(index, Integral) or not 0 <= index < len(self.order):
            pictures = counted(len(self.order), "picture")
            raise SegnbError(f"There is no picture {index!r}: the queue has {pictures}, counted from 0")
        return int(index)

    def checked_label(self, label: Any) -> int:
        """Refuse what is no label: a number, the name of a class, 255 to unlabel, or None for the chosen class."""
        label = self.label if label is None else label
        if isinstance(label, str):
            if label not in self.class_names:
                raise SegnbError(f"There is no class {label!r}. {nearest(label, self.class_names)}")
            return self.class_names.index(label)
        last = len(self.class_names) - 1
        if not isinstance(label, Integral) or not (0 <= label <= last or label == draw.IGNORE):
            raise SegnbError(f"label={label!r}: give 0 to {last}, the name of a class, or 255 to unlabel")
        return int(label)

    def checked_size(self, size: Any) -> int:
        """Refuse what is no diameter of a brush; None is the one set."""
        return _whole(self.size if size is None else size, "size", 1, LARGEST_BRUSH)

    def checked_superpixel_size(self, size: Any) -> int:
        """Refuse what is no size of superpixels; None is the one set."""
        size = self.superpixel_size if size is None else size
        return _whole(size, "superpixel_size", SMALLEST, BIGGEST)

    def checked_within(self, within: Any) -> str:
        """Refuse what is no limit of a fill; None is the one set."""
        return one_of(self.within if within is None else within, "within", WITHIN)

    def checked_tolerance(self, tolerance: Any) -> int:
        """Refuse what is no tolerance of a fill; None is the one set."""
        return _whole(self.tolerance if tolerance is None else tolerance, "tolerance", 0, 255)

    @traitlets.validate("index")
    def _check_index(self, proposal: Proposal) -> int:
        return self.checked_index(proposal["value"])

    @traitlets.validate("label")
    def _check_label(self, proposal: Proposal) -> int:
        return self.checked_label(proposal["value"])

    @traitlets.validate("size")
    def _check_size(self, proposal: Proposal) -> int:
        return self.checked_size(proposal["value"])

    @traitlets.validate("superpixel_size")
    def _check_superpixel_size(self, proposal: Proposal) -> int:
        return self.checked_superpixel_size(proposal["value"])

    @traitlets.validate("within")
    def _check_within(self, proposal: Proposal) -> str:
        return self.checked_within(proposal["value"])

    @traitlets.validate("tolerance")
    def _check_tolerance(self, proposal: Proposal) -> int:
        return self.checked_tolerance(proposal["value"])

    @traitlets.validate("tool")
    def _check_tool(self, proposal: Proposal) -> str:
        return one_of(proposal["value"], "tool", TOOLS)

    @traitlets.validate("opacity")
    def _check_opacity(self, proposal: Proposal) -> float:
        opacity = proposal["value"]
        if not isinstance(opacity, Real) or not 0 <= opacity <= 1:
            raise SegnbError(f"opacity={opacity!r}: give a number from 0 to 1")
        return float(opacity)


def one_of(value: Any, name: str, options: Sequence[str]) -> str:
    """Refuse a word that is not among the options.

    Args:
        value: what was given.
        name: of the option, for the message.
        options: the words there are.

    Returns:
        The value.

    Raises:
        SegnbError: it is none of them.
    """
    if value not in options:
        raise SegnbError(f"{name}={value!r}. {nearest(value, options)}")
    return value


def _whole(value: Any, name: str, low: int, high: int) -> int:
    if not isinstance(value, Integral) or not low <= value <= high:
        raise SegnbError(f"{name}={value!r}: give a whole number from {low} to {high}")
    return int(value)
