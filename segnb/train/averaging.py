"""The exponential moving average of the weights: steadier than the weights of any one step.

    average ← d · average + (1 - d) · weights        after each step, with d = min(ema, 1 - (1 + step)^-0.75)

The decay grows with the steps, so that a short run forgets its first weights, too. Statistics of batch normalisation are
averaged with the weights they belong to.
Source: Polyak & Juditsky, SIAM J. Control Optim. 1992, https://doi.org/10.1137/0330046; the averaging is timm's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import nn

POWER = 0.75  # timm's advice for less than a million steps


class Average:
    """A moving average of a model's weights and buffers.

    Args:
        model: where its training will happen, so that the average is on the same device.
        decay: share of the old average that is kept in each step, once there were enough steps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.copy = ModelEmaV3(model, decay=decay, use_warmup=True, warmup_power=POWER)

    def restart(self, model: nn.Module) -> None:
        """Forget everything and take the model's weights."""
        self.copy.set(model)

    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after a step, counted from 1 over the whole run."""
        self.copy.update(model, step)

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        """Let the model hold the average for a while."""
        self._exchange(model)
        try:
            yield
        finally:
            self._exchange(model)

    @torch.no_grad()
    def _exchange(self, model: nn.Module) -> None:
        for one, other in zip(model.state_dict().values(), self.copy.module.state_dict().values(), strict=True):
            kept = one.clone()
            one.copy_(other)
            other.copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        """Read the average."""
        return self.copy.module.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the average."""
        self.copy.module.load_state_dict(state)
