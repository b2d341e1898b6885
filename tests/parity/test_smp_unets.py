"""U-Net, UNet++, LinkNet and MA-Net: the same random weights give the same logits as in segmentation-models-pytorch."""

import json
import warnings

import pytest
import torch
from references import assert_same_logits, parameters, randomise_statistics

import segnb
from segnb.errors import SegnbError
from segnb.models import create_model
from segnb.pretrained.smp import SMP_DEFAULTS, convert

smp = pytest.importorskip("segmentation_models_pytorch")
pytestmark = pytest.mark.parity

REFERENCES = {"unet": smp.Unet, "unetplusplus": smp.UnetPlusPlus, "linknet": smp.Linknet, "manet": smp.MAnet}
# resnet34, one class: the numbers that SMP 0.6.0 publishes.
PARAMETERS = {"unet": 24_436_369, "unetplusplus": 26_078_609, "linknet": 21_771_937, "manet": 31_783_633}
NARROW = (48, 40, 32, 24, 16)  # the rest of SMP's default widths would be most of the time
ENCODERS = ("resnet34", "tu-tf_efficientnet_lite0", "tu-convnext_atto")
# SMP refuses "layernorm" and "instancenorm": it cannot start their weights.
OPTIONS = [
    *((arch, "tu-resnet18", {"decoder_use_norm": False}) for arch in REFERENCES),
    *((arch, "tu-resnet18", {"encoder_depth": 4}) for arch in REFERENCES),
    *((arch, "tu-convnext_atto", {"encoder_depth": 3}) for arch in REFERENCES),
    *((arch, "tu-resnet18", {"decoder_interpolation": "bilinear"}) for arch in ("unet", "unetplusplus", "manet")),
    *((arch, "tu-resnet18", {"decoder_attention_type": "scse"}) for arch in ("unet", "unetplusplus")),
    *((arch, "tu-convnext_atto", {"decoder_attention_type": "scse"}) for arch in ("unet", "unetplusplus")),
    ("unet", "tu-resnet18", {"decoder_attention_type": "scse", "encoder_depth": 3, "decoder_use_norm": False}),
    ("unetplusplus", "tu-resnet18", {"decoder_attention_type": "scse", "encoder_depth": 3}),
    ("manet", "tu-resnet18", {"decoder_pab_channels": 16}),
    *((arch, "tu-resnet18", {"decoder_channels": (64, 80, 16, 24, 8)}) for arch in ("unet", "unetplusplus", "manet")),
]


