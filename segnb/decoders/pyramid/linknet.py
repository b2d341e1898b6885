"""LinkNet: a narrow, cheap climb; the encoder's maps are added, not concatenated.

    c5 (B, C5, H/32, W/32) ─ step ─┐
    c4 (B, C4, H/16, W/16) ─────── + ─ step ─┐          step, in m → n channels:
    c3 (B, C3, H/8,  W/8)  ───────────────── + ─ … ─┐   1×1, m → m/4
    c2 (B, C2, H/4,  W/4)  ──────────────────────── + … transposed convolution, m/4 → m/4, twice the size
    c1 (B, C1, H/2,  W/2)  ──────────────────────── + … 1×1, m/4 → n
                                 step (no skip at H × W) … 32 channels ── classify ─▶ (B, classes, H, W)

Why adding: every map keeps the encoder's own number of channels, and what crosses over costs no convolution.
Paper: Chaurasia and Culurciello, VCIP 2017, https://arxiv.org/abs/1707.03718, section III and figures 1 and 2.
Differs from the paper: any encoder; 4×4 transposed convolutions, whose taps cover every pixel equally often; one more step and a
1×1 classifier instead of the last three layers, as in SMP's released weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from segnb.blocks import ConvNormAct, norm_layer, resize_like

LAST_WIDTH = 32


class LinkNetStep(nn.Module):
    """Narrow, double, widen, add the skip: (B, in, h, w), (B, out, H, W) -> (B, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        narrow = max(1, in_channels // 4)
        self.narrow = ConvNormAct(in_channels, narrow, kernel_size=1, norm=norm)
        self.enlarge = nn.Sequential(
            nn.ConvTranspose2d(narrow, narrow, kernel_size=4, stride=2, padding=1), norm(narrow), nn.ReLU(inplace=True)
        )
        self.widen = ConvNormAct(narrow, out_channels, kernel_size=1, norm=norm)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """Return the finer map; without a skip, exactly twice the size. An empty skip only tells the size."""
        x = self.enlarge(self.narrow(x))
        if skip is None:
            return self.widen(x)
        x = self.widen(resize_like(x, skip, mode="nearest"))  # one row or column less where the skip has an odd size
        return x + skip if skip.shape[1] else x


class LinkNet(nn.Module):
    """LinkNet decoder over one to five levels.

    Args:
        in_channels: channels of each level, fine to coarse: (C1, C2, C3, C4, C5); 0 where the encoder has no such level: the step
            then keeps its width and adds nothing.
        classes: channels of the returned logits.
        decoder_use_norm: normalisation after each convolution, see `norm_layer`.
    """

    strides = (2, 4, 8, 16, 32)
    least_depth = 1

    def __init__(self, in_channels: Sequence[int], classes: int, *, decoder_use_norm: str | bool = "batchnorm") -> None:
        super().__init__()
        norm = norm_layer(decoder_use_norm)
        *skips, width = in_channels
        self.steps = nn.ModuleList()
        for channels in [*skips[::-1], LAST_WIDTH]:
            self.steps.append(LinkNetStep(width, channels or width, norm))
            width = channels or width
        self.classify = nn.Conv2d(width, classes, kernel_size=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn features, fine to coarse, into logits (B, classes, H, W)."""
        *skips, x = features
        for step, skip in zip(self.steps, [*skips[::-1], None], strict=True):
            x = step(x, skip)
        return self.classify(x)
