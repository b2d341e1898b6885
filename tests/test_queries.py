"""Queries that answer with classes and masks: their matching, their loss, their attentions, their scores."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from squares import CLASSES
from timm.models.vision_transformer import VisionTransformer

from segnb.decoders.query.mask2former import DeformableAttention, Fuse, split_levels
from segnb.encoders import Encoder
from segnb.errors import SegnbError
from segnb.losses import LOSSES, matching
from segnb.losses.matching import SetLoss, find_segments
from segnb.losses.points import read_at, uncertain_points
from segnb.models import create_model
from segnb.parts.queries import Attention, ClassifyByMasks, QueryLayer, sine_positions
from segnb.profiling import profile
from segnb.train import fit

FOCAL = SetLoss(class_weight=1.0, mask_weight=20.0, dice_weight=1.0, focal=True)
POINTS = SetLoss(class_weight=2.0, mask_weight=5.0, dice_weight=5.0, points=200)
SMALL = {
    "maskformer": {"encoder_name": "test_resnet", "width": 16, "queries": 7, "layers": 2, "heads": 2, "hidden": 24},
    "mask2former": {
        "encoder_name": "test_resnet",
        "width": 16,
        "queries": 7,
        "layers": 4,
        "pixel_layers": 1,
        "heads": 2,
    },
    "eomt": {"encoder_name": "test_vit", "queries": 7, "blocks": 2},
}


def random_case(seed, *, pictures=2, queries=5, classes=3, size=(8, 8), labels_size=(8, 8)):
    random = torch.Generator().manual_seed(seed)
    class_logits = torch.randn(1, pictures, queries, classes + 1, generator=random)
    mask_logits = 2 * torch.randn(1, pictures, queries, *size, generator=random)
    labels = torch.randint(0, classes, (pictures, *labels_size), generator=random)
    return class_logits, mask_logits, labels


# --- Segments -------------------------------------------------------------------------------------------------------


def test_a_segment_for_each_class_that_is_there():
    labels = torch.tensor([[0, 2, 2], [255, 2, 0]])
    found = find_segments(labels, 4)
    assert found.classes.tolist() == [0, 2]
    assert found.masks.tolist() == [[[1, 0, 0], [0, 0, 1]], [[0, 1, 1], [0, 1, 0]]]
    assert found.counted.tolist() == [[[1, 1, 1], [0, 1, 1]]] * 2
    assert found.known


def test_background_is_no_segment_of_a_binary_picture():
    found = find_segments(torch.tensor([[0, 1, 255]]), 1)
    assert (found.classes.tolist(), found.masks.tolist()) == ([0], [[[0, 1, 0]]])
    nothing = find_segments(torch.tensor([[0, 0, 255]]), 1)
    assert len(nothing.classes) == 0
    assert nothing.known
    assert not find_segments(torch.tensor([[255, 255]]), 3).known


def test_overlapping_classes_ignore_each_for_itself():
    planes = torch.tensor([[[1, 0, 255]], [[0, 0, 0]], [[1, 1, 0]]])
    found = find_segments(planes, 3)
    assert found.classes.tolist() == [0, 2]
    assert found.masks.tolist() == [[[1, 0, 0]], [[1, 1, 0]]]
    assert found.counted.tolist() == [[[1, 1, 0]], [[1, 1, 1]]]


def test_labels_without_a_class_are_told():
    with pytest.raises(SegnbError, match="found label 3; these logits know the labels 0 to 2"):
        find_segments(torch.tensor([[0, 3]]), 3)


# --- Matching and loss ----------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 999), queries=st.integers(1, 5), classes=st.integers(1, 4))
def test_no_other_matching_costs_less(seed, queries, classes):
    class_logits, mask_logits, labels = random_case(seed, pictures=1, queries=queries, classes=classes + 1)
    segments = find_segments(labels[0], classes + 1)
    costs = FOCAL.costs(class_logits[0, 0], mask_logits[0, 0], segments)
    found, order = FOCAL.match(class_logits[0, 0], mask_logits[0, 0], segments)
    few, many = sorted(costs.shape)
    table = costs if costs.shape[0] == few else costs.T
    least = min(
        sum(table[i, j].item() for i, j in enumerate(chosen)) for chosen in itertools.permutations(range(many), few)
    )
    assert costs[found, order].sum().item() == pytest.approx(least, abs=1e-4)
    assert len(set(found.tolist())) == len(set(order.tolist())) == few


def written_out(loss, class_logits, mask_logits, labels):
    """The loss of one layer, picture by picture, pair by pair, pixel by pixel; masks as large as labels."""
    classes = class_logits.shape[-1] - 1
    pairs, picked, weights, total = [], [], [], 0
    for logits, masks, picture in zip(class_logits.double(), mask_logits.double(), labels, strict=True):
        counted = picture != 255
        present = sorted(set(picture[counted].tolist()))
        total += len(present)
        losses = {}
        for (query, mask), (segment, label) in itertools.product(enumerate(masks), enumerate(present)):
            chances, truth, pixels = mask[counted].sigmoid(), (picture[counted] == label).double(), []
            for chance, true in zip(chances.tolist(), truth.tolist(), strict=True):
                right = chance if true else 1 - chance
                factor = (0.25 if true else 0.75) * (1 - right) ** 2 if loss.focal else 1
                pixels.append(-factor * math.log(right))
            dice = 1 - (2 * (chances * truth).sum() + 1) / (chances.sum() + truth.sum() + 1)
            both = loss.mask_weight * np.mean(pixels) + loss.dice_weight * dice.item()
            losses[query, segment] = both, both - loss.class_weight * logits[query].softmax(0)[label].item()
        chosen = min(
            itertools.permutations(range(len(masks)), len(present)),
            key=lambda queries: sum(losses[query, segment][1] for segment, query in enumerate(queries)),
        )
        pairs += [losses[query, segment][0] for segment, query in enumerate(chosen)]
        wanted = {query: present[segment] for segment, query in enumerate(chosen)}
        for query, scores in enumerate(logits.log_softmax(1)):
            label = wanted.get(query, classes)
            weights.append(loss.no_object_weight if label == classes else 1.0)
            picked.append(-scores[label].item() * weights[-1])
    return loss.class_weight * sum(picked) / sum(weights) + sum(pairs) / total


@pytest.mark.parametrize("focal", [True, False])
def test_the_loss_is_what_is_written_out(focal):
    loss = SetLoss(class_weight=2.0, mask_weight=5.0, dice_weight=3.0, focal=focal)
    class_logits, mask_logits, labels = random_case(3)
    labels[0, :3] = 255
    found = loss(class_logits, mask_logits, labels)
    assert found.item() == pytest.approx(written_out(loss, class_logits[0], mask_logits[0], labels), rel=1e-5)


def test_points_at_all_centres_are_all_pixels(monkeypatch):
    """And so the loss on points is the one that is written out, also where labels are ignored."""
    rows, columns = torch.meshgrid(*[(torch.arange(8) + 0.5) / 8] * 2, indexing="ij")
    centres = torch.stack([columns, rows], dim=2).reshape(1, 64, 2)
    monkeypatch.setattr(matching, "random_points", lambda count, *_: centres.expand(count, -1, -1))
    monkeypatch.setattr(matching, "uncertain_points", lambda masks, _: centres.expand(len(masks), -1, -1))
    class_logits, mask_logits, labels = random_case(4)
    labels[1, 2:5] = 255
    found = POINTS(class_logits, mask_logits, labels)
    assert found.item() == pytest.approx(written_out(POINTS, class_logits[0], mask_logits[0], labels), rel=1e-5)


@pytest.mark.parametrize("loss", [FOCAL, POINTS])
def test_layers_are_added_up(loss):
    first, second = random_case(5), random_case(6)
    labels = first[2]
    torch.manual_seed(0)
    both = loss(torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]]), labels)
    torch.manual_seed(0)
    one_by_one = loss(first[0], first[1], labels) + loss(second[0], second[1], labels)
    assert both.item() == pytest.approx(one_by_one.item(), rel=1e-5)


def test_ignored_pixels_have_no_influence():
    class_logits, mask_logits, labels = random_case(7)
    labels[:, 2:5, 3:] = 255
    mask_logits.requires_grad_()
    FOCAL(class_logits, mask_logits, labels).backward()
    assert mask_logits.grad[..., 2:5, 3:].abs().max() == 0
    assert mask_logits.grad[..., :2, :].abs().max() > 0
    changed = mask_logits.detach().clone()
    changed[..., 2:5, 3:] = 50
    torch.testing.assert_close(FOCAL(class_logits, changed, labels), FOCAL(class_logits, mask_logits, labels))


def test_between_pixels_ignored_labels_have_no_influence():
    """A label next to an ignored pixel stays what it is up to the border, whatever the pixel's own label would have been."""
    truth, counted = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[1.0, 0.0]]])
    points = torch.tensor([[[0.25, 0.5], [0.4, 0.5], [0.6, 0.5], [0.75, 0.5]]])
    _, found, weights = matching.at_points(truth, truth, counted, points)
    torch.testing.assert_close(weights[0], torch.tensor([1, 0.7, 0.3, 0]))
    torch.testing.assert_close(found[0, :3], torch.ones(3))


