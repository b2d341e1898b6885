import math

import numpy as np
import pytest
import torch
from torch import nn

from segnb.data.datasets import SegmentationDataset
from segnb.errors import SegnbError
from segnb.evaluation import evaluate, evaluating, same_size_batches, validate

CLASSES = ["sky", "road", "car"]


class Reader(nn.Module):
    """Predicts the label that is written in the first channel of the picture."""

    in_channels, multilabel = 3, False

    def __init__(self, classes=CLASSES):
        super().__init__()
        self.classes, self.num_classes = list(classes), len(classes)
        self.label_names = self.classes if len(classes) > 1 else ["background", *classes]
        self.palette = np.arange(3 * len(self.label_names), dtype=np.uint8).reshape(-1, 3)
        self.scale = nn.Parameter(torch.ones(1))
        self.frozen = nn.BatchNorm2d(1).eval()

    def forward(self, x):
        written = x[:, 0].long()
        if self.num_classes == 1:
            return self.scale * (2 * written - 1)[:, None].float()
        return self.scale * nn.functional.one_hot(written, self.num_classes).permute(0, 3, 1, 2).float()

    def probabilities(self, logits):
        return logits.sigmoid() if self.num_classes == 1 else logits.softmax(1)

    def labels(self, logits):
        return ((logits[:, 0] > 0) if self.num_classes == 1 else logits.argmax(1)).to(torch.uint8)


def picture(labels):
    """A picture in which `Reader` reads these labels."""
    return np.repeat(np.asarray(labels, np.uint8)[:, :, None], 3, axis=2)


@pytest.fixture
def data():
    """Three pictures of two sizes: perfect, half wrong, and all wrong but for the ignored pixels."""
    truth = [np.array([[0, 1], [1, 0]]), np.array([[0, 0], [1, 1]]), np.array([[1, 1, 255]])]
    guess = [truth[0], np.array([[0, 0], [0, 0]]), np.array([[0, 0, 1]])]
    return SegmentationDataset([picture(one) for one in guess], truth, CLASSES, names=["good", "half", "<b>bad"])


def test_scores_by_hand(data):
    report = evaluate(Reader(), data, batch_size=2)
    assert report.matrix.tolist() == [[4, 0, 0], [4, 2, 0], [0, 0, 0]]  # rows are the truth
    assert report.matrix.dtype == np.int64
    np.testing.assert_allclose(report.iou, [4 / 8, 2 / 6, np.nan])
    np.testing.assert_allclose(report.dice, [8 / 12, 4 / 8, np.nan])
    assert report.miou == pytest.approx((4 / 8 + 2 / 6) / 2)
    assert report.accuracy == pytest.approx(6 / 10)
    assert report.table()[1] == {
        "label": "road",
        "iou": pytest.approx(1 / 3),
        "dice": 0.5,
        "precision": 1.0,
        "recall": pytest.approx(1 / 3),
        "specificity": 1.0,
        "pixels": 6,
    }
    assert report.score("mean_accuracy") == pytest.approx((1 + 1 / 3) / 2)
    assert report.score("frequency_weighted_iou") == pytest.approx((4 * 4 / 8 + 6 * 2 / 6) / 10)
    np.testing.assert_allclose(report.score("precision"), [4 / 8, 1, np.nan])


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_scores_do_not_depend_on_the_batch_size(data, batch_size):
    report = evaluate(Reader(), data, batch_size=batch_size)
    assert report.matrix.tolist() == [[4, 0, 0], [4, 2, 0], [0, 0, 0]]
    np.testing.assert_allclose(report.scores, [1, 0.25, 0])
    assert report.counts[1].tolist() == [[2, 0, 0], [2, 0, 0], [0, 2, 0], [0, 2, 4]]


def test_worst_pictures_come_first(data):
    report = evaluate(Reader(), data)
    assert report.worst(2) == [
        {"index": 2, "name": "<b>bad", "miou": 0.0},
        {"index": 1, "name": "half", "miou": 0.25},
    ]


def test_pictures_are_listed_with_their_scores(data):
    good, half, bad = evaluate(Reader(), data).pictures()
    assert half == {
        "index": 1,
        "name": "half",
        "pixels": 4,
        "miou": 0.25,
        "mean_dice": pytest.approx(1 / 3),
        "accuracy": 0.5,
        "iou sky": 0.5,
        "iou road": 0.0,
        "iou car": pytest.approx(math.nan, nan_ok=True),
    }
    assert (good["accuracy"], bad["pixels"]) == (1.0, 2)


def test_worst_by_another_score(data):
    report = evaluate(Reader(), data)
    assert [image["name"] for image in report.worst(by="iou road")] == ["half", "<b>bad", "good"]
    assert report.worst(1, by="accuracy") == [{"index": 2, "name": "<b>bad", "accuracy": 0.0}]
    assert report.worst(by="iou car") == []  # in no picture
    with pytest.raises(SegnbError, match=r"pictures have no score 'iou raod'\. Did you mean 'iou road'"):
        report.worst(by="iou raod")
    with pytest.raises(SegnbError, match="no score 'hausdorff95'; pass boundaries=True to evaluate"):
        report.worst(by="hausdorff95")


