"""The mathematics behind the inspector's maps, against computations written out with hooks, loops or numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from squares import squares

import segnb
from segnb.errors import SegnbError
from segnb.tools.explaining import VIEWS, class_probability, entropy, feature_map, grad_cam, stages, view_variance


@pytest.fixture(scope="module")
def image():
    images, _ = squares(1, seed=3, size=64)
    return torch.from_numpy(images[0]).permute(2, 0, 1)


def written_out_grad_cam(model, image, label, module, pick):
    """Grad-CAM by a hook and loops, as the paper's equations stand; the map is picked from what ``module`` returns."""
    kept = {}

    def keep(_, __, output):
        kept["map"] = pick(output)
        kept["map"].retain_grad()

    model.eval()
    normalised = ((image[None].float() / 255 - model.mean) / model.std).requires_grad_()
    with module.register_forward_hook(keep):
        logits = model(normalised)
    if logits.shape[1] == 1:
        logits = torch.cat([-logits, logits], dim=1)
    where = logits.argmax(1) == label
    where = where if where.any() else torch.ones_like(where)
    sum(logits[0, label, y, x] for _, y, x in where.nonzero().tolist()).backward()
    activation, gradient = kept["map"][0].detach(), kept["map"].grad[0]
    found = torch.zeros(activation.shape[1:])
    for k in range(len(activation)):
        found += gradient[k].sum() / gradient[k].numel() * activation[k]
    return found.clamp(min=0).numpy()


@pytest.mark.parametrize(("classes", "label"), [(["ground", "square"], 1), (["ground", "square"], 0), (1, 1), (1, 0)])
def test_grad_cam_is_the_written_out_computation(tiny, image, classes, label):
    model = tiny(classes=classes)
    places = {"decoder": (model.decoder.blocks[-1], lambda found: found)}
    places |= {f"c{level}": (model.encoder, lambda maps, level=level: maps[level - 1]) for level in (2, 5)}
    highest = 0
    for stage, place in places.items():
        found, expected = grad_cam(model, image, label, stage), written_out_grad_cam(model, image, label, *place)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * max(expected.max(), 1e-6))
        highest = max(highest, expected.max())
    assert highest > 0


def test_grad_cam_of_a_class_that_is_nowhere_predicted_looks_at_all_pixels(tiny, image):
    model = tiny(classes=["ground", "square", "sky"])
    with torch.no_grad():
        model.decoder.classify.bias[2] = -100
    found = grad_cam(model, image, 2, "c3")
    np.testing.assert_allclose(
        found, written_out_grad_cam(model, image, 2, model.encoder, lambda maps: maps[2]), rtol=1e-3, atol=1e-6
    )
    assert found.shape == (8, 8)


def test_frozen_weights_have_a_grad_cam_and_nothing_is_left_behind(tiny, image):
    model = tiny()
    expected = grad_cam(model, image, 1, "c4")
    model.requires_grad_(False)
    model.train()
    np.testing.assert_allclose(grad_cam(model, image, 1, "c4"), expected, rtol=1e-5, atol=1e-8)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_stages_are_named_by_their_stride(tiny):
    assert stages(tiny()) == {
        "c1": "encoder, stride 2",
        "c2": "encoder, stride 4",
        "c3": "encoder, stride 8",
        "c4": "encoder, stride 16",
        "c5": "encoder, stride 32",
        "decoder": "decoder, before the last layer",
    }


def test_a_stage_that_the_backbone_lacks_is_left_out(tiny, image):
    model = tiny(encoder_name="test_convnext")
    assert "c1" not in stages(model)
    for stage in stages(model):
        found, _ = feature_map(model, image, stage)
        assert np.isfinite(found).all()


@pytest.mark.parametrize("size", [(64, 64), (45, 70)])
def test_feature_map_is_what_the_encoder_returns(tiny, image, size):
    model = tiny().eval()
    image = image[:, : size[0], : size[1]] if size[1] <= 64 else torch.nn.functional.pad(image, (0, 6))[:, : size[0]]
    with torch.no_grad():
        maps = model.encoder((image[None].float() / 255 - model.mean) / model.std)
    found, channels = feature_map(model, image, "c3")
    assert channels == maps[2].shape[1]
    np.testing.assert_allclose(found, maps[2][0].abs().mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(feature_map(model, image, "c3", 1)[0], maps[2][0, 1], rtol=1e-5, atol=1e-6)


def test_maps_of_a_raw_encoder_end_where_the_picture_ends(tiny):
    model = tiny("dpt", "test_vit")
    image = torch.randint(0, 256, (3, 40, 100), dtype=torch.uint8)
    padded = model.encoder.pad(image[None]).shape[-2:]
    for stage in stages(model):
        found, _ = feature_map(model, image, stage)
        whole = model.forward_all(image[None].repeat(2, 1, 1, 1))
        kept = whole.decoded if stage == "decoder" else dict(zip(stages(model), whole.features, strict=False))[stage]
        assert found.shape == tuple(
            math.ceil(side * part / full) for side, part, full in zip(kept.shape[-2:], (40, 100), padded, strict=True)
        )
        assert grad_cam(model, image, 0, stage).shape == found.shape


def test_entropy_of_known_distributions():
    sure, even, half = [1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]
    probabilities = np.array([sure, even, half], np.float32).T[:, None]  # (4, 1, 3)
    np.testing.assert_allclose(entropy(probabilities), [[0, 1, 0.5]], atol=1e-6)
    binary = np.array([[[0.5, 1.0, 0.1]]], np.float16)  # the foreground alone
    rest = -(0.1 * math.log2(0.1) + 0.9 * math.log2(0.9))
    np.testing.assert_allclose(entropy(binary), [[1, 0, rest]], atol=1e-3)


@given(arrays.arrays(np.float32, (5, 2, 3), elements=st.floats(-20, 20, width=32)))
def test_entropy_is_between_0_and_1_and_ignores_the_order_of_classes(logits):
    probabilities = torch.from_numpy(logits).softmax(0).numpy()
    found = entropy(probabilities)
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(entropy(probabilities[::-1]), found, atol=1e-5)


@pytest.mark.parametrize("classes", [["ground", "square", "sky"], 1])
def test_variance_is_that_of_the_six_views(tiny, image, classes):
    model = tiny(classes=classes)
    picture = image.permute(1, 2, 0).numpy()
    seen = []
    for mirrored in (False, True):
        for scale in (0.75, 1.0, 1.25):
            view = picture[:, ::-1].copy() if mirrored else picture
            found = segnb.predict(model, view, scales=scale).probabilities.astype(float)
            seen.append(found[:, :, ::-1] if mirrored else found)
    assert len(seen) == len(VIEWS)
    told = []
    np.testing.assert_allclose(
        view_variance(model, image, 1, told.append), np.var([class_probability(p, 1) for p in seen], axis=0), atol=1e-6
    )
    assert told == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    np.testing.assert_allclose(view_variance(model, image), np.var(seen, axis=0).sum(0), atol=1e-6)


def test_what_does_not_fit_is_named(tiny, image):
    model = tiny()
    with pytest.raises(SegnbError, match=r"no stage 'c6'. Did you mean 'c5'"):
        feature_map(model, image, "c6")
    with pytest.raises(SegnbError, match="channel 9999: the map 'c2' has the channels 0 to"):
        feature_map(model, image, "c2", 9999)
    with pytest.raises(SegnbError, match="label 2: the model has the labels 0 to 1"):
        grad_cam(model, image, 2, "c2")
    with pytest.raises(SegnbError, match="explain the model that it was made from"):
        grad_cam(segnb.optimize(model), image, 1, "c2")