@pytest.mark.parametrize("loss", [FOCAL, POINTS])
def test_nothing_known_teaches_nothing(loss):
    class_logits, mask_logits, labels = random_case(8)
    labels[:] = 255
    class_logits.requires_grad_()
    mask_logits.requires_grad_()
    found = loss(class_logits, mask_logits, labels)
    found.backward()
    assert found.item() == 0
    assert class_logits.grad.abs().max() == 0
    assert mask_logits.grad.abs().max() == 0


@pytest.mark.parametrize("loss", [FOCAL, POINTS])
def test_a_picture_without_segments_teaches_that_there_is_no_object(loss):
    class_logits, mask_logits, labels = random_case(9, classes=1)
    labels[:] = 0
    class_logits.requires_grad_()
    found = loss(class_logits, mask_logits, labels)
    found.backward()
    expected = -loss.class_weight * class_logits.log_softmax(3)[..., 1].mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert (class_logits.grad[..., 1] < 0).all()


def test_more_segments_than_queries():
    class_logits, mask_logits, labels = random_case(10, queries=2, classes=6)
    assert math.isfinite(FOCAL(class_logits, mask_logits, labels))


@pytest.mark.parametrize("loss", [FOCAL, SetLoss(2.0, 5.0, 5.0, points=None)])
def test_planes_of_one_class_each_are_the_same_as_labels(loss):
    class_logits, mask_logits, labels = random_case(11)
    labels[0, :2] = 255
    planes = torch.stack([(labels == label).long() for label in range(3)], dim=1)
    planes[(labels == 255)[:, None].expand_as(planes)] = 255
    torch.testing.assert_close(loss(class_logits, mask_logits, planes), loss(class_logits, mask_logits, labels))


