"""Networks with a backbone of their own, on the same way as all other models: train, evaluate, predict, save, export."""

import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from building import build_any
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from squares import CLASSES, squares
from torch import nn
from training import same, weights

import segnb
from segnb.data import SegmentationDataset
from segnb.encoders import Pixels
from segnb.errors import SegnbError
from segnb.models import create_model
from segnb.networks import NETWORKS
from segnb.networks.icnet import halve
from segnb.pretrained.checkpoint import load_weights
from segnb.tools.explaining import feature_map, grad_cam, stages
from segnb.train.optimizers import choose_lr
from segnb.train.replaying import train_from_config
from segnb.widgets.monitor.code import run_code

# MMSegmentation's parameters in millions, with or without those for training only, and multiply-adds in 10⁹; 19 classes.
REFERENCE = [
    (("bisenetv1", "resnet18"), {}, (1024, 2048), False, 13.276, 118.34),
    (("bisenetv2",), {}, (1024, 2048), False, 3.359, 98.4),
    (("fastscnn",), {}, (1024, 2048), True, 1.457, 7.25),
    (("stdc",), {}, (512, 1024), True, 8.573, 16.86),
    (("stdc",), {"variant": 2}, (512, 1024), True, 12.603, 23.46),
]
FOR_TRAINING = ("guess", "find_detail")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two epochs on squares that are files; its folder is the current one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("work"))
        sets = []
        for part, count in (("train", 8), ("valid", 4)):
            for index, (image, mask) in enumerate(zip(*squares(count, seed=count, size=64), strict=True)):
                for kind, array in (("images", image), ("masks", mask)):
                    path = Path(part) / kind / f"{index:02d}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(array).save(path)
            sets.append(SegmentationDataset.from_folder(f"{part}/images", f"{part}/masks", CLASSES))
        torch.manual_seed(0)
        model = create_model("bisenetv2", classes=CLASSES, width=16)
        yield segnb.fit(model, *sets, epochs=2, batch_size=4, seed=0), model, sets


def test_it_trains_into_a_folder_of_its_own(trained):
    run, _, _ = trained
    assert re.fullmatch(r"runs/bisenetv2-[0-9a-f]{6}", run.path.as_posix())
    assert len(run.history) == 2
    assert np.isfinite(run.losses).all()
    assert run.settings["model"] == {"arch": "bisenetv2", "in_channels": 3, "classes": CLASSES, "width": 16}
    assert run.settings["lr"] == pytest.approx(4e-3)


