"""Every loss against torch, SMP, or its formula written out in loops."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from segmentation_models_pytorch import losses as smp
from segmentation_models_pytorch.losses._functional import softmax_focal_loss_with_logits
from test_losses import KINDS, batch, weights_for

from segnb.losses import (
    LOSSES,
    boundary,
    cross_entropy,
    dice,
    focal,
    hausdorff,
    jaccard,
    lovasz,
    mcc,
    ohem,
    tversky,
)

close = torch.testing.assert_close
SMOOTHING = [0.0, 0.2]


# --- Per pixel ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, [1.0, 0.0, 2.0, 5.0]])
@pytest.mark.parametrize("smoothing", SMOOTHING)
def test_cross_entropy_is_torchs_over_the_pixels_that_count(weights, smoothing):
    logits, labels = batch()
    given = torch.tensor(weights) if weights else None
    expected = F.cross_entropy(logits, labels, given, ignore_index=255, label_smoothing=smoothing)
    close(cross_entropy(logits, labels, class_weights=weights, label_smoothing=smoothing), expected)


def test_binary_cross_entropy_is_torchs():
    logits, labels = batch("binary")
    counted = labels != 255
    chosen, truth = logits[:, 0][counted], labels[counted].float()
    close(cross_entropy(logits, labels), F.binary_cross_entropy_with_logits(chosen, truth))
    weight = torch.where(truth == 1, 3.0, 0.5)
    expected = F.binary_cross_entropy_with_logits(chosen, truth, weight, reduction="sum") / weight.sum()
    close(cross_entropy(logits, labels, class_weights=[0.5, 3]), expected)


def test_multilabel_cross_entropy_is_torchs():
    logits, labels = batch("multilabel")
    counted = labels != 255
    close(cross_entropy(logits, labels), F.binary_cross_entropy_with_logits(logits[counted], labels[counted].float()))
    weight = torch.tensor([1.0, 2, 3, 4])[:, None, None].expand_as(logits)[counted]
    expected = F.binary_cross_entropy_with_logits(logits[counted], labels[counted].float(), weight, reduction="sum")
    close(cross_entropy(logits, labels, class_weights=[1, 2, 3, 4]), expected / weight.sum())


def test_smoothed_cross_entropy_is_smps():
    """Without ignored pixels: SMP divides by those, too. Its binary smoothing moves yes and no by all of the factor, not half."""
    logits, labels = batch(ignored=0)
    close(
        cross_entropy(logits, labels, label_smoothing=0.1), smp.SoftCrossEntropyLoss(smooth_factor=0.1)(logits, labels)
    )
    for kind in ("binary", "multilabel"):
        logits, labels = batch(kind, ignored=0)
        expected = smp.SoftBCEWithLogitsLoss(smooth_factor=0.05)(logits, labels.view_as(logits).float())
        close(cross_entropy(logits, labels, label_smoothing=0.1), expected)


@pytest.mark.parametrize("loss", [cross_entropy, focal, ohem])
@pytest.mark.parametrize("weights", [None, [0.5, 3.0], [0.0, 1.0]])
@pytest.mark.parametrize("smoothing", SMOOTHING)
def test_binary_is_a_softmax_over_background_and_foreground(loss, weights, smoothing):
    """A sigmoid of x is a softmax of (0, x): both must be the same loss."""
    logits, labels = batch("binary", size=(9, 8))
    options = {"class_weights": weights} if loss is focal else {"class_weights": weights, "label_smoothing": smoothing}
    close(loss(logits, labels, **options), loss(F.pad(logits, (0, 0, 0, 0, 1, 0)), labels, **options))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_is_smps(gamma):
    """Multiclass, SMP's class uses a sigmoid for each class, which the paper does not; its helper has the softmax."""
    logits, labels = batch("binary")
    close(focal(logits, labels, gamma=gamma), smp.FocalLoss("binary", gamma=gamma, ignore_index=255)(logits, labels))
    logits, labels = batch("multilabel", ignored=0)  # SMP averages class means, which differ if some pixels are ignored
    close(focal(logits, labels, gamma=gamma), smp.FocalLoss("multilabel", gamma=gamma)(logits, labels))
    logits, labels = batch()
    counted = labels != 255
    chosen, truth = logits.movedim(1, -1)[counted], labels[counted]
    close(focal(logits, labels, gamma=gamma), softmax_focal_loss_with_logits(chosen, truth, gamma=gamma))


