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

    in_channels = 3

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
    assert report.table()[1] == {"label": "road", "iou": pytest.approx(1 / 3), "dice": 0.5, "pixels": 6}


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_scores_do_not_depend_on_the_batch_size(data, batch_size):
    report = evaluate(Reader(), data, batch_size=batch_size)
    assert report.matrix.tolist() == [[4, 0, 0], [4, 2, 0], [0, 0, 0]]
    np.testing.assert_allclose(report.scores, [1, 0.25, 0])


def test_worst_pictures_come_first(data):
    report = evaluate(Reader(), data)
    assert report.worst(2) == [
        {"index": 2, "name": "<b>bad", "miou": 0.0},
        {"index": 1, "name": "half", "miou": 0.25},
    ]


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
    assert "car</td><td>absent</td><td>absent</td><td>0</td>" in evaluate(Reader(), data)._repr_html_()


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
