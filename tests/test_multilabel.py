"""Classes that overlap, from files to a saved prediction: the planes of all classes stay what they are all the way."""

from __future__ import annotations

import json
import pickle
from types import SimpleNamespace

import albumentations as A
import numpy as np
import pytest
import torch
from albumentations.pytorch import ToTensorV2
from discs import DISCS, discs
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from squares import TINY
from test_datasets import refused
from test_readers_coco import box, coco, compressed, thing  # noqa: F401  coco is a fixture
from torch.utils.data import DataLoader

from segnb.data import SegmentationDataset
from segnb.data.crops import BalancedCrop
from segnb.data.doctor import check_dataset
from segnb.data.planes import flatten, plane_palette
from segnb.data.splits import split
from segnb.draw import palette
from segnb.errors import SegnbError
from segnb.evaluation import evaluate, validate
from segnb.losses import get_loss
from segnb.metrics import MultilabelConfusionMatrix
from segnb.models import create_model
from segnb.optimizing import optimize
from segnb.prediction import Predictions, SavedPredictions, predict
from segnb.pretrained import load_model, save_model
from segnb.train import fit, processes
from segnb.train.class_weights import count_class_weights
from segnb.widgets import explore

CELL, NUCLEUS = np.zeros((6, 8), np.uint8), np.zeros((6, 8), np.uint8)
CELL[1:5, 1:7], NUCLEUS[2:4, 2:4] = 1, 1
PLANES = np.stack([CELL, NUCLEUS])
PHOTO = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
NAMES = ["cell", "nucleus"]


def one(mask=PLANES, classes=NAMES, transform=None, image=PHOTO, **options):
    return SegmentationDataset([image], [mask], classes, transform, multilabel=True, **options)


def tiny(classes=DISCS):
    torch.manual_seed(0)
    return create_model("unet", TINY, None, classes=classes, multilabel=True)


# Data -----------------------------------------------------------------------------------------------------------------


def test_arrays_become_planes():
    data = one()
    assert (data.multilabel, data.classes, data.label_names) == (True, NAMES, NAMES)
    image, labels = data[0]
    assert (image.shape, image.dtype) == ((3, 6, 8), torch.uint8)
    assert labels.dtype == torch.uint8
    assert (labels.numpy() == PLANES).all()
    assert (data.read(0)[1] == PLANES).all()
    assert (data.palette == palette(3)[1:]).all()  # no black: there is no background
    assert (plane_palette(2) == data.palette).all()
    assert "labels, which may overlap: 0 cell, 1 nucleus; 255 is ignored" in repr(data)
    assert "masks: one plane for each class, 0 and 1" in repr(data)
    assert one(PLANES.astype(bool))[0][1].tolist() == PLANES.tolist()


def test_what_is_read_is_free_to_be_changed():
    mine = PLANES.copy()
    data = one(mine)
    data.read(0)[1][:] = 7
    assert (data.read(0)[1] == PLANES).all()
    assert (mine == PLANES).all()


def test_batches_and_workers():
    data = SegmentationDataset(*discs(4), DISCS, multilabel=True)
    images, labels = next(iter(DataLoader(pickle.loads(pickle.dumps(data)), 4)))
    assert (images.shape, labels.shape, labels.dtype) == ((4, 3, 48, 48), (4, 2, 48, 48), torch.uint8)


def test_255_is_ignored_unless_it_is_the_only_value_beside_0():
    ignoring = PLANES.copy()
    ignoring[0, 0] = 255
    assert (one(ignoring).read(0)[1] == ignoring).all()
    strong = one(PLANES * 255)
    assert (strong.read(0)[1] == PLANES).all()
    assert "one plane for each class, 0 and 255" in repr(strong)


def test_mask_values_say_what_no_and_yes_are():
    assert (one(PLANES + 3, mask_values=(3, 4)).read(0)[1] == PLANES).all()
    stored = PLANES.astype(np.uint16) * 1000
    stored[1, 5] = 77
    expected = PLANES.copy()
    expected[1, 5] = 255
    assert (one(stored, mask_values=(0, 1000, 77)).read(0)[1] == expected).all()


