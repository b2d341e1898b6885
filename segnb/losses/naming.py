"""Losses by name: ``get_loss("0.7*dice+0.3*focal")``."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from segnb.errors import SegnbError, nearest
from segnb.losses.checking import check_class_weights, check_share
from segnb.losses.distance import boundary, hausdorff
from segnb.losses.distribution import cross_entropy, focal, ohem
from segnb.losses.lovasz_extension import lovasz
from segnb.losses.region import dice, jaccard, mcc, tversky

Loss = Callable[[Tensor, Tensor], Tensor]

LOSSES: dict[str, Loss] = {
    "ce": cross_entropy,
    "focal": focal,
    "ohem": ohem,
    "dice": dice,
    "jaccard": jaccard,
    "tversky": tversky,
    "mcc": mcc,
    "lovasz": lovasz,
    "boundary": boundary,
    "hausdorff": hausdorff,
}


@dataclass(frozen=True)
class WeightedSum:
    """A sum of losses: (logits, labels) -> scalar. Can be pickled, so it can go to other processes.

    Attributes:
        terms: pairs of factor and name.
        class_weights: given to every loss; None weighs all classes alike.
        label_smoothing: given to every loss that smooths labels.
    """

    terms: tuple[tuple[float, str], ...]
    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Add up the losses of a batch."""
        losses = [factor * LOSSES[name](logits, labels, **self.options(name)) for factor, name in self.terms]
        return torch.stack(losses).sum()

    def options(self, name: str) -> dict[str, Any]:
        """Select the options that a loss has a parameter for."""
        given: dict[str, Any] = {"class_weights": self.class_weights, "label_smoothing": self.label_smoothing}
        return {option: value for option, value in given.items() if option in parameters(name)}

    def __repr__(self) -> str:
        name = "+".join(name if factor == 1 else f"{factor:g}*{name}" for factor, name in self.terms)
        weights = "" if self.class_weights is None else f", class_weights={list(self.class_weights)}"
        smoothing = "" if self.label_smoothing == 0 else f", label_smoothing={self.label_smoothing:g}"
        return f"get_loss({name!r}{weights}{smoothing})"


def get_loss(name: str | Loss, *, class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0) -> Loss:
    """Find a loss by name, or a sum of losses: ``"ce"``, ``"dice+ce"``, ``"0.7*dice+0.3*focal"``.

    Args:
        name: names of `LOSSES` joined by ``+``, each with a factor before it or none; ``"auto"`` is ``"ce+dice"``; a callable
            is returned as it is.
        class_weights: one non-negative number for each class; two, for background and foreground, of a binary model.
        label_smoothing: 0 to 1, share of the truth that is spread evenly over all classes. In a sum it is for the losses that
            can use it: ``"ce"`` and ``"ohem"``.

    Returns:
        A callable (logits, labels) -> scalar that can be pickled.

    Raises:
        SegnbError: a name is unknown (the nearest ones are offered), or an option does not fit.
    """
    if callable(name):
        if class_weights is not None or label_smoothing:
            raise SegnbError(
                f"class_weights and label_smoothing are for losses with a name; {name!r} must have its own."
            )
        return name
    terms = tuple(parse_term(term, name) for term in as_sum(name).split("+"))
    weights = None if class_weights is None else check_class_weights(class_weights)
    check_share(label_smoothing=label_smoothing)
    for option, is_given in {"class_weights": weights is not None, "label_smoothing": label_smoothing > 0}.items():
        if is_given and not any(option in parameters(part) for _, part in terms):
            able = ", ".join(sorted(loss for loss in LOSSES if option in parameters(loss)))
            raise SegnbError(f"loss={name!r} cannot use {option}; these losses can: {able}.")
    return WeightedSum(terms, weights, float(label_smoothing))


def as_sum(name: str) -> str:
    """Write a loss as a sum without spaces, in lower case."""
    return "ce+dice" if name == "auto" else str(name).lower().replace(" ", "")


def parse_term(term: str, name: str) -> tuple[float, str]:
    """Read ``dice`` or ``0.7*dice``.

    Args:
        term: one term of the sum.
        name: the whole, for the message.

    Returns:
        The factor and the name of the loss.

    Raises:
        SegnbError: the factor is not a positive number, or the name is unknown.
    """
    factor, _, loss = term.rpartition("*")
    if loss not in LOSSES:
        raise SegnbError(f"unknown loss {loss!r} in loss={name!r}. {nearest(loss, LOSSES)}".rstrip())
    try:
        number = float(factor or 1)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise SegnbError(f"loss={name!r}: {factor!r} is not a positive number; write for example '0.7*dice+0.3*focal'.")
    return number, loss


def parameters(name: str) -> Sequence[str]:
    """List the parameters of a loss: what it has no parameter for, it cannot use."""
    return tuple(inspect.signature(LOSSES[name]).parameters)
