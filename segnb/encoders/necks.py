"""Layers after the backbone: from a plain transformer's maps, all of one size, to those of a pyramid; and normalisations.

    stride    4        8        16       32
    convolve  ×4       ×2       as is    ÷2      resized between a 1×1 and a 3×3 convolution
    deconvolve  2×2, 2×2  2×2   as is    ÷2      by transposed convolutions of stride 2, and a maximum

What MMSegmentation puts between such an encoder and decoders that read four levels; elsewhere segnb only resizes (Li et al.,
ViTDet, ECCV 2022, https://arxiv.org/abs/2203.16527, section 3, finds that to be as good).
Sources: Zheng et al., SETR, CVPR 2021, https://arxiv.org/abs/2012.15840; Bao et al., BEiT, ICLR 2022,
https://arxiv.org/abs/2106.08254, appendix on semantic segmentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from timm.layers import LayerNorm2d
from torch import nn

from segnb.errors import SegnbError

SCALES = (4.0, 2.0, 1.0, 0.5)


def convolve(channels: int, scale: float) -> nn.Module:
    """Resize between two convolutions: (B, C, h, w) -> (B, C, scale·h, scale·w)."""
    resize = nn.Upsample(scale_factor=scale, mode="bilinear", align_corners=False)
    return nn.Sequential(nn.Conv2d(channels, channels, 1), resize, nn.Conv2d(channels, channels, 3, padding=1))


def deconvolve(channels: int, scale: float) -> nn.Module:
    """Double by transposed convolutions, or halve by a maximum: (B, C, h, w) -> (B, C, scale·h, scale·w)."""
    double = [nn.ConvTranspose2d(channels, channels, 2, stride=2)]
    if scale == 4:
        double += [nn.BatchNorm2d(channels), nn.GELU(), nn.ConvTranspose2d(channels, channels, 2, stride=2)]
    if scale > 1:
        return nn.Sequential(*double)
    return nn.Identity() if scale == 1 else nn.MaxPool2d(2)


NECKS = {"convolve": convolve, "deconvolve": deconvolve}


def make_level_necks(sizes: Mapping[int, int], patch: int, kind: str | None) -> nn.ModuleDict:
    """Build the layers for all levels.

    Args:
        sizes: channels of each level, by its stride.
        patch: stride of the maps.
        kind: ``"convolve"``, ``"deconvolve"`` or None for no layers.

    Returns:
        By ``stride4`` and so on.

    Raises:
        SegnbError: an unknown kind, or levels that it does not reach.
    """
    scales = {level: patch / level for level in sizes}
    if kind is not None and (kind not in NECKS or not set(scales.values()) <= set(SCALES)):
        raise SegnbError(
            f"encoder_options: level_necks={kind!r} for maps of stride {patch} and levels {', '.join(map(str, sizes))}: give "
            "'convolve' or 'deconvolve', and a plain transformer with patches of 16 pixels."
        )
    return nn.ModuleDict(
        {f"stride{level}": NECKS[kind](sizes[level], scale) for level, scale in scales.items() if kind is not None}
    )


def make_level_norms(backbone: nn.Module, sizes: Mapping[int, int], levels: Sequence[int] | None) -> nn.ModuleDict:
    """Build the normalisations that follow whole levels.

    Args:
        backbone: what its layer normalisations add under the root, these do, too.
        sizes: channels of each level, by its stride.
        levels: strides of those that are normalised; None for none of them.

    Returns:
        By ``stride4`` and so on.
    """
    eps = next((module.eps for module in backbone.modules() if isinstance(module, nn.LayerNorm)), 1e-6)
    return nn.ModuleDict(
        {
            f"stride{level}": LayerNorm2d(channels, eps=eps)
            for level, channels in sizes.items()
            if level in (levels or ())
        }
    )
