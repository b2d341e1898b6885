"""Checks of classes: how much there is of each, and are things large enough to be found?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from segnb.data.checks.finding import Finding
from segnb.data.checks.looking import TINY
from segnb.data.checks.survey import Survey
from segnb.data.wording import listed

RARE = 0.01  # of all pixels


def median_frequency_weights(pixels: np.ndarray) -> np.ndarray:
    """Weigh classes so that rare ones count as much as common ones.

    The frequency of a class is its share of the pixels of those pictures that show it; its weight is the median of all
    frequencies over its own (Eigen and Fergus, ICCV 2015, https://arxiv.org/abs/1411.4734: median frequency balancing).
    A class that is small but wherever it occurs in many pixels is thus not taken for a rare one.

    Args:
        pixels: (N, L) how many pixels of each picture have each label.

    Returns:
        (L,) float64; 1 for a class of typical size, and for one that never occurs.
    """
    of_all = np.where(pixels > 0, pixels.sum(axis=1, keepdims=True), 0).sum(axis=0)
    weights = np.ones(pixels.shape[1])
    shown = of_all > 0
    if shown.any():
        frequency = pixels.sum(axis=0)[shown] / of_all[shown]
        weights[shown] = np.median(frequency) / frequency
    return weights


def rare(survey: Survey) -> Iterator[Finding]:
    """Classes of few pixels."""
    pixels = survey.pixels[survey.rows("train")].sum(axis=0)
    share = pixels / max(pixels.sum(), 1)
    names = [f"{name} ({part:.2%})" for name, part in zip(survey.label_names, share, strict=True) if 0 < part < RARE]
    if names:
        yield Finding(
            check="rare classes",
            severity="note",
            what=f"under {RARE:.0%} of the pixels: {listed(names)}",
            advice="Weigh classes with report.class_weights, use a Dice loss, or crop with BalancedCrop.",
            meaning="A model that never finds them is right nearly everywhere, so plain cross-entropy teaches it that.",
        )


def tiny_objects(survey: Survey) -> Iterator[Finding]:
    """Connected areas of a few pixels: too small to be found, or slips of the pen."""
    names = survey.label_names
    objects, tiny = np.zeros((2, len(names)), np.int64)
    looks = []
    for look in survey.readable:
        labels, known = survey.labels_of(look)
        things = known & (labels < len(names)) & ~((labels == 0) & ("background" in names[0].lower()))
        np.add.at(objects, labels[things], look.mask.objects[things])
        np.add.at(tiny, labels[things], look.mask.tiny[things])
        looks += [look] if look.mask.tiny[things].any() else []
    if looks:
        counts = [f"{name} ({few} of {many})" for name, few, many in zip(names, tiny, objects, strict=True) if few]
        yield Finding(
            check="tiny objects",
            severity="note",
            what=f"connected areas of fewer than {TINY} pixels: {listed(counts)}",
            advice="Look at some: specks left by the pen should go; true things need larger pictures, or a decoder that "
            "reads stride 2 or 4.",
            names=survey.titles(looks),
            meaning="At a quarter of the size, where most decoders end, such an area is one cell or less.",
        )
