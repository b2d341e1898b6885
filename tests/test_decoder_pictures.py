"""What the pictures of the decoders' notebook show: attention weights, and strengths as colours."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
import torch
from building import build_any

from segnb import draw
from segnb.errors import SegnbError
from segnb.tools.explaining import attention
from segnb.tools.reach import coarse_iou, places_read

IMAGE = torch.randint(0, 256, (3, 32, 48), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_attention_is_what_the_block_gathers_with():
    torch.manual_seed(0)
    model = build_any("nonlocalnet", classes=3, width=16).train()
    block, seen = model.decoder.relate.relate, {}
    weights = attention(model, IMAGE)
    assert model.training
    assert not block.query._forward_hooks  # a second call would otherwise see the first one's
    assert not block.key._forward_hooks
    block.register_forward_hook(lambda _, inputs, output: seen.update(inside=inputs[0], out=output))
    with torch.no_grad():
        model.eval()(IMAGE[None])
        inside = seen["inside"]
        values = block.value(inside)[0]
        gathered = torch.einsum("yxvu,cvu->cyx", torch.from_numpy(weights), values)
        expected = inside + block.mix(gathered[None])
    assert weights.shape == (4, 6, 4, 6)
    np.testing.assert_allclose(weights.sum((2, 3)), 1, rtol=1e-5)
    assert weights.std() > 1e-4  # not all the same, or a wrong order would go unnoticed
    torch.testing.assert_close(seen["out"], expected, rtol=1e-4, atol=1e-5)


def test_attention_needs_a_non_local_block():
    with pytest.raises(SegnbError, match="'fcn' has no non-local block: give a model of 'nonlocalnet'"):
        attention(build_any("fcn"), IMAGE)


def test_heat_is_bright_at_the_largest_value():
    magma = mpl.colormaps["magma"]
    colours = draw.heat(np.array([[0, 2], [4, 1]]))
    expected = [[magma(0.0), magma(0.5)], [magma(1.0), magma(0.25)]]
    np.testing.assert_array_equal(colours, np.round(np.array(expected)[:, :, :3] * 255))
    np.testing.assert_array_equal(draw.heat(np.zeros((1, 2))), draw.heat(np.array([[0, 0, 1]]))[:, :2])


def test_heat_over_an_image_covers_each_place_with_its_colour():
    image = np.full((4, 6), 100, np.uint8)
    values = np.array([[0, 1, 2], [3, 4, 5]])
    cells = draw.heat(values).repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_allclose(draw.heat(values, image), 100 * 0.35 + cells * 0.65, atol=0.51)


@pytest.mark.parametrize("values", [np.ones(3), np.array([[1.0, -1.0]]), np.array([[np.nan]])])
def test_heat_refuses_what_is_no_map_of_strengths(values):
    with pytest.raises(SegnbError, match="none below 0"):
        draw.heat(values)


def test_coarse_iou_of_a_map_of_the_pictures_own_size_is_perfect():
    labels = torch.tensor([[[0, 1], [1, 1]]])
    np.testing.assert_array_equal(coarse_iou(labels, 3, 1), [1, 1, np.nan])


def test_coarse_iou_written_out():
    # Squares of 2 × 2: class 1 fills the right one and one pixel of the left one, which is class 0 in three of four.
    labels = torch.tensor([[[0, 0, 1, 1], [0, 1, 1, 1]]])
    # Shares of class 1 in the two squares are 1/4 and 1; enlarged, the four columns have 0.25, 0.4375, 0.8125 and 1.
    np.testing.assert_allclose(coarse_iou(labels, 2, 2), [3 / 4, 4 / 5])


@pytest.mark.parametrize("stride", [0, 3])
def test_coarse_iou_refuses_strides_that_do_not_divide_the_picture(stride):
    with pytest.raises(SegnbError, match=rf"stride={stride}: give one that divides both sides of the pictures, 4 × 6"):
        coarse_iou(torch.zeros(1, 4, 6, dtype=torch.int64), 2, stride)


def test_places_read_are_the_taps_of_the_kernel():
    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(2, 1, 3, padding=3, dilation=3)

        def forward(self, features):
            return self.conv(features[0])

    torch.manual_seed(0)
    decoder = Plain().train()
    read = places_read(decoder, 2, side=9)
    expected = np.zeros((9, 9))
    expected[1::3, 1::3] = decoder.conv.weight[0].abs().sum(0).detach()
    np.testing.assert_allclose(read, expected, rtol=1e-6)
    assert decoder.training