def test_best_epoch_and_saved_folder_give_the_same_model(trained, tmp_path):
    run, model, _ = trained
    assert same(weights(segnb.load_model(run.path / "best")), weights(model))
    again = segnb.load_model(segnb.save_model(model, tmp_path / "saved"))
    assert again.config == model.config
    image = torch.randint(0, 256, (1, 3, 50, 70), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(again(image), model.eval()(image))


def test_the_run_again(trained):
    run, model, _ = trained
    run.save_config("run.yaml")
    again = train_from_config("run.yaml", out="again")
    assert again.losses == run.losses
    assert same(weights(segnb.load_model("again/best")), weights(model))
    assert f"model = segnb.create_model('bisenetv2', classes={CLASSES!r}, width=16)" in run_code(run)


def test_evaluate_and_predict(trained):
    run, model, (_, valid) = trained
    report = segnb.evaluate(model, valid)
    assert report.miou == pytest.approx(max(entry["miou"] for entry in run.history), abs=1e-6)
    prediction = segnb.predict(model, "valid/images/00.png", probabilities=True)
    assert prediction.labels.shape == (64, 64)
    image = torch.from_numpy(np.array(Image.open("valid/images/00.png"))).permute(2, 0, 1)[None]
    with torch.no_grad():
        np.testing.assert_allclose(
            prediction.probabilities, model.eval()(image).softmax(1)[0].numpy(), atol=1e-2, rtol=0
        )


def test_profile_knows_no_encoder(trained):
    _, model, _ = trained
    found = segnb.profile(model, 64, batch_sizes=(1,), runs=1)
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert (found.encoder, found.decoder) == (None, None)
    assert "encoder" not in repr(found)
    assert found.multiply_adds > 0


def test_maps_are_explained_before_the_last_layer(trained):
    _, model, (_, valid) = trained
    image, _ = valid[0]
    assert list(stages(model)) == ["decoder"]
    assert grad_cam(model, image, 1, "decoder").shape == (8, 8)
    found, channels = feature_map(model, image, "decoder")
    assert (found.shape, channels) == ((8, 8), 128)


@pytest.mark.parametrize("arch", ["bisenetv2", "icnet"])
def test_one_file_for_every_size(arch, tmp_path):
    torch.manual_seed(0)
    model = build_any(arch, classes=3).eval()
    report = segnb.export(model, tmp_path / "model.onnx", size=(64, 64))
    session = onnxruntime.InferenceSession(report.path)
    for size in ((64, 96), (97, 47)):
        image = torch.randn(2, 3, *size)
        with torch.no_grad():
            expected = model(image).numpy()
        np.testing.assert_allclose(session.run(None, {"image": image.numpy()})[0], expected, atol=1e-4, rtol=1e-3)


def test_fit_adds_the_loss_that_a_network_brings_with_it(tmp_path):
    data = SegmentationDataset(*squares(4, size=64), CLASSES)
    model = build_any("stdc", classes=CLASSES)
    before = weights(model.decoder.find_detail)
    segnb.fit(model, data, data, epochs=1, batch_size=2, out=tmp_path / "run")
    learnt = weights(model.decoder.find_detail)
    assert not any(torch.equal(before[name], learnt[name]) for name in before)


@pytest.mark.parametrize(
    ("call", "given"),
    [
        (lambda: create_model("bisenetv2", "resnet50"), "encoder_name='resnet50'"),
        (lambda: create_model("bisenetv2", encoder_weights="a1_in1k"), "encoder_weights='a1_in1k'"),
        (lambda: create_model("bisenetv2", encoder_depth=4), "encoder_depth=4"),
        (lambda: create_model("bisenetv2", encoder_options={"a": 1}), "encoder_options={'a': 1}"),
        (lambda: create_model("bisenetv2", auxiliary=True), "auxiliary=True"),
        (lambda: create_model("bisenetv2", aux_params={"classes": 2}), "aux_params={'classes': 2}"),
    ],
)
def test_what_is_said_about_an_encoder_is_refused(call, given):
    with pytest.raises(SegnbError) as caught:
        call()
    name = given.partition("=")[0]
    assert str(caught.value) == (
        f"{given}: 'bisenetv2' has a backbone of its own, which reads the picture; leave {name} out."
    )


@pytest.mark.parametrize("options", [{"freeze_encoder": 2}, {"encoder_lr": 1e-4}, {"layer_decay": 0.8}])
def test_fit_refuses_what_is_said_about_an_encoder(options, tmp_path):
    data = SegmentationDataset(*squares(2), CLASSES)
    ((name, value),) = options.items()
    with pytest.raises(
        SegnbError, match=rf"^{name}={value}: 'fastscnn' has a backbone of its own and no encoder; leave {name} out\.$"
    ):
        segnb.fit(create_model("fastscnn", classes=CLASSES), data, data, out=tmp_path, **options)


def test_other_options_and_values_are_refused():
    with pytest.raises(SegnbError, match=r"'bisenetv2' has no option 'widht'. Did you mean 'width'"):
        create_model("bisenetv2", widht=3)
    with pytest.raises(SegnbError, match=r"^variant=3: give 1 for STDC1 or 2 for STDC2\.$"):
        create_model("stdc", variant=3)
    with pytest.raises(SegnbError, match=r"^depth=34: give 18, 50, 101, the layers of the ResNet\.$"):
        create_model("icnet", depth=34)


def test_weights_that_do_not_fit_name_the_network():
    with pytest.raises(SegnbError, match=r"^the weights in 'here' do not fit 'fastscnn': of \d+ tensors there are"):
        load_weights(create_model("fastscnn"), {}, "here")


@pytest.mark.parametrize("arch", sorted(NETWORKS))
def test_every_network_is_built_again_from_its_config(arch):
    model = build_any(arch, in_channels=2, classes=["a", "b"])
    assert isinstance(model.encoder, Pixels)
    assert not list(model.encoder.parameters())
    assert not model.encoder_frozen
    again = create_model(encoder_weights=None, **model.config)
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}
    assert again.config == model.config
    assert {group["name"] for group in model.parameter_groups(1e-3, layer_decay=0.5)} == {"decoder"}
    assert choose_lr("auto", model) == 4e-3


