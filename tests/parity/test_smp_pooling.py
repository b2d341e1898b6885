"""PSPNet, PAN, DeepLabV3 and DeepLabV3+: the same random weights give the same logits as in segmentation-models-pytorch."""

import pytest
import torch
import torch.nn.functional as F
from references import assert_same_logits, parameters, randomise_statistics

import segnb
from segnb.errors import SegnbError
from segnb.models import create_model
from segnb.pretrained.smp import SMP_DEFAULTS, convert

smp = pytest.importorskip("segmentation_models_pytorch")
pytestmark = pytest.mark.parity

REFERENCES = {"pspnet": smp.PSPNet, "pan": smp.PAN, "deeplabv3": smp.DeepLabV3, "deeplabv3plus": smp.DeepLabV3Plus}
# resnet34, one class: the numbers that SMP 0.6.0 publishes.
PARAMETERS = {"pspnet": 21_437_985, "pan": 21_475_816, "deeplabv3": 26_007_105, "deeplabv3plus": 22_437_457}
ENCODERS = ("tu-resnet18", "tu-tf_efficientnet_lite0", "tu-convnext_atto")
NARROW = {"decoder_channels": 64}  # SMP's 256 would be most of the time
OPTIONS = [
    ("pspnet", {"psp_out_channels": 48, "psp_dropout": 0.5}),
    ("pspnet", {"decoder_use_norm": False}),
    ("pspnet", {"encoder_depth": 4, "upsampling": 16}),
    ("pspnet", {"encoder_depth": 5, "upsampling": 32}),
    ("pan", {"decoder_channels": 16}),
    ("pan", {"encoder_output_stride": 32}),
    ("pan", {"encoder_depth": 4}),
    ("pan", {"encoder_depth": 3}),
    ("deeplabv3", {"encoder_output_stride": 16}),
    ("deeplabv3", {"decoder_atrous_rates": (2, 4, 7)}),
    ("deeplabv3", {"decoder_aspp_separable": True}),
    ("deeplabv3", {"encoder_depth": 4}),
    ("deeplabv3plus", {"encoder_output_stride": 8, "upsampling": 4}),
    ("deeplabv3plus", {"decoder_atrous_rates": (2, 4, 7)}),
    ("deeplabv3plus", {"decoder_aspp_separable": False}),
    ("deeplabv3plus", {"encoder_depth": 4}),
]


def size_for(arch, stride=16):
    """SMP's PAN halves the coarsest map three times; one side leaves a rest."""
    return (8 * stride, 10 * stride) if arch == "pan" else (64, 96)


def build_reference(arch, encoder, **options):
    torch.manual_seed(0)
    if arch.startswith("deeplab"):
        options = {**NARROW, **options}
    reference = REFERENCES[arch](encoder, encoder_weights=None, **options).eval()
    randomise_statistics(reference)
    return reference, {name: value for name, value in options.items() if name != "upsampling"}


def assert_same(reference, model, size, channels=3):
    patches = F.interpolate(torch.randn(2, channels, *(side // 16 for side in size)), size)  # noise alone averages out
    image = 3 * patches + torch.randn_like(patches)
    with torch.no_grad():
        assert_same_logits(reference(image), model(image))


@pytest.mark.parametrize("arch", REFERENCES)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_same_weights_same_logits(arch, encoder):
    reference, options = build_reference(arch, encoder, classes=5)
    model = create_model(arch, encoder.removeprefix("tu-"), None, **{**SMP_DEFAULTS[arch], **options}).eval()
    model.load_state_dict(convert(arch, reference.state_dict()), strict=True)
    assert parameters(model) == parameters(reference)
    assert_same(reference, model, size_for(arch))


@pytest.mark.parametrize(("arch", "options"), OPTIONS, ids=str)
def test_options_through_a_saved_folder(arch, options, tmp_path):
    reference, _ = build_reference(arch, "tu-resnet18", in_channels=4, classes=5, **options)
    reference.save_pretrained(tmp_path)
    model = segnb.load_model(tmp_path)
    assert parameters(model) == parameters(reference)
    assert_same(reference, model, size_for(arch, options.get("encoder_output_stride", 16)), channels=4)


@pytest.mark.parametrize("encoder", ["resnet34", "tu-resnet34"])
@pytest.mark.parametrize("arch", REFERENCES)
def test_own_and_timm_encoders_dilate_differently(arch, encoder, tmp_path):
    reference, _ = build_reference(arch, encoder, classes=2)
    reference.save_pretrained(tmp_path)
    model = segnb.load_model(tmp_path)
    unused = [reference.encoder.layer3, reference.encoder.layer4] if (arch, encoder) == ("pspnet", "resnet34") else []
    assert parameters(model) == parameters(reference) - sum(map(parameters, unused))
    assert_same(reference, model, size_for(arch))


@pytest.mark.parametrize("interpolation", ["bicubic", "nearest"])
def test_pan_interpolation(interpolation):
    reference, options = build_reference("pan", "tu-resnet18", decoder_interpolation=interpolation)
    model = create_model("pan", "resnet18", None, align_corners=True, **options).eval()
    model.load_state_dict(convert("pan", reference.state_dict()), strict=True)
    assert_same(reference, model, size_for("pan"))


@pytest.mark.parametrize("arch", REFERENCES)
def test_published_parameters(arch):
    with torch.device("meta"):
        reference = REFERENCES[arch]("resnet34", encoder_weights=None)
        model = create_model(arch, "resnet34", None, **SMP_DEFAULTS[arch])
    unused = [reference.encoder.layer3, reference.encoder.layer4] if arch == "pspnet" else []
    assert parameters(reference) == PARAMETERS[arch]
    assert parameters(model) == PARAMETERS[arch] - sum(map(parameters, unused))


def test_wrong_options():
    with pytest.raises(SegnbError, match=r"decoder_interpolation='cubic': give bilinear, bicubic, nearest."):
        create_model("pan", "resnet18", None, decoder_interpolation="cubic")
    with pytest.raises(SegnbError, match=r"decoder_use_norm='batch' is not a normalisation. Did you mean 'batchnorm'"):
        create_model("pspnet", "resnet18", None, decoder_use_norm="batch")
