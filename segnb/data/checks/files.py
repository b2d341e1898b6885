"""Checks of files and pictures: can they be read, do they pair up, are they of one kind?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from segnb.data.checks.finding import Finding
from segnb.data.checks.looking import Look
from segnb.data.checks.survey import Survey
from segnb.data.wording import counted, listed

BLANK = 1.0  # grey levels of standard deviation: less than this shows nothing


def unreadable(survey: Survey) -> Iterator[Finding]:
    """Files that cannot be decoded."""
    broken = [look for look in survey.looks if look.problems]
    if broken:
        yield Finding(
            check="unreadable",
            severity="error",
            what=f"{counted(len(broken), 'picture')} cannot be read",
            advice="Replace the files, or remove both the image and its mask.",
            names=survey.titles(broken),
            meaning=" ".join(listed([problem for look in broken for problem in look.problems], 3).split("\n")),
            fix="leaves them out",
        )


def unmatched(survey: Survey) -> Iterator[Finding]:
    """Files that are in no pair."""
    for part, found in survey.parts.items():
        where = f" of {part}" if len(survey.parts) > 1 else ""
        for kind, partner, alone in (("image", "mask", found.images_alone), ("mask", "image", found.masks_alone)):
            if alone:
                yield Finding(
                    check="unmatched",
                    severity="error",
                    what=f"{counted(len(alone), kind)}{where} without {partner}",
                    advice=f"Add the {partner}s or remove the {kind}s: pairs are found by their names without extension.",
                    names=alone,
                    fix="leaves them out",
                )
        if found.doubles:
            yield Finding(
                check="same name",
                severity="error",
                what=f"{counted(len(found.doubles), 'name')}{where} with two files that differ in their extension only",
                advice="Keep one of each: no one can tell which is meant.",
                names=found.doubles,
                fix="leaves them out",
            )
        if found.affix != ("", ""):
            before, after = found.affix
            yield Finding(
                check="other names",
                severity="error",
                what=f"masks{where} are named '{before}NAME{after}' for images 'NAME'",
                advice="Rename them, or pass two sorted lists of paths to SegmentationDataset(images, masks, classes).",
                meaning="SegmentationDataset.from_folder pairs files by equal names.",
                fix="pairs them",
            )


def sizes_differ(survey: Survey) -> Iterator[Finding]:
    """Masks that are larger or smaller than their images."""
    cases = {
        "turned": (
            "drawn across the image",
            "The images carry an EXIF tag for a camera held upright, and are shown upright; the masks were drawn on them "
            "as they are stored.",
            "turns the masks as the tag says",
        ),
        "scaled": (
            "of another scale than the image",
            "The proportions agree, so they may show the same, at another scale.",
            "resizes the masks with nearest, which invents no labels",
        ),
        "other": ("of other proportions than the image", "They may belong to other images.", "leaves them out"),
    }
    for fault, (what, meaning, fix) in cases.items():
        looks = [look for look in survey.readable if survey.size_fault(look) == fault]
        sizes = [f"{survey.title(x)}: image {_by(x.image.shape)}, mask {_by(x.mask.shape)}" for x in looks]
        if looks:
            yield Finding(
                check="size",
                severity="error",
                what=f"{counted(len(looks), 'mask')} {what}",
                advice="Save image and mask upright and at one size, resizing masks with nearest only.",
                names=survey.titles(looks),
                meaning=f"{meaning} {listed(sizes, 3)}.",
                fix=fix,
            )


def turned(survey: Survey) -> Iterator[Finding]:
    """Images with an EXIF tag, whose masks fit as they are, so that only eyes can tell whether both lie alike."""
    looks = [look for look in survey.readable if look.image.orientation != 1 and not survey.size_fault(look)]
    if looks:
        yield Finding(
            check="EXIF",
            severity="warning",
            what=f"{counted(len(looks), 'image')} stored turned and shown upright, as an EXIF tag says",
            advice="Look at them with segnb.explore(data): does the mask lie on the picture? Best save them upright.",
            names=survey.titles(looks),
            meaning="A tool that does not know the tag draws the mask on the turned picture.",
        )


def channels(survey: Survey) -> Iterator[Finding]:
    """Grey images among coloured ones, and the other way round."""
    looks = [look for look in survey.readable if look.image.shape[2] != survey.channels]
    if looks:
        grey = survey.channels > 1 and all(look.image.shape[2] == 1 for look in looks)
        yield Finding(
            check="channels",
            severity="error",
            what=f"{counted(len(looks), 'image')} with another number of channels than the {survey.channels} of the others",
            advice="Convert all images to the same kind.",
            names=survey.titles(looks),
            meaning=listed([f"{survey.title(look)}: {counted(look.image.shape[2], 'channel')}" for look in looks], 3)
            + ".",
            fix=f"repeats the grey channel {survey.channels} times"
            if grey
            else "repeats grey channels, leaves out others",
        )


def blank(survey: Survey) -> Iterator[Finding]:
    """Images of one colour."""
    looks = [look for look in survey.readable if _deviation(look).max() < BLANK]
    if looks:
        yield Finding(
            check="blank",
            severity="warning",
            what=f"{counted(len(looks), 'image')} of one colour",
            advice="See whether these are failed exposures or exports; remove them if their masks are not empty, too.",
            names=survey.titles(looks),
        )


def many_sizes(survey: Survey) -> Iterator[Finding]:
    """Pictures of different sizes, which do not fit into one batch."""
    sizes = sorted({look.image.shape[:2] for look in survey.readable}, key=np.prod)
    if len(sizes) > 1:
        yield Finding(
            check="sizes",
            severity="note",
            what=f"pictures have {len(sizes)} sizes, from {_by(sizes[0])} to {_by(sizes[-1])} pixels",
            advice="Train on crops of one size: train.with_transform(preset('light', (256, 256))).",
        )


def _deviation(look: Look) -> np.ndarray:
    """Standard deviation of each channel."""
    return np.sqrt(np.maximum(look.image.square - look.image.mean**2, 0))


def _by(shape: tuple[int, ...]) -> str:
    """Write a size as width × height."""
    return f"{shape[1]} × {shape[0]}"
