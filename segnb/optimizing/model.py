"""A copy of a model for inference: the same logits from less work.

┌─ encoder ── batch normalisation, addition and activation inside of each convolution ─┐
model ┤                                                                                       ├─ the same outputs? ─▶ copy
└─ decoder ── coarse maps are convolved before they are enlarged ──────────────────────┘
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from segnb.encoders import Encoder
from segnb.errors import SegnbError
from segnb.models import SegmentationModel
from segnb.optimizing.folding import fuse_graph, fuse_parts, is_norm, pack
from segnb.optimizing.rewriting import rewrite

TOLERANCE = 1e-4  # of the largest value; rounding is a hundredth of it
SIZE = (97, 141)  # of the picture for the comparison: enlarged maps are cut


class InferenceModel(SegmentationModel):
    """What `optimize` returns: a `SegmentationModel` that does not learn."""

    inference_only = True

    def train(self, mode: bool = True) -> InferenceModel:
        """Refuse to train."""
        if mode:
            raise SegnbError("an optimised model is for inference only: train the model that it was made from.")
        return super().train(False)


def optimize(model: SegmentationModel) -> InferenceModel:
    """Make a copy of a model that computes the same logits with less work.

    Nothing is approximated: batch normalisation goes into the weights before it, coarse maps are convolved before they are
    enlarged, and on x86 CPUs what follows a convolution is done in the same call. Encoder and decoder are compared with the
    original's on random pixels; one that does not agree to 1e-4 is left as it was.

    Args:
        model: of `create_model` or `load_model`; it stays as it is.

    Returns:
        A model to predict, evaluate and export with, in eval mode, without gradients and without a training-only auxiliary head.
        It can be neither trained nor saved: keep the original. It takes two to four times its memory, for weights laid out anew.

    Raises:
        SegnbError: the model is optimised already.

    Example:
        >>> fast = segnb.optimize(model)
        >>> prediction = segnb.predict(fast, "street.jpg")
    """
    if isinstance(model, InferenceModel):
        raise SegnbError("this model is optimised already.")
    device, dtype = model.mean.device, model.mean.dtype
    encoder, decoder, image_head = (
        None if part is None else copy.deepcopy(part).to("cpu", torch.float32, memory_format=torch.channels_last)
        for part in (model.encoder, model.decoder, model.image_head)
    )
    fast = InferenceModel(encoder, decoder, model.classes, model.config, reads=model.reads, image_head=image_head)
    fast.palette, fast.value_range, fast.notes = model.palette, model.value_range, model.notes
    fast.eval().requires_grad_(False)
    with torch.no_grad():
        random = torch.Generator().manual_seed(0)
        image = torch.randn(2, model.in_channels, *SIZE, generator=random)
        image = encoder.pad(image) if encoder.raw else image
        features = encoder(image)
        if isinstance(encoder, Encoder):
            _replace(encoder, "backbone", [fused_whole, fused_parts, pack], lambda: encoder(image))
        _replace(fast, "decoder", [rewrite, pack], lambda: [fast.decoder(fast._read(image, features))])
    return fast.requires_grad_(False).to(device, dtype, memory_format=torch.channels_last)


def fused_whole(backbone: nn.Module) -> nn.Module:
    """Fuse a backbone that has batch normalisation; in others there is nothing to fuse."""
    return pack(fuse_graph(backbone) if any(is_norm(module) for module in backbone.modules()) else backbone)


def fused_parts(backbone: nn.Module) -> nn.Module:
    """Fuse the parts of a backbone one by one."""
    fuse_parts(backbone)
    return pack(backbone)


def _replace(
    owner: nn.Module,
    name: str,
    attempts: Sequence[Callable[[nn.Module], nn.Module]],
    run: Callable[[], list[Tensor]],
) -> None:
    """Replace a part by the first attempt with the same outputs; by none, if none has."""
    plain, expected = getattr(owner, name), run()
    for attempt in attempts:
        with suppress(Exception):  # whatever the code of others does when it is traced
            setattr(owner, name, attempt(copy.deepcopy(plain)).eval())
            if all(_agree(*pair) for pair in zip(expected, run(), strict=True)):
                return
    setattr(owner, name, plain)


def _agree(expected: Tensor, found: Tensor) -> bool:
    """Say whether two tensors are the same but for rounding."""
    if expected.shape != found.shape or not expected.numel():
        return expected.shape == found.shape
    return bool((expected - found).abs().max() <= TOLERANCE * expected.abs().max())
