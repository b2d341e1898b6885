"""Watching a run: in the background, through callbacks, in logs."""

import csv
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from training import At, quick_fit, raising, same, square_sets, tiny_model, weights

from segnb.errors import SegnbError
from segnb.train import TensorBoard, find_lr, fitting
from segnb.train.logs import COLUMNS


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# --- In the background ----------------------------------------------------------------------------------------------


class Gate:
    """Holds a run at its second step until it is opened."""

    def __init__(self):
        self.reached, self.open = threading.Event(), threading.Event()

    def on_step(self, run):
        if run.step == 2:
            self.reached.set()
            assert self.open.wait(20)


def test_a_run_in_the_background_is_the_same_run():
    gate, model, other = Gate(), tiny_model(), tiny_model()
    run, _ = quick_fit(2, model=model, background=True, callbacks=[gate])
    assert gate.reached.wait(20)
    assert (run.state, run.step) == ("running", 2)
    assert run.thread is not threading.current_thread()
    for again in (model, other):  # one at a time: engine and random numbers belong to the process
        with pytest.raises(SegnbError, match=r"a run is still training, .*run.wait\(\), or end it with run.stop\(\)"):
            quick_fit(1, model=again, out="again")
    with pytest.raises(SegnbError, match="a run is still training"):
        find_lr(model, square_sets()[0])
    assert not Path("again").exists()
    gate.open.set()
    assert run.wait() is run
    assert run.state == "finished"
    foreground, reference = quick_fit(2, out="foreground")
    assert foreground.wait() is foreground  # nothing to wait for
    assert run.losses == foreground.losses
    assert same(weights(model), weights(reference))
    assert not any(module.training for module in model.modules())


def test_stop_and_pause_work_in_the_background():
    run, _ = quick_fit(100, background=True)
    run.pause()
    begun = time.monotonic()
    while run.state != "paused" and time.monotonic() < begun + 20:
        time.sleep(0.01)
    done = len(run.losses)
    time.sleep(0.2)
    assert (run.state, len(run.losses)) == ("paused", done)
    run.resume()
    run.stop()
    run.wait()
    assert run.state == "stopped"
    assert (run.path / "result.json").is_file()


def test_an_error_in_the_background_is_raised_by_wait():
    run, model = quick_fit(2, background=True, callbacks=[At("step", 2, 1, raising(ZeroDivisionError("mine")))])
    for _ in range(2):  # as often as it is asked
        with pytest.raises(ZeroDivisionError, match="mine"):
            run.wait()
    assert (run.state, run.message.split(";")[0]) == ("failed", "mine")
    assert quick_fit(1, model=model, out="next")[0].state == "finished"  # the engine is free again


def test_wrong_arguments_are_refused_at_once():
    with pytest.raises(SegnbError, match="unknown schedule"):
        quick_fit(1, background=True, schedule="linear")
    Path("file").write_text("in the way")
    with pytest.raises(SegnbError, match="the run folder 'file' cannot be used"):
        quick_fit(1, background=True, out="file")
    assert quick_fit(1)[0].state == "finished"


def test_an_interrupt_of_the_waiting_stops_the_run(monkeypatch):
    run, _ = quick_fit(100, background=True)
    join, calls = run.thread.join, []

    def interrupted():
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        join()

    monkeypatch.setattr(run.thread, "join", interrupted)
    assert run.wait().state == "stopped"


def test_the_monitor_lives_in_the_cell_that_started_the_run(monkeypatch):
    """It gets the context of that cell, in which a notebook keeps where output goes, and all the events."""
    import contextvars

    cell = contextvars.ContextVar("cell", default=None)
    seen = []

    class View:
        def on_start(self, run):
            seen.append(("start", cell.get(), threading.current_thread() is threading.main_thread()))

        def on_end(self, run):
            seen.append(("end", cell.get(), run.state))

    monkeypatch.setattr(fitting, "live_view", lambda watchers: [View()])
    cell.set(7)
    run, _ = quick_fit(1, background=True)
    cell.set(8)
    run.wait()
    assert seen == [("start", 7, False), ("end", 7, "finished")]


# --- Callbacks ------------------------------------------------------------------------------------------------------


