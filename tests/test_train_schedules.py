"""Optimisers, schedules, and the learning rate of each part of a model."""

import math

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau
from training import At, quick_fit, recording, same, tiny_model, weights

from segnb.errors import SegnbError
from segnb.models import create_model
from segnb.train import loop
from segnb.train.optimizers import choose_weight_decay, known_optimizers, make_optimizer
from segnb.train.schedules import make_schedule, restart_rates


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rates_of(name, steps, lr=0.1, **options):
    """The learning rate of every step of a schedule."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    schedule = make_schedule(name, optimizer, steps, epochs=10, **options)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_poly_and_cosine_are_their_formulas_after_a_warm_up():
    steps, warm_up = 100, 5
    rise = [min(1.0, 0.01 + 0.99 * t / warm_up) for t in range(steps)]
    poly = [0.1 * rise[t] * (1 - t / steps) ** 0.9 for t in range(steps)]
    cosine = [0.1 * rise[t] * (1 + math.cos(math.pi * t / steps)) / 2 for t in range(steps)]
    assert rates_of("poly", steps) == pytest.approx(poly, rel=1e-6)
    assert rates_of("cosine", steps) == pytest.approx(cosine, rel=1e-6)
    assert rates_of("poly", 4) == pytest.approx([0.1 * (1 - t / 4) ** 0.9 for t in range(4)])  # too short to warm up
    assert rates_of("constant", 5) == [0.1] * 5


@pytest.mark.parametrize(("optimizer", "momentum"), [("adamw", True), ("sgd", True), ("adagrad", False)])
def test_one_cycle_is_that_of_torch_for_each_group(optimizer, momentum):
    def groups():
        return [{"params": [torch.nn.Parameter(torch.ones(2, 2))], "lr": lr} for lr in (0.1, 0.01)]

    ours, theirs = make_optimizer(optimizer, groups()), make_optimizer(optimizer, groups())
    schedule = make_schedule("onecycle", ours, 20, epochs=2)
    reference = OneCycleLR(theirs, [0.1, 0.01], total_steps=20, cycle_momentum=momentum)
    for _ in range(20):
        for key in ("lr", "betas", "momentum"):
            assert [g.get(key) for g in ours.param_groups] == [g.get(key) for g in theirs.param_groups]
        for each in (ours, theirs, schedule, reference):
            each.step()


def test_a_run_follows_torchs_one_cycle_step_by_step():
    made = []
    run, _ = quick_fit(3, lr=0.02, encoder_lr=0.005, optimizer=recording(made, momentum=0.9))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], momentum=0.9)
    reference = OneCycleLR(optimizer, 1.0, total_steps=12)
    for rates in made[-1].rates:
        share = reference.get_last_lr()[0]
        assert sorted(set(rates)) == pytest.approx([0.005 * share, 0.02 * share])
        optimizer.step()
        reference.step()
    assert len(made[-1].rates) == 12
    assert [entry["lr"] for entry in run.history] == [max(made[-1].rates[last]) for last in (3, 7, 11)]


def test_plateau_lowers_the_rate_as_torch_does(monkeypatch):
    scores, validate, made = [0.5, 0.6, 0.6, 0.6, 0.6, 0.7], loop.validate, []
    left = iter(scores)

    def judge(*args):
        found, score = validate(*args), next(left)
        found.matrix.miou = lambda: score
        return found

    monkeypatch.setattr(loop, "validate", judge)
    run, _ = quick_fit(6, lr=0.01, schedule="plateau", optimizer=recording(made))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    reference = ReduceLROnPlateau(optimizer, "max", factor=0.1, patience=1)
    expected = []
    for score in scores:
        expected += [optimizer.param_groups[0]["lr"]] * 4
        reference.step(score)
    assert [rates[0] for rates in made[-1].rates] == pytest.approx(expected)
    assert [entry["lr"] for entry in run.history] == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.001, 0.001])


def test_a_schedule_is_stretched_in_the_middle():
    """As a time budget does: the rates after it are those of the longer schedule from the start."""
    for name in ("onecycle", "poly", "cosine"):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
        schedule = make_schedule(name, optimizer, 40, epochs=4)
        for _ in range(10):
            optimizer.step()
            schedule.step()
        restart_rates(optimizer, [0.1])
        schedule = make_schedule(name, optimizer, 60, epochs=6)
        for _ in range(10):
            schedule.step()
        momentum = 0.9 if name == "onecycle" else 0
        fresh = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=momentum)
        reference = make_schedule(name, fresh, 60, epochs=6)
        for _ in range(10):
            fresh.step()
            reference.step()
        assert optimizer.param_groups[0]["lr"] == fresh.param_groups[0]["lr"]


# --- Optimisers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(known_optimizers()))
def test_every_optimizer_of_torch_takes_a_step_or_says_why_not(name):
    weight = torch.nn.Parameter(torch.ones(3, 3))
    optimizer = make_optimizer(name, [{"params": [weight], "lr": 0.1, "weight_decay": 0.0, "name": "all"}])
    assert type(optimizer).__name__.lower() == name
    make_schedule("onecycle", optimizer, 5, epochs=1)
    (weight.sum() ** 2).backward()
    optimizer.step()
    assert (weight < 1).all()


def test_sgd_has_momentum_and_decays_kernels_only():
    made = []
    quick_fit(1, optimizer=lambda groups: made.append(torch.optim.SGD(groups, 0.1)) or made[-1], weight_decay=0.02)
    decays = {(group["weight_decay"], p.dim() > 1) for group in made[-1].param_groups for p in group["params"]}
    assert decays == {(0.02, True), (0.0, False)}
    assert make_optimizer("SGD", [torch.nn.Parameter(torch.zeros(1))]).defaults["momentum"] == 0.9
    assert [choose_weight_decay("auto", name) for name in ("adamw", "sgd", "adam")] == [0.01, 0.0, 0.0]
    assert choose_weight_decay("auto", lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.3)) == 0.3
    assert choose_weight_decay(0.5, "adamw") == 0.5


def test_a_callable_keeps_its_own_rate_unless_one_is_given():
    made = []
    quick_fit(1, schedule="constant", optimizer=recording(made, lr=0.03))
    assert set(made[-1].rates[0]) == {0.03}
    quick_fit(1, schedule="constant", optimizer=recording(made, lr=0.03), lr=0.02, out="other")
    assert set(made[-1].rates[0]) == {0.02}


def test_the_default_learns_like_plain_adamw():
    """Written out: torch's AdamW and one cycle; biases and normalisation layers do not decay."""
    from squares import CLASSES, squares

    from segnb.data import SegmentationDataset
    from segnb.losses import get_loss

    model = tiny_model()
    data = SegmentationDataset(*squares(4), CLASSES)
    run, _ = quick_fit(2, model=model, train=data, valid=data, lr=1e-3)
    reference = tiny_model().train()
    kernels = [p for p in reference.parameters() if p.dim() > 1]
    others = [p for p in reference.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW([{"params": kernels}, {"params": others, "weight_decay": 0.0}], lr=1e-3)
    schedule = OneCycleLR(optimizer, 1e-3, total_steps=2)
    images, labels = (torch.stack(part) for part in zip(*(data[index] for index in range(4)), strict=True))
    losses = []
    for _ in range(2):
        loss = get_loss("auto")(reference(images), labels)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    assert run.losses == pytest.approx(losses, rel=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "admw"}, r"unknown optimizer 'admw'. Did you mean 'adamw'"),
        ({"optimizer": "lbfgs"}, "unknown optimizer 'lbfgs'"),
        pytest.param(
            {"optimizer": "muon"},
            "optimizer='muon' cannot train this model: .*Try 'adamw' or 'sgd'",
            marks=pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="new in torch 2.9"),
        ),
        ({"optimizer": lambda groups: "nothing"}, "made a str: give a name in torch.optim"),
        ({"schedule": "onecylce"}, r"unknown schedule 'onecylce'. Did you mean 'onecycle'"),
        ({"weight_decay": -1}, "weight_decay=-1: give a number of at least 0"),
        ({"encoder_lr": 0}, "encoder_lr=0: give a positive number"),
        ({"layer_decay": 1.5}, "layer_decay=1.5: give a number from 0 to 1"),
        ({"freeze_encoder": -1}, "freeze_encoder=-1: give the number of epochs"),
    ],
)
def test_wrong_choices_make_no_folder(options, message, tmp_path):
    with pytest.raises(SegnbError, match=message):
        quick_fit(1, **options)
    assert not (tmp_path / "run").exists()


