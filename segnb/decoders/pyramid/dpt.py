"""DPT: a plain transformer's tokens become a pyramid of maps, which grow into the picture step by step.

    four blocks of the encoder: h × w patches and a class token each      fuse = refine, add what comes from below, refine, 1×1

    block 3  ── tell patches what the token knows ── 1×1 ── ×4 ── 3×3 ── fuse ── ×2 ── 3×3 ── classify ─▶ (B, classes, H/2, W/2)
                                                                          ▲ ×2
    block 6  ── tell ── 1×1 ── ×2 ── 3×3 ─────────────────────────────── fuse
                                                                          ▲ ×2
    block 9  ── tell ── 1×1 ──────── 3×3 ─────────────────────────────── fuse             every fused map: 256 channels
                                                                          ▲ ×2
    block 12 ── tell ── 1×1 ── ÷2 ── 3×3 ─────────────────────────────── fuse

Drawn for patches of 16 pixels, h = H/16. Why: a transformer keeps its resolution and sees the whole picture in every block; all
that it lacks are scales.
Paper: Ranftl, Bochkovskiy and Koltun, ICCV 2021, https://arxiv.org/abs/2103.13413, section 3 and figure 1.
Differs from the paper: the 1×1 convolution runs before the enlarging, the same numbers for a quarter of the work; without a class
token nothing is told, and levels that have scales of their own are not resized.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, norm_layer, resize_like
from segnb.errors import SegnbError


class Readout(nn.Module):
    """Mix the class token into every patch: (B, C, h, w), (B, tokens, C) -> (B, C, h, w).

    The paper's linear layer on patch and token side by side, in two halves: the token's is the same for all patches.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, channels, 1)
        self.token = nn.Linear(channels, channels, bias=False)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Project patches and the first token, add, bend."""
        return F.gelu(self.patches(x) + self.token(tokens[:, 0])[..., None, None])


def reassemble(in_channels: int, middle: int, width: int, scale: float) -> nn.Sequential:
    """Build what puts a level in its place in the pyramid: (B, in, h, w) -> (B, width, scale·h, scale·w).

    The scale is rounded to a power of two, so that patches of 14 pixels make a pyramid too, of strides 3.5, 7, 14 and 28.
    """
    steps = round(math.log2(scale))
    resize: nn.Module = nn.Identity()
    if steps > 0:
        resize = nn.ConvTranspose2d(middle, middle, 2**steps, stride=2**steps)
    elif steps < 0:
        resize = nn.Conv2d(middle, middle, 3, stride=2**-steps, padding=1)
    return nn.Sequential(nn.Conv2d(in_channels, middle, 1), resize, nn.Conv2d(middle, width, 3, padding=1, bias=False))


class Residual(nn.Sequential):
    """Two convolutions around which the map passes unchanged: (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, width: int, norm: Callable[[int], nn.Module]) -> None:
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=norm is nn.Identity), norm(width)]
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Add what two convolutions make of the map."""
        return x + super().forward(x)


class DPT(nn.Module):
    """Dense prediction transformer.

    Args:
        in_channels: channels of each level, from shallow to deep.
        classes: channels of the returned logits.
        reductions: pixels of the picture per pixel of each level, along a side.
        prefix_tokens: tokens that follow each map: class token, registers.
        decoder_readout: what to do with them: ``"cat"`` mixes the first into all patches, ``"add"`` their mean, or ``"ignore"``.
        decoder_intermediate_channels: width of each level before its resizing; for fewer levels the first numbers count.
        decoder_fusion_channels: width of the pyramid.
        decoder_use_norm: normalisation layer of the fusion, see `segnb.blocks.norm_layer`.
        refine_coarsest: whether the coarsest level, to which nothing is added, is refined twice as well (SMP); the authors and
            transformers refine it once.
        align_corners: how maps and logits are enlarged; True for weights released by others.
    """

    strides = (4, 8, 16, 32)
    least_depth = 2
    raw = True

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        reductions: Sequence[int],
        prefix_tokens: int,
        decoder_readout: str = "cat",
        decoder_intermediate_channels: Sequence[int] = (256, 512, 1024, 1024),
        decoder_fusion_channels: int = 256,
        decoder_use_norm: str | bool = "batchnorm",
        refine_coarsest: bool = True,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        if decoder_readout not in ("cat", "add", "ignore"):
            raise SegnbError(f"decoder_readout={decoder_readout!r}: give 'cat', 'add' or 'ignore'.")
        levels, width, norm = len(in_channels), decoder_fusion_channels, norm_layer(decoder_use_norm)
        middles = tuple(decoder_intermediate_channels)
        if len(middles) < levels:
            raise SegnbError(f"decoder_intermediate_channels={middles!r}: give {levels} numbers, one for each level.")
        self.align_corners = align_corners
        self.readout = decoder_readout if prefix_tokens else "ignore"
        self.tell = nn.ModuleList(Readout(channels) for channels in in_channels if self.readout == "cat")
        self.reassemble = nn.ModuleList(
            reassemble(channels, middle, width, reduction / stride)
            for channels, middle, reduction, stride in zip(in_channels, middles, reductions, self.strides, strict=False)
        )
        # Coarse to fine, the order in which they are used.
        self.refine = nn.ModuleList(
            Residual(width, norm) if refine_coarsest or order else nn.Identity() for order in range(levels)
        )
        self.merge = nn.ModuleList(
            nn.Sequential(Residual(width, norm), nn.Conv2d(width, width, 1)) for _ in in_channels
        )
        self.mix = ConvNormAct(width, width)
        self.classify = nn.Sequential(nn.Dropout(0.1), nn.Conv2d(width, classes, 1))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn maps, shallow to deep, and their tokens into logits (B, classes, H/2, W/2)."""
        fused = F.interpolate(self.fuse(features), scale_factor=2.0, mode="bilinear", align_corners=self.align_corners)
        return self.classify(self.mix(fused))

    def fuse(self, features: list[Tensor]) -> Tensor:
        """Let the tokens tell the maps, make a pyramid of them and climb it: -> (B, decoder_fusion_channels, H/4, W/4)."""
        maps, tokens = features[: len(self.reassemble)], features[len(self.reassemble) :]
        if self.readout == "cat":
            maps = [tell(x, prefix) for tell, x, prefix in zip(self.tell, maps, tokens, strict=True)]
        elif self.readout == "add":
            maps = [x + prefix.mean(1)[..., None, None] for x, prefix in zip(maps, tokens, strict=True)]
        levels = [reassemble(x) for reassemble, x in zip(self.reassemble, maps, strict=True)]
        fused: Tensor | None = None
        for refine, merge, level in zip(self.refine, self.merge, levels[::-1], strict=True):
            x = refine(level)
            fused = merge(x if fused is None else x + resize_like(fused, x, align_corners=self.align_corners))
        return fused
