"""Codebooks and presence, masks laid over the map, joint pyramids and growing maps: what these decoders have of their own."""

import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from segnb.blocks import ASPP, Stages
from segnb.decoders import DECODERS
from segnb.decoders.affinity.psanet import PointwiseAttention, place_masks
from segnb.decoders.pooling.encnet import EncNet
from segnb.decoders.pyramid.fastfcn import FastFCN, JointPyramidUpsampling
from segnb.decoders.pyramid.setr import SETR
from segnb.encoders import Encoder
from segnb.errors import SegnbError
from segnb.losses.presence import presence
from segnb.models import create_model
from segnb.parts.contexts import Codebook, ContextEncoding, PyramidPooling

TINY = "test_resnet"


def maps(*shapes):
    return [torch.randn(shape) for shape in shapes]


# --- Codebook and EncNet --------------------------------------------------------------------------------------------


def test_a_codeword_sums_up_how_its_pixels_differ():
    torch.manual_seed(0)
    book, x = Codebook(3, 4), torch.randn(2, 3, 5, 2)
    expected = torch.zeros(2, 4, 3)
    for picture, row, column in product(range(2), range(5), range(2)):
        pixel = x[picture, :, row, column]
        distances = torch.stack([((pixel - word) ** 2).sum() for word in book.codewords])
        belongs = (book.smoothing * distances).softmax(0)
        for number, word in enumerate(book.codewords):
            expected[picture, number] += belongs[number] * (pixel - word)
    torch.testing.assert_close(book(x), expected)


def test_pixels_at_a_codeword_belong_to_it_and_leave_no_difference():
    book = Codebook(2, 2)
    with torch.no_grad():
        book.codewords.copy_(torch.tensor([[1.0, 0.0], [0.0, 200.0]]))
        book.smoothing.fill_(-1)
    x = torch.tensor([1.5, 0.0])[:, None, None].expand(
        1, 2, 3, 3
    )  # the second codeword is too far to get any pixel at all
    torch.testing.assert_close(book(x), torch.tensor([[[9 * 0.5, 0.0], [0.0, 0.0]]]))


def test_a_large_map_in_half_precision_stays_finite():
    """The sum over 70,000 pixels of 2 is beyond float16."""
    encoding, x = ContextEncoding(4, 3).eval(), torch.full((1, 4, 250, 280), 2.0)
    with torch.no_grad(), torch.autocast("cpu", torch.float16):
        weighed, scene = encoding(x)
    assert torch.isfinite(weighed).all()
    assert torch.isfinite(scene).all()
    with torch.no_grad():
        torch.testing.assert_close(scene.float(), encoding(x)[1], rtol=0.02, atol=1)


def test_channels_are_weighed_between_once_and_twice():
    decoder = EncNet([6], 3, width=8, codewords=5).eval()
    x = torch.randn(2, 8, 4, 5).relu()
    with torch.no_grad():
        weighed, scene = decoder.encode(x)
        again = x * (1 + decoder.encode.weigh(scene).sigmoid()[:, :, None, None])
    torch.testing.assert_close(weighed, again)
    assert ((weighed >= x) & (weighed <= 2 * x)).all()


# --- The loss of what is present ------------------------------------------------------------------------------------


def test_presence_is_a_binary_cross_entropy_for_each_picture_and_class():
    logits = torch.tensor([[0.5, -1.0, 2.0], [1.0, 0.0, -3.0]])
    labels = torch.tensor([[[0, 0], [2, 255]], [[1, 1], [1, 1]]])
    there = [[1, 0, 1], [0, 1, 0]]
    losses = [
        math.log1p(math.exp(-logit if yes else logit))
        for row, answers in zip(logits.tolist(), there, strict=True)
        for logit, yes in zip(row, answers, strict=True)
    ]
    assert presence(logits, labels).item() == pytest.approx(sum(losses) / 6)


def test_presence_of_one_class_and_of_classes_that_overlap():
    logits = torch.tensor([[0.7], [-0.2]])
    binary = torch.tensor([[[0, 1]], [[0, 255]]])
    expected = F.binary_cross_entropy_with_logits(logits, torch.tensor([[1.0], [0.0]]))
    torch.testing.assert_close(presence(logits, binary), expected)
    logits = torch.tensor([[0.7, -0.2, 1.5]])
    several = torch.tensor([[[[0, 1]], [[1, 1]], [[255, 255]]]])  # nothing is known about the third class
    torch.testing.assert_close(
        presence(logits, several), F.binary_cross_entropy_with_logits(logits[:, :2], torch.ones(1, 2))
    )


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), classes=st.integers(1, 4))
def test_pictures_of_which_nothing_is_known_have_no_influence(seed, classes):
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, classes, generator=random)
    labels = torch.randint(0, max(2, classes), (3, 4, 5), generator=random)
    labels[1] = 255
    both = presence(logits[[0, 2]], labels[[0, 2]])
    logits.requires_grad_()
    loss = presence(logits, labels)
    torch.testing.assert_close(loss, both)
    loss.backward()
    assert logits.grad[1].abs().sum() == 0
    assert logits.grad[0].abs().sum() > 0


