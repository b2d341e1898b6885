"""PointRend: which points are unsure, what is read there, and that only they change."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from segnb.decoders import DECODERS
from segnb.decoders.refine import PointRend, can_be_refined
from segnb.errors import SegnbError
from segnb.exporting import export
from segnb.losses.unsure_points import choose_points, labels_at, read_between, uncertainty
from segnb.models import create_model
from segnb.pretrained import load_model, save_model

TINY = "test_resnet"
NARROW = {"decoder_options": {"decoder_pyramid_channels": 16, "decoder_segmentation_channels": 16}, "width": 16}


def build(classes=3, **options):
    torch.manual_seed(0)
    return create_model("pointrend", TINY, None, classes=classes, **{**NARROW, **options})


# --- Points -----------------------------------------------------------------------------------------------------------


def test_uncertainty_is_how_little_it_takes_to_decide_otherwise():
    logits = torch.tensor([[2.0, 0.0], [1.5, 7.0], [-9.0, 3.0]])[None]  # three classes, two pixels
    assert uncertainty(logits, yes_or_no=False).tolist() == [[-0.5, -4.0]]
    assert uncertainty(logits, yes_or_no=True).tolist() == [[-1.5, 0.0]]
    assert uncertainty(logits[:, :1], yes_or_no=True).tolist() == [[-2.0, 0.0]]
    assert uncertainty(torch.randn(2, 4, 5, 6), yes_or_no=False).shape == (2, 5, 6)


def test_maps_are_read_between_their_pixels():
    row = torch.tensor([1.0, 3.0, 5.0, 9.0]).reshape(1, 1, 1, 4)
    x = torch.tensor(
        [1 / 8, 3 / 8, 1 / 2, 3 / 4, 0.0]
    )  # two middles of pixels, two borders between them, the picture's edge
    points = torch.stack([x, torch.full_like(x, 0.5)], dim=1)[None]
    assert read_between(row, points).flatten().tolist() == pytest.approx([1, 3, 4, 7, 0.5])  # outside is 0
    half = read_between(row.half(), points)
    assert half.dtype == torch.float16
    assert half.flatten().tolist() == pytest.approx([1, 3, 4, 7, 0.5])


def test_points_of_a_map_in_order():
    maps = torch.randn(2, 3, 4, 5)
    y, x = torch.meshgrid((torch.arange(4) + 0.5) / 4, (torch.arange(5) + 0.5) / 5, indexing="ij")
    points = torch.stack([x, y], dim=2).reshape(1, 20, 2).expand(2, -1, -1)
    torch.testing.assert_close(read_between(maps, points), maps.flatten(2))
    labels = torch.arange(40).reshape(2, 4, 5)
    assert torch.equal(labels_at(labels, points)[..., 0], labels.flatten(1))
    several = torch.arange(120).reshape(2, 3, 4, 5)
    assert torch.equal(labels_at(several, points)[..., 0], several.flatten(2))
    assert labels_at(labels, torch.ones(2, 1, 2)).flatten().tolist() == [19, 39]  # the last corner


def test_most_points_are_drawn_where_it_is_unsure():
    """Class 0 wins on the left, class 1 on the right, and the middle is undecided."""
    left_to_right = torch.linspace(-4, 4, 32).expand(1, 1, 32, 32)
    logits = torch.cat([-left_to_right, left_to_right], dim=1)
    torch.manual_seed(0)
    points = choose_points(logits, 400, yes_or_no=False)
    assert points.shape == (1, 400, 2)
    away = (points[0, :, 0] - 0.5).abs()
    # A quarter of 1200 points lies within 0.125, more or less; at the picture's edge all logits are near the 0 outside.
    assert away[:300].quantile(0.95) < 0.16
    assert away[300:].max() > 0.4  # the others are anywhere
    assert points.min() >= 0
    assert points.max() <= 1


# --- Refining ---------------------------------------------------------------------------------------------------------


def bilinear(maps, x, y):
    """One place of (C, h, w), written out; pixels outside are 0."""
    _, height, width = maps.shape
    column, row = x * width - 0.5, y * height - 0.5
    total = torch.zeros(len(maps))
    for i in (int(row // 1), int(row // 1) + 1):
        for j in (int(column // 1), int(column // 1) + 1):
            if 0 <= i < height and 0 <= j < width:
                total = total + (1 - abs(row - i)) * (1 - abs(column - j)) * maps[:, i, j]
    return total


def test_only_the_least_sure_pixels_are_decided_again():
    refiner = build(points=7, subdivisions=1).decoder.eval()
    coarse, details = torch.randn(2, 3, 4, 5), torch.randn(2, 16, 8, 10)
    with torch.no_grad():
        refined = refiner.refine(coarse, details)
        doubled = F.interpolate(coarse, scale_factor=2.0, mode="bilinear")
        for picture in range(2):
            best = doubled[picture].flatten(1).sort(dim=0, descending=True).values
            unsure = set((best[0] - best[1]).argsort()[:7].tolist())
            for place in range(80):
                row, column = divmod(place, 10)
                expected = doubled[picture, :, row, column]
                if place in unsure:
                    x, y = (column + 0.5) / 10, (row + 0.5) / 8
                    said = bilinear(coarse[picture], x, y)
                    inside = bilinear(details[picture], x, y)
                    for layer in refiner.decide.read:
                        inside = (layer.weight[..., 0] @ torch.cat([inside, said]) + layer.bias).relu()
                    last = refiner.decide.classify
                    expected = last.weight[..., 0] @ torch.cat([inside, said]) + last.bias
                torch.testing.assert_close(refined[picture, :, row, column], expected, atol=1e-5, rtol=1e-4)


def test_small_maps_are_refined_everywhere_and_none_as_often_as_asked():
    refiner = build().decoder.eval()
    coarse, details = torch.randn(1, 3, 4, 6), torch.randn(1, 16, 4, 6)
    with torch.no_grad():
        refined = refiner.refine(coarse, details)
        _, points = refiner.find_unsure(refined)
        order = (points[0, :, 1] * 16).long() * 24 + (points[0, :, 0] * 24).long()
        decided = refiner.decide(read_between(details, points), read_between(coarse, points))
        assert sorted(order.tolist()) == list(range(16 * 24))
        torch.testing.assert_close(refined.flatten(2)[..., order], decided)
        assert torch.equal(build(subdivisions=0).decoder.refine(coarse, details), coarse)


@pytest.mark.parametrize(("classes", "multilabel", "yes_or_no"), [(1, False, True), (3, False, False), (3, True, True)])
def test_the_kind_of_problem_says_what_unsure_means(classes, multilabel, yes_or_no):
    model = build(classes, multilabel=multilabel)
    assert model.decoder.yes_or_no is yes_or_no
    assert create_model(**model.config, encoder_weights=None).decoder.yes_or_no is yes_or_no


# --- Learning ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "multilabel"), [(1, False), (3, False), (3, True)])
def test_its_loss_is_the_cross_entropy_at_the_points(classes, multilabel):
    model = build(classes, multilabel=multilabel, train_points=50).train()
    outputs = model.forward_all(torch.randn(2, 3, 64, 64))
    shape = (2, 3, 64, 64) if multilabel else (2, 64, 64)
    labels = torch.randint(0, 2, shape)
    loss = model.own_loss(outputs, labels)
    logits, points = outputs.clues["point_logits"], outputs.clues["points"]
    assert (logits.shape, points.shape) == ((2, classes, 50), (2, 50, 2))
    places = (points * 64).long()
    at = torch.stack([labels[i, ..., y, x] for i in range(2) for x, y in places[i].tolist()])
    found = logits.mT.reshape(100, classes)
    if multilabel or classes == 1:
        expected = F.binary_cross_entropy_with_logits(found, at.reshape(100, classes).float())
    else:
        expected = F.cross_entropy(found, at)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.decoder.decide.parameters())
    assert model.decoder.decide.read[0].weight.grad.abs().sum() > 0


def test_ignored_labels_teach_nothing():
    model = build(train_points=60).train()
    outputs = model.forward_all(torch.randn(1, 3, 64, 64))
    nothing = torch.full((1, 64, 64), 255)
    loss = model.own_loss(outputs, nothing)
    assert loss.item() == 0
    loss.backward(retain_graph=True)
    assert all(not parameter.grad.any() for parameter in model.decoder.decide.parameters())
    half = nothing.clone()
    half[:, :, :32] = 1
    left = outputs.clues["points"][0, :, 0] < 0.5
    expected = F.cross_entropy(
        outputs.clues["point_logits"][0, :, left].T, torch.ones(int(left.sum()), dtype=torch.long)
    )
    torch.testing.assert_close(model.own_loss(outputs, half), expected)


# --- Around other decoders --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decoder", sorted(name for name, each in DECODERS.items() if can_be_refined(each)))
def test_around_every_decoder(decoder):
    """Any size; the coarse logits are those of the decoder alone; it learns with every weight."""
    model = build(decoder=decoder, decoder_options=None, train_points=20).eval()
    image = torch.randn(2, 3, 75, 50)
    with torch.no_grad():
        assert model(image).shape == (2, 3, 75, 50)
        features = model.encoder(image)
        alone = model.decoder.guess(features[model.decoder.extra :])
        outputs = model.forward_all(image)
        torch.testing.assert_close(outputs.logits, model(image))
        torch.testing.assert_close(
            outputs.stages[-1], F.interpolate(alone, size=(75, 50), mode="bilinear", align_corners=False)
        )
    outputs = model.train().forward_all(torch.randn(2, 3, 64, 64))
    loss = sum(logits.square().mean() for logits in (outputs.logits, *outputs.stages))
    (loss + model.own_loss(outputs, torch.ones(2, 64, 64, dtype=torch.long))).backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_details_come_from_the_finest_level():
    """FPN lends its own; other decoders leave the encoder's of stride 4, which is read for the points alone if need be."""
    assert build().decoder.decide.read[0].in_channels == 16 + 3
    coarse = build(decoder="deeplabv3", decoder_options={"decoder_channels": 24}, encoder_output_stride=16)
    assert (coarse.encoder.strides, coarse.decoder.extra) == ((4, 16), 1)
    assert coarse.decoder.decide.read[0].in_channels == coarse.encoder.channels[0] + 3
    fine = build(decoder="deeplabv3plus", decoder_options=None)
    assert (fine.encoder.strides, fine.decoder.extra) == ((4, 32), 0)
    assert build(encoder_depth=4).encoder.strides == (2, 4, 8, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"decoder": "unet"},
            "decoder='unet' is none whose logits PointRend can refine.*It refines those of .*fpn.*upernet",
        ),
        ({"decoder": "dpt"}, "decoder='dpt' is none whose logits"),
        ({"decoder": "pointrend"}, "decoder='pointrend' is none whose logits"),
        ({"decoder": "fpm"}, "decoder='fpm' is none whose logits PointRend can refine. Did you mean 'fpn'"),
        ({"decoder_options": {"smoth": True}}, "decoder_options: 'fpn' has no option 'smoth'. Did you mean 'smooth'"),
        ({"decoder_options": 16}, "decoder_options=16: give a dictionary of options of 'fpn'"),
        ({"decoder": "lraspp", "decoder_options": {}, "encoder_depth": 3}, "encoder_depth=3: 'lraspp' takes 4 to 5"),
    ],
)
def test_what_cannot_be_refined_is_told(options, message):
    with pytest.raises(SegnbError, match=message):
        build(**options)


