"""The training monitor as Python sees it; tests/browser looks at it in a browser."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import types
from pathlib import Path

import numpy as np
import pytest
from fake_training import LABELS, PALETTE, FakeRun, guess, scene
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segnb.errors import SegnbError
from segnb.widgets import TrainingMonitor
from segnb.widgets.monitor.film import FRAMES, LONGEST, Film
from segnb.widgets.monitor.folder import RecordedRun, read_record, read_run
from segnb.widgets.monitor.series import LOSSES, RATES, StepSeries, Thinned, best_epoch


def decoded(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def sent_by(widget, message) -> list[dict]:
    """What a widget answers to a message of the browser."""
    sent = []
    widget.send = sent.append
    widget._receive(widget, message, [])
    return sent


def click(widget, **values) -> None:
    """Change traits as the page does."""
    assert sent_by(widget, {"type": "set", "values": values}) == [{"type": "done"}]


def trained(path: Path, **options) -> tuple[TrainingMonitor, FakeRun]:
    """A short training that leaves its files in a folder."""
    monitor, run = TrainingMonitor(), FakeRun(**{"epochs": 3, "steps": 10, "pause": 0, **options})
    run.path = path
    path.mkdir(parents=True, exist_ok=True)
    run.train(monitor)
    assert monitor.error == ""
    return monitor, run.write()


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """One training for the tests that change nothing in its folder."""
    return trained(tmp_path_factory.mktemp("runs") / "unet-1")


# Series


@pytest.mark.parametrize("count", [0, 1, LOSSES, LOSSES + 1, 5_003])
def test_thinned_is_the_mean_of_equal_pieces(count):
    values = np.random.default_rng(0).random(count)
    series = Thinned()
    for part in np.array_split(values, 7):
        series.extend(part.tolist())
    pieces = [values[i : i + series.every].mean() for i in range(0, count, series.every)]
    assert len(pieces) <= LOSSES
    assert series.points() == pytest.approx(pieces, rel=1e-4)


def test_speed_is_images_by_seconds_of_training_alone():
    run = FakeRun(epochs=2, steps=3, pause=0)
    run.seconds = 5.0  # of an earlier part
    series = StepSeries(run)
    for seconds in (0.5, 0.25, 0.25):
        run.losses.append(1.0)
        run.seconds += seconds
        series.add(run)
    run.seconds += 100  # validation
    series.rest(run)
    run.losses.append(1.0)
    run.seconds += 0.1
    series.add(run)
    assert series.read_rates(run)["speed"] == pytest.approx([8 / 0.5, 8 / 0.25, 8 / 0.25, 8 / 0.1])  # batches of 8
    run.recipe.accumulate = 2
    assert series.read_rates(run)["speed"][0] == pytest.approx(16 / 0.5)
    run.train.count = 5  # fewer than a batch
    assert series.read_rates(run)["speed"][0] == pytest.approx(5 / 0.5)


def test_rates_are_thinned_and_know_where_they_begin():
    run = FakeRun()
    run.losses = [1.0] * 60  # two epochs were trained before
    series = StepSeries(run)
    for step in range(1000):
        run.losses.append(1.0)
        run.lr = step / 1000
        series.add(run)
    rates = series.read_rates(run)
    assert (rates["first"], rates["every"]) == (60, 8)
    assert len(rates["lr"]) == 125 <= RATES
    assert rates["lr"][0] == pytest.approx(0.0035)  # the mean of 0 to 0.007


def test_rates_begin_again_when_the_run_does():
    """As it does when memory ran out in the first epoch."""
    run = FakeRun()
    series = StepSeries(run)
    for run.losses, run.lr in (([3.0], 1.0), ([3.0, 2.0], 2.0), ([5.0], 3.0), ([5.0, 4.0], 4.0)):
        series.add(run)
    assert series.read_losses(run)["values"] == [5.0, 4.0]
    rates = series.read_rates(run)
    assert (rates["first"], rates["lr"]) == (0, [3.0, 4.0])


def test_best_epoch_knows_which_way_is_better():
    history = [{"miou": score, "valid_loss": score} for score in (math.nan, 0.2, 0.5, 0.5)]
    assert best_epoch(history, "miou") is history[2]
    assert best_epoch(history, "valid_loss") is history[1]
    assert best_epoch(history[:1], "miou") is None


# A training that is watched


def test_monitor_follows_a_run():
    monitor, run = TrainingMonitor(interval=0), FakeRun(epochs=3, steps=10, pause=0)
    run.train(monitor)
    assert monitor.error == ""
    assert monitor.losses["values"] == pytest.approx(run.losses, rel=1e-4)
    assert [row["miou"] for row in monitor.history] == pytest.approx([row["miou"] for row in run.history], rel=1e-4)
    assert [row["iou"][:-1] for row in monitor.history] == [
        pytest.approx(row["iou"][:-1], rel=1e-4) for row in run.history
    ]
    assert monitor.history[-1]["iou"][-1] is None  # the absent class: JSON knows no NaN
    assert monitor.rates["lr"][-1] == pytest.approx(run.lr, rel=1e-4)
    assert len(monitor.rates["lr"]) == len(monitor.rates["speed"]) == 30
    assert monitor.progress["state"] == "finished"
    assert monitor.progress["note"] == f"Finished. Best mIoU {run.best['miou']:.3f} in epoch 3, saved in {run.path}."
    assert monitor.film_epochs == [1, 2, 3]
    assert monitor.latest["epoch"] == 3
    for example, text, (image, truth, prediction) in zip(
        monitor.examples, monitor.latest["frames"], run.preview, strict=True
    ):
        np.testing.assert_array_equal(decoded(example["truth"]), truth)
        np.testing.assert_array_equal(decoded(text), prediction)
        assert np.abs(decoded(example["image"]).astype(int) - image).mean() < 6
    assert not run.path.exists()  # a run without a folder leaves no files
    json.dumps(monitor.get_state(), allow_nan=False)


def test_monitor_sends_few_and_small_updates(monkeypatch):
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr("segnb.widgets.monitor.monitor.time.monotonic", lambda: clock.now)
    monitor, run = TrainingMonitor(), FakeRun()
    sizes = []
    monitor.observe(
        lambda _: sizes.append(len(json.dumps([monitor.progress, monitor.losses, monitor.rates]))), "progress"
    )
    monitor.on_start(run)
    for run.step in range(1, 1001):  # ten seconds of a hundred steps each
        clock.now += 0.01
        run.losses.append(1 / run.step)
        monitor.on_step(run)
    assert 38 <= len(sizes) <= 42
    assert max(sizes) < 10_000


def test_a_change_of_state_is_sent_at_once():
    monitor, run = TrainingMonitor(interval=60), FakeRun()
    monitor.on_start(run)
    run.state = "paused"
    monitor.on_step(run)
    assert monitor.progress["state"] == "paused"
    assert monitor.progress["note"] == "Paused: press Resume to go on."


def test_buttons_call_the_run_and_look_reports_a_waiting_loop():
    monitor, run = TrainingMonitor(interval=60), FakeRun()
    monitor.on_start(run)
    sent_by(monitor, {"type": "pause"})
    assert run._pause.is_set()
    run.state = "paused"
    assert monitor.progress["state"] == "running"
    sent_by(monitor, {"type": "look"})
    assert monitor.progress["state"] == "paused"
    sent_by(monitor, {"type": "resume"})
    assert not run._pause.is_set()
    sent_by(monitor, {"type": "finish"})
    assert run._finish.is_set()
    sent_by(monitor, {"type": "stop"})
    assert run._stop.is_set()


def test_buttons_do_nothing_before_and_after_a_run():
    monitor, run = TrainingMonitor(), FakeRun()
    sent_by(monitor, {"type": "stop"})
    monitor.on_start(run)
    run.end(monitor, "finished", "")
    sent_by(monitor, {"type": "stop"})
    sent_by(monitor, {"type": "finish"})
    assert not run._stop.is_set()
    assert not run._finish.is_set()
    assert monitor.error == ""


@pytest.mark.parametrize(
    ("state", "message", "note"),
    [
        ("running", "", "Best mIoU 0.320 in epoch 1 so far."),
        ("finished", "", "Finished. Best mIoU 0.320 in epoch 1, saved in runs/x."),
        (
            "finished",
            "no better miou for 3 epochs",
            "Finished: no better miou for 3 epochs. Best mIoU 0.320 in epoch 1",
        ),
        ("finished", "finished early, in epoch 2", "Finished early, in epoch 2. Best mIoU 0.320 in epoch 1, saved"),
        ("stopped", "stopped in epoch 2", "Stopped in epoch 2. Best mIoU 0.320 in epoch 1, saved in runs/x."),
        ("failed", "the loss became nan.", "Failed: the loss became nan. Best mIoU 0.320 in epoch 1, saved in runs/x."),
        ("unfinished", "", "No ending was written: the run still trains somewhere else, or was cut off. Best mIoU 0.320"),
    ],
)  # fmt: skip
def test_note_says_how_it_stands(state, message, note):
    monitor, run = TrainingMonitor(), FakeRun()
    run.best, run.path = {"epoch": 1, "miou": 0.32}, Path("runs/x")
    run.state, run.message = state, message
    monitor.on_start(run)
    assert monitor.progress["note"].startswith(note)


def test_stopped_before_the_first_epoch():
    monitor, run = TrainingMonitor(), FakeRun()
    monitor.on_start(run)
    run.end(monitor, "stopped", "stopped in epoch 1")
    assert monitor.progress["note"] == "Stopped in epoch 1. No epoch was finished, so nothing was saved."
    assert monitor.figure_png() == b""


def test_trouble_with_showing_does_not_end_a_training():
    monitor, run = TrainingMonitor(interval=0), FakeRun(epochs=1, steps=2, pause=0)
    run.palette = PALETTE[:2]  # too few colours for the predictions
    assert run.train(monitor).state == "finished"
    assert monitor.error.startswith("SegnbError: The prediction of 'validation picture 1' has labels from 0 to 7, but")
    assert monitor.progress["state"] == "finished"


def test_a_full_disk_does_not_end_a_training(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("segnb.widgets.monitor.film.write_atomically", full)
    monitor, run = TrainingMonitor(), FakeRun(epochs=2, steps=2, pause=0)
    run.path = tmp_path
    assert run.train(monitor).state == "finished"
    assert "No space left on device" in monitor.error
    assert monitor.progress["epoch"] == 2


def test_final_picture_replaces_the_first_in_the_notebook(monkeypatch):
    bundles = []

    class Handle:
        def update(self, widget):
            bundles.append(("update", widget._repr_mimebundle_()[0].keys()))

    def display(widget, display_id):
        bundles.append((display_id, widget._repr_mimebundle_()[0].keys()))
        return Handle()

    kernel = types.SimpleNamespace(kernel_info={})
    monkeypatch.setattr("IPython.get_ipython", lambda: types.SimpleNamespace(kernel=kernel, user_ns={}))
    monkeypatch.setattr("IPython.display.display", display)
    FakeRun(epochs=1, steps=2, pause=0).train(TrainingMonitor())
    (first, before), (second, after) = bundles
    assert (first, second) == (True, "update")
    assert "image/png" not in before  # nothing to see before the first epoch
    assert {"image/png", "text/html", "application/vnd.jupyter.widget-view+json"} <= after


def test_a_second_run_leaves_nothing_of_the_first():
    monitor = TrainingMonitor()
    FakeRun(epochs=3, steps=5, pause=0).train(monitor)
    click(monitor, film_epoch=2, shown_classes=[1], notes="about the first")
    monitor.on_start(FakeRun())
    assert monitor.notes == ""
    assert (monitor.history, monitor.film_epochs, monitor.examples, monitor.latest) == ([], [], [], {})
    assert (monitor.film_epoch, monitor.shown_classes) == (0, list(range(8)))


# The film


def preview(wrong: float, height: int = 128, width: int = 192):
    image, labels = scene(0, height, width)
    return [(image, labels, guess(labels, 0, wrong))]


def test_the_film_is_asked_for_by_a_page_that_comes_late(shown):
    monitor, _ = shown
    answers = sent_by(monitor, {"type": "film"})
    assert [answer["type"] for answer in answers] == ["film"]
    assert list(answers[0]["frames"]) == ["1", "2", "3"]
    assert answers[0]["frames"]["3"] == monitor.latest["frames"]
    assert decoded(answers[0]["frames"]["1"][0]).shape == (128, 192)


def test_a_long_film_comes_in_parts():
    monitor = TrainingMonitor()
    monitor._film.frames = {epoch: ["x"] for epoch in range(1, 101)}
    parts = [list(answer["frames"]) for answer in sent_by(monitor, {"type": "film"})]
    assert [len(part) for part in parts] == [40, 40, 20]
    assert [int(epoch) for part in parts for epoch in part] == list(range(1, 101))


@given(epochs=st.integers(1, 3 * FRAMES))
@settings(max_examples=25, deadline=None)
def test_a_long_film_is_thinned_evenly(epochs):
    film = Film(Path("not there"))
    film.add = types.MethodType(lambda self, epoch: (self.frames.update({epoch: []}), self._thin(epoch)), film)
    for epoch in range(1, epochs + 1):
        film.add(epoch)
    kept = sorted(film.frames)
    assert len(kept) <= FRAMES + 1
    assert (kept[0], kept[-1]) == (1, epochs)
    steps = set(np.diff(kept[:-1]).tolist())
    assert len(steps) <= 1
    assert epochs > FRAMES or kept == list(range(1, epochs + 1))


def test_thinned_frames_leave_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("segnb.widgets.monitor.film.FRAMES", 4)
    film = Film(tmp_path)
    for epoch in range(1, 11):
        film.add(epoch, preview(0.5), 8)
    assert sorted(film.frames) == [1, 5, 9, 10]
    files = sorted(file.name for file in (tmp_path / "monitor").glob("epoch-*"))
    assert files == [f"epoch-{epoch:04d}-0.png" for epoch in (1, 5, 9, 10)]


@pytest.mark.parametrize(
    ("size", "small"), [((640, 1600), (128, 320)), ((1, 1), (1, 1)), ((3, 20_000), (1, 320)), ((128, 192), (128, 192))]
)
def test_film_pictures_are_small(tmp_path, size, small):
    image, labels = np.full((*size, 3), 90, np.uint8), np.full(size, 2, np.uint8)
    film = Film(tmp_path)
    film.add(1, [(image, labels, labels)], 8)
    assert decoded(film.frames[1][0]).shape == decoded(film.examples[0]["truth"]).shape == small
    assert decoded(film.examples[0]["image"]).shape == (*small, 3)
    assert max(small) <= LONGEST
    again = Film(tmp_path)
    again.read(1)
    assert (again.examples, again.frames) == (film.examples, film.frames)


def test_files_of_the_film_that_are_something_else_are_left_out(tmp_path):
    film = Film(tmp_path)
    for epoch in (1, 2, 3, 4):
        film.add(epoch, preview(0.5), 8)
    folder = tmp_path / "monitor"
    (folder / "epoch-0001-0.png").write_bytes(b"no picture")
    Image.new("L", (7, 7)).save(folder / "epoch-0002-0.png")  # of another size
    Image.new("RGB", (192, 128)).save(folder / "epoch-0003-0.png")  # with colours
    again = Film(tmp_path)
    again.read(4)
    assert list(again.frames) == [4]
    (folder / "picture-0.jpg").unlink()
    none = Film(tmp_path)
    none.read(4)
    assert (none.examples, none.frames) == ([], {})


def test_frames_of_epochs_that_were_lost_are_not_shown(tmp_path):
    """A run that was cut off goes on from its checkpoint, which may be older than its film."""
    film = Film(tmp_path)
    for epoch in (1, 2, 3):
        film.add(epoch, preview(0.5), 8)
    again = Film(tmp_path)
    again.read(2)
    assert list(again.frames) == [1, 2]


def test_a_fresh_run_in_the_same_folder_has_its_own_film_and_keeps_the_notes(tmp_path):
    trained(tmp_path, epochs=5)
    (tmp_path / "notes.txt").write_text("mine")
    monitor, _ = trained(tmp_path, epochs=2)
    assert monitor.film_epochs == [1, 2]
    assert TrainingMonitor.from_folder(tmp_path).film_epochs == [1, 2]
    assert monitor.notes == "mine"


def test_a_run_that_goes_on_keeps_its_film(tmp_path):
    _, before = trained(tmp_path, epochs=2)
    monitor, run = TrainingMonitor(), FakeRun(epochs=3, steps=10, pause=0)
    run.path, run.history, run.losses = tmp_path, list(before.history), list(before.losses)
    monitor.on_start(run)
    assert monitor.film_epochs == [1, 2]
    assert monitor.rates["first"] == 20
    run.epoch = 3
    run.losses += [1.0] * 10
    run.step = 10
    run.validate()
    monitor.on_epoch(run)
    assert monitor.film_epochs == [1, 2, 3]


# What is chosen


def test_what_is_clicked_can_be_set_in_python_too(shown):
    monitor = TrainingMonitor.from_folder(shown[1].path)
    click(
        monitor, film_epoch=2, film_picture=1, film_view="errors", shown_classes=[3, 0, 3], playing=True, notes="faster"
    )
    assert (monitor.film_epoch, monitor.film_picture, monitor.film_view) == (2, 1, "errors")
    assert (monitor.shown_classes, monitor.playing, monitor.notes) == ([0, 3], True, "faster")
    monitor.film_epoch = 1
    assert monitor.film_epoch == 1
    monitor.notes = ""


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"film_epoch": 9}, "film_epoch: the film has no epoch 9; film_epochs lists those that it has"),
        ({"film_picture": 5}, "film_picture: there is no picture 5, give 1 to 4, or 0 for all"),
        ({"film_view": "truth"}, "film_view='truth': give 'prediction' or 'errors'"),
        ({"shown_classes": [8]}, "shown_classes: there is no label 8, give labels from 0 to 7"),
        ({"compared": ["other"]}, "compared: no run 'other' is in the list; monitor.compare(folder) puts one there"),
    ],
)
def test_what_cannot_be_chosen_is_said(shown, values, text):
    monitor = TrainingMonitor.from_folder(shown[1].path)
    click(monitor, **values)
    assert text in monitor.error
    with pytest.raises(SegnbError, match=re.escape(text)):
        setattr(monitor, *next(iter(values.items())))


def test_the_page_changes_no_numbers(shown):
    monitor = TrainingMonitor.from_folder(shown[1].path)
    click(monitor, history=[])
    assert "'history' cannot be set from the page" in monitor.error
    assert len(monitor.history) == 3


def test_many_classes_begin_with_a_dozen_curves():
    monitor, run = TrainingMonitor(), FakeRun()
    run.label_names, run.palette = [f"class {i}" for i in range(250)], np.zeros((250, 3), np.uint8)
    monitor.on_start(run)
    assert monitor.shown_classes == list(range(12))


# Earlier runs


def test_runs_beside_a_run_are_offered(tmp_path):
    _, first = trained(tmp_path / "runs" / "a", epochs=4)
    trained(tmp_path / "runs" / "b")
    (tmp_path / "runs" / "damaged").mkdir()
    (tmp_path / "runs" / "damaged" / "history.csv").write_text("epoch,miou\none,two\n")
    (tmp_path / "runs" / "empty").mkdir()
    monitor, _ = trained(tmp_path / "runs" / "c")
    assert [run["name"] for run in monitor.earlier] == ["b", "a"]  # the newest first, and not itself
    a = monitor.earlier[1]
    assert a["text"] == f"best mIoU {first.best['miou']:.3f}, 4 epochs"
    assert a["history"] == [
        [row["epoch"], pytest.approx(row["valid_loss"], rel=1e-4), pytest.approx(row["miou"], rel=1e-4)]
        for row in first.history
    ]
    assert monitor.compared == []
    click(monitor, compared=["a"])
    assert monitor.compared == ["a"]


def test_compare_takes_folders_and_runs_from_anywhere(tmp_path):
    _, run = trained(tmp_path / "here" / "a")
    trained(tmp_path / "there" / "a")
    _, far = trained(tmp_path / "there" / "b", epochs=1)
    monitor = TrainingMonitor.from_folder(run.path)
    assert monitor.earlier == []
    there = tmp_path / "there"
    assert monitor.compare(str(there / "a"), far) is monitor
    assert monitor.compared == ["a", "b"]
    trained(tmp_path / "here" / "b", epochs=2)
    monitor.compare(tmp_path / "here" / "b", there / "b")
    assert monitor.compared == [
        str(tmp_path / "here" / "b"),
        str(there / "b"),
    ]  # two of one name: told apart by their paths
    assert monitor.earlier[1]["text"].endswith("1 epoch")
    assert monitor.compare().compared == []


def test_compare_before_training_lasts(tmp_path):
    trained(tmp_path / "old" / "a")
    monitor, run = TrainingMonitor(), FakeRun(epochs=1, steps=2, pause=0)
    monitor.compare(tmp_path / "old" / "a")
    run.train(monitor)
    assert monitor.compared == ["a"]
    assert [one["name"] for one in monitor.earlier] == ["a"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("nowhere", "'nowhere' holds no run (history.csv is not there): give a folder such as run.path."),
        (42, "A run to compare with is a Run or its folder, not int: give run or run.path."),
    ],
)
def test_compare_refuses_what_is_no_run(source, text):
    with pytest.raises(SegnbError, match=re.escape(text)):
        TrainingMonitor().compare(source)


# After the training


def test_from_folder_shows_the_whole_run(shown):
    monitor, run = shown
    again = TrainingMonitor.from_folder(str(run.path))
    for name in ("history", "losses", "rates", "label_names", "palette", "examples", "latest", "film_epochs"):
        assert getattr(again, name) == getattr(monitor, name), name
    assert again.progress["note"] == monitor.progress["note"]
    assert again.progress["epochs"] == 3
    assert again.describe() == monitor.describe()
    assert again.as_code() == monitor.as_code()
    picture = Image.open(io.BytesIO(again.figure_png()))
    assert picture.size == Image.open(io.BytesIO(monitor.figure_png())).size
    json.dumps(again.get_state(), allow_nan=False)


def test_from_folder_takes_the_run_itself(shown):
    monitor, run = shown
    again = TrainingMonitor.from_folder(run)
    assert (again.history, again.film_epochs, again.losses) == (monitor.history, monitor.film_epochs, monitor.losses)


def test_from_folder_of_a_run_without_a_monitor_has_the_scores(tmp_path):
    _, run = trained(tmp_path / "a")
    for file in (run.path / "monitor").iterdir():
        file.unlink()
    monitor = TrainingMonitor.from_folder(run.path)
    assert monitor.label_names == LABELS
    assert len(monitor.history) == monitor.progress["epochs"] == 3
    assert (monitor.losses, monitor.film_epochs) == ({}, [])
    assert monitor.as_code() == "# Nothing is known about this run but its scores."
    assert monitor.figure_png()


def test_from_folder_of_a_run_in_memory_has_its_losses_without_a_monitor(tmp_path):
    run = FakeRun(epochs=1, steps=2, pause=0)
    run.path = tmp_path
    run.losses = [2.0, 1.0]
    run.validate()
    assert TrainingMonitor.from_folder(run.write()).losses == {"every": 1, "values": [2.0, 1.0]}


def test_a_folder_that_cannot_be_read_does_not_end_a_training(tmp_path, monkeypatch):
    def denied(*_):
        raise PermissionError(13, "Permission denied: notes.txt")

    monkeypatch.setattr("segnb.widgets.monitor.folder.read_notes", denied)
    monitor, run = TrainingMonitor(), FakeRun(epochs=1, steps=2, pause=0)
    run.path = tmp_path
    assert run.train(monitor).state == "finished"
    assert "Permission denied: notes.txt" in monitor.error
    assert monitor.progress["state"] == "finished"


def test_from_folder_of_a_run_that_was_cut_off(tmp_path):
    _, run = trained(tmp_path / "a")
    (run.path / "result.json").unlink()
    monitor = TrainingMonitor.from_folder(run.path)
    assert monitor.progress["state"] == "unfinished"
    assert monitor.progress["note"].startswith("No ending was written")
    sent_by(monitor, {"type": "stop"})
    assert monitor.error == ""


def test_from_folder_before_the_first_epoch_ended(tmp_path):
    monitor, run = TrainingMonitor(interval=0), FakeRun()
    run.path = tmp_path
    monitor.on_start(run)
    run.losses, run.step = [1.0], 1
    monitor.on_step(run)
    run.end(monitor, "stopped", "stopped in epoch 1")
    (tmp_path / "result.json").write_text('{"state": "stopped", "message": "stopped in epoch 1", "best": null}')
    again = TrainingMonitor.from_folder(tmp_path)
    assert (again.losses["values"], again.history, again.label_names) == ([1.0], [], LABELS)
    assert again.progress["note"] == "Stopped in epoch 1. No epoch was finished, so nothing was saved."


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("result.json", "{", "result.json' cannot be read"),
        ("result.json", "[1]", "result.json' is not a file of a run"),
        ("history.csv", "epoch\nx", "history.csv' is not the table of a run"),
        ("history.csv", "miou\n0.5", "history.csv' is not the table of a run"),
        ("monitor/record.json", '{"label_names": 3}', "record.json' is no record of a monitor"),
        ("monitor/record.json", '{"label_names": ["a"], "palette": [[0, 0, 999]]}', "a colour is not 0 to 255"),
        ("monitor/record.json", '{"label_names": ["a"], "palette": []}', "names and colours do not fit each other"),
    ],
)
def test_from_folder_names_the_file_that_is_damaged(tmp_path, name, content, text):
    _, run = trained(tmp_path / "a")
    (run.path / name).write_text(content)
    with pytest.raises(SegnbError, match=re.escape(text)):
        TrainingMonitor.from_folder(run.path)


@pytest.mark.parametrize(
    ("source", "text"),
    [(42, "from_folder was given int: give the folder of a run, or a Run."), ("nowhere", "'nowhere' holds no run")],
)
def test_from_folder_refuses_what_is_no_run(source, text):
    with pytest.raises(SegnbError, match=re.escape(text)):
        TrainingMonitor.from_folder(source)


def test_a_label_without_a_colour_in_a_damaged_film_is_not_drawn(tmp_path):
    _, run = trained(tmp_path / "a")
    Image.fromarray(np.full((128, 192), 77, np.uint8)).save(run.path / "monitor" / "epoch-0003-0.png")
    assert TrainingMonitor.from_folder(run.path).figure_png()


def test_the_record_keeps_numbers_only(shown):
    record = read_record(shown[1].path)
    assert record["losses"]["values"] == shown[0].losses["values"]
    assert isinstance(read_run(shown[1].path), RecordedRun)


# Notes


def test_notes_are_kept_in_the_folder_of_the_run(tmp_path):
    _, run = trained(tmp_path / "a")
    monitor = TrainingMonitor.from_folder(run.path).note("a first line").note("und noch eine: größer")
    assert (run.path / "notes.txt").read_text(encoding="utf-8") == "a first line\nund noch eine: größer"
    click(monitor, notes="typed")
    assert TrainingMonitor.from_folder(run.path).notes == "typed"
    click(monitor, notes="")
    assert not (run.path / "notes.txt").exists()


def test_notes_made_before_training_join_those_of_the_folder(tmp_path):
    (tmp_path / "notes.txt").write_text("old\n")
    monitor, run = TrainingMonitor().note("new"), FakeRun(epochs=1, steps=1, pause=0)
    run.path = tmp_path
    run.train(monitor)
    assert monitor.notes == (tmp_path / "notes.txt").read_text() == "old\nnew"


def test_to_show_a_run_writes_nothing(tmp_path):
    _, run = trained(tmp_path / "a")
    (run.path / "notes.txt").write_text("old\n")

    def files():
        return {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in run.path.rglob("*")}

    before = files()
    assert TrainingMonitor.from_folder(run.path).notes == "old"
    assert files() == before


def test_notes_that_cannot_be_written_are_named(tmp_path):
    _, run = trained(tmp_path / "a")
    monitor = TrainingMonitor.from_folder(run.path)
    (run.path / "notes.txt").mkdir()
    click(monitor, notes="typed")
    assert "notes.txt" in monitor.error


# Code


def test_copy_as_code_is_the_call_of_fit():
    monitor, run = TrainingMonitor(), FakeRun(epochs=3, steps=2, pause=0)
    run.recipe.lr = 2e-3
    run.train(monitor)
    assert sent_by(monitor, {"type": "code"}) == [{"type": "code", "text": monitor.as_code()}]
    assert monitor.as_code() == (
        "import segnb\n\n"
        "train, valid = segnb.load_sample('street')\n"
        "model = segnb.create_model(\n    'unet',\n    'resnet34',\n"
        f"    classes={LABELS!r},\n)\n"
        "run = segnb.fit(model, train, valid, epochs=3, lr=0.002)\n\n"
        '# Exactly this run, with its augmentation and first weights: run.save_config("run.yaml"), then\n'
        "# segnb train run.yaml"
    )


def test_code_names_other_data_and_a_batch_size_of_ones_own():
    monitor, run = TrainingMonitor(), FakeRun(epochs=1, steps=1, pause=0)
    run.settings["batch_size"] = 8
    run.settings["model"]["classes"] = ["road"]
    run.train.origin = {"reader": "from_folder", "images": "/data/images", "masks": "/data/masks"}
    run.valid.origin = None
    run.train(monitor)
    code = monitor.as_code()
    assert "\ntrain = segnb.SegmentationDataset.from_folder(images='/data/images', masks='/data/masks')\n" in code
    assert "\nvalid = ...  # a segnb.SegmentationDataset\n" in code
    assert "\nmodel = segnb.create_model('unet', 'resnet34', classes=['road'])\n" in code
    assert "\nrun = segnb.fit(model, train, valid, epochs=1, batch_size=8)\n" in code


def test_code_compares_what_was_chosen(tmp_path):
    trained(tmp_path / "a")
    monitor, run = trained(tmp_path / "b")
    click(monitor, compared=["a"])
    assert monitor.as_code().endswith(
        "from segnb.widgets import TrainingMonitor\n"
        f"TrainingMonitor.from_folder({str(run.path)!r}).compare({str(tmp_path / 'a')!r})"
    )
    compile(monitor.as_code(), "copied", "exec")


# A real training


def test_a_real_run_is_shown_again_from_its_folder(tmp_path, monkeypatch):
    from training import quick_fit

    monkeypatch.chdir(tmp_path)
    monitor = TrainingMonitor(interval=0)
    run, _ = quick_fit(3, callbacks=[monitor], lr=1e-3)
    assert monitor.error == ""
    assert monitor.rates["lr"][-1] == pytest.approx(run.history[-1]["lr"], rel=1e-4)
    assert max(monitor.rates["lr"]) <= 1e-3
    assert all(speed > 0 for speed in monitor.rates["speed"])
    again = TrainingMonitor.from_folder(run.path)
    for name in ("history", "losses", "rates", "palette", "film_epochs", "latest"):
        assert getattr(again, name) == getattr(monitor, name), name
    assert again.progress["note"] == monitor.progress["note"]
    np.testing.assert_array_equal(decoded(again.latest["frames"][0]), run.preview[0][2])
    code = monitor.as_code()
    assert "\nmodel = segnb.create_model('unet', " in code
    assert "\nrun = segnb.fit(model, train, valid, epochs=3, lr=0.001, batch_size=4" in code
    compile(code, "copied", "exec")


def test_finish_validates_keeps_the_best_and_is_finished(tmp_path, monkeypatch):
    from training import At, quick_fit, same, weights

    from segnb.pretrained import load_model

    monkeypatch.chdir(tmp_path)
    monitor = TrainingMonitor()
    run, model = quick_fit(5, callbacks=[monitor, At("step", 2, 3, lambda run: run.finish())])
    assert (run.state, len(run.history), len(run.losses)) == ("finished", 2, 4 + 3)
    assert run.history[1]["train_loss"] == pytest.approx(sum(run.losses[4:]) / 3)
    assert run.message.startswith("finished early, in epoch 2; best miou")
    assert monitor.progress["note"].startswith("Finished early, in epoch 2; best miou")
    assert json.loads((run.path / "result.json").read_text())["state"] == "finished"
    assert same(weights(load_model(run.path / "best")), weights(model))
    again, _ = quick_fit(5)
    assert (again.state, len(again.losses)) == ("finished", 7)  # it is over: nothing is trained


def test_finish_at_the_end_of_an_epoch_takes_no_other_step(tmp_path, monkeypatch):
    from training import At, quick_fit

    monkeypatch.chdir(tmp_path)
    run, _ = quick_fit(5, callbacks=[At("epoch", 1, 4, lambda run: run.finish())])
    assert (run.state, len(run.history), len(run.losses)) == ("finished", 1, 4)


def test_finish_ends_a_pause(tmp_path, monkeypatch):
    from training import quick_fit

    monkeypatch.chdir(tmp_path)
    run, _ = quick_fit(100, background=True)
    run.pause()
    run.finish()
    run.wait()
    assert run.state == "finished"
    assert len(run.history) < 100
