"""Every published size of MMSegmentation's backbones is recognised, and everything that leaves no trace in a file is right.

The logits of one size of each are compared in test_mmseg.py. Here the tensors of all are listed, without any values; the lists
are those of the files for the sizes that are compared there.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from test_mmseg import write_checkpoint
from torch import nn

import segnb
from segnb.encoders import Encoder
from segnb.errors import SegnbError
from segnb.pretrained.checkpoint import rename
from segnb.pretrained.mmseg.backbones import find_backbone
from segnb.pretrained.mmseg.backbones.vit import split_biases

ANSWERS = Path(os.environ.get("SEGNB_MMSEG_ANSWERS", Path(__file__).parent / "mmsegmentation" / "references"))
FILE = Path("model.pth")
pytestmark = pytest.mark.parity


# --- What a file has -------------------------------------------------------------------------------------------------


def layer(name, *shape, bias=True):
    return {f"{name}.weight": shape, **({f"{name}.bias": shape[:1]} if bias else {})}


def joint_attention(name, width):
    """PyTorch's own."""
    return {
        f"{name}.attn.attn.in_proj_weight": (3 * width, width),
        f"{name}.attn.attn.in_proj_bias": (3 * width,),
        **layer(f"{name}.attn.attn.out_proj", width, width),
    }


def shrunk_attention(name, width, shrinking):
    smaller = {
        **layer(f"{name}.attn.sr", width, width, shrinking, shrinking),
        **layer(f"{name}.attn.norm", width),
    }
    return {**joint_attention(name, width), **(smaller if shrinking > 1 else {})}


def perceptron(name, width, ratio=4):
    return {
        **layer(f"{name}.ffn.layers.0.0", ratio * width, width),
        **layer(f"{name}.ffn.layers.1", width, ratio * width),
    }


def mit(width, depths):
    tensors, before = {}, 3
    for level, (heads, depth, shrinking) in enumerate(zip((1, 2, 5, 8), depths, (8, 4, 2, 1), strict=True)):
        c, side = heads * width, 3 if level else 7
        tensors |= layer(f"layers.{level}.0.projection", c, before, side, side) | layer(f"layers.{level}.0.norm", c)
        for block in range(depth):
            name = f"layers.{level}.1.{block}"
            tensors |= layer(f"{name}.norm1", c) | layer(f"{name}.norm2", c) | shrunk_attention(name, c, shrinking)
            tensors |= layer(f"{name}.ffn.layers.0", 4 * c, c, 1, 1) | layer(f"{name}.ffn.layers.1", 4 * c, 1, 3, 3)
            tensors |= layer(f"{name}.ffn.layers.4", c, 4 * c, 1, 1)
        tensors |= layer(f"layers.{level}.2", c)
        before = c
    return tensors


def swin(width, depths, heads, window=7):
    tensors = layer("patch_embed.projection", width, 3, 4, 4) | layer("patch_embed.norm", width)
    for level in range(4):
        c = width * 2**level
        for block in range(depths[level]):
            name = f"stages.{level}.blocks.{block}"
            tensors |= layer(f"{name}.norm1", c) | layer(f"{name}.norm2", c) | perceptron(name, c)
            tensors |= layer(f"{name}.attn.w_msa.qkv", 3 * c, c) | layer(f"{name}.attn.w_msa.proj", c, c)
            tensors[f"{name}.attn.w_msa.relative_position_bias_table"] = ((2 * window - 1) ** 2, heads[level])
            tensors[f"{name}.attn.w_msa.relative_position_index"] = (window**2, window**2)
        if level < 3:
            tensors |= layer(f"stages.{level}.downsample.norm", 4 * c)
            tensors |= layer(f"stages.{level}.downsample.reduction", 2 * c, 4 * c, bias=False)
        tensors |= layer(f"norm{level}", c)
    return tensors


