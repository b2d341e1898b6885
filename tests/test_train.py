"""Training: it learns, repeats, resumes, stops, and loses no run."""

import contextlib
import errno
import json
import math
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch
from squares import CLASSES, squares
from torch import nn
from training import At, raising, same, weights, without_time

from segnb.data import SegmentationDataset
from segnb.errors import SegnbError
from segnb.losses import get_loss
from segnb.models import create_model
from segnb.pretrained import load_model
from segnb.train import Run, fit, fitting, keeping, loop
from segnb.train.checkpoint import choose_folder
from segnb.train.optimizers import choose_lr
from segnb.train.run import ProgressBar
from segnb.train.setup import choose_batch_size, make_loader
from segnb.widgets import TrainingMonitor


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Runs without ``out`` make their folders here."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def quick(tiny, square_data):
    """Fit a small model for a few epochs of four steps; returns run and model."""

    def run(epochs=2, *, model=None, train=None, valid=None, **options):
        model = model if model is not None else tiny()
        options = {"batch_size": 4, "out": "run", **options}
        return fit(model, train or square_data[0], valid or square_data[1], epochs, **options), model

    return run


@pytest.fixture
def scored(monkeypatch):
    """Let validation find given values of mIoU, epoch by epoch."""

    def use(*scores):
        validate, left = loop.validate, iter(scores)

        def judge(*args):
            found, score = validate(*args), next(left)
            found.matrix.miou = lambda: score
            return found

        monkeypatch.setattr(loop, "validate", judge)

    return use


# --- It learns ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["unet", "segformer", "fpn", "deeplabv3plus"])
def test_it_learns(arch, quick, tiny):
    run, _ = quick(4, model=tiny(arch))
    assert run.state == "finished"
    assert run.history[-1]["train_loss"] < 0.5 * run.history[0]["train_loss"]
    assert run.best["miou"] > 0.8


def test_the_auxiliary_head_learns_too(quick):
    model = create_model("fpn", "test_efficientnet", None, classes=CLASSES, auxiliary=True)
    before = weights(model.auxiliary)
    run, _ = quick(2, model=model)
    assert not any(torch.equal(before[name], tensor) for name, tensor in model.auxiliary.named_parameters())
    assert run.history[0]["train_loss"] > run.history[0]["valid_loss"]  # it counts, and only in training


def test_a_frozen_encoder_does_not_move(quick, tiny):
    model = tiny()
    model.freeze_encoder()
    before = weights(model)
    quick(1, model=model)
    moved = {name.split(".")[0] for name, tensor in model.state_dict().items() if not torch.equal(before[name], tensor)}
    assert moved == {"decoder"}


def test_binary_with_ignored_pixels_learns(quick, tiny):
    images, masks = squares(16)
    for mask in masks:
        mask[:4] = 255
    data = SegmentationDataset(images, masks, ["square"])
    run, _ = quick(4, model=tiny(classes=["square"]), train=data, valid=data)
    assert run.best["miou"] > 0.8
    assert run.label_names == ["background", "square"]
    assert len(run.best["iou"]) == 2


def test_history_says_what_happened(quick):
    run, model = quick(3)
    assert [entry["epoch"] for entry in run.history] == [1, 2, 3]
    assert len(run.losses) == 3 * 4 == run.epochs * run.steps
    for entry in run.history:
        steps = run.losses[4 * (entry["epoch"] - 1) : 4 * entry["epoch"]]
        assert entry["train_loss"] == pytest.approx(sum(steps) / 4)
        assert entry["miou"] == pytest.approx(np.mean(entry["iou"]))
        assert entry["seconds"] > 0
    assert run.history[0]["lr"] > run.history[-1]["lr"]  # one cycle: up, then down to almost nothing
    assert run.history[-1]["lr"] < 1e-6
    assert run.seconds == pytest.approx(sum(entry["seconds"] for entry in run.history), rel=0.5)
    assert len(run.preview) == 4
    for image, labels, prediction in run.preview:
        assert (image.shape, labels.shape, prediction.shape) == ((48, 48, 3), (48, 48), (48, 48))
        assert {image.dtype, labels.dtype, prediction.dtype} == {np.dtype(np.uint8)}
    assert not any(module.training for module in model.modules())