class Diary:
    def __init__(self):
        self.events = []

    def on_start(self, run):
        self.events.append(("start", run.epoch, run.step))

    def on_step(self, run):
        assert len(run.losses) == (run.epoch - 1) * run.steps + run.step
        self.events.append(("step", run.epoch, run.step))

    def on_checkpoint(self, run):
        state = torch.load(run.path / "last.pt", weights_only=True)
        assert len(state["history"]) == run.epoch
        self.events.append(("checkpoint", run.epoch, run.step))

    def on_epoch(self, run):
        assert run.history[-1]["epoch"] == run.epoch
        self.events.append(("epoch", run.epoch, run.step))

    def on_end(self, run):
        assert (run.path / "result.json").is_file()
        self.events.append(("end", run.epoch, run.step))


def test_five_events_in_their_order():
    diary = Diary()
    quick_fit(2, batch_size=8, callbacks=[diary])
    assert diary.events == [
        ("start", 0, 0),
        *[("step", 1, 1), ("step", 1, 2), ("checkpoint", 1, 2), ("epoch", 1, 2)],
        *[("step", 2, 1), ("step", 2, 2), ("checkpoint", 2, 2), ("epoch", 2, 2)],
        ("end", 2, 2),
    ]


def test_no_checkpoint_is_told_if_the_disk_is_full(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("segnb.train.checkpoint.write_last", full)
    diary = Diary()
    with pytest.warns(UserWarning, match="could not be saved"):
        quick_fit(1, callbacks=[diary])
    assert "checkpoint" not in {event for event, *_ in diary.events}


def test_the_monitors_curve_starts_again_when_the_run_does():
    """As it does when memory ran out in the first epoch."""
    from fake_training import FakeRun

    from segnb.widgets import TrainingMonitor

    monitor, run = TrainingMonitor(interval=0), FakeRun()
    monitor.on_start(run)
    run.losses = [3.0, 2.0, 1.0]
    monitor.on_step(run)
    assert monitor.losses["values"] == [3.0, 2.0, 1.0]
    run.losses = [5.0, 4.0]
    monitor.on_step(run)
    assert monitor.losses["values"] == [5.0, 4.0]


# --- Logs -----------------------------------------------------------------------------------------------------------


def test_the_table_holds_the_history():
    run, _ = quick_fit(3)
    with (run.path / "history.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*COLUMNS, "iou ground", "iou square"]
    for row, entry in zip(rows, run.history, strict=True):
        assert {name: float(row[name]) for name in COLUMNS} == {name: entry[name] for name in COLUMNS}
        assert [float(row["iou ground"]), float(row["iou square"])] == entry["iou"]


def test_the_table_is_there_after_each_epoch_and_grows_when_a_run_goes_on():
    lengths = []

    class Count:
        def on_epoch(self, run):
            lengths.append(len((run.path / "history.csv").read_text().splitlines()))

    quick_fit(3, callbacks=[Count(), At("epoch", 1, 0, lambda run: run.stop())])
    quick_fit(3, callbacks=[Count()])
    assert lengths == [2, 3, 4]


def test_tensorboard_gets_every_loss_and_score():
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    quick_fit(2, logs="tensorboard", callbacks=[At("step", 2, 3, lambda run: run.stop())])
    run, _ = quick_fit(2, logs="tensorboard")
    events = EventAccumulator("run/tensorboard").Reload()
    steps = [(event.step, event.value) for event in events.Scalars("loss/step")]
    assert steps == [(step, pytest.approx(loss)) for step, loss in enumerate(run.losses, start=1)]  # each once
    for name, key in (("loss/train", "train_loss"), ("loss/valid", "valid_loss"), ("miou", "miou"), ("lr", "lr")):
        assert [event.value for event in events.Scalars(name)] == pytest.approx([entry[key] for entry in run.history])
    assert [event.value for event in events.Scalars("iou/square")] == pytest.approx([e["iou"][1] for e in run.history])
    assert len(events.Images("truth and prediction/0")) == 2


def test_tensorboard_that_is_missing_is_said_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr("segnb.train.logs.importlib.util.find_spec", lambda name: None)
    for attempt in (TensorBoard, lambda: quick_fit(1, logs="tensorboard")):
        with pytest.raises(
            SegnbError, match=r"^TensorBoard is not installed: pip install tensorboard, or leave it out of logs\.$"
        ):
            attempt()
    with pytest.raises(SegnbError, match=r"unknown logs 'tensorbord'. Did you mean 'tensorboard'\?"):
        quick_fit(1, logs="tensorbord")
    assert not Path("run").exists()


def test_without_logs_tensorboard_is_not_imported():
    loaded = "torch.utils.tensorboard" in sys.modules
    quick_fit(1)
    assert ("torch.utils.tensorboard" in sys.modules) == loaded
    assert not Path("run/tensorboard").exists()
