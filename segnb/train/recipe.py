"""Every choice that shapes a run, checked before anything is trained.

`fit` takes the choices as keywords; a run writes them into its checkpoint, so that going on with other ones is noticed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from segnb.errors import SegnbError, nearest
from segnb.losses import Loss
from segnb.train.optimizers import OptimizerMaker, find_optimizer
from segnb.train.schedules import SCHEDULES

MONITORS = ("miou", "valid_loss", "train_loss")
PRECISIONS = ("auto", "no", "bf16", "fp16")
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Recipe:
    """How to train; what each field means stands at `segnb.fit`.

    Raises:
        SegnbError: a value is not one that the field can take.
    """

    epochs: int = 10
    loss: str | Loss = "auto"
    lr: float | str = "auto"
    batch_size: int | str = "auto"
    precision: str = "auto"
    monitor: str = "miou"
    patience: int | None = None
    optimizer: str | OptimizerMaker = "adamw"
    schedule: str = "onecycle"
    weight_decay: float | str = "auto"
    encoder_lr: float | None = None
    layer_decay: float | None = None
    freeze_encoder: int = 0
    accumulate: int = 1
    clip: float | None = None
    ema: float | None = None
    class_weights: str | Sequence[float] | None = None
    progressive: float | str = "auto"
    budget: float | str | None = None
    workers: int | str = "auto"
    compile: bool = False
    deterministic: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, expected, holds in RULES:
            value = getattr(self, name)
            if not holds(value):
                raise SegnbError(f"{name}={value!r}: give {expected}.")
        for name, options in (("monitor", MONITORS), ("precision", PRECISIONS), ("schedule", SCHEDULES)):
            value = getattr(self, name)
            if value not in options:
                raise SegnbError(f"unknown {name} {value!r}. {nearest(value, options)}")
        find_optimizer(self.optimizer)
        parse_budget(self.budget)

    def settings(self) -> dict[str, Any]:
        """List the choices that shape the result, in a form that JSON can hold; a function is told by its name."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "workers"}
        named = {name: name_of(value) if callable(value) else value for name, value in fields.items()}
        if self.class_weights is not None and not isinstance(self.class_weights, str):
            named["class_weights"] = [float(weight) for weight in self.class_weights]
        return {**named, "budget": parse_budget(self.budget)}


def is_whole(value: Any, least: int) -> bool:
    """Say whether a value is a whole number of at least ``least``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_number(value: Any) -> bool:
    """Say whether a value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def are_weights(value: Any) -> bool:
    """Say whether a value can be class weights: "auto", or numbers of at least 0."""
    if isinstance(value, str):
        return value == "auto"
    try:
        return len(value) > 0 and all(math.isfinite(float(weight)) and float(weight) >= 0 for weight in value)
    except (TypeError, ValueError):
        return False


RULES: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("epochs", "a whole number of at least 1", lambda v: is_whole(v, 1)),
    ("lr", "a positive number such as 2e-3, or 'auto'", lambda v: v == "auto" or (is_number(v) and v > 0)),
    ("batch_size", "a whole number of at least 1, or 'auto'", lambda v: v == "auto" or is_whole(v, 1)),
    ("patience", "a whole number of epochs of at least 1, or None", lambda v: v is None or is_whole(v, 1)),
    ("weight_decay", "a number of at least 0, or 'auto'", lambda v: v == "auto" or (is_number(v) and v >= 0)),
    ("encoder_lr", "a positive number, or None for the same as lr", lambda v: v is None or (is_number(v) and v > 0)),
    ("layer_decay", "a number from 0 to 1 such as 0.75, or None", lambda v: v is None or (is_number(v) and 0 < v <= 1)),
    ("freeze_encoder", "the number of epochs in which the encoder stays as it is, 0 or more", lambda v: is_whole(v, 0)),
    ("accumulate", "the number of batches that make a step, 1 or more", lambda v: is_whole(v, 1)),
    ("clip", "the largest norm of the gradient such as 1.0, or None", lambda v: v is None or (is_number(v) and v > 0)),
    ("ema", "a decay between 0 and 1 such as 0.999, or None", lambda v: v is None or (is_number(v) and 0 < v < 1)),
    ("class_weights", "'auto', one weight of at least 0 for each label, or None", lambda v: v is None or are_weights(v)),
    ("progressive", "the share of the epochs at half size, from 0 to less than 1, or 'auto'",
     lambda v: v == "auto" or (is_number(v) and 0 <= v < 1)),
    ("workers", "the number of processes that read pictures, 0 or more, or 'auto'", lambda v: v == "auto" or is_whole(v, 0)),
    ("seed", "a whole number of at least 0", lambda v: is_whole(v, 0)),
)  # fmt: skip


def parse_budget(budget: float | str | None) -> float | None:
    """Turn ``"10 min"``, ``"45 s"``, ``"1.5 h"`` or a number of seconds into seconds.

    Raises:
        SegnbError: it is none of these.
    """
    if budget is None:
        return None
    seconds = budget if is_number(budget) else 0.0
    found = re.fullmatch(r"([0-9]*\.?[0-9]+) *([a-z]+)", str(budget).strip().lower())
    if found and found[2] in SECONDS:
        seconds = float(found[1]) * SECONDS[found[2]]
    if seconds <= 0:
        raise SegnbError(f"budget={budget!r}: give a time such as '45 s', '10 min' or '1.5 h', or seconds as a number.")
    return float(seconds)


def name_of(function: Any) -> str:
    """Name a function or an object, without its address in memory: that is another one after a restart of the kernel."""
    return getattr(function, "__name__", None) or without_addresses(repr(function))


def describe(transform: Any) -> str:
    """Write a transform as it shows itself; albumentations cannot show a function without a name."""
    try:
        return without_addresses(repr(transform))
    except ValueError:
        return type(transform).__name__


def without_addresses(text: str) -> str:
    """Leave "at 0x7f3a..." out of a description."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)
