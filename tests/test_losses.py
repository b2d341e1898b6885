"""Losses by name, what they refuse, and the batches that the other tests of losses share."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segnb.errors import SegnbError
from segnb.losses import LOSSES, cross_entropy, dice, focal, get_loss, ohem

KINDS = ("binary", "multiclass", "multilabel")


def batch(kind="multiclass", seed=0, classes=4, size=(6, 5), ignored=0.2):
    """Logits (2, K, H, W) that want a gradient, and their labels, some of them 255."""
    random = torch.Generator().manual_seed(seed)
    classes = 1 if kind == "binary" else classes
    logits = (3 * torch.randn(2, classes, *size, generator=random)).requires_grad_()
    shape = logits.shape if kind == "multilabel" else (2, *size)
    labels = torch.randint(0, classes if kind == "multiclass" else 2, shape, generator=random)
    labels[torch.rand(shape, generator=random) < ignored] = 255
    return logits, labels


def weights_for(kind, classes=4):
    """Class weights of any batch of a kind."""
    return [0.5, 3.0] if kind == "binary" else [1.0 + index for index in range(classes)]


# --- By name --------------------------------------------------------------------------------------------------------


def test_names_and_sums():
    logits, labels = batch()
    both = cross_entropy(logits, labels) + dice(logits, labels)
    torch.testing.assert_close(get_loss("auto")(logits, labels), both)
    torch.testing.assert_close(get_loss("CE + Dice")(logits, labels), both)
    torch.testing.assert_close(get_loss("dice")(logits, labels), dice(logits, labels))
    torch.testing.assert_close(get_loss("ce+ce")(logits, labels), 2 * cross_entropy(logits, labels))
    weighted = 0.7 * dice(logits, labels) + 0.3 * focal(logits, labels)
    torch.testing.assert_close(get_loss("0.7*dice+0.3*focal")(logits, labels), weighted)
    torch.testing.assert_close(get_loss(" 2 * ce ")(logits, labels), 2 * cross_entropy(logits, labels))
    assert get_loss(F.cross_entropy) is F.cross_entropy


@pytest.mark.parametrize("given", [[1, 2, 0, 4], (1, 2, 0, 4), np.array([1, 2, 0, 4]), torch.tensor([1, 2, 0, 4])])
def test_class_weights_go_to_every_loss_of_a_sum(given):
    logits, labels = batch()
    parts = cross_entropy(logits, labels, class_weights=given) + dice(logits, labels, class_weights=given)
    torch.testing.assert_close(get_loss("ce+dice", class_weights=given)(logits, labels), parts)
    assert not torch.isclose(parts, get_loss("ce+dice")(logits, labels))


def test_label_smoothing_goes_to_the_losses_that_can_use_it():
    logits, labels = batch()
    parts = cross_entropy(logits, labels, label_smoothing=0.1) + dice(logits, labels)
    torch.testing.assert_close(get_loss("auto", label_smoothing=0.1)(logits, labels), parts)
    both = ohem(logits, labels, class_weights=[1, 2, 3, 4], label_smoothing=0.1)
    torch.testing.assert_close(get_loss("ohem", class_weights=[1, 2, 3, 4], label_smoothing=0.1)(logits, labels), both)
    with pytest.raises(
        SegnbError, match=r"loss='dice\+focal' cannot use label_smoothing; these losses can: ce, ohem\."
    ):
        get_loss("dice+focal", label_smoothing=0.1)


def test_a_loss_can_be_read_compared_and_sent_to_other_processes():
    loss = get_loss("0.5*dice + ce", class_weights=torch.tensor([1.0, 2, 3, 4]), label_smoothing=0.1)
    assert repr(loss) == "get_loss('0.5*dice+ce', class_weights=[1.0, 2.0, 3.0, 4.0], label_smoothing=0.1)"
    assert repr(get_loss("auto")) == "get_loss('ce+dice')"
    assert eval(repr(loss)) == loss != get_loss("auto")
    logits, labels = batch()
    copy = pickle.loads(pickle.dumps(loss))
    assert copy == loss
    assert copy(logits, labels) == loss(logits, labels)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dic", "unknown loss 'dic' in loss='dic'. Did you mean 'dice'"),
        ("bce", "unknown loss 'bce' in loss='bce'. Did you mean 'ce'"),
        ("ce+fokal", r"unknown loss 'fokal' in loss='ce\+fokal'. Did you mean 'focal'"),
        ("ce+", r"unknown loss '' in loss='ce\+'. Choose from: boundary, ce, dice, focal"),
        (None, "unknown loss 'none' in loss=None. "),
        (3, "unknown loss '3'"),
        ("dice*0.7", r"unknown loss '0.7' in loss='dice\*0.7'. Choose from"),
        ("x*dice", r"loss='x\*dice': 'x' is not a positive number; write for example '0.7\*dice\+0.3\*focal'."),
        ("ce+-1*dice", "'-1' is not a positive number"),
        ("0*dice", "'0' is not a positive number"),
        ("inf*dice", "'inf' is not a positive number"),
        ("2*3*dice", r"'2\*3' is not a positive number"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(SegnbError, match=message):
        get_loss(name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"class_weights": [1, -1]},
            r"class_weights=\[1, -1\]: give a list of one number for each class, none negative",
        ),
        ({"class_weights": [0, 0.0]}, "at least one above 0"),
        ({"class_weights": [1, float("nan")]}, "none negative"),
        ({"class_weights": [1, float("inf")]}, "none negative"),
        ({"class_weights": []}, r"class_weights=\[\]: give a list"),
        ({"class_weights": 2}, "class_weights=2: give a list"),
        ({"class_weights": ["sky"]}, r"class_weights=\['sky'\]: give a list"),
        ({"label_smoothing": 1.5}, "label_smoothing=1.5: give a number from 0 to 1."),
        ({"label_smoothing": "a lot"}, "label_smoothing='a lot': give a number from 0 to 1."),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(SegnbError, match=message):
        get_loss("ce", **options)


def test_a_callable_takes_no_options():
    with pytest.raises(SegnbError, match="class_weights and label_smoothing are for losses with a name; <function"):
        get_loss(F.cross_entropy, class_weights=[1, 2])


# --- Logits and labels that do not fit ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("logits", "labels", "given"),
    [
        ((2, 3, 8, 8), (2, 8, 7), r"logits \(2, 3, 8, 8\) float32 and labels \(2, 8, 7\) int64"),
        ((2, 3, 8, 8), (1, 8, 8), r"labels \(1, 8, 8\) int64"),
        ((2, 3, 8, 8), (2, 1, 8, 8), r"labels \(2, 1, 8, 8\) int64"),
        ((2, 3, 8, 8), (2, 3, 4, 4), r"labels \(2, 3, 4, 4\) int64"),
        ((3, 8, 8), (8, 8), r"logits \(3, 8, 8\) float32"),
        ((2, 3), (2,), r"logits \(2, 3\) float32"),
    ],
)
def test_shapes_that_do_not_fit(name, logits, labels, given):
    with pytest.raises(
        SegnbError, match=given + r".* needs floating-point logits \(B, K, H, W\) and integer labels: \(B, H, W\)"
    ):
        LOSSES[name](torch.zeros(logits), torch.zeros(labels, dtype=torch.long))


@pytest.mark.parametrize("name", LOSSES)
def test_types_that_do_not_fit(name):
    logits, labels = torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 3)
    with pytest.raises(SegnbError, match=r"labels \(1, 3, 3\) float32; it needs"):
        LOSSES[name](logits, labels)
    with pytest.raises(SegnbError, match=r"logits \(1, 2, 3, 3\) int64 and"):
        LOSSES[name](logits.long(), labels.long())


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("kind", "label", "highest"), [("binary", 2, 1), ("multiclass", 4, 3), ("multiclass", -1, 3), ("multilabel", 3, 1)]
)
def test_labels_without_a_class(name, kind, label, highest):
    """A binary mask of 0 and 2 would train without an error, towards nonsense."""
    logits, labels = batch(kind)
    labels.view(-1)[0] = label
    with pytest.raises(
        SegnbError, match=f"found label {label}; these logits know the labels 0 to {highest}, and 255 for"
    ):
        LOSSES[name](logits, labels)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("kind", "count", "message"),
    [
        ("binary", 1, "class_weights has 1 numbers; logits with 1 channels need two, for background and foreground"),
        ("multiclass", 3, "class_weights has 3 numbers; logits with 4 channels need 4, one for each class"),
        ("multilabel", 5, "class_weights has 5 numbers; logits with 4 channels need 4, one for each class"),
    ],
)
def test_another_number_of_class_weights(name, kind, count, message):
    with pytest.raises(SegnbError, match=message):
        LOSSES[name](*batch(kind), class_weights=[1.0] * count)


@pytest.mark.parametrize("option", ["threshold", "least", "label_smoothing"])
def test_shares_of_hard_pixels_that_do_not_fit(option):
    with pytest.raises(SegnbError, match=f"{option}=-0.1: give a number from 0 to 1."):
        ohem(*batch(), **{option: -0.1})


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("type_", [torch.uint8, torch.int32, torch.int16])
def test_labels_of_any_integer_type(name, kind, type_):
    logits, labels = batch(kind)
    assert torch.equal(LOSSES[name](logits, labels.to(type_)), LOSSES[name](logits, labels))


@pytest.mark.parametrize("name", LOSSES)
def test_labels_of_yes_and_no(name):
    for kind in ("binary", "multilabel"):
        logits, labels = batch(kind, ignored=0)
        assert torch.equal(LOSSES[name](logits, labels.bool()), LOSSES[name](logits, labels))
