"""`studio`: the tools in one place, as tabs from data to export, for a first lesson without code.

    data ─▶ explore ─▶ check ─▶ augment ─┐
                                 build ──┴─▶ fit ─▶ inspect ─▶ paint        save_notebook: the session as code
                                              └─────▶ export

How it is shown: an `ipywidgets.VBox` with two children, the panel with the tabs above and the open tool below; a click asks
Python, which puts another widget into the lower place. This is the least that works in JupyterLab, Notebook 7 and the classic
notebook with Colab's versions (tests/browser/test_studio_browser.py):

- one anywidget for all could not hold the tools: widgets inside an anywidget need anywidget 0.11, and Colab has 0.9.21
  (https://github.com/manzt/anywidget/releases/tag/anywidget%400.11.0);
- a tool that is displayed again under a ``display_id`` no longer changes once the page was loaded again
  (https://github.com/ipython/ipython/issues/12215), and `ipywidgets.Output` loses text; the children of a box are state of the
  kernel, and come back with the page;
- `ipywidgets.Tab` keeps a view of every tool, with its canvases and listeners, also while it is hidden, and looks and answers
  keys differently in ipywidgets 7 and 8; here a view ends when its tab is left.

A box of one level is what `ipywidgets.interact` makes, too, which Colab shows.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnb.data.wording import counted
from segnb.errors import SegnbError, nearest
from segnb.tools.studio.corrections import Corrections, free_folder, with_masks
from segnb.tools.studio.data import StudioData, open_data
from segnb.tools.studio.lesson import StudioLesson
from segnb.tools.studio.pages import page

if TYPE_CHECKING:
    from segnb.data.checks.report import DataReport
    from segnb.data.datasets import SegmentationDataset
    from segnb.exporting import ExportReport
    from segnb.models import SegmentationModel
    from segnb.tools.studio.training import StudioMonitor
    from segnb.train.run import Run
    from segnb.widgets.painter.painter import Painter


class Studio(StudioLesson):
    """The tools from data to export: every click has a method here, and every tool is an attribute.

    Args:
        data: pictures to learn from and to judge by.

    Attributes:
        training_data: pictures to learn from, without what the augmenter adds.
        validation_data: pictures to judge by, with the corrected masks that are in use.
        model: of the last training; it has its best weights when ``run`` has ended.
        report: what `check` found; None before.
        exported: what `export` said of the model; None before.
        panel: the widget with the tabs; its traits are the fields of the forms.
        box: the widget that holds the panel and the open tool.

    Example:
        >>> studio = segnb.studio("street")
        >>> studio.augmenter.add("HorizontalFlip")
        >>> studio.train(epochs=3).wait()
        >>> studio.open("look").inspector.worst(3)
        >>> studio.export("model.onnx")
        >>> studio.save_notebook("lesson.ipynb")
    """

    def __init__(self, data: StudioData) -> None:
        super().__init__(data)
        self.open("data")

    def open(self, tab: str) -> Studio:
        """Open a tab.

        Args:
            tab: "data", "check", "augment", "model", "train", "look", "correct" or "export".

        Returns:
            The studio itself.

        Raises:
            SegnbError: there is no such tab, or its tool cannot be made.
        """
        self.panel.tab, self.panel.said = tab, ""
        self._put()
        ready = {"data": "explorer", "augment": "augmenter", "model": "builder", "look": "inspector"}
        if tab in ready and tab not in self._missing():
            with self._working("Judging every validation picture…" if tab == "look" else "Opening the tool…"):
                getattr(self, ready[tab])
            self._put()
        self._tell()
        return self

    def check(self) -> DataReport:
        """Look for what would spoil the training.

        Returns:
            The report of `segnb.check_dataset`.
        """
        from segnb.data import check_dataset

        with self._at_work("check", "Looking at every picture…"):
            self.report = check_dataset(self.training_data, self.validation_data)
            self._tools["check"] = page(self.report, "Share of each class, and the sizes of the pictures")
        return self.report

    def train(self, epochs: int | None = None, lr: float | str | None = None, budget: float | str | None = None) -> Run:
        """Train the chosen model, from its first weights, on the training pictures with the chosen augmentation.

        It trains in the background, so that the studio stays free; on Colab, which shows nothing of a background, it does not.

        Args:
            epochs: passes over the pictures; None, as for the others, takes what stands in the form.
            lr: highest learning rate, or "auto".
            budget: time to train for, such as "10 min"; the number of epochs then follows from the pace.

        Returns:
            The run of `segnb.fit`; ``run.wait()`` waits for its end.

        Raises:
            SegnbError: a model is being trained already, an argument does not fit, or what `segnb.fit` says.
        """
        from segnb.tools.studio.training import StudioMonitor, Watcher, new_model, options_of_fit
        from segnb.train import fit

        self._fill(epochs=epochs, rate=lr, budget=budget)
        if self.panel.training:
            raise SegnbError("A model is being trained already: wait for its end, or press Stop (studio.run.stop()).")
        options = options_of_fit(self.panel.epochs, self.panel.rate, self.panel.budget)
        with self._at_work("train", "Preparing the training…"):
            model, began_with = new_model(self.builder), self._beginning(options)
            train = self.training_data.with_transform(self.pipeline)
            monitor, begin = StudioMonitor(), partial(self._begin, model, began_with)
            run = fit(
                model,
                train,
                self.validation_data,
                callbacks=[Watcher(self.panel, partial(begin, monitor), self._tell, self._end), monitor],
                background="google.colab" not in sys.modules,
                **options,
            )
            begin(monitor, run)
        return run

    def correct(self, pictures: int | None = None) -> Painter:
        """Paint on the masks of the worst validation pictures; what was painted before and is not in use is given up.

        Args:
            pictures: how many; None takes what stands in the form.

        Returns:
            The painter, which saves what is painted in a folder corrections-1, -2, ... of the working directory.

        Raises:
            SegnbError: no model is trained.
        """
        from segnb.tools.painting import paint

        self._fill(pictures=pictures)
        self._need_model()
        with self._at_work("correct", "Looking for the worst pictures…"):
            worst = self.inspector.ranking()[: self.panel.pictures]
            if not worst:
                raise SegnbError("No validation picture has a score: their masks are ignored everywhere.")
            self._painting = Corrections(free_folder(), [self.validation_data.names[index] for index in worst])
            worst_pictures = self.validation_data.subset(worst)
            self._tools["correct"] = paint(worst_pictures, model=self.model, folder=self._painting.folder)
        return self._tools["correct"]

    def use_corrections(self) -> SegmentationDataset:
        """Judge by the painted masks from now on: the next look and the next training do.

        Returns:
            The new validation set.

        Raises:
            SegnbError: nothing is being painted, or no mask was changed.
        """
        painter, data = self.painter, self.validation_data
        if painter is None:
            raise SegnbError("No mask is being painted: call studio.correct(), or press Paint them.")
        masks = {name: painter.mask(i) for i, name in enumerate(self._painting.names)}
        changed = {name: mask for name, mask in masks.items() if (mask != data.read(data.names.index(name))[1]).any()}
        if not changed:
            raise SegnbError("No mask was changed yet: paint below, then use what you painted.")
        self.validation_data = with_masks(data, changed)
        self._rounds.append(Corrections(self._painting.folder, list(changed)))
        for tool in ("validation", "look", "correct"):
            self._tools.pop(tool, None)
        self.open("correct")
        self.panel.said = f"{counted(len(changed), 'mask')} in use: look again, or train again"
        return self.validation_data

    def export(self, path: str | Path | None = None, raw_pixels: bool | None = None) -> ExportReport:
        """Write the trained model as an ONNX file, checked against PyTorch.

        Args:
            path: ending in ``.onnx``; None, as for the other, takes what stands in the form.
            raw_pixels: whether the file takes pixels 0 to 255 and normalises inside.

        Returns:
            The report of `segnb.export`.

        Raises:
            SegnbError: no model is trained, or what `segnb.export` says.
        """
        from segnb.exporting import export

        self._fill(file=path, raw_pixels=raw_pixels)
        self._need_model()
        with self._at_work("export", "Writing the file, and comparing it with PyTorch…"):
            self.exported = export(self.model, self.panel.file, raw_pixels=self.panel.raw_pixels)
            self._tools["export"] = page(self.exported, "Logits of the file against those of PyTorch")
        self._keep_picture()
        return self.exported

    def _act(self, name: str) -> None:
        actions = {
            "check": self.check,
            "train": self.train,
            "paint": self.correct,
            "take": self.use_corrections,
            "export": self.export,
            "save": self.save_notebook,
        }
        if name not in actions:
            raise SegnbError(f"There is no button {name!r}. {nearest(name, actions)}")
        actions[name]()

    def _beginning(self, options: dict[str, Any]) -> dict[str, Any]:
        """Write down what the next training begins with."""
        return {
            "options": options,
            "augmentation": self._augmentation_code(),
            "model": self.builder.as_code(),
            "rounds": len(self._rounds),
        }

    def _begin(self, model: SegmentationModel, began_with: dict[str, Any], monitor: StudioMonitor, run: Run) -> None:
        """Show a training that has begun; what was found out about the model before is of the past."""
        from segnb.tools.studio.training import Training

        if self.run is run:
            return
        self._training = Training(run, **began_with)
        self.model, self.exported = model, None
        for tool in ("look", "export"):
            self._tools.pop(tool, None)
        self._tools["train"] = monitor
        self._put()
        self._tell()

    def _end(self, run: Run) -> None:
        """Show that a training has ended, and how."""
        self._tell()
        if run.state == "failed":
            self.panel.show_error(SegnbError(f"The training failed: {run.message}"))
        if self.panel.tab == "train":  # a front end draws the view anew: not under the hands of someone in another tool
            self._keep_picture()


def studio(data: Any, classes: Sequence[str] | None = None) -> Studio:
    """Open the studio: the tools in one place, as tabs from data to export, for a first lesson without code.

    What is chosen in a tab goes to the next ones: augmentation and model to the training, its model to look and export. The
    session can be saved as a notebook that does the same.

    Args:
        data: a pair (train, valid) of `SegmentationDataset`; one of them, or a folder with ``images/`` and ``masks/``, of which
            a fifth becomes the validation set; or the name of a sample, such as "street".
        classes: for a folder: the names of its labels, as `SegmentationDataset` takes them.

    Returns:
        A `Studio`; the last expression of a cell shows it.

    Raises:
        SegnbError: the data are something else, cannot be read, or have classes that overlap (multilabel).

    Example:
        >>> studio = segnb.studio("street")
        >>> studio
    """
    return Studio(open_data(data, classes))
