"""What makes a step: accumulated and clipped gradients, averaged weights, class weights, memory."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from squares import CLASSES, squares
from torch import nn
from training import At, Every, quick_fit, recording, same, square_sets, tiny_model, weights

from segnb.data import SegmentationDataset
from segnb.errors import SegnbError
from segnb.losses import get_loss
from segnb.pretrained import load_model
from segnb.train import engine as engines
from segnb.train import preparing
from segnb.train.class_weights import choose_class_weights, count_class_weights
from segnb.train.engine import shares, start_reading


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def without_norm(module):
    """Take batch normalisation out: it sees the batch."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.Identity())
        else:
            without_norm(child)
    return module


# --- Accumulation and clipping --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "accumulate", "steps"), [(16, 4, 2), (14, 4, 2), (7, 2, 2)])
def test_accumulation_equals_the_large_batch(count, accumulate, steps):
    """Also where the last group is incomplete, and where pixels are ignored in some batches."""
    images, masks = squares(count)
    for index, mask in enumerate(masks):
        mask[: 3 * (index % 5)] = 255
    train = SegmentationDataset(images, masks, CLASSES)
    results = []
    for small, groups in ((2 * accumulate, 1), (2, accumulate)):
        model = without_norm(tiny_model())
        options = {"loss": "ce", "optimizer": "sgd", "lr": 0.05, "out": f"{small}", "batch_size": small}
        run, _ = quick_fit(1, model=model, train=train, accumulate=groups, **options)
        results.append((run, weights(model)))
    (large, one), (accumulated, other) = results
    assert large.steps == accumulated.steps == len(accumulated.losses) == steps
    if count % 2 == 0:  # a lone last picture is left out of batches
        assert accumulated.losses == pytest.approx(large.losses, rel=1e-5)
        for name in one:
            torch.testing.assert_close(other[name], one[name], atol=1e-5, rtol=1e-4)


def test_shares_are_those_of_the_counted_pixels():
    labels = [torch.zeros(2, 4, 4, dtype=torch.long), torch.zeros(1, 4, 4, dtype=torch.long)]
    labels[0][0] = 255
    labels[0][1, :2] = 255
    assert [float(share) for share in shares([(None, part) for part in labels])] == pytest.approx([1 / 3, 2 / 3])
    assert shares([(None, labels[0])]) == [1.0]
    ignored = [torch.full((1, 2, 2), 255)] * 2
    assert [float(share) for share in shares([(None, part) for part in ignored])] == [0.0, 0.0]


def test_clipping_reaches_the_norm_and_no_more():
    free, clipped, loose = [], [], []
    quick_fit(1, lr=0.01, optimizer=recording(free), out="free")
    quick_fit(1, lr=0.01, optimizer=recording(clipped), clip=0.05, out="clipped")
    quick_fit(1, lr=0.01, optimizer=recording(loose), clip=1e6, out="loose")
    assert min(free[-1].norms) > 0.05
    assert clipped[-1].norms == pytest.approx([0.05] * 4, rel=1e-3)
    assert loose[-1].norms == pytest.approx(free[-1].norms)


# --- The moving average ---------------------------------------------------------------------------------------------


def written_average(seen, ema):
    """The average of weights seen after each step, as its docstring says."""
    average = {name: tensor.double() for name, tensor in seen[0].items()}
    for step, current in enumerate(seen[1:], start=2):
        decay = min(ema, 1 - step**-0.75)
        for name, tensor in current.items():
            average[name] = decay * average[name] + (1 - decay) * tensor.double()
    return average


@pytest.mark.parametrize("ema", [0.3, 0.999])
def test_the_average_is_judged_and_kept(ema):
    from segnb.evaluation import evaluate

    model, seen = tiny_model(), []
    run, _ = quick_fit(
        2, model=model, ema=ema, monitor="train_loss", callbacks=[Every(lambda _: seen.append(weights(model)))]
    )
    assert run.best["epoch"] == 2
    expected = written_average(seen, ema)
    final = weights(model)
    for name, tensor in final.items():
        if tensor.is_floating_point():  # weights, and the statistics of batch normalisation
            torch.testing.assert_close(tensor.double(), expected[name], atol=1e-5, rtol=1e-4)
        else:
            assert torch.equal(tensor, seen[-1][name])  # counters
    assert not same(final, seen[-1])
    assert same(weights(load_model("run/best")), final)
    assert evaluate(model, square_sets()[1]).miou == pytest.approx(run.best["miou"], abs=1e-6)


