"""SETR: a plain transformer's maps of patches, enlarged by few convolutions.

    naive   last block (C, H/16, W/16) ── norm ── 1×1, 256 ── ×4 ── classify ─▶ (B, classes, H/4, W/4)

    pup     last block (C, H/16, W/16) ── norm ── (3×3, 256 ── ×2) four times ── classify ─▶ (B, classes, H, W)

    mla     block 24 ── norm ── 1×1, 256 ─┬─────── 3×3, 256 ── 3×3, 128 ── 3×3, 128 ── ×4 ─┐
            block 18 ── norm ── 1×1, 256 ─+─┬───── 3×3, 256 ── 3×3, 128 ── 3×3, 128 ── ×4 ─┤
            block 12 ── norm ── 1×1, 256 ───+─┬─── 3×3, 256 ── 3×3, 128 ── 3×3, 128 ── ×4 ─┼─ concat (512) ── classify
            block 6  ── norm ── 1×1, 256 ─────+─── 3×3, 256 ── 3×3, 128 ── 3×3, 128 ── ×4 ─┘            │
                                                                                  (B, classes, H/4, W/4)
    In training, earlier blocks (mla: the maps of 256 channels) have classifiers, too.

Drawn for patches of 16 pixels. Why: a transformer sees the whole picture from its first block on: the decoder can be small.
Paper: Zheng et al., CVPR 2021, https://arxiv.org/abs/2012.15840, section 3.3 and figure 1.
Differs from the paper: maps are normalised first, as in MMSegmentation's weights; pup doubles as often as the patches ask for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, Stages, resize_like
from segnb.errors import SegnbError
from segnb.parts.attention import classifier


def enlarge(scale: int) -> nn.Upsample:
    """Resize bilinearly: (B, C, h, w) -> (B, C, scale·h, scale·w)."""
    return nn.Upsample(scale_factor=float(scale), mode="bilinear", align_corners=False)


class Grow(nn.Module):
    """Convolve and enlarge a map, again and again: (B, in, h, w) -> (B, width, scale^steps·h, scale^steps·w).

    Args:
        in_channels: channels of the map.
        width: channels of the result.
        kernel_size: side of each convolution's kernel.
        steps: how often.
        scale: by how much each time.
    """

    def __init__(self, in_channels: int, width: int, kernel_size: int, steps: int, scale: int) -> None:
        super().__init__()
        self.norm = LayerNorm2d(in_channels, eps=1e-6)
        convs = [ConvNormAct(width if step else in_channels, width, kernel_size) for step in range(steps)]
        self.grow = nn.Sequential(*(nn.Sequential(conv, enlarge(scale)) for conv in convs))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise, then grow."""
        return self.grow(self.norm(x))


class MultiLevelAggregation(nn.Module):
    """Add each map to those before it and enlarge all: maps -> one map (B, 2·width, …) and, for each, one of width channels.

    Args:
        in_channels: channels of each map, from shallow to deep.
        width: channels of each map on its way; half as many of it are joined.
    """

    def __init__(self, in_channels: Sequence[int], width: int) -> None:
        super().__init__()
        half = width // 2
        self.norm = nn.ModuleList(LayerNorm2d(channels, eps=1e-6) for channels in in_channels)
        self.project = nn.ModuleList(ConvNormAct(channels, width, 1) for channels in in_channels)
        # Deep to shallow, the order in which they are used.
        self.refine = nn.ModuleList(ConvNormAct(width, width) for _ in in_channels)
        self.grow = nn.ModuleList(
            nn.Sequential(ConvNormAct(width, half), ConvNormAct(half, half), enlarge(4)) for _ in in_channels
        )

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the joined map, and the maps before they are enlarged, from deep to shallow."""
        projected = [project(norm(x)) for norm, project, x in zip(self.norm, self.project, maps, strict=True)]
        total, refined = torch.zeros_like(projected[0]), []  # an encoder that has scales is brought to the finest
        for refine, x in zip(self.refine, projected[::-1], strict=True):
            total = total + resize_like(x, projected[0])
            refined.append(refine(total))
        return torch.cat([grow(x) for grow, x in zip(self.grow, refined, strict=True)], dim=1), refined


class SETR(nn.Module):
    """Segmentation transformer.

    Args:
        in_channels: channels of each map, from shallow to deep.
        classes: channels of the returned logits.
        reductions: pixels of the picture per pixel of each map, along a side.
        prefix_tokens: tokens that follow each map, class token and registers; they are not read.
        upsample: ``"naive"``, ``"pup"`` (progressive upsampling) or ``"mla"`` (multi-level aggregation), see above.
        width: channels of the maps between the encoder and the classifier.
        early_steps: how often the classifiers of earlier blocks enlarge at most, by 4 each time; for training, not in mla.
        dropout: probability of dropping a whole channel before each classifier.
    """

    strides = (4, 8, 16, 32)
    raw = True

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        reductions: Sequence[int],
        prefix_tokens: int,
        upsample: str = "mla",
        width: int = 256,
        early_steps: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if upsample not in ("naive", "pup", "mla"):
            raise SegnbError(f"upsample={upsample!r}: give 'naive', 'pup' or 'mla'.")
        self.upsample, self.levels = upsample, len(in_channels)
        if upsample == "mla":
            self.enlarge, joined = MultiLevelAggregation(in_channels, width), width // 2 * self.levels
            early: list[nn.Module] = [nn.Identity() for _ in in_channels]
        else:
            kernel_size, joined = 1 if upsample == "naive" else 3, width
            *halvings, last = [max(1, round(math.log2(reduction))) for reduction in reductions]
            steps, scale = (1, 4) if upsample == "naive" else (last, 2)
            self.enlarge = Grow(in_channels[-1], width, kernel_size, steps, scale)
            counts = [max(1, min(early_steps, halved // 2)) for halved in halvings]
            early = [Grow(c, width, kernel_size, count, 4) for c, count in zip(in_channels, counts, strict=False)]
        self.classify_early = nn.ModuleList(nn.Sequential(grow, classifier(width, classes, dropout)) for grow in early)
        self.classify = classifier(joined, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn maps, shallow to deep, into logits (B, classes, H/4, W/4), with pup (B, classes, H, W)."""
        enlarged, _ = self.read(features)
        return self.classify(enlarged)

    def forward_all(self, features: list[Tensor]) -> Stages:
        """The logits of the earlier maps, and the final ones."""
        enlarged, early = self.read(features)
        stages = [classify(x) for classify, x in zip(self.classify_early, early, strict=True)]
        return Stages([*stages, self.classify(enlarged)], {})

    def read(self, features: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the map that the last layer classifies, and those that the early classifiers do."""
        maps = features[: self.levels]
        return self.enlarge(maps) if self.upsample == "mla" else (self.enlarge(maps[-1]), maps[:-1])
