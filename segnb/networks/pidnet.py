"""PIDNet: three branches as in a PID controller: detail (P), context (I), and where classes meet (D), which weighs the two.

                       ┌─ P ─ stage ─ ask I ─┬─ stage ─ ask I ─ stage ─────────────┐
                       │        (H/8)        └─ classify (stage)                   │
    picture ─ stem ─ x ┼─ I ─ stage ──────── stage ──────────── stage ─ PPM ─ ×8 ─ fuse ─ 3×3 ─ classify ─▶
    (B, C, H, W) (H/8) │     (H/16)         (H/32)             (H/64)              │    (B, classes, H/8, W/8)
                       └─ D ─ stage ─ + I ── stage ─ + I ─┬──── stage ─ sigmoid ───┘
                                (H/8)                     └─ 3×3 ─ boundary (B, 1, H/8, W/8)

    ask:   share of I = sigmoid(<a pixel of P, the pixel of I at its place>)
    fuse:  detail where the boundary is, context elsewhere
    loss:  20 · weighted cross-entropy of the boundary + cross-entropy of the classes where the boundary is believed to be

Why: context simply added to detail washes out what is small ("overshoot"); a third branch that finds boundaries protects it.
Paper: Xu, Xiong and Bhattacharyya, CVPR 2023, https://arxiv.org/abs/2206.02066, section 3.
Differs from the paper: its two losses on logits are whichever loss the user names, such as its "ohem".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from segnb.blocks import Stages, resize_like
from segnb.errors import SegnbError, nearest
from segnb.losses.boundary_targets import boundary_loss
from segnb.parts.attention import classifier
from segnb.parts.branches import DAPPM, PAPPM, ConvNorm, NormActConv, basic_stage, bottleneck_stage, refine, stem

# Channels of the stem, of the pyramid's views, of the decoded map; blocks in a stage of the stem and of P, in one of I.
SIZES = {"s": (32, 96, 128, 2, 3), "m": (64, 96, 128, 2, 3), "l": (64, 112, 256, 3, 4)}


class AskContext(nn.Module):
    """Take context where it agrees with the detail, (B, C, h, w), (B, D, any) -> (B, C, h, w); the paper's "Pag"."""

    def __init__(self, channels: int, context_channels: int) -> None:
        super().__init__()
        self.narrow = ConvNorm(context_channels, channels, 1)
        self.query = ConvNorm(channels, channels // 2, 1)
        self.key = ConvNorm(channels, channels // 2, 1)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        """Mix both, each pixel in its own proportion."""
        context = self.narrow(context)
        share = (self.query(detail) * resize_like(self.key(context), detail)).sum(dim=1, keepdim=True).sigmoid()
        return share * resize_like(context, detail) + (1 - share) * detail


class Fuse(nn.Module):
    """Detail on boundaries, context elsewhere, mixed by a 3×3 convolution, three (B, C, h, w) -> (B, C, h, w); "Bag"."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = NormActConv(channels, channels)

    def forward(self, detail: Tensor, context: Tensor, boundary: Tensor) -> Tensor:
        """Fuse the branches."""
        share = boundary.sigmoid()
        return self.mix(share * detail + (1 - share) * context)


class LightFuse(nn.Module):
    """The same with two 1×1 convolutions, three (B, C, h, w) -> (B, C, h, w); "Light-Bag"."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix_detail = ConvNorm(channels, channels, 1)
        self.mix_context = ConvNorm(channels, channels, 1)

    def forward(self, detail: Tensor, context: Tensor, boundary: Tensor) -> Tensor:
        """Fuse the branches."""
        share = boundary.sigmoid()
        return self.mix_detail(detail + (1 - share) * context) + self.mix_context(context + share * detail)


class PIDNet(nn.Module):
    """Three branches and a boundary head.

    Args:
        in_channels: channels of the picture: (C,).
        classes: channels of the returned logits.
        size: ``"s"``, ``"m"`` (twice as wide) or ``"l"`` (deeper, too).
        dropout: probability of dropping a whole channel before the classifier.

    Raises:
        SegnbError: there is no such size.
    """

    strides = ()
    sees_picture = True
    align_corners = True  # as in the released weights

    def __init__(self, in_channels: Sequence[int], classes: int, *, size: str = "s", dropout: float = 0.1) -> None:
        super().__init__()
        if size not in SIZES:
            raise SegnbError(f"size={size!r} is no PIDNet. {nearest(str(size), SIZES)}")
        (channels,), (width, pyramid, decoded, blocks, more), light = in_channels, SIZES[size], size != "l"
        w2, w4, w8, w16, edge = 2 * width, 4 * width, 8 * width, 16 * width, width if light else 2 * width
        self.begin = stem(channels, width, blocks)
        self.see_detail = nn.ModuleList(
            [basic_stage(w2, w2, blocks), basic_stage(w2, w2, blocks), bottleneck_stage(w2, w4)]
        )
        self.see_context = nn.ModuleList(
            [basic_stage(w2, w4, more, stride=2), basic_stage(w4, w8, more, stride=2), bottleneck_stage(w8, w16, 2, 2)]
        )
        second = bottleneck_stage(edge, w2) if light else basic_stage(edge, w2, 1)
        self.see_boundary = nn.ModuleList([basic_stage(w2, edge, 1), second, bottleneck_stage(w2, w4)])
        self.ask_context = nn.ModuleList([AskContext(w2, w4), AskContext(w2, w8)])
        self.tell_boundary = nn.ModuleList([ConvNorm(w4, edge), ConvNorm(w8, w2)])
        self.pool = (PAPPM if light else DAPPM)(w16, pyramid, w4)
        self.fuse = (LightFuse if light else Fuse)(w4)
        self.decode = refine(w4, decoded)
        self.classify = classifier(decoded, classes, dropout)
        self.classify_detail = nn.Sequential(*refine(w2, decoded), nn.Conv2d(decoded, classes, 1))
        self.find_boundary = nn.Sequential(*refine(w2, width), nn.Conv2d(width, 1, 1))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (picture,) into logits (B, classes, H/8, W/8)."""
        return self.classify(self.decode(self.see(*features)[1]))

    def forward_all(self, features: list[Tensor]) -> Stages:
        """The logits of the detail that has asked once, the final ones, and those of the boundary."""
        detail, fused, boundary = self.see(*features)
        logits = self.classify(self.decode(fused))
        clues = {"logits": logits, "boundary": self.find_boundary(boundary)}
        return Stages([self.classify_detail(detail), logits], clues)

    def see(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the detail after asking once, all branches fused, and the boundary before its last stage, at stride 8."""
        x = self.begin(image)
        detail, context, boundary = self.step(0, x, x, x)
        later, context, boundary = self.step(1, F.relu(detail), context, F.relu(boundary))
        context = resize_like(self.pool(self.see_context[2](context)), later)
        fused = self.fuse(self.see_detail[2](F.relu(later)), context, self.see_boundary[2](F.relu(boundary)))
        return detail, fused, boundary

    def step(self, level: int, detail: Tensor, context: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Look once more at all three; detail and boundary then learn from the context."""
        context = F.relu(self.see_context[level](context))
        detail = self.ask_context[level](self.see_detail[level](detail), context)
        difference = resize_like(self.tell_boundary[level](context), boundary)
        return detail, context, self.see_boundary[level](boundary) + difference

    def own_loss(self, clues: dict[str, Tensor], labels: Tensor) -> Tensor:
        """Compute the losses of the boundary and, where it is believed to be, of the classes."""
        boundary = resize_like(clues["boundary"], labels, align_corners=self.align_corners)
        return boundary_loss(boundary, resize_like(clues["logits"], labels, align_corners=self.align_corners), labels)