def test_intervals_hold_the_score(data):
    report = evaluate(Reader(), data)
    low, high = report.confidence_interval()
    assert 0 <= low < report.miou < high <= 1
    by_class = report.confidence_interval("iou", samples=200)
    assert (by_class.low[:2] < report.iou[:2]).all()
    assert (by_class.high[:2] > report.iou[:2]).all()
    assert np.isnan(by_class.low[2])
    with pytest.raises(SegnbError, match="there is no score 'mious'"):
        report.confidence_interval("mious")


def test_boundaries_only_when_asked_for(data):
    assert evaluate(Reader(), data).boundaries is None
    report = evaluate(Reader(), data, boundaries=True, tolerance=1)
    assert report.boundaries.shape == (3, 3, 3)
    # "good" is perfect; in "half" all is predicted as sky: one row of two is right, and the other a pixel away.
    np.testing.assert_allclose(report.boundaries[0, :, :2], [[1, 1], [1, 1], [0, 0]])
    np.testing.assert_allclose(report.boundaries[1, :, 0], [0.5, 1, 1])
    np.testing.assert_allclose(report.boundaries[1, :, 1], [0, 0, math.hypot(2, 2)])  # road is missed
    road = report.table()[1]
    assert road["boundary_iou"] == pytest.approx(1 / 3)
    assert road["hausdorff95"] == pytest.approx((0 + math.hypot(2, 2) + math.hypot(1, 3)) / 3)
    assert report.pictures()[1]["surface_dice"] == pytest.approx(0.5)
    assert [image["name"] for image in report.worst(by="hausdorff95")] == ["<b>bad", "half", "good"]  # a distance
    text = report._repr_html_()
    assert "<th>boundary IoU</th><th>surface Dice</th><th>Hausdorff 95 (pixels)</th>" in text


def test_calibration_only_when_asked_for(data):
    model = Reader()
    report = evaluate(model, data, calibration=True)
    confidence = math.e / (math.e + 2)  # softmax of a one, a zero and a zero
    assert report.calibration.error() == pytest.approx(abs(confidence - 0.6), abs=1e-6)
    assert "expected calibration error 0.024" in report._repr_html_()
    assert "calibration" not in evaluate(model, data)._repr_html_()
    assert report.plot_calibration().axes[0].get_title(loc="left") == "expected calibration error 0.024"
    with pytest.raises(SegnbError, match="pass calibration=True to evaluate"):
        evaluate(model, data).plot_calibration()


def test_html_shows_the_interval_when_there_are_enough_pictures(data):
    assert "interval" not in evaluate(Reader(), data)._repr_html_()
    report = evaluate(Reader(), data.subset([0, 1, 2] * 4))
    low, high = report.confidence_interval("miou")
    assert f"(95 % interval {low:.3f} to {high:.3f})" in report._repr_html_()


def test_all_pictures_ignored():
    data = SegmentationDataset([picture([[0, 1]])] * 2, [np.array([[255, 255]])] * 2, CLASSES)
    report = evaluate(Reader(), data, boundaries=True, calibration=True)
    assert math.isnan(report.miou)
    assert np.isnan(report.confidence_interval("miou", samples=10)).all()
    assert np.isnan(report.boundaries).all()
    assert report.worst() == []
    assert "mIoU absent" in report._repr_html_()


def test_a_picture_without_truth_is_not_the_worst():
    data = SegmentationDataset([picture([[0]]), picture([[0]])], [np.array([[255]]), np.array([[1]])], CLASSES)
    report = evaluate(Reader(), data)
    assert math.isnan(report.scores[0])
    assert [image["index"] for image in report.worst()] == [1]


def test_a_binary_model_has_two_labels():
    data = SegmentationDataset([picture([[0, 1, 1, 1]])], [np.array([[0, 0, 1, 255]])], ["road"])
    report = evaluate(Reader(["road"]), data)
    assert report.label_names == ["background", "road"]
    assert report.matrix.tolist() == [[1, 1], [0, 1]]
    np.testing.assert_allclose(report.iou, [0.5, 0.5])


def test_html_is_readable_and_escaped():
    names = ["<script>", "road"]
    data = SegmentationDataset([picture([[0, 1]])], [np.array([[0, 1]])], names, names=["<img src=x>"])
    text = evaluate(Reader(names), data)._repr_html_()
    assert "<script>" not in text
    assert "<img" not in text
    assert "&lt;script&gt;" in text
    assert "&lt;img src=x&gt; (1.00)" in text
    assert "<b>mIoU 1.000</b>, pixel accuracy 1.000, 1 images" in text


