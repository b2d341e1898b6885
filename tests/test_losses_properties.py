"""What every loss must hold to, for every kind of problem: a new loss is tested by its name in LOSSES."""

import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from test_losses import KINDS, batch, weights_for

from segnb.losses import LOSSES, get_loss

close = torch.testing.assert_close
SEEDS = st.integers(0, 10_000)
PER_PIXEL = {"ce", "focal", "ohem", "auto"}  # they judge each label, the others each class
few = settings(max_examples=8)  # for each of thirty-three losses and kinds
every_loss = pytest.mark.parametrize("name", [*LOSSES, "auto"])
every_kind = pytest.mark.parametrize("kind", KINDS)


def gradient(loss, logits, labels):
    """Value and gradient."""
    logits = logits.detach().clone().requires_grad_()
    value = loss(logits, labels)
    value.backward()
    return value.detach(), logits.grad


def perfect(kind, labels, classes=4, sure=20.0):
    """Logits that are right and sure."""
    known = torch.where(labels == 255, 0, labels)
    if kind == "multiclass":
        return sure * F.one_hot(known, classes).movedim(-1, 1).float()
    return sure * (2.0 * (known if kind == "multilabel" else known[:, None]) - 1)


@every_loss
@every_kind
@few
@given(seed=SEEDS, classes=st.integers(2, 5), weighted=st.booleans())
def test_ignored_pixels_have_no_influence(name, kind, seed, classes, weighted):
    loss = get_loss(name, class_weights=weights_for(kind, classes) if weighted else None)
    logits, labels = batch(kind, seed, classes)
    value, slope = gradient(loss, logits, labels)
    assert value.shape == ()
    assert value >= 0
    assert torch.isfinite(slope).all()
    assert slope.abs().sum() > 0
    ignored = ((labels if kind == "multilabel" else labels[:, None]) == 255).expand_as(logits)
    assert (slope[ignored] == 0).all()
    for fill in (-50.0, 50.0, 1e30):
        # Under a softmax the channels of a pixel must not be equal, or nothing would be tested.
        other = torch.where(ignored, fill * (torch.arange(logits.shape[1]) + 1)[:, None, None], logits.detach())
        changed, changed_slope = gradient(loss, other, labels)
        close(changed, value)
        close(changed_slope, slope)


@every_loss
@every_kind
@few
@given(seed=SEEDS, scale=st.floats(0.1, 1e4))
def test_finite_for_any_logits(name, kind, seed, scale):
    logits, labels = batch(kind, seed)
    value, slope = gradient(get_loss(name), logits * scale, labels)
    assert torch.isfinite(value)
    assert value >= 0
    assert torch.isfinite(slope).all()


@every_loss
@every_kind
@pytest.mark.parametrize("weighted", [False, True])
def test_nothing_to_count_is_exactly_zero(name, kind, weighted):
    logits, labels = batch(kind)
    loss = get_loss(name, class_weights=weights_for(kind) if weighted else None)
    value, slope = gradient(loss, logits, torch.full_like(labels, 255))
    assert value == 0
    assert (slope == 0).all()


@every_loss
@every_kind
@few
@given(seed=SEEDS)
def test_a_perfect_prediction_costs_nothing(name, kind, seed):
    _, labels = batch(kind, seed)
    right = perfect(kind, labels)
    assert 0 <= get_loss(name)(right, labels) < 1e-5
    assert get_loss(name)(-right, labels) > 0.1


@every_loss
@every_kind
def test_a_perfect_prediction_of_nothing_costs_nothing(name, kind):
    _, labels = batch(kind)
    nothing = torch.zeros_like(labels)
    assert 0 <= get_loss(name)(perfect(kind, nothing), nothing) < 1e-5


@every_loss
@every_kind
@few
@given(seed=SEEDS)
def test_descent_lowers_the_loss(name, kind, seed):
    logits, labels = batch(kind, seed)
    loss = get_loss(name)
    logits = (logits / 3).detach().requires_grad_()
    first = loss(logits, labels).item()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(40):
        optimizer.zero_grad()
        loss(logits, labels).backward()
        optimizer.step()
    assert loss(logits, labels).item() < 0.5 * first


@every_loss
@every_kind
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(name, kind, half):
    logits, labels = batch(kind, size=(300, 300))  # more pixels than the largest float16
    low = (20 * logits.detach()).to(half)
    value, slope = gradient(get_loss(name), low, labels)
    assert value.dtype == torch.float32
    assert slope.dtype == half
    assert torch.isfinite(slope).all()
    close(value, get_loss(name)(low.float(), labels))


@every_loss
@every_kind
def test_double_precision_stays_double(name, kind):
    logits, labels = batch(kind)
    value = get_loss(name)(logits.double(), labels)
    assert value.dtype == torch.float64
    close(value.float(), get_loss(name)(logits, labels), rtol=1e-5, atol=1e-6)