def test_one_file_for_each_class(tmp_path):
    names = []
    for plane, name in zip(PLANES, NAMES, strict=True):
        Image.fromarray(plane * 255).save(tmp_path / f"{name}.png")
        names.append(tmp_path / f"{name}.png")
    assert (one(names).read(0)[1] == PLANES).all()
    assert (one([names[0], None]).read(0)[1] == [CELL, 0 * CELL]).all()
    assert (one((CELL, NUCLEUS)).read(0)[1] == PLANES).all()
    green = np.zeros((6, 8, 3), np.uint8)
    green[CELL == 1] = 0, 255, 0
    Image.fromarray(green).save(tmp_path / "green.png")
    coloured = one([tmp_path / "green.png", None], mask_values=[(0, 0, 0), (0, 255, 0)])
    assert (coloured.read(0)[1][0] == CELL).all()


@pytest.fixture
def folders(tmp_path):
    """Pictures a and b; b has no nucleus."""
    for name in ("images", "masks/cell", "masks/nucleus"):
        (tmp_path / name).mkdir(parents=True)
    for stem in "ab":
        Image.fromarray(PHOTO).save(tmp_path / "images" / f"{stem}.png")
        Image.fromarray(CELL).save(tmp_path / "masks" / "cell" / f"{stem}.png")
    Image.fromarray(NUCLEUS).save(tmp_path / "masks" / "nucleus" / "a.png")
    return tmp_path / "images", tmp_path / "masks"


def test_folders(folders):
    data = SegmentationDataset.from_folder(*folders, NAMES, multilabel=True)
    assert data.names == ["a", "b"]
    assert (data.read(0)[1] == PLANES).all()
    assert (data.read(1)[1] == [CELL, 0 * CELL]).all()
    assert data.origin["multilabel"] is True
    options = {name: value for name, value in data.origin.items() if name != "reader"}
    assert (SegmentationDataset.from_folder(**options).read(0)[1] == PLANES).all()


def test_folders_that_do_not_fit(folders):
    images, masks = folders

    def read(classes=NAMES):
        return SegmentationDataset.from_folder(images, masks, classes, multilabel=True)

    refused("There is no folder", ["cell", "nukleus"], call=read)
    refused("Did you mean 'nucleus'?", ["cell", "nukleus"], call=read)
    refused("names the file '../images', which is not inside", ["cell", "../images"], call=read)
    Image.fromarray(NUCLEUS).save(masks / "nucleus" / "c.png")
    refused("1 mask without image (c.png)", call=read)
    (masks / "nucleus" / "c.png").unlink()
    (masks / "cell" / "b.png").unlink()
    refused("1 image without mask (b.png)", call=read)


def test_coco_things_overlap(coco):  # noqa: F811
    large, small = box(slice(0, 6), slice(0, 6)), box(slice(2, 4), slice(2, 4))
    crowd = box(slice(0, 2), slice(4, 8))
    things = (thing(compressed(large), 90), thing(compressed(small), 7), thing(compressed(crowd), 90, iscrowd=1))
    data = SegmentationDataset.from_coco(*coco(*things), multilabel=True)
    assert data.classes == ["zebra", "dog"]  # no background
    dog = np.where(large == 1, 1, np.where(crowd == 1, 255, 0))
    assert (data.read(0)[1] == [small, dog]).all()
    chosen = SegmentationDataset.from_coco(*coco(*things), ["dog", "zebra"], multilabel=True)
    assert (chosen.read(0)[1] == [dog, small]).all()
    with pytest.raises(SegnbError, match="multilabel=True with the single class 'dog'"):
        SegmentationDataset.from_coco(*coco(*things), ["dog"], multilabel=True)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (PLANES[:1], r"mask 0 holds (1, 6, 8) uint8: the mask of a multi-label picture is (K, H, W) integers"),
        (PLANES.transpose(1, 2, 0), "The planes seem to come last: give mask.transpose(2, 0, 1)."),
        (PLANES / 2, "mask 0 holds (2, 6, 8) float64"),
        (PLANES * 2, "mask 0 (cell) has the value 2 (first at row 1, column 1), but the mask of one class holds 0 for no"),
        (PLANES[:, :5], "image 0 is 8 × 6 pixels but mask 0 (cell) is 8 × 5"),
        ("a.png", "mask 0 of the multi-label data set is a str: give an array (K, H, W), or a list of one mask for each of"),
        ([CELL], "mask 0 of the multi-label data set is 1 masks"),
        ([None, None], "mask 0 of the multi-label data set is 2 masks"),
        ([CELL, 7], "is a int: give a path or a NumPy array"),
        ([CELL, PHOTO], "mask 0 (nucleus) is a colour mask"),
    ],
)  # fmt: skip
def test_masks_that_do_not_fit(mask, message):
    refused(message, mask, call=one)


