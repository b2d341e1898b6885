"""SegNeXt: maps rebuilt from a few parts; and MSCAN, the encoder that segnb makes known to timm."""

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from segnb.decoders.pyramid.segnext import EPSILON, Parts, SegNeXt, improve
from segnb.encoders import Encoder, list_encoders, mscan
from segnb.errors import SegnbError
from segnb.models import create_model

REFERENCE = Path(__file__).parent / "parity" / "mmsegmentation" / "references" / "segnext.npz"


# --- Rebuilding from parts ------------------------------------------------------------------------------------------


def nonnegative(seed, *shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 7), st.integers(1, 4))
def test_no_step_takes_the_product_farther_away(seed, rows, columns, parts):
    """Lee and Seung, NeurIPS 2000, theorem 1."""
    product, left, right = (
        nonnegative(seed, 1, rows, columns),
        nonnegative(seed + 1, 1, rows, parts),
        nonnegative(seed + 2, 1, columns, parts),
    )
    before = (product - left @ right.mT).norm()
    better = improve(left, product, right)
    assert (better >= 0).all()
    assert (product - better @ right.mT).norm() <= before * (1 + 1e-6)


def test_a_step_written_out():
    product, left, right = nonnegative(0, 1, 3, 4), nonnegative(1, 1, 3, 2), nonnegative(2, 1, 4, 2)
    found = improve(left, product, right)
    for row in range(3):
        for part in range(2):
            wanted = sum(product[0, row, column] * right[0, column, part] for column in range(4))
            is_now = sum(left[0, row, other] * right[0, :, other] @ right[0, :, part] for other in range(2))
            assert found[0, row, part].item() == pytest.approx(
                (left[0, row, part] * wanted / (is_now + EPSILON)).item()
            )


def test_a_map_of_two_parts_is_rebuilt():
    """What is a sum of two parts comes back almost unchanged; noise does not."""
    parts = Parts(12, 4, rounds=200).eval()
    clean = (nonnegative(3, 1, 12, 2) @ nonnegative(4, 1, 2, 48)).reshape(1, 12, 6, 8).float()
    noise = nonnegative(5, 1, 12, 6, 8).float()

    def lost(x):
        return ((parts(x) - x).norm() / x.norm()).item()

    assert lost(clean) < 0.02
    assert lost(noise) > 0.2
    assert (parts(noise) >= 0).all()


def test_there_is_one_more_round_in_evaluation():
    parts, x = Parts(8, 3, rounds=2), torch.rand(1, 8, 4, 5)
    pixels = x.flatten(2)
    dictionary, rebuilt = parts.start, []
    amounts = (pixels.mT @ dictionary).softmax(dim=2)
    for _ in range(3):
        amounts = improve(amounts, pixels.mT, dictionary)
        dictionary = improve(dictionary, pixels, amounts)
        rebuilt.append((dictionary @ improve(amounts, pixels.mT, dictionary).mT).reshape(x.shape))
    torch.testing.assert_close(parts.train()(x), rebuilt[1])
    torch.testing.assert_close(parts.eval()(x), rebuilt[2])


def test_every_machine_and_every_picture_starts_from_the_same_numbers():
    torch.manual_seed(1)
    first = Parts(8, 3, rounds=6).eval()
    torch.manual_seed(2)
    second = Parts(8, 3, rounds=6).eval()
    assert torch.equal(first.start, second.start)
    assert first.start.flatten()[:3].tolist() == pytest.approx([0.473421, 0.366852, 0.327116], abs=1e-5)
    torch.testing.assert_close(first.start.norm(dim=1), torch.ones(1, 3))
    assert first.state_dict() == {}
    x = torch.rand(3, 8, 5, 4)
    torch.testing.assert_close(first(x), torch.cat([second(picture[None]) for picture in x]))


@pytest.mark.parametrize("scale", [1, 300])
def test_half_precision_does_not_overflow(scale):
    """Sums over all pixels would: 4096 pixels of 300 are a million, and half precision ends at 65504."""
    parts, x = Parts(16, 4, rounds=6).eval(), scale * torch.rand(1, 16, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(parts(x), parts(x.clone()))
        inside = parts(x)
    assert torch.equal(inside, parts(x))
    found = parts.half()(x.half())
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), parts.float()(x), atol=2e-2 * scale, rtol=2e-2)


def test_a_map_without_anything_has_a_gradient():
    parts, x = Parts(8, 3, rounds=6), torch.zeros(1, 8, 3, 3, requires_grad=True)
    parts(x).sum().backward()
    assert torch.isfinite(x.grad).all()


# --- Published sizes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "width", "millions", "giga"),
    [("t", 256, 4.263, 6.40), ("s", 256, 13.933, 15.65), ("b", 512, 27.636, 32.69), ("l", 1024, 48.927, 65.97)],
)
def test_parameters_and_multiply_adds_of_mmsegmentation(size, width, millions, giga):
    with torch.device("meta"):
        model = create_model("segnext", f"mscan_{size}", None, classes=150, width=width).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=6e-4)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, 3, 512, 512, device="meta"))
    assert counter.get_total_flops() / 2e9 == pytest.approx(giga, rel=0.005)


def test_it_reads_three_levels():
    model = create_model("segnext", "mscan_t", None, classes=3).eval()
    assert model.encoder.strides == SegNeXt.strides == (8, 16, 32)
    assert model.encoder.channels == [64, 160, 256]
    with torch.no_grad():
        assert model(torch.randn(1, 3, 45, 70)).shape == (1, 3, 45, 70)


