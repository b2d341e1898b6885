"""The same weights, read from a checkpoint of MMSegmentation, give the same logits as there.

Its answers are stored in mmsegmentation/references/: it does not install beside current PyTorch. `make parity` asks it again.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from references import assert_same_logits, parameters

import segnb
from segnb.errors import SegnbError

HERE = Path(__file__).parent / "mmsegmentation"
ANSWERS = Path(os.environ.get("SEGNB_MMSEG_ANSWERS", HERE / "references"))
sys.path.insert(0, str(HERE))
from weights import make_image, make_tensor  # noqa: E402

METHODS = sorted(path.stem for path in ANSWERS.glob("*.npz"))
NAMES = ["road", "car", "tree", "sky", "person"]
PALETTE = [[128, 64, 128], [0, 0, 142], [107, 142, 35], [70, 130, 180], [220, 20, 60]]
# Parameters there that change nothing: a class token that is not read and its position; the biases of keys in four blocks.
IDLE = {"setr-mla-vit": 2 * 128, "gcnet-mae": 4 * 128}
pytestmark = pytest.mark.parity


class Logger:
    """What a runner keeps beside the weights; no reader may make one."""

    made = 0

    def __setstate__(self, state):
        Logger.made += 1


def write_checkpoint(method, folder):
    """A file as MMSegmentation's runner writes it."""
    stored = np.load(ANSWERS / f"{method}.npz")
    shapes = json.loads(str(stored["shapes"]))
    state = {name: torch.from_numpy(make_tensor(name, tuple(shape))) for name, shape in shapes.items()}
    logger = Logger()
    logger.level = 20
    meta = {"dataset_meta": {"classes": tuple(NAMES), "palette": PALETTE}, "seed": 0}
    file = folder / f"{method}.pth"
    torch.save({"meta": meta, "state_dict": state, "message_hub": logger, "optimizer": {"state": {}}}, file)
    return file, stored


@pytest.mark.parametrize("method", METHODS)
def test_same_weights_same_logits(method, tmp_path):
    file, stored = write_checkpoint(method, tmp_path)
    model = segnb.load_model(file)
    file.unlink()  # hundreds of megabytes each
    assert Logger.made == 0
    assert model.config["arch"] == method.partition("-")[0]  # a size may follow
    assert model.classes == NAMES
    assert model.palette.tolist() == PALETTE
    assert parameters(model) == stored["parameters"] - IDLE.get(method, 0)
    with torch.no_grad():
        found = model(torch.from_numpy(make_image(*stored.get("size", ()))))
    assert_same_logits(torch.from_numpy(stored["logits"])[None], found[..., ::4, ::4])


# --- What a file does not say, and files of something else ----------------------------------------------------------


def few_tensors(*names, **shapes):
    return {name: torch.zeros(shapes.get(name, (2, 2))) for name in names}


def save(content, folder):
    file = folder / "checkpoint.pth"
    torch.save(content, file)
    return file


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("rpn_head", "an object detector of MMDetection"),
        ("keypoint_head", "a pose model of MMPose"),
        ("head", "a classifier of MMPretrain or a pose model of MMPose"),
    ],
)
def test_models_for_other_tasks_are_named(part, what, tmp_path):
    file = save({"state_dict": few_tensors("backbone.conv1.weight", f"{part}.conv.weight")}, tmp_path)
    with pytest.raises(SegnbError, match=f"checkpoint.pth' is {what}: segnb reads segmentation models"):
        segnb.load_model(file)


def test_an_unknown_method_tells_what_its_head_has(tmp_path):
    file = save(
        few_tensors("backbone.layer1.0.conv1.weight", "decode_head.magic.weight", "decode_head.conv_seg.weight"),
        tmp_path,
    )
    with pytest.raises(
        SegnbError, match=r"method segnb does not recognise: its head has conv_seg, magic. Say it with arch="
    ):
        segnb.load_model(file)
    with pytest.raises(SegnbError, match=r"arch='ccnett' is no method whose checkpoints segnb can read. .*ccnet"):
        segnb.load_model(file, arch="ccnett")


def test_an_unknown_backbone_is_told(tmp_path):
    file = save(few_tensors("backbone.magic.weight", "decode_head.cca.gamma", "decode_head.conv_seg.weight"), tmp_path)
    with pytest.raises(SegnbError, match=r"backbone of MMSegmentation that segnb does not recognise \(magic.weight"):
        segnb.load_model(file)
    file = save(
        few_tensors("backbone.layer1.0.conv1.weight", "decode_head.cca.gamma", "decode_head.conv_seg.weight"), tmp_path
    )
    with pytest.raises(SegnbError, match=r"has a ResNet of an unknown depth: 1 \+ 0 \+ 0 \+ 0 blocks"):
        segnb.load_model(file)


def test_files_of_version_0_and_other_classes(tmp_path):
    """Their meta has CLASSES and PALETTE at the top; a file without names gives a number of classes."""
    file, _ = write_checkpoint("gcnet", tmp_path)
    content = torch.load(file, weights_only=False)
    content["meta"] = {"CLASSES": NAMES, "PALETTE": PALETTE, "mmseg_version": "0.30.0"}
    torch.save(content["state_dict"], tmp_path / "bare.pth")
    del content["message_hub"]
    torch.save(content, file)
    assert segnb.load_model(file).classes == NAMES
    assert segnb.load_model(tmp_path / "bare.pth").classes == [f"class {index}" for index in range(5)]
    with pytest.warns(UserWarning, match="was trained for 5 classes; for your 2 the last layer is new"):
        assert segnb.load_model(file, classes=["a", "b"]).num_classes == 2
