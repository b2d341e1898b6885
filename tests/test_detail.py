"""The detail loss, against its target and its value written out."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from segnb.losses.detail import detail, detail_target
from segnb.models import create_model

MAPS = arrays.arrays(
    np.int64, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 2, 255])
)


def written_out_target(labels):
    """Loops over pixels and neighbours; then every block of 2×2 takes after its first pixel."""
    height, width = labels.shape
    edges = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            total = 0
            for v in range(max(0, y - 1), min(height, y + 2)):
                for u in range(max(0, x - 1), min(width, x + 2)):
                    total += 0 if 255 in (labels[y, x], labels[v, u]) else labels[y, x] - labels[v, u]
            edges[y, x] = total > 0.1
    return [
        [255 if labels[y, x] == 255 else int(edges[y, x] or edges[y // 2 * 2, x // 2 * 2]) for x in range(width)]
        for y in range(height)
    ]


@given(labels=MAPS)
def test_the_target_written_out(labels):
    assert detail_target(torch.from_numpy(labels)[None])[0].tolist() == written_out_target(labels)


def papers_target(labels):
    """Three maps of the Laplacian, of every pixel, every second and every fourth, weighed and cut off twice."""
    kernel = -torch.ones(1, 1, 3, 3)
    kernel[..., 1, 1] = 8
    maps = [F.conv2d(labels[:, None].float(), kernel, stride=stride, padding=1) for stride in (1, 2, 4)]
    maps = [F.interpolate((x > 0.1).float(), labels.shape[-2:], mode="nearest") for x in maps]
    return (0.6 * maps[0] + 0.3 * maps[1] + 0.1 * maps[2] > 0.1 + 1e-6)[:, 0].long()


@given(seed=st.integers(0, 999), height=st.integers(3, 30), width=st.integers(3, 30))
def test_the_target_is_the_papers_where_the_border_is_background(seed, height, width):
    """The paper takes what is outside of the picture for class 0."""
    random = torch.Generator().manual_seed(seed)
    labels = F.pad(torch.randint(0, 3, (2, height - 2, width - 2), generator=random), (1, 1, 1, 1))
    assert torch.equal(detail_target(labels), papers_target(labels))


def test_the_edge_of_the_picture_and_of_what_is_ignored_is_none():
    labels = torch.full((1, 6, 7), 3)
    labels[0, 2:4, 2:5] = 255
    target = detail_target(labels)
    assert set(target[labels == 255].tolist()) == {255}
    assert set(target[labels != 255].tolist()) == {0}


def test_an_edge_of_any_class_counts():
    planes = torch.zeros(1, 2, 4, 6, dtype=torch.int64)
    planes[0, 1, :, 3:] = 1
    assert detail_target(planes).tolist() == [[[0, 0, 0, 1, 0, 0]] * 4]
    planes[0, :, 0, 0] = 255
    planes[0, 0, 1, 1] = 255
    assert (detail_target(planes) == 255).nonzero().tolist() == [[0, 0, 0]]


def test_the_value_written_out():
    labels = torch.tensor([[[0, 0, 2, 2, 255]]])
    logits = torch.tensor([0.5, -1.0, 2.0, 0.0, 9.0]).reshape(1, 1, 1, 5)
    p, truth = logits[0, 0, 0, :4].sigmoid(), torch.tensor([0.0, 0.0, 1.0, 1.0])
    assert detail_target(labels).tolist() == [[[0, 0, 1, 1, 255]]]
    entropy = -(truth * p.log() + (1 - truth) * (1 - p).log()).mean()
    dice = 1 - (2 * (p * truth).sum() + 1) / ((p * p).sum() + truth.sum() + 1)
    torch.testing.assert_close(detail(logits, labels), entropy + dice)


def test_a_perfect_map_costs_nothing():
    labels = torch.zeros(2, 8, 8, dtype=torch.int64)
    labels[:, 2:6, 2:6] = 1
    perfect = 40.0 * detail_target(labels)[:, None] - 20
    assert detail(perfect, labels) < 1e-6
    assert detail(-perfect, labels) > 10


@given(labels=MAPS, seed=st.integers(0, 99))
def test_what_is_ignored_has_no_influence(labels, seed):
    labels = torch.from_numpy(labels)[None]
    logits = torch.randn(1, 1, *labels.shape[1:], generator=torch.Generator().manual_seed(seed)).requires_grad_()
    loss = detail(logits, labels)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad[0, 0][labels[0] == 255].any()
    other = torch.where(labels[:, None] == 255, 7.0, logits.detach())
    torch.testing.assert_close(detail(other, labels), loss.detach())


def test_without_a_label_it_is_zero():
    logits = torch.randn(2, 1, 3, 3, requires_grad=True)
    loss = detail(logits, torch.full((2, 9, 12), 255))
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("options", [{"classes": 1}, {"classes": 3}, {"classes": 2, "multilabel": True}])
def test_stdc_learns_by_it_in_every_kind_of_problem(options):
    torch.manual_seed(0)
    model = create_model("stdc", width=8, **options).train()
    outputs = model.forward_all(torch.randn(2, 3, 64, 64))
    shape = (2, 2, 64, 64) if "multilabel" in options else (2, 64, 64)
    labels = torch.randint(0, 2, shape)
    loss = model.own_loss(outputs, labels)
    difference = outputs.clues["detail"][:, 1:] - outputs.clues["detail"][:, :1]
    torch.testing.assert_close(loss, detail(difference, labels))
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if "find_detail" in name}
    assert all(gradient.abs().sum() > 0 for gradient in gradients.values())
    assert outputs.clues.keys() == {"detail"}
