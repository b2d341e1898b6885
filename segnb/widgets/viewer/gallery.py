"""What a gallery knows of its pictures, and which ones it shows.

    read(i) ─▶ image, truth, prediction ─┬─▶ thumbnail, 160 pixels      kept for the last 5000 pictures
                                         └─▶ facts: numbers only        kept for all; filter and sort read them

Nothing is read before it is looked at. The browser asks for a few pictures at a time, first for those in view, then for
the others while it is idle, and every answer takes a fraction of a second: the kernel is never blocked for long.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from segnb.widgets.pictures import THUMBNAIL, label_map, thumbnail
from segnb.widgets.viewer.facts import Facts, measure, thin

THUMBNAILS = 5000  # kept, about 5 KB each
FACTS = 1000  # known facts sent at once

Arrays = tuple[np.ndarray, "np.ndarray | None", "np.ndarray | None"]


@dataclass(frozen=True)
class Wish:
    """Which pictures are to be shown, in which order.

    Attributes:
        search: part of the name, in small or capital letters.
        labels: the labels that count: a chosen class, or every class but the background.
        with_class: only pictures in which one of ``labels`` occurs.
        object_pixels: only pictures with an object of at least and at most so many pixels; None is no bound.
        only_flagged: only flagged pictures.
        sort: one of `SORTS`.
        descending: the largest first.
    """

    search: str
    labels: tuple[int, ...]
    with_class: bool
    object_pixels: tuple[int | None, int | None]
    only_flagged: bool
    sort: str
    descending: bool

    def fits(self, facts: Facts) -> bool:
        """Tell whether a picture has what is asked of its labels."""
        low, high = self.object_pixels
        if self.with_class and not any(facts.pixels.get(label) for label in self.labels):
            return False
        if low is None and high is None:
            return True
        return any((low or 0) <= size <= (size if high is None else high) for size in facts.sizes(self.labels))

    @property
    def asks_for_facts(self) -> bool:
        """Whether names and flags are not enough to choose."""
        return self.with_class or self.object_pixels != (None, None)


# How to sort: the name of each way, and what is compared; a picture without the number comes last.
SORTS: dict[str, Callable[[Facts, tuple[int, ...]], float | None] | None] = {
    "data": None,
    "name": None,
    "area": lambda facts, labels: facts.share(labels),
    "largest object": lambda facts, labels: max(facts.sizes(labels), default=None),
    "smallest object": lambda facts, labels: min(facts.sizes(labels), default=None),
    "errors": lambda facts, _: facts.wrong,
}


def select(names: Sequence[str], flagged: set[str], facts: Callable[[int], Facts], wish: Wish) -> list[int]:
    """Choose and sort pictures; ``select`` in filters.js does the same in the browser.

    Args:
        names: of all pictures.
        flagged: names of the flagged ones.
        facts: tells what is known of a picture; it is asked only about pictures where names and flags do not settle it.
        wish: what is asked for.

    Returns:
        Places in ``names``. Pictures that are equal keep the order of the data.
    """
    part = wish.search.lower()
    found = [place for place, name in enumerate(names) if part in name.lower()]
    if wish.only_flagged:
        found = [place for place in found if names[place] in flagged]
    if wish.asks_for_facts:
        found = [place for place in found if wish.fits(facts(place))]
    compare = SORTS[wish.sort]
    if compare is None:
        values = {place: names[place] if wish.sort == "name" else place for place in found}
    else:
        values = {place: None if facts(place).problem else compare(facts(place), wish.labels) for place in found}
    known = sorted((p for p in found if values[p] is not None), key=values.__getitem__, reverse=wish.descending)
    return known + [place for place in found if values[place] is None]


class Gallery:
    """Looks at pictures when it is asked, and remembers what it saw.

    Args:
        read: index -> image (H, W, 3) uint8, truth and prediction, each (H, W) uint8 or None; may raise.
    """

    def __init__(self, read: Callable[[int], Arrays]) -> None:
        self._read = read
        self._facts: dict[int, Facts] = {}
        self._thumbnails: OrderedDict[int, dict[str, str | None]] = OrderedDict()

    def facts(self, index: int) -> Facts:
        """Tell what is known of a picture; read it if nothing is.

        Args:
            index: of the picture.

        Returns:
            Its facts; a picture that cannot be read has a ``problem``.
        """
        if index not in self._facts:
            self._look(index)
        return self._facts[index]

    def thumbnails(self, indexes: Iterable[int], seconds: float) -> list[dict[str, Any]]:
        """Make small pictures, until a time is over.

        Args:
            indexes: of the pictures, the most wanted first.
            seconds: for how long; at least one is made.

        Returns:
            For each picture: ``index``, ``facts``, and base64 text ``image`` (WebP) and ``labels`` (grey PNG or None).
        """
        end = time.monotonic() + seconds
        made = []
        for index in indexes:
            if index not in self._thumbnails:
                self._look(index)
            made.append({"index": index, "facts": asdict(self._facts[index]), **self._thumbnails.get(index, {})})
            if time.monotonic() > end:
                break
        return made

    def survey(self, first: int, last: int, seconds: float) -> list[dict[str, Any]]:
        """Tell the facts of pictures in a row, until a time is over.

        Args:
            first: index to begin with.
            last: index to end before.
            seconds: for how long; at least one is told.

        Returns:
            ``index`` and ``facts`` of each.
        """
        end = time.monotonic() + seconds
        told = []
        for index in range(first, min(last, first + FACTS)):
            told.append({"index": index, "facts": asdict(self.facts(index))})
            if time.monotonic() > end:
                break
        return told

    def _look(self, index: int) -> None:
        """Read a picture once, for its thumbnail and its facts."""
        try:
            image, truth, prediction = self._read(index)
        except Exception as problem:  # a file that is broken or gone is one cell of the gallery, not its end
            self._facts[index] = Facts(problem=f"{type(problem).__name__}: {problem}")
            return
        shown = truth if prediction is None else prediction
        small = None if shown is None else label_map(thin(shown, THUMBNAIL))
        self._thumbnails[index] = {"image": thumbnail(image), "labels": small}
        if len(self._thumbnails) > THUMBNAILS:
            self._thumbnails.popitem(last=False)
        if index not in self._facts or self._facts[index].problem:
            self._facts[index] = measure(truth, prediction)
