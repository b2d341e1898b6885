"""The decoders, computing the same with less: what is convolved at a coarse size need not be convolved at a fine one.

Every module here takes the place of a finished one and is made from its weights, after `fuse_sequences`: a `ConvNormAct` then
starts with a `Conv`, in which batch normalisation and ReLU are contained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from timm.models.resnet import BasicBlock, Bottleneck
from torch import Tensor, nn

from segnb.blocks import ASPP, UpBlock, pool_to_grid, resize_like
from segnb.decoders.pyramid.dpt import DPT, Residual
from segnb.decoders.pyramid.fpn import FPN
from segnb.decoders.pyramid.linknet import LinkNetStep
from segnb.decoders.pyramid.manet import Fuse
from segnb.decoders.pyramid.segformer import SegFormer
from segnb.decoders.pyramid.upernet import UPerNet
from segnb.optimizing.enlarging import DoubledConv, ResizedConv, doubled_transposed
from segnb.optimizing.folding import fuse_graph, fuse_sequences, pack
from segnb.optimizing.layers import Conv, is_tracing
from segnb.parts.contexts import PyramidPooling
from segnb.parts.pyramids import PyramidFusion


def adopt(new: nn.Module, old: nn.Module) -> None:
    """Give a new module everything that an old one has: a class can then change its parent's forward alone."""
    new.__dict__.update({name: dict(value) if isinstance(value, dict) else value for name, value in vars(old).items()})


def with_weight(conv: nn.Conv2d, weight: Tensor, bias: Tensor | None = None, act: nn.Module | None = None) -> Conv:
    """Make a convolution of the same kind with another weight."""
    padding = [conv.dilation[axis] * (weight.shape[2 + axis] // 2) for axis in (0, 1)]
    made = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:], 1, padding, conv.dilation, device="meta")
    made.weight = nn.Parameter(weight.detach().contiguous(), requires_grad=False)
    made.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
    return Conv(made, act)


def split(conv: Conv, widths: Sequence[int]) -> list[Conv]:
    """Split a convolution of joined maps into one for each; the last has the bias and the activation.

    conv(cat[a, b]) = act(conv_a(a) + conv_b(b))
    """
    *first, last = conv.weight.split(list(widths), dim=1)
    return [*(with_weight(conv, weight) for weight in first), with_weight(conv, last, conv.bias, conv.act)]


class FastUpBlock(nn.Module):
    """A step of a U-Net: the first convolution sees the coarse map before it is doubled."""

    def __init__(self, block: UpBlock) -> None:
        super().__init__()
        (conv, *rest), second = block.mix
        self.skip, coarse = None, conv
        if conv.in_channels > block.in_channels:
            coarse, self.skip = split(conv, [block.in_channels, conv.in_channels - block.in_channels])
        self.enlarge = DoubledConv(coarse.weight, coarse.bias, coarse.act)
        self.finish = nn.Sequential(*rest, second, block.weigh_mixed)

    def forward(self, x: Tensor, *skips: Tensor) -> Tensor:
        """Return the finer map."""
        doubled = self.enlarge(x, *skips[:1])  # an empty skip tells the size
        if self.skip is not None:
            doubled = self.skip(skips[0] if len(skips) == 1 else torch.cat(skips, dim=1), plus=doubled)
        return self.finish(doubled)


