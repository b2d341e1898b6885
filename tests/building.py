"""A model of any architecture, small and with random weights: on a test encoder, or a network with a backbone of its own."""

import torch

from segnb.models import create_model, list_models
from segnb.networks import NETWORKS

TINY = "test_resnet"
# Architectures that run a plain vision transformer's own blocks, and so stand on nothing else.
ON_BLOCKS = ("eomt",)
# Narrow and shallow, where the papers' are made for large pictures.
NARROW = {
    "bisenetv2": {"width": 32},
    "icnet": {"depth": 18, "width": 32},
    "mask2former": {"width": 64, "queries": 20, "layers": 3, "pixel_layers": 1, "hidden": 128},
    "maskformer": {"width": 64, "queries": 20, "layers": 2, "hidden": 128},
    "stdc": {"width": 16},
}


def pairs(*encoders):
    """Every architecture with each encoder; networks, which have none, and those of one kind of encoder once."""
    once = (*NETWORKS, *ON_BLOCKS)
    return [(arch, name) for arch in list_models() for name in (encoders[:1] if arch in once else encoders)]


def build_any(arch, encoder_name=TINY, **options):
    """`create_model` with random weights, made narrow; a network gets no encoder."""
    options = {**NARROW.get(arch, {}), **options}
    if arch in NETWORKS:
        options.pop("encoder_name", None)
        return create_model(arch, **options)
    if arch in ON_BLOCKS:
        encoder_name = "test_vit"
    return create_model(arch, **{"encoder_name": encoder_name, "encoder_weights": None, **options})


def training_loss(model, outputs, labels, loss):
    """What `fit` minimises with a loss by name: final logits, earlier stages, and the architecture's own loss."""
    stages = sum((loss(stage, labels) for stage in outputs.stages), start=torch.zeros(()))
    own = model.own_loss(outputs, labels) if outputs.clues else 0
    return loss(outputs.logits, labels) + 0.4 * stages + own