@pytest.mark.parametrize("arch", ["encnet", "fastfcn"])
def test_the_own_loss_of_a_model(arch):
    options = {"head": "enc"} if arch == "fastfcn" else {}
    model = create_model(arch, TINY, None, classes=3, width=16, **options).train()
    labels = torch.randint(0, 3, (2, 64, 64))
    outputs = model.forward_all(torch.randn(2, 3, 64, 64))
    torch.testing.assert_close(model.own_loss(outputs, labels), 0.2 * presence(outputs.clues["presence"], labels))
    nothing = model.own_loss(outputs, torch.full_like(labels, 255))
    nothing.backward(retain_graph=True)
    assert nothing.item() == 0
    assert model.decoder.detect.weight.grad.abs().sum() == 0
    model.own_loss(outputs, labels).backward()
    assert model.decoder.detect.weight.grad.abs().sum() > 0
    assert not model.learns_by_own_loss


# --- PSANet ---------------------------------------------------------------------------------------------------------


def lay_naively(masks, size):
    batch, _, height, width = masks.shape
    laid = torch.zeros(batch, height, width, height, width)
    for y, x, to_y, to_x in product(range(height), range(width), range(height), range(width)):
        row, column = to_y - y + (size - 1) // 2, to_x - x + (size - 1) // 2
        if 0 <= row < size and 0 <= column < size:
            laid[:, to_y, to_x, y, x] = masks[:, row * size + column, y, x]
    return laid.flatten(3).flatten(1, 2)


@pytest.mark.parametrize(("size", "height", "width"), [(9, 3, 5), (3, 4, 2), (4, 3, 3), (1, 2, 3), (5, 1, 1)])
def test_masks_are_laid_over_the_map_and_end_where_they_end(size, height, width):
    masks = torch.randn(2, size * size, height, width)
    assert torch.equal(place_masks(masks, size), lay_naively(masks, size))


@pytest.mark.parametrize("gives", [False, True])
def test_pixels_take_and_give_by_a_softmax(gives):
    torch.manual_seed(0)
    attention = PointwiseAttention(3, 4, 5, gives=gives).eval()
    x = torch.randn(1, 3, 6, 4)
    with torch.no_grad():
        moved = attention(x)
        small = F.avg_pool2d(attention.narrow(x), 2)  # what bilinear resizing to half an even size is
        laid = lay_naively(attention.ask(small), 5)[0]
    values = small.flatten(2)[0]
    for to in range(6):
        # What a pixel takes: its own mask says from where. What it is given: the masks of all others have a number for it.
        weights = (laid[to] if gives else laid[:, to]).softmax(0)
        torch.testing.assert_close(moved.flatten(2)[0, :, to], values @ weights)


def test_odd_sides_are_halved_up():
    with torch.no_grad():
        assert PointwiseAttention(3, 4, 5, gives=False).eval()(torch.randn(1, 3, 5, 1)).shape == (1, 4, 3, 1)


# --- FastFCN --------------------------------------------------------------------------------------------------------


def test_levels_are_joined_at_the_size_of_the_finest():
    fine, middle, coarse = maps((1, 3, 8, 6), (1, 4, 4, 3), (1, 5, 2, 2))
    upsample = JointPyramidUpsampling((3, 4, 5), 2).eval()
    with torch.no_grad():
        joined = torch.cat(
            [
                F.interpolate(project(x), size=(8, 6), mode="bilinear")
                for project, x in zip(upsample.project, (fine, middle, coarse), strict=True)
            ],
            dim=1,
        )
        expected = torch.cat([look(joined) for look in upsample.look], dim=1)
        torch.testing.assert_close(upsample([fine, middle, coarse]), expected)
    assert [look[0].dilation for look in upsample.look] == [(rate, rate) for rate in (1, 2, 4, 8)]
    assert all(look[0].groups == joined.shape[1] for look in upsample.look)


@pytest.mark.parametrize(("head", "kind"), [("psp", PyramidPooling), ("aspp", ASPP), ("enc", nn.Sequential)])
def test_heads_of_fastfcn(head, kind):
    decoder = FastFCN((3, 4, 5), 2, head=head, width=4).train()
    assert isinstance(decoder.look, kind)
    features = maps((2, 3, 8, 8), (2, 4, 4, 4), (2, 5, 2, 2))
    stages = decoder.forward_all(features)
    assert isinstance(stages, Stages)
    assert [logits.shape for logits in stages.logits] == [(2, 2, 8, 8)]
    assert {name: clue.shape for name, clue in stages.clues.items()} == ({"presence": (2, 2)} if head == "enc" else {})
    sum(tensor.sum() for tensor in (*stages.logits, *stages.clues.values())).backward()
    assert [name for name, parameter in decoder.named_parameters() if parameter.grad is None] == []


