"""K-Net: the classifier's weights, its kernels, learn from the very picture that they classify, three times over.

    levels ── UPerNet's pyramid ── x (B, 512, H/4, W/4) ── 1×1 classify ── guess (stage)
                                   │      its weights: kernels (classes, 512) ──┐
                                   ▼                                            ▼
    guess ── softmax ─ × ─ ÷1×1(x) ─── regions (classes, 512) ─────────────── adapt ── kernels attend to kernels ── MLP ─┐
                         │                                                                                               │
                         └──────────────── × ◀── linear ── kernels ◀─────────────────────────────────────────────────────┤
                                           │                                                                             ▼
                                   logits (B, classes, H/4, W/4): the next guess (stage), the last is final        kernels, again

    adapt:  gate = linear(region) · linear(kernel);   kernel = σ(linear(gate)) · linear(region) + σ(linear(gate)) · linear(kernel)

Why: a kernel that knows what its class looks like here, and which classes are beside it, tells them apart better than one for all
pictures. What makes x may be any head.
Paper: Zhang et al., NeurIPS 2021, https://arxiv.org/abs/2106.14855, sections 3.2 and 3.3 and equations 3 to 5.
Differs from the paper: kernels are adapted in pieces of 256 channels, each by itself with the same weights, as in the released
ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from timm.layers import Mlp
from timm.models.vision_transformer import Attention
from torch import Tensor, nn

from segnb.blocks import ASPP, Stages
from segnb.errors import SegnbError
from segnb.parts.attention import RelateBetween, classifier
from segnb.parts.contexts import PyramidPooling
from segnb.parts.pyramids import PyramidFusion

HEADS = 8
PIECE = 256  # channels of a kernel that are adapted together
# What makes the map of the first classifier from c5 alone.
ON_ONE_LEVEL: dict[str, Callable[[int, int], nn.Module]] = {
    "pspnet": PyramidPooling,
    "fcn": lambda channels, width: RelateBetween(channels, width, nn.Identity()),
    "deeplabv3": lambda channels, width: ASPP(channels, width, (12, 24, 36), dropout=0.0, kernel_size=3),
}


def normed(channels: int) -> nn.Sequential:
    """A linear layer and its normalisation, (..., C) -> (..., C)."""
    return nn.Sequential(nn.Linear(channels, channels), nn.LayerNorm(channels))


class Adapt(nn.Module):
    """Mix into each kernel what its region shows, both weighed by how they agree: (B, K, C), (B, K, C) -> (B, K, C).

    Args:
        channels: C, cut into pieces of `PIECE` channels, or of what divides both.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.piece = math.gcd(channels, PIECE)
        self.see_region = nn.Linear(self.piece, 2 * self.piece)
        self.see_kernel = nn.Linear(self.piece, 2 * self.piece)
        self.weigh_region, self.weigh_kernel = normed(self.piece), normed(self.piece)
        self.norm_region, self.norm_kernel = nn.LayerNorm(self.piece), nn.LayerNorm(self.piece)
        self.mix = nn.Sequential(normed(self.piece), nn.ReLU(inplace=True))

    def forward(self, kernels: Tensor, regions: Tensor) -> Tensor:
        """Return the new kernels."""
        pieces = (kernels.shape[2] // self.piece, self.piece)
        region_gate, region = self.see_region(regions.unflatten(2, pieces)).chunk(2, dim=3)
        kernel_gate, kernel = self.see_kernel(kernels.unflatten(2, pieces)).chunk(2, dim=3)
        gate = region_gate * kernel_gate
        kept = self.weigh_kernel(gate).sigmoid() * self.norm_kernel(kernel)
        learnt = self.weigh_region(gate).sigmoid() * self.norm_region(region)
        return self.mix(learnt + kept).flatten(2)


class Update(nn.Module):
    """One round: (B, C, h, w), kernels (B, K, C), logits (B, K, h, w) -> the map as it is read, the next kernels.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.read = nn.Conv2d(channels, channels, 1)
        self.adapt = Adapt(channels)
        self.attend = Attention(channels, num_heads=math.gcd(channels, HEADS), qkv_bias=True)
        self.norm_attended = nn.LayerNorm(channels)
        self.think = Mlp(channels, 4 * channels, act_layer=nn.ReLU)
        self.norm_thought = nn.LayerNorm(channels)
        linear, last = nn.Linear(channels, channels, bias=False), nn.Linear(channels, channels)
        self.make_weights = nn.Sequential(linear, nn.LayerNorm(channels), nn.ReLU(inplace=True), last)

    def forward(self, x: Tensor, kernels: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Gather each class's region, and let its kernel learn from it and from the other kernels."""
        x = self.read(x)
        belongs = logits.softmax(dim=1) if logits.shape[1] > 1 else logits.sigmoid()
        kernels = self.adapt(kernels, torch.einsum("bkhw,bchw->bkc", belongs, x))
        kernels = self.norm_attended(kernels + self.attend(kernels))
        return x, self.norm_thought(kernels + self.think(kernels))


class ApplyKernels(nn.Module):
    """A 1×1 convolution with the weights of each picture: (B, C, h, w), (B, K, C) -> (B, K, h, w)."""

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Multiply every pixel with every kernel."""
        return torch.einsum("bkc,bchw->bkhw", weights, x)


class KNet(nn.Module):
    """Kernels that are updated again and again.

    Args:
        in_channels: channels of each level, fine to coarse: (C2, C3, C4, C5); (C5,) for heads on one level.
        classes: channels of the returned logits.
        head: what makes the map: ``"upernet"`` of four levels; ``"pspnet"``, ``"fcn"`` or ``"deeplabv3"`` of the last one.
        width: channels of the map and of the kernels.
        rounds: how often the kernels are updated.
        dropout: probability of dropping a whole channel before the first classifier.
        encoder_output_stride: the encoder's largest stride: 8 in the paper for heads on one level, 16 or 32.
    """

    strides = (4, 8, 16, 32)

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        head: str = "upernet",
        width: int = 512,
        rounds: int = 3,
        dropout: float = 0.1,
        encoder_output_stride: int = 32,
    ) -> None:
        super().__init__()
        if head not in ("upernet", *ON_ONE_LEVEL):
            raise SegnbError(f"head={head!r}: give 'upernet', 'pspnet', 'fcn' or 'deeplabv3'.")
        self.on_one_level = head in ON_ONE_LEVEL
        self.decode = (
            ON_ONE_LEVEL[head](*in_channels, width) if self.on_one_level else PyramidFusion(in_channels, width)
        )
        self.guess = classifier(width, classes, dropout)
        self.update = nn.ModuleList(Update(width) for _ in range(rounds))
        self.classify = ApplyKernels()

    @classmethod
    def strides_for(cls, depth: int, settings: Mapping[str, Any]) -> tuple[int, ...]:
        """Say which levels to read, given the encoder's depth and the options."""
        strides = cls.strides if settings["head"] == "upernet" else cls.strides[-1:]
        return tuple(dict.fromkeys(min(stride, 2**depth) for stride in strides))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn features, fine to coarse, into logits (B, classes, H/4, W/4)."""
        return self.forward_all(features).logits[-1]

    def forward_all(self, features: list[Tensor]) -> Stages:
        """The first guess, and the logits after each round."""
        x = self.decode(*features) if self.on_one_level else self.decode(features)
        stages = [self.guess(x)]
        # A copy: a view of a parameter wants a gradient even where there is none, and PyTorch's counters refuse it.
        kernels = self.guess[-1].weight.flatten(1).repeat(x.shape[0], 1, 1)
        for update in self.update:
            seen, kernels = update(x, kernels, stages[-1])
            stages.append(self.classify(seen, update.make_weights(kernels)))
        return Stages(stages, {})
