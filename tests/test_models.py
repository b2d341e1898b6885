"""Whole models: any size, any backbone, any channels; every weight learns."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from building import TINY, build_any, pairs, training_loss
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from segnb.blocks import PooledBatchNorm, resize_like
from segnb.decoders import DECODERS
from segnb.errors import SegnbError
from segnb.models import class_names, create_model, list_models
from segnb.networks import NETWORKS

ARCHITECTURES = list_models()
# Earlier logits that an architecture learns by, too.
STAGES = {
    "bisenetv1": 2,
    "bisenetv2": 4,
    "danet": 2,
    "ddrnet": 1,
    "fastscnn": 2,
    "icnet": 2,
    "knet": 3,
    "ocrnet": 1,
    "pidnet": 1,
    "pointrend": 1,
    "setr": 4,
    "stdc": 2,
}

# One of each kind: a plain hierarchy, no stride 2, channels last, high resolution, patches of 16, of 14, of 32 and one size,
# a transformer with convolutions, one size only, rounding to even.
BACKBONES = [
    "test_resnet",
    "test_convnext",
    "test_mambaout",
    "swin_tiny_patch4_window7_224",
    "hrnet_w18_small",
    "test_vit",
    "eva02_tiny_patch14_224",
    "xcit_nano_12_p16_224",
    "levit_128s",
    "test_coatnet",
    "mobilevitv2_050",
    "pvt_v2_b0",
]


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    return {arch: build_any(arch, classes=3).eval() for arch in ARCHITECTURES}


def test_list_models():
    assert {"deeplabv3plus", "fcn", "fpn", "segformer", "unet"} <= set(list_models())
    assert list_models() == sorted(list_models())


@pytest.mark.parametrize("arch", ARCHITECTURES)
@settings(max_examples=15)
@given(size=st.tuples(st.integers(1, 80), st.integers(1, 80)))
def test_logits_have_the_size_of_the_picture(arch, size, models):
    with torch.no_grad():
        logits = models[arch](torch.randn(1, 3, *size))
    assert logits.shape == (1, 3, *size)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("arch", ARCHITECTURES)
@settings(max_examples=6)
@given(channels=st.integers(1, 6), classes=st.integers(1, 12))
def test_any_channels_and_classes(arch, channels, classes):
    model = build_any(arch, "test_efficientnet", in_channels=channels, classes=classes).eval()
    with torch.no_grad():
        logits = model(torch.randn(1, channels, 40, 36))
    assert logits.shape == (1, classes, 40, 36)
    assert (model.in_channels, model.num_classes) == (channels, classes)
    assert len(model.label_names) == len(model.palette) == max(2, classes)


@pytest.mark.parametrize("encoder_name", BACKBONES)
def test_every_backbone_learns_with_every_weight(encoder_name):
    model = create_model("unet", encoder_name, None, classes=2).train()
    logits = model(torch.randn(2, 3, 70, 53))
    assert logits.shape == (2, 2, 70, 53)
    logits.square().sum().backward()
    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert idle == []


@pytest.mark.parametrize(("arch", "encoder_name"), pairs("test_resnet", "test_convnext", "test_vit"))
def test_every_architecture_learns_with_every_weight_from_one_picture(arch, encoder_name):
    model = build_any(arch, encoder_name, classes=2).train()
    outputs, labels = model.forward_all(torch.randn(1, 3, 64, 64)), torch.zeros(1, 64, 64, dtype=torch.long)
    training_loss(model, outputs, labels, F.cross_entropy).backward()
    learning = [(name, p.grad) for name, p in model.named_parameters() if p.requires_grad]
    idle = [name for name, gradient in learning if gradient is None or not torch.isfinite(gradient).all()]
    assert idle == []


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_batches_do_not_mix_and_portrait_is_as_good_as_landscape(arch, models):
    images = torch.randn(3, 3, 50, 34)
    with torch.no_grad():
        together = models[arch](images)
        alone = torch.cat([models[arch](image[None]) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_uint8_is_normalised_as_the_encoder_was_trained(models):
    model = models["unet"]
    assert model.mean.flatten().tolist() == pytest.approx(model.encoder.mean)
    pixels = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (model.encoder.mean, model.encoder.std))
    with torch.no_grad():
        torch.testing.assert_close(model(pixels), model((pixels.float() / 255 - mean) / std))


def test_uint8_with_one_and_five_channels():
    for channels in (1, 5):
        model = create_model("fpn", "test_efficientnet", None, in_channels=channels).eval()
        pixels = torch.randint(0, 256, (1, channels, 33, 33), dtype=torch.uint8)
        with torch.no_grad():
            torch.testing.assert_close(model(pixels), model((pixels.float() / 255 - model.mean) / model.std))


def test_normalisation_is_not_part_of_the_weights(models):
    assert {"mean", "std"} & models["unet"].state_dict().keys() == set()
    assert models["unet"].to(torch.float64).mean.dtype == torch.float64
    models["unet"].to(torch.float32)


def test_labels_and_probabilities():
    binary = create_model("unet", "test_efficientnet", None, classes=["road"])
    logits = torch.tensor([-1.0, 0.0, 2.0]).reshape(1, 1, 1, 3)
    assert binary.labels(logits).tolist() == [[[0, 0, 1]]]
    assert binary.labels(logits).dtype == torch.uint8
    assert binary.probabilities(logits).flatten().tolist() == pytest.approx([0.26894, 0.5, 0.88080], abs=1e-5)
    assert binary.label_names == ["background", "road"]
    several = create_model("unet", "test_efficientnet", None, classes=["sky", "road", "car"])
    logits = torch.tensor([[0.0, 3.0], [1.0, 2.0], [0.5, 4.0]]).reshape(1, 3, 1, 2)
    assert several.labels(logits).tolist() == [[[1, 2]]]
    torch.testing.assert_close(several.probabilities(logits).sum(1), torch.ones(1, 1, 2))
    assert several.label_names == several.classes == ["sky", "road", "car"]


def test_class_names():
    assert class_names(1) == ["foreground"]
    assert class_names(np.int64(2)) == ["class 0", "class 1"]
    assert class_names(("a", "b")) == ["a", "b"]
    for wrong in (0, 255, -1, True, "road", [], 2.0, None):
        with pytest.raises(SegnbError, match=r"classes=.*: give a number from 1 to 254, or a list"):
            class_names(wrong)


def test_options_change_the_decoder():
    assert (
        create_model(
            "unet", "test_efficientnet", None, decoder_channels=(64, 32, 16, 8, 4)
        ).decoder.classify.in_channels
        == 4
    )
    assert (
        create_model("segformer", "test_efficientnet", None, decoder_segmentation_channels=32)
        .decoder.classify[1]
        .in_channels
        == 32
    )
    fpn = create_model("fpn", "test_efficientnet", None, decoder_pyramid_channels=64, decoder_segmentation_channels=32)
    assert [conv.out_channels for conv in fpn.decoder.project] == [64] * 4
    deeplab = create_model(
        "deeplabv3plus", "test_efficientnet", None, encoder_output_stride=8, decoder_atrous_rates=(2, 4)
    )
    assert deeplab.encoder.strides == (4, 8)
    fpn = create_model("fpn", TINY, None, decoder_merge_policy="cat", decoder_segmentation_channels=32)
    assert fpn.decoder.classify[1].in_channels == 4 * 32
    assert len(deeplab.decoder.pool.look) == 3
    with torch.no_grad():
        assert deeplab.encoder(torch.randn(1, 3, 64, 64))[1].shape[-2:] == (8, 8)


def test_config_builds_the_same_model_again():
    model = create_model(
        "segformer", "test_efficientnet", None, in_channels=2, classes=["a", "b"], decoder_segmentation_channels=32
    )
    again = create_model(encoder_weights=None, **model.config)
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}
    assert again.config == model.config


def test_encoder_depth_ends_the_encoder_early():
    shallow = create_model("fpn", TINY, None, encoder_depth=4)
    assert shallow.encoder.strides == (2, 4, 8, 16)
    assert not any(name.startswith("layer4") for name, _ in shallow.encoder.backbone.named_modules())
    assert create_model("deeplabv3plus", TINY, None, encoder_depth=4).encoder.strides == (4, 16)
    assert create_model(**{**shallow.config, "encoder_weights": None}).encoder.strides == (2, 4, 8, 16)
    with torch.no_grad():
        assert shallow.eval()(torch.randn(1, 3, 37, 50)).shape == (1, 1, 37, 50)


def test_levels_chosen_by_hand():
    """The blocks of a plain transformer, as its checkpoints were trained with."""
    model = create_model("fpn", "vit_tiny_patch16_224", None, encoder_output_indices=(0, 1, 4, -1))
    assert model.encoder.backbone.out_indices == [0, 1, 4, 11]


def test_dilation_of_whole_stages():
    """SMP and torchvision dilate the first block of a stage too; timm starts with the second."""
    options = {"encoder_output_stride": 8, "encoder_options": {"dilate_first": True}}
    stage = create_model("fcn", "resnet18", None, **options).encoder.backbone.layer4
    assert [block.conv1.dilation for block in stage] == [(4, 4), (4, 4)]
    assert stage[0].conv1.padding == (4, 4)
    plain = create_model("fcn", "resnet18", None, encoder_output_stride=8).encoder.backbone.layer4
    assert [block.conv1.dilation for block in plain] == [(2, 2), (4, 4)]


def test_segformers_own_encoders():
    """Published with the paper: 3.7 million parameters for B0 with its head of width 256 and 150 classes."""
    with torch.device("meta"):
        model = create_model("segformer", "mit_b0", None, classes=150)
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(3.754e6, rel=0.001)
    assert {module.eps for module in model.encoder.modules() if isinstance(module, nn.LayerNorm)} == {1e-6, 1e-5}
    with pytest.raises(SegnbError, match="timm has no pretrained weights for 'mit_b0'"):
        create_model("segformer", "mit_b0")


# --- What a model gives besides its logits --------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_everything_on_the_way_to_the_logits(arch):
    heads = {} if arch in NETWORKS else {"aux_params": {"classes": 4, "pooling": "max"}}
    if arch not in NETWORKS and not getattr(DECODERS[arch], "raw", False):
        heads["auxiliary"] = True
    model = build_any(arch, classes=3, **heads).eval()
    image, given = torch.randn(2, 3, 50, 70), []
    spy = model.decoder.classify.register_forward_pre_hook(lambda _, inputs: given.append(inputs))
    with torch.no_grad():
        outputs, logits = model.forward_all(image), model(image)
        spy.remove()
        _, *others = given[-1]  # what a map is compared with, if not with weights
        again = model.decoder.classify(outputs.decoded, *others)
    assert torch.equal(outputs.logits, logits)
    stages = STAGES.get(arch, 0) + ("auxiliary" in heads)
    assert [stage.shape for stage in outputs.stages] == [logits.shape] * stages
    assert outputs.image_logits is None if arch in NETWORKS else outputs.image_logits.shape == (2, 4)
    assert [x.shape[1] for x in outputs.features[: len(model.encoder.channels)]] == model.encoder.channels
    assert again.shape[1] == 3
    assert not model.decoder.classify._forward_pre_hooks  # the spy has left


def test_the_auxiliary_head_learns_and_changes_nothing_else():
    torch.manual_seed(0)
    plain = create_model("fpn", TINY, None, classes=3)
    torch.manual_seed(0)
    model = create_model("fpn", TINY, None, classes=3, auxiliary=True)
    assert set(model.state_dict()) - set(plain.state_dict()) == {
        name for name in model.state_dict() if name.startswith("auxiliary.")
    }
    outputs = model.forward_all(torch.randn(2, 3, 64, 64))
    (outputs.logits.mean() + outputs.stages[0].mean()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_auxiliary_head_may_read_another_level():
    model = create_model("fpn", TINY, None, auxiliary=8)
    assert model.auxiliary.mix[0].in_channels == model.encoder.channels[1]
    assert create_model(**model.config, encoder_weights=None).auxiliary_stride == 8


def test_a_frozen_encoder_stays_as_it_is():
    model = create_model("unet", TINY, None).train()
    model.freeze_encoder()
    assert model.encoder_frozen
    assert model.train().decoder.training
    assert not any(module.training for module in model.encoder.modules())
    before = copy.deepcopy(model.encoder.state_dict())
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.encoder.state_dict().items())
    model.eval().unfreeze_encoder()
    assert not model.encoder.training  # the model evaluates, so the encoder does
    assert all(module.training for module in model.train().encoder.modules())


def test_parameter_groups_cover_every_parameter_once():
    model = create_model("unet", TINY, None, aux_params={"classes": 2})
    groups = model.parameter_groups(1e-3, encoder_lr=1e-4, weight_decay=0.05)
    found = {(group["name"], group["weight_decay"]): group for group in groups}
    assert sorted(found) == [("decoder", 0.0), ("decoder", 0.05), ("encoder", 0.0), ("encoder", 0.05)]
    assert {group["lr"] for group in groups if group["name"] == "encoder"} == {1e-4}
    assert all(parameter.dim() > 1 for parameter in found["encoder", 0.05]["params"])
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(id(parameter) for parameter in model.parameters())
    assert torch.optim.AdamW(groups).param_groups[0]["lr"] in (1e-3, 1e-4)
    model.freeze_encoder()
    assert {group["name"] for group in model.parameter_groups(1e-3)} == {"decoder"}


def test_a_copy_is_independent(models):
    copied = copy.deepcopy(models["unet"])
    with torch.no_grad():
        copied.decoder.classify.bias.add_(1)
        image = torch.randn(1, 3, 32, 32)
        torch.testing.assert_close(copied(image), models["unet"](image) + 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: create_model("unett"), r"unknown architecture 'unett'. Did you mean 'unet' .*segnb.list_models"),
        (
            lambda: create_model("maskrcnn"),
            r"unknown architecture 'maskrcnn'\. .*segnb.list_models\(\) lists all",
        ),
        (lambda: create_model("unet", "resnet3", None), "unknown encoder 'resnet3'.*'resnet34'"),
        (lambda: create_model("unet", widht=3), r"'unet' has no option 'widht'.*Its options are .*decoder_channels"),
        (
            lambda: create_model("fpn", drop_out=0.1),
            r"'fpn' has no option 'drop_out'. Did you mean 'decoder_dropout'\?",
        ),
        (
            lambda: create_model("unet", encoder="resnet34"),
            r"'unet' has no option 'encoder'. Did you mean 'encoder_name'",
        ),
        (
            lambda: create_model("unet", "test_resnet", None, in_channels=0),
            "in_channels=0: give the number of channels",
        ),
        (lambda: create_model("unet", "test_resnet", None, in_channels="3"), "in_channels='3': give the number"),
        (
            lambda: create_model("unet", "test_resnet", None, decoder_channels=(32, 16)),
            r"decoder_channels=\(32, 16\): give 5 numbers, coarse to fine",
        ),
        (lambda: create_model("fpn", TINY, None, encoder_depth=2), r"encoder_depth=2: 'fpn' takes 3 to 5"),
        (lambda: create_model("fpn", TINY, None, decoder_merge_policy="sum"), "='sum': give 'add' or 'cat'"),
        (
            lambda: create_model("fpn", TINY, None, auxiliary=True, encoder_depth=3),
            "'fpn' with encoder_depth=3 has no map of stride 16 to spare",
        ),
        (
            lambda: create_model("unet", "test_vit", None, encoder_output_indices=(0, 99)),
            r"encoder_output_indices=\(0, 99\): give 4 numbers from 0 to \d, levels of 'test_vit'",
        ),
        (lambda: create_model("fpn", TINY, None, auxiliary=12), "auxiliary=12: 'fpn' .* has no map of stride 12"),
        (lambda: create_model("dpt", "test_vit", None, auxiliary=True), "'dpt' .* has no map of stride 16 to spare"),
        (lambda: create_model("fcn", TINY, None, encoder_output_stride=12), "encoder_output_stride=12: give 8, 16 or"),
        (lambda: create_model("fpn", TINY, None, aux_params={}), "aux_params needs 'classes'"),
        (
            lambda: create_model("fpn", TINY, None, aux_params={"classes": 2, "pool": "max"}),
            "aux_params has no option 'pool'. Did you mean 'pooling'",
        ),
        (lambda: create_model("fpn", TINY, None, aux_params={"classes": 2, "pooling": "mean"}), "give 'avg' or 'max'"),
        (
            lambda: create_model("fpn", TINY, None, aux_params={"classes": 2, "activation": "sigmoid"}),
            "models return logits; leave 'activation' out",
        ),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(SegnbError, match=message):
        call()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(3, 32, 32), r"shape \(3, 32, 32\); it takes \(batch, 3, height, width\).*image\[None\]"),
        (torch.zeros(1, 4, 32, 32), r"shape \(1, 4, 32, 32\); it takes \(batch, 3, .*in_channels"),
        (torch.zeros(1, 32, 32, 3), r"shape \(1, 32, 32, 3\)"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.int64), "image of torch.int64; give uint8 for raw pixels"),
    ],
)
def test_wrong_pictures(image, message, models):
    with pytest.raises(SegnbError, match=message):
        models["unet"](image)


# --- Blocks ---------------------------------------------------------------------------------------------------------


def test_resize_like():
    x = torch.arange(4.0).reshape(1, 1, 2, 2)
    grid = torch.zeros(2, 5, 3, 3)
    assert resize_like(x, grid, align_corners=True).flatten().tolist() == [0, 0.5, 1, 1, 1.5, 2, 2, 2.5, 3]
    assert resize_like(x, grid, mode="nearest").flatten().tolist() == [0, 0, 1, 0, 0, 1, 2, 2, 3]


def test_pooled_batch_norm_of_one_uses_running_statistics():
    norm = PooledBatchNorm(2)
    norm.running_mean += 1
    norm.running_var += 3
    x = torch.tensor([3.0, 5.0]).reshape(1, 2, 1, 1)
    torch.testing.assert_close(norm(x).flatten(), torch.tensor([1.0, 2.0]), atol=1e-4, rtol=0)
    assert norm.running_mean.tolist() == [1, 1]  # one value says nothing about the spread
    two = torch.cat([x, x + 2])
    torch.testing.assert_close(norm(two), torch.nn.functional.batch_norm(two, None, None, training=True))
    norm.eval()
    torch.testing.assert_close(norm(two)[:1], norm(x))


# --- One graph --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arch", "encoder_name"), [*pairs(TINY), ("dpt", "test_vit"), ("unet", "test_vit")])
def test_one_exported_graph_serves_every_size(arch, encoder_name):
    model = build_any(arch, encoder_name, classes=2).eval()
    free = {"image": {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}}
    with torch.no_grad():
        graph = torch.export.export(model, (torch.randn(2, 3, 257, 385),), dynamic_shapes=free).module()
        # PAN's pyramid ends at an eighth of stride 16, ISANet cuts stride 8 into windows of 8, DDRNet and PIDNet have a branch of
        # stride 64: their graphs want more than one row and column there.
        coarse = ("pan", "isanet", "ddrnet", "pidnet")
        for size in ((1, 3, 310, 270), (3, 3, 280, 320) if arch in coarse else (3, 3, 64, 96)):
            image = torch.randn(*size)
            torch.testing.assert_close(graph(image), model(image), atol=1e-5, rtol=1e-5)
