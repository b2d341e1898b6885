"""The search tries, prunes, goes on, and shows what it found."""

import math
import sys

import pytest
from matplotlib.figure import Figure
from training import square_sets, tiny_model

from segnb.errors import SegnbError
from segnb.train import Callback, searching
from segnb.train.run import Run
from segnb.train.searching import check_space, search
from segnb.train.trials import Search

optuna = pytest.importorskip("optuna")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def fake_fit(scores):
    """A stand-in for `fit` that calls the callbacks and returns a run whose mIoU ``scores`` makes of settings and epoch."""
    calls = []

    def fit(model, train, valid, epochs, *, out, monitor, callbacks, **options):
        calls.append({"model": model, "epochs": epochs, "out": out, **options})
        run = Run(out, epochs, 1, monitor, ["a"])
        for run.epoch in range(1, epochs + 1):
            run.history.append({"epoch": run.epoch, monitor: scores(options, run.epoch)})
            run.best = max(run.history, key=lambda entry: entry[monitor])
            for callback in callbacks:
                callback.on_epoch(run)
            if run.should_stop():
                run.state = "stopped"
                return run
        run.state = "finished"
        return run

    return fit, calls


def test_the_search_finds_the_best_and_goes_on(monkeypatch):
    fit, calls = fake_fit(lambda settings, epoch: 1 - abs(math.log10(settings["lr"]) + 3) / 4)
    monkeypatch.setattr(searching, "fit", fit)
    space = {"lr": (1e-5, 1e-1), "loss": ["ce", "dice"], "width": [8, 16], "accumulate": (1, 3)}
    options = {"epochs": 1, "batch_size": 2}
    search(lambda width: f"model {width}", None, None, space, trials=5, **options)
    assert len(calls) == 5
    found = search(lambda width: f"model {width}", None, None, space, trials=12, **options)
    assert len(calls) == 12  # five were in the folder
    assert len({call["out"] for call in calls}) == len({call["lr"] for call in calls}) == 12
    for call in calls:
        assert 1e-5 <= call["lr"] <= 1e-1
        assert call["loss"] in ("ce", "dice")
        assert call["accumulate"] in (1, 2, 3)
        assert call["model"] in ("model 8", "model 16")
        assert call["batch_size"] == 2
        assert "width" not in call
    rows = found.table()
    best = min(calls, key=lambda call: abs(math.log10(call["lr"]) + 3))
    assert rows[0]["lr"] == best["lr"] == found.best["lr"]
    assert [row["miou"] for row in rows] == sorted((row["miou"] for row in rows), reverse=True)
    assert found.model_settings == {"width": found.best["width"]}
    assert set(found.fit_settings) == {"lr", "loss", "accumulate"}
    assert repr(found).startswith(f"Search(12 trials, best miou {rows[0]['miou']:.3f} with lr=")


def test_the_hopeless_are_pruned(monkeypatch):
    """After Optuna's five trials to begin with, those below the median of the first epoch end there."""
    values = iter([0.5, 0.6, 0.7, 0.8, 0.9, 0.1, 0.95])
    current = []

    def scores(settings, epoch):
        if epoch == 1:
            current.append(next(values))
        return current[-1]

    fit, _ = fake_fit(scores)
    monkeypatch.setattr(searching, "fit", fit)
    found = search(lambda: None, None, None, {"lr": (1e-4, 1e-2)}, trials=7, epochs=3)
    rows = {row["trial"]: row for row in found.table()}
    assert [rows[number]["state"] for number in range(7)] == ["complete"] * 5 + ["pruned", "complete"]
    assert (rows[5]["epochs"], rows[5]["miou"]) == (1, 0.1)
    assert rows[6]["epochs"] == 3
    assert found.table()[0]["trial"] == 6
    assert found.table()[-1]["trial"] == 5


