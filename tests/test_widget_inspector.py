"""The inspector as Python sees it; tests/browser looks at it in a browser."""

from __future__ import annotations

import ast
import base64
import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from fake_inspecting import FakePictures, confusion, iou, make_inspector
from fake_training import LABELS, PALETTE
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from squares import CLASSES, squares

import segnb
from segnb.errors import SegnbError
from segnb.metrics import boundary_scores
from segnb.metrics.confusion import class_counts
from segnb.tools.inspecting import inspect
from segnb.widgets.inspector.cell_counts import CellCounts
from segnb.widgets.inspector.findings import Findings
from segnb.widgets.inspector.inspector import Inspector


def decoded(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def click(widget, **values) -> str:
    """What a click in the browser does; returns the error that it shows."""
    widget.send = lambda *_: None
    widget._receive(widget, {"type": "set", "values": values}, [])
    return widget.error


# Counts


@given(
    arrays.arrays(
        np.int64, st.tuples(st.integers(1, 5), st.just(4), st.just(4)), elements=st.integers(0, 10**12) | st.just(0)
    )
)
def test_sparse_counts_equal_the_full_matrices(matrices):
    cells = CellCounts(4)
    cells.add(matrices[:2])
    cells.add(matrices[2:])
    assert len(cells) == len(matrices)
    assert np.array_equal(cells.matrix(), matrices.sum(0))
    assert np.array_equal(cells.counts(), class_counts(torch.from_numpy(matrices)).numpy())
    for true, predicted in np.ndindex(4, 4):
        assert np.array_equal(cells.pixels(true, predicted), matrices[:, true, predicted])
    assert np.array_equal(cells.first(1).matrix(), matrices[0])


# Order


def findings(scores, matrices=None, **changes) -> Findings:
    count = len(next(iter(scores.values())))
    cells = CellCounts(2)
    cells.add(np.ones((count, 2, 2), np.int64) if matrices is None else matrices)
    given = {"names": [f"p{i}" for i in range(count)], "label_names": ["a", "b"], "palette": PALETTE[:2], **changes}
    return Findings(cells, scores, **given)


@given(arrays.arrays(np.float32, st.integers(1, 20), elements=st.floats(0, 1, width=32) | st.just(np.nan)))
def test_ranking_is_sorted_and_leaves_out_what_has_no_score(values):
    found = findings({"miou": values, "loss": values}).ranking("miou")
    assert sorted(found) == np.flatnonzero(~np.isnan(values)).tolist()
    assert (np.diff(values[found]) >= 0).all()
    assert (np.diff(values[findings({"loss": values}).ranking("loss")]) <= 0).all()


def test_ranking_by_class_mean_filter_and_cell():
    nan = np.nan
    by_class = np.array([[0.9, 0.1], [0.2, nan], [0.5, 0.7], [nan, nan]])
    matrices = np.array([[[9, 1], [0, 2]], [[2, 0], [0, 0]], [[5, 5], [3, 7]], [[0, 0], [0, 0]]])
    found = findings({"iou": by_class}, matrices)
    assert found.ranking("iou", 0) == [1, 2, 0]
    assert found.ranking("iou", 1) == [0, 2]
    assert found.ranking("iou") == [1, 0, 2]  # means 0.2, 0.5, 0.6: of the known classes
    assert found.ranking("iou", 0, "prediction") == [1, 2, 0]
    assert found.ranking("iou", 1, "truth") == [0, 2]
    assert found.ranking("iou", 1, "errors") == [0, 2]
    assert found.ranking("iou", 0, "errors") == [2, 0]
    assert found.ranking("iou", confused=(0, 1)) == [2, 0]
    assert found.ranking("iou", confused=(1, 0)) == [2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ["one"]}, "1 names for 3 pictures with 2 labels; expected 3"),
        ({"label_names": ["a"]}, "1 names of labels"),
        ({"palette": PALETTE}, "8 colours"),
    ],
)
def test_findings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(SegnbError, match=message):
        findings({"miou": np.zeros(3)}, **changes)
    with pytest.raises(SegnbError, match="2 values of 'loss' for 3 pictures"):
        findings({"miou": np.zeros(3), "loss": np.zeros(2)})
    with pytest.raises(SegnbError, match="there are no pictures to inspect"):
        Findings(CellCounts(2), {"miou": np.zeros(0)}, names=[], label_names=["a", "b"], palette=PALETTE[:2])


