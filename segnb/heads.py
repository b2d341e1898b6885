"""A head beside the decoder: what is in the picture, not where."""

from __future__ import annotations

from torch import nn

from segnb.errors import SegnbError

POOLINGS = {"avg": nn.AdaptiveAvgPool2d, "max": nn.AdaptiveMaxPool2d}


class ImageHead(nn.Sequential):
    """Classify the whole picture from the deepest feature map: (B, C, h, w) -> logits (B, classes).

    Args:
        in_channels: channels of the map.
        classes: number of logits.
        pooling: ``"avg"`` or ``"max"`` over all pixels.
        dropout: probability of dropping a value before the last layer.
    """

    def __init__(self, in_channels: int, classes: int, pooling: str = "avg", dropout: float = 0.2) -> None:
        if pooling not in POOLINGS:
            raise SegnbError(f"aux_params has pooling={pooling!r}: give 'avg' or 'max'.")
        super().__init__(POOLINGS[pooling](1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(in_channels, classes))