def convnext(widths, depths):
    tensors = layer("downsample_layers.0.0", widths[0], 3, 4, 4) | layer("downsample_layers.0.1", widths[0])
    for level, (c, depth) in enumerate(zip(widths, depths, strict=True)):
        if level:
            tensors |= layer(f"downsample_layers.{level}.0", widths[level - 1])
            tensors |= layer(f"downsample_layers.{level}.1", c, widths[level - 1], 2, 2)
        for block in range(depth):
            name = f"stages.{level}.{block}"
            tensors |= layer(f"{name}.depthwise_conv", c, 1, 7, 7) | layer(f"{name}.norm", c)
            tensors |= layer(f"{name}.pointwise_conv1", 4 * c, c) | layer(f"{name}.pointwise_conv2", c, 4 * c)
            tensors[f"{name}.gamma"] = (c,)
        tensors |= layer(f"norm{level}", c)
    return tensors


def twins(widths, depths, ratios, windows):
    tensors = {}
    for level, (c, depth, shrinking) in enumerate(zip(widths, depths, (8, 4, 2, 1), strict=True)):
        side = 2 if level else 4
        tensors |= layer(f"patch_embeds.{level}.projection", c, widths[level - 1] if level else 3, side, side)
        tensors |= layer(f"patch_embeds.{level}.norm", c) | layer(f"position_encodings.{level}.proj", c, 1, 3, 3)
        for block in range(depth):
            name = f"layers.{level}.{block}"
            tensors |= layer(f"{name}.norm1", c) | layer(f"{name}.norm2", c) | perceptron(name, c, ratios[level])
            if windows and block % 2 == 0:
                tensors |= layer(f"{name}.attn.qkv", 3 * c, c) | layer(f"{name}.attn.proj", c, c)
            else:
                tensors |= shrunk_attention(name, c, shrinking)
        tensors |= layer(f"norm_list.{level}", c) if windows else {}
    return tensors


def vit(width, depth, side, final_norm=True):
    tensors = {"cls_token": (1, 1, width), "pos_embed": (1, side * side + 1, width)}
    tensors |= layer("patch_embed.projection", width, 3, 16, 16) | (layer("ln1", width) if final_norm else {})
    for block in range(depth):
        name = f"layers.{block}"
        tensors |= layer(f"{name}.ln1", width) | layer(f"{name}.ln2", width)
        tensors |= joint_attention(name, width) | perceptron(name, width)
    return tensors


def beit(width, depth, heads, side, masked=False):
    """BEiT, and MAE, which has positions and a bias for keys, too."""
    tensors = {"cls_token": (1, 1, width), **({"pos_embed": (1, side * side + 1, width)} if masked else {})}
    tensors |= layer("patch_embed.projection", width, 3, 16, 16)
    for block in range(depth):
        name = f"layers.{block}"
        tensors |= layer(f"{name}.ln1", width) | layer(f"{name}.ln2", width) | perceptron(name, width)
        tensors |= layer(f"{name}.attn.qkv", 3 * width, width, bias=masked) | layer(f"{name}.attn.proj", width, width)
        tensors |= {f"{name}.gamma_{part}": (width,) for part in (1, 2)}
        tensors |= {} if masked else {f"{name}.attn.{part}_bias": (width,) for part in "qv"}
        tensors[f"{name}.attn.relative_position_bias_table"] = ((2 * side - 1) ** 2 + 3, heads)
        tensors[f"{name}.attn.relative_position_index"] = (side * side + 1, side * side + 1)
    return tensors


def convolving(width):
    tensors = {}
    for level in range(4):
        tensors |= layer(f"neck.lateral_convs.{level}.conv", width, width, 1, 1)
        tensors |= layer(f"neck.convs.{level}.conv", width, width, 3, 3)
    return tensors


def deconvolving(width):
    tensors = {f"neck.upsample_4x.1.running_{part}": (width,) for part in ("mean", "var")}
    tensors |= {"neck.upsample_4x.1.num_batches_tracked": (), **layer("neck.upsample_4x.1", width)}
    for name in ("4x.0", "4x.3", "2x.0"):
        tensors |= layer(f"neck.upsample_{name}", width, width, 2, 2)
    return tensors


