"""Models: an encoder, a decoder, one resize.

image ── normalise, if uint8 ── encoder ── c2…c5 ── decoder ── (B, K, H/4, W/4) ── one resize ──▶ logits (B, K, H, W)
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segnb.decoders import DECODERS
from segnb.draw import palette
from segnb.encoders import Encoder
from segnb.errors import SegnbError, nearest


class SegmentationModel(nn.Module):
    """Logits at the input's size, for any size.

    Args:
        encoder: gives a feature map for each stride.
        decoder: turns them into logits at a fraction of the input's size.
        classes: name of each logit channel; a single name is binary (one sigmoid channel).
        config: the arguments of `create_model` with which to build the same model again.

    Attributes:
        classes: names of the logit channels.
        label_names: names of the labels 0, 1, ...; a binary model has two: background and its class.
        palette: (labels, 3) uint8, the colour of each label.
    """

    def __init__(self, encoder: Encoder, decoder: nn.Module, classes: Sequence[str], config: dict[str, Any]) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.classes = list(classes)
        self.label_names = ["background", *self.classes] if len(self.classes) == 1 else self.classes
        self.palette = palette(len(self.label_names))
        self.config = config
        # Part of the graph, not of the weights: a checkpoint of another library has no such keys.
        self.register_buffer("mean", torch.tensor(encoder.mean).reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(encoder.std).reshape(1, -1, 1, 1), persistent=False)

    @property
    def num_classes(self) -> int:
        """Channels of the logits; 1 is binary."""
        return len(self.classes)

    @property
    def in_channels(self) -> int:
        """Channels of the image."""
        return self.mean.shape[1]

    def forward(self, image: Tensor) -> Tensor:
        """Compute logits.

        Args:
            image: (B, in_channels, H, W); uint8 0..255 is raw pixels and normalised here, float is already normalised.

        Returns:
            (B, classes, H, W), unbounded.
        """
        if image.dim() != 4 or image.shape[1] != self.in_channels:
            raise SegnbError(
                f"the model got an image of shape {tuple(image.shape)}; it takes (batch, {self.in_channels}, height, width). "
                "Add a batch dimension with image[None], or create the model with in_channels=...."
            )
        if image.dtype == torch.uint8:
            image = (image.to(self.mean.dtype) / 255 - self.mean) / self.std
        elif not image.is_floating_point():
            raise SegnbError(
                f"the model got an image of {image.dtype}; give uint8 for raw pixels from 0 to 255, or normalised floats."
            )
        logits = self.decoder(self.encoder(image))
        if logits.shape[-2:] == image.shape[-2:]:
            return logits
        align_corners = getattr(self.decoder, "align_corners", False)
        return F.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=align_corners)

    def labels(self, logits: Tensor) -> Tensor:
        """Turn logits (B, classes, H, W) into the most likely label of each pixel, (B, H, W) uint8."""
        if self.num_classes == 1:
            return (logits[:, 0] > 0).to(torch.uint8)
        return logits.argmax(dim=1).to(torch.uint8)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Turn logits into probabilities of the same shape, 0 to 1: sigmoid if binary, softmax otherwise."""
        return logits.sigmoid() if self.num_classes == 1 else logits.softmax(dim=1)


def list_models() -> list[str]:
    """Names of the architectures that `create_model` builds."""
    return sorted(DECODERS)


def create_model(
    arch: str,
    encoder_name: str = "resnet34",
    encoder_weights: str | None = "imagenet",
    in_channels: int = 3,
    classes: int | Sequence[str] = 1,
    **decoder_options: Any,
) -> SegmentationModel:
    """Build a segmentation model.

    Args:
        arch: an architecture, see `list_models`.
        encoder_name: any timm backbone, see `list_encoders`.
        encoder_weights: ``"imagenet"`` (timm's default tag), any timm tag, a local file, or None for random weights.
        in_channels: channels of the image.
        classes: number or names of the classes; 1 is binary (one sigmoid channel).
        **decoder_options: keywords of the architecture's class, for example ``decoder_channels`` of `UNet`.

    Returns:
        A model that takes (B, in_channels, H, W) and returns logits (B, classes, H, W), for any H and W.

    Raises:
        SegnbError: an unknown architecture, encoder or option (the nearest names are offered), or weights out of reach.

    Example:
        >>> model = segnb.create_model("unet", "tf_efficientnet_lite0", classes=["road", "car"])
    """
    if arch not in DECODERS:
        raise SegnbError(f"unknown architecture {arch!r}. {nearest(arch, DECODERS)} segnb.list_models() lists all.")
    decoder_class = DECODERS[arch]
    check_options(arch, decoder_class, decoder_options)
    names = class_names(classes)
    if not isinstance(in_channels, int) or in_channels < 1:
        raise SegnbError(f"in_channels={in_channels!r}: give the number of channels of your images, 1 or more.")
    strides_for = getattr(decoder_class, "strides_for", None)
    strides = strides_for(**decoder_options) if strides_for else decoder_class.strides
    encoder = Encoder(
        encoder_name, encoder_weights, in_channels, strides, dilated=getattr(decoder_class, "dilated", False)
    )
    decoder = decoder_class(encoder.channels, len(names), **decoder_options)
    config = {
        "arch": arch,
        "encoder_name": encoder.name,
        "in_channels": in_channels,
        "classes": names,
        **decoder_options,
    }
    return SegmentationModel(encoder, decoder, names, config)


def class_names(classes: int | Sequence[str]) -> list[str]:
    """Turn a number of classes into names, and refuse what cannot be classes."""
    if isinstance(classes, (int, np.integer)) and not isinstance(classes, bool) and 1 <= classes <= 254:
        return ["foreground"] if classes == 1 else [f"class {index}" for index in range(classes)]
    if not isinstance(classes, str) and isinstance(classes, Sequence) and 1 <= len(classes) <= 254:
        return [str(name) for name in classes]
    raise SegnbError(
        f"classes={classes!r}: give a number from 1 to 254, or a list of 1 to 254 names such as ['road', 'car']."
    )


def check_options(arch: str, decoder_class: type[nn.Module], options: dict[str, Any]) -> None:
    """Refuse an option that the architecture does not have."""
    parameters = inspect.signature(decoder_class.__init__).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            common = ["encoder_name", "encoder_weights", "in_channels", "classes"]
            raise SegnbError(
                f"{arch!r} has no option {option!r}. {nearest(option, [*known, *common])} "
                f"Its options are {', '.join(known)}."
            )