class FastFuse(nn.Module):
    """A step of MA-Net: the weights of the channels are given to the coarse map."""

    def __init__(self, block: Fuse) -> None:
        super().__init__()
        (conv, *rest), second = block.mix
        coarse, self.skip = split(conv, [conv.in_channels // 2] * 2)
        self.enlarge = DoubledConv(coarse.weight)
        self.finish = nn.Sequential(*rest, second)
        self.project, self.weigh_by_coarse, self.weigh_by_skip = (
            block.project,
            block.weigh_by_coarse,
            block.weigh_by_skip,
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return the finer map."""
        x = self.project(x)
        # The mean of a doubled map is that of the map, unless a row or column is cut off.
        whole = not is_tracing() and skip.shape[-2:] == (2 * x.shape[-2], 2 * x.shape[-1])
        weights = self.weigh_by_coarse(x if whole else resize_like(x, skip, mode="nearest")) + self.weigh_by_skip(skip)
        return self.finish(self.skip(skip, plus=self.enlarge(x * weights, skip)))


class FastLinkNetStep(LinkNetStep):
    """A step of LinkNet: its transposed convolution becomes four."""

    def __init__(self, step: LinkNetStep) -> None:
        adopt(self, step)
        conv, *rest = step.enlarge
        open_act = len(rest) == 1 and isinstance(rest[0], nn.ReLU)
        self.enlarge = doubled_transposed(conv, rest[0]) if open_act else nn.Sequential(doubled_transposed(conv), *rest)


class FastFPN(FPN):
    """FPN: the finest level of the pyramid, which nobody else reads, is never computed.

    conv3×3(conv1×1(c2) + double(p3)) = (conv3×3 ∘ conv1×1)(c2) + conv3×3(double(p3 + bias of the 1×1))
    """

    def __init__(self, fpn: FPN) -> None:
        adopt(self, fpn)
        (conv, *rest), *more = fpn.branches[0]
        project = fpn.project[0]
        composed = torch.einsum("omkl,mi->oikl", conv.weight, project.weight[..., 0, 0])
        self.see_fine = with_weight(conv, composed, conv.bias, conv.act)
        self.see_coarse = DoubledConv(conv.weight)
        self.register_buffer("fine_bias", project.bias.detach()[:, None, None])
        self.finish = nn.Sequential(*rest, *more)
        self.branches = nn.ModuleList([nn.Identity(), *list(fpn.branches)[1:]])
        self.project = nn.ModuleList([nn.Identity(), *list(fpn.project)[1:]])

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn features, fine to coarse, into logits (B, classes, H/4, W/4)."""
        pyramid = [project(feature) for project, feature in zip(self.project, features, strict=True)]
        for level in range(len(pyramid) - 2, 0, -1):
            pyramid[level] = pyramid[level] + resize_like(pyramid[level + 1], pyramid[level], mode="nearest")
        coarse = self.see_coarse(pyramid[1] + self.fine_bias, pyramid[0])
        merged = self.finish(self.see_fine(pyramid[0], plus=coarse))
        others = [self.climb(pyramid, level) for level in range(1, len(pyramid))]
        if self.merge_policy == "cat":
            return self.classify(torch.cat([*others[::-1], merged], dim=1))
        for other in others:
            merged = merged + other
        return self.classify(merged)


class FastSegFormer(nn.Module):
    """SegFormer: projection and mixing are one 1×1 convolution per level, at the level's own size.

    mix(cat[resize(project(c))]) = act(Σ resize((mix_c ∘ project_c)(c)) + biases)
    """

    def __init__(self, decoder: SegFormer) -> None:
        super().__init__()
        self.align_corners, self.quarter, self.classify = decoder.align_corners, decoder.quarter, decoder.classify
        conv, *rest = decoder.mix
        bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias
        self.mix = nn.ModuleList()
        shares = conv.weight[..., 0, 0].chunk(len(decoder.project), dim=1)[::-1]
        for project, share in zip(decoder.project, shares, strict=True):
            composed = share @ project.weight[..., 0, 0]
            bias = bias + share @ project.bias
            self.mix.append(with_weight(conv, composed[..., None, None]))
        self.mix[self.quarter] = with_weight(conv, self.mix[self.quarter].weight, bias)
        self.finish = nn.Sequential(conv.act, *rest)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn features, fine to coarse, into logits (B, classes, H/4, W/4)."""
        quarter = features[self.quarter]
        mixed: Tensor | None = None
        for level, (mix, feature) in enumerate(zip(self.mix, features, strict=True)):
            if level < self.quarter:
                mixed = mix(resize_like(feature, quarter))
            elif level == self.quarter:
                mixed = mix(feature, plus=mixed)
            else:
                mixed = mixed + resize_like(mix(feature), quarter)
        return self.classify(self.finish(mixed))


class FastASPP(ASPP):
    """ASPP: nothing is joined; the mean of the map, the same everywhere, adds a number to each channel."""

    def __init__(self, pool: ASPP) -> None:
        adopt(self, pool)
        conv, *rest = pool.project[0]
        widths = [look[-1].out_channels for look in pool.look]
        *self.parts, summary = split(conv, [*widths, conv.in_channels - sum(widths)])
        self.finish = nn.Sequential(conv.act, *rest)
        self.parts, self.summary = nn.ModuleList(self.parts), Conv(summary)
        del self.project

    def forward(self, x: Tensor) -> Tensor:
        """Look through every window and add up what was seen."""
        seen: Tensor | None = None
        for look, part in zip(self.look, self.parts, strict=True):
            seen = part(look(x), plus=seen)
        return self.finish(seen + self.summary(self.summarise(x)))


class FastPyramidPooling(PyramidPooling):
    """Pyramid pooling: the 3×3 convolution sees each window once, however many pixels it covers."""

    def __init__(self, pool: PyramidPooling) -> None:
        adopt(self, pool)
        conv, *rest = pool.mix
        width, count = conv.out_channels, len(pool.look)
        fine, *windows = conv.weight.split([conv.in_channels - width * count, *[width] * count], dim=1)
        self.see_map = with_weight(conv, fine, conv.bias, conv.act)
        self.see_windows = nn.ModuleList(ResizedConv(weight, pool.align_corners) for weight in windows)
        self.finish = nn.Sequential(*rest)
        del self.mix

    def forward(self, x: Tensor) -> Tensor:
        """Look through every grid of windows and add up what was seen."""
        windows = [look(pool_to_grid(x, bins)) for look, bins in zip(self.look, self.grids, strict=True)]
        seen = [see(window, *x.shape[-2:]) for see, window in zip(self.see_windows, windows, strict=True)]
        return self.finish(self.see_map(x, plus=sum(seen)))


class FastPyramidFusion(PyramidFusion):
    """UPerNet's pyramid: the last 3×3 convolution sees each level at its own size."""

    def __init__(self, fusion: PyramidFusion) -> None:
        adopt(self, fusion)
        conv, *rest = fusion.mix
        finest, *coarser = conv.weight.chunk(len(fusion.level_norms), dim=1)
        self.see_finest = with_weight(conv, finest, conv.bias, conv.act)
        self.see_coarser = nn.ModuleList(ResizedConv(weight) for weight in coarser)
        self.finish = nn.Sequential(*rest)
        del self.mix

    def forward(self, features: list[Tensor]) -> Tensor:
        """Read all levels of the pyramid at the size of the finest."""
        finest, *coarser = self.pyramid(features)
        seen = [see(x, *finest.shape[-2:]) for see, x in zip(self.see_coarser, coarser, strict=True)]
        return self.finish(self.see_finest(finest, plus=sum(seen)))


class FastUPerNet(FastPyramidFusion):
    """UPerNet: a pyramid and a classifier."""

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn features, fine to coarse, into logits (B, classes, H/4, W/4)."""
        return self.classify(super().forward(features))


class FastResidual(Residual):
    """DPT's residual block: the addition is part of the second convolution."""

    def __init__(self, block: Residual) -> None:
        adopt(self, block)

    def forward(self, x: Tensor) -> Tensor:
        """Add what two convolutions make of the map."""
        act, first, second = self
        return second(first(act(x)), plus=x)


class FastDPT(DPT):
    """DPT: the last 3×3 convolution sees the map before it is doubled."""

    def __init__(self, decoder: DPT) -> None:
        adopt(self, decoder)
        conv, *rest = decoder.mix
        self.see_coarse = ResizedConv(conv.weight, decoder.align_corners, bias=conv.bias)
        self.finish = nn.Sequential(conv.act, *rest)
        del self.mix

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn maps, shallow to deep, and their tokens into logits (B, classes, H/2, W/2)."""
        fused = self.fuse(features)
        return self.classify(self.finish(self.see_coarse(fused, 2 * fused.shape[-2], 2 * fused.shape[-1])))


def rewrite_up_block(block: UpBlock) -> nn.Module:
    """Rewrite a step of a U-Net, if it doubles plainly and weighs nothing before its convolutions."""
    plain = block.interpolation == "nearest" and isinstance(block.weigh_joined, nn.Identity)
    return FastUpBlock(block) if plain else block


REWRITES: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    UpBlock: rewrite_up_block,
    Fuse: lambda block: FastFuse(block) if block.interpolation == "nearest" else block,
    LinkNetStep: FastLinkNetStep,
    ASPP: lambda pool: FastASPP(pool) if pool.project[0][0].kernel_size == (1, 1) else pool,
    PyramidPooling: FastPyramidPooling,
    PyramidFusion: FastPyramidFusion,
    Residual: lambda block: FastResidual(block) if len(block) == 3 else block,
    FPN: lambda fpn: fpn if fpn.smooth else FastFPN(fpn),
    SegFormer: lambda decoder: FastSegFormer(decoder) if isinstance(decoder.project[0], nn.Conv2d) else decoder,
    UPerNet: FastUPerNet,
    DPT: FastDPT,
    BasicBlock: fuse_graph,
    Bottleneck: fuse_graph,
}


def rewrite(decoder: nn.Module) -> nn.Module:
    """Return a decoder that computes the same with less, made of another one, which is used up."""
    fuse_sequences(decoder)
    for name, module in list(decoder.named_modules())[::-1]:  # parts before the whole
        if type(module) in REWRITES:
            new = REWRITES[type(module)](module)
            if name:
                decoder.set_submodule(name, new)
            else:
                decoder = new
    return pack(decoder)