def test_other_classes_make_all_of_the_point_head_new_that_knows_of_them(tmp_path):
    model = build(3)
    save_model(model, tmp_path)
    with pytest.warns(UserWarning, match="was trained for 3 classes; for your 5 the last layer is new"):
        loaded = load_model(tmp_path, classes=5)
    kept = {name for name, tensor in model.state_dict().items() if torch.equal(tensor, loaded.state_dict()[name])}
    lost = {name.removeprefix("decoder.") for name in model.state_dict().keys() - kept}
    weights = {f"decide.read.{layer}.weight" for layer in range(3)}
    assert lost == weights | {
        f"{last}.{part}" for last in ("decide.classify", "guess.classify.1") for part in ("weight", "bias")
    }


# --- Published sizes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("depth", "millions", "giga"), [(50, 28.888, 51.65), (101, 47.881, 71.05)])
def test_parameters_and_multiply_adds_of_mmsegmentation(depth, millions, giga):
    options = {"decoder_use_norm": "batchnorm", "smooth": True}
    with torch.device("meta"):
        model = create_model("pointrend", f"resnet{depth}c", None, classes=150, decoder_options=options).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=6e-4)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, 3, 512, 512, device="meta"))
    assert counter.get_total_flops() / 2e9 == pytest.approx(giga, rel=0.005)


def test_it_is_one_of_the_architectures():
    assert DECODERS["pointrend"] is PointRend
    assert not can_be_refined(PointRend)


# --- Export -----------------------------------------------------------------------------------------------------------


def test_one_file_for_pictures_refined_in_part_and_as_a_whole(tmp_path):
    """FCN on stride 32: of the pictures that are compared, doubled maps have 16 to 64 pixels and more."""
    model = build(decoder="fcn", decoder_options=None, points=20)
    report = export(model, tmp_path / "model.onnx", size=(64, 64))
    doubled = [4 * -(-height // 32) * -(-width // 32) for _, _, height, width in (each.shape for each in report.checks)]
    assert min(doubled) < 20 < 4 * min(doubled)
    assert report.ok
