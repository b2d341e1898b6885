"""Segmenter and K-Net, and the heads of SMP and torchvision in the layouts of MMSegmentation."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segnb.blocks import ASPP, ConvNormAct
from segnb.decoders.query.knet import Adapt, ApplyKernels, KNet, Update
from segnb.decoders.query.segmenter import Compare, Segmenter
from segnb.errors import SegnbError
from segnb.models import create_model
from segnb.optimizing import optimize
from segnb.parts.contexts import PyramidPooling
from segnb.pretrained.mmseg.keys import MARKS
from segnb.pretrained.mmseg.keys.plain import coarse_first, summary_last
from segnb.pretrained.mmseg.reading import find_method

TINY = "test_resnet"


def maps(*channels, side=8):
    return [torch.randn(2, count, side // 2**level, side // 2**level) for level, count in enumerate(channels)]


# --- Segmenter ------------------------------------------------------------------------------------------------------


def test_classes_are_compared_by_angle_and_normalised_at_each_patch():
    compare = Compare(3)
    nn.init.uniform_(compare.normalise.weight)
    nn.init.uniform_(compare.normalise.bias)
    x, classes = torch.randn(2, 16, 4, 5), torch.randn(2, 3, 16)
    found = compare(x, classes)
    for picture in range(2):
        for row, column in [(0, 0), (3, 4)]:
            patch = x[picture, :, row, column]
            cosines = torch.stack([F.cosine_similarity(patch, each, dim=0) for each in classes[picture]])
            spread = (cosines - cosines.mean()) / (cosines.var(correction=0) + 1e-5).sqrt()
            expected = spread * compare.normalise.weight + compare.normalise.bias
            torch.testing.assert_close(found[picture, :, row, column], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(compare(5 * x, 0.1 * classes), found, atol=1e-4, rtol=1e-4)


def test_a_single_class_still_tells_patches_apart():
    """A norm over one class would give its bias everywhere."""
    logits = Segmenter([16], 1, width=64).eval()(maps(16))
    assert logits.shape == (2, 1, 8, 8)
    assert logits.std() > 1e-3
    logits.square().mean().backward()


def test_patches_in_another_order_are_classified_the_same():
    """Attention knows no places: those are in the encoder's map."""
    decoder, (x,) = Segmenter([16], 4, width=64).eval(), maps(16)
    with torch.no_grad():
        torch.testing.assert_close(decoder([x.flip(3)]), decoder([x]).flip(3), atol=1e-4, rtol=1e-4)


def test_classes_have_seen_the_picture():
    """Another corner changes the logits of a patch; a plain classifier's would stay."""
    decoder, (x,) = Segmenter([16], 4, width=64).eval(), maps(16)
    changed = x.clone()
    changed[..., -4:, -4:] = 0
    with torch.no_grad():
        assert (decoder([changed]) - decoder([x]))[..., 0, 0].abs().max() > 1e-4


@pytest.mark.parametrize("width", [0, 96, 32])
def test_width_is_a_multiple_of_a_heads_channels(width):
    with pytest.raises(SegnbError, match=f"width={width}: give a multiple of 64"):
        create_model("segmenter", TINY, None, width=width)


# --- K-Net ----------------------------------------------------------------------------------------------------------


def randomise(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0, 0.5)
    return module.eval()


def test_kernels_are_adapted_as_the_equations_say():
    """Equations 4 and 5, for one piece of one kernel."""
    adapt = randomise(Adapt(512))
    kernels, regions = torch.randn(2, 3, 512), torch.randn(2, 3, 512)
    with torch.no_grad():
        found = adapt(kernels, regions)[1, 2, 256:]
        kernel, region = kernels[1, 2, 256:], regions[1, 2, 256:]
        phi_region, psi_region = (adapt.see_region.weight @ region + adapt.see_region.bias).split(256)
        phi_kernel, psi_kernel = (adapt.see_kernel.weight @ kernel + adapt.see_kernel.bias).split(256)
        agreement = phi_region * phi_kernel
        gate_region, gate_kernel = adapt.weigh_region(agreement).sigmoid(), adapt.weigh_kernel(agreement).sigmoid()
        mixed = gate_region * adapt.norm_region(psi_region) + gate_kernel * adapt.norm_kernel(psi_kernel)
        torch.testing.assert_close(found, adapt.mix(mixed), atol=1e-4, rtol=1e-4)


