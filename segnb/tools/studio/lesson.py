"""The session of a studio as a lesson: steps in the order in which they took effect, each from its tool's own code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from segnb.tools.studio.reading import call, reading_code, write_pictures
from segnb.tools.studio.session import SEED, Step, as_script, notebook_path, own_lines, write_notebook
from segnb.tools.studio.state import StudioState

READ = "Pictures to learn from, and others to judge by, which the model never learns from."
CHECK = "What would spoil the training: broken files, wrong labels, one picture on both sides."
AUGMENT = "Many pictures out of few: each time a picture is read, the dice are thrown again. Masks change with their pictures."
MODEL = "An encoder that sees, and an architecture that turns what it saw into a mask. The seed gives the same first weights."
CORRECT = "Masks that were wrong and have been painted right, in place of the old ones."
LOOK = "Where the model is wrong on the validation pictures, the worst first."
EXPORT = "A file that runs without segnb and without PyTorch, compared with the model at three sizes."


class StudioLesson(StudioState):
    """Writes what was done as code; see `segnb.tools.studio.Studio`."""

    def save_notebook(self, path: str | Path | None = None) -> Path:
        """Write the session as a notebook that does it again, with the same results.

        Pictures that are in memory only are written into a folder beside it, such as lesson-data.

        Args:
            path: ending in ``.ipynb``; None takes what stands in the form. A file that is there is replaced.

        Returns:
            The file.

        Raises:
            SegnbError: the name has another ending, or the pictures are in memory only and PNG does not hold them.
        """
        self._fill(notebook=path)
        file = notebook_path(self.panel.notebook)
        folder = file.with_name(f"{file.stem}-data")
        write_pictures(self._data, folder)
        written = write_notebook(list(self._steps(folder.name)), file)
        self.panel.said = f"Saved as {written}"
        return written

    def as_code(self) -> str:
        """Write the session as one text of Python.

        Returns:
            The cells of `save_notebook`.
        """
        return as_script(list(self._steps("lesson-data")))

    def _augmentation_code(self) -> str:
        return own_lines(self.augmenter.as_code()) if self._is_augmented() else ""

    def _steps(self, folder: str) -> Iterator[Step]:
        """Write what was done, in the order in which it took effect; ``folder`` holds pictures that were in memory only."""
        yield Step("Data", READ, reading_code(self._data, folder))
        for part, name in (("training", "train"), ("validation", "valid")):
            if part in self._tools:
                code = own_lines(self._tools[part].as_code())
                yield Step("Look through", f"The {part} pictures with their masks.", f"data = {name}\n{code}")
        if self.report is not None:
            yield Step("Check", CHECK, "report = segnb.check_dataset(train, valid)\nreport")
        training = self._training
        augmentation = self._augmentation_code() if training is None else training.augmentation
        if augmentation:
            yield Step("Augment", AUGMENT, augmentation)
        if training is not None or "model" in self._tools:
            made = own_lines(self.builder.as_code() if training is None else training.model)
            yield Step("Model", MODEL, f"import torch\n\ntorch.manual_seed({SEED})\n{made}")
        rounds = [Step("Correct", CORRECT, corrections.as_code()) for corrections in self._rounds]
        yield from rounds[: None if training is None else training.rounds]
        if training is None:
            return
        yield training.as_step()
        yield from rounds[training.rounds :]
        if "look" in self._tools:
            yield Step("Look", LOOK, f"data = valid\n{own_lines(self._tools['look'].as_code())}")
        if self.exported is not None:
            options = {"raw_pixels": True} if self.exported.raw_pixels else {}
            exported = call("segnb.export", ["model", repr(str(self.exported.path))], options)
            yield Step("Export", EXPORT, f"exported = {exported}\nexported")
