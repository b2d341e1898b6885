"""The optimised copy: the same logits at any size, the original as it was, files that gain too."""

import copy
import io

import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from building import build_any, pairs
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import BatchNormAct2d
from torch import nn

import segnb
from segnb.blocks import ASPP, ConvNormAct, resize_like
from segnb.errors import SegnbError
from segnb.models import list_models
from segnb.optimizing import layers, model, optimize, winograd
from segnb.optimizing.enlarging import DoubledConv, ResizedConv, doubled_transposed
from segnb.optimizing.folding import fuse_graph, fuse_sequences, is_norm
from segnb.optimizing.layers import Conv, Linear

SIZES = [(64, 96), (33, 47), (65, 130), (1, 1)]
# Norms that come before a convolution, or after maps are joined. DMNet's filters come from the picture: there is no kernel to
# fold norms into.
LEFT = {"bisenetv2": 1, "cgnet": 27, "ddrnet": 13, "dmnet": 4, "erfnet": 3, "pidnet": 11}
OPTIONS = [
    ("fpn", {"decoder_merge_policy": "cat", "encoder_depth": 4}),
    ("unet", {"decoder_attention_type": "scse", "encoder_depth": 3}),
    ("unet", {"decoder_interpolation": "bilinear", "decoder_use_norm": "groupnorm"}),
    ("unet", {"decoder_use_norm": "layernorm", "decoder_center_block": True}),
    ("unetplusplus", {"decoder_use_norm": "identity"}),
    ("manet", {"decoder_interpolation": "bilinear"}),
    ("manet", {"decoder_use_norm": "groupnorm", "encoder_depth": 2}),
    ("linknet", {"decoder_use_norm": "groupnorm"}),
    ("segformer", {"stem": True, "align_corners": True}),
    ("upernet", {"decoder_use_norm": "groupnorm", "align_corners": True}),
    ("deeplabv3plus", {"decoder_aspp_separable": False, "encoder_output_stride": 8}),
    ("deeplabv3", {"decoder_aspp_separable": True, "align_corners": True}),
    ("fcn", {"auxiliary": True}),
    ("fpn", {"decoder_use_norm": "batchnorm", "smooth": True}),
    ("fastfcn", {"head": "aspp", "width": 32}),
    ("fastfcn", {"head": "enc", "width": 32}),
    ("setr", {"upsample": "pup", "width": 32}),
]


def build(arch, encoder="test_resnet", classes=3, **options):
    """A model whose batch normalisation does something."""
    torch.manual_seed(0)
    built = build_any(arch, encoder, classes=classes, **options)
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    return built.eval()


def assert_close(expected, found, share=1e-4):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= share * expected.abs().max()


def assert_same_logits(original, fast, sizes=SIZES):
    for size in sizes:
        image = torch.randn(2, original.in_channels, *size)
        with torch.no_grad():
            assert_close(original(image), fast(image))


@pytest.mark.parametrize(("arch", "encoder"), pairs("test_resnet", "test_vit"))
def test_same_logits_at_any_size(arch, encoder):
    original = build(arch, encoder)
    fast = optimize(original)
    assert_same_logits(original, fast)
    pixels = torch.randint(0, 256, (1, 3, 50, 71), dtype=torch.uint8)
    with torch.no_grad():
        assert_close(original(pixels), fast(pixels))


@pytest.mark.parametrize("arch", list_models())
def test_every_decoder_is_rewritten_or_at_least_fused(arch):
    original = build(arch, "test_convnext", classes=1)
    fast = optimize(original)
    assert_same_logits(original, fast, [(64, 64), (51, 37)])
    assert any(type(module) is Conv for module in fast.decoder.modules())
    left = [module for module in fast.modules() if is_norm(module) or type(module) in (nn.Conv2d, nn.Linear)]
    assert len(left) == LEFT.get(arch, 0)


@pytest.mark.parametrize(("arch", "options"), OPTIONS)
def test_same_logits_with_options(arch, options):
    original = build(arch, **options)
    assert_same_logits(original, optimize(original), [(64, 64), (51, 37)])


@pytest.mark.parametrize("readout", ["cat", "add", "ignore"])
def test_transformers_with_tokens(readout):
    original = build("dpt", "test_vit", decoder_readout=readout, decoder_use_norm="identity", align_corners=True)
    assert_same_logits(original, optimize(original))