# --- MSCAN ------------------------------------------------------------------------------------------------------------


def test_a_row_and_a_column_are_a_square_window():
    """Without biases, and for one branch: the product of both kernels."""
    attention = mscan.MultiScaleAttention(3)
    row, column = attention.look_far[1]
    torch.nn.init.zeros_(row.bias)
    square = column.weight @ row.weight  # (C, 1, 11, 1) @ (C, 1, 1, 11)
    x = torch.randn(2, 3, 9, 13)
    torch.testing.assert_close(
        column(row(x)), F.conv2d(x, square, column.bias, padding=5, groups=3), atol=1e-5, rtol=1e-4
    )


def test_attention_written_out():
    attention, x = mscan.MultiScaleAttention(4), torch.randn(2, 4, 8, 9)
    values = F.gelu(attention.project[0](x))
    near = attention.look_near(values)
    seen = near + attention.look_far[0](near) + attention.look_far[1](near) + attention.look_far[2](near)
    torch.testing.assert_close(attention(x), x + attention.join(values * attention.weigh(seen)))
    assert [[conv.kernel_size for conv in pair] for pair in attention.look_far] == [
        [(1, length), (length, 1)] for length in (7, 11, 21)
    ]


def test_timm_knows_it():
    model = timm.create_model("mscan_t", features_only=True)
    assert model.feature_info.reduction() == [4, 8, 16, 32]
    assert model.feature_info.channels() == [32, 64, 160, 256]
    assert {"mscan_t", "mscan_s", "mscan_b", "mscan_l"} == set(list_encoders("mscan*"))
    facts = list_encoders("mscan_t").facts[0]
    assert facts.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert (facts.strides, facts.tags) == ((4, 8, 16, 32), ())


def test_under_any_architecture_at_any_size():
    model = create_model("fpn", "mscan_t", None, in_channels=2, classes=3).train()
    logits = model(torch.randn(1, 2, 67, 45))
    assert logits.shape == (1, 3, 67, 45)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.encoder.exact == [True] * 4
    assert (model.encoder.multiple, model.encoder.smallest, model.encoder.fixed_size) == (1, 1, None)


def test_dropped_paths_get_more_with_depth():
    backbone = Encoder("mscan_t", None, 3, (4, 8, 16, 32), options={"drop_path_rate": 0.12}).backbone
    rates = [getattr(block.drop_path, "drop_prob", 0) for stage in backbone.values() for block in stage.blocks]
    assert rates == pytest.approx([0.01 * step for step in range(13)])


def test_each_block_is_a_layer():
    layers = create_model("segnext", "mscan_t", None).encoder_layers()
    assert max(layers.values()) == 3 + 3 + 5 + 2
    assert layers["encoder.backbone.stages_0.downsample.0.weight"] == 0
    assert layers["encoder.backbone.stages_1.blocks.0.scale1"] == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: create_model("segnext", "mscan_x", None), "unknown encoder 'mscan_x'.*Did you mean 'mscan_"),
        (
            lambda: create_model("segnext", "mscan_t"),
            "timm has no pretrained weights for 'mscan_t': pass encoder_weights=None or a file of weights.",
        ),
        (lambda: create_model("segnext", "mscan_t", "in1k"), "'in1k' is neither a file nor a timm tag of 'mscan_t'"),
    ],
)
def test_wrong_names_and_weights_are_told(call, message):
    with pytest.raises(SegnbError, match=message):
        call()


def released_weights():
    """A file as the authors and MMSegmentation publish it: under their names, with a classifier."""
    shapes = json.loads(str(np.load(REFERENCE)["shapes"]))
    named = {name.removeprefix("backbone."): shape for name, shape in shapes.items() if name.startswith("backbone.")}
    random = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(shape, generator=random) for name, shape in named.items()}
    return {**weights, "head.weight": torch.randn(1000, 256), "head.bias": torch.randn(1000)}


def test_released_weights_are_read(tmp_path):
    weights = released_weights()
    torch.save({"state_dict": weights}, tmp_path / "mscan_t.pth")
    encoder = Encoder("mscan_t", str(tmp_path / "mscan_t.pth"), 3, (4, 8, 16, 32))
    found = encoder.backbone.state_dict()
    assert len(found) == len(weights) - 2
    for theirs, ours in {
        "patch_embed1.proj.3.weight": "stages_0.downsample.3.weight",
        "patch_embed3.norm.running_var": "stages_2.downsample.1.running_var",
        "block2.1.attn.spatial_gating_unit.conv1_2.weight": "stages_1.blocks.1.attend.look_far.1.1.weight",
        "block4.0.mlp.dwconv.bias": "stages_3.blocks.0.mix.1.bias",
        "block1.2.layer_scale_2": "stages_0.blocks.2.scale2",
        "norm4.weight": "stages_3.norm.weight",
    }.items():
        assert torch.equal(found[ours], weights[theirs])
    grey = Encoder("mscan_t", str(tmp_path / "mscan_t.pth"), 1, (4, 8, 16, 32)).backbone.state_dict()
    summed = weights["patch_embed1.proj.0.weight"].sum(dim=1, keepdim=True)
    torch.testing.assert_close(grey["stages_0.downsample.0.weight"], summed)


def test_names_of_the_authors_own_release():
    """They have one more level around the 3×3 convolution; names that are ours already stay."""
    assert mscan.rename_released("block3.4.mlp.dwconv.dwconv.weight") == "stages.2.blocks.4.mix.1.weight"
    assert mscan.rename_released("stages.2.blocks.4.mix.1.weight") == "stages.2.blocks.4.mix.1.weight"
