"""Details in which other libraries compute a backbone differently from timm: a finished backbone, changed in place.

Weights from there give the same logits only if these are the same too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.swin_transformer import SwinTransformerBlock
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from segnb.encoders.convolutions import dilate_whole_stages
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
    """timm's vision transformer with a class token, its table of positions resized bilinearly."""

    def _pos_embed(self, x: Tensor) -> Tensor:
        """Add class token and positions to patches: (B, h, w, C) -> (B, 1 + h·w, C)."""
        first, table = self.pos_embed[:, :1], self.pos_embed[:, 1:].mT.unflatten(2, self.patch_embed.grid_size)
        table = F.interpolate(table, size=x.shape[1:3], mode="bilinear", align_corners=False)
        tokens = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x.flatten(1, 2)], dim=1)
        return self.pos_drop(tokens + torch.cat([first, table.flatten(2).mT], dim=1))


def resize_positions_bilinearly(backbone: nn.Module) -> None:
    """Fit a table of positions to other picture sizes as transformers does; timm's way is bicubic and smoothed."""
    for module in backbone.modules():
        if type(module) is VisionTransformer and module.num_prefix_tokens == 1 and not module.no_embed_class:
            module.__class__ = BilinearVisionTransformer


def set_layer_norm_eps(backbone: nn.Module, eps: float) -> None:
    """Set the small number under the root of every layer normalisation."""
    for module in backbone.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = eps


# Options of an encoder that change the finished backbone.
CHANGES: dict[str, Callable[[nn.Module, Any], None]] = {
    "dilate_first": lambda backbone, _: dilate_whole_stages(backbone),
    "layer_norm_eps": set_layer_norm_eps,
    "pad_before_shift": lambda backbone, _: pad_before_shift(backbone),
    "bilinear_positions": lambda backbone, _: resize_positions_bilinearly(backbone),
}


def change(backbone: nn.Module, tweaks: Mapping[str, Any]) -> None:
    """Make the changes that are asked for."""
    for name, function in CHANGES.items():
        if tweaks.get(name):
            function(backbone, tweaks[name])
