"""Several processes take the steps of a single one. Each run is in a Python of its own, which is copied or launched."""

import json
import os
import subprocess
import sys
import textwrap
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from squares import CLASSES
from torch import nn
from training import quick_fit, same, tiny_model, weights

from segnb.data import SegmentationDataset
from segnb.errors import SegnbError
from segnb.evaluation import Validation
from segnb.metrics import ConfusionMatrix
from segnb.train import launching
from segnb.train.faults import explain
from segnb.train.launching import failure, leave
from segnb.train.processes import Processes, check_batch, restore_norms, synchronize_norms
from segnb.train.setup import make_loader
from segnb.train.stages import WithStages

HERE = Path(__file__).parent
BEGINNING = """
import sys, torch
from squares import CLASSES, squares
from segnb.data import SegmentationDataset
from segnb.models import create_model
from segnb.train import fit

def data(count=14):
    images, masks = squares(count)
    for index, mask in enumerate(masks):
        mask[: 3 * (index % 5)] = 255  # each process has other pixels that count
    return SegmentationDataset(images, masks, CLASSES), SegmentationDataset(*squares(5, seed=1), CLASSES)

def model(**options):
    torch.manual_seed(0)
    made = create_model("unet", "test_convnext", None, classes=CLASSES, decoder_use_norm="groupnorm", **options)
    for name, module in list(made.named_modules()):  # in the auxiliary head: what sees the batch, and what throws dice
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.Dropout, torch.nn.Dropout2d)):
            made.set_submodule(name, torch.nn.Identity())
    return made.double()  # so that rounding flips no pixel

torch.set_num_threads(1)
SAME = {"loss": "ce", "batch_size": 4, "optimizer": "sgd", "lr": 0.005, "resume": False}
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def python(code, *, fails=False):
    """Run code in a Python of its own; returns what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
    script = BEGINNING + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode != 0) == fails, done.stderr[-3000:]
    return done.stdout if not fails else done.stderr


# --- Two processes are one ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"accumulate": 2, "clip": 0.5, "ema": 0.9, "freeze_encoder": 1}])
def test_two_processes_take_the_steps_of_one(options):
    auxiliary = bool(options)
    python(
        f"""
        for processes in (1, 2):
            made = model(auxiliary={auxiliary})
            run = fit(made, *data(), 2, out=f"run{{processes}}", processes=processes, **SAME, **{options})
            assert run.state == "finished" and not made.training, run
            assert run.best in run.history and run.step == run.steps
            torch.save({{"history": run.history, "losses": run.losses, "model": made.state_dict()}}, f"{{processes}}.pt")
        """
    )
    one, two = (torch.load(f"{processes}.pt", weights_only=True) for processes in (1, 2))
    assert two["losses"] == pytest.approx(one["losses"], abs=1e-7)
    for before, after in zip(one["history"], two["history"], strict=True):
        for name in ("epoch", "train_loss", "valid_loss", "miou", "iou", "lr"):
            assert after[name] == pytest.approx(before[name], abs=1e-7), name
    for name, tensor in one["model"].items():
        torch.testing.assert_close(two["model"][name], tensor, atol=1e-7, rtol=1e-6)
    assert sorted(path.name for path in Path("run2").iterdir()) == sorted(path.name for path in Path("run1").iterdir())


def test_an_error_in_one_process_is_told_in_the_caller():
    said = python(
        """
        import numpy as np
        class Broken(SegmentationDataset):
            def __getitem__(self, index):
                if index == 3:
                    raise OSError("picture 3 is broken.")
                return super().__getitem__(index)
        train, valid = data()
        fit(model(), Broken(*squares(14), CLASSES), valid, 2, out="run", processes=2, **SAME)
        """,
        fails=True,
    )
    assert said.strip().splitlines()[-1].startswith("segnb.errors.SegnbError: picture 3 is broken. (Met in epoch 1.)")


def test_all_processes_end_together():
    python(
        """
        import os, signal
        class Stop:
            def on_step(self, run):
                if (run.epoch, run.step) == (2, 2):
                    os.kill(os.getpid(), signal.SIGINT)
        made = model()
        run = fit(made, *data(), 5, out="run", processes=2, callbacks=[Stop()], **SAME)
        assert run.state == "stopped" and run.message.startswith("interrupted in epoch 2"), run.message
        assert len(run.history) == 1 and run.best["epoch"] == 1

        class Interrupt:
            def on_step(self, run):
                if (run.epoch, run.step) == (2, 1):
                    os.kill(os.getppid(), signal.SIGINT)
        run = fit(model(), *data(), 500, out="interrupted", processes=2, callbacks=[Interrupt()], **SAME)
        assert run.state == "stopped" and run.best in run.history, run
        assert len(run.history) < 500

        patient = fit(model(), *data(), 20, out="other", processes=2, patience=1, monitor="miou", **{**SAME, "lr": 1e-9})
        assert patient.state == "finished" and len(patient.history) == 2
        short = fit(model(), *data(), out="short", processes=2, budget="0.5 s", **SAME)
        assert short.state == "finished" and len(short.history) == short.epochs
        """
    )


# --- Their parts ----------------------------------------------------------------------------------------------------


