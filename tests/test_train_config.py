"""A run that was written into a file is done again with the same result; what cannot be written is said."""

import json
import os
import subprocess
import sys
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from squares import CLASSES, squares
from training import At, quick_fit, same, tiny_model, weights, without_time

from segnb import cli
from segnb.data import SegmentationDataset, load_sample
from segnb.data.crops import BalancedCrop
from segnb.errors import SegnbError
from segnb.pretrained import load_model
from segnb.train.configuration import describe_data
from segnb.train.replaying import make_data, train_from_config

AUGMENT = A.Compose([A.HorizontalFlip(p=0.5), A.RandomBrightnessContrast(p=0.5), A.RandomCrop(40, 40)])


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(count=14, seed=0, folder="pictures", factor=255):
    """Squares as files: two folders."""
    for index, (image, mask) in enumerate(zip(*squares(count, seed=seed), strict=True)):
        for kind, array in (("images", image), ("masks", mask * factor)):
            path = Path(folder) / kind / f"{index:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
    return f"{folder}/images", f"{folder}/masks"


def from_files(transform=None):
    train = SegmentationDataset.from_folder(*write(), CLASSES, transform, mask_values=[0, 255])
    return train, SegmentationDataset.from_folder(*write(4, 1, "valid"), CLASSES)


def unchanged(image, **_):
    return image


def equal(one, other):
    return all(
        torch.equal(a, b) for left, right in zip(one, other, strict=True) for a, b in zip(left, right, strict=True)
    )


# --- The run again --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"ema": 0.9, "class_weights": (1.0, 2.0), "optimizer": "sgd", "clip": 1}])
def test_the_run_again_has_the_same_weights(options, monkeypatch, tmp_path):
    train, valid = from_files(AUGMENT)
    run, model = quick_fit(train=train.subset([9, 3, 4, 5, 1, 0, 7, 8]), valid=valid, seed=3, **options)
    assert run.save_config("saved/run.yaml") == Path("saved/run.yaml")
    monkeypatch.chdir(tmp_path / "saved")  # paths are absolute
    torch.manual_seed(99)
    again = train_from_config("run.yaml", out="again")
    assert again.losses == run.losses
    assert without_time(again.history) == without_time(run.history)
    assert same(weights(load_model("again/best")), weights(model))
    assert again.settings == run.settings
    again.save_config("twice.yaml")
    assert Path("twice.yaml").read_text().replace("twice", "run") == Path("run.yaml").read_text()


def test_the_file_is_one_that_people_can_read():
    train, valid = from_files(A.Compose([A.HorizontalFlip(p=0.5)]))
    run, _ = quick_fit(train=train, valid=valid, lr=1e-3)
    content = yaml.safe_load(run.save_config("run.yaml").read_text())
    assert list(content) == ["segnb", "model", "weights", "train", "valid", "recipe"]
    assert content["model"] == {
        "arch": "unet",
        "encoder_name": "test_efficientnet",
        "in_channels": 3,
        "classes": CLASSES,
    }
    assert content["weights"] == "run.safetensors"
    assert content["valid"] == {
        "reader": "from_folder",
        "images": str(Path("valid/images").resolve()),
        "masks": str(Path("valid/masks").resolve()),
        "classes": CLASSES,
        "places": [0, 1, 2, 3],
    }
    assert content["train"]["mask_values"] == [0, 255]
    assert content["train"]["transform"]["transform"]["transforms"][0] == {
        "__class_fullname__": "HorizontalFlip",
        "p": 0.5,
    }
    assert content["recipe"]["lr"] == 1e-3
    assert content["recipe"]["epochs"] == 2
    assert content["recipe"]["schedule"] == "onecycle"


@pytest.mark.parametrize(
    "make",
    [
        lambda: load_sample("cells")[1],
        lambda: load_sample("street")[0].subset([5, 2]),
        lambda: from_files()[0].subset([3, 1, 2]).subset([2, 0]),
        lambda: from_files(A.Compose([BalancedCrop(24, 24, class_weights=[1, 2]), A.HorizontalFlip()]))[0],
        lambda: SegmentationDataset(
            [Path("pictures/images/03.png")],
            ["pictures/masks/03.png"],
            ["square"],
            names=["three"],
            palette=np.array([[0, 0, 0], [1, 2, 3]]),
            value_range=(0, 200),
        ),
    ],
)
def test_data_are_made_again(make):
    write()
    data = make()
    described = describe_data("train", data)
    again = make_data("train", yaml.safe_load(yaml.safe_dump(json.loads(json.dumps(described)))))
    for one in (data, again):
        one.seed(5)
    assert equal(list(data), list(again))
    assert data.names == again.names
    assert data.classes == again.classes
    assert np.array_equal(data.palette, again.palette)