def test_validation_is_that_of_evaluate(quick, square_data):
    from segnb.evaluation import evaluate

    run, model = quick(2)
    report = evaluate(model, square_data[1])
    assert report.miou == pytest.approx(run.best["miou"], abs=1e-6)
    np.testing.assert_allclose(report.iou, run.best["iou"], atol=1e-6)


def test_the_best_weights_are_back_not_the_last(quick, scored):
    scored(0.3, 0.9, 0.5)
    seen = {}
    remember = [At("epoch", epoch, 0, lambda run: seen.update({run.epoch: weights(model)})) for epoch in (1, 2, 3)]
    model = create_model("unet", "test_efficientnet", None, classes=CLASSES)
    run, _ = quick(3, model=model, callbacks=remember)
    assert run.best is run.history[1]
    assert same(weights(model), seen[2])
    assert not same(seen[2], seen[3])
    assert same(weights(load_model(run.path / "best")), seen[2])
    assert json.loads((run.path / "result.json").read_text())["best"]["epoch"] == 2


@pytest.mark.parametrize(("monitor", "best"), [("valid_loss", min), ("train_loss", min), ("miou", max)])
def test_monitor_decides_the_best(monitor, best, quick):
    run, _ = quick(3, monitor=monitor)
    assert run.best[monitor] == best(entry[monitor] for entry in run.history)


def test_better():
    run = Run(Path("run"), 3, 2, "valid_loss", CLASSES)
    assert run.better(math.nan)  # the first is the best there is
    run.best = {"valid_loss": math.nan}
    assert run.better(5.0)
    run.best = {"valid_loss": 0.5}
    assert [run.better(value) for value in (0.4, 0.5, 0.6, math.nan)] == [True, False, False, False]
    run.monitor, run.best = "miou", {"miou": 0.5}
    assert [run.better(value) for value in (0.4, 0.5, 0.6, math.nan)] == [False, False, True, False]


def test_patience(quick, scored):
    scored(0.5, 0.6, 0.6, 0.4, 0.9)
    run, _ = quick(5, patience=2)
    assert (run.state, len(run.history), run.best["epoch"]) == ("finished", 4, 2)
    assert run.message == "no better miou for 2 epochs; best miou 0.600 in epoch 2"


# --- The same again -------------------------------------------------------------------------------------------------

FLIPS = A.Compose([A.HorizontalFlip(p=0.5), A.RandomBrightnessContrast(p=0.5)])


def test_same_seed_same_run(quick, tiny, square_data):
    train = square_data[0].with_transform(FLIPS)
    first, one = quick(2, model=tiny("segformer"), train=train, out="one", seed=3)
    second, two = quick(2, model=tiny("segformer"), train=train, out="two", seed=3)
    third, _ = quick(2, model=tiny("segformer"), train=train, out="three", seed=4)
    assert first.losses == second.losses
    assert without_time(first.history) == without_time(second.history)
    assert same(weights(one), weights(two))
    assert third.losses != first.losses


# What a kernel does that dies in the middle of epoch 3: no exception, no clean-up.
DYING = """
    import os, sys
    sys.path.insert(0, {tests!r})
    import torch
    torch.set_num_threads(1)
    import albumentations as A
    from squares import CLASSES, TINY, squares
    from segnb.data import SegmentationDataset
    from segnb.models import create_model
    from segnb.train import fit

    class Death:
        def on_step(self, run):
            if (run.epoch, run.step) == (3, 2):
                os._exit(9)

    torch.manual_seed(0)
    model = create_model("segformer", TINY, None, classes=CLASSES)
    flips = A.Compose([A.HorizontalFlip(p=0.5), A.RandomBrightnessContrast(p=0.5)])
    train = SegmentationDataset(*squares(16), CLASSES, flips)
    valid = SegmentationDataset(*squares(4, seed=1), CLASSES)
    fit(model, train, valid, 4, batch_size=4, callbacks=[Death()])
"""