# The widget


def test_opens_on_the_worst_and_sends_it_whole():
    inspector = make_inspector()
    assert inspector.shown == inspector.ranking()[0]
    assert inspector.picture["index"] == inspector.shown
    truth = FakePictures().picture(inspector.shown)["labels"]
    assert np.array_equal(decoded(inspector.picture["labels"]), truth)
    assert inspector.picture["other"] is None
    assert inspector.maps == {}
    sent = sum(len(value) for value in inspector.get_state().values() if isinstance(value, str))
    assert sent + sum(len(str(value)) for value in inspector.picture.values()) < 400 * 1024


def test_order_show_worst():
    inspector = make_inspector()
    scores = [iou(confusion(item["labels"], item["prediction"])) for item in map(FakePictures().picture, range(6))]
    by_car = sorted(range(6), key=lambda i: np.float32(scores[i][LABELS.index("car")]))
    assert inspector.order("iou", "car").ranking() == by_car
    assert inspector.worst(2) == [f"scene-{i:03d}" for i in by_car[:2]]
    assert (inspector.shown, inspector.label) == (by_car[0], LABELS.index("car"))
    assert inspector.order("loss").shown == 5  # the loss of the fakes rises with the number
    inspector.show(2)
    assert inspector.picture["index"] == 2
    inspector.show("scene-004")
    assert inspector.shown == 4


def test_a_cell_opens_the_pictures_with_its_pixels():
    inspector = make_inspector()
    true, predicted = LABELS.index("building"), LABELS.index("sky")
    pixels = [
        confusion(item["labels"], item["prediction"])[true, predicted] for item in map(FakePictures().picture, range(6))
    ]
    assert max(pixels) > 0
    inspector.cell("building", "sky")
    assert inspector.confused == [true, predicted]
    assert inspector.ranking() == [i for i in np.argsort(-np.array(pixels), kind="stable") if pixels[i]]
    assert (inspector.shown, inspector.layer) == (int(np.argmax(pixels)), "errors")
    sent = np.frombuffer(base64.b64decode(inspector.cell_pixels["pixels"]), np.float32)
    assert sent.tolist() == pixels
    inspector.confused = []
    assert len(inspector.ranking()) == 6
    assert inspector.order("miou").confused == []


def test_maps_are_computed_when_they_are_looked_at_and_only_then():
    inspector = make_inspector()
    asked = inspector._pictures.asked
    first = inspector.shown
    asked.clear()
    told = []
    inspector.observe(lambda change: told.append(change.new), "progress")
    inspector.explain("gradcam", "c5", "car")
    assert asked == [("gradcam", first, 5, "c5", None)]
    assert told == [0, 0.5, -1]
    found = inspector.maps["gradcam"]
    assert (found["of"], found["low"], found["high"], found["about"]) == ([first, 5, "c5"], 0, 3, "about gradcam")
    levels = decoded(found["values"])
    assert levels.shape == (12, 18)  # at its own size
    assert levels[[0, -1], 0].tolist() == [0, 255]
    inspector.opacity, inspector.threshold = 0.2, 0.9
    inspector.left = "entropy"
    assert asked[1:] == [("entropy", first, 5, "c5", None)]
    assert inspector.maps["entropy"]["high"] == 1
    inspector.left = ""
    inspector.explain("features", "c2", channel=3)
    assert asked[2:] == [("features", first, 5, "c2", 3)]
    inspector.layer = "gradcam"  # at another stage than before
    assert asked[3:] == [("gradcam", first, 5, "c2", 3)]
    inspector.show((first + 1) % 6)
    assert set(inspector.maps) == {"gradcam"}  # nothing of the picture before is kept
    assert inspector.maps["gradcam"]["of"][0] == inspector.shown