def test_what_cannot_be_written_is_said():
    run, _ = quick_fit(1)
    with pytest.raises(SegnbError, match=r"data set train cannot be written into a file: its pictures are in memory"):
        run.save_config("run.yaml")
    train, valid = from_files(lambda image, mask: {"image": image, "mask": mask})
    run, _ = quick_fit(1, train=train, valid=valid, out="function")
    with pytest.raises(SegnbError, match=r"the transform of train cannot be written .*without functions of your own"):
        run.save_config("run.yaml")
    for name in (None, "named"):
        train, valid = from_files(A.Compose([A.Lambda(image=unchanged, name=name)]))
        run, _ = quick_fit(1, train=train, valid=valid, out=f"lambda {name}")
        with pytest.raises(SegnbError, match="the transform of train cannot be written"):
            run.save_config("run.yaml")
    for name, value in (("loss", lambda logits, labels: logits.mean()), ("optimizer", torch.optim.Adam)):
        run, _ = quick_fit(1, train=train.with_transform(None), valid=valid, out=name, **{name: value})
        with pytest.raises(SegnbError, match=f"{name}=<.*cannot be written into a file: give it by name"):
            run.save_config("run.yaml")
    assert not list(Path().glob("run.*"))


def test_a_run_that_went_on_can_be_written():
    train, valid = from_files()
    quick_fit(2, train=train, valid=valid, callbacks=[At("epoch", 1, 0, lambda run: run.stop())])
    run, model = quick_fit(2, train=train, valid=valid)
    run.save_config("run.yaml")
    train_from_config("run.yaml", out="again")
    assert same(weights(load_model("again/best")), weights(model))
    (run.path / "start" / "model.safetensors").unlink()
    with pytest.raises(SegnbError, match="without the weights that it began with"):
        run.save_config("other.yaml")


@pytest.fixture
def written():
    """The content of a run's file, and a function that writes it back."""
    train, valid = from_files()
    run, _ = quick_fit(1, train=train, valid=valid)
    file = run.save_config("run.yaml")
    return yaml.safe_load(file.read_text()), lambda content: file.write_text(yaml.safe_dump(content))


def test_a_file_that_does_not_fit_is_refused(written):
    content, write_back = written
    changes = [
        ({"train": {**content["train"], "reader": "eval"}}, "train has the unknown reader 'eval'"),
        ({"train": {**content["train"], "reader": "from_coc"}}, "Did you mean 'from_coco'"),
        ({"valid": {**content["valid"], "mask": 3}}, "valid: from_folder cannot be called with .*mask"),
        ({"recipe": {**content["recipe"], "epoch": 3}}, "the recipe has no 'epoch'. Did you mean 'epochs'"),
        ({"recipe": {**content["recipe"], "lr": -1}}, "lr=-1: give a positive number"),
        ({"model": {**content["model"], "arch": "unett"}}, "unknown architecture 'unett'"),
        ({"model": {**content["model"], "encoder_nam": "x"}}, "has no option 'encoder_nam'"),
        ({"weights": "other.safetensors"}, "'other.safetensors' is not there"),
        ({"weights": None}, "has no part 'weights'"),
        ({"train": {**content["train"], "transform": {"transform": {"__class_fullname__": "os.system"}}}},
         "the transform of train"),
    ]  # fmt: skip
    for change, message in changes:
        write_back({**content, **change})
        with pytest.raises(SegnbError, match=message):
            train_from_config("run.yaml")
    Path("run.yaml").write_text("a: [")
    with pytest.raises(SegnbError, match=r"'run\.yaml' is not YAML"):
        train_from_config("run.yaml")
    Path("run.yaml").write_text("!!python/object/apply:os.system ['touch hacked']")
    with pytest.raises(SegnbError, match=r"'run\.yaml' is not YAML"):
        train_from_config("run.yaml")
    assert not Path("hacked").exists()
    Path("run.yaml").write_text("just text")
    with pytest.raises(SegnbError, match=r"'run\.yaml' is not the file of a run"):
        train_from_config("run.yaml")
    with pytest.raises(SegnbError, match=r"'nothing\.yaml' is not there: run\.save_config writes"):
        train_from_config("nothing.yaml")


# --- The command ----------------------------------------------------------------------------------------------------


def test_the_command_does_the_run_again(capsys):
    train, valid = from_files()
    run, model = quick_fit(2, train=train, valid=valid)
    run.save_config("run.yaml")
    assert cli.main(["train", "run.yaml", "--out", "again"]) == 0
    assert same(weights(load_model("again/best")), weights(model))
    assert cli.main(["train", "run.yaml", "--out", "again", "--resume"]) == 0
    assert "again is there: finished" in capsys.readouterr().out
    assert cli.main(["train", "nothing.yaml"]) == 1
    assert "segnb: 'nothing.yaml' is not there" in capsys.readouterr().err


def test_accelerate_launches_it_on_two_processes():
    train, valid = from_files()
    model = tiny_model()
    run, _ = quick_fit(2, model=model, train=train, valid=valid, loss="ce", optimizer="sgd", lr=0.001)
    run.save_config("run.yaml")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "yes", "GLOO_SOCKET_IFNAME": "lo"}
    command = "accelerate.commands.accelerate_cli launch --cpu --num_processes 2 --main_process_port 0 -m segnb train run.yaml"
    done = subprocess.run(
        [sys.executable, "-m", *command.split(), "--out", "two"],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    two = json.loads(Path("two/result.json").read_text())
    assert two["state"] == "finished"
    assert len(two["history"]) == 2
    assert done.stderr.count("epoch 2/2:   0%") == 1
    start = torch.load("two/last.pt", weights_only=True)
    assert len(start["losses"]) == len(run.losses)
