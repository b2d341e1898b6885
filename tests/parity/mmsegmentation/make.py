"""Runs inside MMSegmentation's environment: builds its models, gives them the weights of weights.py, writes what they answer.

    python make.py OUT [METHOD ...]

Each method becomes OUT/METHOD.npz: the names and shapes of its tensors and the logits of one image, every fourth pixel.
"""

import json
import sys
from pathlib import Path

import mmcv_lite_shim  # noqa: F401, before mmseg
import mmseg
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from weights import make_image, make_tensor

CONFIGS = Path(mmseg.__file__).parent / ".mim" / "configs"
CLASSES = 5
METHODS = {
    "nonlocalnet": "nonlocal_net/nonlocal_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "dnlnet": "dnlnet/dnl_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "gcnet": "gcnet/gcnet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "ccnet": "ccnet/ccnet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "danet": "danet/danet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "emanet": "emanet/emanet_r50-d8_4xb2-80k_cityscapes-512x1024.py",
    "isanet": "isanet/isanet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "ann": "ann/ann_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "apcnet": "apcnet/apcnet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "dmnet": "dmnet/dmnet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "ocrnet": "ocrnet/ocrnet_hr18_4xb2-40k_cityscapes-512x1024.py",
}
# A plain ResNet of four levels under heads that come with another backbone.
RESNET = {"type": "ResNetV1c", "depth": 50, "norm_cfg": {"type": "BN"}, "style": "pytorch", "contract_dilation": True}
LEVELS = [256, 512, 1024, 2048]


def walk(node, change):
    """Apply a change to every dictionary of a config."""
    if isinstance(node, dict):
        change(node)
        for value in node.values():
            walk(value, change)
    elif isinstance(node, (list, tuple)):
        for value in node:
            walk(value, change)


def simplify(node):
    """No SyncBN, no download, few classes."""
    if node.get("type") == "SyncBN":
        node["type"] = "BN"
    if "num_classes" in node:
        node["num_classes"] = CLASSES
    for key in ("pretrained", "init_cfg"):
        node.pop(key, None)


def build(method):
    """A model with the weights that follow from its names."""
    model_config = Config.fromfile(CONFIGS / METHODS[method]).model
    walk(model_config, simplify)
    model_config.pop("data_preprocessor", None)
    if method == "ocrnet":
        model_config.backbone = RESNET
        for head in model_config.decode_head:
            head["in_channels"] = LEVELS
        model_config.decode_head[0]["channels"] = sum(LEVELS)
    model = MODELS.build(model_config).eval()
    state = {name: torch.from_numpy(make_tensor(name, tuple(t.shape))) for name, t in model.state_dict().items()}
    model.load_state_dict(state)
    return model


def main():
    """Build, answer, write."""
    out, *wanted = sys.argv[1:]
    Path(out).mkdir(parents=True, exist_ok=True)
    init_default_scope("mmseg")
    for method in wanted or METHODS:
        model = build(method)
        with torch.no_grad():
            logits = model.encode_decode(
                torch.from_numpy(make_image()), [{"img_shape": (64, 96), "ori_shape": (64, 96)}]
            )
        shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
        parameters = sum(parameter.numel() for parameter in model.parameters())
        np.savez_compressed(
            Path(out) / f"{method}.npz",
            shapes=np.array(json.dumps(shapes)),
            parameters=parameters,
            logits=logits[0, :, ::4, ::4].numpy(),
        )
        print(f"{method}: {parameters:,} parameters, logits of size {logits.abs().max():.3g}")


main()
