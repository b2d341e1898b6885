"""MaskViewer: a gallery of pictures with their masks and predictions, and each of them down to single pixels.

    names, first pictures ── with the widget ──▶ shown at once, even while the kernel is busy
    thumbnails and facts ─── a few at a time ──▶ gallery; filtered and sorted in the browser
    a picture ────────────── when it is opened ▶ JPEG and label PNGs; opacity, classes, outlines, swipe: in the browser

Every control is a trait with the same effect in Python, and `MaskViewer.found` is what the gallery shows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from segnb import draw
from segnb.errors import SegnbError
from segnb.widgets.pictures import label_map, photo
from segnb.widgets.viewer.code import viewing_code
from segnb.widgets.viewer.facts import count_pixels
from segnb.widgets.viewer.flags import Flags, default_path
from segnb.widgets.viewer.gallery import Arrays, Gallery, Wish, select
from segnb.widgets.viewer.items import ClassPages, DatasetItems, PredictionItems, arrays_of, names_of
from segnb.widgets.viewer.state import ViewerState

FIRST_BUDGET = 300 * 1024  # characters of pictures that travel with the widget
FIRST = 8  # pictures that travel with the widget, at most
SECONDS = 0.1  # that the kernel spends on one request for thumbnails or facts


class MaskViewer(ViewerState):
    """Shows pictures with masks and predictions: a gallery, and one picture with its layers.

    Every control is a trait, see `ViewerState`. Flags mark pictures by name; they are kept in a JSON file, so that they are
    there again after a restart of the kernel.

    Args:
        items: a sequence; each item is a mapping or an object with ``image`` (H, W) or (H, W, C) uint8, and if known
            ``labels`` (the true mask, (H, W) integers, 255 ignored), ``prediction`` (the same) and ``name``. If the
            sequence has a list ``names``, its items are only read when they are looked at.
        class_names: one name for each label, at most 255.
        palette: (n, 3) uint8, one colour for each label.
        flags: the file that keeps the flags; by default one in ``flags/`` under the working directory, see `flags_path`.
        source: what the items stand for, for "Copy as code"; by default the items.

    Raises:
        SegnbError: there are no items, colours and names differ in number, the first item does not fit, or the file of
            flags holds something else.
    """

    scripts: ClassVar[tuple[str, ...]] = (
        "shared",
        "stage",
        "layers",
        "gallery",
        "filters",
        "picture",
    )

    def __init__(
        self,
        items: Sequence[Any],
        class_names: Sequence[str],
        palette: np.ndarray,
        flags: str | Path | None = None,
        source: Any = None,
    ) -> None:
        if len(items) == 0:
            raise SegnbError("There are no pictures to show: give at least one")
        if len(class_names) != len(palette):
            raise SegnbError(
                f"{len(palette)} colours for {len(class_names)} class names: give one colour for each name"
            )
        if len(class_names) > draw.IGNORE:
            raise SegnbError(f"{len(class_names)} classes: a mask has at most 255, labels 0 to 254 (255 is ignored)")
        self._items, self._colours = items, np.asarray(palette)
        self._source = items if source is None else source
        self._gallery = Gallery(self._read)
        names, classes = names_of(items), [str(name) for name in class_names]
        self._given_flags = flags
        self._flags = Flags(default_path(self._source, names) if flags is None else flags)
        flagged = set(self._flags.read())
        self.names, self.class_names = names, classes
        pictures = list(self._first_pictures())
        super().__init__(
            palette=self._colours.tolist(),
            pictures=pictures,
            layer=next(layer for layer in ("prediction", "truth", "image") if pictures[0][layer]).replace(
                "image", "photo"
            ),
            shown=[name for name in classes if name.lower() != "background"],  # it would cover the whole picture
            flagged=[name for name in names if name in flagged],
        )
        self._initial = {name: getattr(self, name) for name in self.settable if name != "flagged"}
        self.observe(self._save_flags, "flagged")

    @property
    def found(self) -> list[int]:
        """Indexes of the pictures that pass the filters, in the order of the gallery.

        Pictures that nobody has looked at yet are read if a filter or the order needs what is in them.
        """
        return select(self.names, set(self.flagged), self._gallery.facts, self._wish())

    @property
    def class_pixels(self) -> dict[str, int]:
        """Pixels of each class in the pictures of `found`, which are read for it."""
        facts = [self._gallery.facts(index) for index in self.found]
        return {name: sum(one.pixels.get(label, 0) for one in facts) for label, name in enumerate(self.class_names)}

    @property
    def flags_path(self) -> Path:
        """The file that keeps the flags; it is made with the first flag."""
        return self._flags.path

    def on_command(self, message: dict[str, Any]) -> None:
        """Answer what the browser asks for.

        Args:
            message: ``{"type": "picture", "index": i}``, ``{"type": "thumbnails", "indexes": [i, ...]}`` or
                ``{"type": "survey", "first": i}``.
        """
        kind = message.get("type")
        if kind == "picture":
            self.send({"type": "picture", **self.payload(int(message["index"]))})
        elif kind == "thumbnails":
            records = self._gallery.thumbnails([int(index) for index in message["indexes"]], SECONDS)
            self.send({"type": "records", "records": records})
        elif kind == "survey":
            records = self._gallery.survey(int(message["first"]), self.count, SECONDS)
            self.send({"type": "records", "records": records})

    def payload(self, index: int) -> dict[str, Any]:
        """Encode one picture for the browser.

        Args:
            index: which, from 0.

        Returns:
            ``index``, ``name``, ``width`` and ``height`` in pixels of the original, base64 text ``image`` (JPEG), ``truth``
            and ``prediction`` (grey PNGs whose grey values are labels, or None), and ``counts``: pixels of each label in
            ``truth`` and ``prediction``, and in ``errors`` the wrong ones of each true label.

        Raises:
            SegnbError: the item cannot be shown; the message names it.
        """
        image, truth, prediction = self._read(index)
        layers = {"truth": truth, "prediction": prediction}
        counts = {name: labels for name, labels in layers.items() if labels is not None}
        if len(counts) == 2:
            counts["errors"] = np.where(truth == prediction, np.uint8(draw.IGNORE), truth)
        return {
            "index": index,
            "name": self.names[index],
            "width": image.shape[1],
            "height": image.shape[0],
            "image": photo(image),
            **{name: None if labels is None else label_map(labels) for name, labels in layers.items()},
            "counts": {name: count_pixels(labels)[: len(self._colours)].tolist() for name, labels in counts.items()},
        }

    def as_code(self) -> str:
        """Write what was clicked as code: the settings, the pictures found and the pictures flagged."""
        changed = {name: getattr(self, name) for name in self._initial if getattr(self, name) != self._initial[name]}
        pages = len(self._items.classes) if isinstance(self._items, ClassPages) else 1
        return viewing_code(self._source, self._given_flags, changed, self.filters, self.flagged, pages=pages)

    def describe(self) -> str:
        """Say what is shown."""
        pictures = "1 picture" if self.count == 1 else f"{self.count} pictures"
        return f"{pictures}, classes: {', '.join(self.class_names)}"

    def figure_png(self) -> bytes:
        """Draw a contact sheet: the first four pictures, or the first two with their predictions.

        Returns:
            The bytes of a PNG file.
        """
        items = []
        for index in range(min(4, self.count)):
            with contextlib.suppress(Exception):  # one that cannot be read is told of in the gallery
                items.append((*self._read(index), self.names[index]))
        if any(prediction is not None for _, _, prediction, _ in items):
            items = items[:2]
        return draw.png_bytes(draw.contact_sheet(items, self._colours, self.class_names), dpi=80)

    def _first_pictures(self) -> Iterator[dict[str, Any]]:
        """Payloads of the first pictures, one at least, as many as are small enough to travel with the widget."""
        left = FIRST_BUDGET
        for index in range(min(FIRST, len(self._items))):
            try:
                payload = self.payload(index)
            except Exception:
                if index == 0:
                    raise
                return  # what is wrong is told when the picture is opened
            left -= sum(len(payload[layer] or "") for layer in ("image", "truth", "prediction"))
            if index and left < 0:
                return
            yield payload

    def _read(self, index: int) -> Arrays:
        return arrays_of(self._items[index], index, self.names[index], len(self._colours))

    def _wish(self) -> Wish:
        chosen = [self.with_class] if self.with_class else [n for n in self.class_names if n.lower() != "background"]
        labels = tuple(label for label, name in enumerate(self.class_names) if name in chosen)
        bounds = tuple(self.object_pixels)
        return Wish(self.search, labels, bool(self.with_class), bounds, self.only_flagged, self.sort, self.descending)

    def _save_flags(self, change: Any) -> None:
        old, new = change["old"], change["new"]
        self._flags.change([name for name in new if name not in old], [name for name in old if name not in new])


def explore(source: Any, flags: str | Path | None = None) -> MaskViewer:
    """Look through a data set or through predictions: gallery, filters, single pixels, flags.

    Args:
        source: a `SegmentationDataset`, a `Prediction`, or a sequence of predictions of one model. If classes may overlap,
            each picture has a page for each class.
        flags: the JSON file that keeps the names of flagged pictures; by default ``flags/<name>-<digits>.json`` under the
            working directory, the same one whenever the same data are opened there.

    Returns:
        A viewer; the last expression of a cell shows it. Its ``flagged`` and ``found`` tell what was picked.

    Raises:
        SegnbError: the source is something else, or empty; or the file holds no flags.

    Example:
        >>> viewer = segnb.explore(train)
        >>> viewer.with_class, viewer.sort = "car", "smallest object"
        >>> small_cars = train.subset(viewer.found[:10])
    """
    if hasattr(source, "read") and hasattr(source, "label_names"):
        return _show(DatasetItems(source), source, flags, source)
    predictions = source if isinstance(source, Sequence) and not isinstance(source, str) else [source]
    if len(predictions) == 0:
        raise SegnbError("explore() was given an empty list: give at least one prediction")
    return _show(PredictionItems(predictions), predictions[0], flags, predictions)


def _show(items: DatasetItems | PredictionItems, first: Any, flags: str | Path | None, source: Any) -> MaskViewer:
    """Show items whose classes and colours the first of them knows."""
    names, colours = first.label_names, first.palette
    if getattr(first, "multilabel", False):
        black = np.zeros((1, 3), np.uint8)
        return MaskViewer(
            ClassPages(items, names), ["background", *names], np.concatenate([black, colours]), flags, source
        )
    return MaskViewer(items, names, colours, flags, source)