def test_absent_class_is_called_absent(data):
    assert (
        "car</td><td>absent</td><td>absent</td><td>absent</td><td>absent</td><td>0</td>"
        in evaluate(Reader(), data)._repr_html_()
    )


def test_figures(data):
    report = evaluate(Reader(), data)
    shares = report.plot().axes[0].images[0].get_array()
    np.testing.assert_allclose(np.ma.getdata(shares)[1], [4 / 6, 2 / 6, 0])
    assert [bar.get_width() for bar in report.plot_classes().axes[0].patches] == pytest.approx([0.5, 1 / 3, 0])
    titles = {axes.get_title(loc="left") for axes in report.plot_worst(1).axes}
    assert "<b>bad  mIoU 0.00" in titles


def test_modes_come_back_as_they_were(data):
    model = Reader().train()
    model.frozen.eval()
    evaluate(model, data)
    assert model.training
    assert not model.frozen.training


def test_modes_come_back_after_an_error():
    model = Reader().train()
    with pytest.raises(SegnbError, match="found label 7"):
        validate(model, [(torch.zeros(1, 3, 1, 1, dtype=torch.uint8), torch.tensor([[[7]]]))])
    assert model.training
    assert torch.is_grad_enabled()


def test_inside_there_are_no_gradients_and_no_dropout():
    model = Reader().train()
    with evaluating(model) as device:
        assert device.type == "cpu"
        assert not model.training
        assert not torch.is_grad_enabled()


def test_loss_is_weighted_by_counted_pixels():
    pictures = torch.zeros(1, 3, 1, 2, dtype=torch.uint8)
    batches = [
        (pictures, torch.tensor([[[0, 0]]])),
        (pictures, torch.tensor([[[1, 255]]])),
        (pictures, torch.tensor([[[255, 255]]])),
    ]
    found = validate(Reader(), batches, loss=lambda logits, labels: labels[labels != 255].float().mean())
    assert found.loss == pytest.approx(1 / 3)
    assert math.isnan(validate(Reader(), batches).loss)
    assert found.matrix.matrix.tolist() == [[2, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_a_batch_without_a_counted_pixel_has_no_weight_in_the_loss_nor_a_score():
    pictures = torch.zeros(1, 3, 1, 2, dtype=torch.uint8)
    batches = [(pictures, torch.tensor([[[0, 0]]])), (pictures, torch.tensor([[[255, 255]]]))]
    found = validate(Reader(), batches, loss=lambda logits, labels: (labels != 255).float().mean().log().sqrt() + 2)
    assert found.loss == 2
    assert found.scores == [1, pytest.approx(math.nan, nan_ok=True)]
    assert found.counts.tolist() == [[[2, 0, 0], [0, 0, 0], [0, 0, 0], [0, 2, 2]], [[0, 0, 0]] * 4]


def test_nothing_to_validate():
    found = validate(Reader(), [], loss=lambda logits, labels: logits.sum())
    assert math.isnan(found.loss)
    assert found.scores == []


def test_observers_see_every_batch(data):
    batches = [(image[None], labels[None]) for image, labels in (data[i] for i in range(3))]
    seen = []
    validate(Reader(), batches, observers=[lambda *given: seen.append([tuple(one.shape) for one in given])])
    assert seen[2] == [(1, 3, 1, 3), (1, 1, 3), (1, 1, 3)]
    assert len(seen) == 3


def test_preview_holds_the_first_pictures(data):
    batches = [(image[None], labels[None]) for image, labels in (data[i] for i in range(3))]
    found = validate(Reader(), batches, preview=2)
    assert len(found.preview) == 2
    image, labels, predicted = found.preview[1]
    np.testing.assert_array_equal(image, picture([[0, 0], [0, 0]]))
    np.testing.assert_array_equal(labels, [[0, 0], [1, 1]])
    np.testing.assert_array_equal(predicted, [[0, 0], [0, 0]])
    assert {array.dtype for array in found.preview[1]} == {np.dtype(np.uint8)}


def test_batches_hold_pictures_of_one_size():
    items = [(torch.zeros(1, *size), i) for i, size in enumerate([(2, 2), (2, 2), (2, 2), (2, 3), (2, 2)])]
    assert [members for _, members in same_size_batches(items, 2)] == [(0, 1), (2,), (3,), (4,)]


def test_what_does_not_fit_is_refused(data):
    with pytest.raises(SegnbError, match=r"^batch_size is 0; it must be 1 or more"):
        evaluate(Reader(), data, batch_size=0)
    with pytest.raises(SegnbError, match=r"data has 3 classes \(sky, road, car\) and the model 2; .* classes=\['sky'"):
        evaluate(Reader(["a", "b"]), data)
    grey = SegmentationDataset([np.zeros((2, 2), np.uint8)], [np.zeros((2, 2), np.uint8)], CLASSES)
    with pytest.raises(SegnbError, match=r"images have 1 channels and the model reads 3; .* in_channels=1"):
        evaluate(Reader(), grey)