def test_raw_pixels_are_normalised_by_imagenets_statistics():
    model = create_model("fastscnn", classes=2).eval()
    pixels = torch.randint(0, 256, (1, 3, 40, 40), dtype=torch.uint8)
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        torch.testing.assert_close(model(pixels), model((pixels / 255 - mean) / std))


@pytest.mark.parametrize(("names", "options", "size", "all_of_them", "millions", "gmac"), REFERENCE)
def test_as_many_parameters_and_multiply_adds_as_published(names, options, size, all_of_them, millions, gmac):
    with torch.device("meta"):
        weightless = (None,) * (len(names) - 1)
        model = create_model(*names, *weightless, classes=19, **options)
    parts = {name: p.numel() for name, p in model.named_parameters()}
    count = sum(n for name, n in parts.items() if all_of_them or not name.split(".")[1].startswith(FOR_TRAINING))
    assert count / 1e6 == pytest.approx(millions, rel=0.005)
    assert segnb.profile(model, size, batch_sizes=()).multiply_adds / 1e9 == pytest.approx(gmac, rel=0.005)


@given(height=st.integers(2, 12), width=st.integers(2, 12))
def test_icnet_halves_as_bilinear_resizing_does(height, width):
    x = torch.randn(2, 3, height, width)
    torch.testing.assert_close(halve(x), F.interpolate(x, scale_factor=0.5, mode="bilinear"))


def test_icnet_keeps_a_single_row():
    x = torch.randn(1, 2, 1, 4)
    torch.testing.assert_close(halve(x), F.avg_pool2d(x, (1, 2)))
    assert torch.equal(halve(x[..., :1]), x[..., :1])


def test_bisenetv1_reads_the_picture_beside_the_two_deepest_levels():
    torch.manual_seed(0)
    model = create_model("bisenetv1", "test_resnet", None, classes=2).eval()
    assert model.encoder.strides == (16, 32)
    assert create_model("bisenetv1", "test_resnet", None, encoder_depth=4).encoder.strides == (8, 16)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        maps = model.encoder(image)
        logits = model.decoder([image, *maps])
        assert logits.shape == (1, 2, 8, 8)
        torch.testing.assert_close(model(image), F.interpolate(logits, (64, 64), mode="bilinear"), atol=1e-6, rtol=1e-6)
        assert not torch.allclose(model.decoder([image + 1, *maps]), logits)


def test_an_optimised_resnet_inside_a_network_has_no_norms_left():
    fast = segnb.optimize(create_model("icnet", depth=50, width=32).eval())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())


def test_cgnet_normalises_raw_pixels_as_its_weights_were_trained():
    model = build_any("cgnet", classes=2).eval()
    pixels = torch.randint(0, 256, (1, 3, 32, 40), dtype=torch.uint8)
    mean = torch.tensor([72.39239876, 82.90891754, 73.15835921]).reshape(1, 3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(model(pixels), model(pixels.float() - mean))
