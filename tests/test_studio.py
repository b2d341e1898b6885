"""The studio without a browser: each click has a method, what a tab chooses goes to the next, and the notebook repeats it."""

from __future__ import annotations

import base64
import io
import sys
import types

import albumentations as A
import nbformat
import numpy as np
import pytest
import torch
from PIL import Image
from squares import CLASSES, TINY, squares
from test_widgets import sent_by
from training import same, without_time

import segnb
from segnb.cli import running
from segnb.data import SegmentationDataset, load_sample
from segnb.errors import SegnbError
from segnb.tools import building
from segnb.tools.studio import Studio, studio
from segnb.tools.studio import corrections as studio_corrections
from segnb.tools.studio import session as studio_session
from segnb.tools.studio import state as studio_state
from segnb.tools.studio.reading import reading_code
from segnb.tools.studio.training import options_of_fit
from segnb.widgets.studio.tabs import NAMES, title_of


def small_sample(train=8, valid=4):
    return tuple(data.subset(range(count)) for data, count in zip(load_sample("shapes"), (train, valid), strict=True))


def choose_tiny(one: Studio) -> Studio:
    one.builder.encoder_weights = None
    return one


@pytest.fixture(scope="module", autouse=True)
def few_encoders():
    """A tiny model to begin with, and a short list: timm's is read for a second, anew for each studio."""
    rows = [row for row in building.encoder_rows() if row[0] in (TINY, "resnet18")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "encoder_rows", lambda: rows)
        patch.setattr(studio_state, "ENCODER", TINY)
        yield


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """A studio of a few pictures, with a tiny model."""
    monkeypatch.chdir(tmp_path)
    return choose_tiny(studio(small_sample()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, few_encoders):
    """A studio after one training; tests must not train in it again."""
    folder = tmp_path_factory.mktemp("studio")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        one = choose_tiny(studio(small_sample()))
        one.train(epochs=1).wait()
    return one


# What it works on


def test_a_pair_stays_as_it_is():
    pair = small_sample()
    one = studio(pair)
    assert (one.training_data, one.validation_data) == pair
    assert one.panel.facts["data"].startswith("8 training and 4 validation pictures; classes: ")


def test_a_sample_comes_with_its_split():
    one = studio("shapes")
    assert (len(one.training_data), len(one.validation_data)) == (24, 8)


def test_a_single_set_is_split_as_segnb_splits():
    data = SegmentationDataset(*squares(10), CLASSES)
    one = studio(data)
    train, valid = segnb.split(data, 0.2)
    assert (one.training_data.names, one.validation_data.names) == (train.names, valid.names)
    assert len(valid) == 2


def write_folder(folder, count=10):
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number, (image, mask) in enumerate(zip(*squares(count), strict=True)):
        Image.fromarray(image).save(folder / "images" / f"{number:02d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number:02d}.png")


def test_a_folder_is_read_and_split(tmp_path):
    write_folder(tmp_path)
    one = studio(str(tmp_path), CLASSES)
    assert sorted(one.training_data.names + one.validation_data.names) == [f"{i:02d}" for i in range(10)]
    space = {"segnb": segnb}
    exec(reading_code(one._data, ""), space)
    assert space["train"].names == one.training_data.names
    assert space["valid"].names == one.validation_data.names
    assert np.array_equal(space["train"].read(3)[1], one.training_data.read(3)[1])


@pytest.mark.parametrize(
    ("given", "classes", "sentence"),
    [
        ("shaps", None, "'shaps' is no folder here, and no sample either. .*Did you mean 'shapes'"),
        (7, None, "studio.. was given int: give a pair"),
        ([1, 2], None, "studio.. was given list: give a pair"),
        ("shapes", ["a", "b"], "classes belong to a folder"),
    ],
)
def test_other_data_are_refused(given, classes, sentence):
    with pytest.raises(SegnbError, match=sentence):
        studio(given, classes)


def test_a_folder_needs_images_masks_and_classes(tmp_path):
    with pytest.raises(SegnbError, match="has no folder 'images'"):
        studio(tmp_path, CLASSES)
    write_folder(tmp_path)
    with pytest.raises(SegnbError, match="say what they mean: studio"):
        studio(tmp_path)


def test_overlapping_and_differing_classes_are_refused():
    images, masks = squares(4)
    planes = [np.stack([mask == 0, mask == 1]).astype(np.uint8) for mask in masks]
    with pytest.raises(SegnbError, match="may overlap"):
        studio(SegmentationDataset(images, planes, CLASSES, multilabel=True))
    first, second = (SegmentationDataset(images, masks, names) for names in (CLASSES, ["ground", "circle"]))
    with pytest.raises(SegnbError, match="train has the labels"):
        studio((first, second))


# Tabs


def test_every_tab_opens_and_says_what_is_missing(fresh):
    children = {}
    for tab in NAMES:
        assert fresh.open(tab) is fresh
        assert fresh.panel.tab == tab
        children[tab] = [type(child).__name__ for child in fresh.box.children]
    assert children == {
        "data": ["Panel", "MaskViewer"],
        "check": ["Panel"],
        "augment": ["Panel", "Augmenter"],
        "model": ["Panel", "Builder"],
        "train": ["Panel"],
        "look": ["Panel"],
        "correct": ["Panel"],
        "export": ["Panel"],
    }
    assert fresh.panel.missing == {
        tab: ["There is no trained model yet.", "train"] for tab in ("look", "correct", "export")
    }
    assert set(fresh.panel.facts) == {"data", "model"}
    assert fresh.panel.facts["model"] == f"unet on {TINY}"
    assert fresh.panel.hints["train"] == f"Model: unet on {TINY}. Augmentation: none."
    for action in (fresh.export, fresh.correct, lambda: fresh.inspector):
        with pytest.raises(SegnbError, match=r"There is no trained model yet\. Call studio\.train"):
            action()
    with pytest.raises(SegnbError, match="There is no tab 'modle'"):
        fresh.open("modle")


def test_a_tool_is_the_same_when_its_tab_is_opened_again(fresh):
    augmenter = fresh.augmenter
    augmenter.add("HorizontalFlip")
    fresh.open("data").open("augment")
    assert fresh.box.children == (fresh.panel, augmenter)
    assert fresh.panel.facts["augment"] == "HorizontalFlip"
    assert fresh.panel.hints["train"].endswith("Augmentation: HorizontalFlip.")


def test_the_other_part_of_the_data_has_a_gallery_of_its_own(fresh):
    train = fresh.explorer
    assert train.names == fresh.training_data.names
    sent = sent_by(fresh.panel, {"type": "open", "tab": "data", "values": {"part": "validation"}})
    assert sent == [{"type": "answered"}]
    assert fresh.explorer.names == fresh.validation_data.names
    assert fresh.box.children == (fresh.panel, fresh.explorer)
    fresh.panel.part = "training"
    assert fresh.open("data").explorer is train


def test_the_check_is_the_report_of_check_dataset(fresh):
    report = fresh.check()
    assert fresh.report is report
    assert set(report.parts) == {"train", "valid"}
    shown = fresh.box.children[1].value
    assert report._repr_html_() in shown
    assert 'src="data:image/png;base64,' in shown
    counts = [sum(one.severity == kind for one in report.findings) for kind in ("error", "warning")]
    assert fresh.panel.facts["check"].startswith(f"{counts[0]} error")


def test_names_of_classes_are_text_on_the_page():
    hostile = "<img src=x onerror=alert(1)>"
    images, masks = squares(6)
    one = studio(SegmentationDataset(images, masks, ["ground", hostile]))
    one.check()
    assert hostile not in one.box.children[1].value
    assert "&lt;img src=x" in one.box.children[1].value
    data, _ = one._bundle()
    assert hostile not in data["text/html"]


# Training


def test_the_form_gives_the_arguments_of_fit():
    assert options_of_fit(3, "auto", "") == {"epochs": 3}
    assert options_of_fit(3, "0.002", " 10 min ") == {"epochs": 3, "lr": 0.002, "budget": "10 min"}
    assert options_of_fit(1, " ", "45") == {"epochs": 1, "budget": 45.0}
    with pytest.raises(SegnbError, match="'fast' is no number: give one such as"):
        options_of_fit(1, "fast", "")


def test_what_was_chosen_is_trained(fresh):
    fresh.augmenter.add("HorizontalFlip", p=1.0)
    fresh.builder.arch = "fpn"
    before = torch.get_rng_state()
    run = fresh.train(epochs=2, lr=0.003)
    assert torch.equal(torch.get_rng_state(), before) or run.thread.is_alive()  # its own dice, but for the run's
    assert fresh.run is run
    assert fresh.panel.tab == "train"
    assert fresh.box.children == (fresh.panel, fresh.monitor)
    run.wait()
    assert (run.state, run.recipe.epochs, run.recipe.lr) == ("finished", 2, 0.003)
    assert [type(step).__name__ for step in run.train.transform.transforms] == ["HorizontalFlip"]
    assert fresh.training_data.transform is None
    assert run.valid is fresh.validation_data
    assert (fresh.model.config["arch"], fresh.model.config["encoder_name"]) == ("fpn", TINY)
    assert segnb.evaluate(fresh.model, fresh.validation_data).miou == pytest.approx(run.best["miou"], abs=1e-6)
    assert len(fresh.monitor.history) == 2
    assert fresh.panel.training is False
    assert fresh.panel.facts["train"] == (
        f"finished after 2 of 2 epochs, best mIoU {run.best['miou']:.3f} in epoch {run.best['epoch']}"
    )
    assert fresh.panel.missing == {}
    assert "Model: fpn" in fresh.panel.hints["train"]


def test_each_training_begins_with_the_same_weights(fresh):
    first = fresh.train(epochs=1).wait()
    model, monitor, inspector = fresh.model, fresh.monitor, fresh.inspector
    torch.rand(7)
    second = fresh.train().wait()  # as the form says
    assert without_time(first.history) == without_time(second.history)
    assert fresh.model is not model
    assert same(fresh.model.state_dict(), model.state_dict())
    assert fresh.monitor is not monitor
    assert fresh.inspector is not inspector


def test_a_transform_of_the_data_set_is_kept_until_the_steps_change(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train, valid = small_sample()
    one = studio((train.with_transform(A.Compose([A.VerticalFlip()])), valid))
    assert one.panel.facts["augment"] == "the data set's own"
    own = one.training_data.transform
    assert one.open("augment").pipeline is own
    assert "train = train.with_transform(transform)" in reading_code(one._data, "")
    one.augmenter.add("HorizontalFlip")
    assert [type(step).__name__ for step in one.pipeline.transforms] == ["VerticalFlip", "HorizontalFlip"]


def test_while_it_trains_the_studio_is_free(fresh):
    run = fresh.train(epochs=500)
    try:
        assert fresh.panel.training is True
        assert fresh.open("augment").panel.tab == "augment"
        assert fresh.open("look").panel.missing["look"][0].startswith("The model is still being trained")
        assert fresh.box.children == (fresh.panel,)
        with pytest.raises(SegnbError, match="being trained already"):
            fresh.train()
    finally:
        run.stop()
        run.wait()
    assert fresh.panel.training is False
    assert fresh.panel.facts["train"].startswith("stopped after ")


def test_on_colab_it_trains_in_the_foreground(fresh, monkeypatch):
    colab = types.ModuleType("google.colab")
    colab.output = types.SimpleNamespace(enable_custom_widget_manager=lambda: None)
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    run = fresh.train(epochs=1)
    assert run.thread is None
    assert run.state == "finished"
    assert fresh.panel.missing == {}


def test_a_training_that_fails_says_so(fresh):
    with pytest.raises(SegnbError, match="the loss became nan"):
        fresh.train(epochs=3, lr=1e20).wait()
    assert fresh.panel.error.startswith("The training failed: ")
    assert fresh.panel.training is False
    with pytest.raises(SegnbError, match="budget"):
        fresh.train(lr="auto", budget="soon")
    assert fresh.panel.working == ""
    assert fresh.train(epochs=1, budget="").wait().state == "finished"


# After it


def test_look_judges_the_validation_pictures_by_the_model(trained):
    inspector = trained.open("look").inspector
    assert trained.box.children == (trained.panel, inspector)
    assert inspector.names == trained.validation_data.names
    direct = segnb.inspect(trained.model, trained.validation_data)
    assert inspector.worst(4) == direct.worst(4)
    assert trained.panel.facts["look"] == inspector.describe()


def test_painted_masks_replace_those_that_were_judged_by(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    valid, rounds = trained.validation_data, list(trained._rounds)
    try:
        with pytest.raises(SegnbError, match="No mask is being painted"):
            trained.use_corrections()
        painter = trained.correct(pictures=2)
        assert trained.box.children == (trained.panel, painter)
        worst = trained.inspector.worst(2)
        with pytest.raises(SegnbError, match="No mask was changed yet"):
            trained.use_corrections()
        painter.brush([(5, 5)], size=7, label=int(painter.mask()[5, 5] + 1) % len(valid.label_names))
        name = worst[painter.index]
        after = trained.use_corrections()
        place = valid.names.index(name)
        assert np.array_equal(after.read(place)[1], painter.mask())
        assert not np.array_equal(after.read(place)[1], valid.read(place)[1])
        for other in set(range(len(valid))) - {place}:
            assert np.array_equal(after.read(other)[1], valid.read(other)[1])
            assert np.array_equal(after.read(other)[0], valid.read(other)[0])
        assert (after.names, after.classes) == (valid.names, valid.classes)
        assert trained.panel.facts["correct"] == f"1 mask painted right: {name}"
        assert trained.painter is None
        assert studio_corrections.free_folder().name == "corrections-2"
        space = {"segnb": segnb, "valid": valid}
        exec(trained._rounds[-1].as_code(), space)
        assert all(np.array_equal(space["valid"].read(i)[1], after.read(i)[1]) for i in range(len(after)))
    finally:
        trained.validation_data, trained._rounds = valid, rounds
        trained._tools.pop("correct", None)


# What the page sends


def test_opening_a_tab_does_nothing_else(fresh):
    for name in NAMES:
        sent_by(fresh.panel, {"type": "open", "tab": name})
        assert (fresh.panel.tab, fresh.panel.error) == (name, "")
    assert (fresh.report, fresh.run, fresh.exported) == (None, None, None)


def test_a_click_takes_the_form_with_it_and_is_answered(fresh):
    sent = sent_by(fresh.panel, {"type": "train", "values": {"epochs": 1, "rate": "0.01", "budget": ""}})
    fresh.run.wait()
    assert {"type": "answered"} in sent
    assert (fresh.run.recipe.epochs, fresh.run.recipe.lr) == (1, 0.01)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ({"type": "open", "tab": "nowhere"}, "There is no tab 'nowhere'"),
        ({"type": "fly"}, "There is no button 'fly'"),
        ({"type": "train", "values": {"rate": "fast"}}, "The learning rate 'fast' is no number"),
        ({"type": "train", "values": {"epochs": 0}}, "epochs=0: give a whole number of at least 1."),
        ({"type": "open", "tab": "data", "values": {"part": "test"}}, "There is no part of the data 'test'"),
        ({"type": "open", "tab": "data", "values": {"tab": "look"}}, "'tab' cannot be set from the page"),
        ({"type": "take"}, "No mask is being painted"),
        ({"type": "export"}, "There is no trained model yet."),
        ({"type": "save", "values": {"notebook": "lesson.txt"}}, "use 'lesson.ipynb'"),
    ],
)
def test_what_cannot_be_done_is_said_on_the_page(fresh, message, sentence):
    assert sent_by(fresh.panel, message)[-1] == {"type": "answered"}
    assert sentence in fresh.panel.error
    sent_by(fresh.panel, {"type": "check"})
    assert fresh.panel.error == ""
    assert fresh.panel.working == ""


# What stays


def test_the_picture_shows_where_the_session_stands(trained):
    data, _ = trained.open("look")._bundle()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == trained.box.model_id
    small = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    with_tool = small.height
    assert small.width >= 800
    assert data["text/plain"].startswith("Studio, 6 Look. 8 training and 4 validation pictures")
    assert "best mIoU" in data["text/plain"]
    trained.open("train")
    trained._tools["train"], monitor = None, trained._tools["train"]
    without = Image.open(io.BytesIO(trained.figure_png())).height
    trained._tools["train"] = monitor
    assert without < with_tool
    assert repr(trained).startswith("Studio, 5 Train. ")


def test_titles_count_from_one():
    assert [title_of(name) for name in (NAMES[0], NAMES[-1])] == ["1 Data", "8 Export"]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("paired", [True, False])
def test_pictures_in_memory_are_written_beside_the_notebook(tmp_path, monkeypatch, channels, paired):
    monkeypatch.chdir(tmp_path)
    images, masks = squares(10, channels=channels)
    masks[3][0, :5] = 255
    data = SegmentationDataset(
        images, masks, CLASSES, A.Compose([A.VerticalFlip()]), names=[f"{i}/<b>" for i in range(10)]
    )
    one = studio((data.subset(range(6)), data.subset(range(6, 10))) if paired else data)
    notebook = nbformat.read(one.save_notebook("my.ipynb"), as_version=4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my-data", "my.ipynb"]
    space = {"segnb": segnb}
    exec(notebook.cells[3].source, space)
    for name, own in (("train", one.training_data), ("valid", one.validation_data)):
        again = space[name]
        assert (again.names, again.classes, again.in_channels) == (own.names, own.classes, channels)
        assert np.array_equal(again.palette, own.palette)
        assert [type(step).__name__ for step in again.transform.transforms] == ["VerticalFlip"]
        for index in range(len(own)):
            assert all(np.array_equal(*pair) for pair in zip(again.read(index), own.read(index), strict=True))


def test_pictures_of_five_channels_in_memory_are_refused(tmp_path):
    one = studio(SegmentationDataset(*squares(10, channels=5), CLASSES))
    with pytest.raises(SegnbError, match="have 5 channels, which PNG does not hold"):
        one.save_notebook(tmp_path / "lesson.ipynb")
    assert not (tmp_path / "lesson.ipynb").exists()


def test_own_lines_drop_what_is_said_already():
    code = "import segnb\n\n# data: what explore() was given\nviewer = segnb.explore(data)\nx = 1  # or x = 2\nviewer"
    assert studio_session.own_lines(code) == "viewer = segnb.explore(data)\nx = 1\nviewer"


def test_the_notebook_does_the_session_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = choose_tiny(studio(small_sample()))
    one.explorer.sort = "name"
    one.check()
    one.augmenter.add("HorizontalFlip", p=0.5)
    one.augmenter.add("RandomBrightnessContrast", p=0.5)
    one.train(epochs=1, lr=0.004).wait()
    one.augmenter.remove(0)  # for the next training: the notebook holds the one that was
    one.open("look").inspector.order("loss")
    sent_by(one.panel, {"type": "export", "values": {"file": "studio.pt"}})
    assert "end it in .onnx (ONNX)" in one.panel.error
    exported = one.export("studio.onnx")
    assert one.exported is exported
    assert exported.ok
    assert exported.raw_pixels
    assert exported._repr_html_() in one.box.children[1].value
    assert one.panel.facts["export"] == f"studio.onnx, {exported.size_mb:.1f} MB"
    path = one.save_notebook("lesson.ipynb")

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    headings = [cell.source.splitlines()[0] for cell in notebook.cells if cell.cell_type == "markdown"]
    titles = ["Data", "Look through", "Check", "Augment", "Model", "Train", "Look", "Export"]
    assert headings == ["# A lesson in segmentation", *(f"## {i} {title}" for i, title in enumerate(titles, 1))]
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert [source for source in sources if source not in one.as_code()] == []
    assert any("A.HorizontalFlip(" in source for source in sources)

    question = nbformat.v4.new_code_cell("print(repr((run.best['miou'], inspector.worst(4), report.ok)))")
    notebook.cells.append(question)
    (tmp_path / "again").mkdir()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as here: another number of threads adds in another order
    with running(notebook, tmp_path / "again") as client:
        for place, cell in enumerate(notebook.cells):
            client.execute_cell(cell, place)
    (output,) = question.outputs
    assert output.text.strip() == repr((one.run.best["miou"], one.inspector.worst(4), one.report.ok))
    assert (tmp_path / "again" / "studio.onnx").read_bytes() == (tmp_path / "studio.onnx").read_bytes()
