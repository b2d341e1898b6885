"""DDRNet: a branch that stays at stride 8 and one that goes to 64 tell each other twice what they see.

                                    ┌─ classify (stage)
    picture ─ stem ─ x ─┬─ stage ─ + ─ ReLU ─ stage ─ + ─ ReLU ─ stage ─────────── + ─ 3×3 ─ classify ─▶ (B, classes, H/8, W/8)
    (B, C, H, W)  (H/8) │    │     ↑             │    ↑           (B, 4·width, H/8)  ↑
                        │   ↓ ½   ↑ 1×1, ×2     ↓ ¼   ↑ 1×1, ×4                      │ ×8
                        │    └──┐  │             └──┐ │                              │
                        └─ stage ─ + ─ ReLU ─ stage ─ + ─ ReLU ─ stage ─ DAPPM ──────┘
                           (H/16)             (H/32)             (H/64)

Why: details need a fine map, context a coarse one; a network that keeps both apart can be narrow, and so fast.
Paper: Pan, Hong, Sun and Jia, IEEE Transactions on Intelligent Transportation Systems 2023, https://arxiv.org/abs/2101.06085,
section III.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from segnb.blocks import Stages, resize_like
from segnb.errors import SegnbError, nearest
from segnb.parts.attention import classifier
from segnb.parts.branches import DAPPM, ConvNorm, ConvNormReLU, basic_stage, bottleneck_stage, refine, stem

WIDTHS = {"23-slim": 32, "23": 64}  # of the stem
PYRAMID_WIDTH = 128


class DDRNet(nn.Module):
    """Deep dual-resolution network.

    Args:
        in_channels: channels of the picture: (C,).
        classes: channels of the returned logits.
        size: ``"23-slim"``, or ``"23"``, twice as wide.
        dropout: probability of dropping a whole channel before the classifier.

    Raises:
        SegnbError: there is no such size.
    """

    strides = ()
    sees_picture = True

    def __init__(
        self, in_channels: Sequence[int], classes: int, *, size: str = "23-slim", dropout: float = 0.0
    ) -> None:
        super().__init__()
        if size not in WIDTHS:
            raise SegnbError(f"size={size!r} is no DDRNet. {nearest(str(size), WIDTHS)}")
        (channels,), width = in_channels, WIDTHS[size]
        w2, w4, w8, w16 = (factor * width for factor in (2, 4, 8, 16))
        self.begin = stem(channels, width, 2)
        self.see_detail = nn.ModuleList([basic_stage(w2, w2, 2), basic_stage(w2, w2, 2), bottleneck_stage(w2, w4)])
        self.see_context = nn.ModuleList(
            [basic_stage(w2, w4, 2, stride=2), basic_stage(w4, w8, 2, stride=2), bottleneck_stage(w8, w16, stride=2)]
        )
        self.tell_detail = nn.ModuleList([ConvNorm(w4, w2, 1), ConvNorm(w8, w2, 1)])
        self.tell_context = nn.ModuleList(
            [
                ConvNorm(w2, w4, stride=2),
                nn.Sequential(ConvNormReLU(w2, w4, stride=2), ConvNorm(w4, w8, stride=2)),
            ]
        )
        self.pool = DAPPM(w16, PYRAMID_WIDTH, w4)
        self.decode = refine(w4, w2)
        self.classify = classifier(w2, classes, dropout)
        self.classify_detail = nn.Sequential(*refine(w2, w2), nn.Conv2d(w2, classes, 1))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (picture,) into logits (B, classes, H/8, W/8)."""
        return self.classify(self.decode(self.see(*features)[1]))

    def forward_all(self, features: list[Tensor]) -> Stages:
        """The logits of the detail that has heard of the context once, and the final ones."""
        detail, fused = self.see(*features)
        return Stages([self.classify_detail(detail), self.classify(self.decode(fused))], {})

    def see(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the detail after its first exchange, and both branches fused; each at stride 8."""
        x = self.begin(image)
        context, detail = self.exchange(0, x, x)
        context, later = self.exchange(1, F.relu(context), F.relu(detail))
        context = self.pool(self.see_context[2](F.relu(context)))
        return detail, self.see_detail[2](F.relu(later)) + resize_like(context, later)

    def exchange(self, level: int, context: Tensor, detail: Tensor) -> tuple[Tensor, Tensor]:
        """Look once more at both, then tell each what the other sees."""
        context, detail = self.see_context[level](context), self.see_detail[level](detail)
        for_detail = resize_like(self.tell_detail[level](F.relu(context)), detail)
        return context + self.tell_context[level](F.relu(detail)), detail + for_detail
