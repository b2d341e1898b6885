"""The range test of learning rates."""

import random

import albumentations as A
import numpy as np
import pytest
import torch
from training import same, square_sets, tiny_model, weights

from segnb.errors import SegnbError
from segnb.train import RateTest, find_lr

FLIPS = A.Compose([A.HorizontalFlip(p=0.5), A.RandomBrightnessContrast(p=0.5)])


def test_the_suggestion_is_where_the_loss_falls_most_steeply():
    rates = np.geomspace(1e-6, 1, 121)
    # A logistic step down around 1e-3, then an explosion near 1.
    x = np.log10(rates)
    losses = 1 - 0.9 / (1 + np.exp(-4 * (x + 3))) + np.exp(6 * (x + 0.5))
    found = RateTest(rates.tolist(), losses.tolist())
    assert 3e-4 < found.suggestion < 1e-2
    assert found.smoothed[0] == pytest.approx(losses[0])
    mean, expected = 0.0, []
    for step, loss in enumerate(losses, start=1):
        mean = 0.9 * mean + 0.1 * loss
        expected.append(mean / (1 - 0.9**step))
    assert found.smoothed == pytest.approx(expected)


def test_everything_stays_as_it_was():
    train, _ = square_sets(16, FLIPS)
    model = tiny_model().train()
    model.freeze_encoder()
    before, modes = weights(model), [module.training for module in model.modules()]
    torch.manual_seed(1), random.seed(1), np.random.seed(1), train.seed(5)
    expected = torch.rand(1), random.random(), np.random.rand(), train[0][0], train[1][0]
    torch.manual_seed(1), random.seed(1), np.random.seed(1), train.seed(5)
    found = find_lr(model, train, steps=12, batch_size=4)
    after = torch.rand(1), random.random(), np.random.rand(), train[0][0], train[1][0]
    assert after[1:3] == expected[1:3]
    assert all(torch.equal(after[index], expected[index]) for index in (0, 3, 4))
    assert same(weights(model), before)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.encoder_frozen
    assert len(found.rates) == 12


def test_rates_grow_by_one_factor_and_the_result_repeats():
    train, _ = square_sets(16, FLIPS)
    first = find_lr(tiny_model(), train, lowest=1e-5, highest=1e-1, steps=13, batch_size=4)
    assert first.rates == pytest.approx(np.geomspace(1e-5, 1e-1, 13).tolist())
    assert find_lr(tiny_model(), train, lowest=1e-5, highest=1e-1, steps=13, batch_size=4).losses == first.losses
    assert (
        first.losses != find_lr(tiny_model(), train, lowest=1e-5, highest=1e-1, steps=13, batch_size=4, seed=1).losses
    )


def test_the_loss_it_finds_helps_to_train():
    """A rate that learns: within what is known to work for this model."""
    found = find_lr(tiny_model(), square_sets()[0], steps=60, batch_size=4)
    assert 1e-4 < found.suggestion < 0.3
    assert min(found.smoothed) < 0.7 * found.smoothed[0]


def test_it_stops_when_the_loss_explodes():
    seen = []

    def loss(logits, labels):
        seen.append(1)
        return logits.square().mean() * 0 + (100.0 if len(seen) > 15 else 1.0) + 0 * logits.sum()

    found = find_lr(tiny_model(), square_sets()[0], steps=50, batch_size=4, loss=loss)
    assert 15 <= len(found.rates) < 20


def test_how_it_shows_itself():
    found = RateTest([1e-4, 1e-3, 1e-2, 1e-1], [2.0, 1.9, 1.0, 1.5])
    assert repr(found) == f"RateTest(suggestion={found.suggestion:g}, 4 steps from 0.0001 to 0.1)"
    axes = found.plot().axes[0]
    assert axes.get_xscale() == "log"
    assert axes.lines[0].get_ydata().tolist() == found.losses
    assert axes.lines[2].get_xdata() == [found.suggestion] * 2
    assert found._repr_html_().count("data:image/png;base64,") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lowest": 0}, "give two positive learning rates, the lower one first"),
        ({"lowest": 1, "highest": 0.1}, "lowest=1, highest=0.1"),
        ({"steps": 3}, "steps=3: give a whole number of at least 10"),
        ({"optimizer": "adamx"}, "unknown optimizer 'adamx'"),
        ({"loss": lambda logits, labels: logits.sum() * float("nan")}, "the loss was not finite from the start"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(SegnbError, match=message):
        find_lr(tiny_model(), square_sets()[0], **{"steps": 10, **options})
