"""What two or more decoders share."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def resize_like(x: Tensor, reference: Tensor, mode: str = "bilinear", align_corners: bool = False) -> Tensor:
    """Resize a feature map to the height and width of another.

    Args:
        x: (B, C, h, w).
        reference: (B, any, H, W).
        mode: ``"bilinear"`` or ``"nearest"``.
        align_corners: whether the corner pixels keep their place; only released weights of others ask for True.

    Returns:
        (B, C, H, W).
    """
    size = reference.shape[-2:]
    if mode == "nearest":
        return F.interpolate(x, size=size, mode=mode)
    return F.interpolate(x, size=size, mode=mode, align_corners=align_corners)


class ConvNormAct(nn.Sequential):
    """Convolution, batch normalisation, ReLU: (B, in, H, W) -> (B, out, H, W).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel, odd; the output has the input's size.
        dilation: distance between the kernel's taps.
        separable: a depthwise convolution followed by a 1×1 (Chollet, CVPR 2017), nine times fewer multiply-adds for 3×3.
        norm: the normalisation layer, called with the number of channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        dilation: int = 1,
        separable: bool = False,
        norm: type[nn.Module] = nn.BatchNorm2d,
    ) -> None:
        padding = dilation * (kernel_size // 2)
        spatial = {"kernel_size": kernel_size, "padding": padding, "dilation": dilation, "bias": False}
        convs: list[nn.Module] = [nn.Conv2d(in_channels, out_channels, **spatial)]
        if separable:
            depthwise = nn.Conv2d(in_channels, in_channels, groups=in_channels, **spatial)
            convs = [depthwise, nn.Conv2d(in_channels, out_channels, 1, bias=False)]
        super().__init__(*convs, norm(out_channels), nn.ReLU(inplace=True))


class PooledBatchNorm(nn.BatchNorm2d):
    """Batch normalisation of globally pooled features, (B, C, 1, 1) -> (B, C, 1, 1), that can train on a batch of one.

    One value per channel has no variance; then the running statistics stand in for those of the batch.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, 1, 1)."""
        if self.training and len(x) == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)