def timms(name, **options):
    """Families whose tensors have timm's names, but for the stem of ResNets."""
    with torch.device("meta"):
        tensors = timm.create_model(name, features_only=True, **options).state_dict()
    deep = [(r"^conv1\.(\d)", r"stem.\1"), (r"^bn1\.", "stem.7.")] if "conv1.0.weight" in tensors else []
    return {rename(key, deep): tuple(tensor.shape) for key, tensor in tensors.items()}


COMPARED = {
    "ocrnet-hrnet18": lambda: timms("hrnet_w18", feature_location=""),
    "ocrnet-mit": lambda: mit(32, (2, 2, 2, 2)),
    "ocrnet-swin": lambda: swin(24, (2, 2, 2, 2), (2, 2, 4, 4)),
    "ocrnet-convnext": lambda: convnext((12, 16, 24, 32), (1, 1, 2, 1)),
    "ocrnet-pcpvt": lambda: twins((64, 128, 320, 512), (3, 4, 6, 3), (8, 8, 4, 4), windows=False),
    "ocrnet-svt": lambda: twins((64, 128, 256, 512), (2, 2, 10, 4), (4, 4, 4, 4), windows=True),
    "gcnet-vit": lambda: vit(128, 4, 3),
    "upernet-vit": lambda: vit(128, 4, 3) | convolving(128),
    "gcnet-beit": lambda: beit(128, 4, 2, 4),
    "upernet-beit": lambda: beit(128, 4, 2, 4) | deconvolving(128),
    "gcnet-resnext": lambda: timms("resnext50_32x4d"),
    "gcnet-resnest": lambda: timms("resnest50d"),
}


@pytest.mark.parametrize("case", COMPARED)
def test_the_lists_are_those_of_files(case):
    stored = json.loads(str(np.load(ANSWERS / f"{case}.npz")["shapes"]))
    parts = ("backbone.", "neck.")
    files = {name.removeprefix(parts[0]): tuple(shape) for name, shape in stored.items() if name.startswith(parts)}
    assert COMPARED[case]() == files


# --- What is made of it ----------------------------------------------------------------------------------------------


def on_meta(shapes, auxiliary=False):
    names = {name: name if name.startswith("neck.") else f"backbone.{name}" for name in shapes}
    tensors = {names[name]: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    return {**tensors, **({"auxiliary_head.conv_seg.weight": torch.empty(1, device="meta")} if auxiliary else {})}


def build(arch, shapes):
    """The model for the tensors of a backbone, without values; all of them must have a place in it, and no place be empty."""
    config, named = find_backbone(FILE, on_meta(shapes), arch, {}, None)
    with torch.device("meta"):
        model = segnb.create_model(arch, classes=5, encoder_weights=None, **config)
    expected = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items() if key.startswith("encoder.")}
    assert {key: tuple(tensor.shape) for key, tensor in named.items()} == expected
    return model, config


def heads_of(model):
    """Heads of each attention, in order; of its windows, if it has any."""
    return [
        module.num_heads for module in model.encoder.backbone.modules() if type(module).__name__.startswith(ATTENTIONS)
    ]


ATTENTIONS = ("Attention", "WindowAttention", "LocallyGroupedAttn", "MaskedLocalAttention", "GlobalSubSampleAttn")


def each(values, depths):
    return [value for value, depth in zip(values, depths, strict=True) for _ in range(depth)]


def small_numbers(model):
    return {module.eps for module in model.encoder.modules() if isinstance(module, nn.LayerNorm)}


@pytest.mark.parametrize(
    ("name", "width", "depths"),
    [
        ("mit_b0", 32, (2, 2, 2, 2)),
        ("mit_b1", 64, (2, 2, 2, 2)),
        ("mit_b2", 64, (3, 4, 6, 3)),
        ("mit_b3", 64, (3, 4, 18, 3)),
        ("mit_b4", 64, (3, 8, 27, 3)),
        ("mit_b5", 64, (3, 6, 40, 3)),
    ],
)
def test_mit(name, width, depths):
    model, config = build("ocrnet", mit(width, depths))
    assert config == {"encoder_name": name, "in_channels": 3, "encoder_options": {"layer_norm_eps": 1e-6}}
    assert heads_of(model) == each((1, 2, 5, 8), depths)
    assert small_numbers(model) == {1e-6}


