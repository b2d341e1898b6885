"""MSCAN, the encoder of SegNeXt, made known to timm, which lacks it: ``mscan_t``, ``mscan_s``, ``mscan_b``, ``mscan_l``.

    image ── 3×3 ÷2 ── 3×3 ÷2 ── blocks ─▶ c2 (H/4) ── 3×3 ÷2 ── blocks ─▶ c3 (H/8) ─▶ c4 (H/16) ─▶ c5 (H/32)

    block      ─┬─ norm ── attention ── × scale ── + ─┬─ norm ── 1×1, 3×3, GELU, 1×1 ── × scale ── + ─▶
                └──────────────────────────────────┘  └────────────────────────────────────────────┘

    attention  ─┬─ 1×1, GELU ─┬─────────────────────────────────────── × ── 1×1 ── + ─▶
                │             └─ 5×5 ─┬───────────────────┬─ + ── 1×1 ─┘           │
                │                     ├── 1×7  ── 7×1  ───┤                        │
                │                     ├── 1×11 ── 11×1 ───┤   each channel by      │
                │                     └── 1×21 ── 21×1 ───┘   itself up to here    │
                └──────────────────────────────────────────────────────────────────┘

Why: what a pixel is depends on what is far around it. A row and then a column of weights see as far as a square window, for a
tenth of its price at 21×21, and suit things that are long and thin, such as poles and people.
Paper: Guo et al., NeurIPS 2022, https://arxiv.org/abs/2209.08575, section 3.1, figure 2 and table 2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from timm.layers import DropPath, LayerNorm2d
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

# Channels and blocks of each stage.
SIZES = {
    "mscan_t": ((32, 64, 160, 256), (3, 3, 5, 2)),
    "mscan_s": ((64, 128, 320, 512), (2, 2, 4, 2)),
    "mscan_b": ((64, 128, 320, 512), (3, 3, 12, 3)),
    "mscan_l": ((64, 128, 320, 512), (3, 5, 27, 3)),
}
EXPANSIONS = (8, 8, 4, 4)  # of the channels between the 1×1 convolutions of a block, for each stage
STRIPS = (7, 11, 21)
# Names in the weights of the authors and of MMSegmentation -> ours; stages are counted from 1 there.
RELEASED = [
    (r"^patch_embed1\.proj\.", "stages.0.downsample."),
    *((rf"^patch_embed{stage + 1}\.proj\.", f"stages.{stage}.downsample.0.") for stage in (1, 2, 3)),
    *((rf"^patch_embed{stage + 1}\.norm\.", f"stages.{stage}.downsample.1.") for stage in (1, 2, 3)),
    *((rf"^block{stage + 1}\.", f"stages.{stage}.blocks.") for stage in range(4)),
    *((rf"^norm{stage + 1}\.", f"stages.{stage}.norm.") for stage in range(4)),
    (r"\.attn\.proj_1\.", ".attend.project.0."),
    (r"\.attn\.spatial_gating_unit\.conv0\.", ".attend.look_near."),
    *(
        (rf"\.attn\.spatial_gating_unit\.conv{i}_{j + 1}\.", f".attend.look_far.{i}.{j}.")
        for i in range(3)
        for j in (0, 1)
    ),
    (r"\.attn\.spatial_gating_unit\.conv3\.", ".attend.weigh."),
    (r"\.attn\.proj_2\.", ".attend.join."),
    (r"\.mlp\.fc1\.", ".mix.0."),
    (r"\.mlp\.dwconv\.(dwconv\.)?", ".mix.1."),
    (r"\.mlp\.fc2\.", ".mix.3."),
    (r"\.layer_scale_", ".scale"),
]


def depthwise(channels: int, rows: int, columns: int) -> nn.Conv2d:
    """Convolve each channel by itself: (B, C, h, w) -> the same."""
    return nn.Conv2d(channels, channels, (rows, columns), padding=(rows // 2, columns // 2), groups=channels)


class MultiScaleAttention(nn.Module):
    """Weigh every value by what windows of four sizes see around it: (B, C, h, w) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.GELU())
        self.look_near = depthwise(channels, 5, 5)
        self.look_far = nn.ModuleList(
            nn.Sequential(depthwise(channels, 1, length), depthwise(channels, length, 1)) for length in STRIPS
        )
        self.weigh = nn.Conv2d(channels, channels, 1)
        self.join = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Add the weighed map."""
        values = self.project(x)
        near = self.look_near(values)
        seen = sum((look(near) for look in self.look_far), start=near)
        return x + self.join(self.weigh(seen) * values)


class Block(nn.Module):
    """Attention, then mixing of channels, each added to what comes in: (B, C, h, w) -> the same.

    Args:
        channels: C.
        expansion: how many times more channels there are in between.
        drop_path: probability that a picture skips a part in training.
    """

    def __init__(self, channels: int, expansion: int, drop_path: float) -> None:
        super().__init__()
        inner = channels * expansion
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.attend = MultiScaleAttention(channels)
        self.mix = nn.Sequential(
            nn.Conv2d(channels, inner, 1), depthwise(inner, 3, 3), nn.GELU(), nn.Conv2d(inner, channels, 1)
        )
        self.scale1, self.scale2 = (nn.Parameter(torch.full((channels,), 0.01)) for _ in range(2))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Add both parts."""
        x = x + self.drop_path(self.scale1[:, None, None] * self.attend(self.norm1(x)))
        return x + self.drop_path(self.scale2[:, None, None] * self.mix(self.norm2(x)))


