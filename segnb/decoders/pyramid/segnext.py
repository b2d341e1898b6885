"""SegNeXt: rebuild the map as a sum of a few parts; what is left out is noise.

    c3 (B, C3, H/8,  W/8)  ────────┐
    c4 (B, C4, H/16, W/16) ── ×2 ──┼─ concat ── 1×1, 256 ─┬────────────────────────────────────────────┬─ + ── 1×1, 256
    c5 (B, C5, H/32, W/32) ── ×4 ──┘                      └─ 1×1 ── ReLU ── rebuilt from parts ── 1×1 ─┘          │
                                                                     (B, classes, H/8, W/8) ◀── classify ─────────┘

    rebuilt:    X (256, h·w) ≈ D (256, 16) · A (16, h·w), none of them below 0
                D: what each part looks like        A: how much of each part there is in each pixel
    six times:  A ← A · DᵀX / (DᵀD·A)       D ← D · X·Aᵀ / (D·A·Aᵀ)       no step takes D·A farther away from X

Why: attention asks what all pixels have in common, and compares all pairs of them; a product of two narrow matrices finds it too.
Paper: Guo et al., NeurIPS 2022, https://arxiv.org/abs/2209.08575, section 3.2 and figure 3 (c). Rebuilding, the "Hamburger": Geng
et al., ICLR 2021, https://arxiv.org/abs/2109.04553, section 2.2; the steps: Lee and Seung, NeurIPS 2000, theorem 1.
Differs from the paper: D starts from one fixed set of random numbers, not from new ones for every picture. So a picture has one
answer, whatever stands beside it in the batch and whichever file the model was exported to.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segnb.blocks import ConvNormAct, group_norm, resize_like
from segnb.parts.attention import classifier

EPSILON = 1e-6  # keeps a division by 0 finite


def without_autocast(device: str) -> AbstractContextManager[object]:
    """Compute in the type that tensors have: sums over all pixels leave the range of half precision."""
    active = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if active else nullcontext()


class Parts(nn.Module):
    """Rebuild a map from a few parts, by non-negative matrix factorisation: (B, C, h, w) of 0 and more -> the same.

    The random numbers that the parts start from are drawn once, by NumPy, whose generator gives the same ones on every machine.
    They are no weights: no file has them, an exported graph holds them as a constant.

    Args:
        channels: C.
        parts: how many.
        rounds: how often amounts and parts are improved in training; once more otherwise, as the released models were measured.
    """

    def __init__(self, channels: int, parts: int, rounds: int) -> None:
        super().__init__()
        self.rounds = rounds
        drawn = torch.tensor(np.random.default_rng(0).random((1, channels, parts), dtype=np.float32))
        self.register_buffer("start", F.normalize(drawn, dim=1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Find parts and amounts, and multiply them."""
        exact = torch.promote_types(x.dtype, torch.float32)
        with without_autocast(x.device.type):
            pixels = x.flatten(2).to(exact)  # (B, C, h·w)
            parts = self.start.to(exact).expand(x.shape[0], -1, -1)  # (B, C, parts)
            amounts = (pixels.mT @ parts).softmax(dim=2)  # (B, h·w, parts)
            for _ in range(self.rounds if self.training else self.rounds + 1):
                amounts = improve(amounts, pixels.mT, parts)
                parts = improve(parts, pixels, amounts)
            amounts = improve(amounts, pixels.mT, parts)
            return (parts @ amounts.mT).reshape(x.shape).to(x.dtype)


def improve(left: Tensor, product: Tensor, right: Tensor) -> Tensor:
    """Bring left · rightᵀ nearer to a product: (B, n, r), (B, n, m), (B, m, r), none below 0 -> a better (B, n, r)."""
    return left * (product @ right) / (left @ (right.mT @ right) + EPSILON)


class SegNeXt(nn.Module):
    """Light Hamburger over three levels.

    Args:
        in_channels: channels of each level, fine to coarse: (C3, C4, C5).
        classes: channels of the returned logits.
        width: channels in between (paper: 256 for MSCAN-T and S, 512 for B, 1024 for L).
        parts: that the map is rebuilt from.
        rounds: of the search for them in training, see `Parts`.
        dropout: probability of dropping a whole channel before the classifier.
    """

    strides = (8, 16, 32)

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        width: int = 256,
        parts: int = 16,
        rounds: int = 6,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.narrow = ConvNormAct(sum(in_channels), width, 1, norm=group_norm)
        self.open = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU())
        self.rebuild = Parts(width, parts, rounds)
        self.join = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), group_norm(width))
        self.mix = ConvNormAct(width, width, 1, norm=group_norm)
        self.classify = classifier(width, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn c3, c4, c5 into logits (B, classes, H/8, W/8)."""
        x = self.narrow(torch.cat([resize_like(level, features[0]) for level in features], dim=1))
        rebuilt = self.join(self.rebuild(self.open(x)))
        return self.classify(self.mix((x + rebuilt).relu()))
