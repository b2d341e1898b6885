"""What the monitor's page and Python share: numbers and pictures one way, choices both ways."""

from __future__ import annotations

from typing import Any, ClassVar

import traitlets

from segnb.errors import SegnbError
from segnb.widgets.base import SegnbWidget
from segnb.widgets.monitor.film import PICTURES


class MonitorTraits(SegnbWidget):
    """The state of a `TrainingMonitor`: what it shows, and what is chosen to be seen of it.

    Attributes:
        shown_classes: labels whose curves are drawn.
        compared: names of the earlier runs whose curves are drawn.
        film_epoch: whose predictions are shown, one of ``film_epochs``; 0 is the newest.
        film_picture: which picture is shown, from 1; 0 shows all.
        film_view: ``"prediction"``, or ``"errors"``: the pixels that are wrong.
        playing: whether the film runs.
        notes: text about the run; kept in its folder as ``notes.txt``.
    """

    scripts: ClassVar[tuple[str, ...]] = ("shared", "stage", "charts", "film", "curves")
    settable: ClassVar[tuple[str, ...]] = (
        "shown_classes", "compared", "film_epoch", "film_picture", "film_view", "playing", "notes",
    )  # fmt: skip

    progress = traitlets.Dict().tag(sync=True)
    losses = traitlets.Dict().tag(sync=True)
    rates = traitlets.Dict().tag(sync=True)  # learning rate and images a second
    history = traitlets.List().tag(sync=True)
    label_names = traitlets.List().tag(sync=True)
    palette = traitlets.List().tag(sync=True)
    examples = traitlets.List().tag(sync=True)  # photo and truth of each picture of the film, sent once
    latest = traitlets.Dict().tag(sync=True)  # its newest frame: epoch and predictions
    film_epochs = traitlets.List().tag(sync=True)
    earlier = traitlets.List().tag(sync=True)  # runs to compare with, with their curves
    stop_with = traitlets.Unicode("interrupt").tag(sync=True)

    shown_classes = traitlets.List(traitlets.Int()).tag(sync=True)
    compared = traitlets.List(traitlets.Unicode()).tag(sync=True)
    film_epoch = traitlets.Int(0).tag(sync=True)
    film_picture = traitlets.Int(0).tag(sync=True)
    film_view = traitlets.Unicode("prediction").tag(sync=True)
    playing = traitlets.Bool(False).tag(sync=True)
    notes = traitlets.Unicode("").tag(sync=True)

    @traitlets.validate("shown_classes")
    def _valid_classes(self, proposal: dict[str, Any]) -> list[int]:
        for label in proposal["value"]:
            if not 0 <= label < len(self.label_names):
                raise SegnbError(
                    f"shown_classes: there is no label {label}, give labels from 0 to {len(self.label_names) - 1}"
                )
        return sorted(set(proposal["value"]))

    @traitlets.validate("compared")
    def _valid_runs(self, proposal: dict[str, Any]) -> list[str]:
        names = [run["name"] for run in self.earlier]
        for name in proposal["value"]:
            if name not in names:
                raise SegnbError(f"compared: no run {name!r} is in the list; monitor.compare(folder) puts one there")
        return proposal["value"]

    @traitlets.validate("film_epoch")
    def _valid_epoch(self, proposal: dict[str, Any]) -> int:
        if proposal["value"] not in (0, *self.film_epochs):
            raise SegnbError(
                f"film_epoch: the film has no epoch {proposal['value']}; film_epochs lists those that it has"
            )
        return proposal["value"]

    @traitlets.validate("film_picture")
    def _valid_picture(self, proposal: dict[str, Any]) -> int:
        if not 0 <= proposal["value"] <= max(len(self.examples), PICTURES):
            raise SegnbError(
                f"film_picture: there is no picture {proposal['value']}, give 1 to {PICTURES}, or 0 for all"
            )
        return proposal["value"]

    @traitlets.validate("film_view")
    def _valid_view(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] not in ("prediction", "errors"):
            raise SegnbError(f"film_view={proposal['value']!r}: give 'prediction' or 'errors'")
        return proposal["value"]
