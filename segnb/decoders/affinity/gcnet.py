"""GCNet: one summary of the picture, the same for every pixel, instead of one for each.

    c5 (B, C5, H/8, W/8) ─┬─ 3×3, 512 ─ x ─ global context ─ 3×3, 512 ─┐
    (dilated)             └────────────────────────────────────────────┴─ concat ─ 3×3, 512 ─ classify ─▶ (B, classes, H/8, W/8)

    global context:  x ─┬─ 1×1 ─ softmax over all pixels ─┐
                        ├─────────────────────────────────┴─ weighted mean (512) ─ 1×1, 128 ─ LayerNorm ─ ReLU ─ 1×1, 512 ─┐
                        └──────────────────────────────────────────────────────────────────────────────────────────────────┴─ + ─▶

Why: the weights that a trained non-local block finds are nearly the same for all pixels; found once, they cost next to nothing.
Paper: Cao et al., ICCV workshops 2019, https://arxiv.org/abs/1904.11492, section 3.3 and figure 4d.
"""

from __future__ import annotations

from collections.abc import Sequence

from timm.layers import LayerNorm2d
from torch import Tensor, nn

from segnb.parts.attention import RelateBetween, classifier


class GlobalContext(nn.Module):
    """Add a summary of the whole map to each pixel: (B, C, h, w) -> the same.

    Args:
        channels: C.
        inner: channels between the two layers that turn the summary into what is added.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(channels, 1, 1)
        self.transform = nn.Sequential(
            nn.Conv2d(channels, inner, 1),
            LayerNorm2d(inner, eps=1e-5),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Summarise, and tell every pixel."""
        weights = self.weigh(x).flatten(2).softmax(dim=2)  # (B, 1, h·w)
        summary = (x.flatten(2) @ weights.mT)[..., None]  # (B, C, 1, 1)
        return x + self.transform(summary)


class GCNet(nn.Module):
    """Global context block on one dilated level.

    Args:
        in_channels: channels of that level: (C5,).
        classes: channels of the returned logits.
        width: channels around the block; inside it are a quarter as many.
        dropout: probability of dropping a whole channel before the classifier.
        encoder_output_stride: stride of the map: 8 as in the paper, or 16 or 32 for coarser and cheaper ones.
    """

    strides = (32,)

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        width: int = 512,
        dropout: float = 0.1,
        encoder_output_stride: int = 8,
    ) -> None:
        super().__init__()
        (channels,) = in_channels
        self.relate = RelateBetween(channels, width, GlobalContext(width, width // 4))
        self.classify = classifier(width, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (c5,) into logits (B, classes, H/8, W/8)."""
        (coarse,) = features
        return self.classify(self.relate(coarse))
