"""A run that goes on ends with the same weights, bit by bit, whatever its recipe."""

import json

import albumentations as A
import pytest
import torch
from training import At, quick_fit, same, square_sets, tiny_model, weights, without_time

from segnb.errors import SegnbError
from segnb.train.recipe import Recipe

FLIPS = A.Compose([A.HorizontalFlip(p=0.5), A.RandomBrightnessContrast(p=0.5)])


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


RECIPES = [
    {"ema": 0.9, "accumulate": 2, "schedule": "plateau", "clip": 1.0, "batch_size": 3},
    {"schedule": "poly", "optimizer": "sgd", "freeze_encoder": 1, "layer_decay": 0.8},
    {"schedule": "cosine", "optimizer": "rmsprop", "encoder_lr": 1e-4, "ema": 0.99, "freeze_encoder": 1},
    {"schedule": "constant", "optimizer": "nadam", "lr": 1e-3, "class_weights": [1.0, 2.0], "workers": 1},
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_resume_is_exact(recipe):
    train, _ = square_sets(16, FLIPS)
    whole, reference = quick_fit(3, train=train, out="whole", monitor="valid_loss", **recipe)
    for stop_after in (1, 2):
        stop = At("step", stop_after + 1, 2, lambda run: run.stop())
        quick_fit(3, train=train, monitor="valid_loss", callbacks=[stop], **recipe)
    torch.manual_seed(123)
    resumed, model = quick_fit(3, model=tiny_model(), train=train, monitor="valid_loss", **recipe)
    assert resumed.losses == whole.losses
    assert without_time(resumed.history) == without_time(whole.history)
    assert same(weights(model), weights(reference))
    ends = [torch.load(f"{folder}/last.pt", weights_only=True) for folder in ("run", "whole")]
    assert same(ends[0]["model"], ends[1]["model"])
    assert same(ends[0]["average"], ends[1]["average"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ema": 0.9}, "ema was None and is now 0.9"),
        ({"schedule": "poly"}, "schedule was 'onecycle' and is now 'poly'"),
        ({"accumulate": 2}, "accumulate was 1 and is now 2"),
        ({"optimizer": "sgd", "lr": 1e-3, "weight_decay": 0.01}, "optimizer was 'adamw' and is now 'sgd'"),
        ({"clip": 1}, "clip was None and is now 1"),
        ({"progressive": 0.5}, "progressive was 'auto' and is now 0.5"),
        ({"budget": "1 min"}, "budget was None and is now 60.0"),
    ],
)
def test_every_choice_is_compared(options, message):
    quick_fit(2, lr=1e-3, callbacks=[At("epoch", 1, 0, lambda run: run.stop())])
    with pytest.raises(SegnbError, match=message):
        quick_fit(2, **{"lr": 1e-3, **options})


def test_settings_are_all_that_shapes_a_run_and_json_can_hold_them():
    def own(groups):
        return torch.optim.Adam(groups)

    stop = At("step", 1, 1, lambda run: run.stop())
    run, _ = quick_fit(1, optimizer=own, class_weights=(1, 2), budget="1 min", ema=0.9, callbacks=[stop])
    assert json.loads(json.dumps(run.settings)) == run.settings
    shaping = set(Recipe.__dataclass_fields__) - {"workers"}  # these may change: they only read
    assert shaping | {"model", "pictures", "transform"} == set(run.settings)
    assert run.settings["optimizer"] == "own"
    assert run.settings["class_weights"] == [1.0, 2.0]
    assert run.settings["budget"] == 60.0
    assert run.settings["lr"] == 1e-3
