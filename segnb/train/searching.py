"""Hyper-parameter search: many short runs, each with other settings, the hopeless ones ended early.

    space ─▶ Optuna suggests ─▶ make_model ─▶ fit ─▶ best monitored value ─▶ Optuna learns ─▶ …
                                               └─ after each epoch: worse than the median of the others? ─▶ pruned

Optuna's sampler is the tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011,
https://papers.nips.cc/paper/4443-algorithms-for-hyper-parameter-optimization), its pruner the median rule (Golovin et al.,
KDD 2017, https://doi.org/10.1145/3097983.3098043).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from segnb.errors import SegnbError, nearest
from segnb.models import SegmentationModel
from segnb.train.faults import DivergedError
from segnb.train.fitting import fit
from segnb.train.recipe import Recipe
from segnb.train.run import LOWER_IS_BETTER, Run
from segnb.train.trials import Search

if TYPE_CHECKING:
    import optuna

    from segnb.data import SegmentationDataset

Choices = tuple[float, float] | Sequence[Any]
DATABASE = "search.db"
FIT_SETTINGS = [name for name in Recipe.__dataclass_fields__ if name not in ("epochs", "monitor", "seed")]


def search(
    make_model: Callable[..., SegmentationModel],
    train: SegmentationDataset,
    valid: SegmentationDataset,
    space: Mapping[str, Choices],
    *,
    trials: int = 20,
    epochs: int = 3,
    out: str | Path = "runs/search",
    monitor: str = "miou",
    seed: int = 0,
    **options: Any,
) -> Search:
    """Find good settings for `fit` and for the model. Needs ``segnb[search]``.

    The trials are kept in the folder: the same call goes on where an earlier one was interrupted.

    Args:
        make_model: makes a fresh model; settings that are among its parameters go to it, all others to `fit`.
        train: pictures to learn from.
        valid: pictures to judge by.
        space: what to try: ``(low, high)`` for a number (whole if both are; on a logarithmic scale if high is at least ten times
            low), a list for a choice.
        trials: how many runs, those of an earlier call with the same folder included.
        epochs: of each run.
        out: folder of the search; each trial gets a folder in it.
        monitor: what decides, see `fit`.
        seed: of the suggestions and of every run.
        **options: what `fit` takes, too, the same for all trials; each trains in this process, in the foreground.

    Returns:
        The search: ``.best``, ``.table()``, ``.plot()``.

    Raises:
        SegnbError: Optuna is not installed, a setting is unknown, or a run failed otherwise than by diverging.

    Example:
        >>> make = lambda encoder_name: segnb.create_model("unet", encoder_name, classes=train.classes)
        >>> space = {"lr": (1e-4, 1e-2), "loss": ["ce", "ce+dice"], "encoder_name": ["resnet18", "tf_efficientnet_lite0"]}
        >>> found = segnb.search(make, train, valid, space, trials=20, epochs=3)
        >>> run = segnb.fit(make(**found.model_settings), train, valid, epochs=20, **found.fit_settings)
    """
    model_settings = list(inspect.signature(make_model).parameters)
    check_space(space, model_settings)
    check_options(options)
    out = Path(out)

    def run_trial(trial: optuna.Trial) -> float:
        settings = {name: suggest(trial, name, choices) for name, choices in space.items()}
        torch.manual_seed(seed)  # the decoder begins with the same random weights in all trials
        model = make_model(**{name: value for name, value in settings.items() if name in model_settings})
        recipe = {name: value for name, value in settings.items() if name not in model_settings}
        pruning, folder = Pruning(trial), out / f"trial-{trial.number:03d}"
        callbacks = [pruning, *options.get("callbacks", ())]
        fixed = {**options, "callbacks": callbacks, "monitor": monitor, "seed": seed, "out": folder, "resume": False}
        try:
            run = fit(model, train, valid, epochs, **fixed, **recipe)
        except DivergedError as error:
            raise pruned(str(error)) from error
        if pruning.pruned:
            raise pruned(f"worse than the median after epoch {len(run.history)}")
        if run.state == "stopped":
            trial.study.stop()
            return math.nan  # for Optuna it failed: the next call makes up for it
        return run.best[monitor]

    study = open_study(out, monitor, seed)
    study.optimize(run_trial, n_trials=max(0, trials - len(study.get_trials(states=ended()))))
    return Search(study, monitor, list(space), model_settings)


class Pruning:
    """Ends a trial that is worse than the median of the others after as many epochs; for any study of Optuna's.

    Args:
        trial: to which the monitored value of every epoch is reported.
    """

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial, self.pruned = trial, False

    def on_epoch(self, run: Run) -> None:
        """Report the epoch, and ask."""
        self.trial.report(run.history[-1][run.monitor], run.epoch)
        if run.epoch < run.epochs and self.trial.should_prune():
            self.pruned = True
            run.stop()


def suggest(trial: optuna.Trial, name: str, choices: Choices) -> Any:
    """Let Optuna choose the value of a setting."""
    if not isinstance(choices, tuple):
        return trial.suggest_categorical(name, choices)
    low, high = choices
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high)
    return trial.suggest_float(name, low, high, log=high >= 10 * low > 0)


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that are not the same for all trials, or that `fit` does not have."""
    known = [*FIT_SETTINGS, "callbacks", "logs"]
    for name in options:
        if name not in known:
            raise SegnbError(f"search does not hand {name!r} to fit. {nearest(name, known)}".rstrip())


def check_space(space: Mapping[str, Choices], model_settings: Sequence[str]) -> None:
    """Refuse settings that nothing takes, and ranges that are none."""
    known = [*model_settings, *FIT_SETTINGS]
    for name, choices in space.items():
        if name not in known:
            raise SegnbError(f"neither fit nor make_model has a setting {name!r}. {nearest(name, known)}")
        is_range = (
            isinstance(choices, tuple) and len(choices) == 2 and all(isinstance(end, (int, float)) for end in choices)
        )
        if not (is_range and choices[0] < choices[1]) and not (isinstance(choices, list) and choices):
            raise SegnbError(
                f"space[{name!r}] is {choices!r}: give a range (low, high), or a list of values to choose from."
            )
    if not space:
        raise SegnbError("space is empty: give at least one setting to search, such as {'lr': (1e-4, 1e-2)}.")


def open_study(out: Path, monitor: str, seed: int) -> optuna.Study:
    """Open the study in a folder, or begin one."""
    try:
        import optuna
    except ImportError as error:
        raise SegnbError('the search needs Optuna: pip install "segnb[search]"') from error
    out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=f"sqlite:///{out.resolve() / DATABASE}",
        study_name="segnb",
        direction="minimize" if monitor in LOWER_IS_BETTER else "maximize",
        load_if_exists=True,
    )
    # Another seed after an interruption: the same one would suggest the first trials again.
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    return study


def ended() -> tuple[optuna.trial.TrialState, ...]:
    """List the states of trials that need not be done again."""
    from optuna.trial import TrialState

    return TrialState.COMPLETE, TrialState.PRUNED


def pruned(reason: str) -> Exception:
    """Make the error by which Optuna knows that a trial ended early."""
    import optuna

    return optuna.TrialPruned(reason)
