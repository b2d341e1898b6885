"""UPerNet, DPT and SegFormer give the same logits as segmentation-models-pytorch's, read from the folders that it writes."""

from collections import Counter

import pytest
import torch
from references import assert_same_logits, parameters, randomise_statistics
from torch import nn

import segnb
from segnb.errors import SegnbError
from segnb.models import create_model
from segnb.pretrained.smp import convert

smp = pytest.importorskip("segmentation_models_pytorch")
pytestmark = pytest.mark.parity

SWIN = {"encoder_name": "tu-swin_tiny_patch4_window7_224", "img_size": 64, "depths": (1, 1, 2, 1), "embed_dim": 48}
VIT = {"encoder_name": "tu-test_vit"}
SMALL = {"decoder_intermediate_channels": (16, 24, 32, 40), "decoder_fusion_channels": 24}
REGISTERS = {"encoder_name": "tu-test_vit", "reg_tokens": 3, "dynamic_img_size": True}
CASES = {
    "segformer-mit_b0": (smp.Segformer, {"encoder_name": "mit_b0"}, (96, 128)),
    "segformer-mit_b1-depth-4": (smp.Segformer, {"encoder_name": "mit_b1", "encoder_depth": 4}, (64, 96)),
    "segformer-tu-resnet18": (smp.Segformer, {"encoder_name": "tu-resnet18", "encoder_depth": 4}, (64, 96)),
    "upernet-resnet34": (smp.UPerNet, {"encoder_name": "resnet34", "in_channels": 4, "classes": 1}, (64, 96)),
    "upernet-mit_b0": (smp.UPerNet, {"encoder_name": "mit_b0", "decoder_channels": 32}, (64, 96)),
    "upernet-depth-4": (
        smp.UPerNet,
        {"encoder_name": "tu-resnet18", "encoder_depth": 4, "decoder_channels": 48},
        (64, 96),
    ),
    "upernet-convnext": (smp.UPerNet, {"encoder_name": "tu-convnext_atto", "decoder_channels": 64}, (96, 64)),
    "upernet-convnext-no-norm": (
        smp.UPerNet,
        {"encoder_name": "tu-convnext_atto", "decoder_channels": 32, "decoder_use_norm": False},
        (96, 64),
    ),
    "upernet-swin": (smp.UPerNet, {**SWIN, "decoder_channels": 32}, (64, 64)),
    "upernet-image-head": (
        smp.UPerNet,
        {"encoder_name": "tu-convnext_atto", "decoder_channels": 32, "aux_params": {"classes": 4}},
        (64, 64),
    ),
    "dpt": (smp.DPT, {**VIT, **SMALL}, (160, 160)),
    "dpt-any-size": (smp.DPT, {**VIT, **SMALL, "dynamic_img_size": True}, (96, 160)),
    "dpt-add": (smp.DPT, {**VIT, **SMALL, "decoder_readout": "add", "dynamic_img_size": True}, (64, 96)),
    "dpt-ignore-own-blocks": (
        smp.DPT,
        {
            **VIT,
            **SMALL,
            "decoder_readout": "ignore",
            "encoder_output_indices": [1, 2, 3, 5],
            "dynamic_img_size": True,
        },
        (64, 64),
    ),
    "dpt-three-levels": (
        smp.DPT,
        {
            **VIT,
            "encoder_depth": 3,
            "decoder_intermediate_channels": (16, 24, 32),
            "decoder_fusion_channels": 16,
            "dynamic_img_size": True,
        },
        (64, 96),
    ),
    "dpt-registers": (smp.DPT, {**REGISTERS, **SMALL}, (64, 96)),
    "dpt-registers-add": (smp.DPT, {**REGISTERS, **SMALL, "decoder_readout": "add"}, (64, 96)),
    "dpt-a-register-only": (smp.DPT, {**REGISTERS, **SMALL, "encoder_name": "tu-test_vit4"}, (64, 96)),
    "dpt-no-tokens": (
        smp.DPT,
        {"encoder_name": "tu-test_vit_relpos", **SMALL, "decoder_readout": "ignore"},
        (160, 160),
    ),
}


