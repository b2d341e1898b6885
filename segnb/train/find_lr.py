"""Which learning rate: train some steps at a rate that grows with each, and look where the loss falls fastest.

    loss ‾‾‾‾‾╲            ╱
               ╲          ╱
                ╲________╱
        too slow  ▲       too fast
                  └── suggestion: where the smoothed loss falls most steeply

Source: Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, https://arxiv.org/abs/1506.01186, section 3.3.
"""

from __future__ import annotations

import copy
import html
import itertools
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate.utils import set_seed
from torch.optim.lr_scheduler import LambdaLR

from segnb.draw import png_bytes
from segnb.errors import SegnbError
from segnb.losses import Loss, get_loss
from segnb.models import SegmentationModel
from segnb.train import background
from segnb.train.engine import Engine
from segnb.train.optimizers import OptimizerMaker
from segnb.train.recipe import Recipe, is_number, is_whole
from segnb.train.setup import check_data, choose_batch_size, make_accelerator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from segnb.data import SegmentationDataset

SMOOTHING = 0.9  # of the exponential mean of the losses
EXPLODED = 4.0  # times the lowest smoothed loss: nothing to be learnt from higher rates


@dataclass
class RateTest:
    """What `find_lr` found; shows its curve in a notebook.

    Attributes:
        rates: the learning rate of each step, ascending.
        losses: its loss.
    """

    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    @property
    def smoothed(self) -> np.ndarray:
        """Exponential mean of the losses, without the lag of its start."""
        means, mean = [], 0.0
        for step, loss in enumerate(self.losses, start=1):
            mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
            means.append(mean / (1 - SMOOTHING**step))
        return np.array(means)

    @property
    def suggestion(self) -> float:
        """The learning rate at which the loss fell fastest, to be given to ``fit(lr=)``."""
        smoothed = self.smoothed
        falling = smoothed[: max(3, int(smoothed.argmin()) + 1)]
        slope = np.gradient(falling, np.log(self.rates[: len(falling)]))
        return float(f"{self.rates[int(slope.argmin())]:.2g}")

    def plot(self) -> Figure:
        """Draw the loss by learning rate, with the suggestion."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 3.2), layout="constrained")
        axes = figure.subplots()
        axes.plot(self.rates, self.losses, color="0.8", label="loss of the step")
        axes.plot(self.rates, self.smoothed, color="#0072B2", label="smoothed")
        axes.axvline(self.suggestion, color="#D55E00", label=f"suggestion {self.suggestion:g}")
        low, high = self.smoothed.min(), self.smoothed[0]
        axes.set(
            xscale="log",
            xlabel="learning rate",
            ylabel="loss",
            ylim=(low - 0.1 * (high - low), high + 0.5 * (high - low)),
        )
        axes.legend(frameon=False)
        return figure

    def __repr__(self) -> str:
        return f"RateTest(suggestion={self.suggestion:g}, {len(self.rates)} steps from {self.rates[0]:g} to {self.rates[-1]:g})"

    def _repr_html_(self) -> str:
        import base64

        picture = base64.b64encode(png_bytes(self.plot(), dpi=80)).decode("ascii")
        return (
            f'<p>{html.escape(repr(self))}</p><img alt="Loss by learning rate" src="data:image/png;base64,{picture}">'
        )


def find_lr(
    model: SegmentationModel,
    train: SegmentationDataset,
    *,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 100,
    loss: str | Loss = "auto",
    batch_size: int | str = "auto",
    precision: str = "auto",
    optimizer: str | OptimizerMaker = "adamw",
    weight_decay: float | str = "auto",
    accumulate: int = 1,
    workers: int | str = "auto",
    seed: int = 0,
) -> RateTest:
    """Test learning rates; the model, the data and all random numbers stay as they are.

    Args:
        model: a copy of it is trained.
        train: pictures to learn from.
        lowest: learning rate of the first step.
        highest: of the last one; the test ends sooner if the loss explodes.
        steps: how many, at least 10.
        loss: as for `fit`, like the following.
        batch_size: pictures at a time.
        precision: of the computation.
        optimizer: name or callable.
        weight_decay: of kernels and matrices.
        accumulate: batches that make a step.
        workers: processes that read pictures.
        seed: of the order of the pictures and the augmentation.

    Returns:
        The rates and losses: ``.suggestion``, ``.plot()``.

    Raises:
        SegnbError: an argument does not fit, or the loss was not finite from the start.
    """
    if not (is_number(lowest) and is_number(highest) and 0 < lowest < highest):
        raise SegnbError(
            f"lowest={lowest!r}, highest={highest!r}: give two positive learning rates, the lower one first."
        )
    if not is_whole(steps, 10):
        raise SegnbError(f"steps={steps!r}: give a whole number of at least 10.")
    recipe = Recipe(
        lr=lowest,
        loss=loss,
        batch_size=batch_size,
        precision=precision,
        optimizer=optimizer,
        schedule="constant",
        weight_decay=weight_decay,
        accumulate=accumulate,
        workers=workers,
        seed=seed,
    )
    check_data(model, train=train)
    function = get_loss(loss)
    background.reserve()
    try:
        with unchanged_random_numbers():
            return run_test(model, train, recipe, loss=function, highest=highest, steps=steps)
    finally:
        background.release()


def run_test(
    model: SegmentationModel, train: SegmentationDataset, recipe: Recipe, *, loss: Loss, highest: float, steps: int
) -> RateTest:
    """Train a copy of the model at rates that grow by the same factor in each step."""
    accelerator = make_accelerator(recipe.precision)
    # A copy of the transform: it draws its own random numbers.
    train = train.with_transform(copy.deepcopy(train.transform))
    train.seed(recipe.seed)
    set_seed(recipe.seed)
    size = choose_batch_size(recipe.batch_size, len(train), accelerator.device)
    engine = Engine(copy.deepcopy(model), train, recipe, loss=loss, accelerator=accelerator, batch_size=size)
    engine.shuffler.manual_seed(recipe.seed)
    growth = highest / recipe.lr
    engine.scheduler = LambdaLR(engine.plain_optimizer, lambda step: growth ** (step / (steps - 1)))
    engine.plain_model.train()
    found = RateTest()
    endless = itertools.chain.from_iterable(engine.groups() for _ in itertools.count())
    for count, group in enumerate(itertools.islice(endless, steps), start=1):
        value = engine.backward(group).item()
        if not math.isfinite(value) or (count > 10 and found.smoothed[-1] > EXPLODED * found.smoothed.min()):
            break
        engine.update(count)
        found.rates.append(engine.lr)
        found.losses.append(value)
    if len(found.losses) < 3:
        raise SegnbError(
            f"the loss was not finite from the start, at a learning rate of {recipe.lr:g}: look at the data."
        )
    return found


@contextmanager
def unchanged_random_numbers() -> Iterator[None]:
    """Set the random numbers of Python, NumPy and PyTorch back to where they were."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