def test_a_region_is_the_sum_of_its_pixels(monkeypatch):
    """Equation 3: each pixel counts as much as it belongs to the class."""
    update, seen = Update(64).eval(), []
    monkeypatch.setattr(update.adapt, "forward", lambda kernels, regions: seen.append(regions) or kernels)
    x, kernels = torch.randn(1, 64, 2, 2), torch.randn(1, 3, 64)
    logits = torch.full((1, 3, 2, 2), -100.0)
    logits[0, 0, 0], logits[0, 1, 1, 0], logits[0, 2, 1, 1] = 100, 100, 100
    with torch.no_grad():
        pixels, _ = update(x, kernels, logits)
    expected = torch.stack([pixels[0, :, 0].sum(dim=1), pixels[0, :, 1, 0], pixels[0, :, 1, 1]])
    torch.testing.assert_close(seen[0][0], expected, atol=1e-4, rtol=1e-4)


def test_a_single_class_gathers_where_it_is(monkeypatch):
    update, seen = Update(64).eval(), []
    monkeypatch.setattr(update.adapt, "forward", lambda kernels, regions: seen.append(regions) or kernels)
    logits = torch.tensor([[100.0, -100.0]]).reshape(1, 1, 1, 2)
    with torch.no_grad():
        pixels, _ = update(torch.randn(1, 64, 1, 2), torch.randn(1, 1, 64), logits)
    torch.testing.assert_close(seen[0][0, 0], pixels[0, :, 0, 0], atol=1e-4, rtol=1e-4)


def test_kernels_are_the_weights_of_a_convolution():
    x, weights = torch.randn(2, 6, 3, 4), torch.randn(2, 5, 6)
    expected = torch.cat([F.conv2d(x[i : i + 1], weights[i, :, :, None, None]) for i in range(2)])
    torch.testing.assert_close(ApplyKernels()(x, weights), expected)


def test_stages_of_a_knet():
    decoder, features = KNet([8, 16, 24, 32], 3, width=64, rounds=2).eval(), maps(8, 16, 24, 32)
    with torch.no_grad():
        stages, clues = decoder.forward_all(features)
        first = decoder.guess(decoder.decode(features))
    assert [stage.shape for stage in stages] == [(2, 3, 8, 8)] * 3
    assert clues == {}
    torch.testing.assert_close(stages[0], first)
    torch.testing.assert_close(stages[-1], decoder(features))


@pytest.mark.parametrize("head", ["pspnet", "fcn", "deeplabv3"])
def test_heads_on_one_level(head):
    model = create_model("knet", TINY, None, classes=3, head=head, width=64, rounds=1, encoder_output_stride=8)
    assert model.encoder.strides == (8,)
    outputs = model.train().forward_all(torch.randn(1, 3, 40, 50))
    assert outputs.logits.shape == (1, 3, 40, 50)
    assert outputs.decoded.shape == (1, 64, 5, 7)
    sum(stage.square().mean() for stage in (outputs.logits, *outputs.stages)).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    again = create_model(encoder_weights=None, **model.config)
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}


def test_unknown_heads_are_refused():
    with pytest.raises(SegnbError, match="head='unet': give 'upernet', 'pspnet', 'fcn' or 'deeplabv3'"):
        create_model("knet", TINY, None, head="unet")


# --- Layouts of other heads -----------------------------------------------------------------------------------------

LAYOUTS = [
    ("fcn", {"convs": 3}),
    ("fcn", {"convs": 0}),
    ("fcn", {"convs": 1, "width": 24}),
    ("pspnet", {"as_published": True, "psp_out_channels": 32}),
    ("pspnet", {"as_published": True, "psp_out_channels": 32, "align_corners": True}),
    ("deeplabv3", {"refine": False, "decoder_channels": 32}),
    ("deeplabv3plus", {"refine_after": True, "decoder_channels": 32, "decoder_fine_channels": 12}),
    ("segformer", {"level_norms": True}),
    ("upernet", {"level_norm_eps": None, "decoder_channels": 32}),
    ("knet", {"head": "deeplabv3", "width": 64}),
    ("knet", {"head": "pspnet", "width": 64}),
    ("knet", {"head": "fcn", "width": 64}),
]


