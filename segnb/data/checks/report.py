"""What `check_dataset` found: to read in a notebook or a terminal, as a table, as a figure, and to repair."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segnb.data.checks.classes import median_frequency_weights
from segnb.data.checks.finding import SEVERITIES, Finding
from segnb.data.checks.fixing import is_left_out, repair
from segnb.data.checks.survey import Survey
from segnb.data.datasets import SegmentationDataset
from segnb.data.wording import counted, listed
from segnb.draw import class_shares, palette
from segnb.errors import SegnbError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 5  # names of pictures in a line of text; report.findings has all of them


@dataclass(eq=False)
class DataReport:
    """What `check_dataset` found; prints as text, shows as tables in a notebook.

    Attributes:
        findings: errors first, then warnings, then notes.
        survey: what is known of every picture.
        classes: the classes as `SegmentationDataset` takes them.
        parts: "train" and, if it was given, "valid": the data sets that were checked, or None for folders and lists.
    """

    findings: list[Finding]
    survey: Survey
    classes: list[str]
    parts: dict[str, SegmentationDataset | None]

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings and notes do not count."""
        return all(finding.severity != "error" for finding in self.findings)

    @property
    def fixes(self) -> list[str]:
        """What `fix` would do, a sentence for each finding that it can do something about."""
        return [f"{finding.what}{_names(finding)}: fix() {finding.fix}" for finding in self.findings if finding.fix]

    @property
    def class_weights(self) -> np.ndarray:
        """Suggested weight of each label in the training set, float64 (L,); see `classes.median_frequency_weights`."""
        return median_frequency_weights(self.survey.pixels[self.survey.rows("train")])

    @property
    def mean(self) -> np.ndarray:
        """Mean of each channel over all pixels, float64 (C,), 0 to 255."""
        return self._over_all_pixels("mean")

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of each channel over all pixels, float64 (C,), in grey levels."""
        return np.sqrt(np.maximum(self._over_all_pixels("square") - self.mean**2, 0))

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every readable picture."""
        return [look.image.shape[:2] for look in self.survey.readable]

    def table(self) -> list[dict[str, object]]:
        """List the findings, ready for ``pandas.DataFrame``.

        Returns:
            One dictionary for each: severity, check, pictures (how many), what, meaning, advice, fix, names.
        """
        columns = ("what", "meaning", "advice", "fix", "names")
        return [
            {"severity": finding.severity, "check": finding.check, "pictures": len(finding.names)}
            | {column: getattr(finding, column) for column in columns}
            for finding in self.findings
        ]

    def class_table(self) -> list[dict[str, object]]:
        """List the labels of the training set, ready for ``pandas.DataFrame``.

        Returns:
            One dictionary for each: label, pixels, share (of all pixels that count, 0 to 1), pictures (that show it), weight.
        """
        pixels = self.survey.pixels[self.survey.rows("train")]
        total = pixels.sum(axis=0)
        columns = (
            self.survey.label_names,
            total.tolist(),
            (total / max(total.sum(), 1)).tolist(),
            (pixels > 0).sum(axis=0).tolist(),
            self.class_weights.tolist(),
        )
        return [
            dict(zip(("label", "pixels", "share", "pictures", "weight"), row, strict=True))
            for row in zip(*columns, strict=True)
        ]

    def plot(self) -> Figure:
        """Draw how much there is of each class, and the sizes of the pictures.

        Returns:
            A matplotlib figure.
        """
        rows = self.class_table()
        return class_shares(
            [row["share"] for row in rows],
            [row["pictures"] for row in rows],
            self.survey.label_names,
            self._palette(),
            self.sizes,
        )

    def fix(self) -> SegmentationDataset | tuple[SegmentationDataset, SegmentationDataset]:
        """Make a data set of what can be used and repaired; no file is changed.

        What is repaired is kept in memory as arrays. ``fixes`` says what is done.

        Returns:
            The data set; with a validation set, (train, valid).

        Raises:
            SegnbError: nothing is left, or it cannot be known how to read the masks.
        """
        if not self.survey.meaning.certain:
            raise SegnbError(
                f"fix cannot know which value of the masks is which label. Call check_dataset with {self.survey.meaning.code}, "
                f"in the order of the labels: {listed(self.survey.label_names)}."
            )
        fixed = tuple(self._fix_part(part, data) for part, data in self.parts.items())
        return fixed if len(fixed) > 1 else fixed[0]

    def _fix_part(self, part: str, data: SegmentationDataset | None) -> SegmentationDataset:
        looks = [look for look in self.survey.looks if look.pair.part == part and not is_left_out(self.survey, look)]
        if not looks:
            first = next((f for f in self.findings if f.severity == "error"), None)
            reason = f" {first.what}: {first.advice}" if first else ""
            raise SegnbError(
                f"fix would leave out every picture of {part}, so there is something else to do first.{reason}"
            )
        images, masks = zip(*(repair(self.survey, look) for look in looks), strict=True)
        return SegmentationDataset(
            images,
            masks,
            self.classes,
            data.transform if data else None,
            mask_values=self.survey.meaning.mask_values,
            names=[look.pair.name for look in looks],
            palette=data.palette if data else None,
            value_range=looks[0].pair.value_range,
        )

    def __repr__(self) -> str:
        lines = [self._summary()]
        for finding in self.findings:
            lines.append(f"{SEVERITIES[finding.severity]} {finding.check}: {finding.what}{_names(finding)}")
            lines += [f"    {text}" for text in (finding.meaning, f"→ {finding.advice}") if text]
            lines += [f"    fix() {finding.fix}" for _ in range(bool(finding.fix))]
        width = max(len(name) for name in self.survey.label_names)
        lines.append(f"  {'label':{width}}  share of pixels  pictures  weight")
        lines += [
            f"  {row['label']:{width}}  {row['share']:>15.2%}  {row['pictures']:>8}  {row['weight']:>6.3g}"
            for row in self.class_table()
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Show findings and classes; names and messages come from files, so they are escaped."""
        left = "style='text-align:left'"
        findings = "".join(
            f"<tr><td title='{finding.severity}'>{SEVERITIES[finding.severity]}</td><td {left}>{html.escape(finding.check)}</td>"
            f"<td {left}>{html.escape(finding.what + _names(finding))}<br><small>{html.escape(finding.meaning)}</small></td>"
            f"<td {left}>{html.escape(finding.advice)}</td><td {left}>{html.escape(finding.fix)}</td></tr>"
            for finding in self.findings
        )
        head = "".join(f"<th {left}>{text}</th>" for text in ("", "check", "found", "what to do", "fix()"))
        classes = "".join(
            f"<tr><td {left}><span style='display:inline-block;width:1em;border:1px solid gray;"
            f"background:rgb({','.join(map(str, colour))})'>&nbsp;</span> {html.escape(row['label'])}</td>"
            f"<td>{row['share']:.2%}</td><td>{row['pictures']}</td><td>{row['weight']:.3g}</td></tr>"
            for row, colour in zip(self.class_table(), self._palette().tolist(), strict=True)
        )
        return (
            f"<p><b>{html.escape(self._summary())}</b></p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{findings}</tbody></table>"
            f"<table><thead><tr><th {left}>label</th><th>share of pixels</th><th>pictures</th><th>weight</th></tr></thead>"
            f"<tbody>{classes}</tbody></table>"
        )

    def _summary(self) -> str:
        """Say in a line how many pictures there are, and how many findings."""
        survey = self.survey
        counts = [counted(sum(f.severity == severity for f in self.findings), severity) for severity in SEVERITIES]
        text = f"{counted(len(survey.looks), 'picture')}: {', '.join(counts)}"
        if not survey.readable:
            return text
        colours = ", ".join(f"{mean:.0f} ± {std:.0f}" for mean, std in zip(self.mean, self.std, strict=True))
        return f"{text}; {counted(survey.channels, 'channel')} ({colours})"

    def _palette(self) -> np.ndarray:
        data, values = self.parts["train"], self.survey.meaning.values
        return data.palette if data else values.palette if values.are_colours else palette(len(self.survey.label_names))

    def _over_all_pixels(self, moment: str) -> np.ndarray:
        """Average a moment of each channel over the pixels of all pictures of the usual kind."""
        looks = [look.image for look in self.survey.readable if look.image.shape[2] == self.survey.channels]
        weights = [look.shape[0] * look.shape[1] for look in looks]
        return np.average([getattr(look, moment) for look in looks], axis=0, weights=weights) if looks else np.zeros(0)


def _names(finding: Finding) -> str:
    return f" ({listed(finding.names, SHOWN)})" if finding.names else ""