def test_probability_is_sent_in_256_levels():
    inspector = make_inspector()
    inspector.label = "road"
    inspector.layer = "probability"
    levels = decoded(inspector.maps["probability"]["values"])
    assert np.array_equal(levels[0], np.rint(np.linspace(0, 1, 144, dtype=np.float32) * 255))
    inspector.label = None
    assert (inspector.label, inspector.layer) == (-1, "prediction")


def test_clicks_do_what_methods_do_and_are_checked():
    clicked, called = make_inspector(compared=True), make_inspector(compared=True)
    assert click(clicked, label=5, layer="probability", threshold=0.25, left="other", compare="side") == ""
    called.explain("probability", label="car")
    called.threshold, called.left, called.compare = 0.25, "other", "side"
    for name in clicked.settable:
        assert getattr(clicked, name) == getattr(called, name), name
    assert "cannot be set from the page" in click(clicked, names=[])
    assert "there is no picture 99: give 0 to 5." in click(clicked, shown=99)
    assert click(clicked, shown=1) == ""  # the widget lives on


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda i: i.order("iuo"), "there is no score 'iuo'. Did you mean 'iou'"),
        (lambda i: i.order("iou", "cat"), "there is no class 'cat'. Did you mean 'car'"),
        (lambda i: i.order("iou", "car", "misses"), "there is no filter 'misses'"),
        (lambda i: setattr(i, "label", 8), "there is no class 8: give a name, a number from 0 to 7"),
        (lambda i: i.show("nowhere"), "there is no picture 'nowhere': inspector.names lists all."),
        (lambda i: i.cell("car", -1), "give a true and a predicted class"),
        (lambda i: i.explain("gradcam"), "'gradcam' is of one class: choose it first, such as inspector.label = 'pole'"),
        (lambda i: i.explain("features", "c9"), "there is no stage 'c9'"),
        (lambda i: setattr(i, "layer", "other"), "there is no layer 'other'"),
        (lambda i: setattr(i, "visible", [True]), "visible has 1 entries for 8 classes"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(wrong, message):
    inspector = make_inspector(2)
    with pytest.raises(SegnbError) as caught:
        wrong(inspector)
    assert message in str(caught.value)
    inspector.show(1)
    assert inspector.error == ""


def test_a_picture_that_has_vanished_is_named_and_the_others_are_seen():
    class Broken(FakePictures):
        def picture(self, index):
            if index == 5:
                raise OSError("scene-005.jpg is truncated")
            return super().picture(index)

    good = make_inspector()
    inspector = Inspector(Broken(), good._findings)
    inspector.order("loss").show(4) if inspector.shown != 5 else None
    assert "scene-005.jpg is truncated" in click(inspector, shown=5)
    assert click(inspector, shown=3) == ""
    with pytest.raises(OSError, match="truncated"):
        inspector.show(5)
    assert inspector.figure_png() == b""


def test_a_first_picture_that_has_vanished_still_opens_the_widget():
    class Gone(FakePictures):
        def picture(self, index):
            raise OSError(f"{self.names[index]}.jpg is gone")

    inspector = Inspector(Gone(), make_inspector()._findings)
    assert ".jpg is gone" in inspector.error


def test_a_wrong_prediction_is_refused():
    class Wrong(FakePictures):
        def picture(self, index):
            return {**super().picture(index), "prediction": np.full(self.size, 77, np.uint8)}

    inspector = Inspector(Wrong(), make_inspector()._findings)
    assert "has labels from 77 to 77, but there are 8 classes" in inspector.error


def test_copied_code_is_python_that_does_the_same():
    inspector = make_inspector(compared=True)
    name = inspector.names[inspector.shown]
    assert inspector.as_code() == (
        f"import segnb\n\ninspector = segnb.inspect(model, data, against=other)\ninspector.show({name!r})\ninspector"
    )
    inspector.order("iou", "car", "errors").explain("features", "c2", channel=7).show(3)
    inspector.opacity, inspector.left, inspector.visible = 0.25, "truth", [True] * 7 + [False]
    again = make_inspector(compared=True)
    code = inspector.as_code().replace("segnb.inspect(model, data, against=other)", "again")
    ast.parse(code)
    exec(code, {"again": again})
    for name in inspector.settable:
        assert getattr(again, name) == getattr(inspector, name), name
    inspector.order("miou", -1)
    inspector.stage, inspector.left = "c2", "features"
    again = make_inspector(compared=True)
    exec(inspector.as_code().replace("segnb.inspect(model, data, against=other)", "again"), {"again": again})
    assert (again.stage, again.left, again.label) == ("c2", "features", -1)
    inspector.cell("building", "sky")
    code = inspector.as_code().replace("segnb.inspect(model, data, against=other)", "again")
    again = make_inspector(compared=True)
    exec(code, {"again": again})
    assert again.ranking() == inspector.ranking()
    assert again.shown == inspector.shown


def test_static_picture_and_description():
    inspector = make_inspector()
    assert repr(inspector) == f"6 pictures, worst first by Mean IoU: {', '.join(inspector.worst(3))}"
    assert Image.open(io.BytesIO(inspector.figure_png())).width > 500
    data, _ = inspector._repr_mimebundle_()
    assert "worst first by Mean IoU" in data["text/html"]


def test_many_classes_and_one_pixel():
    count = 254
    cells = CellCounts(count)
    cells.add(np.ones((1, count, count), np.int64))

    class One(FakePictures):
        def picture(self, index):
            labels = np.full((1, 1), 253, np.uint8)
            return {"image": np.zeros((1, 1, 3), np.uint8), "labels": labels, "prediction": labels, "other": None}

    names = [f"<b>class {i}</b>" for i in range(count)]
    palette = np.zeros((count, 3), np.uint8)
    inspector = Inspector(
        One(1), Findings(cells, {"iou": np.full((1, count), 0.5)}, names=["p"], label_names=names, palette=palette)
    )
    assert decoded(inspector.picture["prediction"]).tolist() == [[253]]
    inspector.cell(0, names[253])
    assert inspector.worst() == ["p"]


def test_widget_needs_no_torch():
    code = "import sys; from fake_inspecting import make_inspector; make_inspector(2); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="tests")
    assert done.stdout.strip() == "False"


# segnb.inspect


@pytest.fixture(scope="module")
def data():
    images, masks = squares(5, seed=4, size=48)
    masks[0][:8] = 255
    masks[3][:] = 255  # nothing counts
    return segnb.SegmentationDataset(images, masks, CLASSES)


def test_inspect_agrees_with_evaluate(tiny, data):
    model = tiny()
    inspector = inspect(model, data, batch_size=2, boundaries=True)
    report = segnb.evaluate(model, data, boundaries=True)
    assert inspector.matrix == report.matrix.tolist()
    rows = report.pictures()
    scores = inspector._findings.scores
    np.testing.assert_allclose(scores["miou"], [row["miou"] for row in rows], rtol=1e-6)
    np.testing.assert_allclose(scores["accuracy"], [row["accuracy"] for row in rows], rtol=1e-6)
    np.testing.assert_allclose(scores["iou"][:, 1], [row["iou square"] for row in rows], rtol=1e-6)
    np.testing.assert_allclose(scores["boundary_iou"][:, -1], [row["boundary_iou"] for row in rows], rtol=1e-6)
    assert inspector.worst(5) == [row["name"] for row in report.worst(5)]  # without the picture in which nothing counts
    assert len(inspector.worst(5)) == 4
    inspector.order("boundary_iou", "square")
    image, labels = data[inspector.shown]
    predicted = model.eval()(image[None]).argmax(1)[0].numpy()
    assert np.array_equal(decoded(inspector.picture["prediction"]), predicted)
    expected = boundary_scores(predicted, labels.numpy(), 2)[0, 1]
    assert scores["boundary_iou"][inspector.shown, 1] == pytest.approx(expected)


def test_inspect_knows_loss_probability_and_entropy(tiny, data):
    model = tiny()
    inspector = inspect(model, data)
    inspector.order("loss")
    losses = []
    model.eval()
    for image, labels in (data[i] for i in range(5)):
        with torch.no_grad():
            losses.append(torch.nn.functional.cross_entropy(model(image[None]), labels[None], ignore_index=255).item())
    np.testing.assert_allclose(inspector._findings.scores["loss"], losses, rtol=1e-4)
    assert inspector.ranking() == sorted([0, 1, 2, 4], key=lambda i: -losses[i])
    with torch.no_grad():
        probabilities = model(data[inspector.shown][0][None]).softmax(1)[0].numpy()
    inspector.explain("probability", label="square")
    np.testing.assert_allclose(decoded(inspector.maps["probability"]["values"]) / 255, probabilities[1], atol=0.004)
    inspector.explain("entropy")
    expected = -(probabilities * np.log2(probabilities)).sum(0)
    np.testing.assert_allclose(decoded(inspector.maps["entropy"]["values"]) / 255, expected, atol=0.005)
    for kind in ("gradcam", "features", "variance"):
        inspector.explain(kind, "c4")
        assert inspector.maps[kind]["of"][0] == inspector.shown


def test_inspect_keeps_its_own_model(tiny, data):
    model = tiny().train()
    inspector = inspect(model, data)
    before = decoded(inspector.picture["prediction"])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    shown = inspector.shown
    inspector.show((shown + 1) % 5).show(shown)
    assert np.array_equal(decoded(inspector.picture["prediction"]), before)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.decoder.parameters())