def test_training_goes_on_with_the_weights_not_with_their_average():
    _, plain = quick_fit(2, monitor="train_loss", out="plain")
    seen, model = [], tiny_model()
    quick_fit(2, model=model, ema=0.9, out="averaged", callbacks=[Every(lambda _: seen.append(weights(model)))])
    assert same(seen[-1], weights(plain))


# --- Class weights --------------------------------------------------------------------------------------------------


def test_class_weights_are_the_median_frequency_over_the_frequency():
    masks = [np.zeros((10, 10), np.uint8) for _ in range(4)]
    masks[0][:2] = 1  # 20 of 100
    masks[1][:1] = 1  # 10 of 100
    masks[2][:5] = 255  # ignored: 50 count
    masks[3][0, :2] = 2  # 2 of 100
    data = SegmentationDataset([np.zeros((10, 10, 3), np.uint8)] * 4, masks, ["a", "b", "c", "d"])
    frequencies = [(80 + 90 + 50 + 98) / 350, 30 / 200, 2 / 100]
    assert count_class_weights(data) == pytest.approx(
        [frequencies[1] / frequencies[0], 1.0, frequencies[1] / frequencies[2], 1.0]
    )
    assert choose_class_weights("auto", data) == count_class_weights(data)
    assert choose_class_weights((1, 2, 3, 4), data) == [1.0, 2.0, 3.0, 4.0]
    assert choose_class_weights(None, data) is None


def test_class_weights_are_bounded_and_so_are_the_pictures_looked_at():
    masks = [np.zeros((100, 100), np.uint8) for _ in range(20)]
    masks[0][0, 0] = 1
    data = SegmentationDataset([np.zeros((100, 100, 3), np.uint8)] * 20, masks, ["a", "b"])
    assert count_class_weights(data)[1] == 10.0
    read, looked = data.read, []
    data.read = lambda index: looked.append(index) or read(index)
    count_class_weights(data, pictures=5)
    assert looked == [0, 4, 9, 14, 19]