@pytest.mark.parametrize(
    "encoder",
    ["hrnet_w18_small", "mobilevitv2_050", "levit_128s", "tf_efficientnet_lite0", "regnety_002", "repvgg_a0"],
)
def test_encoders_of_all_kinds(encoder):
    original = build("fpn", encoder)
    fast = optimize(original)
    assert_same_logits(original, fast, [(97, 65)])
    left = sum(is_norm(module) for module in fast.encoder.modules())
    assert left <= 0.3 * sum(
        is_norm(module) for module in original.encoder.modules()
    )  # repvgg has some without convolution


def test_no_batch_normalisation_is_left_in_a_resnet_unet():
    fast = optimize(build("unet", "resnet18"))
    assert not any(isinstance(module, (nn.BatchNorm2d, BatchNormAct2d)) for module in fast.modules())
    assert [type(module).__name__ for module in fast.decoder.blocks] == ["FastUpBlock"] * 5


def test_it_can_be_neither_trained_nor_saved(tmp_path):
    fast = optimize(build("fpn"))
    with pytest.raises(
        SegnbError, match="an optimised model is for inference only: train the model that it was made from"
    ):
        fast.train()
    with pytest.raises(SegnbError, match="an optimised model cannot be saved: save the model that it was made from"):
        segnb.save_model(fast, tmp_path)


def test_the_original_is_left_as_it_was():
    original = build("manet").train()
    original.freeze_encoder()
    original.notes = {"source": "here"}
    before = copy.deepcopy(original.state_dict())
    learning = [parameter.requires_grad for parameter in original.parameters()]
    fast = optimize(original)
    with torch.no_grad():
        for parameter in fast.parameters():
            parameter.add_(1)
    assert original.training
    assert not original.encoder.training
    assert [parameter.requires_grad for parameter in original.parameters()] == learning
    assert all(torch.equal(tensor, before[name]) for name, tensor in original.state_dict().items())
    assert (fast.classes, fast.label_names, fast.notes) == (original.classes, original.label_names, {"source": "here"})
    assert (fast.palette == original.palette).all()


def test_the_copy_has_no_gradients_but_passes_them_to_the_picture():
    original = build("unet")
    fast = optimize(original)
    assert not fast.training
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    image = torch.randn(1, 3, 33, 40)
    assert not fast(image).requires_grad
    gradients = []
    for each in (original, fast):
        image.grad = None
        each(image.requires_grad_()).sum().backward()
        gradients.append(image.grad)
    assert_close(*gradients, share=1e-3)


def test_the_copy_cannot_be_trained_or_optimised_again():
    fast = optimize(build("fcn"))
    with pytest.raises(
        SegnbError, match="an optimised model is for inference only: train the model that it was made from"
    ):
        fast.train()
    with pytest.raises(SegnbError, match="optimised already"):
        optimize(fast)
    assert not fast.eval().training
    assert not segnb.optimize(build("fcn")).training


def test_intermediate_outputs_stay_reachable():
    original = build("segformer", aux_params={"classes": 4}, auxiliary=True)
    fast = optimize(original)
    image = torch.randn(1, 3, 65, 40)
    with torch.no_grad():
        expected, found = original.forward_all(image), fast.forward_all(image)
    assert_close(expected.logits, found.logits)
    assert_close(expected.decoded, found.decoded)
    assert_close(expected.image_logits, found.image_logits)
    assert found.stages == []  # the auxiliary head is for training


def test_copies_and_files_leave_prepared_weights_out():
    fast = optimize(build("unet"))
    image = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        expected = fast(image)
        assert any(getattr(module, "prepared", None) is not None for module in fast.modules())
        copied = copy.deepcopy(fast)
        assert all(getattr(module, "prepared", None) is None for module in copied.modules())
        file = io.BytesIO()
        torch.save(fast, file)
        file.seek(0)
        for again in (copied, torch.load(file, weights_only=False)):
            assert torch.equal(again(image), expected)


def test_other_dtypes_run_step_by_step():
    original = build("unet").double()
    fast = optimize(original)
    image = torch.randn(1, 3, 40, 40, dtype=torch.float64)
    with torch.no_grad():
        assert fast(image).dtype == torch.float64
        assert_close(original(image), fast(image))


@pytest.mark.parametrize("arch", ["unet", "upernet", "deeplabv3plus"])
def test_without_onednn_the_same(arch, monkeypatch):
    original = build(arch)
    monkeypatch.setattr(layers, "AVAILABLE", False)
    assert_same_logits(original, optimize(original))