def test_one_class_is_binary():
    sentence = "one class overlaps no other, so leave multilabel out, which makes it binary."
    refused(f"multilabel=True with the single class 'cell': {sentence}", PLANES[:1], ["cell"], call=one)
    refused(f"multilabel=True with classes=1: {sentence}", 1, call=tiny)
    refused(f"multilabel=True with classes=['cell']: {sentence}", ["cell"], call=tiny)


MOVES = [
    A.HorizontalFlip(p=1),
    A.RandomRotate90(p=1),
    A.RandomCrop(20, 30),
    A.RandomCrop(60, 70, pad_if_needed=True, fill_mask=255),
    A.Resize(31, 47),
    A.ElasticTransform(p=1),
    A.CoarseDropout(p=1, fill_mask=255),
]


@pytest.mark.parametrize("move", MOVES, ids=lambda move: type(move).__name__)
@pytest.mark.parametrize("classes", [2, 5, 9])
def test_all_planes_move_together(move, classes):
    """As if each plane had been the only mask, with the same dice."""
    masks = np.random.default_rng(1).integers(0, 2, (classes, 6, 5), np.uint8).repeat(8, 1).repeat(8, 2)
    image = np.zeros((48, 40, 3), np.uint8)
    data = one(masks, [f"c{k}" for k in range(classes)], A.Compose([move], seed=5), image)
    moved = data[0][1]
    for plane, found in zip(masks, moved, strict=True):
        alone = SegmentationDataset([image], [plane], ["no", "yes"], A.Compose([move], seed=5), mask_values=(0, 1))
        assert (alone[0][1] == found).all()


def test_a_transform_may_return_tensors_or_be_a_function():
    assert (one(transform=A.Compose([ToTensorV2()]))[0][1].numpy() == PLANES).all()

    def crop(image, mask):
        assert mask.shape == (6, 8, 2)
        return {"image": image[::-1, :4], "mask": mask[::-1, :4]}

    image, labels = one(transform=crop)[0]
    assert (labels.numpy() == PLANES[:, ::-1, :4]).all()
    assert (image.numpy() == PHOTO[::-1, :4].transpose(2, 0, 1)).all()
    data = one(transform=lambda image, mask: {"image": image, "mask": mask[:, :, 0]})
    refused("keep (H, W, 2), a plane for each class, of integers", 0, call=data.__getitem__)


def test_balanced_crop_shows_the_class_that_was_thrown():
    image, planes = np.zeros((64, 64, 3), np.uint8), np.zeros((2, 64, 64), np.uint8)
    planes[0], planes[1, 60, 3] = 1, 1
    data = one(planes, transform=A.Compose([BalancedCrop(8, 8, class_weights=[0, 1])], seed=0), image=image)
    assert all(data[0][1][1].sum() == 1 for _ in range(10))


