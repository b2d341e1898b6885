"""Segmenter: a class is a token among those of the patches; where a patch has become like it, there the class is.

    c5 (B, C5, H/16, W/16) ── linear ── h·w patches (width) ─┐          ┌─ h·w patches ── linear ── of length 1 ─┐
                                                             ├─ blocks ─┤                                        ├─ × ─ norm
         one learnt vector for each class ─── classes ───────┘          └─ classes ────── linear ── of length 1 ─┘      │
                                                                                                                        ▼
    block:  x + attention of all tokens (norm(x)), then x + MLP(norm(x))                         (B, classes, H/16, W/16)

Why: the class vectors have seen this picture before they are compared with its patches; a classifier's weights never have.
Paper: Strudel et al., ICCV 2021, https://arxiv.org/abs/2105.05633, section 3.2.
Differs from the paper: a single class, for which a norm over the classes leaves nothing, gets a factor and an offset instead. Its
linear decoder is `fcn` with ``convs=0, encoder_output_stride=16``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.layers import LayerNorm2d
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from segnb.errors import SegnbError

HEAD_CHANNELS = 64  # of each attention head, in all of the paper's models


class Compare(nn.Module):
    """How like each class is each patch: (B, C, h, w), (B, classes, C) -> (B, classes, h, w).

    Args:
        classes: how many.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.normalise = LayerNorm2d(classes, eps=1e-5) if classes > 1 else nn.Conv2d(1, 1, 1)
        if classes == 1:
            nn.init.constant_(self.normalise.weight, 10.0)  # cosines end at 1, where a sigmoid has hardly begun
            nn.init.zeros_(self.normalise.bias)

    def forward(self, x: Tensor, classes: Tensor) -> Tensor:
        """Take the cosines, and normalise those of each patch."""
        cosines = torch.einsum("bkc,bchw->bkhw", F.normalize(classes, dim=2), F.normalize(x, dim=1))
        return self.normalise(cosines)


class Segmenter(nn.Module):
    """Mask transformer over one level.

    Args:
        in_channels: channels of that level: (C5,).
        classes: channels of the returned logits.
        width: channels of the tokens, a multiple of 64 (paper: 192, 384, 768 and 1024 for ViT-T, -S, -B and -L, as the encoder).
        layers: transformer blocks.
        drop_path: probability of leaving out the last block's update of a picture; it grows from 0 at the first block.
        encoder_output_stride: stride of the map: 16 as a plain transformer's, 8 or 32.
    """

    strides = (32,)

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        width: int = 192,
        layers: int = 2,
        drop_path: float = 0.1,
        encoder_output_stride: int = 16,
    ) -> None:
        super().__init__()
        if width < HEAD_CHANNELS or width % HEAD_CHANNELS:
            raise SegnbError(f"width={width!r}: give a multiple of {HEAD_CHANNELS}, the channels of an attention head.")
        (channels,) = in_channels
        self.project = nn.Linear(channels, width)
        self.classes = nn.Parameter(nn.init.trunc_normal_(torch.empty(classes, width), std=0.02))
        drops = [drop_path * layer / max(1, layers - 1) for layer in range(layers)]
        options = {"num_heads": width // HEAD_CHANNELS, "qkv_bias": True, "norm_layer": nn.LayerNorm}
        self.blocks = nn.Sequential(*(Block(width, drop_path=drop, **options) for drop in drops))
        self.norm = nn.LayerNorm(width)
        self.project_patches = nn.Linear(width, width, bias=False)
        self.project_classes = nn.Linear(width, width, bias=False)
        self.classify = Compare(classes)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (c5,) into logits (B, classes, H/16, W/16)."""
        (x,) = features
        batch, count = x.shape[0], self.classes.shape[0]
        patches = self.project(x.flatten(2).mT)  # (B, h·w, width)
        tokens = torch.cat([self.classes.expand(batch, -1, -1), patches], dim=1)
        tokens = self.norm(self.blocks(tokens))
        classes, patches = self.project_classes(tokens[:, :count]), self.project_patches(tokens[:, count:])
        return self.classify(patches.mT.reshape(batch, patches.shape[2], *x.shape[-2:]), classes)