def test_diverged_predictions_are_matched_last():
    class_logits, mask_logits, labels = random_case(12, pictures=1)
    mask_logits[0, 0, :2] = torch.nan
    queries, _ = FOCAL.match(class_logits[0, 0], mask_logits[0, 0], find_segments(labels[0], 3))
    assert sorted(queries.tolist()) == [2, 3, 4]


def test_uncertain_points_are_where_masks_change():
    mask = torch.linspace(-4, 4, 64).expand(1, 64, 64)  # zero in the middle column
    torch.manual_seed(0)
    points = uncertain_points(mask, 400)
    assert points.shape == (1, 400, 2)
    certainty = read_at(mask, points).abs()[0]
    assert (certainty[:300] < 1.2).all()  # three quarters are the least sure quarter of all
    assert certainty[300:].mean() > 1.5  # the others are anywhere


def test_reading_between_pixels():
    mask = torch.tensor([[[0.0, 4.0], [8.0, 12.0]]])
    points = torch.tensor([[[0.25, 0.25], [0.5, 0.25], [0.5, 0.5], [0.0, 1.0]]])
    assert read_at(mask, points).tolist() == [[0, 2, 6, 8]]


@pytest.mark.parametrize("method", ["maskformer", "mask2former"])
def test_the_losses_of_transformers(method, monkeypatch):
    """Its points are drawn away from the border, where it reads zeros outside the picture."""
    transformers = pytest.importorskip("transformers")
    draw = torch.rand
    monkeypatch.setattr(torch, "rand", lambda *shape, **options: 0.1 + 0.8 * draw(*shape, **options))
    class_logits, mask_logits, labels = random_case(13, queries=12, classes=4, size=(16, 12), labels_size=(32, 24))
    labels[1] = labels[1].clamp(max=1)
    present = [picture.unique() for picture in labels]
    masks = [(picture == found[:, None, None]).float() for picture, found in zip(labels, present, strict=True)]
    if method == "maskformer":
        from transformers.models.maskformer import modeling_maskformer as theirs

        loss, weights = FOCAL, {"loss_cross_entropy": 1.0, "loss_mask": 20.0, "loss_dice": 1.0}
        matcher = theirs.MaskFormerHungarianMatcher(cost_class=1.0, cost_mask=20.0, cost_dice=1.0)
        criterion = theirs.MaskFormerLoss(4, matcher, weights, eos_coef=0.1)
    else:
        from transformers.models.mask2former import modeling_mask2former as theirs

        loss, weights = POINTS, {"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 5.0}
        config = transformers.Mask2FormerConfig(train_num_points=200, num_labels=4)
        criterion = theirs.Mask2FormerLoss(config, weights)
        criterion.empty_weight = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.1])
    torch.manual_seed(0)
    parts = criterion(mask_logits[0], class_logits[0], masks, present)
    torch.manual_seed(0)
    found = loss(class_logits, mask_logits, labels)
    assert found.item() == pytest.approx(sum(weights[name] * part.item() for name, part in parts.items()), rel=1e-5)