def randomise(model):
    """Give norms, which start at ones and zeros, and class tokens a say."""
    randomise_statistics(model)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.LayerNorm, nn.BatchNorm2d)):
                module.weight.uniform_(0.5, 1.5, generator=random)
                module.bias.normal_(0, 0.3, generator=random)
        for name, parameter in model.named_parameters():
            if name.endswith(("cls_token", "reg_token", "pos_embed")):
                parameter.normal_(0, 0.5, generator=random)
    return model.eval()


@pytest.mark.parametrize("case", CASES)
def test_same_logits(case, tmp_path):
    build, options, size = CASES[case]
    torch.manual_seed(0)
    reference = randomise(build(**{"encoder_weights": None, "classes": 5, **options}))
    reference.save_pretrained(tmp_path)
    model = segnb.load_model(tmp_path)
    image = torch.randn(2, options.get("in_channels", 3), *size)
    with torch.no_grad():
        expected, found = reference(image), model(image)
        if "aux_params" in options:
            expected, expected_labels = expected
            torch.testing.assert_close(model.forward_all(image).image_logits, expected_labels, atol=1e-4, rtol=1e-4)
    assert_same_logits(expected, found, share=2e-5)
    assert small_numbers(model.encoder) <= small_numbers(reference.encoder)


def small_numbers(encoder):
    """Under the roots of layer norms, counted: a wrong one changes logits too little to see there."""
    return Counter(module.eps for module in encoder.modules() if isinstance(module, nn.LayerNorm))


def test_published_parameters():
    classifier = 768 + 768 + 769 * 21_843  # of ImageNet-21k, and the norm before it: SMP keeps them and never uses them
    with torch.device("meta"):
        assert parameters(create_model("upernet", "resnet34", None)) == 29_599_681
        assert parameters(create_model("segformer", "resnet34", None, stem=True)) == 21_876_545
        assert parameters(create_model("dpt", "vit_base_patch16_224", None)) == 137_806_420 - classifier


def test_bare_state_dict_of_a_mix_transformer(tmp_path):
    reference = randomise(smp.Segformer("mit_b0", encoder_weights=None, classes=3))
    torch.save(reference.state_dict(), tmp_path / "weights.pth")
    model = segnb.load_model(tmp_path / "weights.pth", arch="segformer", encoder_name="mit_b0")
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert_same_logits(reference(image), model(image))


def test_dpt_that_projects_without_a_token_is_refused(tmp_path):
    with pytest.warns(UserWarning, match="does not have prefix tokens"):
        reference = smp.DPT("tu-test_vit_relpos", encoder_weights=None, **SMALL)
    reference.save_pretrained(tmp_path)
    with pytest.raises(SegnbError, match=r"unexpected \(decoder\.tell\.0"):
        segnb.load_model(tmp_path)


def test_nothing_of_an_encoder_is_lost():
    reference = smp.UPerNet("mit_b0", encoder_weights=None)
    assert len(convert("upernet", reference.state_dict())) == len(reference.state_dict())


@pytest.mark.parametrize("readout", ["cat", "add"])
@pytest.mark.parametrize("encoder", ["eva02_tiny_patch14_224", "test_vit2", "levit_128s", "test_convnext"])
def test_dpt_learns_with_every_weight_on_any_encoder(encoder, readout):
    """Patches of 14, a register without class token, one size only, scales of its own."""
    model = create_model("dpt", encoder, None, classes=2, decoder_readout=readout, **SMALL).train()
    logits = model(torch.randn(1, 3, 70, 53))
    assert logits.shape == (1, 2, 70, 53)
    logits.square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("norm", ["groupnorm", "layernorm", "instancenorm", False])
def test_upernet_trains_on_one_picture_with_every_norm(norm):
    model = create_model("upernet", "test_resnet", None, decoder_channels=32, decoder_use_norm=norm).train()
    model(torch.randn(1, 3, 64, 64)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_dpt_options_are_checked():
    with pytest.raises(SegnbError, match="decoder_readout='mean': give 'cat', 'add' or 'ignore'"):
        create_model("dpt", "test_vit", None, decoder_readout="mean")
    with pytest.raises(SegnbError, match=r"decoder_intermediate_channels=\(8, 8\): give 4 numbers, one for each level"):
        create_model("dpt", "test_vit", None, decoder_intermediate_channels=(8, 8))
