"""From what `fit` was given to a session that is ready for its first step, or for the first one after a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import Accelerator

from segnb.encoders import Pixels
from segnb.errors import SegnbError
from segnb.losses import Loss, get_loss
from segnb.models import SegmentationModel
from segnb.train import checkpoint
from segnb.train.class_weights import choose_class_weights
from segnb.train.engine import Engine
from segnb.train.keeping import Keeper
from segnb.train.loop import Session
from segnb.train.optimizers import choose_lr, choose_weight_decay, make_optimizer
from segnb.train.processes import Processes, check_batch
from segnb.train.recipe import Recipe, describe
from segnb.train.run import Run
from segnb.train.setup import choose_batch_size, make_accelerator

if TYPE_CHECKING:
    from segnb.data import SegmentationDataset


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
    refuse_encoder_options(recipe, model)
    loss = make_loss(recipe, train)
    given = recipe
    all_learn = not recipe.freeze_encoder and model.image_head is None
    accelerator = make_accelerator(recipe.precision, all_learn=all_learn)
    processes = Processes(accelerator)
    recipe = resolve(recipe, model, accelerator)
    make_optimizer(recipe.optimizer, model.parameter_groups(recipe.lr))  # to hear now if it refuses this model
    settings = {
        "model": model.config,
        "pictures": [len(train), len(valid)],
        "transform": describe(getattr(train, "transform", None)),
        **recipe.settings(),
    }
    path, earlier = processes.from_main(lambda: find_earlier(out, settings, resume))
    size = earlier["batch_size"] if earlier else choose_batch_size(recipe.batch_size, len(train), accelerator.device)
    check_batch(size, len(train), processes.count)
    engine = Engine(model, train, recipe, loss=loss, accelerator=accelerator, batch_size=size)
    run = Run(path, recipe.epochs, engine.steps, recipe.monitor, model.label_names)
    run.settings, run.train, run.valid = settings, train, valid
    run.recipe = replace(given, batch_size=size)
    run.palette = model.palette = getattr(train, "palette", model.palette)
    model.value_range = getattr(train, "value_range", model.value_range)
    keeper = Keeper(engine, settings)
    if earlier is None:
        keeper.save_start(run)
    else:
        keeper.load(run, earlier)
    return Session(engine, keeper, valid, recipe), run


def refuse_encoder_options(recipe: Recipe, model: SegmentationModel) -> None:
    """Refuse what is said about the encoder of a model that has none.

    Raises:
        SegnbError: with the option.
    """
    for name, idle in (("freeze_encoder", 0), ("encoder_lr", None), ("layer_decay", None)):
        if isinstance(model.encoder, Pixels) and getattr(recipe, name) != idle:
            raise SegnbError(
                f"{name}={getattr(recipe, name)!r}: {model.config['arch']!r} has a backbone of its own and no encoder; leave "
                f"{name} out."
            )


def find_earlier(out: str | Path | None, settings: dict[str, Any], resume: bool) -> tuple[Path, dict[str, Any] | None]:
    """Choose and prepare the folder of the run; read the checkpoint of an earlier one in it, if it is to go on."""
    path = checkpoint.choose_folder(out, settings, resume)
    checkpoint.prepare_folder(path, resume)
    return path, checkpoint.read_last(path, settings) if resume else None


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