class Stage(nn.Sequential):
    """Halve the map (the first stage: twice), and run its blocks: (B, in, h, w) -> (B, out, ⌈h/2⌉, ⌈w/2⌉)."""

    def __init__(self, downsample: nn.Module, blocks: Sequence[nn.Module], channels: int) -> None:
        super().__init__()
        self.downsample = downsample
        self.blocks = nn.Sequential(*blocks)
        self.norm = LayerNorm2d(channels, eps=1e-5)


def halve(in_channels: int, channels: int) -> list[nn.Module]:
    """(B, in, h, w) -> (B, out, ⌈h/2⌉, ⌈w/2⌉)."""
    return [nn.Conv2d(in_channels, channels, 3, stride=2, padding=1), nn.BatchNorm2d(channels)]


class MSCAN(nn.Module):
    """Multi-scale convolutional attention network: (B, in_chans, H, W) -> (B, C5, H/32, W/32).

    Args:
        in_chans: channels of the image.
        widths: channels of each stage.
        depths: blocks of each stage.
        drop_path_rate: probability that the last block is skipped in training; it rises from 0 at the first (the authors: 0.1,
            and 0.3 for ``mscan_l``).
    """

    def __init__(
        self, in_chans: int = 3, *, widths: Sequence[int], depths: Sequence[int], drop_path_rate: float = 0.0
    ) -> None:
        super().__init__()
        steps = iter(range(sum(depths)))
        rate = drop_path_rate / max(1, sum(depths) - 1)
        stages, before = [], in_chans
        for width, depth, expansion in zip(widths, depths, EXPANSIONS, strict=True):
            downsample = halve(before, width)
            if not stages:
                downsample = [*halve(before, width // 2), nn.GELU(), *halve(width // 2, width)]
            blocks = [Block(width, expansion, rate * next(steps)) for _ in range(depth)]
            stages.append(Stage(nn.Sequential(*downsample), blocks, width))
            before = width
        self.stages = nn.Sequential(*stages)
        # What timm reads feature maps by.
        self.feature_info = [
            {"num_chs": width, "reduction": 4 * 2**stage, "module": f"stages.{stage}"}
            for stage, width in enumerate(widths)
        ]
        self.apply(start)

    def forward(self, x: Tensor) -> Tensor:
        """Run all stages."""
        return self.stages(x)


def start(module: nn.Module) -> None:
    """Give a convolution random weights that keep the size of gradients (He et al., ICCV 2015, section 2.2)."""
    if isinstance(module, nn.Conv2d):
        fan_out = module.out_channels * math.prod(module.kernel_size) // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        nn.init.zeros_(module.bias)


def rename_released(name: str) -> str:
    """Turn the name of a tensor in released weights into ours; ours stay as they are."""
    for pattern, replacement in RELEASED:
        name = re.sub(pattern, replacement, name)
    return name


def read_released(tensors: dict[str, Tensor], _model: nn.Module) -> dict[str, Tensor]:
    """Bring released weights to our names, without the classifier."""
    return {rename_released(name): tensor for name, tensor in tensors.items() if not name.startswith("head.")}


def entry_point(name: str) -> Callable[..., nn.Module]:
    """Make the function that `timm.create_model` calls for one size."""
    widths, depths = SIZES[name]

    def build(pretrained: bool = False, **options: Any) -> nn.Module:
        return build_model_with_cfg(
            MSCAN,
            name,
            pretrained,
            pretrained_filter_fn=read_released,
            feature_cfg={"flatten_sequential": True, "out_indices": (0, 1, 2, 3)},
            kwargs_filter=("num_classes", "global_pool"),  # it has no classifier
            widths=widths,
            depths=depths,
            **options,
        )

    build.__name__ = name
    return build


# `register_model` looks for this name.
default_cfgs = generate_default_cfgs(
    {name: {"input_size": (3, 224, 224), "first_conv": "stages.0.downsample.0"} for name in SIZES}
)
for size in SIZES:
    register_model(entry_point(size))