def test_stages_of_a_resnet_are_dilated_beside_their_strides():
    plain = Encoder("resnet50", None, 3, (8, 16, 32))
    dilated = Encoder("resnet50", None, 3, (8, 16, 32), options={"stage_dilations": (1, 1, 2, 4)})
    rates = {
        stage: [block.conv2.dilation[0] for block in getattr(dilated.backbone, stage)] for stage in ("layer2", "layer4")
    }
    assert rates == {"layer2": [1, 1, 1, 1], "layer4": [2, 4, 4]}
    assert [block.conv2.dilation[0] for block in dilated.backbone.layer3] == [1, 2, 2, 2, 2, 2]
    with torch.no_grad():
        image = torch.randn(1, 3, 50, 70)
        assert [x.shape for x in dilated.eval()(image)] == [x.shape for x in plain.eval()(image)]


# --- SETR -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("upsample", "reduction", "size", "early"),
    [
        ("naive", 16, (8, 12), [(32, 48)] * 3),
        ("pup", 16, (32, 48), [(32, 48)] * 3),
        ("pup", 8, (16, 24), [(8, 12)] * 3),
        ("mla", 16, (8, 12), [(2, 3)] * 4),
    ],
)
def test_maps_of_patches_grow(upsample, reduction, size, early):
    options = {"reductions": [reduction] * 4, "prefix_tokens": 1, "upsample": upsample, "width": 8}
    decoder = SETR([6] * 4, 3, **options).train()
    patches, tokens = maps(*[(2, 6, 2, 3)] * 4), maps(*[(2, 1, 6)] * 4)
    stages = decoder.forward_all(patches + tokens)
    assert [tuple(logits.shape[-2:]) for logits in stages.logits] == [*early, size]
    assert stages.clues == {}
    sum(logits.sum() for logits in stages.logits).backward()
    assert [name for name, parameter in decoder.named_parameters() if parameter.grad is None] == []
    decoder.eval()
    with torch.no_grad():
        assert torch.equal(decoder(patches + tokens), decoder.forward_all(patches).logits[-1])


def test_aggregation_adds_from_the_deepest_map_up():
    torch.manual_seed(0)
    decoder = SETR([5] * 3, 2, reductions=[16] * 3, prefix_tokens=0, width=4).eval()
    levels = maps(*[(1, 5, 2, 3)] * 3)
    part = decoder.enlarge
    with torch.no_grad():
        _, refined = part(levels)
        normalised = [F.layer_norm(x.movedim(1, -1), (5,), eps=1e-6).movedim(-1, 1) for x in levels]
        shallow, middle, deep = (project(x) for project, x in zip(part.project, normalised, strict=True))
        expected = [part.refine[0](deep), part.refine[1](deep + middle), part.refine[2](deep + middle + shallow)]
    for found, wanted in zip(refined, expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_a_transformer_is_read_as_it_is():
    """Four blocks evenly spaced, at the stride of its patches, and a picture of any size."""
    model = create_model("setr", "test_vit", None, classes=2, upsample="pup", width=8).eval()
    patch = model.encoder.reductions[0]
    assert model.encoder.reductions == [patch] * 4
    assert len(model.decoder.enlarge.grow) == round(math.log2(patch))
    with torch.no_grad():
        outputs = model.forward_all(torch.randn(1, 3, 50, 71))
    assert outputs.logits.shape == (1, 2, 50, 71)
    assert [stage.shape for stage in outputs.stages] == [(1, 2, 50, 71)] * 3


# --- Semantic FPN ---------------------------------------------------------------------------------------------------


def test_smoothed_levels_and_batch_normalisation():
    torch.manual_seed(0)
    features = maps((1, 3, 8, 8), (1, 4, 4, 4), (1, 5, 2, 2), (1, 6, 1, 1))
    decoder = DECODERS["fpn"]((3, 4, 5, 6), 2, decoder_use_norm="batchnorm", smooth=True).eval()
    with torch.no_grad():
        before = decoder(features)
        decoder.smooth[3].weight.zero_()
        decoder.smooth[3].bias.zero_()
        assert not torch.allclose(decoder(features), before)
    assert not any(isinstance(module, nn.GroupNorm) for module in decoder.modules())
    plain = DECODERS["fpn"]((3, 4, 5, 6), 2)
    assert not any("smooth" in name for name in plain.state_dict())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: create_model("fastfcn", TINY, None, head="encoder"), "head='encoder': give 'psp', 'aspp' or 'enc'"),
        (lambda: create_model("setr", TINY, None, upsample="mlp"), "upsample='mlp': give 'naive', 'pup' or 'mla'"),
    ],
)
def test_wrong_options(call, message):
    with pytest.raises(SegnbError, match=message):
        call()
