"""Sliding window: a picture of any size through a window of one size, one strip of the result in memory.

    ┌──────┬─┬──────┐   windows overlap; each pixel is a mean of all that see it, and the middle
    │   1  │ │   2  │   of a window counts more than its edge, which lacks half of its surroundings
    ├──────┼─┼──────┤
    ├──────┼─┼──────┤   rows that no further window touches are handed out: only as many rows as
    │   3  │ │   4  │   a window is high are ever kept
    └──────┴─┴──────┘

Gaussian weights: Isensee et al., "nnU-Net", Nature Methods 18, 2021, https://arxiv.org/abs/1904.08128, section "Inference".
Running mean: West, "Updating mean and variance estimates", Communications of the ACM 22, 1979.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor


def window_starts(size: int, window: int, overlap: float) -> list[int]:
    """Place windows along one side, as few as will do, evenly.

    Args:
        size: pixels of the side.
        window: pixels of the window, at most ``size``.
        overlap: least share of a window that the next one sees again, 0 to 1.

    Returns:
        First pixel of each window; the first is 0 and the last window ends at ``size``.
    """
    step = max(1.0, window * (1 - overlap))
    gaps = math.ceil((size - window) / step)
    return [place * (size - window) // max(gaps, 1) for place in range(gaps + 1)]


def importance(height: int, width: int) -> Tensor:
    """Weigh the pixels of a window: 1 in the middle, a Gaussian with an eighth of the side as its standard deviation.

    Args:
        height: pixels.
        width: pixels.

    Returns:
        (height, width) float32, above 0 everywhere: where a pixel is seen by one window only, that one decides.
    """
    bells = (torch.exp(-0.5 * ((torch.arange(side) - (side - 1) / 2) / (side / 8)) ** 2) for side in (height, width))
    return torch.outer(*bells)


def slide(
    run: Callable[[Tensor], Tensor], images: Tensor, window: tuple[int, int], overlap: float, batch_size: int
) -> Iterator[Tensor]:
    """Average what a model says about all windows, from top to bottom.

    Args:
        run: (N, C, h, w) -> (N, K, h, w), the same N, h and w.
        images: (B, C, H, W).
        window: its height and width; a smaller picture is taken whole.
        overlap: least share of a window that its neighbours see, 0 to 1.
        batch_size: windows that are run together.

    Yields:
        Strips (B, K, rows, W) that, put below each other, are (B, K, H, W); on the device of what ``run`` returns.
    """
    height, width = (min(pair) for pair in zip(window, images.shape[-2:], strict=True))
    tops, lefts = window_starts(images.shape[-2], height, overlap), window_starts(images.shape[-1], width, overlap)
    if len(tops) == len(lefts) == 1:
        yield run(images)
        return
    together = max(1, batch_size // len(images))
    weight = importance(height, width)
    mean = total = None
    for top, next_top in zip(tops, [*tops[1:], images.shape[-2]], strict=True):
        rows = images[:, :, top : top + height]
        for first in range(0, len(lefts), together):
            places = [slice(left, left + width) for left in lefts[first : first + together]]
            found = run(torch.cat([rows[..., place] for place in places]))
            if mean is None:
                weight = weight.to(found.device)
                mean = found.new_zeros(len(images), found.shape[1], height, images.shape[-1])
                total = found.new_zeros(height, images.shape[-1])
            for place, one in zip(places, found.split(len(images)), strict=True):
                total[:, place] += weight
                # A running mean, not a sum divided at the end: equal values stay exactly equal.
                mean[..., place].lerp_(one, weight / total[:, place])
        done = next_top - top
        yield mean[:, :, :done]
        mean, total = _scroll(mean, done), _scroll(total, done)


def _scroll(strip: Tensor, rows: int) -> Tensor:
    """Drop the first rows of (..., rows, W) and add as many zeros below; the old memory may still be read elsewhere."""
    return torch.cat([strip[..., rows:, :], torch.zeros_like(strip[..., :rows, :])], dim=-2)
