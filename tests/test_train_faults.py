"""Faults: nothing is lost but the current epoch, and the message says what happened and what to do."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from PIL import Image
from squares import CLASSES, squares
from training import At, quick_fit, same, tiny_model, weights, without_time

from segnb.data import SegmentationDataset
from segnb.errors import SegnbError
from segnb.pretrained import load_model
from segnb.train.checkpoint import choose_folder

unix = pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# --- A process that is killed ---------------------------------------------------------------------------------------

KILLED = """
    import os, signal, sys
    sys.path.insert(0, {tests!r})
    import torch
    torch.set_num_threads(1)
    from training import quick_fit

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    {how}
"""

IN_AN_EPOCH = """
    class Death:
        def on_step(self, run):
            if (run.epoch, run.step) == (3, 2):
                die()

    quick_fit(4, ema=0.9, callbacks=[Death()])
"""

WHILE_WRITING = """
    from segnb.train import checkpoint
    whole = checkpoint.torch.save

    def half(state, path):
        whole(state, path)
        if len(state["history"]) == 3:
            os.truncate(path, os.path.getsize(path) // 2)
            die()

    checkpoint.torch.save = half
    quick_fit(4, ema=0.9)
"""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The run that the killed ones must end like."""
    return quick_fit(4, ema=0.9, out=tmp_path_factory.mktemp("whole") / "run")


@unix
@pytest.mark.parametrize("how", [IN_AN_EPOCH, WHILE_WRITING])
def test_a_killed_run_goes_on_and_ends_the_same(how, uninterrupted, capsys):
    code = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parent), how=textwrap.dedent(how))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)}
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert dead.returncode == -signal.SIGKILL, dead.stderr[-2000:]

    half_written = list(Path("run").glob(".last-*.pt"))
    assert len(half_written) == (1 if how is WHILE_WRITING else 0)
    assert len(torch.load("run/last.pt", weights_only=True)["history"]) == 2  # whole
    run, model = quick_fit(4, ema=0.9)
    assert "resumed after epoch 2 of 4" in capsys.readouterr().out
    whole, reference = uninterrupted
    assert run.losses == whole.losses
    assert without_time(run.history) == without_time(whole.history)
    assert same(weights(model), weights(reference))
    assert list(Path("run").glob(".*")) == []  # what was half written is gone


# --- Checkpoints that are damaged -----------------------------------------------------------------------------------


