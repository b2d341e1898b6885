"""PIDNet's boundaries, and what it shares with DDRNet: against what loops over pixels compute."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from test_losses import KINDS, batch
from torch import nn

from segnb.errors import SegnbError
from segnb.losses import cross_entropy
from segnb.losses.boundary_targets import balanced_cross_entropy, boundary_loss, boundary_targets
from segnb.models import create_model
from segnb.networks.erfnet import ERFNet
from segnb.networks.pidnet import AskContext, Fuse, LightFuse
from segnb.parts.branches import DAPPM, PAPPM, basic_stage, bottleneck_stage

close = torch.testing.assert_close
few = settings(max_examples=20)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def targets_by_loops(labels):
    """1 where, in some plane, a counted neighbour within two pixels has another label; 255 where no plane counts."""
    planes = labels if labels.dim() == 4 else labels[:, None]
    targets = torch.full_like(planes[:, 0], 255)
    for picture in range(planes.shape[0]):
        for y in range(planes.shape[2]):
            for x in range(planes.shape[3]):
                answers = []
                for plane in planes[picture]:
                    if plane[y, x] != 255:
                        window = plane[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].flatten().tolist()
                        answers.append(any(value not in (255, int(plane[y, x])) for value in window))
                if answers:
                    targets[picture, y, x] = int(any(answers))
    return targets


def balanced_by_loops(logits, targets):
    pairs = [
        (logit, target)
        for logit, target in zip(logits.flatten().tolist(), targets.flatten().tolist(), strict=True)
        if target != 255
    ]
    share = sum(target for _, target in pairs) / len(pairs)
    losses = [
        -(1 - share) * math.log(sigmoid(logit)) if target else -share * math.log(sigmoid(-logit))
        for logit, target in pairs
    ]
    return sum(losses) / len(pairs)


# --- Targets --------------------------------------------------------------------------------------------------------


def test_a_boundary_is_four_pixels_wide():
    labels = torch.tensor([[[3, 3, 3, 3, 1, 1, 1, 1]]])
    assert boundary_targets(labels).tolist() == [[[0, 0, 1, 1, 1, 1, 0, 0]]]


def test_an_ignored_area_has_no_boundary():
    labels = torch.tensor([[[3, 3, 255, 255, 255, 1, 1], [3, 3, 3, 255, 1, 1, 1]]])
    assert boundary_targets(labels).tolist() == [[[0, 0, 255, 255, 255, 0, 0], [0, 0, 1, 255, 1, 0, 0]]]


@few
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 1000), height=st.integers(1, 9), width=st.integers(1, 9))
def test_targets_are_those_of_a_loop_over_pixels(kind, seed, height, width):
    _, labels = batch(kind, seed, size=(height, width), ignored=0.4)
    regions = labels.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
    assert torch.equal(boundary_targets(regions), targets_by_loops(regions))


# --- Losses ---------------------------------------------------------------------------------------------------------


@few
@given(seed=st.integers(0, 1000), rare=st.floats(0.05, 0.95))
def test_balanced_cross_entropy_is_that_of_a_loop(seed, rare):
    random = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 1, 5, 4, generator=random, dtype=torch.float64)
    targets = (torch.rand(2, 5, 4, generator=random) < rare).long()
    targets[:, :2, 1] = 255
    assert balanced_cross_entropy(logits, targets).item() == pytest.approx(balanced_by_loops(logits, targets))


def test_rare_boundaries_weigh_as_much_as_all_the_rest():
    """One pixel in a hundred: to say "nowhere" costs as much as to say "everywhere"."""
    targets = torch.zeros(1, 10, 10, dtype=torch.long)
    targets[0, 4, 4] = 1
    nowhere, everywhere = torch.full((2, 1, 1, 10, 10), 5.0) * torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1, 1)
    close(balanced_cross_entropy(nowhere, targets), balanced_cross_entropy(everywhere, targets))


@pytest.mark.parametrize("kind", KINDS)
def test_classes_count_where_the_boundary_is_believed_to_be(kind):
    logits, labels = batch(kind, seed=1, classes=3, size=(8, 9))
    boundary = 3 * torch.randn(2, 1, 8, 9, generator=torch.Generator().manual_seed(1))
    near = labels.clone()
    for picture, y, x in torch.cartesian_prod(torch.arange(2), torch.arange(8), torch.arange(9)).tolist():
        if sigmoid(boundary[picture, 0, y, x].item()) <= 0.8:
            near[picture, ..., y, x] = 255
    assert 0 < (near != 255).sum() < (labels != 255).sum()
    expected = 20 * balanced_by_loops(boundary, targets_by_loops(labels)) + cross_entropy(logits, near).item()
    assert boundary_loss(boundary, logits, labels).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_ignored_pixels_have_no_influence(kind):
    logits, _ = batch(kind, seed=2, classes=3, size=(8, 9))
    labels = torch.zeros(logits.shape if kind == "multilabel" else (2, 8, 9), dtype=torch.long)
    labels[..., 5:] = 1
    labels[..., 2:4, 3:6] = 255
    ignored = (labels == 255) if labels.dim() == 3 else (labels == 255).all(dim=1)
    assert 0 < ignored.sum() < ignored.numel()
    boundary = (3 * torch.randn(2, 1, 8, 9, generator=torch.Generator().manual_seed(2))).requires_grad_()
    value = boundary_loss(boundary, logits, labels)
    value.backward()
    for gradient in (boundary.grad, logits.grad):
        assert gradient.abs().sum() > 0
        assert (gradient[ignored[:, None].expand_as(gradient)] == 0).all()
    changed = [torch.where(ignored[:, None], 7.0, tensor.detach()) for tensor in (boundary, logits)]
    close(boundary_loss(*changed, labels), value.detach())


# --- The network ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return create_model("pidnet", classes=3)


def test_own_loss_reads_the_clues_at_the_size_of_the_labels(model):
    random = torch.Generator().manual_seed(0)
    labels = (
        torch.randint(0, 3, (2, 5, 7), generator=random).repeat_interleave(8, 1).repeat_interleave(8, 2)[:, :37, :50]
    )
    outputs = model.eval().forward_all(torch.randn(2, 3, 37, 50, generator=random))
    assert [(name, tuple(clue.shape)) for name, clue in outputs.clues.items()] == [
        ("logits", (2, 3, 5, 7)),
        ("boundary", (2, 1, 5, 7)),
    ]
    outputs.clues["boundary"] = 8 * outputs.clues["boundary"]  # an untrained head believes in no boundary
    boundary, logits = (
        F.interpolate(outputs.clues[name], (37, 50), mode="bilinear", align_corners=True)
        for name in ("boundary", "logits")
    )
    close(logits, outputs.logits)
    close(model.own_loss(outputs, labels), boundary_loss(boundary, logits, labels))


@pytest.mark.parametrize("size", ["s", "l"])
@pytest.mark.parametrize("options", [{"classes": 1}, {"classes": 4}, {"classes": 4, "multilabel": True}])
def test_the_losses_reach_every_weight(size, options):
    torch.manual_seed(0)
    model = create_model("pidnet", size=size, **options).train()
    labels = torch.zeros((1, 4, 48, 48) if options.get("multilabel") else (1, 48, 48), dtype=torch.long)
    labels[..., 20:] = 1
    outputs = model.forward_all(torch.randn(1, 3, 48, 48))
    loss = model.own_loss(outputs, labels) + sum(logits.square().mean() for logits in (outputs.logits, *outputs.stages))
    loss.backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert idle == []
    assert model.decoder.find_boundary[-1].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_where_no_boundary_is_believed_in_the_classes_have_no_gradient(kind):
    """Scaled as in half precision: the loss must not become a number divided by nothing."""
    logits, labels = batch(kind, classes=3)
    (65536 * boundary_loss(torch.full((2, 1, 6, 5), -9.0), logits, labels)).backward()
    assert (logits.grad == 0).all()


def test_own_loss_of_pictures_without_labels_is_nothing(model):
    outputs = model.train().forward_all(torch.randn(2, 3, 32, 32))
    loss = model.own_loss(outputs, torch.full((2, 32, 32), 255))
    loss.backward()
    assert loss.item() == 0
    assert all((parameter.grad == 0).all() for parameter in model.decoder.find_boundary.parameters())
    model.zero_grad()


def test_detail_asks_each_pixel_of_the_context_for_itself():
    torch.manual_seed(0)
    ask = AskContext(4, 6).eval()
    detail, context = torch.randn(1, 4, 2, 3), torch.randn(1, 6, 2, 3)
    with torch.no_grad():
        told = ask.narrow(context)
        query, key = ask.query(detail), ask.key(told)
        for y in range(2):
            for x in range(3):
                share = sigmoid(
                    sum(q * k for q, k in zip(query[0, :, y, x].tolist(), key[0, :, y, x].tolist(), strict=True))
                )
                expected = share * told[0, :, y, x] + (1 - share) * detail[0, :, y, x]
                close(ask(detail, context)[0, :, y, x], expected)


def test_detail_counts_on_boundaries_and_context_elsewhere():
    torch.manual_seed(0)
    detail, context, certain = torch.randn(1, 4, 3, 3), torch.randn(1, 4, 3, 3), torch.full((1, 4, 3, 3), 40.0)
    fuse = Fuse(4).eval()
    close(fuse(detail, context, certain), fuse.mix(detail))
    close(fuse(detail, context, -certain), fuse.mix(context))
    light = LightFuse(4).eval()
    close(light(detail, context, certain), light.mix_detail(detail) + light.mix_context(context + detail))
    close(light(detail, context, -certain), light.mix_detail(detail + context) + light.mix_context(context))


# --- What is shared ---------------------------------------------------------------------------------------------------


def pyramid_views(pool, x):
    """The means of each scale, convolved and enlarged; a window's places outside the map count as 0."""
    views = [pool.look[0](x)]
    for side, stride, (_, convolve) in zip((5, 9, 17), (2, 4, 8), pool.look[1:4], strict=True):
        means = F.unfold(x, side, padding=stride, stride=stride).reshape(*x.shape[:2], side * side, -1).mean(2)
        rows, columns = (math.ceil(length / stride) for length in x.shape[-2:])
        views.append(F.interpolate(convolve(means.reshape(*x.shape[:2], rows, columns)), x.shape[-2:], mode="bilinear"))
    views.append(pool.look[4][1](x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[-2:]))
    return views


