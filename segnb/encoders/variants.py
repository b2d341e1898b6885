"""Details in which other libraries compute a backbone differently from timm: a finished backbone, changed in place.

Weights from there give the same logits only if these are the same too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import AvgPool2dSame, PatchEmbed
from timm.models.hrnet import HighResolutionModule
from timm.models.resnet import BasicBlock
from timm.models.swin_transformer import SwinTransformerBlock
from timm.models.twins import Block, LocallyGroupedAttn
from timm.models.twins import PatchEmbed as TwinsPatchEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from segnb.blocks import resize_like
from segnb.encoders.convolutions import dilate_only_first_blocks, dilate_whole_stages
from segnb.encoders.sizes import shrunk


class PaddedSwinBlock(SwinTransformerBlock):
    """timm's block of a Swin transformer, with whole windows before the shift: (B, H, W, C) -> (B, H, W, C)."""

    def _attn(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        (window_height, window_width) = self.window_size
        rows = shrunk((height, width), window_height)[0] * window_height
        columns = shrunk((height, width), window_width)[1] * window_width
        padded = F.pad(x, (0, 0, 0, columns - width, 0, rows - height))
        return super()._attn(padded)[:, :height, :width]


def pad_before_shift(backbone: nn.Module) -> None:
    """Let Swin's shifted windows wrap around the padded map, as in transformers and MMSegmentation; timm pads after the shift."""
    for module in backbone.modules():
        if type(module) is SwinTransformerBlock:
            module.__class__ = PaddedSwinBlock


class BilinearVisionTransformer(VisionTransformer):
    """timm's vision transformer with a class token or none, its table of positions resized bilinearly."""

    resizing = "bilinear"

    def _pos_embed(self, x: Tensor) -> Tensor:
        """Add the class token, if there is one, and positions to patches: (B, h, w, C) -> (B, (1 +) h·w, C)."""
        count = self.num_prefix_tokens
        first, table = self.pos_embed[:, :count], self.pos_embed[:, count:].mT.unflatten(2, self.patch_embed.grid_size)
        table = F.interpolate(table, size=x.shape[1:3], mode=self.resizing, align_corners=False)
        tokens = x.flatten(1, 2) + table.flatten(2).mT
        if count:
            tokens = torch.cat([(self.cls_token + first).expand(x.shape[0], -1, -1), tokens], dim=1)
        return self.pos_drop(tokens)


class BicubicVisionTransformer(BilinearVisionTransformer):
    """timm's vision transformer with a class token, its table of positions resized bicubically, and not smoothed."""

    resizing = "bicubic"


def resize_positions(backbone: nn.Module, how: type[VisionTransformer]) -> None:
    """Fit a table of positions to other picture sizes as transformers and MMSegmentation do; timm smooths it as well."""
    for module in backbone.modules():
        if type(module) is VisionTransformer and module.num_prefix_tokens <= 1 and not module.no_embed_class:
            module.__class__ = how


class BilinearFusion(HighResolutionModule):
    """timm's exchange between the branches of HRNet, fine to coarse, with coarser maps enlarged bilinearly to any size."""

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        """Let every branch compute, then give each the sum of all: [(B, C_i, h_i, w_i), ...] -> the same shapes."""
        x = [branch(level) for branch, level in zip(self.branches, x, strict=True)]
        return [
            self.fuse_act(sum(resize_like(bring(level), own) for bring, level in zip(fuse, x, strict=True)))
            for fuse, own in zip(self.fuse_layers, x, strict=True)
        ]


def fuse_bilinearly(backbone: nn.Module) -> None:
    """Enlarge maps between HRNet's branches bilinearly, as in its segmentation code and MMSegmentation; timm repeats pixels."""
    for module in backbone.modules():
        if type(module) is HighResolutionModule:
            module.__class__ = BilinearFusion
        elif isinstance(module, nn.Upsample):
            module.mode = "bilinear"


class PaddedPatchEmbed(TwinsPatchEmbed):
    """Twins' cut into patches, after rows and columns of zeros that make them whole: (B, C, H, W) -> (B, h·w, width), (h, w)."""

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Pad below and to the right, and embed."""
        sides = x.shape[-2:]
        rows, columns = (shrunk(sides, patch)[axis] * patch for axis, patch in enumerate(self.patch_size))
        return super().forward(F.pad(x, (0, columns - sides[1], 0, rows - sides[0])))


def pad_patches(backbone: nn.Module) -> None:
    """Let pictures of any size be cut into patches of Swin and Twins, at each level where that happens."""
    for module in backbone.modules():
        if isinstance(module, PatchEmbed):
            module.dynamic_img_pad = True
        elif type(module) is TwinsPatchEmbed:
            module.__class__ = PaddedPatchEmbed


def into_windows(x: Tensor, side: int) -> Tensor:
    """Cut a map into windows: (B, H, W, C) -> (B, windows, side², C)."""
    rows, columns = x.shape[1] // side, x.shape[2] // side
    return x.unflatten(2, (columns, side)).unflatten(1, (rows, side)).transpose(2, 3).flatten(3, 4).flatten(1, 2)


class MaskedLocalAttention(LocallyGroupedAttn):
    """timm's attention within windows, where what is padded on both sides attends to itself only: (B, h·w, C) -> the same.

    A window that is padded along one side alone is not masked in MMSegmentation, and so not here.
    """

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Pad a map of (h, w) to whole windows, attend within each, and cut the padding off."""
        (height, width), side = size, self.ws
        rows, columns = shrunk(size, side)
        below, beside = rows * side - height, columns * side - width
        padded = F.pad(x.unflatten(1, size), (0, 0, 0, beside, 0, below))
        attended = self._attend(into_windows(padded, side), self._mark_padding(size, rows, columns, x))
        windows = attended.unflatten(1, (side, side)).unflatten(0, (x.shape[0], rows, columns))
        joined = windows.transpose(2, 3).flatten(3, 4).flatten(1, 2)
        return self.proj_drop(self.proj(F.pad(joined, (0, 0, 0, -beside, 0, -below)).flatten(1, 2)))

    def _mark_padding(self, size: tuple[int, int], rows: int, columns: int, like: Tensor) -> Tensor:
        """Say which pixels of each window are padding, if there is any along both sides: (1, windows, side²)."""
        below = torch.arange(rows * self.ws, device=like.device) >= size[0]
        beside = torch.arange(columns * self.ws, device=like.device) >= size[1]
        outside = (below[:, None] | beside) & below.any() & beside.any()
        return into_windows(outside[None, :, :, None], self.ws)[..., 0]

    def _attend(self, windows: Tensor, marks: Tensor) -> Tensor:
        """Attend within windows, (B, windows, pixels, C), to pixels with the same mark: -> (B·windows, pixels, C)."""
        batch, count, pixels, channels = windows.shape
        parts = self.qkv(windows).unflatten(3, (3, self.num_heads, channels // self.num_heads)).flatten(0, 1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        same = (marks[..., None] == marks[:, :, None]).expand(batch, count, pixels, pixels).flatten(0, 1)[:, None]
        dropped = self.attn_drop.p if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=same, dropout_p=dropped)
        return attended.transpose(1, 2).flatten(2)


class NormalisingBlock(Block):
    """timm's block of Twins, with a normalisation after it: (B, h·w, C) -> the same."""

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Compute as timm does, and normalise."""
        return self.norm_after(super().forward(x, size))


def normalise_stages(backbone: nn.Module) -> None:
    """Normalise what each stage of Twins hands on, as MMSegmentation's SVT does."""
    stages = [module for module in backbone.modules() if isinstance(module, nn.ModuleList)]
    for last in [stage[-1] for stage in stages if type(stage[-1]) is Block]:
        last.__class__ = NormalisingBlock
        last.norm_after = copy.deepcopy(last.norm1)
        last.norm_after.reset_parameters()


def mask_padding(backbone: nn.Module) -> None:
    """Keep what pads the windows of Twins-SVT out of the attention, as MMSegmentation does."""
    for module in backbone.modules():
        if type(module) is LocallyGroupedAttn:
            module.__class__ = MaskedLocalAttention


def skip_pooling_without_stride(backbone: nn.Module) -> None:
    """Leave shortcuts as they are where dilation takes the place of a stride; timm's ResNet-D averages 2×2 pixels there too."""
    for name, module in list(backbone.named_modules()):
        if type(module) is AvgPool2dSame and module.stride == (1, 1):
            backbone.set_submodule(name, nn.Identity())


def dilate_stages(backbone: nn.Module, dilations: Sequence[int]) -> None:
    """Dilate the stages of a ResNet beside their strides, the first block of each half as much: FastFCN's in MMSegmentation."""
    for number, dilation in enumerate(dilations, start=1):
        for place, block in enumerate(getattr(backbone, f"layer{number}", ())):
            rate = dilation if place else max(1, dilation // 2)
            for conv in block.modules():
                if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
                    conv.dilation = conv.padding = (rate, rate)


def dilate_only_first_convolutions(backbone: nn.Module) -> None:
    """Dilate the first convolution of each block with two of them, not the second: MMSegmentation's ResNet-18 and -34."""
    for module in backbone.modules():
        if isinstance(module, BasicBlock):
            module.conv2.dilation = module.conv2.padding = (1, 1)


def set_layer_norm_eps(backbone: nn.Module, eps: float) -> None:
    """Set the small number under the root of every layer normalisation."""
    for module in backbone.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = eps


# Options of an encoder that change the finished backbone.
CHANGES: dict[str, Callable[[nn.Module, Any], None]] = {
    "dilate_first": lambda backbone, _: dilate_whole_stages(backbone),
    "dilate_only_first_blocks": lambda backbone, _: dilate_only_first_blocks(backbone),
    "dilate_only_first_convolutions": lambda backbone, _: dilate_only_first_convolutions(backbone),
    "skip_pooling_without_stride": lambda backbone, _: skip_pooling_without_stride(backbone),
    "stage_dilations": dilate_stages,
    "normalise_stages": lambda backbone, _: normalise_stages(backbone),
    "layer_norm_eps": set_layer_norm_eps,
    "fuse_bilinearly": lambda backbone, _: fuse_bilinearly(backbone),
    "pad_patches": lambda backbone, _: pad_patches(backbone),
    "pad_before_shift": lambda backbone, _: pad_before_shift(backbone),
    "mask_padding": lambda backbone, _: mask_padding(backbone),
    "bilinear_positions": lambda backbone, _: resize_positions(backbone, BilinearVisionTransformer),
    "bicubic_positions": lambda backbone, _: resize_positions(backbone, BicubicVisionTransformer),
}


def change(backbone: nn.Module, tweaks: Mapping[str, Any]) -> None:
    """Make the changes that are asked for."""
    for name, function in CHANGES.items():
        if tweaks.get(name):
            function(backbone, tweaks[name])