def test_focal_has_a_gradient_where_all_is_right():
    """A power below 1 has an infinite slope at 0."""
    logits, labels = torch.full((1, 1, 2, 2), 200.0, requires_grad=True), torch.ones(1, 2, 2, dtype=torch.long)
    focal(logits, labels, gamma=0.5).backward()
    assert torch.isfinite(logits.grad).all()


def test_weighted_focal_in_loops():
    """SMP weighs the mean of each class over all pixels; here each pixel is weighed by its true class."""
    for kind in KINDS:
        logits, labels = batch(kind)
        weights = weights_for(kind)
        total = amount = 0.0
        for p, weight in true_probabilities(kind, logits, labels, weights):
            total -= weight * (1 - p) ** 2 * np.log(p)
            amount += weight
        assert focal(logits, labels, class_weights=weights).item() == pytest.approx(total / amount, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("threshold", "least"), [(0.7, 0.2), (0.05, 0.5), (0.0, 0.1), (1.0, 0.0), (0.0, 1.0)])
def test_ohem_in_loops(kind, threshold, least):
    logits, labels = batch(kind, size=(9, 8))
    for weights in (None, weights_for(kind)):
        pixels = sorted(true_probabilities(kind, logits, labels, weights))
        kept = [pixel for pixel in pixels if pixel[0] < threshold]
        kept = pixels[: max(len(kept), int(np.ceil(least * len(pixels))), 1)]
        expected = -sum(weight * np.log(p) for p, weight in kept) / sum(weight for _, weight in kept)
        found = ohem(logits, labels, threshold=threshold, least=least, class_weights=weights)
        assert found.item() == pytest.approx(expected, rel=1e-5)


def true_probabilities(kind, logits, labels, weights):
    """The probability of each counted label, and its weight."""
    z, y = logits.detach().double().numpy(), labels.numpy()
    for place in np.ndindex(y.shape):
        label = y[place]
        if label == 255:
            continue
        if kind == "multiclass":
            scores = np.exp(z[place[0], :, place[1], place[2]])
            p, index = scores[label] / scores.sum(), label
        else:
            x = z[place] if kind == "multilabel" else z[place[0], 0, place[1], place[2]]
            p = 1 / (1 + np.exp(-x if label == 1 else x))
            index = place[1] if kind == "multilabel" else label
        yield p, 1.0 if weights is None else weights[index]


# --- Regions --------------------------------------------------------------------------------------------------------

REGIONS = {
    "dice": lambda tp, fp, fn, tn: 1 - (2 * tp + 1) / (2 * tp + fp + fn + 1),
    "jaccard": lambda tp, fp, fn, tn: 1 - (tp + 1) / (tp + fp + fn + 1),
    "tversky": lambda tp, fp, fn, tn: 1 - (tp + 1) / (tp + 0.3 * fp + 0.7 * fn + 1),
    "mcc": lambda tp, fp, fn, tn: (
        1 - ((tp + 1) * (tn + 1) - fp * fn) / np.sqrt((tp + 1 + fp) * (tp + 1 + fn) * (tn + 1 + fp) * (tn + 1 + fn))
    ),
}


def maps(kind, logits, labels):
    """Probability, truth and what counts, each (B, K, H, W), in NumPy."""
    p = (logits.softmax(1) if kind == "multiclass" else logits.sigmoid()).detach().double().numpy()
    y = labels.numpy() if kind == "multilabel" else labels.numpy()[:, None]
    truth = y == (np.arange(p.shape[1])[None, :, None, None] if kind == "multiclass" else 1)
    return p, truth, np.broadcast_to(y != 255, p.shape)


