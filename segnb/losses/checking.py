"""What losses refuse: shapes, types, labels and options that do not fit, each with one sentence that says what would."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from segnb.errors import SegnbError


def check_shapes(logits: Tensor, labels: Tensor) -> None:
    """Refuse shapes and types that are none of the three kinds of problem."""
    fits = logits.dim() == 4 and logits.is_floating_point()
    fits = fits and labels.shape in (logits.shape, logits[:, 0].shape)
    if not fits or labels.is_floating_point() or labels.is_complex():
        raise SegnbError(
            f"a loss got logits {described(logits)} and labels {described(labels)}; it needs floating-point logits (B, K, H, W) "
            "and integer labels: (B, H, W), which is binary if K is 1 and multiclass otherwise, or (B, K, H, W) of 0 and 1, "
            "which is multilabel; 255 is ignored."
        )


def described(tensor: Tensor) -> str:
    """Write shape and type of a tensor: ``(2, 3, 8, 8) float32``."""
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def check_values(labels: Tensor, n_labels: int) -> None:
    """Refuse labels for which there is no class."""
    if labels.numel() == 0:
        return
    lowest, highest = (value.item() for value in labels.aminmax())
    if lowest < 0 or highest >= n_labels:
        raise SegnbError(
            f"found label {lowest if lowest < 0 else highest}; these logits know the labels 0 to {n_labels - 1}, and 255 for "
            "pixels that do not count. Create the model with as many classes as the data has, or change the labels."
        )


def check_class_weights(class_weights: Sequence[float]) -> tuple[float, ...]:
    """Refuse class weights that are not non-negative numbers.

    Args:
        class_weights: a list, tuple, array or tensor of numbers.

    Returns:
        The numbers.

    Raises:
        SegnbError: they are not.
    """
    try:
        weights = tuple(float(weight) for weight in class_weights)
    except (TypeError, ValueError):
        weights = ()
    if not any(weights) or not all(0 <= weight < math.inf for weight in weights):
        raise SegnbError(
            f"class_weights={class_weights!r}: give a list of one number for each class, none negative and at least one above 0."
        )
    return weights


def check_share(**shares: float) -> None:
    """Refuse an option that is not a number from 0 to 1."""
    for name, share in shares.items():
        if not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise SegnbError(f"{name}={share!r}: give a number from 0 to 1.")