# --- Attention ------------------------------------------------------------------------------------------------------


def test_positions_are_waves():
    found = sine_positions(torch.zeros(1, 8, 3, 2))[0]
    place = lambda number, length: 2 * math.pi * number / (length + 1e-6)  # noqa: E731
    row, column = place(2, 3), place(1, 2)  # the second row, the first column: pixel 2
    expected = []
    for angle in (row, column):
        expected += [math.sin(angle), math.cos(angle), math.sin(angle / 100), math.cos(angle / 100)]
    torch.testing.assert_close(found[2], torch.tensor(expected))


def test_attention_is_pytorchs():
    attention, theirs = Attention(8, 2), torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_bias.normal_()
        for part, weight, bias in zip(
            (attention.query, attention.key, attention.value),
            theirs.in_proj_weight.chunk(3),
            theirs.in_proj_bias.chunk(3),
            strict=True,
        ):
            part.weight.copy_(weight)
            part.bias.copy_(bias)
        attention.project.load_state_dict(theirs.out_proj.state_dict())
    query, key, value = torch.randn(2, 3, 8), torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    allowed = torch.rand(2, 3, 5) > 0.3
    allowed[..., 0] = True
    expected, _ = theirs(query, key, value, attn_mask=~allowed.repeat_interleave(2, dim=0))
    torch.testing.assert_close(attention(query, key, value, allowed), expected)


def test_a_query_learns_nothing_from_where_it_may_not_look():
    torch.manual_seed(0)
    layer = QueryLayer(8, 2, 16, look_first=True).eval()
    queries, names, places, positions = (
        torch.randn(1, 3, 8),
        torch.randn(3, 8),
        torch.randn(1, 6, 8),
        torch.randn(1, 6, 8),
    )
    allowed = torch.tensor([[[True] * 3 + [False] * 3]]).expand(1, 3, -1)
    before = layer(queries, names, places, positions, allowed)
    places[:, 3:] += 10
    torch.testing.assert_close(layer(queries, names, places, positions, allowed), before)
    places[:, :3] += 10
    assert not torch.allclose(layer(queries, names, places, positions, allowed), before, atol=1e-2)


def bilinear(values, x, y):
    """Read (h, w, C) at pixel coordinates whose whole numbers are centres; zeros outside."""
    height, width = values.shape[:2]
    total = torch.zeros(values.shape[2])
    for row, column in itertools.product((math.floor(y), math.floor(y) + 1), (math.floor(x), math.floor(x) + 1)):
        if 0 <= row < height and 0 <= column < width:
            total += (1 - abs(y - row)) * (1 - abs(x - column)) * values[row, column]
    return total