def test_dappm_refines_one_scale_after_the_other():
    torch.manual_seed(0)
    pool, x = DAPPM(6, 4, 8).eval(), torch.randn(2, 6, 9, 12)
    first, *views = pyramid_views(pool, x)
    refined = [first]
    for refine, view in zip(pool.refine, views, strict=True):
        refined.append(refine(view + refined[-1]))
    close(pool(x), pool.mix(torch.cat(refined, dim=1)) + pool.shorten(x))


def test_pappm_refines_every_scale_by_itself():
    torch.manual_seed(0)
    pool, x = PAPPM(6, 4, 8).eval(), torch.randn(2, 6, 9, 12)
    first, *views = pyramid_views(pool, x)
    norm, _, conv = pool.refine
    norm.running_mean.normal_()
    refined = [first]
    for number, view in enumerate(views):
        part = slice(4 * number, 4 * number + 4)
        normed = (view + first - norm.running_mean[part, None, None]) / (
            norm.running_var[part, None, None] + norm.eps
        ).sqrt()
        refined.append(F.conv2d(normed.relu(), conv.weight[part], padding=1))
    close(pool(x), pool.mix(torch.cat(refined, dim=1)) + pool.shorten(x))


def test_stages_end_before_their_relu():
    torch.manual_seed(0)
    x = torch.randn(1, 4, 9, 7).relu()
    with torch.no_grad():
        for stage in (basic_stage(4, 8, 2, stride=2), bottleneck_stage(4, 8, 2, stride=2)):
            assert stage.eval()(x).shape == (1, 8, 5, 4)
            assert (stage(x) < 0).any()
        assert (basic_stage(4, 8, 2)[0].eval()(x) >= 0).all()
        stage = basic_stage(4, 4, 1).eval()
        nn.init.zeros_(stage[0].convolve[1][0].weight)
        close(stage(x), x)