def test_resume_after_a_dead_kernel_is_exact(quick, tiny, square_data, capsys):
    """Order of the pictures, flips, dropout, optimiser and learning rate go on as if nothing had happened."""
    code = textwrap.dedent(DYING.format(tests=str(Path(__file__).parent)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)}
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert dead.returncode == 9, dead.stderr[-2000:]
    (folder,) = Path("runs").iterdir()
    assert sorted(file.name for file in folder.iterdir()) == [
        "best",
        "history.csv",
        "last.pt",
        "previous.pt",
        "start",
    ]  # no result: it never ended

    train = square_data[0].with_transform(FLIPS)
    torch.manual_seed(99)
    fresh = create_model("segformer", "test_efficientnet", None, classes=CLASSES)  # other weights than the dead one's
    resumed, model = quick(4, model=fresh, train=train, out=None)
    assert resumed.path == folder
    assert "resumed after epoch 2 of 4" in capsys.readouterr().out

    whole, reference = quick(4, model=tiny("segformer"), train=train, out="whole")
    assert resumed.losses == whole.losses
    assert without_time(resumed.history) == without_time(whole.history)
    assert same(weights(model), weights(reference))
    assert resumed.history[2]["elapsed"] > resumed.history[1]["elapsed"]


def test_resume_in_the_same_folder_after_an_error(quick, tiny):
    """A callback that fails ends the run; the epochs before it are kept."""
    with pytest.raises(ZeroDivisionError):
        quick(3, callbacks=[At("step", 2, 3, lambda run: 1 / 0)])
    result = json.loads(Path("run/result.json").read_text())
    assert (result["state"], len(result["history"])) == ("failed", 1)
    assert result["message"].startswith("division by zero; best miou")
    resumed, model = quick(3)
    whole, reference = quick(3, out="whole")
    assert resumed.losses == whole.losses
    assert same(weights(model), weights(reference))
    assert json.loads(Path("run/result.json").read_text())["state"] == "finished"


def test_a_stopped_run_can_be_gone_on_with(quick):
    stopped, _ = quick(3, callbacks=[At("epoch", 1, 0, lambda run: run.stop())])
    assert (stopped.state, len(stopped.history)) == ("stopped", 1)
    ended = []
    look = At("step", 2, 1, lambda run: ended.append((run.path / "result.json").exists()))
    resumed, _ = quick(3, callbacks=[look])
    assert ended == [False]
    whole, _ = quick(3, out="whole")
    assert (resumed.state, resumed.losses) == ("finished", whole.losses)


def test_a_finished_run_returns_at_once(quick, tiny, capsys):
    first, trained = quick(2)
    steps = []
    torch.manual_seed(5)
    other = create_model("unet", "test_efficientnet", None, classes=CLASSES)
    again, model = quick(2, model=other, callbacks=[At("step", 1, 1, steps.append)])
    assert "run is there: finished. To start afresh, pass resume=False." in capsys.readouterr().out
    assert steps == []
    assert (again.state, again.history) == ("finished", first.history)
    assert again.best is again.history[again.best["epoch"] - 1]
    assert same(weights(model), weights(trained))


def test_without_resume_a_run_starts_afresh(quick):
    quick(1)
    again, _ = quick(1, resume=False)
    assert len(again.losses) == 4
    quick(2, resume=False)  # other settings are no problem then
    assert len(json.loads(Path("run/result.json").read_text())["history"]) == 2


def test_changed_settings_are_named(quick):
    quick(1)
    before = Path("run/result.json").read_text()
    with pytest.raises(SegnbError) as caught:
        quick(2, lr=1e-4)
    message = str(caught.value)
    assert message.startswith("run holds a run with other settings: epochs was 1 and is now 2; lr was ")
    assert "is now 0.0001" in message
    assert message.endswith("Give another folder with out=..., or start afresh with resume=False.")
    assert Path("run/result.json").read_text() == before


def test_folders_of_their_own(quick, tiny):
    """Without ``out``: an ended run is left alone, other settings have another name."""
    first, _ = quick(1, out=None)
    second, _ = quick(1, out=None)
    other, _ = quick(1, out=None, seed=1)
    assert re.fullmatch(r"unet-test_efficientnet-[0-9a-f]{6}", first.path.name)
    assert second.path.name == f"{first.path.name}-2"
    assert other.path.name not in (first.path.name, second.path.name)
    assert len({path.name for path in Path("runs").iterdir()}) == 3


