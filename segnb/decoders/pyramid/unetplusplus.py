"""UNet++: U-Nets of every depth on one encoder, each helped by what the shallower ones found at the same size.

    row 0, H/2   x00 ─▶ x01 ─▶ x02 ─▶ x03 ─▶ x04 ── ×2, 2 × conv ── classify ─▶ (B, classes, H, W)
                       ↗      ↗      ↗      ↗
    row 1, H/4   x10 ─▶ x11 ─▶ x12 ─▶ x13
                       ↗      ↗      ↗
    row 2, H/8   x20 ─▶ x21 ─▶ x22               x00 … x40: the encoder's maps c1 … c5
                       ↗      ↗                  ↗: ×2
    row 3, H/16  x30 ─▶ x31                      ─▶: every map to the left in the row, not only the nearest
                       ↗                         each x: all of these concatenated, 2 × conv
    row 4, H/32  x40

A diagonal is the climb of one U-Net: x10 to x01 the shallowest, x40 to x04 the deepest, which alone makes logits.

Why: a plain skip joins maps of very different meaning; here they have met half-way before.
Paper: Zhou et al., TMI 2020, https://arxiv.org/abs/1912.05074, section III-A, equation 1 and figure 1.
Differs from the paper: any encoder, whose finest map has stride 2, so one more step to H × W; nearest ×2; the inner x have their
row's encoder channels; one classifier, at the end (the paper can also supervise x01 … x03).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from segnb.blocks import UpBlock, attention_layer, norm_layer, u_widths


class UNetPlusPlus(nn.Module):
    """UNet++ decoder over one to five levels.

    Args:
        in_channels: channels of each level, fine to coarse: (C1, C2, C3, C4, C5). Where the encoder has no C1, 0: then row 0 has
            the last x of the deepest climb only.
        classes: channels of the returned logits.
        decoder_channels: channels after each step of the deepest climb, coarse to fine; None for as many of 256, 128, 64, 32, 16
            as there are levels, always 16 at the picture's size.
        decoder_use_norm: normalisation after each convolution, see `norm_layer`.
        decoder_attention_type: ``"scse"`` weighs channels and pixels before and after the convolutions of a step, see `SCSE`.
        decoder_interpolation: ``"nearest"`` or ``"bilinear"``, how a map is doubled.
    """

    strides = (2, 4, 8, 16, 32)
    least_depth = 1

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        decoder_channels: Sequence[int] | None = None,
        decoder_use_norm: str | bool = "batchnorm",
        decoder_attention_type: str | None = None,
        decoder_interpolation: str = "nearest",
    ) -> None:
        super().__init__()
        *widths, last = u_widths(decoder_channels, in_channels)
        step = partial(
            UpBlock,
            norm=norm_layer(decoder_use_norm),
            attention=attention_layer(decoder_attention_type),
            interpolation=decoder_interpolation,
        )
        self.climbs = nn.ModuleList()  # shallow first
        for start in range(1, len(in_channels)):
            outputs = in_channels[:start][::-1] if start < len(widths) else widths
            climb, channels = nn.ModuleList(), in_channels[start]
            for row, output in zip(range(start)[::-1], outputs, strict=True):
                if output:  # nothing to join and nothing to keep where the encoder has no such level
                    climb.append(step(channels, (start - row) * in_channels[row], output))
                channels = output
            self.climbs.append(climb)
        self.finish = step((in_channels[0], *widths)[-1], None, last)
        self.classify = nn.Conv2d(last, classes, kernel_size=3, padding=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn features, fine to coarse, into logits (B, classes, H, W)."""
        rows = [[feature] for feature in features]  # the newest map first, the order of the released weights
        x = features[0]
        for start, climb in enumerate(self.climbs, 1):
            x = features[start]
            for row, step in zip(rows[:start][::-1], climb, strict=False):  # row 0 may be empty
                x = step(x, *row)
                row.insert(0, x)
        return self.classify(self.finish(x))
