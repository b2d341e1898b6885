"""`fit`: from a model and two data sets to a `Run`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnb.errors import SegnbError
from segnb.losses import Loss
from segnb.models import SegmentationModel
from segnb.train import background as backgrounds
from segnb.train.launching import bring_back, launch
from segnb.train.logs import make_logs
from segnb.train.loop import Session
from segnb.train.optimizers import OptimizerMaker
from segnb.train.preparing import prepare
from segnb.train.recipe import Recipe, is_whole
from segnb.train.run import ProgressBar, Run
from segnb.train.setup import check_data, deterministic_algorithms

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
    progressive: float | str = "auto",
    budget: float | str | None = None,
    workers: int | str = "auto",
    compile: bool = False,  # noqa: A002, the name it has in Keras and Lightning
    deterministic: bool = False,
    out: str | Path | None = None,
    resume: bool = True,
    logs: str | None = None,
    callbacks: Sequence[Any] = (),
    background: bool = False,
    processes: int = 1,
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
        batch_size: pictures in a batch, of all processes together. ``"auto"`` is 8 on a CPU and 16 on a GPU, less if that leaves
            fewer than 16 steps an epoch; in a single process, half as often as memory runs out in the first epoch.
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
        progressive: share of the epochs, the first ones, that learn on pictures of half the size, four times as fast; the others
            see them whole. ``"auto"`` is 0.9 for pictures of at least 192 pixels and 0 for smaller ones, see
            `segnb.train.progressive`.
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
        processes: that train together, each on a GPU of its own or, without GPUs, on its part of the CPU; they are copies of
            this one, so callbacks work in the first copy and change nothing here. Each gets its share of every batch, and for
            losses that are a mean over pixels their step is that of a single process. Batch normalisation sees the whole batch
            on GPUs; on CPUs each process normalises its own share. Several machines: see `Run.save_config`.
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
        progressive=progressive,
        budget=budget,
        workers=workers,
        compile=compile,
        deterministic=deterministic,
        seed=seed,
    )
    check_data(model, train=train, valid=valid)
    watchers = [*make_logs(logs), *callbacks]
    start = partial(start_run, model, train, valid, recipe, out=out, resume=resume)
    if check_processes(processes, background) > 1:
        run = Run(Path(), recipe.epochs, 0, recipe.monitor, model.label_names)
        run.recipe, run.train, run.valid = recipe, train, valid
        return fit_in_copies(lambda: start([ProgressBar(), *watchers]), processes, model, run)
    return start([*live_view(watchers), *watchers], background=background)


def start_run(
    model: SegmentationModel,
    train: SegmentationDataset,
    valid: SegmentationDataset,
    recipe: Recipe,
    watchers: Sequence[Any],
    *,
    out: str | Path | None,
    resume: bool,
    background: bool = False,
) -> Run:
    """Train in this process, which may be one of several."""
    backgrounds.reserve()
    try:
        session, run = prepare(model, train, valid, recipe, out=out, resume=resume)
        session.watchers = watchers if session.processes.is_main else []
    except BaseException:
        backgrounds.release()
        raise
    if background:
        backgrounds.start(run, lambda: work(session, run))
    else:
        work(session, run)
    return run


def check_processes(processes: int, background: bool) -> int:
    """Refuse a number of processes that cannot be started."""
    if not is_whole(processes, 1):
        raise SegnbError(f"processes={processes!r}: give a whole number of at least 1.")
    if processes > 1 and background:
        raise SegnbError(f"processes={processes} cannot train in the background: leave one of the two out.")
    if processes > 1 and os.environ.get("WORLD_SIZE", "1") != "1":
        raise SegnbError(f"processes={processes}: accelerate launch has started the processes already; leave it out.")
    return processes


def fit_in_copies(train_here: Callable[[], Run], processes: int, model: SegmentationModel, run: Run) -> Run:
    """Train in copies of this process, and bring their result into its model and run."""
    backgrounds.reserve()  # to hear now if another run is training; the copies have the engine for themselves
    backgrounds.release()
    run.palette = model.palette = getattr(run.train, "palette", model.palette)
    model.value_range = getattr(run.train, "value_range", model.value_range)
    return bring_back(launch(train_here, processes), model, run)


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


def live_view(watchers: Sequence[Any]) -> list[Any]:
    """Make the view that suits the place: the live monitor in a notebook, if none is given; a progress bar elsewhere."""
    if in_notebook():
        from segnb.widgets import TrainingMonitor

        return [] if any(isinstance(watcher, TrainingMonitor) for watcher in watchers) else [TrainingMonitor()]
    return [ProgressBar()]


def in_notebook() -> bool:
    """Say whether this Python is a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None