def test_two_models_side_by_side(tiny, data):
    model, other = tiny(), tiny("fcn")
    inspector = inspect(model, data, against=other)
    ours, theirs = (segnb.evaluate(one, data).scores for one in (model, other))
    np.testing.assert_allclose(inspector._findings.scores["gain"], ours - theirs, atol=1e-6)
    expected = other.eval()(data[inspector.shown][0][None]).argmax(1)[0].numpy()
    assert np.array_equal(decoded(inspector.picture["other"]), expected)
    assert inspector.layers()[4:6] == ["other", "differences"]


def test_interrupted_it_shows_what_was_judged(tiny, data):
    class Interrupted(segnb.SegmentationDataset):
        def __getitem__(self, index):
            if index == self.until:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    images, masks = squares(5, seed=4, size=48)
    slow = Interrupted(images, masks, CLASSES)
    slow.until = 3
    inspector = inspect(tiny(), slow, batch_size=2)
    assert inspector.names == data.names[:2]
    assert inspector.note == "Interrupted: the first 2 of 5 pictures"
    slow.until = 1
    with pytest.raises(KeyboardInterrupt):
        inspect(tiny(), slow, batch_size=2)


def test_binary_and_optimised_models(tiny):
    images, masks = squares(2, size=48)
    data = segnb.SegmentationDataset(images, masks, ["square"])
    model = tiny(classes=["square"])
    inspector = inspect(segnb.optimize(model), data)
    assert (inspector.class_names, inspector.label) == (["background", "square"], 1)
    assert "gradcam" not in inspector.layers()
    inspector.explain("probability")
    with torch.no_grad():
        foreground = model.eval()(data[inspector.shown][0][None]).sigmoid()[0, 0].numpy()
    np.testing.assert_allclose(decoded(inspector.maps["probability"]["values"]) / 255, foreground, atol=0.004)
    assert inspector.visible == [False, True]


def test_inspect_refuses_what_does_not_fit(tiny, data):
    with pytest.raises(SegnbError, match=r"inspect\(\) was given a Linear; it takes a model of segnb.create_model"):
        inspect(torch.nn.Linear(1, 1), data)
    with pytest.raises(SegnbError, match="create the model with classes="):
        inspect(tiny(), data, against=tiny(classes=3))
    with pytest.raises(SegnbError, match=r"may overlap \(multilabel=True\): segnb.evaluate"):
        inspect(tiny(multilabel=True), data)