def test_splits_and_class_weights_count_planes():
    planes = [PLANES, np.stack([CELL, 0 * CELL])] * 4
    data = SegmentationDataset([PHOTO] * 8, planes, NAMES, multilabel=True)
    assert data.count(0).tolist() == [24, 4]
    train, valid = split(data, 0.25)
    assert any(valid.count(i)[1] for i in range(2))
    assert any(train.count(i)[1] for i in range(6))
    assert len(count_class_weights(data)) == 2
    assert count_class_weights(data)[1] > count_class_weights(data)[0]


def test_one_class_by_itself_is_binary_and_can_be_checked():
    planes = PLANES.copy()
    planes[1, 0, 0] = 255
    data = one(planes)
    with pytest.raises(
        SegnbError, match=r"is multi-label: check one class at a time, check_dataset\(data.of_class\('cell'\)\)"
    ):
        check_dataset(data)
    nucleus = data.of_class("nucleus")
    assert (nucleus.classes, nucleus.label_names, nucleus.multilabel) == (["nucleus"], ["background", "nucleus"], False)
    assert nucleus.read(0)[1].tolist() == planes[1].tolist()
    assert nucleus.palette.tolist() == [[0, 0, 0], data.palette[1].tolist()]
    assert nucleus.names == data.names
    rows = {row["label"]: row for row in check_dataset(nucleus).class_table()}
    assert rows["nucleus"]["pixels"] == 4
    with pytest.raises(SegnbError, match=r"there is no class 'nuclei'. .*nucleus"):
        data.of_class("nuclei")
    with pytest.raises(SegnbError, match="each pixel has one label already"):
        nucleus.of_class("nucleus")


def test_flatten_lays_the_smaller_class_on_top():
    expected = np.where(NUCLEUS == 1, 1, np.where(CELL == 1, 0, 255))
    assert flatten(PLANES).tolist() == expected.tolist()
    assert flatten(PLANES[::-1]).tolist() == np.where(expected < 2, 1 - expected, 255).tolist()
    ignoring = PLANES.copy()
    ignoring[1][CELL == 1] = 255
    assert flatten(ignoring).tolist() == np.where(CELL == 1, 0, 255).tolist()


SHAPES = st.tuples(st.integers(2, 5), st.integers(1, 6), st.integers(1, 6))
ANSWERS = st.sampled_from([0, 1, 255])


@given(arrays.arrays(np.uint8, SHAPES, elements=ANSWERS))
def test_planes_survive_and_flatten_shows_only_what_is_there(planes):
    image = np.zeros((*planes.shape[1:], 3), np.uint8)
    data = one(planes, [f"c{k}" for k in range(len(planes))], image=image, mask_values=(0, 1))
    assert (data[0][1].numpy() == planes).all()
    flat = flatten(planes)
    for row, column in np.ndindex(flat.shape):
        there = np.flatnonzero(planes[:, row, column] == 1)
        assert (flat[row, column] in there) if len(there) else flat[row, column] == 255


# Model ----------------------------------------------------------------------------------------------------------------


def test_the_model_answers_each_class_for_itself():
    model = tiny()
    logits = torch.tensor([-2.0, 0.0, 3.0, 1.0]).reshape(1, 2, 1, 2)
    assert model.labels(logits).tolist() == [[[[0, 0]], [[1, 1]]]]
    torch.testing.assert_close(model.probabilities(logits), 1 / (1 + (-logits).exp()))
    assert model.label_names == DISCS
    assert (model.palette == plane_palette(2)).all()
    assert not create_model("unet", TINY, None, classes=2).multilabel


def test_the_card_remembers_it(tmp_path):
    model = tiny().eval()
    model.value_range = (10, 4095)
    loaded = load_model(save_model(model, tmp_path))
    assert loaded.multilabel
    assert loaded.value_range == (10, 4095)
    assert "multilabel" not in create_model("unet", TINY, None, classes=2).config
    image = torch.zeros(1, 3, 40, 40, dtype=torch.uint8)
    assert torch.equal(loaded(image), model(image))
    fast = optimize(loaded)
    assert (fast.multilabel, fast.value_range) == (True, (10, 4095))
    with pytest.raises(SegnbError, match=r"multilabel=True with classes=\['red'\]"):
        load_model(tmp_path, classes=["red"])


