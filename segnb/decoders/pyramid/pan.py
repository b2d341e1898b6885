"""PAN: attend to places on the coarse map, then climb, letting each coarse map choose among the channels of the finer one.

    c5 (B, C5, H/16, W/16) ── attend in a pyramid ──┬───────────────── resize ── + ──┬── ×2 ── + ──┬── ×2 ── + ─ classify ─▶
    (dilated, so not H/32)                          └ mean ─ 1×1 ─ σ ─┐          │   └ σ ─┐    │   └ σ ─┐    │
    c4 (B, C4, H/16, W/16) ───────────────── 3×3, 32 ──────────────── × ─────────┘        │    │        │    │
    c3 (B, C3, H/8,  W/8)  ───────────────── 3×3, 32 ──────────────────────────────────── × ───┘        │    │
    c2 (B, C2, H/4,  W/4)  ───────────────── 3×3, 32 ────────────────────────────────────────────────── × ───┘

    attend: c5 ─┬─ 1×1, 32 ──────────────────────────────────────────────────── × ── + ─▶ (B, 32, H/16, W/16)
                ├─ ½ ─ 7×7 ─┬───────────────────────────── 7×7 ─────── + ─ ×2 ──┘    │
                │           └─ ½ ─ 5×5 ─┬───────── 5×5 ─── + ─ ×2 ─────┘             │   one channel: a map of weights
                │                       └─ ½ ─ 3×3 ─ 3×3 ── ×2 ─┘                    │
                └─ global mean, 1×1, 32 ─────────────────────────────────────────────┘

The logits are (B, classes, H/4, W/4). Why: large kernels on small maps see nearly everything for little work, and a mean of the
coarse map knows which details are worth keeping.
Paper: Li et al., BMVC 2018, https://arxiv.org/abs/1805.10180, sections 3.1 and 3.2, figures 3 and 4.
Differs from the paper: the pyramid of weights has one channel, and a sigmoid replaces figure 4's ReLU, as in SMP's weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segnb.blocks import PooledBatchNorm, crop, resize_like
from segnb.errors import SegnbError

Resize = Callable[[Tensor, Tensor], Tensor]
INTERPOLATIONS = ("bilinear", "bicubic", "nearest")


def conv_norm(in_channels: int, out_channels: int, kernel_size: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Convolution with a bias, normalisation that can do with one value, activation: (B, in, h, w) -> (B, out, h, w)."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
    return nn.Sequential(conv, PooledBatchNorm(out_channels), act())


class PyramidAttention(nn.Module):
    """Weigh every place by what a small pyramid of large windows sees there, add the mean: (B, in, h, w) -> (B, width, h, w)."""

    def __init__(self, in_channels: int, width: int, resize: Resize) -> None:
        super().__init__()
        self.resize = resize
        self.project = conv_norm(in_channels, width, 1)
        self.summarise = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_norm(in_channels, width, 1))
        self.down = nn.ModuleList(
            [
                conv_norm(in_channels, 1, 7),
                conv_norm(1, 1, 5),
                nn.Sequential(conv_norm(1, 1, 3), conv_norm(1, 1, 3)),
            ]
        )
        self.up = nn.ModuleList([conv_norm(1, 1, 7), conv_norm(1, 1, 5)])

    def forward(self, x: Tensor) -> Tensor:
        """Go down to an eighth of the size and back, then weigh."""
        rows, columns = x.shape[-2:]
        # Fewer than 8 rows cannot be halved three times. The maximum is no branch, so an exported graph serves all sizes.
        maps = [F.pad(x, (0, torch.sym_max(8 - columns, 0), 0, torch.sym_max(8 - rows, 0)))]
        for look in self.down:
            maps.append(look(F.max_pool2d(maps[-1], 2)))
        weights = maps.pop()
        for look, finer in zip(self.up[::-1], maps[:0:-1], strict=True):
            weights = look(finer) + self.resize(weights, finer)
        weights = crop(self.resize(weights, maps[0]), rows, columns)
        return self.project(x) * weights + self.summarise(x)


class GlobalAttention(nn.Module):
    """Let the coarse map choose among the fine one's channels: (B, fine, H, W), (B, width, h, w) -> (B, width, H, W)."""

    def __init__(self, fine: int, width: int, resize: Resize) -> None:
        super().__init__()
        self.resize = resize
        self.project = conv_norm(fine, width, 3)
        self.choose = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_norm(width, width, 1, nn.Sigmoid))

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Return the enlarged coarse map with the chosen details added."""
        return self.resize(coarse, fine) + self.project(fine) * self.choose(coarse)


class PAN(nn.Module):
    """Pyramid attention network over four levels.

    Args:
        in_channels: channels of each level, fine to coarse: (C2, C3, C4, C5).
        classes: channels of the returned logits.
        decoder_channels: width of the decoder.
        decoder_interpolation: ``"bilinear"``, ``"bicubic"`` or ``"nearest"``, how maps are enlarged on the way to the finest.
        encoder_output_stride: stride of c5: 16 as in the paper, or 8 or 32.
        align_corners: how maps and logits are enlarged; True for weights released by SMP.
    """

    strides = (4, 8, 16, 32)

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        decoder_channels: int = 32,
        decoder_interpolation: str = "bilinear",
        encoder_output_stride: int = 16,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        if decoder_interpolation not in INTERPOLATIONS:
            raise SegnbError(f"decoder_interpolation={decoder_interpolation!r}: give {', '.join(INTERPOLATIONS)}.")
        self.align_corners = align_corners
        corners = align_corners and decoder_interpolation == "bilinear"
        enlarge = partial(resize_like, mode=decoder_interpolation, align_corners=corners)
        *fine, coarse = in_channels
        self.attend = PyramidAttention(coarse, decoder_channels, partial(resize_like, align_corners=align_corners))
        self.climb = nn.ModuleList(GlobalAttention(channels, decoder_channels, enlarge) for channels in fine)
        self.classify = nn.Conv2d(decoder_channels, classes, 3, padding=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn features, fine to coarse, into logits (B, classes, H/4, W/4)."""
        *fine, coarse = features
        x = self.attend(coarse)
        for climb, feature in zip(self.climb[::-1], fine[::-1], strict=True):
            x = climb(feature, x)
        return self.classify(x)
