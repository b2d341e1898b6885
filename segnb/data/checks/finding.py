"""One thing that a check found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning", "note"]

SEVERITIES: dict[Severity, str] = {"error": "✗", "warning": "!", "note": "·"}  # gravest first, with their marks


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
        check: a word or two for the kind, such as "unreadable".
        severity: "error" (training would stop or learn something false), "warning" (it may) or "note" (good to know).
        what: one sentence on what was found.
        advice: what to do about it.
        names: the pictures concerned; with a validation set as "train/name" and "valid/name".
        meaning: more on what it means, or where it comes from.
        fix: what ``report.fix()`` does about it; empty if it can do nothing.
    """

    check: str
    severity: Severity
    what: str
    advice: str
    names: list[str] = field(default_factory=list)
    meaning: str = ""
    fix: str = ""