def test_data_and_model_must_both_be_multilabel():
    overlapping = SegmentationDataset(*discs(2), DISCS, multilabel=True)
    exclusive = SegmentationDataset(overlapping._images, [mask[0] for mask in overlapping._masks], DISCS)
    plain = create_model("unet", TINY, None, classes=DISCS)
    wants = "the data is multi-label, its classes may overlap, and the model gives each pixel one label; create the model with"
    gives = (
        "the model is multi-label, its classes may overlap, and each pixel of the data has one label; create the model"
    )
    for call in (evaluate, predict, lambda model, data: fit(model, data, data, 1)):
        refused(wants, plain, overlapping, call=call)
        refused(gives, tiny(), exclusive, call=call)


# Training and evaluation ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on discs; its model, and the pictures that it was judged by."""
    train = SegmentationDataset(*discs(32), DISCS, A.Compose([A.HorizontalFlip()], seed=0), multilabel=True)
    valid = SegmentationDataset(*discs(4, seed=1), DISCS, multilabel=True, palette=[(255, 0, 0), (0, 0, 255)])
    model = tiny()
    before = evaluate(model, valid).miou
    out = tmp_path_factory.mktemp("run") / "discs"
    run = fit(model, train, valid, 8, batch_size=4, out=out)
    return run, model, valid, before


def test_it_learns_both_discs_where_they_overlap(trained):
    run, model, valid, before = trained
    report = evaluate(model, valid)
    assert before < 0.5
    assert report.miou > 0.8
    assert report.iou.min() > 0.75
    assert report.miou == pytest.approx(run.best["miou"])
    assert len(run.best["iou"]) == 2
    overlap = np.concatenate([(mask[0] & mask[1]).ravel() for mask in valid._masks]).astype(bool)
    both = np.concatenate([one.labels.all(axis=0).ravel() for one in predict(model, valid)])
    assert both[overlap].mean() > 0.7  # a model of one label a pixel could not say both
    assert load_model(run.path / "best").multilabel


def test_the_runs_preview_is_a_map_to_look_at(trained):
    run, _, valid, _ = trained
    image, truth, guess = run.preview[0]
    assert (image == valid.read(0)[0]).all()
    assert (truth == flatten(valid.read(0)[1])).all()
    assert set(np.unique(guess)) <= {0, 1, 255}


class Reader(torch.nn.Module):
    """Says yes to the classes whose channel is bright."""

    in_channels, num_classes, multilabel, value_range = 3, 2, True, None
    classes = label_names = NAMES
    palette = plane_palette(2)

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, image):
        return self.scale * 4 * (image[:, :2].float() / 255 - 0.5)

    def labels(self, logits):
        return (logits > 0).to(torch.uint8)

    def probabilities(self, logits):
        return logits.sigmoid()


def picture(first, second):
    """A picture in which `Reader` says these two planes."""
    planes = np.array([first, second, np.zeros_like(first)], np.uint8) * 255
    return planes.transpose(1, 2, 0).copy()


@pytest.fixture
def judged():
    """Of the cell 2 hits, 1 miss; of the nucleus 1 hit, 1 false alarm, one pixel ignored; then a picture all right."""
    guess = picture([[1, 1, 0, 0]], [[1, 1, 0, 1]])
    truth = np.array([[[1, 1, 1, 0]], [[1, 0, 0, 255]]], np.uint8)
    right = picture([[0, 0]], [[0, 1]])
    return SegmentationDataset(
        [guess, right], [truth, np.array([[[0, 0]], [[0, 1]]], np.uint8)], NAMES, multilabel=True
    )


