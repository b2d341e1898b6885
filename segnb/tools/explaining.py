"""Where does a model look, what does it compute on the way, and how sure is it?

    image ─▶ c1 … c5 (encoder) ─▶ decoder ─▶ logits ─▶ probabilities
                │                    │          │            ├─▶ entropy: unsure between classes
                ├── feature map ─────┤          │            └─▶ variance over flipped and resized views
                └── Grad-CAM ◀───────┴─ gradient of one class's logits

Grad-CAM weighs each channel of a map by how much the class's logits rise with it, and keeps what speaks for the class:
``relu(Σ_k α_k A^k)`` with ``α_k`` the mean over the map of ``∂y/∂A^k``. A classifier has one logit y; here y is the sum of the
class's logits over the pixels that are predicted as the class (over all pixels if there are none).

Grad-CAM: Selvaraju et al., ICCV 2017, https://arxiv.org/abs/1610.02391, equations 1 and 2.
For segmentation: Vinogradova et al., "Seg-Grad-CAM", AAAI 2020, https://arxiv.org/abs/2002.11434, equation 1.
Variance under augmentation as uncertainty: Wang et al., Neurocomputing 338, 2019, https://arxiv.org/abs/1807.07356.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from segnb.blocks import crop
from segnb.decoders.affinity.nonlocalnet import NonLocal
from segnb.errors import SegnbError, nearest
from segnb.evaluation import evaluating
from segnb.models import Outputs, SegmentationModel
from segnb.parts.attention import attend
from segnb.prediction import predict

VIEWS = tuple((mirrored, scale) for mirrored in (False, True) for scale in (0.75, 1.0, 1.25))


def stages(model: SegmentationModel) -> dict[str, str]:
    """List the places of a model that have a feature map.

    Args:
        model: a segmentation model.

    Returns:
        Titles by name, from the image to the logits: ``"c2"`` ... for the encoder's maps, as papers call the one of stride
        2², and ``"decoder"`` for the map that the last layer turns into logits.
    """
    encoder = model.encoder
    levels = zip(encoder.levels, encoder.strides, encoder.channels, strict=True)
    named = {f"c{int(math.log2(level))}": f"encoder, stride {stride}" for level, stride, wide in levels if wide}
    return {**named, "decoder": "decoder, before the last layer"}


def grad_cam(model: SegmentationModel, image: Tensor, label: int, stage: str) -> np.ndarray:
    """Show which places of a feature map speak for a class.

    Args:
        model: a segmentation model; it stays as it is.
        image: (C, H, W) uint8.
        label: of the class, 0 to ``len(model.label_names) - 1``.
        stage: a name of `stages`.

    Returns:
        float32 (h, w) at the map's own size, 0 where nothing speaks for the class; only the proportions mean something.

    Raises:
        SegnbError: no such stage or label, or a model made by `segnb.optimize`, which keeps no maps.
    """
    _check(model, stage)
    if not 0 <= label < len(model.label_names):
        raise SegnbError(f"label {label}: the model has the labels 0 to {len(model.label_names) - 1}.")
    with evaluating(model) as device, torch.enable_grad():
        # Raw pixels are integers and have no gradient; normalised here, the image carries it even if all weights are frozen.
        pixels = ((image[None].to(device, model.mean.dtype) / 255 - model.mean) / model.std).requires_grad_()
        outputs = model.forward_all(pixels)
        logit, region = class_logit(outputs.logits, label), model.labels(outputs.logits) == label
        target = logit[region].sum() if region.any() else logit.sum()
        activation = _maps(model, outputs)[stage]
        (gradient,) = torch.autograd.grad(target, activation)
        found = (gradient.mean(dim=(-2, -1), keepdim=True) * activation).sum(dim=1).relu()
    return _to_array(model, image, found)


def feature_map(
    model: SegmentationModel, image: Tensor, stage: str, channel: int | None = None
) -> tuple[np.ndarray, int]:
    """Show what a model computes on the way.

    Args:
        model: a segmentation model; it stays as it is.
        image: (C, H, W) uint8.
        stage: a name of `stages`.
        channel: which one, from 0; None for the mean of the channels' absolute values.

    Returns:
        float32 (h, w) at the map's own size, and how many channels the map has.

    Raises:
        SegnbError: no such stage or channel, or a model made by `segnb.optimize`, which keeps no maps.
    """
    _check(model, stage)
    with evaluating(model) as device:
        activation = _maps(model, model.forward_all(image[None].to(device)))[stage]
    channels = activation.shape[1]
    if channel is not None and not 0 <= channel < channels:
        raise SegnbError(f"channel {channel}: the map {stage!r} has the channels 0 to {channels - 1}.")
    found = activation.abs().mean(dim=1) if channel is None else activation[:, channel]
    return _to_array(model, image, found), channels


def attention(model: SegmentationModel, image: Tensor) -> np.ndarray:
    """Show which places of the coarse map each of its places gathers from.

    Args:
        model: of ``"nonlocalnet"``; it stays as it is.
        image: (C, H, W) uint8.

    Returns:
        float32 (h, w, h, w): ``[row, column]`` holds the weights with which that place reads all others, which sum to 1.

    Raises:
        SegnbError: a model without a non-local block.

    Source: Wang et al., CVPR 2018, https://arxiv.org/abs/1711.07971, section 3.2.
    """
    block = next((module for module in model.modules() if isinstance(module, NonLocal)), None)
    if block is None:
        raise SegnbError(f"{model.config.get('arch')!r} has no non-local block: give a model of 'nonlocalnet'.")
    seen: dict[str, Tensor] = {}
    hooks = [
        getattr(block, name).register_forward_hook(lambda _, __, output, name=name: seen.update({name: output}))
        for name in ("query", "key")
    ]
    try:
        with evaluating(model) as device:
            model(image[None].to(device))
    finally:
        for hook in hooks:
            hook.remove()
    query, key = seen["query"], seen["key"]
    height, width = query.shape[-2:]
    # A value that says where it is: what a place gathers is then the weights themselves.
    places = torch.eye(height * width, dtype=key.dtype, device=key.device).reshape(1, -1, height, width)
    weights = attend(query, key, places)[0].flatten(1).mT
    return weights.reshape(height, width, height, width).float().cpu().numpy()


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """Measure how evenly the probability of each pixel is spread over the classes.

    Args:
        probabilities: (K, H, W), 0 to 1; one channel is a binary model's foreground.

    Returns:
        float32 (H, W): 0 where the model is sure of one class, 1 where all are equally likely.
    """
    p = probabilities.astype(np.float32)
    if len(p) == 1:
        p = np.concatenate([1 - p, p])
    p = np.clip(p, np.finfo(np.float32).tiny, 1)
    return np.clip(-(p * np.log(p)).sum(axis=0) / math.log(len(p)), 0, 1)


def view_variance(
    model: SegmentationModel,
    image: Tensor,
    label: int | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> np.ndarray:
    """Measure how much the probabilities change when the picture is mirrored and resized, which changes nothing in it.

    Args:
        model: a segmentation model; it stays as it is.
        image: (C, H, W) uint8.
        label: whose probability; None for the sum over the classes.
        progress: told after each view which share of them is done.

    Returns:
        float32 (H, W), variance over the six `VIEWS`, 0 to 0.25 for one class.
    """
    picture = image.permute(1, 2, 0).numpy()
    mean = squares = np.float32(0)
    for number, (mirrored, scale) in enumerate(VIEWS, start=1):
        view = np.ascontiguousarray(picture[:, ::-1]) if mirrored else picture
        found = predict(model, view, scales=scale, probabilities=True).probabilities
        found = class_probability(found, label) if label is not None else found.astype(np.float32)
        found = found[..., ::-1] if mirrored else found
        # West's running mean and sum of squares: no list of views in memory.
        step = found - mean
        mean = mean + step / number
        squares = squares + step * (found - mean)
        progress(number / len(VIEWS))
    variance = squares / len(VIEWS)
    return variance if label is not None else variance.sum(axis=0)


def class_logit(logits: Tensor, label: int) -> Tensor:
    """Pick the logits of a label, (B, K, H, W) -> (B, H, W); a binary model's background is the foreground negated."""
    if logits.shape[1] == 1:
        return logits[:, 0] if label == 1 else -logits[:, 0]
    return logits[:, label]