def test_choose_folder(tmp_path):
    settings = {"model": {"arch": "unet", "encoder_name": "resnet34"}, "lr": 0.1}
    first = choose_folder(None, settings, resume=True)
    assert first.parent == Path("runs")
    assert choose_folder("mine", settings, resume=True) == Path("mine")
    assert choose_folder(None, {**settings, "lr": 0.2}, resume=True) != first
    first.mkdir(parents=True)
    assert choose_folder(None, settings, resume=True) == first  # unfinished: go on with it
    assert choose_folder(None, settings, resume=False).name == f"{first.name}-2"
    (first / "result.json").write_text("{}")
    assert choose_folder(None, settings, resume=True).name == f"{first.name}-2"


def test_a_function_as_transform_has_the_same_name_after_a_restart(quick, square_data):
    def make():
        def flip(image, mask):
            return {"image": image[:, ::-1].copy(), "mask": mask[:, ::-1].copy()}

        return flip

    first, _ = quick(2, train=square_data[0].with_transform(make()), callbacks=[At("epoch", 1, 0, lambda r: r.stop())])
    resumed, _ = quick(2, train=square_data[0].with_transform(make()))
    assert (first.state, resumed.state, len(resumed.history)) == ("stopped", "finished", 2)


def test_foreign_and_damaged_checkpoints(quick):
    Path("run").mkdir()
    for content in ({"model": torch.zeros(1)}, [1]):
        torch.save(content, "run/last.pt")
        with pytest.raises(SegnbError, match=r"last.pt' cannot be read as a checkpoint .*resume=False"):
            quick(1)
    Path("run/last.pt").write_bytes(b"half a file")
    with pytest.raises(SegnbError, match="cannot be read as a checkpoint"):
        quick(1)
    assert quick(1, resume=False)[0].state == "finished"


# --- Stop, pause, interrupt -----------------------------------------------------------------------------------------


def test_stop_keeps_the_best_weights(quick):
    seen = {}
    watch = [
        At("epoch", 1, 0, lambda run: seen.update(best=weights(model))),
        At("step", 2, 2, lambda run: run.stop()),
    ]
    model = create_model("unet", "test_efficientnet", None, classes=CLASSES)
    run, _ = quick(3, model=model, callbacks=watch)
    assert (run.state, len(run.losses), len(run.history)) == ("stopped", 6, 1)
    assert run.message.startswith("stopped in epoch 2; best miou")
    assert same(weights(model), seen["best"])


def test_stop_in_the_first_epoch_keeps_what_was_learnt(quick, tiny):
    model = tiny()
    before = weights(model)
    run, _ = quick(3, model=model, callbacks=[At("step", 1, 2, lambda run: run.stop())])
    assert (run.state, run.best, run.message) == ("stopped", None, "stopped in epoch 1")
    assert not same(weights(model), before)
    assert "stopped after 0 of 3 epochs" in repr(run)


@pytest.mark.parametrize("moment", [("step", 2, 3), ("epoch", 1, 0)])
def test_interrupt_is_a_graceful_stop(moment, quick):
    seen = {}
    model = create_model("unet", "test_efficientnet", None, classes=CLASSES)
    watch = [At("epoch", 1, 0, lambda run: seen.update(best=weights(model))), At(*moment, raising(KeyboardInterrupt()))]
    run, _ = quick(3, model=model, callbacks=watch)
    assert (run.state, len(run.history)) == ("stopped", 1)
    assert run.message.startswith(f"interrupted in epoch {moment[1]}; best miou")
    assert same(weights(model), seen["best"])
    assert json.loads(Path("run/result.json").read_text())["state"] == "stopped"


def test_interrupt_while_the_best_is_written(quick, monkeypatch):
    """The epoch was validated: its weights are the best, and they are in the folder at the end."""
    write = keeping.write_model
    calls = []

    def interrupted(*args):
        calls.append(args[-1].name)
        if calls == ["start", "best"]:
            raise KeyboardInterrupt
        return write(*args)

    monkeypatch.setattr(keeping, "write_model", interrupted)
    run, model = quick(2)
    assert (run.state, run.best["epoch"]) == ("stopped", 1)
    assert same(weights(load_model(run.path / "best")), weights(model))