@every_loss
@every_kind
@few
@given(seed=SEEDS, scale=st.floats(0.01, 100))
def test_only_the_ratio_of_class_weights_matters(name, kind, seed, scale):
    logits, labels = batch(kind, seed)
    weights = weights_for(kind)
    expected = get_loss(name, class_weights=weights)(logits, labels)
    close(get_loss(name, class_weights=[scale * weight for weight in weights])(logits, labels), expected)
    close(get_loss(name, class_weights=[scale] * len(weights))(logits, labels), get_loss(name)(logits, labels))


@every_loss
@every_kind
def test_class_weights_matter(name, kind):
    """Except where a binary batch has one region to weigh."""
    logits, labels = batch(kind)
    plain, weighted = get_loss(name)(logits, labels), get_loss(name, class_weights=weights_for(kind))(logits, labels)
    one_region = kind == "binary" and name not in PER_PIXEL
    assert torch.equal(plain, weighted) == one_region


@pytest.mark.parametrize("name", sorted({*LOSSES} - PER_PIXEL))
def test_a_binary_region_needs_no_weight_of_the_background(name):
    logits, labels = batch("binary")
    assert torch.equal(get_loss(name, class_weights=[0, 1])(logits, labels), get_loss(name)(logits, labels))


@every_loss
@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_a_class_of_weight_zero_costs_nothing(name, kind):
    """All its pixels could as well be ignored."""
    logits, labels = batch(kind)
    labels[labels == 255] = 0
    if kind == "multilabel":
        labels[:, 1:] = 255
    else:
        labels[labels != 0] = 255
    value, slope = gradient(get_loss(name, class_weights=[0, 1, 1, 1]), logits, labels)
    assert value == 0
    assert (slope == 0).all()


# Multilabel, a further class brings labels of its own, which count where labels are averaged.
@pytest.mark.parametrize(
    ("kind", "name"),
    [*(("multiclass", name) for name in LOSSES), *(("multilabel", name) for name in LOSSES if name not in PER_PIXEL)],
)
@few
@given(seed=SEEDS)
def test_absent_classes_do_not_dilute(kind, name, seed):
    """A further class that never occurs and is never predicted changes nothing."""
    logits, labels = batch(kind, seed)
    wider = F.pad(logits, (0, 0, 0, 0, 0, 1), value=-40.0)
    more = F.pad(labels, (0, 0, 0, 0, 0, 1)) if kind == "multilabel" else labels
    close(get_loss(name)(wider, more), get_loss(name)(logits, labels))


@every_loss
@pytest.mark.parametrize("occurring", [True, False])
def test_a_class_that_is_ignored_throughout_is_not_there(name, occurring):
    logits, labels = batch("multilabel")
    labels = labels if occurring else torch.where(labels == 255, 255, 0)
    labels[:, 3] = 255
    close(get_loss(name)(logits, labels), get_loss(name)(logits[:, :3], labels[:, :3]))


# Without a true contour there is no distance to it: false positives cost nothing in the boundary loss, as it says.
@pytest.mark.parametrize("name", sorted({*LOSSES, "auto"} - {"boundary"}))
@pytest.mark.parametrize(("kind", "another_occurs"), [("binary", False), ("multilabel", False), ("multilabel", True)])
def test_false_positives_cost_where_a_class_does_not_occur(name, kind, another_occurs):
    labels = torch.zeros(2, 3, 8, 8, dtype=torch.long)
    if another_occurs:  # and is found
        labels[:, 1, :4] = 1
    labels = labels[:, 0] if kind == "binary" else labels
    quiet = perfect(kind, labels)
    loud = quiet.clone()
    loud[:, 0, 2:5, 2:5] = 2.0
    value, slope = gradient(get_loss(name), loud, labels)
    assert value > 0.01 > 100 * get_loss(name)(quiet, labels)
    assert (slope[:, 0] >= 0).all()
    assert slope[:, 0, 2:5, 2:5].max() > 0  # less foreground is better


@every_loss
@every_kind
@few
@given(seed=SEEDS)
def test_order_and_orientation_of_the_pictures_do_not_matter(name, kind, seed):
    logits, labels = batch(kind, seed)
    expected = get_loss(name)(logits, labels)
    close(get_loss(name)(logits.flip(0, 3), labels.flip(0, -1)), expected)
    last = logits.detach().contiguous(memory_format=torch.channels_last)
    close(get_loss(name)(last, labels), expected.detach())


@every_loss
@every_kind
def test_a_loss_goes_to_other_processes(name, kind):
    loss = get_loss(name, class_weights=weights_for(kind))
    logits, labels = batch(kind)
    copy = pickle.loads(pickle.dumps(loss))
    assert torch.equal(copy(logits, labels), loss(logits, labels))
    assert repr(copy) == repr(loss)
