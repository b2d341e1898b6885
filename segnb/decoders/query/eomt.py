"""EoMT: a plain vision transformer is its own mask classifier; queries join the patches in its last blocks.

    image ── patches ── blocks 1…8 ──┐                          ┌─ queries ─┬─ linear ─ class (100, classes + 1) ─┐
             (encoder)               ├─ blocks 9…12 ── norm ────┤           └─ MLP ─ × ─ mask ────────────────────┴─ Σ
                       100 queries ──┘  (decoder's)             │                    │                               │
                                                                └─ patches (B, C, H/16, W/16) ─ ×2 ─ ×2 ─ pixels     ▼
                                                                                                       (B, classes, H/4, W/4)
    ×2:  transposed 2×2 ─ GELU ─ depthwise 3×3 ─ norm

Why: a large transformer, trained on enough pictures, learns by itself what pyramids and decoders are built for.
Paper: Kerssies et al., "Your ViT is Secretly an Image Segmentation Model", CVPR 2025, https://arxiv.org/abs/2503.19108,
section 3.
Differs from the paper: masked attention is off unless ``masked_steps`` says over how many steps it is to fade out; it is never
used for inference. See also `segnb.parts.queries` and `segnb.losses.matching`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from segnb.blocks import resize_like
from segnb.losses.matching import SetLoss
from segnb.parts.queries import Answer, MaskClassifier, for_each

LOSS = SetLoss(class_weight=2.0, mask_weight=5.0, dice_weight=5.0, points=12544)
POWER = 0.9  # how masked attention fades out


class Double(nn.Sequential):
    """Enlarge a map, (B, C, h, w) -> (B, C, 2·h, 2·w)."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(channels, channels, 2, stride=2),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            LayerNorm2d(channels),
        )


class EoMT(MaskClassifier):
    """Encoder-only mask transformer, on any of timm's `VisionTransformer`s: ViT, DeiT, DINOv2, SigLIP, but not DINOv3.

    Args:
        in_channels: channels of the patches: (C,).
        classes: channels of the returned logits.
        multilabel: whether classes may overlap.
        reductions: pixels of the picture per patch, along a side.
        prefix_tokens: tokens that come with the patches: class token, registers.
        last_blocks: of the encoder, and the norm behind them; they are part of the decoder, and learn like it.
        queries: how many; a picture can have as many segments.
        blocks: how many of the encoder's blocks the queries join.
        masked_steps: in training, queries see at first only the patches inside their masks; one block after the other, this fades
            out over as many steps. 0 for none.
    """

    strides = (16,)
    raw = True
    takes_blocks = True

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        multilabel: bool,
        reductions: Sequence[int],
        prefix_tokens: int,
        last_blocks: tuple[nn.ModuleList, nn.Module],
        queries: int = 100,
        blocks: int = 4,
        masked_steps: int = 0,
    ) -> None:
        (width,) = in_channels
        super().__init__(width, classes, multilabel=multilabel, loss=LOSS, activation=nn.GELU)
        self.blocks, self.norm = last_blocks
        self.masked_steps = masked_steps
        self.first_patch = queries + prefix_tokens
        self.queries = nn.Parameter(torch.randn(queries, width))
        steps = max(1, round(math.log2(reductions[0] / 4)))
        self.enlarge = nn.Sequential(*(Double(width) for _ in range(steps)))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def ask(self, features: list[Tensor], *, only_last: bool) -> list[Answer]:
        """Run the last blocks on queries, prefix tokens and patches together."""
        patches, *prefix = features
        tokens = torch.cat([for_each(patches, self.queries), *prefix, patches.flatten(2).mT], dim=1)
        answers = []
        for number, block in enumerate(self.blocks):
            share = self.masked_share(number) if self.training else 0.0
            if share or not only_last:
                answers.append(self.answer(tokens, patches))
            tokens = block(tokens, attn_mask=self.allow(*answers[-1], patches, share)) if share else block(tokens)
        if self.training and self.masked_steps:
            self.steps += 1
        return [*answers, self.answer(tokens, patches)]

    def answer(self, tokens: Tensor, patches: Tensor) -> Answer:
        """Read queries and pixels off the tokens."""
        tokens = self.norm(tokens)
        places = tokens[:, self.first_patch :].mT.reshape(patches.shape)
        return tokens[:, : len(self.queries)], self.enlarge(places)

    def masked_share(self, number: int) -> float:
        """Share of the queries that a block lets see nothing but their masks, 1 to 0; the first block's falls first."""
        if not self.masked_steps:
            return 0.0
        passed = self.steps.item() / self.masked_steps * (len(self.blocks) + 2) - (number + 1)
        return (1 - min(max(passed, 0.0), 1.0)) ** POWER

    @torch.no_grad()
    def allow(self, queries: Tensor, pixels: Tensor, patches: Tensor, share: float) -> Tensor:
        """Say what each token may look at, (B, 1, N, N): everything, but a share of the queries no patch outside their masks."""
        inside = self.classify.read(resize_like(pixels, patches), queries)[1].flatten(2) > 0
        free = torch.rand(inside.shape[:2], device=inside.device) >= share
        count = self.first_patch + inside.shape[2]
        allowed = torch.ones(inside.shape[0], 1, count, count, dtype=torch.bool, device=inside.device)
        allowed[:, 0, : inside.shape[1], self.first_patch :] = inside | free.unsqueeze(2)
        return allowed