def test_pause_resume_and_stop_from_another_thread(quick):
    log = []

    def operate(run):
        run.pause()

        def later():
            while run.state != "paused":
                time.sleep(0.005)
            begun, clock = len(run.losses), run.seconds
            time.sleep(0.3)
            log.append((len(run.losses) - begun, run.seconds - clock))
            run.resume()
            while len(run.losses) < begun + 2:
                time.sleep(0.005)
            log.append(run.state)
            run.pause()
            run.stop()  # also ends a pause

        thread = threading.Thread(target=later)
        thread.start()
        log.append(thread)

    run, _ = quick(50, callbacks=[At("step", 1, 2, operate)])
    log[0].join(timeout=5)
    (steps, seconds), state = log[1:]
    assert (steps, seconds) == (0, 0)  # nothing happens in a pause, and it does not count
    assert state == "running"
    assert run.state == "stopped"
    assert 3 < len(run.losses) < 200


def test_the_clock_leaves_out_pauses_and_stands_still_at_the_end():
    run = Run(Path("run"), 4, 10, "miou", CLASSES)
    assert run.remaining == math.inf
    run.continue_from(30.0)
    run.epoch, run.step = 2, 5
    assert run.seconds == pytest.approx(30, abs=0.5)
    assert run.remaining == pytest.approx(50, abs=1)  # 15 of 40 steps took 30 s
    run.pause()
    threading.Timer(0.2, run.resume).start()
    begun = run.seconds
    assert run.should_stop() is False
    assert run.seconds - begun < 0.1
    run.stop_clock()
    stopped = run.seconds
    time.sleep(0.02)
    assert run.seconds == stopped


# --- Nothing is lost ------------------------------------------------------------------------------------------------


class NanAt:
    """The usual loss, but NaN at one call."""

    def __init__(self, call):
        self.calls, self.call, self.loss = 0, call, get_loss("auto")

    def __call__(self, logits, labels):
        if torch.is_grad_enabled():  # a training step
            self.calls += 1
            if self.calls == self.call:
                return self.loss(logits, labels) * math.nan
        return self.loss(logits, labels)


def test_nan_loss_names_the_batch_and_keeps_the_last_good_weights(quick):
    seen = {}
    model = create_model("unet", "test_efficientnet", None, classes=CLASSES)
    watch = At("epoch", 1, 0, lambda run: seen.update(best=weights(model), run=run))
    with pytest.raises(
        SegnbError, match=r"the loss became nan at batch 3 of epoch 2. .*lower learning rate \(it was 0.001\)"
    ):
        quick(3, model=model, loss=NanAt(7), lr=1e-3, callbacks=[watch])
    assert same(weights(model), seen["best"])
    assert seen["run"].state == "failed"
    assert seen["run"].message.startswith("the loss became nan at batch 3 of epoch 2")
    assert json.loads(Path("run/result.json").read_text())["state"] == "failed"
    assert same(weights(load_model("run/best")), seen["best"])


def test_nan_loss_in_the_first_epoch_gives_the_first_weights_back(quick, tiny):
    model = tiny()
    before = weights(model)
    with pytest.raises(SegnbError, match="nan at batch 2 of epoch 1"):
        quick(3, model=model, loss=NanAt(2))
    assert same(weights(model), before)


