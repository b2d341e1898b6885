"""build: choose a model by looking at it.

    catalogue of encoders, classes of decoders ─▶ Builder ◀── a click ── browser
                     what was chosen ─▶ model on the meta device ─▶ drawing, parameters, multiply-adds
                     "Measure" ───────▶ model of random weights ──▶ time, memory
                     model() ─────────▶ model with its weights

Nothing but the chosen model is ever built, and that on PyTorch's meta device, where it has shapes and no numbers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import timm
import torch

from segnb.encoders import OFFLINE_ENCODER, list_encoders
from segnb.encoders.catalogue import read_catalogue
from segnb.encoders.weights import offline_weights
from segnb.errors import SegnbError
from segnb.models import SegmentationModel, class_names, create_model
from segnb.profiling import profile
from segnb.profiling.measuring import WARM_UP
from segnb.tools.building_flow import trace
from segnb.tools.building_options import architectures
from segnb.tools.building_remarks import remarks
from segnb.widgets.builder.builder import Builder

RUNS = 10
PASSES = 1 + WARM_UP + 1 + RUNS  # of `profile` with one batch size: operations counted, warm-up, memory, time
ROOM = 0.6  # share of the free memory that the weights may take while they are measured


def build(
    arch: str = "unet",
    encoder_name: str = "resnet34",
    *,
    classes: int | Sequence[str] = 1,
    in_channels: int = 3,
    size: tuple[int, int] = (256, 256),
) -> Builder:
    """Choose architecture and encoder in the notebook, with the data flow drawn in its true shapes.

    Args:
        arch: the architecture to start with, see `list_models`.
        encoder_name: the encoder to start with, see `list_encoders`; with or without a ``.tag`` of its weights.
        classes: number or names of the classes; 1 is binary.
        in_channels: channels of the pictures.
        size: height and width of the pictures that the drawing, the multiply-adds and the time are for.

    Returns:
        A `Builder`; the last expression of a cell shows it. ``builder.model()`` is the chosen model, ``builder.as_code()`` the
        line that makes it.

    Raises:
        SegnbError: an unknown architecture or encoder, or numbers that cannot be.

    Example:
        >>> builder = segnb.build("fpn", "convnext_tiny", classes=["road", "car"], size=(360, 480))
    """
    if isinstance(in_channels, bool) or not isinstance(in_channels, int) or in_channels < 1:
        raise SegnbError(f"in_channels={in_channels!r}: give the number of channels of your pictures, 1 or more.")
    class_names(classes)  # refuses what cannot be classes
    return Builder(
        encoder_rows(),
        architectures(),
        look=look,
        measure=measure,
        create=create,
        arch=arch,
        encoder_name=encoder_name,
        classes=classes if isinstance(classes, int) else [str(name) for name in classes],
        in_channels=in_channels,
        size=size,
    )


def encoder_rows() -> list[list[Any]]:
    """List the encoders that work, in plain data.

    Returns:
        For each ``[name, parameters, strides, [[tag, licence], ...], offline]``: timm's default tag first, the licence as timm
        states it, or empty.
    """
    catalogue, tags = read_catalogue(), defaultdict(list)
    for full in timm.list_pretrained():
        name, _, tag = full.partition(".")
        tags[name].append(tag)
    rows = []
    for name in list_encoders():
        parameters, strides = catalogue[name]
        usual = timm.get_pretrained_cfg(name).tag
        ordered = sorted(tags[name], key=lambda tag: tag != usual)
        licences = [timm.get_pretrained_cfg(f"{name}.{tag}").license or "" for tag in ordered]
        offline = name == OFFLINE_ENCODER and offline_weights() is not None
        rows.append([name, parameters, strides, list(map(list, zip(ordered, licences, strict=True))), offline])
    return rows


def create(design: Mapping[str, Any]) -> SegmentationModel:
    """Build the model of a design.

    Args:
        design: ``arch``, ``encoder_name``, ``encoder_weights``, ``in_channels``, ``classes`` and ``options``.

    Returns:
        The model, on the CPU, or wherever ``torch.device`` says as a context.

    Raises:
        SegnbError: what `create_model` says; and for any other failure that this design cannot be built.
    """
    names = ("arch", "encoder_name", "encoder_weights", "in_channels", "classes")
    try:
        return create_model(**{name: design[name] for name in names}, **design["options"])
    except SegnbError:
        raise
    except Exception as problem:
        raise SegnbError(
            f"{design['arch']!r} on {design['encoder_name']!r} cannot be built with these options: {problem}"
        ) from problem


def look(design: Mapping[str, Any]) -> dict[str, Any]:
    """Find out all that can be known of a model without computing anything.

    Args:
        design: as in `create`, and ``size``.

    Returns:
        ``nodes`` and ``edges`` of the data flow, ``parameters`` by part, ``multiply_adds`` and ``remarks``
        (sentences).

    Raises:
        SegnbError: the design cannot be built, or cannot take such pictures.
    """
    size = tuple(design["size"])
    with torch.device("meta"):
        model = create({**design, "encoder_weights": None})
    try:
        flow = trace(model, size)
        counted = profile(model, size, batch_sizes=())
    except SegnbError:
        raise
    except Exception as problem:
        raise SegnbError(f"this model cannot take a picture of {size[0]} × {size[1]}: {problem}") from problem
    head = sum(weight.numel() for weight in model.decoder.classify.parameters())
    return {
        **flow,
        "parameters": {"encoder": counted.encoder, "decoder": counted.decoder - head, "head": head},
        "multiply_adds": counted.multiply_adds,
        "remarks": remarks(model, size),
    }


def measure(design: Mapping[str, Any], progress: Callable[[float], None]) -> dict[str, Any]:
    """Time a design on this machine, with random weights: they take as long as any.

    Args:
        design: as in `look`.
        progress: called before each pass with the share that is done, 0 to 1; what it raises ends the measurement.

    Returns:
        ``ms``, ``lower`` and ``upper`` (median and quartiles), ``peak_mb`` (None where unknown) and ``machine``.

    Raises:
        SegnbError: the weights do not fit into memory.
    """
    with torch.device("meta"):
        _check_room(create({**design, "encoder_weights": None}))
    model = create({**design, "encoder_weights": None})
    model.to(torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu")
    passes = 0

    def count(*_: Any) -> None:
        nonlocal passes
        progress(passes / PASSES)
        passes += 1

    model.register_forward_pre_hook(count)
    found = profile(model, tuple(design["size"]), batch_sizes=(1,), runs=RUNS)
    (latency,) = found.latencies
    return {
        "ms": latency.median,
        "lower": latency.quartiles[0],
        "upper": latency.quartiles[1],
        "peak_mb": None if latency.peak_memory is None else latency.peak_memory / 1e6,
        "machine": found.machine,
    }


def _check_room(model: SegmentationModel) -> None:
    """Refuse a model that would take the kernel's memory: the notebook's variables would be lost with it."""
    import psutil

    needed = sum(weight.nbytes for weight in model.parameters()) / 1e9
    free = psutil.virtual_memory().available / 1e9
    if needed > ROOM * free:
        raise SegnbError(
            f"the weights take {needed:.1f} GB, {free:.1f} GB are free here: measure a smaller encoder, or on a larger machine."
        )