def mean_over_classes(kind, losses, truth, counted, weights=None):
    """Mean over the classes that occur; under sigmoids, plus the mean over those that do not."""
    weights = [1.0] * len(losses) if weights is None or kind == "binary" else weights
    occurring, absent = [], []
    for k, (loss, weight) in enumerate(zip(losses, weights, strict=True)):
        if truth[:, k].any():
            occurring.append((loss, weight))
        elif counted[:, k].any() and kind != "multiclass":
            absent.append((loss, weight))
    return sum(sum(x * w for x, w in group) / sum(w for _, w in group) for group in (occurring, absent) if group)


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("absent", [False, True])
def test_regions_in_loops(name, kind, absent):
    """SMP scores absent classes 0 but counts them, so that they dilute its mean and no false positive costs: hence in loops."""
    logits, labels = batch(kind)
    if absent:
        last = {"binary": labels, "multiclass": labels, "multilabel": labels[:, 3]}[kind]
        last[last == (3 if kind == "multiclass" else 1)] = 0
    p, truth, counted = maps(kind, logits, labels)
    losses = []
    for k in range(p.shape[1]):
        tp = fp = fn = tn = 0.0
        for place in np.ndindex(p[:, k].shape):
            if counted[:, k][place]:
                guess, true = p[:, k][place], truth[:, k][place]
                tp, fp = tp + guess * true, fp + guess * (not true)
                fn, tn = fn + (1 - guess) * true, tn + (1 - guess) * (not true)
        losses.append(REGIONS[name](tp, fp, fn, tn))
    for weights in (None, weights_for(kind)):
        expected = mean_over_classes(kind, losses, truth, counted, weights)
        assert LOSSES[name](logits, labels, class_weights=weights).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_regions_are_smps_where_every_class_occurs(kind):
    logits, labels = batch(kind)
    options = {"mode": kind, "ignore_index": 255}
    theirs = labels[:, None] if kind == "binary" else labels
    # SMP's Dice adds to TP / (TP + ...) what ours adds to 2·TP / (2·TP + ...): twice as much.
    close(dice(logits, labels), smp.DiceLoss(smooth=0.5, **options)(logits, theirs))
    close(jaccard(logits, labels), smp.JaccardLoss(smooth=1.0, **options)(logits, theirs))
    reference = smp.TverskyLoss(smooth=1.0, alpha=0.3, beta=0.7, **options)
    close(tversky(logits, labels), reference(logits, theirs))


def test_tversky_lies_between_the_others():
    for kind in KINDS:
        logits, labels = batch(kind)
        close(tversky(logits, labels, 0.5, alpha=0.5, beta=0.5), dice(logits, labels))
        close(tversky(logits, labels, alpha=1, beta=1), jaccard(logits, labels))


def test_focal_tversky_is_a_root_for_each_class():
    """SMP takes the power of the mean over the classes; the paper sums the powers. With one class both agree."""
    logits, labels = batch("binary")
    close(tversky(logits, labels, gamma=4 / 3), tversky(logits, labels) ** 0.75)
    reference = smp.TverskyLoss("binary", smooth=1.0, alpha=0.3, beta=0.7, gamma=0.75, ignore_index=255)
    close(tversky(logits, labels, gamma=4 / 3), reference(logits, labels[:, None]))
    perfect = (200.0 * (labels[:, None] == 1) - 100).requires_grad_()
    loss = tversky(perfect, labels, gamma=4 / 3)
    loss.backward()
    assert loss < 1e-4
    assert torch.isfinite(perfect.grad).all()


def test_mcc_is_smps():
    """SMP's takes probabilities of one class and ignores nothing."""
    logits, labels = batch("binary", ignored=0)
    close(mcc(logits, labels, 0.0), smp.MCCLoss(eps=0)(logits.sigmoid(), labels[:, None].float()))


def test_mcc_of_label_maps_is_the_correlation():
    random = np.random.default_rng(0)
    truth, guess = random.integers(0, 2, (2, 1, 20, 20))
    found = mcc(torch.from_numpy(200.0 * guess[:, None] - 100), torch.from_numpy(truth), 0.0)
    assert found.item() == pytest.approx(1 - np.corrcoef(truth.ravel(), guess.ravel())[0, 1])
    opposite = mcc(torch.from_numpy(100 - 200.0 * truth[:, None]), torch.from_numpy(truth))
    assert opposite.item() == pytest.approx(2, abs=0.02)


# --- Lovász ---------------------------------------------------------------------------------------------------------


def test_lovasz_is_smps():
    logits, labels = batch("binary")
    close(lovasz(logits, labels), smp.LovaszLoss("binary", ignore_index=255)(logits, labels))
    logits, labels = batch()
    labels[labels == 3] = 0  # absent
    close(lovasz(logits, labels), smp.LovaszLoss("multiclass", ignore_index=255)(logits, labels))
    # Multilabel, SMP puts the pixels of all classes into one set: the overlap of that is not a mean over classes.
    logits, labels = batch("multilabel")
    reference = smp.LovaszLoss("binary", ignore_index=255)
    losses = [reference(logits[:, k], labels[:, k]) for k in range(4)]
    close(lovasz(logits, labels), torch.stack(losses).mean())