# --- Parts of a model -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoder_name", "layers", "deepest"),
    [
        ("resnet18", 9, "layer4.1"),
        ("test_vit", 7, "blocks.5"),
        ("test_convnext", None, None),
        ("test_efficientnet", 6, "blocks.4.0"),
    ],
)
def test_layers_of_the_encoder_are_its_blocks(encoder_name, layers, deepest):
    model = create_model("fpn", encoder_name, None)
    numbered = model.encoder_layers()
    assert set(numbered) == {name for name, _ in model.named_parameters() if name.startswith("encoder.")}
    assert list(numbered.values()) == sorted(numbered.values())  # from shallow to deep
    found = sorted(set(numbered.values()))
    assert found == list(range(len(found)))
    if layers is not None:
        assert len(found) == layers
        assert all(deepest in name for name, layer in numbered.items() if layer == layers - 1 and "norm" not in name)


def test_layer_decay_lowers_the_rate_layer_by_layer():
    model = create_model("fpn", "resnet18", None)
    groups = model.parameter_groups(0.1, encoder_lr=0.05, layer_decay=0.5)
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    named = dict(model.named_parameters())
    assert len(rates) == len(named)
    for name, expected in [
        ("decoder.classify.weight", 0.1),
        ("encoder.backbone.layer4.1.conv1.weight", 0.05 * 0.5),
        ("encoder.backbone.layer4.0.downsample.0.weight", 0.05 * 0.25),
        ("encoder.backbone.layer1.0.bn1.bias", 0.05 * 0.5**8),
        ("encoder.backbone.conv1.weight", 0.05 * 0.5**9),
    ]:
        if name in named:
            assert rates[id(named[name])] == pytest.approx(expected), name
    assert (
        sum(name in named for name in ("encoder.backbone.conv1.weight", "encoder.backbone.layer4.1.conv1.weight")) == 2
    )


def test_a_run_uses_layer_decay():
    made = []
    quick_fit(1, lr=0.01, layer_decay=0.5, schedule="constant", optimizer=recording(made))
    assert sorted(set(made[-1].rates[0])) == pytest.approx([0.01 * 0.5**power for power in range(6, -1, -1)])


def test_the_encoder_learns_after_its_frozen_epochs():
    model = tiny_model()
    before, seen = weights(model.encoder), {}
    watch = [At("epoch", epoch, 0, lambda run: seen.update({run.epoch: weights(model.encoder)})) for epoch in (1, 2, 3)]
    quick_fit(3, model=model, freeze_encoder=2, callbacks=watch)
    assert same(seen[1], before)  # weights and the statistics of batch normalisation
    assert same(seen[2], before)
    assert not any(torch.equal(seen[3][name], before[name]) for name, _ in model.encoder.named_parameters())
    assert not model.encoder_frozen


def test_a_run_stopped_while_the_encoder_is_frozen_leaves_it_free():
    run, model = quick_fit(3, freeze_encoder=2, callbacks=[At("step", 1, 2, lambda run: run.stop())])
    assert run.state == "stopped"
    assert not model.encoder_frozen
