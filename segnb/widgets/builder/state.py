"""What is chosen in a builder, and what cannot be: every value is checked before it is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import traitlets

from segnb.errors import SegnbError, nearest
from segnb.widgets.base import SegnbWidget
from segnb.widgets.builder.search import EncoderRow, checked_filters, found, licences_of

LARGEST = 4096  # pixels of a side
DEEPEST = 5  # times that an encoder halves the picture, unless encoder_depth says otherwise


class BuilderState(SegnbWidget):
    """The choices of `segnb.widgets.builder.builder.Builder`, which documents them.

    Args:
        encoders: rows of `EncoderRow`.
        architectures: descriptions.
        classes: number or names of the classes.
        in_channels: channels of the pictures.
    """

    settable: ClassVar[tuple[str, ...]] = ("arch", "encoder_name", "encoder_weights", "options", "size", "filters")

    encoders = traitlets.List().tag(sync=True)
    licences = traitlets.List().tag(sync=True)
    architectures = traitlets.List().tag(sync=True)
    arch = traitlets.Unicode().tag(sync=True)
    encoder_name = traitlets.Unicode().tag(sync=True)
    encoder_weights = traitlets.Unicode(None, allow_none=True).tag(sync=True)
    options = traitlets.Dict().tag(sync=True)
    size = traitlets.List().tag(sync=True)
    filters = traitlets.Dict().tag(sync=True)
    facts = traitlets.Dict().tag(sync=True)
    drawing = traitlets.Dict().tag(sync=True)
    measured = traitlets.Dict().tag(sync=True)
    progress = traitlets.Float(None, allow_none=True).tag(sync=True)

    def __init__(
        self,
        encoders: Sequence[Sequence[Any]],
        architectures: Sequence[Mapping[str, Any]],
        classes: int | Sequence[str],
        in_channels: int,
    ) -> None:
        self._rows = {row[0]: EncoderRow(*row) for row in encoders}
        self._classes, self._in_channels = classes, in_channels
        super().__init__(
            encoders=[list(row) for row in encoders],
            architectures=[dict(one) for one in architectures],
            licences=licences_of(list(self._rows.values())),
        )
        self.filters = {}

    def search(
        self,
        pattern: str = "",
        *,
        max_parameters: float | None = None,
        weights: str = "any",
        licence: str = "",
        order: str = "name",
    ) -> list[str]:
        """Filter the list of encoders, as its controls do.

        Args:
            pattern: a part of the name, or a pattern for the whole of it, such as ``"convnext*"``.
            max_parameters: only encoders with at most so many parameters.
            weights: ``"any"``, ``"pretrained"`` or ``"offline"`` (on this machine).
            licence: only encoders with weights under this licence, as timm states it; ``"not stated"`` is one of them.
            order: ``"name"`` or ``"parameters"``.

        Returns:
            The names that are left.

        Raises:
            SegnbError: a value that a filter cannot have; the nearest ones are offered.
        """
        self.filters = {
            "pattern": pattern, "max_parameters": max_parameters, "weights": weights, "licence": licence, "order": order,
        }  # fmt: skip
        return found(list(self._rows.values()), self.filters)

    def design(self) -> dict[str, Any]:
        """Put what was chosen into plain data.

        Returns:
            ``arch``, ``encoder_name``, ``encoder_weights``, ``in_channels``, ``classes``, ``options`` and ``size``.
        """
        return {
            "arch": self.arch,
            "encoder_name": self.encoder_name,
            "encoder_weights": self.encoder_weights,
            "in_channels": self._in_channels,
            "classes": self._classes,
            "options": dict(self.options),
            "size": list(self.size),
        }

    def unsuitable(self, encoder_name: str) -> str:
        """Say why an encoder does not go with the chosen architecture; such names are grey in the list.

        Args:
            encoder_name: one of `search`'s names.

        Returns:
            A sentence, or nothing if it does.
        """
        strides = self._architecture["levels"][str(self.options.get("encoder_depth", DEEPEST))]
        # A stride below 4 is never made by resizing: enlarging would add nothing.
        if max(strides) >= 4 or set(strides) & set(self._rows[encoder_name].strides):
            return ""
        return (
            f"{encoder_name} has no map of stride {strides[-1]}, and {self.arch} reads no other at this encoder_depth."
        )

    def _tags(self) -> list[str]:
        return [tag for tag, _ in self._rows[self.encoder_name].tags]

    @property
    def _architecture(self) -> dict[str, Any]:
        return next(one for one in self.architectures if one["name"] == self.arch)

    def _options_that_fit(self) -> dict[str, Any]:
        """Keep the options that the architecture shares with the one before."""
        known = {option["name"]: option for option in self._architecture["options"]}
        return {
            name: value
            for name, value in self.options.items()
            if name in known and (known[name]["kind"] != "choice" or value in known[name]["choices"])
        }

    def _suit_weights(self, had_some: bool) -> None:
        """Keep random weights if they were a choice, and a tag if this encoder has it too."""
        tags = self._tags()
        if not tags:
            self.encoder_weights = None
        elif self.encoder_weights not in tags and not (self.encoder_weights is None and had_some):
            self.encoder_weights = "imagenet"

    @traitlets.validate("arch")
    def _check_arch(self, proposal: dict[str, Any]) -> str:
        names = [one["name"] for one in self.architectures]
        if proposal["value"] not in names:
            raise SegnbError(f"unknown architecture {proposal['value']!r}. {nearest(proposal['value'], names)}")
        return proposal["value"]

    @traitlets.validate("encoder_name")
    def _check_encoder(self, proposal: dict[str, Any]) -> str:
        name = proposal["value"]
        if name not in self._rows:
            raise SegnbError(
                f"unknown encoder {name!r}. {nearest(name, self._rows)} builder.search('*net*') lists what there is."
            )
        return name

    @traitlets.validate("encoder_weights")
    def _check_weights(self, proposal: dict[str, Any]) -> str | None:
        value, tags = proposal["value"], self._tags()
        if value is not None and not (value in tags or (value == "imagenet" and tags)):
            options = ["imagenet", *tags] if tags else []
            raise SegnbError(
                f"encoder_weights={value!r}: {self.encoder_name!r} has no such weights. {nearest(value, options)} "
                "Give None for random ones."
            )
        return value

    @traitlets.validate("options")
    def _check_options(self, proposal: dict[str, Any]) -> dict[str, Any]:
        known = {option["name"]: option for option in self._architecture["options"]} if self.arch else {}
        for name, value in proposal["value"].items():
            if name not in known:
                raise SegnbError(f"{self.arch!r} has no option {name!r}. {nearest(name, known)}")
            if known[name]["kind"] == "choice" and value not in known[name]["choices"]:
                raise SegnbError(
                    f"{name}={value!r}: {self.arch!r} takes {', '.join(map(repr, known[name]['choices']))}."
                )
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in proposal["value"].items()}
        return {name: value for name, value in plain.items() if value != known[name]["default"]}

    @traitlets.validate("size")
    def _check_size(self, proposal: dict[str, Any]) -> list[int]:
        size = proposal["value"]
        whole = all(isinstance(side, int) and not isinstance(side, bool) for side in size)
        if len(size) != 2 or not whole or not all(1 <= side <= LARGEST for side in size):
            raise SegnbError(f"size={size!r}: give height and width in pixels, whole numbers from 1 to {LARGEST}.")
        return list(size)

    @traitlets.validate("filters")
    def _check_filters(self, proposal: dict[str, Any]) -> dict[str, Any]:
        return checked_filters(proposal["value"], self.licences)