def test_a_lower_loss_is_better_and_a_stop_ends_the_search(monkeypatch):
    fit, calls = fake_fit(lambda settings, epoch: settings["lr"])
    monkeypatch.setattr(searching, "fit", fit)

    class Stop(Callback):
        def on_epoch(self, run):
            if len(calls) == 4:
                run.stop()

    space = {"lr": (0.1, 0.2)}
    found = search(lambda: None, None, None, space, trials=9, epochs=1, monitor="valid_loss", callbacks=[Stop()])
    assert len(calls) == 4
    assert found.best["lr"] == min(call["lr"] for call in calls[:3])
    assert found.table()[0]["valid_loss"] == found.best["lr"]
    assert [row["state"] for row in found.table()] == ["complete"] * 3 + ["fail"]
    search(lambda: None, None, None, space, trials=5, epochs=1, monitor="valid_loss")
    assert len(calls) == 6  # three were completed, so two are left


def test_a_search_with_real_runs_and_one_that_diverges():
    train, valid = square_sets(8)
    space = {"lr": [1e-3, 1e30]}
    found = search(tiny_model, train, valid, space, trials=3, epochs=1, batch_size=4, optimizer="sgd", seed=1)
    states = {row["lr"]: row["state"] for row in found.table()}
    assert states == {1e-3: "complete", 1e30: "pruned"}
    assert found.best == {"lr": 1e-3}
    assert (found.study.trials[0].number, len(found.study.trials)) == (0, 3)


def test_the_dashboard_shows_every_trial():
    study = optuna.create_study(direction="maximize")
    for value, lr, loss in ((0.2, 1e-4, "ce"), (0.5, 1e-2, "dice"), (0.4, 1e-3, "ce")):
        distributions = {
            "lr": optuna.distributions.FloatDistribution(1e-5, 1, log=True),
            "loss": optuna.distributions.CategoricalDistribution(["ce", "dice"]),
        }
        study.add_trial(
            optuna.trial.create_trial(params={"lr": lr, "loss": loss}, distributions=distributions, value=value)
        )
    found = Search(study, "miou", ["lr", "loss"], [])
    figure = found.plot()
    assert isinstance(figure, Figure)
    over_time, rates, losses = figure.axes
    assert over_time.lines[0].get_ydata().tolist() == [0.2, 0.5, 0.5]
    assert rates.collections[0].get_offsets().tolist() == [[1e-4, 0.2], [1e-2, 0.5], [1e-3, 0.4]]
    assert rates.get_xscale() == "log"
    assert [axes.get_xlabel() for axes in figure.axes] == ["trial", "lr", "loss"]
    assert [label.get_text() for label in losses.get_xticklabels()] == ["ce", "dice"]
    page = found._repr_html_()
    assert page.index("0.5") < page.index("0.4") < page.index("0.2")
    assert "&#x27;dice&#x27;" in page


def test_an_empty_search_shows_itself():
    found = Search(optuna.create_study(), "valid_loss", ["lr"], [])
    assert found.best == {}
    assert found.table() == []
    assert repr(found) == "Search(0 trials, none completed)"
    assert "none completed" in found._repr_html_()
    assert isinstance(found.plot(), Figure)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"lrr": (1, 2)}, "neither fit nor make_model has a setting 'lrr'. Did you mean 'lr'"),
        ({"lr": (2, 1)}, r"space\['lr'\] is \(2, 1\): give a range"),
        ({"lr": 1e-3}, r"space\['lr'\] is 0.001: give a range"),
        ({"loss": []}, r"space\['loss'\] is \[\]: give a range"),
        ({"epochs": (1, 2)}, "neither fit nor make_model has a setting 'epochs'"),
        ({}, "space is empty"),
    ],
)
def test_a_space_that_is_none(space, message):
    with pytest.raises(SegnbError, match=message):
        check_space(space, ["width"])


def test_options_that_fit_does_not_take():
    for options, message in (({"processes": 2}, "does not hand 'processes' to fit"), ({"los": "ce"}, "'loss'")):
        with pytest.raises(SegnbError, match=message):
            search(tiny_model, None, None, {"lr": (1e-4, 1e-2)}, **options)


def test_optuna_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SegnbError, match=r'the search needs Optuna: pip install "segnb\[search\]"'):
        search(lambda: None, None, None, {"lr": (1e-4, 1e-2)})