def class_probability(probabilities: np.ndarray, label: int) -> np.ndarray:
    """Pick the probability of a label, (K, H, W) -> float32 (H, W); a binary model's background is the rest to 1."""
    if len(probabilities) == 1:
        foreground = probabilities[0].astype(np.float32)
        return foreground if label == 1 else 1 - foreground
    return probabilities[label].astype(np.float32)


def _check(model: SegmentationModel, stage: str) -> None:
    if model.inference_only:
        raise SegnbError("an optimised model keeps no feature maps: explain the model that it was made from.")
    if stage not in stages(model):
        raise SegnbError(f"the model has no stage {stage!r}. {nearest(stage, stages(model))}")


def _maps(model: SegmentationModel, outputs: Outputs) -> dict[str, Tensor]:
    """The feature map of each stage; a transformer's prefix tokens (B, tokens, C) and levels of 0 channels are none."""
    encoded = [found for found in outputs.features if found.dim() == 4 and found.shape[1]]
    return dict(zip(stages(model), [*encoded, outputs.decoded], strict=True))


def _to_array(model: SegmentationModel, image: Tensor, found: Tensor) -> np.ndarray:
    """(1, h, w) -> (h, w), without what lies over the rows and columns that a raw encoder's picture was padded by."""
    padded = model.encoder.pad(image[None]) if model.encoder.raw else image[None]
    sides = zip(found.shape[-2:], image.shape[-2:], padded.shape[-2:], strict=True)
    height, width = (math.ceil(length * side / whole) for length, side, whole in sides)
    return crop(found[None], height, width)[0, 0].detach().float().cpu().numpy()
