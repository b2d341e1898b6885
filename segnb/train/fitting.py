"""`fit`: from a model and two data sets to a `Run`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import Accelerator

from segnb.losses import Loss, get_loss
from segnb.models import SegmentationModel
from segnb.train import background as backgrounds
from segnb.train import checkpoint
from segnb.train.class_weights import choose_class_weights
from segnb.train.engine import Engine
from segnb.train.keeping import Keeper
from segnb.train.logs import make_logs
from segnb.train.loop import Session
from segnb.train.optimizers import OptimizerMaker, choose_lr, choose_weight_decay, make_optimizer
from segnb.train.recipe import Recipe, without_addresses
from segnb.train.run import ProgressBar, Run
from segnb.train.setup import check_data, choose_batch_size, deterministic_algorithms, make_accelerator

if TYPE_CHECKING:
    from segnb.data import SegmentationDataset


def fit(
    model: SegmentationModel,
    train: SegmentationDataset,
    valid: SegmentationDataset,
    epochs: int = 10,
    *,
    loss: str | Loss = "auto",
    lr: float | str = "auto",
    batch_size: int | str = "auto",
    precision: str = "auto",
    monitor: str = "miou",
    patience: int | None = None,
    optimizer: str | OptimizerMaker = "adamw",
    schedule: str = "onecycle",
    weight_decay: float | str = "auto",
    encoder_lr: float | None = None,
    layer_decay: float | None = None,
    freeze_encoder: int = 0,
    accumulate: int = 1,
    clip: float | None = None,
    ema: float | None = None,
    class_weights: str | Sequence[float] | None = None,
    budget: float | str | None = None,
    workers: int | str = "auto",
    compile: bool = False,  # noqa: A002, the name it has in Keras and Lightning
    deterministic: bool = False,
    out: str | Path | None = None,
    resume: bool = True,
    logs: str | None = None,
    callbacks: Sequence[Any] = (),
    background: bool = False,
    seed: int = 0,
) -> Run:
    """Train a model; afterwards it holds the weights of its best epoch.

    By default AdamW with a one-cycle learning rate (Smith & Topin, 2017, https://arxiv.org/abs/1708.07120). In a notebook a live
    monitor appears, in a terminal a progress bar. Stop (or ■ Interrupt, or Ctrl-C) ends the run gracefully.

    Args:
        model: made by `create_model`.
        train: pictures to learn from; all of one size after the transform.
        valid: pictures to judge by after each epoch, any sizes.
        epochs: passes over ``train``; with a ``budget`` their number is found from the pace instead.
        loss: ``"auto"`` (cross-entropy + Dice), names joined by ``+``, or a callable (logits, labels) -> scalar.
        lr: highest learning rate; ``"auto"`` is 4e-3 for encoders with batch normalisation, 3e-4 for transformers and kin;
            1e-2 with SGD and its like; a callable's own. `find_lr` helps to choose.
        batch_size: ``"auto"`` is 8 on a CPU and 16 on a GPU, less if that leaves fewer than 16 steps an epoch, and half as often
            as memory runs out in the first epoch.
        precision: ``"no"``, ``"bf16"``, ``"fp16"``; ``"auto"`` is bf16 or fp16 on a CUDA device and ``"no"`` elsewhere.
        monitor: what decides the best epoch: ``"miou"``, ``"valid_loss"`` or ``"train_loss"``.
        patience: stop after so many epochs without a better one; None never does.
        optimizer: ``"adamw"``, ``"sgd"`` (with momentum 0.9), any name in `torch.optim`, or a callable that takes groups of
            parameters, each with its ``lr`` and ``weight_decay``, and returns an optimiser.
        schedule: ``"onecycle"``, ``"poly"``, ``"cosine"``, ``"plateau"`` or ``"constant"``, see `segnb.train.schedules`.
        weight_decay: of kernels and matrices, not of biases and normalisation; ``"auto"`` is the optimiser's own default, 0.01
            for AdamW.
        encoder_lr: highest learning rate of the encoder; None is ``lr``.
        layer_decay: from 0 to 1: each layer of the encoder learns at this share of the rate of the next one, such as 0.75.
        freeze_encoder: keep the encoder as it is for so many epochs, then let it learn.
        accumulate: batches that make one step: their gradients are those of one large batch for every loss that is a mean over
            pixels.
        clip: scale gradients down to this norm if theirs is larger (Pascanu et al., ICML 2013, https://arxiv.org/abs/1211.5063).
        ema: judge and keep a moving average of the weights with this decay, such as 0.999, see `segnb.train.averaging`.
        class_weights: one weight for each label, or ``"auto"``: rare ones count more, see `segnb.train.class_weights`.
        budget: time to train for, validation included: ``"45 s"``, ``"10 min"``, ``"1.5 h"`` or seconds. The number of epochs and
            the schedule follow from the pace, so such a run does not repeat exactly. Pauses do not count.
        workers: processes that read pictures; ``"auto"`` is 4 with a GPU, else 0: this process reads them.
        compile: let `torch.compile` fuse the model's training step: pays on a GPU in long runs; on CPUs it was measured not to.
        deterministic: use only algorithms that repeat exactly on a GPU, too; where PyTorch has none, it names the operation.
        out: folder of the run; None makes one under ``runs/`` named after the model and the settings.
        resume: go on where an unfinished run in the same folder with the same settings ended. False starts afresh.
        logs: ``"tensorboard"``; the table ``history.csv`` is always in the folder.
        callbacks: objects with some of the methods of `segnb.train.Callback`.
        background: return at once and train in a thread: the notebook stays free, `Run.wait` waits for the end. On Colab the
            monitor does not move meanwhile. A script must wait before it ends, or the thread ends with it.
        seed: of everything random.

    Returns:
        The run: history, best epoch, folder.

    Raises:
        SegnbError: an argument does not fit; a picture cannot be read; memory ran out; or the loss became NaN or infinite (the
            last good weights are back in the model). In the background `Run.wait` raises it.
    """
    recipe = Recipe(
        epochs=epochs,
        loss=loss,
        lr=lr,
        batch_size=batch_size,
        precision=precision,
        monitor=monitor,
        patience=patience,
        optimizer=optimizer,
        schedule=schedule,
        weight_decay=weight_decay,
        encoder_lr=encoder_lr,
        layer_decay=layer_decay,
        freeze_encoder=freeze_encoder,
        accumulate=accumulate,
        clip=clip,
        ema=ema,
        class_weights=class_weights,
        budget=budget,
        workers=workers,
        compile=compile,
        deterministic=deterministic,
        seed=seed,
    )
    check_data(model, train=train, valid=valid)
    watchers = [*make_logs(logs), *callbacks]
    backgrounds.reserve()
    try:
        session, run = prepare(model, train, valid, recipe, out=out, resume=resume)
        session.watchers = [live_view(), *watchers]
    except BaseException:
        backgrounds.release()
        raise
    if background:
        backgrounds.start(run, lambda: work(session, run))
    else:
        work(session, run)
    return run


def prepare(
    model: SegmentationModel,
    train: SegmentationDataset,
    valid: SegmentationDataset,
    recipe: Recipe,
    *,
    out: str | Path | None,
    resume: bool,
) -> tuple[Session, Run]:
    """Make everything ready for the first step, or for the first one after the checkpoint of an earlier run."""
    loss = make_loss(recipe, train)
    accelerator = make_accelerator(recipe.precision)
    recipe = resolve(recipe, model, accelerator)
    make_optimizer(recipe.optimizer, model.parameter_groups(recipe.lr))  # to hear now if it refuses this model
    settings = {
        "model": model.config,
        "pictures": [len(train), len(valid)],
        "transform": without_addresses(repr(getattr(train, "transform", None))),
        **recipe.settings(),
    }
    path = checkpoint.choose_folder(out, settings, resume)
    checkpoint.prepare_folder(path, resume)
    earlier = checkpoint.read_last(path, settings) if resume else None
    size = earlier["batch_size"] if earlier else choose_batch_size(recipe.batch_size, len(train), accelerator.device)
    engine = Engine(model, train, recipe, loss=loss, accelerator=accelerator, batch_size=size)
    run = Run(path, recipe.epochs, engine.steps, recipe.monitor, model.label_names)
    run.settings = settings
    run.palette = model.palette = getattr(train, "palette", model.palette)
    keeper = Keeper(engine, settings)
    if earlier is not None:
        keeper.load(run, earlier)
    return Session(engine, keeper, valid, recipe), run


def resolve(recipe: Recipe, model: SegmentationModel, accelerator: Accelerator) -> Recipe:
    """Replace "auto" where it depends on the model and the device alone."""
    return replace(
        recipe,
        lr=choose_lr(recipe.lr, model, recipe.optimizer),
        weight_decay=choose_weight_decay(recipe.weight_decay, recipe.optimizer),
        precision=accelerator.mixed_precision,
    )


def make_loss(recipe: Recipe, train: SegmentationDataset) -> Loss:
    """Make the loss, with class weights if there are any.

    Raises:
        SegnbError: the name is unknown, or the loss takes no weights.
    """
    if recipe.class_weights is None:
        return get_loss(recipe.loss)
    get_loss(recipe.loss)  # a misspelt name is noticed before the labels are counted
    return get_loss(recipe.loss, class_weights=choose_class_weights(recipe.class_weights, train))


def work(session: Session, run: Run) -> None:
    """Train, and leave everything in order, whatever happens."""
    try:
        with deterministic_algorithms(session.recipe.deterministic):
            session.train(run)
    finally:
        try:
            session.finish(run)
        finally:
            backgrounds.release()


def live_view() -> Any:
    """Make the view that suits the place: the live monitor in a notebook, a progress bar elsewhere."""
    if in_notebook():
        from segnb.widgets import TrainingMonitor

        return TrainingMonitor()
    return ProgressBar()


def in_notebook() -> bool:
    """Say whether this Python is a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None