@pytest.mark.parametrize(
    ("arch", "small", "large"), [("ddrnet", "23-slim", "23"), ("pidnet", "s", "m"), ("pidnet", "m", "l")]
)
def test_sizes(arch, small, large):
    with torch.device("meta"):
        counts = [sum(p.numel() for p in create_model(arch, size=size).parameters()) for size in (small, large)]
    assert counts[0] < counts[1]


def test_an_unknown_size():
    with pytest.raises(SegnbError, match=r"size='23-slimm' is no DDRNet\. Did you mean '23-slim'"):
        create_model("ddrnet", size="23-slimm")
    with pytest.raises(SegnbError, match=r"size='xl' is no PIDNet\. Did you mean 'l'\?"):
        create_model("pidnet", size="xl")


@pytest.mark.parametrize("size", [(1, 1), (33, 50), (40, 41)])
def test_erfnet_answers_for_every_second_pixel_of_the_picture(size):
    """Its sizes are rounded up three times; what lies beyond the picture is cut off, not squeezed into it."""
    torch.manual_seed(0)
    network = ERFNet([3], 2).eval()
    image = torch.randn(1, 3, *size)
    rows, columns = (math.ceil(length / 2) for length in size)
    with torch.no_grad():
        logits = network([image])
        decoded = network.decode(network.encode(image))
        assert logits.shape == (1, 2, rows, columns)
        close(logits, network.classify(network.mix(decoded[..., :rows, :columns])))


def test_erfnet_reads_pictures_of_many_channels():
    assert create_model("erfnet", in_channels=20, classes=2).eval()(torch.randn(1, 20, 24, 24)).shape == (1, 2, 24, 24)
