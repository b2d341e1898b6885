"""Is this data fit to train on? One pass over all files, then one small function for each thing that goes wrong.

data set, or folders ─▶ pairs ─▶ a look at each, decoded once ─▶ what do the values in masks mean? ─▶ CHECKS ─▶ report
                                                                                                                │
                        a new data set, no file changed ◀── report.fix() ◀──────────────────────────────────────┘
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from tqdm.contrib.concurrent import thread_map

from segnb.data.arguments import check_classes, check_value_range
from segnb.data.checks.classes import rare, tiny_objects
from segnb.data.checks.duplicates import leaks, repeated
from segnb.data.checks.files import blank, channels, many_sizes, sizes_differ, turned, unmatched, unreadable
from segnb.data.checks.finding import SEVERITIES, Finding
from segnb.data.checks.gathering import Folders, Lists, gather
from segnb.data.checks.labels import conversion, empty, missing, smoothed, unknown
from segnb.data.checks.looking import look_at
from segnb.data.checks.meaning import understand
from segnb.data.checks.report import DataReport
from segnb.data.checks.survey import Survey
from segnb.data.datasets import SegmentationDataset
from segnb.data.mask_values import MaskValue, MaskValues
from segnb.errors import SegnbError

CHECKS: tuple[Callable[[Survey], Iterator[Finding]], ...] = (
    unreadable,
    unmatched,
    sizes_differ,
    channels,
    conversion,
    smoothed,
    unknown,
    leaks,
    repeated,
    missing,
    turned,
    blank,
    empty,
    rare,
    tiny_objects,
    many_sizes,
)
SLOW = 200  # pictures: from here on looking takes long enough for a progress bar


def check_dataset(
    data: SegmentationDataset | Folders | Lists,
    valid: SegmentationDataset | Folders | Lists | None = None,
    *,
    classes: Sequence[str] | None = None,
    mask_values: Sequence[MaskValue] | None = None,
    value_range: tuple[float, float] | None = None,
) -> DataReport:
    """Look at every picture and mask, and report what would spoil the training.

    A data set that is too broken for `SegmentationDataset` is given as the pair of its folders (or of two lists of paths or
    arrays), images first. A file that cannot be read is a finding and stops nothing. No file is changed.

    Args:
        data: the training set, or all data.
        valid: the validation set, to look for pictures that are in both.
        classes: for folders and lists: the names of the labels, as `SegmentationDataset` takes them.
        mask_values: for folders and lists, see `SegmentationDataset`; None finds out.
        value_range: for folders and lists, see `SegmentationDataset`.

    Returns:
        A `DataReport`: ``.findings``, ``.ok``, ``.class_weights``, ``.table()``, ``.plot()``, ``.fixes`` and ``.fix()``.

    Raises:
        SegnbError: an argument does not fit, or a folder is missing or has no pictures at all.

    Example:
        >>> report = segnb.check_dataset(("images", "masks"), classes=["sky", "road"])
        >>> data = report.fix()
    """
    given = {"train": data} if valid is None else {"train": data, "valid": valid}
    parts = {part: source if isinstance(source, SegmentationDataset) else None for part, source in given.items()}
    names, values = _labels(list(parts.values()), classes, mask_values)
    found = {part: gather(source, part, check_value_range(value_range)) for part, source in given.items()}
    pairs = [pair for part in found.values() for pair in part.pairs]
    looks = thread_map(
        partial(look_at, colours=values.are_colours),
        pairs,
        max_workers=os.cpu_count(),
        desc="looking",
        unit="picture",
        disable=len(pairs) < SLOW,
        leave=False,
    )
    label_names = ["background", *names] if len(names) == 1 else names
    survey = Survey(looks, found, label_names, understand(looks, label_names, values))
    findings = [finding for check in CHECKS for finding in check(survey)]
    findings.sort(key=lambda finding: list(SEVERITIES).index(finding.severity))
    return DataReport(findings, survey, names, parts)


def _labels(
    parts: list[SegmentationDataset | None], classes: Sequence[str] | None, mask_values: Sequence[MaskValue] | None
) -> tuple[list[str], MaskValues]:
    """Find the classes, and how the masks are read, for all parts alike."""
    known = [part for part in parts if part is not None]
    if known and (classes is not None or mask_values is not None):
        raise SegnbError("classes and mask_values belong to folders and lists; a SegmentationDataset has its own.")
    if not known:
        if classes is None:
            raise SegnbError(
                'check_dataset needs the names of the labels: check_dataset(("images", "masks"), classes=[...]).'
            )
        names = check_classes(classes)
        return names, MaskValues(["background", *names] if len(names) == 1 else names, mask_values)
    if any(part.classes != known[0].classes for part in known):
        raise SegnbError(
            f"train has the classes {known[0].classes} and valid {known[1].classes}: both must have the same, in one order."
        )
    return known[0].classes, known[0]._values
