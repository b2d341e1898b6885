"""Training for a time, by a clock of the test's own."""

import pytest
import torch
from training import At, quick_fit, recording

from segnb.errors import SegnbError
from segnb.train import loop
from segnb.train.recipe import parse_budget
from segnb.train.schedules import make_schedule


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def clock(monkeypatch):
    """Time stands still, but for what a step and a validation take."""

    class Clock:
        now, step, validation = 1000.0, 1.0, 2.0

        def monotonic(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr("segnb.train.run.time", clock)
    validate, update = loop.validate, loop.Engine.update

    def timed(*args):
        clock.now += clock.validation
        return validate(*args)

    def step(self, count):
        clock.now += clock.step
        return update(self, count)

    monkeypatch.setattr(loop.Engine, "backward", lambda self, group: torch.ones(()))  # nothing is learnt here
    monkeypatch.setattr(loop, "validate", timed)
    monkeypatch.setattr(loop.Engine, "update", step)
    return clock


@pytest.mark.parametrize(
    ("budget", "seconds"),
    [("45 s", 45), ("10 min", 600), ("1.5 h", 5400), (" 2min ", 120), (30, 30), (0.5, 0.5), (None, None)],
)
def test_budgets_are_read(budget, seconds):
    assert parse_budget(budget) == seconds


@pytest.mark.parametrize("budget", ["10", "ten minutes", "10 m", -5, "-5 s", "0 s", True, "5 days"])
def test_other_budgets_are_refused(budget):
    with pytest.raises(SegnbError, match=r"budget=.*: give a time such as '45 s', '10 min' or '1.5 h'"):
        quick_fit(1, budget=budget)


def test_a_run_fills_its_budget_with_whole_epochs(clock):
    """Four steps of 1 s and a validation of 2 s: six seconds an epoch."""
    run, _ = quick_fit(1, budget=33)
    assert (run.state, len(run.history)) == ("finished", 5)
    assert run.history[-1]["elapsed"] == pytest.approx(30)
    assert len(run.losses) == 20


def test_the_schedule_ends_with_the_budget(clock):
    made = []
    quick_fit(1, budget=33, lr=0.1, schedule="cosine", optimizer=recording(made))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    reference, expected = make_schedule("cosine", optimizer, 20, epochs=5), []
    for _ in range(20):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    assert [rates[0] for rates in made[-1].rates][4:] == pytest.approx(expected[4:])


def test_a_run_that_gets_slower_is_shortened(clock):
    def slower(run):
        clock.step = 3.0  # 14 s an epoch instead of 6

    run, _ = quick_fit(1, budget=60, callbacks=[At("epoch", 3, 0, slower)])
    assert run.history[-1]["elapsed"] <= 60
    assert len(run.history) == 3 + 3  # 18 s, then three of 14 s


def test_a_run_that_gets_faster_early_is_lengthened_and_late_is_not(clock):
    def faster(run):
        clock.step = 0.25  # 3 s an epoch instead of 6

    early, _ = quick_fit(1, budget=36, callbacks=[At("epoch", 1, 0, faster)])
    assert len(early.history) == 1 + 10
    clock.step = 1.0
    late, _ = quick_fit(1, budget=36, callbacks=[At("epoch", 5, 0, faster)], out="late")
    assert len(late.history) == 6


def test_an_epoch_that_is_too_long_gets_fewer_steps(clock):
    """16 steps of 1 s with a budget of 12 s: the first eight tell the pace."""
    clock.validation = 0.5
    run, _ = quick_fit(1, budget=12, batch_size=1)
    assert (run.state, len(run.history)) == ("finished", 1)
    assert 8 <= run.steps == len(run.losses) <= 11
    assert run.history[0]["elapsed"] <= 12
    assert run.history[0]["train_loss"] == pytest.approx(sum(run.losses) / run.steps)


def test_a_budget_run_that_was_stopped_goes_on_with_what_is_left(clock):
    quick_fit(1, budget=33, callbacks=[At("epoch", 2, 0, lambda run: run.stop())])
    clock.now += 10_000  # between the two
    run, _ = quick_fit(1, budget=33)
    assert (run.state, len(run.history)) == ("finished", 5)
    assert run.history[-1]["elapsed"] == pytest.approx(30, abs=3)
