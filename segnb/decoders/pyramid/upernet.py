"""UPerNet: what the whole picture shows goes down the pyramid, then one convolution reads all levels at once.

    c5 ── means of 1×1, 2×2, 3×3 and 6×6 windows, concat, 3×3 ── p5 ───────────── ×8 ─┐
                                                                 │ ×2                 │
    c4 ── 1×1 ────────────────────────────────────────────────── + ── p4 ── 3×3 ─ ×4 ─┤
                                                                      │ ×2            ├─ concat (4·256) ── 3×3 ── classify
    c3 ── 1×1 ─────────────────────────────────────────────────────── + ── p3 ─ 3×3 ×2┤              ─▶ (B, classes, H/4, W/4)
                                                                           │ ×2       │
    c2 ── 1×1 ──────────────────────────────────────────────────────────── + p2 ─ 3×3 ┘

Every p has 256 channels and its level's size: c2 H/4 … c5 H/32.
Why: deep maps see less far than they could. Pooled windows add the whole scene; the pyramid gives it back its edges.
Paper: Xiao et al., ECCV 2018, https://arxiv.org/abs/1807.10221, section 3.1 and figure 4.
Differs from the paper: each level is normalised first, since the maps of transformers and ConvNeXts are sums that nothing has
normalised; the weights of SMP and transformers need it.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segnb.blocks import norm_layer
from segnb.parts.pyramids import PyramidFusion


class UPerNet(PyramidFusion):
    """Feature pyramid under pyramid pooling: a `PyramidFusion` and a classifier.

    Args:
        in_channels: channels of each level, fine to coarse: (C2, C3, C4, C5).
        classes: channels of the returned logits.
        decoder_channels: width of the pyramid (paper: 512).
        decoder_use_norm: normalisation layer, see `segnb.blocks.norm_layer`.
        level_norm_eps: the small number under the root of the normalisation of each level over its channels; None for levels as
            the encoder makes them, as in the paper and in MMSegmentation's weights.
        align_corners: how the logits are enlarged; True for weights released by SMP.
    """

    strides = (4, 8, 16, 32)

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        decoder_channels: int = 256,
        decoder_use_norm: str | bool = "batchnorm",
        level_norm_eps: float | None = 1e-6,
        align_corners: bool = False,
    ) -> None:
        super().__init__(in_channels, decoder_channels, norm_layer(decoder_use_norm), level_norm_eps=level_norm_eps)
        self.align_corners = align_corners
        self.classify = nn.Conv2d(decoder_channels, classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn features, fine to coarse, into logits (B, classes, H/4, W/4)."""
        return self.classify(super().forward(features))
