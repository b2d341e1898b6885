"""What takes a step: model, optimiser, schedule and loader, on the device and in the precision of the run.

group of batches ─▶ at half size? ─▶ loss ─▶ gradients, added up ─▶ clip ─▶ optimiser ─▶ schedule ─▶ average of the weights
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from segnb.draw import IGNORE
from segnb.losses import Loss
from segnb.models import SegmentationModel
from segnb.train.averaging import Average
from segnb.train.optimizers import choose_weight_decay, make_optimizer
from segnb.train.processes import Processes, restore_norms, synchronize_norms
from segnb.train.progressive import Batch, Progression, halve
from segnb.train.recipe import Recipe
from segnb.train.run import LOWER_IS_BETTER
from segnb.train.schedules import make_schedule, restart_rates
from segnb.train.setup import make_loader
from segnb.train.stages import WithStages

if TYPE_CHECKING:
    from segnb.data import SegmentationDataset

STAGE_WEIGHT = 0.4


class Engine:
    """Takes steps.

    Args:
        model: to be trained; moved to the device.
        train: pictures to learn from.
        recipe: how; its ``lr`` is a number.
        loss: (logits, labels) -> scalar.
        accelerator: device and precision.
        batch_size: pictures in a batch, of all processes together.

    Attributes:
        plain_model, plain_optimizer: without the training engine's wrapping.
        processes: that train together.
        progression: which epochs learn on pictures of half the size.
        epochs: planned.
        steps: in an epoch.
        lr: of the last step: the highest among the groups of parameters.
    """

    def __init__(
        self,
        model: SegmentationModel,
        train: SegmentationDataset,
        recipe: Recipe,
        *,
        loss: Loss,
        accelerator: Accelerator,
        batch_size: int,
    ) -> None:
        self.plain_model, self.train, self.recipe, self.loss = model, train, recipe, loss
        self.accelerator, self.processes = accelerator, Processes(accelerator)
        self.progression = Progression(recipe.progressive)
        self.epoch, self.epochs = 0, recipe.epochs
        self.lr = 0.0
        model.to(accelerator.device)
        if accelerator.device.type != "mps":
            model.to(memory_format=torch.channels_last)  # convolutions on CPU and CUDA are faster with channels last
        several_gpus = self.processes.count > 1 and accelerator.device.type == "cuda"
        self.plain_norms = synchronize_norms(model) if several_gpus else {}
        self.average = None if recipe.ema is None else Average(model, recipe.ema)
        self.has_stages = model.auxiliary is not None or hasattr(model.decoder, "forward_all")
        self.model: Any = WithStages(model) if self.has_stages else model
        self.equip(batch_size)
        self.forward = torch.compile(self.model) if recipe.compile and not self.has_stages else self.model

    def equip(self, batch_size: int) -> None:
        """Make loader, optimiser and schedule for a batch size."""
        recipe, model = self.recipe, self.plain_model
        self.batch_size = batch_size
        if recipe.freeze_encoder:
            model.unfreeze_encoder()  # the optimiser must know what it will train later
        loader = make_loader(self.train, batch_size, self.accelerator.device, recipe.workers, self.processes)
        self.shuffler = loader.generator
        self.steps = math.ceil(len(loader) / recipe.accumulate)
        decay = choose_weight_decay(recipe.weight_decay, recipe.optimizer)
        groups = model.parameter_groups(recipe.lr, recipe.encoder_lr, decay, recipe.layer_decay)
        self.plain_optimizer = make_optimizer(recipe.optimizer, groups)
        self._peaks = [group["lr"] for group in self.plain_optimizer.param_groups]
        self.plan(recipe.epochs)
        self.model, self.optimizer = self.accelerator.prepare(self.model, self.plain_optimizer)
        # As if alone: the loader gives each process its share already.
        self.loader = prepare_data_loader(
            loader, self.accelerator.device, num_processes=1, process_index=0, put_on_device=True
        )
        if self.average is not None:
            self.average.restart(model)

    def shrink(self, batch_size: int, weights: dict[str, Tensor]) -> None:
        """Start again with smaller batches, from these weights."""
        self.plain_model.zero_grad()
        self.plain_model.load_state_dict(weights)
        self.accelerator.free_memory()  # and forget the optimiser: its scaler would serve two
        self.equip(batch_size)

    def plan(self, epochs: int, steps: int | None = None, done: int = 0) -> None:
        """Stretch the schedule to a number of epochs, of so many steps each; some steps may be done."""
        self.epochs = epochs
        if done and self.recipe.schedule in ("plateau", "constant"):
            return  # these do not ask for the end
        restart_rates(self.plain_optimizer, self._peaks)
        steps = steps or self.steps
        strides = [self.progression.stride(1 + step // steps, epochs) for step in range(done)]
        self.scheduler = make_schedule(
            self.recipe.schedule,
            self.plain_optimizer,
            steps * sum(self.progression.stride(epoch, epochs) for epoch in range(1, epochs + 1)),
            epochs=epochs,
            lower_is_better=self.recipe.monitor in LOWER_IS_BETTER,
        )
        for _ in range(sum(strides)):
            self.scheduler.step()

    def start_epoch(self, epoch: int) -> None:
        """Freeze or unfreeze the encoder, and set the model to training."""
        self.epoch = epoch
        if self.recipe.freeze_encoder:
            frozen = epoch <= self.recipe.freeze_encoder
            (self.plain_model.freeze_encoder if frozen else self.plain_model.unfreeze_encoder)()
        self.plain_model.train()

    def groups(self) -> Iterator[list[Batch]]:
        """Read the pictures of an epoch: the batches of each step, at the size that this epoch learns from."""
        batches = iter(self.loader)
        for step in count():
            group = list(islice(batches, self.recipe.accumulate))
            if not group:
                return
            is_first = self.epoch == 1 and step == 0
            if self.progression.look(group) and is_first:
                self.plan(self.epochs)
            if self.epoch <= self.progression.half_epochs(self.epochs) and not is_first:
                group = [halve(images, labels) for images, labels in group]
            yield group

    def backward(self, group: Sequence[Batch]) -> Tensor:
        """Add up the gradients of a step's batches; return their loss, over all processes."""
        total = torch.zeros((), device=self.accelerator.device)
        for (images, labels), share in zip(group, shares(group, self.processes), strict=True):
            loss = self.compute_loss(channels_last(images), labels) * share
            self.accelerator.backward(loss * self.processes.count)  # several processes take the mean of their gradients
            total += loss.detach()
        return self.processes.sum(total)

    def compute_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of a batch.

        Auxiliary heads and earlier stages count less, as in PSPNet (section 3.3). A decoder's own loss is added, or stands
        alone if nobody has asked for another and the decoder learns by it.
        """
        if not self.has_stages:
            return self.loss(self.forward(images), labels)
        outputs, model = self.forward(images), self.plain_model
        alone = self.recipe.loss == "auto" and model.learns_by_own_loss
        final = 0.0 if alone else self.loss(outputs.logits, labels)
        own = model.own_loss(outputs, labels) if outputs.clues else 0.0
        return final + STAGE_WEIGHT * sum(self.loss(stage, labels) for stage in outputs.stages) + own

    def update(self, count: int) -> None:
        """Let the optimiser take the step whose gradients are there.

        Args:
            count: of this step, from 1 over the whole run.
        """
        if self.recipe.clip is not None:
            self.accelerator.clip_grad_norm_(self.plain_model.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.lr = max(group["lr"] for group in self.plain_optimizer.param_groups)
        if self.accelerator.optimizer_step_was_skipped:  # its gradients overflowed in half precision
            return
        if not isinstance(self.scheduler, ReduceLROnPlateau):
            for _ in range(self.progression.stride(self.epoch, self.epochs)):
                self.scheduler.step()
        if self.average is not None:
            self.average.update(self.plain_model, count)

    def end_epoch(self, value: float) -> None:
        """Tell a schedule that waits for a plateau how the epoch was judged."""
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(value)

    def averaged(self) -> AbstractContextManager[None]:
        """Let the model hold the averaged weights, if there are any, for a while."""
        return nullcontext() if self.average is None else self.average.inside(self.plain_model)

    def is_finite(self) -> bool:
        """Say whether no weight is NaN or infinite."""
        return all(bool(tensor.isfinite().all()) for tensor in self.plain_model.parameters())

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on after this step."""
        return {
            "model": self.plain_model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else {},
            "average": self.average.state_dict() if self.average is not None else {},
            "batch_size": self.batch_size,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the step that `state_dict` was called at."""
        self.plain_model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def release(self) -> None:
        """Free the model of the training engine's wrapping."""
        self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        # Left marked as prepared, the model would silently train in full precision in its next run.
        for mark in ("forward", "_is_accelerate_prepared"):
            self.plain_model.__dict__.pop(mark, None)
        restore_norms(self.plain_model, self.plain_norms)
        if self.recipe.freeze_encoder:
            self.plain_model.unfreeze_encoder()


def shares(group: Sequence[Batch], processes: Processes | None = None) -> Sequence[Tensor | float]:
    """Weigh the batches of a step, in all processes, by the pixels that count in each.

    The sum of their losses is then the mean of one large batch.
    """
    several = processes is not None and processes.count > 1
    if len(group) == 1 and not several:
        return [1.0]
    counted = torch.stack([(labels != IGNORE).sum() for _, labels in group])
    total = processes.sum(counted.sum()) if several else counted.sum()
    return (counted / total.clamp(min=1)).unbind()


def start_reading(loss: Tensor) -> Callable[[], float]:
    """Begin to bring a loss to the host.

    Returns:
        A function that waits for the loss alone: a GPU goes on with what was queued after it.
    """
    if loss.device.type != "cuda":
        return loss.item
    value, ready = loss.to("cpu", non_blocking=True), torch.cuda.Event()
    ready.record()

    def read() -> float:
        ready.synchronize()
        return value.item()

    return read


def channels_last(images: Tensor) -> Tensor:
    """Lay a batch out as the convolutions want it, while it is still uint8 and small."""
    return images.contiguous(memory_format=torch.channels_last)