def test_a_part_that_does_not_agree_stays_as_it_was(monkeypatch):
    def wrong(decoder):
        decoder.classify.bias.data += 1
        return decoder

    def broken(backbone):
        raise TypeError("cannot be traced")

    original = build("unet")
    monkeypatch.setattr(model, "rewrite", wrong)
    monkeypatch.setattr(model, "fuse_graph", broken)
    monkeypatch.setattr(model, "fuse_parts", broken)
    fast = optimize(original)
    assert_same_logits(original, fast)
    assert [type(block).__name__ for block in fast.decoder.blocks] == ["UpBlock"] * 5
    assert sum(map(is_norm, fast.modules())) == sum(map(is_norm, original.modules()))


def test_the_exported_copy_agrees_at_any_size(tmp_path):
    original = build("unet", "test_efficientnet")
    report = segnb.export(optimize(original), tmp_path / "fast.onnx", size=(64, 64))
    session = onnxruntime.InferenceSession(report.path)
    for size in [(64, 96), (33, 47), (34, 65), (130, 97)]:  # sides that halve evenly, and not
        image = torch.randn(1, 3, *size)
        with torch.no_grad():
            assert_close(original(image), torch.from_numpy(session.run(None, {"image": image.numpy()})[0]))


@pytest.mark.parametrize("arch", ["fpn", "manet", "linknet", "segformer", "upernet", "deeplabv3", "dpt"])
def test_the_copy_is_traced_for_any_size(arch):
    original = build(arch, "test_efficientnet" if arch != "dpt" else "test_vit")
    fast, dynamic = optimize(original), torch.export.Dim.DYNAMIC
    program = torch.export.export(
        fast, (torch.randn(2, 3, 65, 97),), dynamic_shapes=({0: dynamic, 2: dynamic, 3: dynamic},)
    )
    for size in [(64, 96), (47, 34)]:
        image = torch.randn(1, 3, *size)
        with torch.no_grad():
            assert_close(original(image), program.module()(image))


# --- The identities -------------------------------------------------------------------------------------------------

SIDES = st.integers(1, 9)


@settings(max_examples=20)
@given(height=SIDES, width=SIDES, less=st.tuples(st.integers(0, 1), st.integers(0, 1)))
def test_doubling_then_convolving(height, width, less):
    weight, bias = torch.randn(5, 7, 3, 3), torch.randn(5)
    x, like = torch.randn(2, 7, height, width), torch.empty(2, 0, 2 * height - less[0], 2 * width - less[1])
    expected = F.conv2d(resize_like(x, like, mode="nearest"), weight, bias, padding=1).relu()
    torch.testing.assert_close(DoubledConv(weight, bias, nn.ReLU())(x, like), expected, atol=1e-4, rtol=1e-4)
    expected = F.conv2d(F.interpolate(x, scale_factor=2.0), weight, bias, padding=1).relu()
    torch.testing.assert_close(DoubledConv(weight, bias, nn.ReLU())(x), expected, atol=1e-4, rtol=1e-4)


@settings(max_examples=20)
@given(sides=st.tuples(SIDES, SIDES), fine=st.tuples(st.integers(1, 40), st.integers(1, 40)), align=st.booleans())
def test_resizing_then_convolving(sides, fine, align):
    weight, bias, x = torch.randn(5, 7, 3, 3), torch.randn(5), torch.randn(2, 7, *sides)
    expected = F.conv2d(F.interpolate(x, fine, mode="bilinear", align_corners=align), weight, bias, padding=1)
    torch.testing.assert_close(ResizedConv(weight, align, bias)(x, *fine), expected, atol=1e-4, rtol=1e-4)


