"""What a studio holds and shows: its tools, where the session stands, and the box that they are displayed in."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ipywidgets

from segnb.data.wording import counted, listed
from segnb.errors import SegnbError
from segnb.tools.studio.corrections import Corrections
from segnb.tools.studio.data import StudioData
from segnb.tools.studio.pages import standing
from segnb.widgets.augmenter.augmenter import Augmenter, augment
from segnb.widgets.studio.panel import Panel
from segnb.widgets.studio.tabs import title_of
from segnb.widgets.viewer.viewer import MaskViewer, explore

if TYPE_CHECKING:
    import albumentations as A

    from segnb.data.checks.report import DataReport
    from segnb.data.datasets import SegmentationDataset
    from segnb.exporting import ExportReport
    from segnb.models import SegmentationModel
    from segnb.tools.studio.training import Training
    from segnb.train.run import Run
    from segnb.widgets.builder.builder import Builder
    from segnb.widgets.inspector.inspector import Inspector
    from segnb.widgets.monitor.monitor import TrainingMonitor
    from segnb.widgets.painter.painter import Painter

VIEW = "application/vnd.jupyter.widget-view+json"
ENCODER = "tf_efficientnet_lite0"  # to begin with: small, fast on a CPU, and its weights need no network
LARGEST = 4096  # pixels of a side, for the drawing of the model
OF_A_MODEL = ("look", "correct", "export")  # tabs that begin anew with every training


class StudioState:
    """The state of `segnb.tools.studio.Studio`, which documents it.

    Args:
        data: pictures to learn from and to judge by.
    """

    def __init__(self, data: StudioData) -> None:
        self._data = data
        self.training_data: SegmentationDataset = data.train
        self.validation_data: SegmentationDataset = data.valid
        self.model: SegmentationModel | None = None
        self.report: DataReport | None = None
        self.exported: ExportReport | None = None
        self._training: Training | None = None
        self._rounds: list[Corrections] = []
        self._tools: dict[str, Any] = {}
        self._first_steps: list[Any] = []  # of the augmenter
        self._painting: Corrections | None = None  # that are not in use yet
        self._shown: Any = None
        self.panel = Panel(self.open, self._act, self.describe, self.figure_png, self.as_code)
        self.box = ipywidgets.VBox([self.panel], layout=ipywidgets.Layout(overflow="visible"))
        self.box.add_class("segnb-studio-box")

    def open(self, tab: str) -> StudioState:
        """Open a tab."""
        raise NotImplementedError

    def _act(self, name: str) -> None:
        """Do what a button says."""
        raise NotImplementedError

    def as_code(self) -> str:
        """Write the session as Python code."""
        raise NotImplementedError

    # Tools, made when they are first needed

    @property
    def explorer(self) -> MaskViewer:
        """The gallery of the pictures of ``panel.part``."""
        part = self.panel.part
        # A copy: its code shall call it data, and not what the notebook calls the one that was given.
        return self._tool(part, lambda: explore(copy.copy(self._pictures(part))))

    @property
    def augmenter(self) -> Augmenter:
        """The tool that builds the pipeline of augmentation."""
        return self._tool("augment", self._make_augmenter)

    @property
    def builder(self) -> Builder:
        """The tool that chooses the model."""
        return self._tool("model", self._make_builder)

    @property
    def monitor(self) -> TrainingMonitor | None:
        """The monitor of the last training; None before."""
        return self._tools.get("train")

    @property
    def inspector(self) -> Inspector:
        """The tool that shows where the model is wrong; made anew after each training, it judges every validation picture."""
        self._need_model()
        return self._tool("look", self._make_inspector)

    @property
    def painter(self) -> Painter | None:
        """The tool that corrects masks; None before `correct`."""
        return self._tools.get("correct")

    @property
    def run(self) -> Run | None:
        """The last training; None before."""
        return None if self._training is None else self._training.run

    @property
    def pipeline(self) -> A.Compose | None:
        """The augmentation of the next training; None if there is none."""
        return self.augmenter.pipeline if self._is_augmented() else self.training_data.transform

    def _tool(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._tools:
            self._tools[name] = make()
            self._tell()
        return self._tools[name]

    def _make_augmenter(self) -> Augmenter:
        augmenter = augment(self.training_data)
        self._first_steps = augmenter.steps
        augmenter.observe(self._tell, "steps")
        return augmenter

    def _make_builder(self) -> Builder:
        from segnb.tools.building import build

        size = tuple(min(side, LARGEST) for side in self.training_data.read(0)[0].shape[:2])
        data = self.training_data
        builder = build("unet", ENCODER, classes=data.classes, in_channels=data.in_channels, size=size)
        builder.observe(self._tell, ["arch", "encoder_name"])
        return builder

    def _make_inspector(self) -> Inspector:
        from segnb.tools.inspecting import inspect

        return inspect(self.model, self.validation_data)

    def _pictures(self, part: str) -> SegmentationDataset:
        return self.training_data if part == "training" else self.validation_data

    def _is_augmented(self) -> bool:
        """Whether the steps were changed: a transform of the data set that cannot be shown as steps stays otherwise."""
        return "augment" in self._tools and self.augmenter.steps != self._first_steps

    # Where the session stands

    def describe(self) -> str:
        """Say where the session stands."""
        return f"Studio, {title_of(self.panel.tab)}. " + "; ".join(self.panel.facts.values())

    def figure_png(self) -> bytes:
        """Draw where the session stands, and the open tool.

        Returns:
            The bytes of a PNG file.
        """
        tool = self._open_tool()
        return standing(self.panel.tab, self.panel.facts, tool.figure_png() if hasattr(tool, "figure_png") else b"")

    def _facts(self) -> dict[str, str]:
        """Say what has been done, a few words for each tab."""
        return {tab: fact for tab, fact in self._possible_facts() if fact}

    def _possible_facts(self) -> Iterator[tuple[str, str]]:
        counts = f"{len(self.training_data)} training and {len(self.validation_data)} validation pictures"
        yield "data", f"{counts}; classes: {listed([str(name) for name in self.training_data.label_names])}"
        yield "check", "" if self.report is None else _count_findings(self.report)
        yield "augment", self._augmentation()
        yield "model", f"{self.builder.arch} on {self.builder.encoder_name}" if "model" in self._tools else ""
        yield "train", "" if self._training is None else self._training.fact()
        yield "look", self._tools["look"].describe() if "look" in self._tools else ""
        names = [name for corrections in self._rounds for name in corrections.names]
        yield "correct", f"{counted(len(names), 'mask')} painted right: {listed(names, 4)}" if names else ""
        yield "export", "" if self.exported is None else f"{self.exported.path}, {self.exported.size_mb:.1f} MB"

    def _augmentation(self) -> str:
        """Name the steps of the pipeline; empty if there are none."""
        if not self._is_augmented():
            return "the data set's own" if getattr(self.training_data, "transform", None) is not None else ""
        return listed([step["name"] for step in self.augmenter.steps if step["on"]])

    def _hints(self) -> dict[str, str]:
        """Say what the next training will work with."""
        model = (
            f"{self.builder.arch} on {self.builder.encoder_name}" if "model" in self._tools else f"unet on {ENCODER}"
        )
        return {"train": f"Model: {model}. Augmentation: {self._augmentation() or 'none'}."}

    def _missing(self) -> dict[str, tuple[str, str]]:
        """Say what a tab lacks, and which other one gives it."""
        if self._training is not None and self._training.is_running:
            return dict.fromkeys(OF_A_MODEL, ("The model is still being trained: wait, or press Finish now.", "train"))
        if self._training is None or not self._training.run.history:
            return dict.fromkeys(OF_A_MODEL, ("There is no trained model yet.", "train"))
        return {}

    def _need_model(self) -> None:
        if "look" in self._missing():
            raise SegnbError(f"{self._missing()['look'][0]} Call studio.train(), and studio.run.wait() for its end.")

    def _tell(self, _change: Any = None) -> None:
        """Show where the session stands; a change of a tool, or a run, may be given."""
        with self.panel.hold_sync():
            self.panel.facts, self.panel.hints = self._facts(), self._hints()
            self.panel.missing = {tab: list(lack) for tab, lack in self._missing().items()}
            self.panel.training = self._training is not None and self._training.is_running

    @contextmanager
    def _working(self, what: str) -> Iterator[None]:
        """Say what is going on as long as it does."""
        self.panel.working, self.panel.said = what, ""
        try:
            yield
        finally:
            self.panel.working = ""

    @contextmanager
    def _at_work(self, tab: str, what: str) -> Iterator[None]:
        """Open a tab, say what is going on in it, and show what came of it."""
        self.panel.tab = tab
        self._put()
        with self._working(what):
            yield
        self._put()
        self._tell()

    def _fill(self, **values: Any) -> None:
        """Write what was given into the form; None leaves what stands there."""
        for name, value in values.items():
            if value is not None:
                setattr(self.panel, name, str(value) if isinstance(getattr(self.panel, name), str) else value)

    # How it is displayed

    def _open_tool(self) -> Any:
        return self._tools.get(self.panel.part if self.panel.tab == "data" else self.panel.tab)

    def _put(self) -> None:
        """Show the tool of the open tab."""
        tool = self._open_tool()
        children = (self.panel,) if tool is None else (self.panel, tool)
        if self.box.children != children:
            self.box.children = children

    def _ipython_display_(self) -> None:
        from IPython.display import display

        data, metadata = self._bundle()
        self._shown = display(data, metadata=metadata, raw=True, display_id=True)

    def _keep_picture(self) -> None:
        """Put a new picture into the notebook, for where no kernel runs."""
        if self._shown is not None:
            data, metadata = self._bundle()
            self._shown.update(data, metadata=metadata, raw=True)

    def _bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The box for a live page, and the panel's picture for all others."""
        data, metadata = self.panel._repr_mimebundle_()
        return {**data, VIEW: {**data[VIEW], "model_id": self.box.model_id}}, metadata

    def __repr__(self) -> str:
        return self.describe()


def _count_findings(report: DataReport) -> str:
    found = [
        (severity, sum(one.severity == severity for one in report.findings))
        for severity in ("error", "warning", "note")
    ]
    return ", ".join(counted(number, severity) for severity, number in found)
