"""Models trained on SMP's own encoders, read from the files that SMP writes, compute the same."""

import warnings

import pytest
import timm
import torch
from references import assert_same_logits, parameters, randomise_statistics

import segnb
from segnb.encoders import Encoder
from segnb.errors import SegnbError
from segnb.pretrained.smp_encoders import READABLE, twin

smp = pytest.importorskip("segmentation_models_pytorch")
encoders = pytest.importorskip("segmentation_models_pytorch.encoders")
pytestmark = pytest.mark.parity

# One or two of each family, the small ones.
FAMILIES = [
    "resnet18",
    "timm-skresnet18",
    "vgg11_bn",
    "densenet121",
    "dpn68",
    "xception",
    "inceptionv4",
    "mobilenet_v2",
    "mobileone_s4",
    "timm-efficientnet-b0",
    "timm-tf_efficientnet_lite0",
    "efficientnet-b0",
    "efficientnet-b1",
    "timm-regnetx_002",
    "timm-mobilenetv3_small_075",
]
DILATED = ["resnet18", "se_resnet50", "timm-skresnet18", "dpn68", "mobilenet_v2", "mobileone_s1", "efficientnet-b0"]


def make(architecture, *args, **options):
    """A model of SMP that has something to show: nothing is zero, one or its default."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # SMP's, for its names with "timm-"
        model = architecture(*args, encoder_weights=None, **options).eval()
    randomise_statistics(model)
    return model


def compare(reference, model, size=(96, 64)):
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        assert_same_logits(reference(image), model(image))


def test_every_encoder_is_known():
    theirs = {name for name in encoders.encoders if not name.startswith("mit_")}
    assert theirs == set(READABLE)
    assert {name for name in theirs if not timm.is_model(twin(name)[0])} == set()


@pytest.mark.parametrize("name", FAMILIES)
def test_unet_from_a_folder(name, tmp_path):
    reference = make(smp.Unet, name, classes=3)
    reference.save_pretrained(tmp_path)
    compare(reference, segnb.load_model(tmp_path))


@pytest.mark.parametrize("name", DILATED)
def test_dilated_from_a_folder(name, tmp_path):
    reference = make(smp.DeepLabV3Plus, name, classes=3, encoder_output_stride=16 if "resnet" in name else 8)
    reference.save_pretrained(tmp_path)
    compare(reference, segnb.load_model(tmp_path))


@pytest.mark.parametrize("name", [name for name, family in READABLE.items() if family.dilates is None])
def test_what_smp_cannot_dilate(name):
    with torch.device("meta"), pytest.raises(ValueError, match="dilated"):
        encoders.get_encoder(name, output_stride=16)
    with pytest.raises(SegnbError, match=f"SMP's own '{name}' halves by pooling and cannot be dilated"):
        twin(name, dilated=True)


def test_bare_weights_of_a_shallow_model(tmp_path):
    """SMP keeps the layers below the depth, and those before the classifier; here they are left out."""
    options = {"encoder_depth": 3, "decoder_channels": (32, 16, 8)}
    reference = make(smp.Unet, "efficientnet-b0", **options)
    torch.save(reference.state_dict(), tmp_path / "weights.pth")
    model = segnb.load_model(tmp_path / "weights.pth", arch="unet", encoder_name="efficientnet-b0", **options)
    compare(reference, model)
    assert parameters(model) < 0.2 * parameters(reference)


def test_before_smp_wrapped_them(tmp_path):
    """SMP had encoders that it now takes from timm; their tensors had other names."""
    reference = make(smp.Unet, "timm-gernet_s")
    old = {
        name.replace("encoder.model.", "encoder.").replace("stages_", "stages."): t
        for name, t in reference.state_dict().items()
    }
    assert "encoder.stages.0.0.conv1_kxk.conv.weight" in old
    torch.save(old, tmp_path / "weights.pth")
    compare(reference, segnb.load_model(tmp_path / "weights.pth", arch="unet", encoder_name="timm-gernet_s"))


def test_saved_again(tmp_path):
    """What makes the encoder another than timm's is part of the config."""
    reference = make(smp.Unet, "mobilenet_v2", in_channels=4)
    reference.save_pretrained(tmp_path / "theirs")
    model = segnb.load_model(tmp_path / "theirs")
    segnb.save_model(model, tmp_path / "ours")
    again = segnb.load_model(tmp_path / "ours")
    image = torch.randn(1, 4, 50, 70)
    with torch.no_grad():
        assert torch.equal(again(image), model(image))
        image = torch.randn(1, 4, 96, 64)
        assert_same_logits(reference(image), again(image))


def test_statistics_of_the_pixels():
    """What SMP's users subtract and divide by, where timm's default weights were trained otherwise."""
    for name, mean, std in (("dpn68b", 124 / 255, 0.2348), ("timm-efficientnet-b1", 0.485, 0.229)):
        source, options = twin(name)
        with torch.device("meta"):
            encoder = Encoder(source, None, 3, [2, 4, 8, 16, 32], options=options)
        assert encoder.mean[0] == pytest.approx(mean)
        assert encoder.std[0] == pytest.approx(std, rel=1e-3)


def test_weights_of_another_encoder(tmp_path):
    torch.save(make(smp.Unet, "resnet34").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(SegnbError, match=r"do not fit 'unet' on 'resnet18': of \d+ tensors there are \d+ unexpected"):
        segnb.load_model(tmp_path / "weights.pth", arch="unet", encoder_name="resnet18")
    with pytest.raises(SegnbError, match=r"'se-resnet50' is none of SMP's own encoders.*Did you mean 'se_resnet50'"):
        segnb.load_model(tmp_path / "weights.pth", arch="unet", encoder_name="se-resnet50")
    with pytest.raises(SegnbError, match="do not fit 'unet' on 'mobilenetv2_100'"):
        segnb.load_model(tmp_path / "weights.pth", arch="unet", encoder_name="mobilenet_v2")


def test_taps_train_and_take_any_size():
    source, options = twin("xception")
    model = segnb.create_model("unet", source, None, encoder_depth=3, encoder_options=options)
    assert model.encoder.exact == [True, True, True]
    model(torch.randn(1, 3, 37, 50)).mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.eval()(torch.randn(2, 3, 1, 33)).shape == (2, 1, 1, 33)


def test_tap_that_is_not_there():
    with pytest.raises(SegnbError, match=r"there is no layer 'layer9' to read after. Did you mean 'layer"):
        segnb.create_model("unet", "resnet18", None, encoder_options={"taps": {"act1": 2, "layer9": 4}})
