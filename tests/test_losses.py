"""Losses against torch, SMP and a formula written out."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from segmentation_models_pytorch.losses import DiceLoss

from segnb.errors import SegnbError
from segnb.losses import cross_entropy, dice, get_loss


def batch(seed=0, classes=4, size=(6, 5), ignored=0.2):
    """Logits (2, classes, H, W) that want a gradient, and labels (2, H, W) with some 255."""
    random = torch.Generator().manual_seed(seed)
    logits = (3 * torch.randn(2, classes, *size, generator=random)).requires_grad_()
    labels = torch.randint(0, max(2, classes), (2, *size), generator=random)
    labels[torch.rand(labels.shape, generator=random) < ignored] = 255
    return logits, labels


def dice_by_hand(logits, labels, classes):
    """Class by class over the pixels that count, absent classes left out."""
    counted = labels != 255
    losses = []
    for label in range(classes):
        p, t = logits.softmax(1)[:, label][counted], (labels == label)[counted].float()
        if t.sum() > 0:
            losses.append(1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1))
    return torch.stack(losses).mean()


def test_cross_entropy_is_torchs_over_the_pixels_that_count():
    logits, labels = batch()
    torch.testing.assert_close(cross_entropy(logits, labels), F.cross_entropy(logits, labels, ignore_index=255))


def test_binary_cross_entropy_is_torchs():
    logits, labels = batch(classes=1)
    counted = labels != 255
    expected = F.binary_cross_entropy_with_logits(logits[:, 0][counted], labels[counted].float())
    torch.testing.assert_close(cross_entropy(logits, labels), expected)
    torch.testing.assert_close(cross_entropy(logits, labels.to(torch.uint8)), expected)


@pytest.mark.parametrize("classes", [2, 4, 9])
def test_dice_by_hand(classes):
    logits, labels = batch(classes=classes)
    torch.testing.assert_close(dice(logits, labels), dice_by_hand(logits, labels, classes))


def test_absent_classes_do_not_dilute():
    logits, labels = batch()
    labels[labels == 3] = 0
    torch.testing.assert_close(dice(logits, labels), dice_by_hand(logits, labels, 4))
    perfect = 20.0 * F.one_hot(torch.where(labels == 255, 0, labels), 4).permute(0, 3, 1, 2)
    assert dice(perfect, labels) < 1e-6
    assert cross_entropy(perfect, labels) < 1e-6


@pytest.mark.parametrize("ignored", [0.0, 0.2])
def test_dice_is_smps_where_every_class_occurs(ignored):
    logits, labels = batch(ignored=ignored)
    reference = DiceLoss("multiclass", smooth=0.5, ignore_index=255)  # SMP halves both sides of the fraction
    torch.testing.assert_close(dice(logits, labels), reference(logits, labels))


def test_binary_dice_is_smps():
    logits, labels = batch(classes=1, ignored=0.0)
    torch.testing.assert_close(dice(logits, labels), DiceLoss("binary", smooth=0.5)(logits, labels[:, None].float()))


def test_dice_without_foreground_punishes_false_positives():
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    quiet, loud = torch.full((1, 1, 4, 4), -9.0), torch.full((1, 1, 4, 4), 2.0, requires_grad=True)
    assert dice(quiet, labels) < 0.01
    assert dice(loud, labels) > 0.9
    dice(loud, labels).backward()
    assert (loud.grad > 0).all()  # less foreground is better


@given(st.integers(0, 10_000), st.integers(1, 6), st.sampled_from(["ce", "dice", "ce+dice"]))
def test_ignored_pixels_have_no_influence(seed, classes, name):
    loss = get_loss(name)
    logits, labels = batch(seed, classes)
    ignored = (labels == 255)[:, None].expand_as(logits)
    value = loss(logits, labels)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().sum() > 0
    assert (logits.grad[ignored] == 0).all()
    changed = torch.where(ignored, -50.0, logits.detach())
    torch.testing.assert_close(loss(changed, labels), value.detach())


@given(st.integers(0, 10_000), st.integers(1, 6), st.floats(0.1, 1e4))
def test_finite_for_any_logits(seed, classes, scale):
    logits, labels = batch(seed, classes)
    logits = (logits.detach() * scale).requires_grad_()
    value = get_loss("auto")(logits, labels)
    value.backward()
    assert torch.isfinite(value)
    assert value >= 0
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("name", ["ce", "dice", "ce+dice"])
def test_nothing_to_count_is_exactly_zero(classes, name):
    logits, labels = batch(classes=classes)
    value = get_loss(name)(logits, torch.full_like(labels, 255))
    value.backward()
    assert value == 0
    assert (logits.grad == 0).all()


def test_names_and_sums():
    logits, labels = batch()
    both = cross_entropy(logits, labels) + dice(logits, labels)
    torch.testing.assert_close(get_loss("auto")(logits, labels), both)
    torch.testing.assert_close(get_loss("CE + Dice")(logits, labels), both)
    torch.testing.assert_close(get_loss("dice")(logits, labels), dice(logits, labels))
    torch.testing.assert_close(get_loss("ce+ce")(logits, labels), 2 * cross_entropy(logits, labels))
    assert get_loss(F.cross_entropy) is F.cross_entropy


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dic", "unknown loss 'dic' in loss='dic'. Did you mean 'dice'"),
        ("ce+focal", r"unknown loss 'focal' in loss='ce\+focal'. Choose from: ce, dice"),
        ("ce+", "unknown loss ''"),
        (None, "unknown loss 'none' in loss=None. Choose from: ce, dice"),
        (3, "unknown loss '3'"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(SegnbError, match=message):
        get_loss(name)
