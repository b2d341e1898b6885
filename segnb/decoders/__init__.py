"""Decoders: a list of feature maps, fine to coarse, becomes logits. One file = one architecture."""

from __future__ import annotations

from torch import nn

from segnb.decoders.pooling.deeplabv3plus import DeepLabV3Plus
from segnb.decoders.pyramid.fpn import FPN
from segnb.decoders.pyramid.segformer import SegFormer
from segnb.decoders.pyramid.unet import UNet

DECODERS: dict[str, type[nn.Module]] = {
    "unet": UNet,
    "fpn": FPN,
    "deeplabv3plus": DeepLabV3Plus,
    "segformer": SegFormer,
}