@pytest.mark.parametrize("batch_size", [1, 8])
def test_scores_by_hand(judged, batch_size):
    report = evaluate(Reader(), judged, batch_size=batch_size)
    assert report.matrix.tolist() == [[[3, 0], [1, 2]], [[2, 1], [0, 2]]]
    assert report.counts.tolist() == [[[2, 1], [0, 1], [1, 0], [1, 1]], [[0, 1], [0, 0], [0, 0], [2, 1]]]
    np.testing.assert_allclose(report.iou, [2 / 3, 2 / 3])
    np.testing.assert_allclose(report.dice, [4 / 5, 4 / 5])
    assert report.accuracy == pytest.approx(9 / 11)
    assert report.miou == pytest.approx(2 / 3)
    row = report.table()[1]
    assert row == {
        "label": "nucleus",
        "iou": pytest.approx(2 / 3),
        "dice": 0.8,
        "precision": pytest.approx(2 / 3),
        "recall": 1.0,
        "specificity": pytest.approx(2 / 3),
        "pixels": 2,
    }
    first, second = report.pictures()
    assert (first["pixels"], first["iou cell"], first["iou nucleus"]) == (4, pytest.approx(2 / 3), 0.5)
    assert (first["accuracy"], second["accuracy"]) == (pytest.approx(5 / 7), 1.0)
    assert [entry["name"] for entry in report.worst()] == ["000", "001"]
    low, high = report.confidence_interval("accuracy", samples=50)
    assert low <= 9 / 11 <= high


def test_what_makes_no_sense_is_said(judged):
    report = evaluate(Reader(), judged)
    with pytest.raises(
        SegnbError, match=r"classes may overlap, so none is mistaken for another.* See report\.plot_classes\(\)"
    ):
        report.plot()
    text = report._repr_html_()
    assert "there is no confusion matrix" in text
    assert "accuracy of yes and no 0.818" in text
    assert report.plot_classes().axes
    assert report.plot_worst(1).axes


def test_outlines_and_confidence(judged):
    report = evaluate(Reader(), judged, boundaries=True, calibration=True)
    assert report.boundaries.shape == (2, 3, 2)
    assert np.isnan(report.boundaries[1, :, 0]).all()  # no cell in truth nor prediction
    np.testing.assert_allclose(report.boundaries[1, :, 1], [1, 1, 0])
    assert report.calibration.error() == pytest.approx(abs(1 / (1 + np.exp(-2)) - 9 / 11), abs=1e-6)


def test_validation_counts_and_its_loss(judged):
    model, (image, labels) = Reader(), judged[0]
    found = validate(model, [(image[None], labels[None])], get_loss("ce"))
    assert isinstance(found.matrix, MultilabelConfusionMatrix)
    p = 1 / (1 + np.exp(-2))
    assert found.loss == pytest.approx(-(5 * np.log(p) + 2 * np.log(1 - p)) / 7)


def test_processes_add_up_what_they_found(judged, monkeypatch):
    """As if another process had found the same."""
    image, labels = judged[0]
    found = validate(Reader(), [(image[None], labels[None])], get_loss("ce"))
    monkeypatch.setattr(processes.dist, "all_reduce", lambda tensor, group=None: tensor.mul_(2))
    monkeypatch.setattr(processes, "host_group", lambda: None)
    merged = processes.Processes(SimpleNamespace(num_processes=2, process_index=0)).merge(found)
    assert isinstance(merged.matrix, MultilabelConfusionMatrix)
    assert torch.equal(merged.matrix.matrix, 2 * found.matrix.matrix)
    assert merged.loss == pytest.approx(found.loss)


