"""Checks of masks: does every value mean a label, and is every label there?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from segnb.data.checks.finding import Finding
from segnb.data.checks.looking import Look
from segnb.data.checks.meaning import as_colour, is_jpeg
from segnb.data.checks.survey import Survey
from segnb.data.wording import counted, listed
from segnb.draw import IGNORE

KINDS = {
    "from 1": "masks number the labels from 1",
    "evenly spaced": "masks hold labels spread over the grey values, so that people can see them",
    "colours": "masks hold colours, not labels",
}


def conversion(survey: Survey) -> Iterator[Finding]:
    """Masks that hold something else than labels, and how to read them."""
    meaning, names = survey.meaning, survey.label_names
    if meaning.values.detected or meaning.kind == "0 and 255":
        yield Finding(
            check="mask values",
            severity="note",
            what=f"masks hold 0 and 255, where 255 means {names[1]!r}",
            advice="Nothing: SegmentationDataset recognises it. To be sure, pass mask_values=[0, 255].",
        )
    elif meaning.kind and meaning.certain:
        yield Finding(
            check="mask values",
            severity="error",
            what=KINDS[meaning.kind],
            advice=f"Pass {meaning.code} to SegmentationDataset.",
            meaning=f"Read as {_list_values(survey)}.",
            fix=f"reads them with {meaning.code}",
        )
    elif meaning.kind:
        yield Finding(
            check="mask values",
            severity="error",
            what=KINDS[meaning.kind],
            advice=f"Put these in the order of the labels ({listed(names)}; at most one more, to ignore) and pass them: "
            f"{meaning.code}",
            meaning="Which colour is which label cannot be seen from the masks.",
        )


def unknown(survey: Survey) -> Iterator[Finding]:
    """Values that mean no label."""
    if survey.meaning.kind and not survey.meaning.certain:
        return  # all values are unknown until the conversion is
    looks = [look for look in survey.readable if survey.label_fault(look) == "unknown"]
    if looks:
        values = Counter[int]()
        for look in looks:
            values.update(look.mask.codes[~survey.labels_of(look)[1]].tolist())
        words = [_write(survey, value) for value, _ in values.most_common()]
        yield Finding(
            check="unknown labels",
            severity="error",
            what=f"{counted(len(looks), 'mask')} with values that mean no label: {listed(words, 5)}",
            advice="Name a class for each in classes, correct the masks, or list the stored values in mask_values, one for each "
            "label and one more at the end for pixels to ignore.",
            names=survey.titles(looks),
            meaning=f"Known are {_list_values(survey)}.",
            fix="leaves them out",
        )


def smoothed(survey: Survey) -> Iterator[Finding]:
    """Masks whose edges are blends, because they were drawn with smoothing, resized, or stored as JPEG."""
    looks = [look for look in survey.readable if survey.label_fault(look) == "smoothed"]
    if not looks or (survey.meaning.kind and not survey.meaning.certain):
        return
    jpegs = sum(map(is_jpeg, looks))
    share = [float(look.mask.pixels[~survey.labels_of(look)[1]].sum() / look.mask.pixels.sum()) for look in looks]
    yield Finding(
        check="smoothed edges",
        severity="error",
        what=f"{counted(len(looks), 'mask')} with blended values along the edges"
        + (f", {jpegs} of them JPEG files" if jpegs else ""),
        advice="Draw without anti-aliasing, resize with nearest, save as PNG.",
        names=survey.titles(looks),
        meaning=f"Blends belong to no label; they are {np.mean(share):.1%} of the pixels of these masks."
        + (
            ""
            if survey.can_snap
            else " The values of the labels lie so close that a blend of two can look like a third."
        ),
        fix="gives each the nearest value among the labels around it" if survey.can_snap else "leaves them out",
    )


def missing(survey: Survey) -> Iterator[Finding]:
    """Labels that no picture shows, or only those of one part."""
    shown = {part: (survey.pixels[survey.rows(part)] > 0).any(axis=0) for part in survey.parts}
    everywhere = np.logical_or.reduce(list(shown.values()))
    never = [name for name, there in zip(survey.label_names, everywhere, strict=True) if not there]
    if never:
        yield Finding(
            check="missing labels",
            severity="warning",
            what=f"no mask shows {listed([repr(name) for name in never])}",
            advice="Take them out of classes, or add pictures that show them; check that the order of classes is right.",
            meaning="What is never shown cannot be learned.",
        )
    for part, there in shown.items():
        absent = [name for name, a, b in zip(survey.label_names, there, everywhere, strict=True) if b and not a]
        if absent:
            yield Finding(
                check="missing labels",
                severity="warning",
                what=f"no mask of {part} shows {listed([repr(name) for name in absent])}",
                advice="Split again with segnb.split(data), which puts each class on both sides.",
                meaning="It is not measured how well they are found." if part == "valid" else "They cannot be learned.",
            )


def empty(survey: Survey) -> Iterator[Finding]:
    """Masks with nothing to find, or nothing that counts."""
    ignored = [look for look, row in zip(survey.readable, survey.pixels, strict=True) if _is_ignored(survey, look, row)]
    if ignored:
        yield Finding(
            check="ignored",
            severity="warning",
            what=f"{counted(len(ignored), 'mask')} in which every pixel is ignored (255)",
            advice="Remove the pictures, or label them.",
            names=survey.titles(ignored),
            meaning="Nothing is learned from them.",
        )
    if "background" not in survey.label_names[0].lower():
        return  # label 0 is a class like any other
    alone = (survey.pixels[:, 0] > 0) & (survey.pixels[:, 1:] == 0).all(axis=1)
    looks = [look for look, is_empty in zip(survey.readable, alone, strict=True) if is_empty]
    if looks:
        yield Finding(
            check="empty masks",
            severity="note",
            what=f"{counted(len(looks), 'mask')} of {len(survey.readable)} with nothing but background",
            advice="Good if there is truly nothing to find; if they are many, crop with BalancedCrop or "
            "A.CropNonEmptyMaskIfExists, and score with Dice over the whole set.",
            names=survey.titles(looks),
        )


def _is_ignored(survey: Survey, look: Look, row: np.ndarray) -> bool:
    labels, known = survey.labels_of(look)
    return not row.any() and bool((known & (labels == IGNORE)).all())


def _write(survey: Survey, code: int) -> str:
    """Write a value as masks hold it."""
    return str(as_colour(code)) if survey.meaning.values.are_colours or code > IGNORE else str(code)


def _list_values(survey: Survey) -> str:
    """Write which value means which label."""
    values = survey.meaning.values
    pairs = sorted(zip(values.labels.tolist(), values.codes.tolist(), strict=True))
    names = [*survey.label_names, *["ignored"] * 256]
    return listed([f"{_write(survey, code)} = {names[label]}" for label, code in pairs], 12)