@pytest.mark.parametrize(
    ("name", "width", "depths", "window"),
    [
        ("swin_tiny_patch4_window7_224", 96, (2, 2, 6, 2), 7),
        ("swin_small_patch4_window7_224", 96, (2, 2, 18, 2), 7),
        ("swin_base_patch4_window7_224", 128, (2, 2, 18, 2), 7),
        ("swin_base_patch4_window12_384", 128, (2, 2, 18, 2), 12),
        ("swin_large_patch4_window7_224", 192, (2, 2, 18, 2), 7),
        ("swin_large_patch4_window12_384", 192, (2, 2, 18, 2), 12),
    ],
)
def test_swin(name, width, depths, window):
    heads = [width // 32 * 2**level for level in range(4)]
    model, config = build("upernet", swin(width, depths, heads, window))
    assert config == {
        "encoder_name": name,
        "in_channels": 3,
        "encoder_options": {
            "always_partition": True,
            "pad_before_shift": True,
            "pad_patches": True,
            "level_norms": [4, 8, 16, 32],
        },
    }
    assert heads_of(model) == each(heads, depths)
    windows = {m.window_size for m in model.encoder.backbone.modules() if hasattr(m, "relative_position_bias_table")}
    assert windows == {(window, window)}
    assert small_numbers(model) == {1e-5}


@pytest.mark.parametrize(
    ("size", "width", "depth"),
    [("tiny", 96, 9), ("small", 96, 27), ("base", 128, 27), ("large", 192, 27), ("xlarge", 256, 27)],
)
def test_convnext(size, width, depth):
    model, config = build("upernet", convnext([width * 2**level for level in range(4)], (3, 3, depth, 3)))
    options = {"level_norms": [4, 8, 16, 32]}
    assert config == {"encoder_name": f"convnext_{size}", "in_channels": 3, "encoder_options": options}
    assert small_numbers(model) == {1e-6}


@pytest.mark.parametrize(
    ("name", "width", "depths", "heads"),
    [
        ("pcpvt_small", 64, (3, 4, 6, 3), (1, 2, 5, 8)),
        ("pcpvt_base", 64, (3, 4, 18, 3), (1, 2, 5, 8)),
        ("pcpvt_large", 64, (3, 8, 27, 3), (1, 2, 5, 8)),
        ("svt_small", 64, (2, 2, 10, 4), (2, 4, 8, 16)),
        ("svt_base", 96, (2, 2, 18, 2), (3, 6, 12, 24)),
        ("svt_large", 128, (2, 2, 18, 2), (4, 8, 16, 32)),
    ],
)
def test_twins(name, width, depths, heads):
    windows = name.startswith("svt")
    widths = [width * 2**level for level in range(4)] if windows else (64, 128, 320, 512)
    model, config = build("upernet", twins(widths, depths, (4, 4, 4, 4) if windows else (8, 8, 4, 4), windows))
    special = {"mask_padding": True, "normalise_stages": True} if windows else {}
    options = {"layer_norm_eps": 1e-5, "pad_patches": True, **special}
    assert config == {"encoder_name": f"twins_{name}", "in_channels": 3, "encoder_options": options}
    assert heads_of(model) == each(heads, depths)
    assert small_numbers(model) == {1e-5}


IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


@pytest.mark.parametrize(
    ("arch", "size", "width", "depth", "heads", "side", "final_norm", "between"),
    [
        ("segmenter", "tiny", 192, 12, 3, 512, True, {}),
        ("segmenter", "small", 384, 12, 6, 512, True, {}),
        ("segmenter", "base", 768, 12, 12, 512, True, {}),
        ("segmenter", "large", 1024, 24, 16, 640, True, {}),
        ("upernet", "small", 384, 12, 6, 512, False, {"own_sizes": True}),
        ("upernet", "base", 768, 12, 12, 512, True, {"level_necks": "convolve"}),
        ("dpt", "base", 768, 12, 12, 224, False, {}),
        ("setr", "large", 1024, 24, 16, 768, False, {"class_token": False, "global_pool": "avg"}),
    ],
)
def test_plain_transformers(arch, size, width, depth, heads, side, final_norm, between):
    neck = convolving(width) if "level_necks" in between else {}
    model, config = build(arch, vit(width, depth, side // 16, final_norm) | neck)
    last = model.encoder.levels[-1]
    assert config["encoder_name"] == f"vit_{size}_patch16_384"
    assert config["encoder_options"] == {
        "img_size": side,
        "layer_norm_eps": 1e-5 if arch == "dpt" else 1e-6,
        "bilinear_positions" if arch == "setr" else "bicubic_positions": True,
        **({"level_norms": [last]} if final_norm else {}),
        **({} if arch == "segmenter" else {"pretrained_cfg_overlay": IMAGENET}),
        **between,
    }
    assert heads_of(model) == [heads] * depth
    assert small_numbers(model) == {1e-5 if arch == "dpt" else 1e-6}
    assert model.encoder.backbone.model.patch_embed.grid_size == (side // 16, side // 16)


@pytest.mark.parametrize(
    ("size", "width", "depth", "heads", "side", "masked", "blocks"),
    [
        ("base", 768, 12, 12, 640, False, [3, 5, 7, 11]),
        ("large", 1024, 24, 16, 640, False, [7, 11, 15, 23]),
        ("base", 768, 12, 12, 512, True, [3, 5, 7, 11]),
    ],
)
def test_beit_and_mae(size, width, depth, heads, side, masked, blocks):
    model, config = build("upernet", beit(width, depth, heads, side // 16, masked) | deconvolving(width))
    assert config["encoder_name"] == f"beit_{size}_patch16_224"
    assert config["encoder_output_indices"] == blocks
    overlay = {"input_size": [3, side, side], **IMAGENET}
    positions = {"use_abs_pos_emb": True} if masked else {}
    assert config["encoder_options"] == {
        "pretrained_cfg_overlay": overlay,
        "level_necks": "deconvolve",
        **positions,
    }
    assert heads_of(model) == [heads] * depth
    assert small_numbers(model) == {1e-6}
    assert model.encoder.fixed_size == (side, side)


@pytest.mark.parametrize(
    ("name", "options", "found"),
    [
        *(
            (name, {"feature_location": ""}, {"feature_location": "", "fuse_bilinearly": True})
            for name in ("hrnet_w18_small_v2", "hrnet_w48")  # and w18 above
        ),
        (
            "resnet18",
            {"stem_type": "deep", "stem_width": 32},
            {"stem_type": "deep", "stem_width": 32, "dilate_only_first_convolutions": True},
        ),
        ("resnet50", {}, {}),
        ("resnet101c", {}, {}),
        ("resnet50d", {}, {"skip_pooling_without_stride": True}),
        ("resnext101_32x8d", {}, {}),
        ("resnest101e", {}, {"skip_pooling_without_stride": True}),
    ],
)
def test_families_with_timms_names(name, options, found):
    _, config = build("ocrnet", timms(name, **options))
    expected = {"encoder_name": name, "in_channels": 3, **({"encoder_options": found} if found else {})}
    assert config == expected


# --- What heads and users ask for ------------------------------------------------------------------------------------


def test_only_levels_that_are_read_are_normalised():
    shapes = swin(24, (2, 2, 2, 2), (2, 2, 4, 4))
    for auxiliary, levels in ((False, [32]), (True, [16, 32])):
        config, named = find_backbone(FILE, on_meta(shapes, auxiliary), "gcnet", {}, None)
        assert config["encoder_options"]["level_norms"] == levels
        assert config["encoder_output_stride"] == 32
        norms = {key for key in named if "level_norms" in key}
        assert norms == {f"encoder.level_norms.stride{level}.{part}" for level in levels for part in ("weight", "bias")}


def test_an_unknown_size_tells_what_was_found_and_what_to_say():
    shapes = twins((64, 128, 320, 512), (3, 4, 9, 3), (8, 8, 4, 4), windows=False)
    message = (
        r"'model.pth' has a Twins-PCPVT of no published size \(widths \[64, 128, 320, 512\], depths \[3, 4, 9, 3\]\): "
        r"say with encoder_name=… which timm backbone it is, and with encoder_options=\{…\} in what it differs"
    )
    with pytest.raises(SegnbError, match=message):
        find_backbone(FILE, on_meta(shapes), "ocrnet", {}, None)
    config, _ = find_backbone(FILE, on_meta(shapes), "ocrnet", {}, "twins_pcpvt_small")
    assert config["encoder_name"] == "twins_pcpvt_small"
    assert config["encoder_options"] == {"layer_norm_eps": 1e-5, "pad_patches": True}


def test_a_transformer_for_pictures_that_are_not_square_is_told():
    shapes = vit(128, 4, 3) | {"pos_embed": (1, 7, 128)}
    with pytest.raises(SegnbError, match="plain transformer for pictures that are not square: 6 positions"):
        find_backbone(FILE, on_meta(shapes), "gcnet", {}, None)


def test_a_convolution_into_patches_without_bias_has_none_of_zeros():
    shapes = vit(128, 4, 3)
    del shapes["patch_embed.projection.bias"]
    _, named = find_backbone(FILE, on_meta(shapes), "gcnet", {}, None)
    assert torch.equal(named["encoder.backbone.model.patch_embed.proj.bias"], torch.zeros(128))


def test_the_bias_of_keys_is_no_loss():
    """MAE has it and BEiT has not: it adds the same to what one query sees everywhere, and softmax takes that out again."""
    random = torch.Generator().manual_seed(0)
    biases = torch.randn(24, generator=random)
    split = split_biases({"layers.0.attn.qkv.bias": biases})
    assert split.keys() == {"layers.0.attn.q_bias", "layers.0.attn.v_bias"}
    assert torch.equal(split["layers.0.attn.q_bias"], biases[:8])
    assert torch.equal(split["layers.0.attn.v_bias"], biases[16:])
    query, key = torch.randn(2, 5, 8, generator=random)
    with_bias = ((query + biases[:8]) @ (key + biases[8:16]).T).softmax(dim=1)
    without = ((query + biases[:8]) @ key.T).softmax(dim=1)
    torch.testing.assert_close(with_bias, without)


def test_level_norms_follow_the_maps():
    torch.manual_seed(0)
    plain = Encoder("convnext_atto", None, 3, (8, 32)).eval()
    normed = Encoder("convnext_atto", None, 3, (8, 32), options={"level_norms": [32]}).eval()
    normed.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        nn.init.normal_(normed.level_norms["stride32"].weight)
        (fine, coarse), (same, found) = plain(image := torch.randn(1, 3, 64, 96)), normed(image)
    weight, bias = normed.level_norms["stride32"].weight, normed.level_norms["stride32"].bias
    expected = F.layer_norm(coarse.permute(0, 2, 3, 1), weight.shape, weight, bias, 1e-6).permute(0, 3, 1, 2)
    torch.testing.assert_close(same, fine)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("hrnet_w18_small", {"feature_location": "", "fuse_bilinearly": True}),
        ("swin_tiny_patch4_window7_224", {"pad_patches": True, "always_partition": True}),
        ("twins_svt_small", {"pad_patches": True, "mask_padding": True}),
    ],
)
def test_pictures_of_any_size_are_not_padded_as_a_whole(name, options):
    with torch.device("meta"):
        encoder = Encoder(name, None, 3, (4, 8, 16, 32), options=options)
    assert (encoder.multiple, encoder.fixed_size) == (1, None)
    assert all(encoder.exact)


def test_what_the_user_says_comes_first_and_is_saved(tmp_path):
    file, _ = write_checkpoint("gcnet-beit", tmp_path)
    model = segnb.load_model(file, encoder_options={"drop_path_rate": 0.2})
    options = {"pretrained_cfg_overlay": {"input_size": [3, 64, 64], **IMAGENET}, "drop_path_rate": 0.2}
    assert {key: model.config["encoder_options"][key] for key in options} == options
    assert model.mean.flatten().tolist() == pytest.approx(IMAGENET["mean"])
    segnb.save_model(model, tmp_path / "saved")
    again = segnb.load_model(tmp_path / "saved")
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(again(image), model(image))
