"""How the learning rate moves during a run.

onecycle  ╱╲__   up for 30 % of the steps, then down to almost nothing; momentum the other way (Smith & Topin, 2017,
                 https://arxiv.org/abs/1708.07120)
poly      ╱╲_    (1 - t/T)^0.9 (DeepLab, https://arxiv.org/abs/1606.00915, section 4.1), after a short warm-up
cosine    ╱‾╲    half a cosine (Loshchilov & Hutter, ICLR 2017, https://arxiv.org/abs/1608.03983), after a short warm-up
plateau   ‾|_    a tenth, whenever the monitored value has not improved for some epochs
constant  ‾‾‾
"""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
)

SCHEDULES = ("onecycle", "poly", "cosine", "plateau", "constant")
WARM_UP = 0.05  # share of the steps in which poly and cosine rise from a hundredth of the rate
POWER = 0.9


def make_schedule(
    name: str, optimizer: Optimizer, steps: int, *, epochs: int, lower_is_better: bool = False
) -> LRScheduler | ReduceLROnPlateau:
    """Make a schedule from the rates that the optimiser's groups have now, which are the highest they will have.

    Args:
        name: one of `SCHEDULES`.
        optimizer: whose rates move.
        steps: of the whole run.
        epochs: of the whole run; a plateau is a tenth of them, at least one.
        lower_is_better: whether the monitored value should fall; for ``"plateau"``.

    Returns:
        One of torch's schedulers: `ReduceLROnPlateau` is to be told of every epoch's value, the others of every step.
    """
    if name == "onecycle":
        momentum = any(optimizer.defaults.get(kind) for kind in ("betas", "momentum"))
        peaks = [group["lr"] for group in optimizer.param_groups]
        return OneCycleLR(optimizer, peaks, total_steps=steps, cycle_momentum=momentum)
    if name == "plateau":
        mode = "min" if lower_is_better else "max"
        return ReduceLROnPlateau(optimizer, mode, factor=0.1, patience=max(1, epochs // 10))
    if name == "constant":
        return ConstantLR(optimizer, factor=1.0)
    decay = PolynomialLR(optimizer, steps, POWER) if name == "poly" else CosineAnnealingLR(optimizer, steps)
    warm_up = round(WARM_UP * steps)
    # Multiplied, not one after the other: the curve then ends at 0 whatever the warm-up took.
    return ChainedScheduler([LinearLR(optimizer, 0.01, total_iters=warm_up), decay]) if warm_up else decay


def restart_rates(optimizer: Optimizer, peaks: list[float]) -> None:
    """Set the rates to their highest values, as a new schedule expects to find them."""
    for group, peak in zip(optimizer.param_groups, peaks, strict=True):
        group["lr"] = peak
        group.pop("initial_lr", None)