class BrokenGradient(torch.autograd.Function):
    """The identity, with a gradient that is NaN, as that of a root at 0."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * math.nan


def test_nan_weights_are_never_the_best(quick, tiny):
    """The loss of the last batch is fine, its gradient is not: validation would judge a model of NaN."""
    model, loss, calls = tiny(), get_loss("auto"), []
    before = weights(model)

    def broken(logits, labels):
        calls.append(1)
        return loss(BrokenGradient.apply(logits) if len(calls) == 4 else logits, labels)

    with pytest.raises(SegnbError, match=r"a weight became NaN or infinite, .* at batch 4 of epoch 1"):
        quick(1, model=model, loss=broken)
    assert same(weights(model), before)


def test_a_full_disk_is_a_warning(quick, monkeypatch):
    """No checkpoint can be written in epoch 2; the run goes on, and the best weights are in the folder at the end."""
    seen, real = {}, Path.replace
    model = create_model("unet", "test_efficientnet", None, classes=CLASSES)

    def full(self, target):
        if seen.get("full"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", full)
    watch = [
        At("epoch", 1, 0, lambda run: seen.update(full=True)),
        At("epoch", 2, 0, lambda run: seen.update(full=False, last=(run.path / "last.pt").stat().st_mtime_ns)),
    ]
    with pytest.warns(UserWarning, match=r"epoch 2 could not be saved in run \(.*No space left.*Training goes on"):
        run, _ = quick(3, model=model, callbacks=watch)
    assert (run.state, len(run.history)) == ("finished", 3)
    assert (run.path / "last.pt").stat().st_mtime_ns > seen["last"]
    assert same(weights(load_model(run.path / "best")), weights(model))
    assert sorted(file.name for file in run.path.iterdir()) == [
        "best",
        "history.csv",
        "last.pt",
        "previous.pt",
        "result.json",
        "start",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files is Unix's")
def test_files_that_cannot_grow_are_a_warning(quick):
    """The errors that torch and safetensors raise themselves when the disk refuses: here, files above 100 kB."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.warns(UserWarning, match="could not be saved in run") as caught:
            run, model = quick(2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (run.state, len(run.history)) == ("finished", 2)
    for warned, what in zip(caught, ("the model as it came", "epoch 1", "epoch 2"), strict=False):
        assert str(warned.message).startswith(f"{what} could not be saved in run")
    assert [file for file in run.path.rglob("*") if file.is_file() and file.name != "result.json"] == []
    assert not any(module.training for module in model.modules())


def test_a_late_best_is_written_as_soon_as_there_is_space(quick, scored, monkeypatch):
    """Epoch 1 is the best and could not be saved; after epoch 2 the folder holds epoch 1's weights, not 2's."""
    scored(0.9, 0.5)
    write, seen = keeping.write_model, {}
    model = create_model("unet", "test_efficientnet", None, classes=CLASSES)

    def full_once(*args):
        if args[-1].name == "best" and not seen:
            seen["best"] = weights(model)
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*args)

    monkeypatch.setattr(keeping, "write_model", full_once)
    in_time = At("epoch", 2, 0, lambda run: seen.update(stored=weights(load_model(run.path / "best"))))
    with pytest.warns(UserWarning, match="epoch 1 could not be saved"):
        quick(2, model=model, callbacks=[in_time])
    assert same(seen["stored"], seen["best"])
    assert same(weights(model), seen["best"])


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_folder_that_cannot_be_made(out, quick):
    Path("file").write_text("in the way")
    with pytest.raises(SegnbError, match=rf"the run folder '{out}' cannot be used .*give a writable one with out="):
        quick(1, out=out)


def test_a_folder_that_cannot_be_written_to(quick, monkeypatch):
    Path("run").mkdir()

    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("segnb.train.checkpoint.tempfile.TemporaryFile", refuse)
    with pytest.raises(SegnbError, match=r"the run folder 'run' cannot be used .*Permission denied"):
        quick(1)


# --- Data -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pictures", "batch_size", "batches"), [(9, 4, [4, 4]), (10, 4, [4, 4, 2]), (1, 4, [1]), (3, 1, [1, 1, 1])]
)
def test_a_lone_last_picture_is_left_out(pictures, batch_size, batches):
    data = SegmentationDataset(*squares(pictures), CLASSES)
    loader = make_loader(data, batch_size, torch.device("cpu"))
    assert [len(images) for images, _ in loader] == batches
    assert len(loader) == len(batches)


def test_one_picture_trains(quick):
    one = SegmentationDataset(*squares(1, size=96), CLASSES)
    run, _ = quick(2, train=one, valid=one)
    assert (run.state, run.steps, len(run.losses)) == ("finished", 1, 2)


def test_pictures_of_several_sizes(quick):
    images, masks = zip(*(squares(1, size=size) for size in (48, 64, 48, 80)), strict=True)
    mixed = SegmentationDataset([i[0] for i in images], [m[0] for m in masks], CLASSES)
    with pytest.raises(SegnbError, match=r"several sizes \(48×48, 64×64, 80×80\).*RandomCrop\(256, 256"):
        quick(1, train=mixed)
    run, _ = quick(1, valid=mixed, out="mixed")  # no problem for validation
    assert [image.shape[:2] for image, *_ in run.preview] == [(48, 48), (64, 64), (48, 48), (80, 80)]