def of(count, index):
    return Processes(SimpleNamespace(num_processes=count, process_index=index))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_shares_of_a_batch_make_the_batch_of_one_process(count):
    images = [np.full((8, 8, 3), index, np.uint8) for index in range(14)]
    data = SegmentationDataset(images, [np.zeros((8, 8), np.uint8)] * 14, CLASSES)
    alone = make_loader(data, 4, torch.device("cpu"))
    loaders = [make_loader(data, 4, torch.device("cpu"), processes=of(count, index)) for index in range(count)]
    for loader in (alone, *loaders):
        loader.generator.manual_seed(7)
    expected = [batch[0][:, 0, 0, 0].tolist() for batch in alone]
    parts = [[batch[0][:, 0, 0, 0].tolist() for batch in loader] for loader in loaders]
    found = [list(chain(*shares)) for shares in zip(*parts, strict=True)]
    if count == 3:  # a last batch of two is too few for three
        assert found == expected[:-1]
    else:
        assert found == expected
    assert len(expected) == 4


def test_every_place_has_one_process_and_no_two_throw_the_same_dice():
    for count in (1, 2, 3, 5):
        for total in (0, 1, 4, 17):
            assert [place for index in range(count) for place in of(count, index).share(total)] == list(range(total))
    assert of(1, 0).seed == of(4, 0).seed == 0
    assert len({of(4, index).seed for index in range(4)}) == 4


def test_a_single_process_asks_nobody():
    alone = of(1, 0)
    found = Validation(ConfusionMatrix(2), torch.zeros(0, 4, 2))
    assert alone.merge(found) is found
    assert alone.any(True)
    assert not alone.any(False)
    assert alone.from_main(lambda: 3) == 3
    assert alone.is_main
    assert not of(2, 1).is_main


def test_too_few_pictures_for_the_processes():
    with pytest.raises(SegnbError, match="batch_size=1 cannot be shared by 2 processes"):
        check_batch(1, 10, 2)
    with pytest.raises(SegnbError, match="3 training pictures cannot be shared by 4 processes"):
        check_batch(8, 3, 4)
    check_batch(2, 2, 2)


def test_norms_are_synchronized_for_the_run_only():
    model = tiny_model()
    before, modules = weights(model), dict(model.named_modules())
    plain = synchronize_norms(model)
    assert plain
    assert all(isinstance(model.get_submodule(name), nn.SyncBatchNorm) for name in plain)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.add_(1)
            before[name] += 1
    restore_norms(model, plain)
    assert dict(model.named_modules()) == modules
    assert same(weights(model), before)


def test_the_stages_go_through_forward():
    model = tiny_model(auxiliary=True).eval()
    image = torch.zeros(1, 3, 40, 40, dtype=torch.uint8)
    found, outputs = WithStages(model)(image), model.forward_all(image)
    assert torch.equal(found.logits, outputs.logits)
    assert torch.equal(found.stages[0], outputs.stages[0])
    assert len(found.stages) == 1


def test_processes_are_checked_before_anything_else(monkeypatch):
    for processes in (0, 1.5, "2"):
        with pytest.raises(SegnbError, match=r"processes=.*: give a whole number of at least 1"):
            quick_fit(1, processes=processes)
    with pytest.raises(SegnbError, match="processes=2 cannot train in the background"):
        quick_fit(1, processes=2, background=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SegnbError, match="accelerate launch has started the processes already"):
        quick_fit(1, processes=2)
    assert not Path("run").exists()


@pytest.mark.skipif(sys.platform != "linux" or torch.cuda.device_count() > 0, reason="plays a machine without GPUs")
def test_a_process_that_cannot_be_copied_says_what_to_do(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(SegnbError, match=r"used the GPU.*accelerate launch --num_processes 2 -m segnb train run.yaml"):
        quick_fit(1, processes=2)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "google.colab", None)
    with pytest.raises(SegnbError, match="Colab starts several processes on several GPUs only"):
        launching.check_can_fork(2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    launching.check_can_fork(2)
    with pytest.raises(SegnbError, match="there are 2 GPUs, and each process needs one of its own"):
        launching.check_can_fork(3)
    monkeypatch.setattr(launching.sys, "platform", "darwin")
    with pytest.raises(SegnbError, match="on darwin a process that uses PyTorch cannot be copied"):
        launching.check_can_fork(2)


def test_the_first_error_of_its_own_is_told(tmp_path):
    run = SimpleNamespace(epoch=2, best=None, history=[])
    lost = explain(RuntimeError("[gloo] Connection closed by peer [127.0.0.1]:1"), run, 4)
    assert str(lost).startswith("another process of this run ended in epoch 2")
    leave(tmp_path / "error-0.json", {"message": str(lost), "ours": True})
    leave(tmp_path / "error-1.json", {"message": "a picture is broken.", "ours": True})
    assert str(failure(tmp_path, RuntimeError("x"), 2)) == "a picture is broken."
    leave(tmp_path / "error-1.json", {"message": "division by zero", "ours": False})
    assert str(failure(tmp_path, RuntimeError("x"), 2)) == "one of 2 processes failed: division by zero"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "could not train from here (no port)" in str(failure(empty, RuntimeError("no port\nmore"), 2))
    assert json.loads((tmp_path / "error-0.json").read_text())["ours"]
