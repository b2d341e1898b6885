"""What a hyper-parameter search found: the best settings, a table, and the dashboard of its trials."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from segnb.train.run import LOWER_IS_BETTER

if TYPE_CHECKING:
    import optuna
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY, BLUE, ORANGE = "0.75", "#0072B2", "#D55E00"


class Search:
    """The result of `search`.

    Args:
        study: Optuna's, with all trials; ``optuna.visualization`` draws more of it.
        monitor: what decided.
        names: of the settings, in their order.
        model_settings: names of those that the model takes.

    Attributes:
        study, monitor, names: as given.
    """

    def __init__(self, study: optuna.Study, monitor: str, names: Sequence[str], model_settings: Sequence[str]) -> None:
        self.study, self.monitor, self.names = study, monitor, list(names)
        self._model_settings = set(model_settings)

    @property
    def best(self) -> dict[str, Any]:
        """The settings of the best trial; empty if none was completed."""
        done = [trial for trial in self.study.trials if trial.state.name == "COMPLETE"]
        return dict(self.study.best_trial.params) if done else {}

    @property
    def model_settings(self) -> dict[str, Any]:
        """Those of the best settings that are for the model."""
        return {name: value for name, value in self.best.items() if name in self._model_settings}

    @property
    def fit_settings(self) -> dict[str, Any]:
        """Those of the best settings that are for `fit`."""
        return {name: value for name, value in self.best.items() if name not in self._model_settings}

    def table(self) -> list[dict[str, Any]]:
        """List all trials, the best first; for ``pandas.DataFrame`` if you like.

        Returns:
            For each: trial, state (complete, pruned, fail or running), the monitored value (of the last epoch if it was pruned;
            NaN if there is none), epochs, seconds, and the settings.
        """
        sign = 1 if self.monitor in LOWER_IS_BETTER else -1
        rows = [self._row(trial) for trial in self.study.trials]
        last = math.inf
        return sorted(
            rows,
            key=lambda row: (
                row["state"] != "complete",
                last if math.isnan(row[self.monitor]) else sign * row[self.monitor],
            ),
        )

    def _row(self, trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
        seen = trial.intermediate_values
        value = trial.value if trial.value is not None else seen.get(max(seen, default=0), math.nan)
        return {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            self.monitor: value,
            "epochs": len(seen),
            "seconds": trial.duration.total_seconds() if trial.duration else math.nan,
            **{name: trial.params.get(name) for name in self.names},
        }

    def plot(self) -> Figure:
        """Draw the dashboard: the value of each trial with the best so far, and each setting against the value."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(3 * (len(self.names) + 1) + 1, 3), layout="constrained")
        over_time, *panels = figure.subplots(1, len(self.names) + 1, sharey=True)
        rows = sorted(self.table(), key=lambda row: row["trial"])
        for axes, name in zip([over_time, *panels], ["trial", *self.names], strict=True):
            self._scatter(axes, name, rows)
        done = [row for row in rows if row["state"] == "complete"]
        better = min if self.monitor in LOWER_IS_BETTER else max
        so_far = [better(row[self.monitor] for row in done[: place + 1]) for place in range(len(done))]
        over_time.step([row["trial"] for row in done], so_far, where="post", color=ORANGE, label="best so far")
        over_time.set_ylabel(self.monitor)
        over_time.xaxis.get_major_locator().set_params(integer=True)
        over_time.legend(frameon=False)
        return figure

    def _scatter(self, axes: Axes, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """Draw one setting against the value, pruned trials in grey."""
        for states, color, label in ((("complete",), BLUE, "complete"), (("pruned", "fail"), GREY, "pruned")):
            shown = [row for row in rows if row["state"] in states and row[name] is not None]
            is_choice = any(isinstance(row[name], (str, bool)) for row in shown)
            places = [str(row[name]) if is_choice else row[name] for row in shown]
            axes.scatter(places, [row[self.monitor] for row in shown], s=22, color=color, label=label)
        numbers = [row[name] for row in rows if isinstance(row[name], float)]
        if numbers and max(numbers) > 10 * min(numbers) > 0:
            axes.set_xscale("log")
        axes.set_xlabel(name)

    def __repr__(self) -> str:
        count = len(self.study.trials)
        if not self.best:
            return f"Search({count} trials, none completed)"
        settings = ", ".join(
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value!r}"
            for name, value in self.best.items()
        )
        return f"Search({count} trials, best {self.monitor} {self.study.best_value:.3f} with {settings})"

    def _repr_html_(self) -> str:
        rows = self.table()[:10]
        head = "".join(f"<th>{html.escape(name)}</th>" for name in (rows[0] if rows else ()))
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_text(value))}</td>" for value in row.values()) + "</tr>"
            for row in rows
        )
        return f"<p>{html.escape(repr(self))}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