@given(st.integers(0, 10_000))
def test_lovasz_of_label_maps_is_one_minus_iou(seed):
    logits, labels = batch(seed=seed)
    guess = logits.argmax(1)
    counted = labels != 255
    losses = []
    for k in labels[counted].unique().tolist():
        a, b = (guess == k) & counted, labels == k
        losses.append(1 - (a & b).sum() / (a | b).sum())
    sure = 1e4 * F.one_hot(guess, 4).permute(0, 3, 1, 2).float()
    close(lovasz(sure, labels), torch.stack(losses).mean())
    weights = torch.tensor([1.0, 2, 3, 4])[labels[counted].unique()]
    close(lovasz(sure, labels, class_weights=[1, 2, 3, 4]), (torch.stack(losses) * weights).sum() / weights.sum())


# --- Distances ------------------------------------------------------------------------------------------------------


def distances(region, counted):
    """To the nearest counted pixel across the contour, of one picture and class, by trying all."""
    found = np.zeros(region.shape)
    if not (region & counted).any() or not (~region & counted).any():
        return found
    for a in np.ndindex(region.shape):
        across = [b for b in np.ndindex(region.shape) if counted[b] and region[b] != region[a]]
        found[a] = min(np.hypot(a[0] - b[0], a[1] - b[1]) for b in across)
    return found


def distances_of(regions, counted):
    """The same for (B, K, H, W)."""
    found = np.zeros(regions.shape)
    for b, k in itertools.product(*map(range, regions.shape[:2])):
        found[b, k] = distances(regions[b, k], counted[b, k])
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rare", [False, True])
def test_boundary_and_hausdorff_in_loops(kind, rare):
    """SMP has neither. With rare classes, some pictures have no contour, and distances are long."""
    logits, labels = batch(kind, size=(7, 6))
    if rare:
        labels[(labels != 255) & (torch.arange(6) > 0)] = 0
    p, truth, counted = maps(kind, logits, labels)
    to_true, to_predicted = distances_of(truth, counted), distances_of(p > 0.5, counted)
    amount = counted.sum((0, 2, 3))
    expected = {
        boundary: (to_true * np.abs(p - truth) * counted).sum((0, 2, 3)) / amount,
        hausdorff: ((to_true**2 + to_predicted**2) * (p - truth) ** 2 * counted).sum((0, 2, 3)) / amount,
    }
    for loss, losses in expected.items():
        for weights in (None, weights_for(kind)):
            mean = mean_over_classes(kind, losses, truth, counted, weights)
            assert loss(logits, labels, class_weights=weights).item() == pytest.approx(mean, rel=1e-5)
    power = ((to_true + to_predicted) * (p - truth) ** 2 * counted).sum((0, 2, 3)) / amount
    mean = mean_over_classes(kind, power, truth, counted)
    assert hausdorff(logits, labels, alpha=1).item() == pytest.approx(mean, rel=1e-5)


def test_boundary_is_the_papers_up_to_a_constant():
    """The paper drops what does not depend on the prediction; the gradient must be the same."""
    from scipy.ndimage import distance_transform_edt

    labels = torch.zeros(1, 12, 12, dtype=torch.long)
    labels[:, 3:8, 4:9] = 1
    logits = torch.randn(1, 1, 12, 12, generator=torch.Generator().manual_seed(0), requires_grad=True)
    inside = labels[0].numpy() == 1
    level_set = torch.from_numpy(distance_transform_edt(~inside) - distance_transform_edt(inside)).float()
    paper = (level_set * logits.sigmoid()).mean()
    (expected,) = torch.autograd.grad(paper, logits)
    (found,) = torch.autograd.grad(boundary(logits, labels), logits)
    close(found, expected)


def test_the_edge_of_an_ignored_area_is_no_contour():
    labels = torch.ones(1, 8, 8, dtype=torch.long)
    labels[:, :, 4:] = 255
    logits = torch.zeros(1, 1, 8, 8)
    assert boundary(logits, labels) == 0
    assert hausdorff(logits, labels) == 0


@pytest.mark.parametrize("loss", [boundary, hausdorff])
def test_far_errors_cost_more(loss):
    labels = torch.zeros(1, 16, 16, dtype=torch.long)
    labels[:, 2:6, 2:6] = 1
    sure = 20.0 * (2 * labels[:, None] - 1)
    near, far = sure.clone(), sure.clone()
    near[:, :, 4, 7], far[:, :, 14, 14] = 20.0, 20.0
    assert loss(far, labels) > 5 * loss(near, labels) > 0
