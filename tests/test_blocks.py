"""Shared pieces of the decoders."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from segnb.blocks import pool_to_grid

GRIDS = (1, 2, 3, 6)


class Pyramid(nn.Module):
    """All grids at once, each enlarged to one size: what PSPNet does with them."""

    def forward(self, x):
        grids = [pool_to_grid(x, bins) for bins in GRIDS]
        return torch.cat([F.interpolate(grid, (6, 6), mode="bilinear") for grid in grids], dim=1)


@given(size=st.tuples(st.integers(1, 70), st.integers(1, 70)), bins=st.integers(1, 9))
def test_pool_to_grid_is_adaptive_average_pooling(size, bins):
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(pool_to_grid(x, bins), F.adaptive_avg_pool2d(x, bins))


def test_pool_to_grid_has_the_same_gradient():
    x = torch.randn(1, 2, 7, 11, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(1, 2, 3, 3, dtype=torch.float64)
    (found,) = torch.autograd.grad((pool_to_grid(x, 3) * weight).sum(), x)
    (expected,) = torch.autograd.grad((F.adaptive_avg_pool2d(x, 3) * weight).sum(), x)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_pool_to_grid_in_half_precision(dtype):
    constant = torch.full((1, 1, 90, 75), 100, dtype=dtype)  # the sum of a window of 45 × 38 is beyond float16
    torch.testing.assert_close(pool_to_grid(constant, 2).float(), torch.full((1, 1, 2, 2), 100.0), rtol=5e-3, atol=0)


def test_pool_to_grid_exports_with_any_size():
    example, dynamic = torch.randn(1, 2, 13, 17), ({2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(Pyramid().eval(), (example,), dynamic_shapes=dynamic).module()
    onnxruntime = pytest.importorskip("onnxruntime")
    file = torch.onnx.export(
        Pyramid().eval(), (example,), dynamo=True, dynamic_shapes=dynamic, verbose=False
    ).model_proto
    session = onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    for size in ((13, 17), (6, 12), (40, 5)):
        x = torch.randn(1, 2, *size)
        expected = Pyramid()(x)
        torch.testing.assert_close(program(x), expected)
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
