"""The same random weights, read from a file, give the same logits as in torchvision; and the published sizes."""

import copy

import pytest
import torch
import torch.nn.functional as F
from references import assert_same_logits, parameters, randomise_statistics
from torch.utils.flop_counter import FlopCounterMode

import segnb
from segnb.errors import SegnbError
from segnb.models import create_model
from segnb.pretrained.torchvision import VOC_CLASSES, read_tensors_of, voc_palette

tv = pytest.importorskip("torchvision.models.segmentation")
pytestmark = pytest.mark.parity

# Parameters and 10⁹ multiply-adds at 520², with the auxiliary head: published with the weights.
PUBLISHED = {
    "fcn_resnet50": (35_322_218, 152.717),
    "fcn_resnet101": (54_314_346, 232.738),
    "deeplabv3_resnet50": (42_004_074, 178.722),
    "deeplabv3_resnet101": (60_996_202, 258.743),
    "deeplabv3_mobilenet_v3_large": (11_029_328, 10.452),
    "lraspp_mobilenet_v3_large": (3_221_538, 2.086),
}
SMALL = [name for name in PUBLISHED if "101" not in name]
WEIGHTS = {
    "fcn_resnet50": tv.FCN_ResNet50_Weights.DEFAULT,
    "lraspp_mobilenet_v3_large": tv.LRASPP_MobileNet_V3_Large_Weights.DEFAULT,
}


def build_reference(name, aux_loss=True, **options):
    torch.manual_seed(0)
    if not name.startswith("lraspp"):
        options["aux_loss"] = aux_loss
    reference = getattr(tv, name)(weights=None, weights_backbone=None, **options).eval()
    randomise_statistics(reference)
    return reference


def load(reference, folder, **options):
    file = folder / "weights.pth"
    torch.save(reference.state_dict(), file)
    try:
        return segnb.load_model(file, **options)
    finally:
        file.unlink()  # six models of up to 240 MB


def assert_same(reference, model, size=(64, 96)):
    patches = F.interpolate(torch.randn(2, 3, *(side // 16 for side in size)), size)  # noise alone averages out
    image = 3 * patches + torch.randn_like(patches)
    with torch.no_grad():
        expected, found = reference(image), model.forward_all(image)
    assert_same_logits(expected["out"], found.logits)
    assert len(found.stages) == ("aux" in expected)
    if found.stages:
        assert_same_logits(expected["aux"], found.stages[0])


@pytest.mark.parametrize("name", PUBLISHED)
def test_same_weights_same_logits(name, tmp_path):
    reference = build_reference(name)
    model = load(reference, tmp_path)
    assert parameters(model) == parameters(reference) == PUBLISHED[name][0]
    assert_same(reference, model)
    assert not model.training
    assert model.classes == VOC_CLASSES
    assert model.palette.tolist() == [list(colour) for colour in voc_palette()]
    assert model.notes == {"source": "torchvision, weights.pth"}
    assert model.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert model.std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])


@pytest.mark.parametrize("name", SMALL)
def test_odd_size_without_auxiliary_head_and_other_classes(name, tmp_path):
    reference = build_reference(name, aux_loss=False, num_classes=3)
    model = load(reference, tmp_path)
    assert model.classes == ["class 0", "class 1", "class 2"]
    assert model.auxiliary is None
    assert_same(reference, model, (71, 99))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_multiply_adds(name):
    with torch.device("meta"):
        options = {} if name.startswith("lraspp") else {"aux_loss": True}
        state = getattr(tv, name)(weights=None, weights_backbone=None, **options).state_dict()
        model = create_model(encoder_weights=None, **read_tensors_of(state, name).config).eval()
    assert parameters(model) == PUBLISHED[name][0]
    with FlopCounterMode(display=False) as counter:
        model.forward_all(torch.empty(1, 3, 520, 520, device="meta"))
    assert round(counter.get_total_flops() / 2e9, 3) == PUBLISHED[name][1]


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_enum(name, tmp_path, monkeypatch):
    weights, reference = WEIGHTS[name], build_reference(name)
    asked = {}

    def get_state_dict(self, **options):
        asked.update(options)
        return reference.state_dict()

    monkeypatch.setattr(type(weights), "get_state_dict", get_state_dict)
    model = segnb.load_model(weights)
    assert asked["check_hash"] is True
    assert_same(reference, model)
    assert model.classes == weights.meta["categories"]
    assert model.notes["source"] == f"torchvision, {weights}, {weights.url}"
    assert "COCO" in model.notes["trained_on"]
    assert "BSD-3-Clause" in model.notes["licence"]
    assert model.notes["recipe"].startswith("https://")
    segnb.save_model(model, tmp_path / "saved")
    again = segnb.load_model(tmp_path / "saved")
    assert again.notes == model.notes
    assert (again.palette == model.palette).all()
    assert_same(reference, again)
    assert segnb.load_model(type(weights)).config == model.config  # the enum itself: its default


def test_weights_out_of_reach(no_network, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        SegnbError, match=r"could not be fetched .*download https://download.pytorch.org/.*\.pth elsewhere"
    ):
        segnb.load_model(WEIGHTS["fcn_resnet50"])


def test_other_classes_make_new_last_layers(tmp_path):
    reference = build_reference("lraspp_mobilenet_v3_large")
    with pytest.warns(UserWarning, match="was trained for 21 classes; for your 2 the last layer is new"):
        model = load(reference, tmp_path, classes=["sky", "sea"])
    assert model.classes == ["sky", "sea"]
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert model(image).shape == (1, 2, 64, 64)
        torch.testing.assert_close(model.encoder(image)[1], reference.backbone(image)["high"], atol=1e-4, rtol=1e-4)


def test_voc_palette():
    colours = voc_palette()
    assert dict(zip(VOC_CLASSES, colours, strict=True))["person"] == (192, 128, 128)
    assert colours[:3] == [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
    assert colours[-1] == (0, 64, 128)
    assert WEIGHTS["fcn_resnet50"].meta["categories"] == VOC_CLASSES


def test_models_that_cannot_be_read(tmp_path):
    tensors = build_reference("lraspp_mobilenet_v3_large").state_dict()
    cut = {name: tensor for name, tensor in tensors.items() if not name.startswith("backbone.16.")}
    for wrong in (cut, {name: tensor for name, tensor in tensors.items() if ".cbr." not in name}):
        file = tmp_path / "other.pth"
        torch.save(copy.deepcopy(wrong), file)
        with pytest.raises(
            SegnbError, match=r"'other.pth' looks like a model of torchvision that segnb cannot read. It reads FCN"
        ):
            segnb.load_model(file)
    with pytest.raises(SegnbError, match=r"'ResNet50_Weights\.IMAGENET1K_V2' are weights that segnb cannot read"):
        segnb.load_model(pytest.importorskip("torchvision.models").ResNet50_Weights.DEFAULT)
