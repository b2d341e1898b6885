"""What a reader should know of an encoder under a decoder, at one picture size, in sentences."""

from __future__ import annotations

import torch

from segnb.encoders import Encoder
from segnb.models import SegmentationModel


def remarks(model: SegmentationModel, size: tuple[int, int]) -> list[str]:
    """Say in sentences what is special about this encoder under this decoder, at this size."""
    encoder, arch = model.encoder, model.config["arch"]
    said = [_about_levels(encoder, arch), _about_dilation(encoder), _about_size(encoder, size)]
    coarsest = [-(-side // encoder.strides[-1]) for side in size]
    if min(coarsest) < 2 and encoder.fixed_size is None:
        said.append(
            f"At {size[0]} × {size[1]} the coarsest map is {coarsest[0]} × {coarsest[1]}: too small to tell places apart. "
            f"Give pictures of at least {2 * encoder.strides[-1]} pixels a side."
        )
    return [sentence for sentence in said if sentence]


def _about_levels(encoder: Encoder, arch: str) -> str:
    reductions = [stride for stride in encoder.reductions if stride]
    if len(reductions) > 1 and len(set(reductions)) == 1:
        said = f"{encoder.name} keeps stride {reductions[0]}: {len(reductions)} of its blocks, evenly spaced, play the levels."
        return said if encoder.raw else f"{said} Their maps are resized for the decoder."
    lacking = [str(level) for level, channels in zip(encoder.levels, encoder.channels, strict=True) if not channels]
    if lacking:
        return f"{encoder.name} has no map of stride {' or '.join(lacking)}: {arch} goes without."
    return ""


def _about_dilation(encoder: Encoder) -> str:
    if encoder.strides == encoder.levels:
        return ""
    if encoder.reductions[-1] > encoder.strides[-1]:
        return f"{encoder.name} cannot be dilated: its coarsest map is enlarged to stride {encoder.strides[-1]}."
    return f"The deepest stages are dilated: they keep stride {encoder.strides[-1]} and still see as far."


def _about_size(encoder: Encoder, size: tuple[int, int]) -> str:
    if encoder.fixed_size and tuple(encoder.fixed_size) != size:
        height, width = encoder.fixed_size
        return (
            f"{encoder.name} takes {height} × {width} only: pictures are resized for it, and its maps are resized back."
        )
    height, width = encoder.pad(torch.empty(1, 1, *size, device="meta")).shape[-2:]
    if (height, width) != size:
        return f"{encoder.name} gets {height} × {width}: zeros are added below and to the right, and cut off again."
    return ""