@given(
    arrays.arrays(np.uint8, (2, 3, 4, 5), elements=st.integers(0, 1)),
    arrays.arrays(np.uint8, (2, 3, 4, 5), elements=ANSWERS),
)
def test_counts_of_pictures_add_up(guess, truth):
    matrix = MultilabelConfusionMatrix(3)
    counts = matrix.counts_of(matrix.update(torch.from_numpy(guess), torch.from_numpy(truth)))
    assert torch.equal(counts.sum(0), matrix.counts())
    counted = truth != 255
    for k in range(3):
        hits = ((guess == 1) & (truth == 1))[:, k].sum()
        assert counts[:, 0, k].sum() == hits
        assert counts[:, :, k].sum() == counted[:, k].sum()
    right = ((guess == truth) & counted).sum()
    assert matrix.accuracy() == pytest.approx(right / counted.sum() if counted.any() else np.nan, nan_ok=True)


# Prediction -----------------------------------------------------------------------------------------------------------

SEEN = np.array([[[255, 0, 0], [255, 255, 0], [0, 255, 0], [102, 0, 0]]], np.uint8)  # cell, both, nucleus, unsure


def test_prediction():
    found = predict(Reader(), SEEN)
    assert found.labels.tolist() == [[[1, 1, 0, 0]], [[0, 1, 1, 0]]]
    assert found.labels.dtype == np.uint8
    assert found.multilabel
    probabilities = 1 / (1 + np.exp(-4 * (SEEN[:, :, :2].transpose(2, 0, 1) / 255 - 0.5)))
    np.testing.assert_allclose(found.probabilities, probabilities, atol=1e-3)
    np.testing.assert_allclose(found.confidence, np.where(found.labels, probabilities, 1 - probabilities), atol=1e-3)
    assert repr(found) == "Prediction('image', 1×4, found: cell, nucleus)"
    assert repr(predict(Reader(), SEEN * 0)) == "Prediction('image', 1×4, found: nothing)"


def test_thresholds():
    assert predict(Reader(), SEEN, threshold=0.41).labels[0].tolist() == [[1, 1, 0, 0]]
    assert predict(Reader(), SEEN, threshold=0.39).labels[0].tolist() == [[1, 1, 0, 1]]  # sigmoid(-0.4) is 0.401
    assert predict(Reader(), SEEN, threshold=[0.39, 0.95]).labels.tolist() == [[[1, 1, 0, 1]], [[0, 0, 0, 0]]]
    for threshold, message in (
        ([0.5], r"threshold has 1 numbers; give one for all classes, or one for each of the 2 \(cell, nucleus\)"),
        ([0.5, 2], r"threshold is \[0\.5, 2\]; give a probability from 0 to 1"),
        ("low", "threshold is 'low'; give a probability"),
    ):
        with pytest.raises(SegnbError, match=message):
            predict(Reader(), SEEN, threshold=threshold)


def test_windows_flips_and_scales_keep_the_planes():
    image = np.kron(SEEN, np.ones((16, 16, 1), np.uint8)).astype(np.uint8)
    plain = predict(Reader(), image)
    for options in (
        {"window": 16, "overlap": 0.5},
        {"flips": ("horizontal", "vertical")},
        {"window": 8, "flips": "vertical"},
    ):
        found = predict(Reader(), image, **options)
        assert (found.labels == plain.labels).all()
        np.testing.assert_allclose(found.probabilities, plain.probabilities, atol=2e-3)
    assert predict(Reader(), image, scales=(0.5, 1)).labels.shape == (2, 16, 64)


def test_saved_planes_are_a_data_set(tmp_path):
    pictures = [SEEN, SEEN[:, ::-1].copy()]
    found = predict(Reader(), pictures)
    assert isinstance(found, Predictions)
    found.save(tmp_path / "masks")
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.png")) == [
        "masks/cell/000.png", "masks/cell/001.png", "masks/nucleus/000.png", "masks/nucleus/001.png",
    ]  # fmt: skip
    with Image.open(tmp_path / "masks" / "nucleus" / "000.png") as saved:
        assert np.array(saved).tolist() == [[0, 1, 1, 0]]
        assert np.array(saved.convert("RGB"))[0, 1].tolist() == Reader.palette[1].tolist()
    (tmp_path / "images").mkdir()
    for name, image in zip(("000", "001"), pictures, strict=True):
        Image.fromarray(image).save(tmp_path / "images" / f"{name}.png")
    data = SegmentationDataset.from_folder(tmp_path / "images", tmp_path / "masks", NAMES, multilabel=True)
    assert (data.read(1)[1] == found[1].labels).all()
    assert evaluate(Reader(), data).miou == 1.0