def test_transposed_convolution():
    conv, x = nn.ConvTranspose2d(7, 5, 4, stride=2, padding=1), torch.randn(2, 7, 3, 6)
    torch.testing.assert_close(doubled_transposed(conv)(x), conv(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("gap", "size"), [(1, (16, 16)), (1, (21, 19)), (2, (32, 29)), (4, (31, 32))])
def test_multiplying_fewer_times(gap, size, bias):
    plain = nn.Conv2d(128, 130, 3, padding=gap, dilation=gap, bias=bias)
    x, plus = torch.randn(2, 128, *size), torch.randn(2, 130, *size)
    conv = Conv(plain, nn.ReLU())
    with torch.no_grad():
        assert winograd.pays(conv, x)
        assert_close((plain(x) + plus).relu(), conv(x, plus=plus), share=1e-5)
        assert conv.prepared[0] == "tiles"
    assert not winograd.pays(conv, x[..., :4, :4])


@pytest.mark.parametrize("act", [nn.Identity(), nn.ReLU(), nn.ReLU6(), nn.SiLU(), nn.Hardswish(), nn.Sigmoid()])
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"groups": 6, "dilation": 2}])
def test_a_convolution_with_what_follows(act, options):
    plain = nn.Conv2d(6, 6, 3, padding=options.get("dilation", 1), **options)
    conv = Conv(plain, act)
    with torch.no_grad():
        for size in [(9, 13), (9, 13), (20, 5), (1, 1)]:
            x = 4 * torch.randn(2, 6, *size)
            torch.testing.assert_close(conv(x), act(plain(x)), atol=1e-5, rtol=1e-4)
            plus = torch.randn_like(conv(x))
            torch.testing.assert_close(conv(x, plus=plus), act(plain(x) + plus), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("gap", [3, 8, 36])
def test_a_depthwise_convolution_with_wide_gaps(gap):
    plain = nn.Conv2d(6, 6, 3, padding=gap, dilation=gap, groups=6)
    for size in [(7, 9), (16, 6), (1, 2)]:
        x = torch.randn(2, 6, *size)
        with torch.no_grad():
            torch.testing.assert_close(Conv(plain)(x), plain(x), atol=1e-5, rtol=1e-4)


def test_a_linear_layer():
    plain = nn.Linear(12, 20)
    linear = Linear(plain)
    with torch.no_grad():
        for shape in [(3, 12), (2, 5, 12), (2, 3, 4, 12), (0, 12)]:
            x = torch.randn(shape)
            torch.testing.assert_close(linear(x), plain(x), atol=1e-5, rtol=1e-4)


# --- Folding --------------------------------------------------------------------------------------------------------


def normalised(norm):
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    nn.init.uniform_(norm.weight, -1, 1)
    nn.init.normal_(norm.bias)
    return norm


def test_sequences_are_fused():
    sequence = nn.Sequential(
        nn.Conv2d(4, 6, 3),
        normalised(nn.BatchNorm2d(6)),
        nn.Identity(),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.ConvTranspose2d(6, 5, 2, stride=2, bias=False),
        normalised(nn.BatchNorm2d(5)),
        ConvNormAct(5, 4, norm=nn.Identity),
        ConvNormAct(4, 4, separable=True),
        normalised(nn.BatchNorm2d(4)),  # after an activation: stays
    ).eval()
    x = torch.randn(2, 4, 9, 9)
    with torch.no_grad():
        expected = sequence(x)
        fuse_sequences(sequence)
        torch.testing.assert_close(sequence(x), expected, atol=1e-5, rtol=1e-4)
    assert [type(layer).__name__ for layer in sequence] == [
        "Conv",
        "ConvTranspose2d",
        "ConvNormAct",
        "ConvNormAct",
        "BatchNorm2d",
    ]
    assert len(sequence[2]) == 1
    assert len(sequence[3]) == 2


class Knots(nn.Module):
    """Where a normalisation must not be folded."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.twice, self.last = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(4))
        self.norm_one, self.norm_two, self.norm_twice = (normalised(nn.BatchNorm2d(4)) for _ in range(3))
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        one = self.one(x)
        seen_twice = self.norm_one(one) + one  # the convolution's own output is used, too
        called_twice = self.norm_twice(self.twice(self.twice(seen_twice)))
        return self.act(self.last(called_twice) + self.norm_two(self.two(x))) + called_twice


def test_only_what_is_used_once_is_folded():
    knots = Knots().eval()
    x = torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        fused = fuse_graph(knots)
        torch.testing.assert_close(fused(x), knots(x), atol=1e-5, rtol=1e-4)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in fused.modules()) == 2
    assert type(knots.one) is nn.Conv2d


def test_the_mean_of_a_map_is_a_bias():
    pool = ASPP(12, 8, (1, 2), dropout=0).eval()
    x = torch.randn(3, 12, 7, 5)
    with torch.no_grad():
        expected = pool(x)
        from segnb.optimizing.rewriting import FastASPP

        fuse_sequences(pool)
        torch.testing.assert_close(FastASPP(pool)(x), expected, atol=1e-5, rtol=1e-4)