@pytest.mark.parametrize(("arch", "options"), LAYOUTS)
def test_every_layout_trains_and_is_optimised(arch, options):
    torch.manual_seed(0)
    model = create_model(arch, TINY, None, classes=3, **options).train()
    outputs = model.forward_all(torch.randn(1, 3, 64, 64))
    sum(stage.square().mean() for stage in (outputs.logits, *outputs.stages)).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    fast = optimize(model.eval())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.decoder.modules())
    for size in [(64, 96), (33, 47), (1, 1)]:
        image = torch.randn(2, 3, *size)
        with torch.no_grad():
            expected = model(image)
            assert expected.shape == (2, 3, *size)
            assert (fast(image) - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_a_linear_classifier_is_one_matrix():
    model = create_model("fcn", "test_vit", None, classes=3, convs=0, encoder_output_stride=16).eval()
    assert sum(parameter.numel() for parameter in model.decoder.parameters()) == 3 * (model.encoder.channels[0] + 1)


def test_numbers_of_convolutions_are_checked():
    with pytest.raises(SegnbError, match="convs=2: give 0, 1 or 3"):
        create_model("fcn", TINY, None, convs=2)


def test_depthwise_convolutions_may_be_normalised_too():
    layers = [type(layer).__name__ for layer in ConvNormAct(4, 6, separable=True, norm_depthwise=True)]
    assert layers == ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d", "ReLU"]


def test_windows_are_enlarged_with_the_corners_in_place():
    torch.manual_seed(0)
    plain, aligned = PyramidPooling(4, 4).eval(), PyramidPooling(4, 4, align_corners=True).eval()
    aligned.load_state_dict(plain.state_dict())
    x = torch.randn(1, 4, 12, 12)
    with torch.no_grad():
        assert (plain(x) - aligned(x)).abs().max() > 1e-3
        torch.testing.assert_close(plain(x[..., :1, :1]), aligned(x[..., :1, :1]))


# --- Checkpoints ----------------------------------------------------------------------------------------------------


def test_the_mean_of_a_dilated_pyramid_comes_last():
    pool = ASPP(4, 3, (1, 2), dropout=0.0, kernel_size=3).eval()
    weight = pool.project[0][0].weight.detach()
    theirs = torch.cat([weight[:, 9:], weight[:, :9]], dim=1)  # the mean first, as MMSegmentation joins
    assert torch.equal(summary_last({"w": theirs}, "w")["w"], weight)


def test_coarse_levels_come_first():
    theirs = torch.arange(4.0).repeat_interleave(2).repeat(2, 1)[..., None, None]
    found = coarse_first({"decoder.mix.0.weight": theirs})["decoder.mix.0.weight"]
    assert found[0].flatten().tolist() == [3, 3, 2, 2, 1, 1, 0, 0]


HEADS = {
    "upernet": ["psp_modules.0.1.conv.weight", "fpn_bottleneck.conv.weight"],
    "pspnet": ["psp_modules.0.1.conv.weight", "bottleneck.conv.weight"],
    "deeplabv3": ["aspp_modules.0.conv.weight", "bottleneck.conv.weight"],
    "deeplabv3plus": ["aspp_modules.0.conv.weight", "sep_bottleneck.0.depthwise_conv.conv.weight"],
    "fcn": ["convs.0.conv.weight", "conv_cat.conv.weight"],
    "segformer": ["convs.0.conv.weight", "fusion_conv.conv.weight"],
    "gcnet": ["convs.0.conv.weight", "conv_cat.conv.weight", "gc_block.conv_mask.weight"],
    "apcnet": ["acm_modules.0.fusion_conv.conv.weight", "bottleneck.conv.weight"],
    "knet": ["kernel_generate_head.psp_modules.0.1.conv.weight", "kernel_generate_head.bottleneck.conv.weight"],
    "segmenter": ["cls_emb", "mask_norm.weight"],
}


@pytest.mark.parametrize("arch", HEADS)
def test_heads_with_names_of_others_are_told_apart(arch, tmp_path):
    """In any order of the file."""
    names = [*(f"decode_head.{name}" for name in HEADS[arch]), "decode_head.conv_seg.weight", "backbone.conv1.weight"]
    for given in (names, names[::-1]):
        assert find_method(tmp_path, dict.fromkeys(given)) == arch
    assert arch in MARKS


def test_a_head_that_only_classifies_is_a_linear_one(tmp_path):
    assert find_method(tmp_path, dict.fromkeys(["decode_head.conv_seg.weight", "decode_head.conv_seg.bias"])) == "fcn"