def test_out_writes_and_reads_back(tmp_path):
    data = SegmentationDataset([SEEN, SEEN], [predict(Reader(), SEEN).labels] * 2, NAMES, multilabel=True)
    found = predict(Reader(), data, out=tmp_path, probabilities=True)
    assert isinstance(found, SavedPredictions)
    assert found[1].labels.tolist() == [[[1, 1, 0, 0]], [[0, 1, 1, 0]]]
    assert (found[1].truth == found[1].labels).all()
    with np.load(tmp_path / "000.npz") as saved:
        assert saved["probabilities"].shape == (2, 1, 4)
    assert found.plot().axes
    assert explore(found).names[:2] == ["000 · cell", "000 · nucleus"]


def test_a_class_that_cannot_be_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(Reader, "label_names", ["cell", "../nucleus"])
    with pytest.raises(SegnbError, match=r"a class is called '\.\./nucleus', which cannot be a folder's name"):
        predict(Reader(), SEEN, out=tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_no_mask_replaces_a_picture(tmp_path):
    (tmp_path / "cell").mkdir()
    Image.fromarray(SEEN).save(tmp_path / "cell" / "a.png")
    with pytest.raises(SegnbError, match=r"the mask '.*a\.png' would replace the picture itself"):
        predict(Reader(), tmp_path / "cell", out=tmp_path)


def test_coco_file_keeps_the_overlap(tmp_path):
    from pycocotools import mask as pycoco

    found = predict(Reader(), SEEN)
    content = json.loads(found.save_coco(tmp_path / "found.json").read_text())
    assert [category["name"] for category in content["categories"]] == NAMES
    decoded = {entry["category_id"]: pycoco.decode(entry["segmentation"]) for entry in content["annotations"]}
    assert np.array_equal([decoded[0], decoded[1]], found.labels)


def test_overlay_mixes_the_colours_of_overlapping_classes():
    found = predict(Reader(), SEEN)
    cell, nucleus = found.palette.astype(float)
    painted = found.overlay(0.5)
    np.testing.assert_allclose(painted[0, 1], (SEEN[0, 1] / 2 + cell / 2) / 2 + nucleus / 2, atol=1.1)
    assert (painted[0, 3] == SEEN[0, 3]).all()
    assert (found.overlay(0) == SEEN).all()


def test_it_shows_a_page_for_each_class(monkeypatch):
    import IPython

    truth = np.array([[[1, 255, 0, 0]], [[0, 0, 1, 0]]], np.uint8)
    data = SegmentationDataset([SEEN], [truth], NAMES, multilabel=True)
    viewer = explore(predict(Reader(), data))
    assert viewer.names == ["000 · cell", "000 · nucleus"]
    assert viewer.class_names == ["background", *NAMES]
    assert viewer.palette == [[0, 0, 0], *Reader.palette.tolist()]
    assert [viewer.payload(page)["counts"]["prediction"] for page in (0, 1)] == [[2, 2, 0], [2, 0, 2]]
    assert [viewer.payload(page)["counts"]["truth"] for page in (0, 1)] == [[2, 1, 0], [3, 0, 1]]
    of_data = explore(data)
    assert of_data.names == viewer.names
    assert of_data.payload(1)["counts"] == {"truth": [3, 0, 1]}
    of_data.search = "nucleus"
    assert of_data.found == [1]
    assert "data.subset(sorted({place // 2 for place in viewer.found}))" in of_data.as_code()
    monkeypatch.setattr(IPython, "get_ipython", type("Shell", (), {"kernel": None}))
    data, _ = predict(Reader(), SEEN)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/html"].startswith("<img alt=")
