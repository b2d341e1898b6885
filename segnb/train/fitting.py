"""`fit`: from a model and two data sets to a `Run`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from segnb.losses import Loss, get_loss
from segnb.models import SegmentationModel
from segnb.train import checkpoint
from segnb.train.loop import Session, tell
from segnb.train.run import ProgressBar, Run
from segnb.train.setup import check_fit, choose_batch_size, choose_lr, make_accelerator, make_loader

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
    out: str | Path | None = None,
    resume: bool = True,
    callbacks: Sequence[Any] = (),
    seed: int = 0,
) -> Run:
    """Train a model; afterwards it holds the weights of its best epoch.

    AdamW with a one-cycle learning rate (Smith & Topin, 2017, https://arxiv.org/abs/1708.07120). In a notebook a live monitor
    appears, in a terminal a progress bar. Stop (or ■ Interrupt, or Ctrl-C) ends the run gracefully.

    Args:
        model: made by `create_model`.
        train: pictures to learn from; all of one size after the transform.
        valid: pictures to judge by after each epoch, any sizes.
        epochs: passes over ``train``.
        loss: ``"auto"`` (cross-entropy + Dice), names joined by ``+``, or a callable (logits, labels) -> scalar.
        lr: highest learning rate; ``"auto"`` is 4e-3 for encoders with batch normalisation, 3e-4 for transformers and kin.
        batch_size: ``"auto"`` is 8 on a CPU and 16 on a GPU, less if that leaves fewer than 16 steps an epoch.
        precision: ``"no"``, ``"bf16"``, ``"fp16"``; ``"auto"`` is bf16 or fp16 on a CUDA device and ``"no"`` elsewhere.
        monitor: what decides the best epoch: ``"miou"``, ``"valid_loss"`` or ``"train_loss"``.
        patience: stop after so many epochs without a better one; None never does.
        out: folder of the run; None makes one under ``runs/`` named after the model and the settings.
        resume: go on where an unfinished run in the same folder with the same settings ended. False starts afresh.
        callbacks: objects with some of the methods of `segnb.run.Callback`.
        seed: of everything random.

    Returns:
        The run: history, best epoch, folder.

    Raises:
        SegnbError: an argument does not fit, or the loss became NaN or infinite (the last good weights are back in the model).
    """
    check_fit(model, train, valid, epochs=epochs, monitor=monitor, patience=patience)
    loss_function = get_loss(loss)
    accelerator = make_accelerator(precision)
    batch_size = choose_batch_size(batch_size, len(train), accelerator.device)
    lr = choose_lr(lr, model)
    settings = {
        "model": model.config,
        "pictures": [len(train), len(valid)],
        # Without addresses in memory ("<function flip at 0x7f3a>"): they are others after a restart of the kernel.
        "transform": re.sub(r" at 0x[0-9a-f]+", "", repr(getattr(train, "transform", None))),
        "epochs": epochs,
        "loss": loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__),
        "lr": lr,
        "batch_size": batch_size,
        "precision": accelerator.mixed_precision,
        "monitor": monitor,
        "patience": patience,
        "seed": seed,
    }
    path = checkpoint.choose_folder(out, settings, resume)
    checkpoint.prepare_folder(path, resume)
    earlier = checkpoint.read_last(path, settings) if resume else None
    loader = make_loader(train, batch_size, accelerator.device)
    run = Run(path, epochs, len(loader), monitor, model.label_names)
    run.palette = model.palette = getattr(train, "palette", model.palette)
    if accelerator.device.type != "mps":
        model.to(memory_format=torch.channels_last)  # convolutions on CPU and CUDA are faster with channels last
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=epochs * len(loader))
    session = Session(
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        accelerator=accelerator,
        loader=loader,
        valid=valid,
        loss=loss_function,
        settings=settings,
    )
    if earlier is not None:
        session.load(run, earlier)
    watchers = [live_view(), *callbacks]
    try:
        session.train(run, patience, watchers)
    finally:
        session.finish(run)
        tell(watchers, "on_end", run)
    return run


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
