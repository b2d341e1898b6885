"""What a program must know to use an exported file: it travels inside the file, as JSON."""

from __future__ import annotations

import json

from torch import nn


def describe(model: nn.Module, raw_pixels: bool) -> dict[str, str]:
    """Say how a model's file is to be used.

    Args:
        model: a segmentation model.
        raw_pixels: whether the file takes uint8 pixels 0..255 (True) or normalised float32 (False).

    Returns:
        ``input`` in words; as JSON ``classes``, ``label_names``, ``palette``, ``mean``, ``std``, ``multilabel`` and ``config``.
    """
    return {
        "classes": json.dumps(model.classes),
        "label_names": json.dumps(model.label_names),
        "palette": json.dumps(model.palette.tolist()),
        "mean": json.dumps([round(value, 6) for value in model.mean.flatten().tolist()]),
        "std": json.dumps([round(value, 6) for value in model.std.flatten().tolist()]),
        "multilabel": json.dumps(model.multilabel),
        "input": "uint8 0..255" if raw_pixels else "float32 (pixel / 255 - mean) / std",
        "config": json.dumps(model.config, default=str),
    }