def build_reference(arch, encoder, **options):
    torch.manual_seed(0)
    if arch != "linknet" and "decoder_channels" not in options:
        options["decoder_channels"] = NARROW[-options.get("encoder_depth", 5) :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = REFERENCES[arch](encoder, encoder_weights=None, **options).eval()
    randomise_statistics(reference)
    return reference, options


def convert_model(arch, encoder, reference, **options):
    options = {**SMP_DEFAULTS.get(arch, {}), **options}
    model = create_model(arch, encoder.removeprefix("tu-"), None, **options).eval()
    model.load_state_dict(convert(arch, reference.state_dict()), strict=True)
    return model


def assert_same(reference, model, size=(64, 96), channels=3):
    image = torch.randn(2, channels, *size)
    with torch.no_grad():
        assert_same_logits(reference(image), model(image))


@pytest.mark.parametrize("arch", REFERENCES)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_same_weights_same_logits(arch, encoder):
    reference, options = build_reference(arch, encoder, classes=5)
    model = convert_model(arch, encoder, reference, **options)
    assert parameters(model) == parameters(reference)
    assert_same(reference, model)


@pytest.mark.parametrize(("arch", "encoder", "options"), OPTIONS, ids=str)
def test_options(arch, encoder, options):
    reference, options = build_reference(arch, encoder, in_channels=4, **options)
    model = convert_model(arch, encoder, reference, **options)
    if options.get("decoder_attention_type") is None:
        assert parameters(model) == parameters(reference)
    else:  # SMP's last block has an attention over its skip, which it never has
        idle = [m.attention1 for name, m in reference.decoder.named_modules() if hasattr(m, "attention1")][-1]
        assert parameters(model) == parameters(reference) - parameters(idle)
    assert_same(reference, model, channels=4)


@pytest.mark.parametrize("arch", REFERENCES)
def test_published_parameters(arch):
    with torch.device("meta"):
        assert parameters(create_model(arch, "resnet34", None)) == PARAMETERS[arch]


def test_vgg(tmp_path):
    """There SMP convolves the last map twice more; in UNet++ it makes these layers and forgets them."""
    reference, _ = build_reference("unet", "vgg11", decoder_use_norm=False)
    reference.save_pretrained(tmp_path)
    model = segnb.load_model(tmp_path)
    assert model.config["decoder_center_block"] is True
    assert_same(reference, model)
    assert convert("unetplusplus", {"decoder.center.0.0.weight": torch.zeros(1)}) == {}


def test_unet_at_any_even_size():
    """Both enlarge to the skip's size, whatever it is."""
    reference, options = build_reference("unet", "tu-resnet18")
    assert_same(reference, convert_model("unet", "tu-resnet18", reference, **options), (70, 54))


def test_the_attention_of_ma_net():
    """What a pixel gathers arrives at that pixel, and its weights add to one; SMP's weights need SMP's way."""
    reference, options = build_reference("manet", "tu-resnet18")
    theirs = convert_model("manet", "tu-resnet18", reference, **options)
    assert SMP_DEFAULTS["manet"] == {"scrambled_attention": True}
    assert theirs.decoder.attend.scrambled
    x = torch.randn(2, 512, 3, 5)
    order = torch.randperm(15)
    shuffled = x.flatten(2)[:, :, order].reshape(x.shape)
    ours = create_model("manet", "resnet18", None, **options).decoder.attend
    with torch.no_grad():
        for attend, holds in ((ours, True), (theirs.decoder.attend, False)):
            for conv in (attend.value, attend.mix):  # only the pixel itself
                conv.weight *= torch.eye(3)[1].outer(torch.eye(3)[1])
            expected = attend(x).flatten(2)[:, :, order].reshape(x.shape)
            assert torch.allclose(attend(shuffled), expected, atol=1e-4) == holds
        ours.query.weight.zero_()  # all pixels are alike: each gathers the mean of all
        ours.query.bias.zero_()
        gathered = ours.value(x).mean(dim=(2, 3), keepdim=True)
        torch.testing.assert_close(ours(x), ours.mix(x + gathered), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("arch", REFERENCES)
def test_folders_of_smp(arch, tmp_path):
    options = {} if arch == "linknet" else {"decoder_channels": (48, 32, 24, 16)}
    options |= {"decoder_attention_type": "scse"} if arch.startswith("unet") else {}
    reference, _ = build_reference(arch, "tu-resnet18", encoder_depth=4, classes=3, **options)
    reference.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["decoder_use_batchnorm"] = config.pop("decoder_use_norm") == "batchnorm"  # as SMP before 0.5 wrote it
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = segnb.load_model(tmp_path)
    assert_same(reference, model, (48, 80))
    segnb.save_model(model, tmp_path / "again")
    again = segnb.load_model(tmp_path / "again")
    image = torch.randn(1, 3, 48, 80)
    with torch.no_grad():
        assert torch.equal(again(image), model(image))


def test_bare_state_dict(tmp_path):
    reference, options = build_reference("manet", "tu-resnet18")
    torch.save(reference.state_dict(), tmp_path / "weights.pth")
    model = segnb.load_model(tmp_path / "weights.pth", arch="manet", encoder_name="resnet18", **options)
    assert_same(reference, model)


# --- What SMP cannot do ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", REFERENCES)
@pytest.mark.parametrize(("encoder", "depth"), [("test_resnet", 1), ("test_convnext", 2), ("test_resnet", 3)])
def test_shallow_encoders_at_odd_sizes(arch, encoder, depth):
    model = create_model(arch, encoder, None, classes=2, encoder_depth=depth).train()
    logits = model(torch.randn(2, 3, 37, 51))
    assert logits.shape == (2, 2, 37, 51)
    logits.square().mean().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    assert model.decoder.classify.in_channels == (32 if arch == "linknet" else 16)


@pytest.mark.parametrize("arch", REFERENCES)
@pytest.mark.parametrize("norm", ["groupnorm", "layernorm", "instancenorm"])
def test_norms_that_need_no_batch(arch, norm):
    model = create_model(arch, "test_resnet", None, decoder_use_norm=norm).eval()
    with torch.no_grad():
        for size in ((1, 1), (33, 50)):
            assert model(torch.randn(1, 3, *size)).isfinite().all()


@pytest.mark.parametrize(
    ("arch", "options", "message"),
    [
        ("unetplusplus", {"decoder_channels": (8, 4)}, r"decoder_channels=\(8, 4\): give 5 numbers, coarse to fine"),
        ("manet", {"decoder_channels": 8}, "decoder_channels=8: give 5 numbers"),
        ("unet", {"decoder_attention_type": "se"}, "decoder_attention_type='se': give 'scse', or None"),
        ("manet", {"decoder_interpolation": "cubic"}, "decoder_interpolation='cubic': give 'nearest' or 'bilinear'"),
        ("linknet", {"decoder_use_norm": "batch"}, "decoder_use_norm='batch' is not .* Did you mean 'batchnorm'"),
        ("linknet", {"decoder_use_norm": {"type": "batchnorm"}}, "decoder_use_norm={'type': 'batchnorm'} is not"),
    ],
)
def test_wrong_options(arch, options, message):
    with pytest.raises(SegnbError, match=message):
        create_model(arch, "test_resnet", None, **options)


@pytest.mark.parametrize("arch", REFERENCES)
def test_an_encoder_that_begins_too_late(arch):
    with pytest.raises(SegnbError, match="'test_convnext' has no map of stride 2 or less: give a larger encoder_depth"):
        create_model(arch, "test_convnext", None, encoder_depth=1)