def test_data_and_model_must_fit(quick, tiny, square_data):
    with pytest.raises(SegnbError, match=r"the data has 2 classes \(ground, square\) and the model 3"):
        quick(1, model=tiny(classes=3))
    with pytest.raises(
        SegnbError, match="images have 3 channels and the model reads 1; create the model with in_channels=3"
    ):
        quick(1, model=tiny(in_channels=1))
    with pytest.raises(SegnbError, match="the data set train has no pictures"):
        fit(tiny(), [], square_data[1])
    with pytest.raises(SegnbError, match="the data set valid has no pictures"):
        fit(tiny(), square_data[0], [])
    assert not Path("run").exists()
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs=0: give a whole number"),
        ({"epochs": 1.5}, "epochs=1.5"),
        ({"monitor": "mIou"}, r"unknown monitor 'mIou'. Did you mean 'miou'\?"),
        ({"monitor": "val_loss"}, "unknown monitor 'val_loss'. Did you mean 'valid_loss'"),
        ({"precision": "bf61"}, r"unknown precision 'bf61'. Did you mean 'bf16'"),
        ({"loss": "dise"}, "unknown loss 'dise' in loss='dise'. Did you mean 'dice'"),
        ({"lr": "atuo"}, "lr='atuo': give a positive number such as 2e-3, or 'auto'"),
        ({"lr": -1.0}, "lr=-1.0: give a positive number"),
        ({"lr": math.nan}, "lr=nan: give"),
        ({"batch_size": 0}, "batch_size=0: give a whole number of at least 1, or 'auto'"),
        ({"batch_size": "big"}, "batch_size='big'"),
        ({"patience": 0}, "patience=0: give a whole number of epochs of at least 1, or None"),
        ({"patience": "3"}, "patience='3'"),
    ],
)
def test_wrong_arguments_make_no_folder(options, message, quick):
    options = dict(options)
    with pytest.raises(SegnbError, match=message):
        quick(options.pop("epochs", 1), **options)
    assert not Path("run").exists()


def test_automatic_choices(tiny):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert [choose_batch_size("auto", n, cpu) for n in (1, 2, 64, 1000)] == [1, 2, 4, 8]
    assert choose_batch_size("auto", 1000, cuda) == 16
    assert choose_batch_size(3, 1000, cpu) == 3
    assert choose_lr("auto", tiny()) > choose_lr("auto", tiny(encoder_name="test_vit"))
    assert choose_lr(1e-2, tiny()) == 1e-2
    assert choose_lr(1, tiny()) == 1.0
    assert choose_lr("auto", tiny(), "sgd") == 1e-2
    assert choose_lr("auto", tiny(), lambda groups: torch.optim.SGD(groups, lr=0.3)) == 0.3


# --- Watching -------------------------------------------------------------------------------------------------------


def test_callbacks_are_told_in_order(quick):
    class Diary:
        def __init__(self):
            self.events = []

        def on_start(self, run):
            self.events.append(("start", run.state, run.epoch, run.step))

        def on_step(self, run):
            self.events.append(("step", run.state, run.epoch, run.step))
            assert len(run.losses) == (run.epoch - 1) * run.steps + run.step

        def on_epoch(self, run):
            self.events.append(("epoch", run.state, run.epoch, run.step))
            assert len(run.history) == run.epoch
            assert (run.path / "last.pt").is_file()

        def on_end(self, run):
            self.events.append(("end", run.state, run.epoch, run.step))

    diary = Diary()
    quick(2, batch_size=8, callbacks=[diary, object()])  # any object will do
    assert diary.events == [
        ("start", "running", 0, 0),
        ("step", "running", 1, 1),
        ("step", "running", 1, 2),
        ("epoch", "running", 1, 2),
        ("step", "running", 2, 1),
        ("step", "running", 2, 2),
        ("epoch", "running", 2, 2),
        ("end", "finished", 2, 2),
    ]


def test_the_end_is_told_after_a_failure_too(quick):
    class Witness:
        def on_start(self, run):
            raise RuntimeError("no")

        def on_end(self, run):
            self.state = run.state, run.message

    witness = Witness()
    with pytest.raises(RuntimeError, match="no"):
        quick(1, callbacks=[witness])
    assert witness.state == ("failed", "no")


def test_a_progress_bar_in_a_terminal(quick, capsys):
    run, _ = quick(2)
    out, err = capsys.readouterr()
    assert "epoch 1/2: 100%" in err
    assert "epoch 2/2: 100%" in err
    assert "4/4" in err
    assert f"mIoU {run.history[-1]['miou']:.3f}" in err
    assert f"finished after 2 of 2 epochs, best miou {run.best['miou']:.3f} in epoch {run.best['epoch']}" in out