def test_deformable_attention_is_the_loop():
    torch.manual_seed(0)
    heads, points, width, sizes = 2, 3, 8, [(2, 3), (4, 3), (5, 6)]
    attention = DeformableAttention(width, heads, points)
    torch.nn.init.normal_(attention.offset.weight, std=0.5)
    torch.nn.init.normal_(attention.weigh.weight)
    count = sum(height * columns for height, columns in sizes)
    x, query = torch.randn(2, count, width), torch.randn(2, count, width)
    with torch.no_grad():
        found = attention(query, x, sizes)
        values = split_levels(attention.value(x), sizes)
        offsets = attention.offset(query).reshape(2, count, heads, 3, points, 2)
        weights = (
            attention.weigh(query).reshape(2, count, heads, 3 * points).softmax(3).reshape(2, count, heads, 3, points)
        )
        origins = [
            ((column + 0.5) / columns, (row + 0.5) / height)
            for height, columns in sizes
            for row in range(height)
            for column in range(columns)
        ]
        for batch, token in [(0, 0), (0, 7), (1, 20), (1, count - 1)]:
            gathered = torch.zeros(heads, width // heads)
            for head, level, point in itertools.product(range(heads), range(3), range(points)):
                height, columns = sizes[level]
                step = offsets[batch, token, head, level, point].tolist()
                pixel = [origins[token][0] * columns + step[0] - 0.5, origins[token][1] * height + step[1] - 0.5]
                part = values[level][batch].permute(1, 2, 0)[..., head * 4 : head * 4 + 4]
                gathered[head] += weights[batch, token, head, level, point] * bilinear(part, *pixel)
            torch.testing.assert_close(attention.project(gathered.flatten()), found[batch, token], atol=1e-5, rtol=1e-4)


def test_at_first_heads_look_in_all_directions():
    attention = DeformableAttention(16, 4, 2)
    steps = attention.offset.bias.reshape(4, 3, 2, 2)
    expected = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    torch.testing.assert_close(steps[:, 1, 0], expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(steps[:, 2, 1], 2 * expected, atol=1e-6, rtol=0)


def test_levels_are_split_as_they_were_joined():
    maps = [torch.randn(2, 4, *size) for size in ((1, 2), (3, 2), (5, 4))]
    joined = torch.cat([x.flatten(2).mT for x in maps], dim=1)
    for found, x in zip(split_levels(joined, [(1, 2), (3, 2), (5, 4)]), maps, strict=True):
        assert torch.equal(found, x)


def test_pixels_learn_from_other_levels():
    torch.manual_seed(0)
    fuse = Fuse([4, 4, 4, 4], 8, 2, 16, layers=1).eval()
    features = [torch.randn(1, 4, 2**side, 2**side) for side in (4, 3, 2, 1)]
    _, before = fuse(features)
    features[3] = features[3] + torch.randn(1, 4, 2, 2)
    _, after = fuse(features)
    assert [x.shape[-1] for x in after] == [2, 4, 8]
    assert not torch.allclose(before[2], after[2], atol=1e-3)


# --- Scores ---------------------------------------------------------------------------------------------------------


def scores_of(classify, pixels, queries):
    class_logits, mask_logits = classify.read(pixels, queries)
    return torch.einsum("bqk,bqhw->bkhw", class_logits.softmax(2)[..., :-1], mask_logits.sigmoid())


def test_a_softmax_of_the_logits_is_the_share_of_the_score():
    classify = ClassifyByMasks(8, 4, exclusive=True)
    pixels, queries = torch.randn(2, 8, 3, 5), torch.randn(2, 6, 8)
    with torch.no_grad():
        logits, scores = classify(pixels, queries), scores_of(classify, pixels, queries)
    torch.testing.assert_close(logits.softmax(1), scores / scores.sum(1, keepdim=True))
    assert torch.equal(logits.argmax(1), scores.argmax(1))


def test_a_sigmoid_of_the_logits_is_the_score():
    classify = ClassifyByMasks(8, 1, exclusive=False)
    pixels, queries = torch.randn(2, 8, 3, 5), torch.randn(2, 3, 8)
    with torch.no_grad():
        logits, scores = classify(pixels, queries), scores_of(classify, pixels, queries)
        sure = classify(100 * pixels, 100 * queries)
    torch.testing.assert_close(logits.sigmoid(), scores.clamp(1e-6, 1 - 1e-6))
    assert sure.abs().max() < 20


@pytest.mark.parametrize("arch", SMALL)
@pytest.mark.parametrize(("classes", "multilabel"), [(1, False), (3, False), (3, True), (150, False)])
def test_every_layer_can_be_seen_and_the_last_one_is_the_answer(arch, classes, multilabel):
    torch.manual_seed(0)
    model = create_model(arch, encoder_weights=None, classes=classes, multilabel=multilabel, **SMALL[arch]).eval()
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        outputs, logits = model.forward_all(image), model(image)
    assert torch.equal(outputs.logits, logits)
    assert outputs.stages == []
    class_logits, mask_logits = outputs.clues["class_logits"], outputs.clues["mask_logits"]
    layers = {"maskformer": 2, "mask2former": 5, "eomt": 3}[arch]
    assert class_logits.shape == (layers, 2, 7, classes + 1)
    assert mask_logits.shape == (layers, 2, 7, 16, 24)
    scores = torch.einsum("bqk,bqhw->bkhw", class_logits[-1].softmax(2)[..., :-1], mask_logits[-1].sigmoid())
    own = scores.clamp(min=1e-6).log() if classes > 1 and not multilabel else scores.logit(1e-6)
    enlarged = torch.nn.functional.interpolate(own, (64, 96), mode="bilinear", align_corners=False)
    torch.testing.assert_close(logits, enlarged, atol=1e-4, rtol=1e-4)
    planes = torch.randint(0, 2, (2, classes, 64, 96))
    labels = planes if multilabel else torch.randint(0, max(2, classes), (2, 64, 96))
    assert math.isfinite(model.own_loss(outputs, labels))


@pytest.mark.parametrize("arch", SMALL)
def test_every_weight_learns_by_the_own_loss(arch):
    torch.manual_seed(0)
    model = create_model(arch, encoder_weights=None, classes=3, **SMALL[arch]).train()
    assert model.learns_by_own_loss
    labels = torch.randint(0, 3, (1, 50, 40))
    labels[:, 20:] = 255
    model.own_loss(model.forward_all(torch.randn(1, 3, 50, 40)), labels).backward()
    learning = [(name, p.grad) for name, p in model.named_parameters() if p.requires_grad]
    assert [name for name, gradient in learning if gradient is None or not torch.isfinite(gradient).all()] == []


@pytest.mark.parametrize(("loss", "expected"), [("auto", ["own"]), ("ce", ["ce", "own"])])
def test_fit_learns_by_matching(loss, expected, square_data, tmp_path, monkeypatch):
    """By the set loss alone, and beside it by a loss that is asked for by name."""
    seen = []

    def watched(name, function):
        def call(*given, **options):
            if torch.is_grad_enabled():  # validation has a loss of its own
                seen.append(name)
            return function(*given, **options)

        return call

    monkeypatch.setattr(SetLoss, "__call__", watched("own", SetLoss.__call__))
    monkeypatch.setitem(LOSSES, "ce", watched("ce", LOSSES["ce"]))
    model = create_model("maskformer", encoder_weights=None, classes=CLASSES, **SMALL["maskformer"])
    before = model.decoder.names.detach().clone()
    fit(model, *square_data, 1, batch_size=16, loss=loss, lr=1e-2, out=tmp_path / "run")
    assert sorted(set(seen)) == expected
    assert not torch.equal(model.decoder.names, before)


@pytest.mark.parametrize("arch", SMALL)
def test_mixed_precision(arch):
    torch.manual_seed(0)
    model = create_model(arch, encoder_weights=None, classes=3, **SMALL[arch]).train()
    image, labels = torch.randn(1, 3, 64, 64), torch.randint(0, 3, (1, 64, 64))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model.forward_all(image)
        loss = model.own_loss(outputs, labels)
    loss.backward()
    assert outputs.logits.dtype == loss.dtype == torch.float32
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("arch", SMALL)
def test_operations_can_be_counted(arch):
    with torch.device("meta"):
        model = create_model(arch, encoder_weights=None, classes=3, **SMALL[arch])
    assert profile(model, 64, batch_sizes=()).multiply_adds > 1e6


def test_a_width_that_heads_cannot_share_is_refused():
    with pytest.raises(SegnbError, match="width=20 with heads=8: give a multiple of 4 and of the number of heads"):
        create_model("mask2former", "test_resnet", None, width=20)


# --- Queries in the encoder -----------------------------------------------------------------------------------------


def test_lent_blocks_go_on_where_the_encoder_ends():
    torch.manual_seed(0)
    encoder = Encoder("test_vit", None, 3, (16,), raw=True, lends_blocks=True).eval()
    assert isinstance(encoder.backbone.model, VisionTransformer)
    whole, image = copy.deepcopy(encoder.backbone.model), torch.randn(2, 3, 48, 64)
    blocks, norm = encoder.lend_blocks(2)
    with torch.no_grad():
        patches, prefix = encoder(image)
        tokens = torch.cat([prefix, patches.flatten(2).mT], dim=1)
        for block in blocks:
            tokens = block(tokens)
        torch.testing.assert_close(norm(tokens), whole.forward_features(image))
    names = [name for name, _ in encoder.named_parameters()]
    assert {name.split(".")[3] for name in names if ".blocks." in name} == {
        str(i) for i in range(len(whole.blocks) - 2)
    }
    assert not any(".model.norm." in name for name in names)


def test_encoders_without_blocks_to_lend_are_refused():
    with pytest.raises(
        SegnbError, match="encoder 'test_resnet' is no plain vision transformer, whose last blocks the decod"
    ):
        create_model("eomt", "test_resnet", None)
    with pytest.raises(SegnbError, match=r"blocks=99: 'test_vit' has \d+ blocks; give 1 to \d"):
        create_model("eomt", "test_vit", None, blocks=99)
    with pytest.raises(SegnbError, match=r"blocks='4': 'test_vit' has \d+ blocks"):
        create_model("eomt", "test_vit", None, blocks="4")


def test_patches_of_14_are_enlarged_by_two_steps_too():
    with torch.device("meta"):
        model = create_model("eomt", "vit_small_patch14_reg4_dinov2", None)
    assert len(model.decoder.enlarge) == 2
    assert model.decoder.first_patch == 100 + 5


def test_masked_attention_fades_out_block_by_block():
    model = create_model("eomt", encoder_weights=None, classes=2, masked_steps=80, **SMALL["eomt"]).train()
    shares = []
    for step in (0, 20, 30, 40, 50, 60, 80):
        model.decoder.steps.fill_(step)
        shares.append([round(model.decoder.masked_share(number), 4) for number in (0, 1)])
    half = round(0.5**0.9, 4)
    assert shares == [[1, 1], [1, 1], [half, 1], [0, 1], [0, half], [0, 0], [0, 0]]
    model.decoder.steps.zero_()
    image = torch.randn(1, 3, 64, 64)
    masked = model.forward_all(image).clues["mask_logits"]
    assert model.decoder.steps == 1
    model.decoder.steps.fill_(80)
    free = model.forward_all(image).clues["mask_logits"]
    torch.testing.assert_close(masked[0], free[0])  # before the first of the blocks, there is nothing to mask
    assert not torch.allclose(masked[-1], free[-1], atol=1e-4)
    assert torch.equal(model.eval()(image), model(image))
    assert model.decoder.steps == 81


def test_queries_see_only_patches_inside_their_masks():
    model = create_model("eomt", encoder_weights=None, classes=2, **SMALL["eomt"])
    decoder, patches = model.decoder, torch.randn(1, model.encoder.channels[0], 2, 3)
    queries, pixels = torch.randn(1, 7, patches.shape[1]), torch.randn(1, patches.shape[1], 8, 12)
    allowed = decoder.allow(queries, pixels, patches, 1.0)[0, 0]
    first = decoder.first_patch
    coarse = torch.nn.functional.interpolate(pixels, (2, 3), mode="bilinear")
    inside = torch.einsum("bqc,bchw->bqhw", decoder.classify.masks(queries), coarse).flatten(2)[0] > 0
    assert torch.equal(allowed[:7, first:], inside)
    assert allowed[7:].all()
    assert allowed[:, :first].all()
    assert decoder.allow(queries, pixels, patches, 0.0).all()
