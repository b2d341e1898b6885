"""The same picture twice: in training and validation it makes a model look better than it is.

    fingerprints equal ─────────────────────────────────────────────────────────▶ the same pixels
    difference hashes at most 8 of 64 bits apart, and 16×16 thumbnails correlate ─▶ nearly the same

The hash alone takes one metal plate for another; the thumbnail tells them apart. Measured on segnb's samples: a picture
stored as a poor JPEG, at half the size, a fifth brighter or noisier differs by at most 7 bits and correlates by at least
0.988; two slices of lungs, the most alike of different pictures, correlate by 0.979. Cropped or mirrored copies are not found.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segnb.data.checks.finding import Finding
from segnb.data.checks.looking import Look
from segnb.data.wording import counted, listed

if TYPE_CHECKING:
    from segnb.data.checks.survey import Survey

NEAR_BITS = 8
NEAR_CORRELATION = 0.985
ROWS = 1024  # pictures compared with all others at once


class Twins(NamedTuple):
    """Two pictures that look alike; ``exact`` if all their pixels are equal."""

    first: Look
    second: Look
    exact: bool


def find_twins(looks: list[Look]) -> list[Twins]:
    """Compare all pictures with each other.

    Args:
        looks: the pictures; those that cannot be read are passed over.

    Returns:
        Every pair that looks alike, in the order of the pictures.
    """
    looks = [look for look in looks if look.image is not None]
    if not looks:
        return []
    signs = np.array([look.image.hash for look in looks], np.float32) * 2 - 1  # so that a product counts equal bits
    thumbnails = np.array([look.image.thumbnail for look in looks])
    twins = []
    for start in range(0, len(looks), ROWS):
        apart = (64 - signs[start : start + ROWS] @ signs.T) / 2
        alike = thumbnails[start : start + ROWS] @ thumbnails.T >= NEAR_CORRELATION
        for row, column in np.argwhere((apart <= NEAR_BITS) & alike):
            first, second = looks[start + row], looks[column]
            if start + row < column:
                twins.append(Twins(first, second, first.image.fingerprint == second.image.fingerprint))
    return twins


def leaks(survey: Survey) -> Iterator[Finding]:
    """Pictures of the validation set that are in the training set, too."""
    across = [twins for twins in survey.twins if twins.first.pair.part != twins.second.pair.part]
    for exact, kind, severity in ((True, "the same as", "error"), (False, "nearly the same as", "warning")):
        found = [twins for twins in across if twins.exact == exact]
        leaking = list(dict.fromkeys(survey.title(twins.first) for twins in found))
        if found:
            yield Finding(
                check="leakage" if exact else "likely leakage",
                severity=severity,
                what=f"{counted(len(leaking), 'training picture')} {_are(leaking)} {kind} a validation picture",
                advice="Split again by where pictures come from: segnb.split(data, groups=[...]) keeps those of one "
                "patient, drive or video on one side.",
                names=leaking,
                meaning=f"Validation then rewards what was learned by heart. {_list_twins(survey, found)}",
                fix="takes them out of the training set",
            )


def repeated(survey: Survey) -> Iterator[Finding]:
    """Pictures that are in one part twice."""
    within = [twins for twins in survey.twins if twins.first.pair.part == twins.second.pair.part]
    for exact, kind, severity in ((True, "the same", "warning"), (False, "nearly the same", "note")):
        found = [twins for twins in within if twins.exact == exact]
        names = list(dict.fromkeys(survey.title(look) for twins in found for look in twins[:2]))
        unlike = [twins for twins in found if exact and _masks_differ(twins)]
        if found:
            yield Finding(
                check="duplicates" if exact else "near-duplicates",
                severity=severity,
                what=f"{counted(len(found), 'pair')} of pictures {_are(found)} {kind}",
                advice="Keep one of each, and before you split, keep such pictures together (groups=...).",
                names=names,
                meaning=_list_twins(survey, found)
                + (
                    f" The masks of {counted(len(unlike), 'pair')} differ: {_list_twins(survey, unlike)}" * bool(unlike)
                ),
            )


def _masks_differ(twins: Twins) -> bool:
    first, second = twins.first.mask, twins.second.mask
    return first is not None and second is not None and first.fingerprint != second.fingerprint


def _list_twins(survey: Survey, twins: list[Twins]) -> str:
    return listed([f"{survey.title(one.first)} = {survey.title(one.second)}" for one in twins], 5) + "."


def _are(found: list) -> str:
    return "is" if len(found) == 1 else "are"
