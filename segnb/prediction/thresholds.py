"""From which probability on a pixel has a class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from segnb.errors import SegnbError


def check_threshold(threshold: Any, model: nn.Module) -> Tensor:
    """Bring a threshold to one number for each class, or say what is wrong with it.

    Args:
        threshold: a number, one for each class, or None for 0.5.
        model: says how many classes there are, and whether they may overlap.

    Returns:
        (K,) float32.

    Raises:
        SegnbError: the model has no threshold, there is another number of them, or one is no probability.
    """
    if threshold is None:
        threshold = 0.5
    elif model.num_classes != 1 and not model.multilabel:
        raise SegnbError(
            f"threshold={threshold!r} is for binary and multi-label models; this one has {model.num_classes} classes, of which "
            "the most likely wins: leave the threshold out, or keep probabilities=True and decide yourself."
        )
    several = model.multilabel and isinstance(threshold, (list, tuple))
    numbers = list(threshold) if several else [threshold] * model.num_classes
    if len(numbers) != model.num_classes:
        raise SegnbError(
            f"threshold has {len(numbers)} numbers; give one for all classes, or one for each of the {model.num_classes} "
            f"({', '.join(model.label_names)})."
        )
    for number in numbers:
        if not isinstance(number, (int, float)) or not 0 <= number <= 1:
            raise SegnbError(f"threshold is {threshold!r}; give a probability from 0 to 1.")
    return torch.tensor(numbers, dtype=torch.float32)