def test_the_view_suits_the_place(monkeypatch):
    assert [type(view) for view in fitting.live_view([])] == [ProgressBar]

    class Kernel:
        kernel = object()

    class IPython:
        get_ipython = Kernel

    monkeypatch.setitem(sys.modules, "IPython", IPython)
    assert fitting.in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    monkeypatch.setattr(fitting, "in_notebook", lambda: True)
    (view,) = fitting.live_view([object()])
    assert isinstance(view, TrainingMonitor)
    assert fitting.live_view([TrainingMonitor()]) == []  # one's own is there already


def test_a_run_as_text_table_and_figure(quick):
    run, _ = quick(2)
    assert repr(run).startswith(f"Run(finished after 2 of 2 epochs, best miou {run.best['miou']:.3f} in epoch")
    page = run._repr_html_()
    assert page.count("<tr") == 3
    assert page.count("font-weight:bold") == 1
    assert f"<td>{run.history[1]['valid_loss']:.4f}</td>" in page
    figure = run.plot()
    assert len(figure.axes) >= 2
    run.path = Path("<b>")
    assert "<b>" not in run._repr_html_()


# --- Precision ------------------------------------------------------------------------------------------------------


def test_bf16_and_back_to_normal(quick, tiny, square_data):
    """Mixed precision belongs to the run, not to the model, and a later fit may choose another."""
    kinds = set()

    def loss(logits, labels):
        kinds.add(logits.dtype)
        return get_loss("auto")(logits, labels)

    low, model = quick(4, loss=loss, precision="bf16", out="low")
    assert low.best["miou"] > 0.8
    assert kinds == {torch.float32}  # losses are computed in full precision
    image = square_data[0][0][0][None]
    inside = []
    model.decoder.classify.register_forward_hook(lambda module, args, output: inside.append(output.dtype))
    with torch.no_grad():
        logits = model(image)
    assert inside == [torch.float32]
    with torch.no_grad():
        torch.testing.assert_close(logits, load_model("low/best")(image), atol=1e-5, rtol=1e-4)
    quick(1, model=model, precision="no", out="full")
    assert set(inside) == {torch.float32}
    quick(1, model=model, precision="bf16", out="again")
    assert inside[-1] == torch.bfloat16
    assert not vars(model).keys() & {"forward", "_original_forward"}  # nothing of the engine is left


def test_a_precision_that_the_device_lacks(quick, monkeypatch):
    def refuse(**_):
        raise ValueError("fp16 mixed precision requires a GPU (not 'cpu').")

    monkeypatch.setattr("segnb.train.setup.Accelerator", refuse)
    with pytest.raises(SegnbError, match=r"precision='fp16' does not work on this device .*use 'bf16' or 'no'"):
        quick(1, precision="fp16")


def test_fp16_resumes_with_its_scale(quick):
    """Its loss is scaled; the scale is part of the checkpoint."""
    try:
        whole, reference = quick(2, precision="fp16", out="whole")
    except SegnbError as error:
        pytest.skip(str(error))
    quick(2, precision="fp16", callbacks=[At("epoch", 1, 0, lambda run: run.stop())])
    resumed, model = quick(2, precision="fp16")
    assert resumed.losses == whole.losses
    assert same(weights(model), weights(reference))


def test_an_error_leaves_the_model_in_full_precision(quick, tiny):
    model, inside = tiny(), []
    quick(1, model=model, precision="bf16")
    model.decoder.classify.register_forward_hook(lambda module, args, output: inside.append(output.dtype))
    with pytest.raises(SegnbError, match="other settings"):
        quick(2, model=model, precision="bf16")
    with contextlib.suppress(ZeroDivisionError):
        quick(1, model=model, precision="bf16", out="other", callbacks=[At("step", 1, 1, lambda run: 1 / 0)])
    inside.clear()
    model(torch.zeros(1, 3, 32, 32))
    assert inside == [torch.float32]


def test_no_warning_in_a_usual_run(quick):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        quick(1)


def test_a_module_as_loss(quick):
    run, _ = quick(2, loss=nn.CrossEntropyLoss(ignore_index=255))
    assert run.history[1]["train_loss"] < run.history[0]["train_loss"]
