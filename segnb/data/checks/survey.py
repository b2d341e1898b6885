"""All looks of a data set together with what its masks mean: what every check is given."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from segnb.data.checks.duplicates import Twins, find_twins
from segnb.data.checks.gathering import Gathered
from segnb.data.checks.looking import Look
from segnb.data.checks.meaning import Meaning, blends, codes_of, is_jpeg
from segnb.draw import IGNORE

FAR_APART = 32  # levels between two stored values: a blend of two neighbours can then not be taken for a third one

SizeFault = Literal["", "turned", "scaled", "other"]
LabelFault = Literal["", "smoothed", "unknown"]


@dataclass
class Survey:
    """A data set as the checks see it.

    Attributes:
        looks: all pictures, training first.
        parts: "train" and, if it was given, "valid", with the files that are in no pair.
        label_names: the name of each label.
        meaning: how the masks are read.
    """

    looks: list[Look]
    parts: dict[str, Gathered]
    label_names: list[str]
    meaning: Meaning

    def title(self, look: Look) -> str:
        """Name a picture, with its part if there are two."""
        return f"{look.pair.part}/{look.pair.name}" if len(self.parts) > 1 else look.pair.name

    def titles(self, looks: list[Look]) -> list[str]:
        """Name some pictures."""
        return [self.title(look) for look in looks]

    @cached_property
    def readable(self) -> list[Look]:
        """The pictures of which image and mask could be read."""
        return [look for look in self.looks if not look.problems]

    @cached_property
    def channels(self) -> int:
        """How many channels most images have."""
        counts = Counter(look.image.shape[2] for look in self.readable)
        return counts.most_common(1)[0][0] if counts else 0

    @cached_property
    def twins(self) -> list[Twins]:
        """Pairs of pictures that look alike."""
        return find_twins(self.looks)

    @cached_property
    def pixels(self) -> np.ndarray:
        """(readable pictures, labels) how many pixels have each label."""
        counts = np.zeros((len(self.readable), len(self.label_names)), np.int64)
        for row, look in zip(counts, self.readable, strict=True):
            labels, known = self.labels_of(look)
            counted = known & (labels != IGNORE)
            np.add.at(row, labels[counted], look.mask.pixels[counted])
        return counts

    def rows(self, part: str) -> np.ndarray:
        """Tell which of the readable pictures belong to a part: (readable pictures,) bool."""
        return np.array([look.pair.part == part for look in self.readable], bool)

    def labels_of(self, look: Look) -> tuple[np.ndarray, np.ndarray]:
        """Translate the values of a mask: (V,) labels, and (V,) bool whether they are known."""
        values = self.meaning.values
        codes = codes_of(look.mask, values.are_colours)
        place = np.searchsorted(values.codes, codes).clip(max=len(values.codes) - 1)
        known = (values.codes[place] == codes) & (values.are_colours or not look.mask.in_colour)
        return values.labels[place], known

    def label_fault(self, look: Look) -> LabelFault:
        """Say whether a mask has values without a meaning, and whether these are smoothed edges."""
        unknown = ~self.labels_of(look)[1]
        if not unknown.any():
            return ""
        return "smoothed" if blends(look.mask, is_jpeg(look))[unknown].all() else "unknown"

    @cached_property
    def can_snap(self) -> bool:
        """Whether a value on a smoothed edge can be told to belong to one label or the other."""
        values = self.meaning.values
        channels = np.stack([values.codes >> 16, values.codes >> 8 & 255, values.codes & 255]).astype(int)
        apart = np.abs(channels[:, :, None] - channels[:, None]).max(axis=0)
        return bool((apart[~np.eye(len(apart), dtype=bool)] >= FAR_APART).all())

    def size_fault(self, look: Look) -> SizeFault:
        """Say whether a mask has another size than its image, and why that may be."""
        (height, width, _), mask = look.image.shape, look.mask.shape
        if mask == (height, width):
            return ""
        if mask == (width, height) and look.image.orientation >= 5:
            return "turned"
        return "scaled" if abs(mask[0] * width - mask[1] * height) <= max(width, mask[1]) else "other"
