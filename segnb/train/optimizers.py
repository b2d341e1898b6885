"""Optimisers by name, and the learning rate and weight decay of each group of parameters.

model ─▶ groups: encoder and decoder, or every layer of the backbone by itself ─▶ optimiser
         each with a learning rate; kernels and matrices decay, biases and normalisation do not
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from segnb.encoders import Pixels
from segnb.errors import SegnbError, nearest
from segnb.models import SegmentationModel

OptimizerMaker = Callable[[Any], torch.optim.Optimizer]

# LBFGS wants to evaluate the loss again, SparseAdam wants sparse gradients, Rprop wants the gradient of all pictures.
UNSUITABLE = ("Optimizer", "LBFGS", "SparseAdam", "Rprop")
# Momentum is what people mean by SGD; torch's default is none. PSPNet (section 5.1) and DeepLab train with it.
OWN_OPTIONS: dict[str, dict[str, Any]] = {"sgd": {"momentum": 0.9}}


def known_optimizers() -> dict[str, type[torch.optim.Optimizer]]:
    """Optimisers of `torch.optim` by lower-case name."""
    return {
        name.lower(): thing
        for name, thing in vars(torch.optim).items()
        if isinstance(thing, type) and issubclass(thing, torch.optim.Optimizer) and name not in UNSUITABLE
    }


def find_optimizer(optimizer: str | OptimizerMaker) -> OptimizerMaker:
    """Find an optimiser.

    Args:
        optimizer: a name in `torch.optim`, in any case, or a callable that makes one from parameters or groups of them.

    Returns:
        The callable.

    Raises:
        SegnbError: there is no such name; the nearest ones are offered.
    """
    if callable(optimizer):
        return optimizer
    known = known_optimizers()
    name = str(optimizer).lower()
    if name not in known:
        raise SegnbError(
            f"unknown optimizer {optimizer!r}. {nearest(name, known)} Any of torch.optim or a callable will do."
        )
    return lambda parameters: known[name](parameters, **OWN_OPTIONS.get(name, {}))


def choose_lr(lr: float | str, model: SegmentationModel, optimizer: str | OptimizerMaker = "adamw") -> float:
    """Resolve ``"auto"``.

    Args:
        lr: a number, or ``"auto"``.
        model: to be trained.
        optimizer: see `find_optimizer`.

    Returns:
        The number; or that of a callable's own choice; 1e-2 for optimisers that do not scale each gradient by its size (SGD
        and its like); else 4e-3 for encoders and networks with batch normalisation, which stand a higher rate, and 3e-4 for
        transformers.
    """
    if lr != "auto":
        return float(lr)
    own = defaults_of(optimizer)
    if callable(optimizer) and "lr" in own:
        return float(own["lr"])
    if "betas" not in own:
        return 1e-2
    backbone = model.decoder if isinstance(model.encoder, Pixels) else model.encoder
    normalised = any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
    return 4e-3 if normalised else 3e-4


def choose_weight_decay(weight_decay: float | str, optimizer: str | OptimizerMaker = "adamw") -> float:
    """Resolve ``"auto"``: the optimiser's own default, 0.01 for AdamW and 0 for most others."""
    return float(defaults_of(optimizer).get("weight_decay", 0.0) if weight_decay == "auto" else weight_decay)


def defaults_of(optimizer: str | OptimizerMaker) -> dict[str, Any]:
    """Read the defaults of an optimiser off one that is made for a single weight."""
    return make_optimizer(optimizer, [{"params": [nn.Parameter(torch.zeros(1, 1))]}]).defaults


def make_optimizer(optimizer: str | OptimizerMaker, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Make an optimiser for groups of parameters.

    Args:
        optimizer: see `find_optimizer`.
        groups: as `SegmentationModel.parameter_groups` sorts them.

    Returns:
        The optimiser.

    Raises:
        SegnbError: it refuses these parameters, or what was given does not make an optimiser.
    """
    try:
        made = find_optimizer(optimizer)(groups)
    except (TypeError, ValueError) as error:
        if isinstance(error, SegnbError):
            raise
        raise SegnbError(f"optimizer={optimizer!r} cannot train this model: {error} Try 'adamw' or 'sgd'.") from error
    if not isinstance(made, torch.optim.Optimizer):
        raise SegnbError(
            f"optimizer={optimizer!r} made a {type(made).__name__}: give a name in torch.optim, or a callable that takes "
            "groups of parameters and returns a torch optimizer."
        )
    return made