def damage(kind):
    last = Path("run/last.pt")
    content = bytearray(last.read_bytes())
    if kind == "truncated":
        del content[len(content) // 2 :]
    elif kind == "overwritten":
        middle = len(content) // 2
        content[middle : middle + 4096] = b"\xff" * 4096
    else:
        content.clear()
    last.write_bytes(content)


@pytest.mark.parametrize("kind", ["truncated", "overwritten", "empty"])
def test_a_damaged_checkpoint_costs_one_epoch(kind, uninterrupted):
    whole, reference = uninterrupted
    quick_fit(4, ema=0.9, callbacks=[At("epoch", 3, 0, lambda run: run.stop())])
    damage(kind)
    with pytest.warns(UserWarning, match=r"last.pt' is damaged \(.*\): the run goes on from the epoch before"):
        run, model = quick_fit(4, ema=0.9)
    assert run.losses == whole.losses
    assert same(weights(model), weights(reference))


def test_a_kill_between_two_renames_costs_one_epoch():
    quick_fit(3, callbacks=[At("epoch", 2, 0, lambda run: run.stop())])
    Path("run/last.pt").unlink()  # moved away, and its successor not there yet
    seen = []
    run, _ = quick_fit(3, callbacks=[At("step", 2, 1, seen.append)])
    assert (run.state, len(run.history), len(seen)) == ("finished", 3, 1)


def test_when_all_checkpoints_are_damaged_the_best_weights_are_named():
    _, model = quick_fit(2)
    for name in ("last.pt", "previous.pt"):
        Path("run", name).write_bytes(b"nothing")
    with pytest.raises(
        SegnbError, match=r"cannot be read as a checkpoint .* The best weights are in 'run.best'.*resume=False"
    ):
        quick_fit(2)
    assert same(weights(load_model("run/best")), weights(model))


def test_a_failed_run_is_gone_on_with_without_naming_its_folder():
    settings = {"model": {"arch": "unet", "encoder_name": "resnet34"}}
    first = choose_folder(None, settings, resume=True)
    first.mkdir(parents=True)
    for state, again in (("failed", True), ("stopped", False), ("finished", False)):
        (first / "result.json").write_text(json.dumps({"state": state}))
        assert (choose_folder(None, settings, resume=True) == first) is again


# --- Pictures -------------------------------------------------------------------------------------------------------


def files_of_squares(count=16):
    """Squares as files that are read anew in every epoch."""
    images, masks = squares(count)
    for folder, arrays in (("images", images), ("masks", masks)):
        Path(folder).mkdir()
        for index, array in enumerate(arrays):
            Image.fromarray(array).save(f"{folder}/{index:02d}.png")
    return SegmentationDataset.from_folder("images", "masks", CLASSES, cache_mb=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_breaks_in_the_third_epoch(workers):
    train, model, seen = files_of_squares(), tiny_model(), {}
    whole = Path("images/05.png").read_bytes()

    def spoil(run):
        seen["best"] = weights(model) if run.best["epoch"] == 2 else None
        Path("images/05.png").write_bytes(b"garbage")

    with pytest.raises(SegnbError, match=r"05.png.*\(Met in epoch 3.\).*it goes on after epoch 2") as caught:
        quick_fit(
            4, model=model, train=train, workers=workers, monitor="train_loss", callbacks=[At("epoch", 2, 0, spoil)]
        )
    assert "Traceback" not in str(caught.value)
    assert same(weights(model), seen["best"])
    assert json.loads(Path("run/result.json").read_text())["state"] == "failed"

    Path("images/05.png").write_bytes(whole)
    run, resumed = quick_fit(4, train=train, workers=workers, monitor="train_loss")
    _, reference = quick_fit(4, train=train, workers=workers, monitor="train_loss", out="whole")
    assert (run.state, len(run.history)) == ("finished", 4)
    assert same(weights(resumed), weights(reference))


def test_a_validation_picture_that_breaks():
    data = files_of_squares(8)
    with pytest.raises(SegnbError, match=r"02.png.*\(Met in epoch 2.\).*it goes on after epoch 1"):
        quick_fit(2, valid=data, callbacks=[At("epoch", 1, 0, lambda run: Path("masks/02.png").write_bytes(b""))])


class Suicidal(SegmentationDataset):
    """Its process dies as a process does that the kernel kills for its memory, from the second epoch on."""

    def __getitem__(self, index):
        if torch.utils.data.get_worker_info() is not None and Path("second epoch").exists():
            os._exit(9)
        return super().__getitem__(index)


@unix
def test_a_worker_that_dies(monkeypatch):
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.5)  # seconds; else it takes 5 to notice
    train, model, seen = Suicidal(*squares(16), CLASSES), tiny_model(), {}

    def begin(_):
        seen["best"] = weights(model)
        Path("second epoch").touch()

    with pytest.raises(SegnbError) as caught:
        quick_fit(3, model=model, train=train, workers=1, callbacks=[At("epoch", 1, 0, begin)])
    assert str(caught.value) == (
        "a process that reads pictures died in epoch 2, most often because memory ran out: try workers=0, or a smaller cache_mb "
        "of the data set. The model has the weights of epoch 1 back, the best one. Put it right and call fit again with the same "
        "settings: it goes on after epoch 1."
    )
    assert same(weights(model), seen["best"])
    run, _ = quick_fit(3, train=train, workers=0)
    assert (run.state, len(run.history)) == ("finished", 3)


def test_an_error_in_the_users_own_code_keeps_its_kind():
    class Broken(SegmentationDataset):
        def __getitem__(self, index):
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match=r"^mine$"):
        quick_fit(1, train=Broken(*squares(8), CLASSES))