def test_a_run_weighs_classes(monkeypatch):
    asked = []
    monkeypatch.setattr(preparing, "get_loss", lambda name, **options: asked.append((name, options)) or get_loss("ce"))
    run, _ = quick_fit(1, loss="ce", class_weights="auto")
    expected = count_class_weights(square_sets()[0])
    assert asked[-1] == ("ce", {"class_weights": expected})
    assert expected[1] > expected[0]  # squares are rarer than ground
    assert run.settings["class_weights"] == "auto"
    quick_fit(1, loss="ce", class_weights=np.array([1, 3]), out="given")
    assert asked[-1][1]["class_weights"] == [1.0, 3.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"class_weights": "atuo"},
            "class_weights='atuo': give 'auto', one weight of at least 0 for each label, or None",
        ),
        ({"class_weights": [1.0, -1.0]}, "class_weights="),
        (
            {"class_weights": [1.0]},
            r"class_weights has 1 numbers: give one for each of the 2 labels \(ground, square\)",
        ),
        (
            {"class_weights": "auto", "loss": nn.CrossEntropyLoss()},
            "class_weights and label_smoothing are for losses with a name",
        ),
        ({"accumulate": 0}, "accumulate=0: give the number of batches that make a step"),
        ({"clip": 0}, "clip=0: give the largest norm"),
        ({"ema": 1.0}, "ema=1.0: give a decay between 0 and 1"),
        ({"workers": -1}, "workers=-1: give the number of processes"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_wrong_choices_make_no_folder(options, message):
    with pytest.raises(SegnbError, match=message):
        quick_fit(1, **options)
    assert not Path("run").exists()


# --- Memory ---------------------------------------------------------------------------------------------------------


class Memory:
    """The usual loss, which runs out of memory with more pictures than ``room``."""

    def __init__(self, room, error=None):
        self.room, self.sizes = room, []
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def __call__(self, logits, labels):
        if torch.is_grad_enabled():
            self.sizes.append(len(logits))
            if len(logits) > self.room:
                raise self.error
        return get_loss("auto")(logits, labels)


@pytest.mark.parametrize(
    "error",
    [None, RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: 9 bytes")],
)
def test_batches_are_halved_until_they_fit(error, monkeypatch):
    """The run is then the same as one with that batch size from the start."""
    monkeypatch.setattr(preparing, "choose_batch_size", lambda size, *_: 8 if size == "auto" else size)
    loss = Memory(2, error)
    with pytest.warns(UserWarning, match="memory ran out") as caught:
        run, model = quick_fit(1, batch_size="auto", loss=loss, lr=1e-3, ema=0.9, out="auto")
    assert [str(warning.message) for warning in caught] == [
        "memory ran out with 8 pictures at a time: training starts again with 4. The learning rate stays 0.001.",
        "memory ran out with 4 pictures at a time: training starts again with 2. The learning rate stays 0.001.",
    ]
    assert loss.sizes == [8, 4] + [2] * 8
    small, reference = quick_fit(1, batch_size=2, lr=1e-3, ema=0.9, out="small")
    assert (run.steps, run.losses) == (8, small.losses)
    assert same(weights(model), weights(reference))
    assert run.settings["batch_size"] == "auto"


def test_the_smaller_batch_is_kept_when_the_run_goes_on(monkeypatch):
    monkeypatch.setattr(preparing, "choose_batch_size", lambda size, *_: 4 if size == "auto" else size)
    options = {"batch_size": "auto", "loss": Memory(2), "out": "run"}
    with pytest.warns(UserWarning, match="starts again with 2"):
        quick_fit(2, callbacks=[At("epoch", 1, 0, lambda run: run.stop())], **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run, model = quick_fit(2, **options)
    _, reference = quick_fit(2, batch_size=2, out="whole")
    assert run.steps == 8
    assert same(weights(model), weights(reference))


def test_a_batch_size_that_was_asked_for_is_not_changed():
    with pytest.raises(
        SegnbError,
        match=r"memory ran out in epoch 1 with 4 pictures at a time: try batch_size=2 with accumulate=2.*weights back",
    ):
        quick_fit(1, loss=Memory(2))
    with pytest.raises(SegnbError, match="with 1 pictures at a time: try smaller pictures or crops"):
        quick_fit(1, loss=Memory(0), batch_size=1, out="one")


def test_memory_that_runs_out_later_says_how_to_go_on():
    loss, model = Memory(4), tiny_model()
    small = At("epoch", 1, 0, lambda run: setattr(loss, "room", 2))
    with pytest.raises(SegnbError, match=r"out in epoch 2 .*the weights of epoch 1 back.*it goes on after epoch 1"):
        quick_fit(2, model=model, loss=loss, callbacks=[small])
    assert same(weights(load_model("run/best")), weights(model))
    loss.room = 4
    run, model = quick_fit(2, loss=loss)
    _, reference = quick_fit(2, out="whole")
    assert run.state == "finished"
    assert same(weights(model), weights(reference))


# --- Compilation, determinism, reading the loss ---------------------------------------------------------------------


def test_compile_wraps_the_training_step_and_nothing_stays(monkeypatch):
    compiled, real = [], torch.compile
    monkeypatch.setattr(engines.torch, "compile", lambda model: compiled.append(model) or real(model, backend="eager"))
    _, plain = quick_fit(1, out="plain")
    assert compiled == []
    _, model = quick_fit(1, compile=True, out="compiled")
    assert compiled == [model]
    for name, tensor in weights(model).items():
        torch.testing.assert_close(tensor, plain.state_dict()[name], atol=1e-4, rtol=1e-3)
    assert type(model) is type(plain)
    assert not vars(model).keys() & {"forward", "_is_accelerate_prepared"}


def test_deterministic_lasts_as_long_as_the_run():
    seen = []
    look = At("step", 1, 1, lambda run: seen.append(torch.are_deterministic_algorithms_enabled()))
    quick_fit(1, deterministic=True, callbacks=[look])
    quick_fit(1, callbacks=[look], out="other")
    assert seen == [True, False]
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_loss_is_read_after_the_step_was_queued(monkeypatch):
    """So a GPU need not wait between its forward and its backward pass."""
    order = []
    update, read = engines.Engine.update, start_reading
    monkeypatch.setattr(engines.Engine, "update", lambda self, count: order.append("step") or update(self, count))
    monkeypatch.setattr(
        "segnb.train.loop.start_reading", lambda loss: [value := read(loss), lambda: order.append("read") or value()][1]
    )
    quick_fit(1)
    assert order == ["step", "read"] * 4
