"""Most epochs at half size, the last ones on whole pictures: which, how they are halved, and what follows from it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from squares import CLASSES, squares
from training import At, quick_fit, same, square_sets, tiny_model, weights

from segnb.data import SegmentationDataset
from segnb.errors import SegnbError
from segnb.train import loop
from segnb.train.progressive import Progression, halve


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def sides_seen(model):
    """The heights of the batches that a model is trained on, as a list that grows."""
    seen = []
    model.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[-2]) if module.training else None)
    return seen


# --- Halving --------------------------------------------------------------------------------------------------------


def test_halved_pixels_are_means_of_four():
    images = torch.tensor([[[[0, 1, 10, 20], [2, 4, 30, 40], [255, 255, 9, 9], [255, 254, 9, 9]]]], dtype=torch.uint8)
    small, _ = halve(images, torch.zeros(1, 4, 4, dtype=torch.long))
    assert small.dtype == torch.uint8
    assert small.tolist() == [[[[2, 25], [255, 9]]]]  # 1.75, 25, 254.75, 9
    float_small, _ = halve(images.float() / 8, torch.zeros(1, 4, 4, dtype=torch.long))
    assert float_small.tolist() == [[[[1.75 / 8, 25 / 8], [254.75 / 8, 9 / 8]]]]


@given(
    st.integers(2, 9), st.integers(2, 9), st.sampled_from([(), (3,)]), st.sampled_from([torch.uint8, torch.float32]),
    st.integers(0, 1000),
)  # fmt: skip
def test_labels_are_those_of_one_of_the_four_pixels(height, width, planes, kind, seed):
    torch.manual_seed(seed)
    labels = torch.arange(2 * int(np.prod(planes or 1)) * height * width).reshape(2, *planes, height, width)
    images, small = halve(torch.zeros(2, 3, height, width, dtype=kind), labels)
    assert images.shape[-2:] == small.shape[-2:] == (height // 2, width // 2)
    assert images.dtype == kind
    corner = labels[..., : height // 2 * 2 : 2, : width // 2 * 2 : 2]
    assert (small - corner).unique().tolist() in [[0], [1], [width], [width + 1]]  # the same one everywhere


def test_each_of_the_four_is_chosen_as_often():
    """So that masks are shifted to no side on average."""
    torch.manual_seed(0)
    labels = torch.tensor([[[0, 1], [2, 3]]])
    chosen = torch.cat([halve(torch.zeros(1, 3, 2, 2), labels)[1].flatten() for _ in range(2000)])
    assert torch.bincount(chosen, minlength=4).tolist() == pytest.approx([500] * 4, abs=90)


# --- Which epochs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("epochs", "half"), [(1, 0), (2, 1), (5, 4), (10, 9), (23, 20)])
def test_auto_leaves_the_last_tenth_to_whole_pictures(epochs, half):
    progression = Progression("auto")
    assert progression.half_epochs(epochs) == 0  # nothing was seen yet
    progression.look([(torch.zeros(1, 3, 192, 256), None)])
    assert progression.half_epochs(epochs) == half
    progression.look([(torch.zeros(1, 3, 191, 256), None)])
    assert progression.half_epochs(epochs) == 0


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 10_000))
def test_the_last_epoch_always_sees_whole_pictures(share, epochs):
    assert 0 <= Progression(share).half_epochs(epochs) < epochs


def test_epochs_of_a_run_and_its_first_step():
    model = tiny_model()
    seen = sides_seen(model)
    run, _ = quick_fit(4, model=model, progressive=0.5)
    assert seen == [48, 24, 24, 24, *[24] * 4, *[48] * 8]  # the first step shows whether memory suffices
    assert run.preview[0][0].shape == (48, 48, 3)  # validation: whole ones


def test_steps_of_several_batches():
    model = tiny_model()
    seen = sides_seen(model)
    quick_fit(2, model=model, progressive=0.5, accumulate=2)
    assert seen == [48, 48, 24, 24, *[48] * 4]


def test_auto_halves_large_pictures_only():
    for size, expected in ((48, [48] * 4), (192, [192, 96, 192, 192])):
        model = tiny_model()
        seen = sides_seen(model)
        train = SegmentationDataset(*squares(4, size=size), CLASSES)
        quick_fit(2, model=model, train=train, valid=train, batch_size=2, out=f"{size}")
        assert seen == expected


def test_it_learns():
    run, _ = quick_fit(10, progressive=0.7, train=square_sets(48)[0], lr=4e-3)
    assert run.best["epoch"] > 7
    assert run.best["miou"] > 0.8


def test_the_schedule_counts_pixels():
    """A whole step moves it on as far as four at half size: 1 + 1 + 4 + 4 parts for four epochs."""
    run, _ = quick_fit(4, progressive=0.5, lr=0.1)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10 * run.steps)
    rates = []
    for _ in range(10 * run.steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    last = [
        run.steps - 1,
        2 * run.steps - 1,
        6 * run.steps - 4,
        10 * run.steps - 4,
    ]  # where each epoch's last step begins
    assert [entry["lr"] for entry in run.history] == pytest.approx([rates[place] for place in last])


@pytest.mark.parametrize("progressive", [1, 1.5, -0.1, "half", True, float("nan"), None])
def test_other_shares_are_refused(progressive):
    with pytest.raises(
        SegnbError, match=r"progressive=.*: give the share of the epochs at half size, from 0 to less than 1"
    ):
        quick_fit(1, progressive=progressive)


# --- What follows ---------------------------------------------------------------------------------------------------


def test_resume_is_exact():
    train, _ = square_sets(16)
    whole, reference = quick_fit(4, train=train, out="whole", progressive=0.5)
    for epoch in (2, 3):
        quick_fit(4, train=train, progressive=0.5, callbacks=[At("step", epoch, 2, lambda run: run.stop())])
    resumed, model = quick_fit(4, train=train, progressive=0.5)
    assert resumed.losses == whole.losses
    assert same(weights(model), weights(reference))


@pytest.fixture
def scores(monkeypatch):
    """Validations that find what the test says, one after the other."""
    found = []
    validate = loop.validate

    def scored(*args):
        result = validate(*args)
        value = found.pop(0)
        result.matrix.miou = lambda: value
        return result

    monkeypatch.setattr(loop, "validate", scored)
    return found


def test_patience_waits_for_whole_pictures(scores):
    scores[:] = [0.9, *[0.1] * 7]
    run, _ = quick_fit(8, progressive=0.5, patience=2)
    assert len(run.history) == 6  # four halved, then two without a better one
    scores[:] = [0.9, *[0.1] * 7]
    run, _ = quick_fit(8, progressive=0, patience=2, out="whole")
    assert len(run.history) == 3


def test_a_budget_knows_that_whole_pictures_take_longer(monkeypatch):
    """A whole step takes 4 s, a halved one 1 s, a validation 2 s: 6 s for a halved epoch of four steps, 18 s for a whole one."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr("segnb.train.run.time", clock)
    validate, backward = loop.validate, loop.Engine.backward

    def timed_validation(*args):
        clock.now += 2
        return validate(*args)

    def timed_step(self, group):
        clock.now += 4 if group[0][0].shape[-1] == 48 else 1
        return backward(self, group)

    monkeypatch.setattr(loop, "validate", timed_validation)
    monkeypatch.setattr(loop.Engine, "backward", timed_step)
    run, _ = quick_fit(2, progressive=0.75, budget=80)
    taken = [round(entry["seconds"]) for entry in run.history]
    assert taken == [9, 6, 6, 6, 6, 6, 18, 18]  # the first step of all is a whole one; 75 s of 80
    assert run.state == "finished"
