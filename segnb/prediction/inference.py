"""Probabilities of one batch of pictures: windows, flips and scales in any combination.

picture ─▶ each scale ─▶ each window ─▶ each flip ─▶ model ─▶ probabilities
               │             │              └─ flipped back, averaged ┘
               │             └─ weighted mean ────────────────────────┘
               └─ resized back, averaged ─────────────────────────────┘
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segnb.errors import SegnbError, nearest
from segnb.prediction.windows import slide

FLIPS = {"horizontal": -1, "vertical": -2}  # a horizontal flip exchanges left and right


@dataclass(frozen=True)
class Inference:
    """How a model looks at a picture, checked; see `predict`.

    Attributes:
        batch_size: pictures or windows at a time.
        window: height and width, or None for the whole picture.
        overlap: least share of a window that its neighbours see.
        scales: factors by which the picture is resized.
        flips: axes of a tensor (B, C, H, W) along which it is mirrored.
    """

    batch_size: int
    window: tuple[int, int] | None
    overlap: float
    scales: tuple[float, ...]
    flips: tuple[int, ...]

    @classmethod
    def from_options(
        cls,
        batch_size: int,
        window: int | tuple[int, int] | None,
        overlap: float,
        scales: float | Sequence[float],
        flips: str | Sequence[str],
    ) -> Inference:
        """Check what a user gave.

        Args:
            batch_size: see `predict`.
            window: see `predict`.
            overlap: see `predict`.
            scales: see `predict`.
            flips: see `predict`.

        Returns:
            The checked settings.

        Raises:
            SegnbError: one of them does not fit.
        """
        if not isinstance(batch_size, int) or batch_size < 1:
            raise SegnbError(f"batch_size is {batch_size!r}; it must be 1 or more.")
        if not _is_number(overlap) or not 0 <= overlap < 1:
            raise SegnbError(
                f"overlap is {overlap!r}; give the share of a window that its neighbours see, such as 0.25."
            )
        return cls(batch_size, _check_window(window), overlap, _check_scales(scales), _check_flips(flips))

    def strips(self, model: nn.Module, images: Tensor, device: torch.device) -> Iterator[Tensor]:
        """Compute probabilities, from top to bottom.

        Args:
            model: in eval mode; needs ``probabilities(logits)``.
            images: (B, C, H, W) uint8, on the CPU.
            device: the model's.

        Yields:
            Strips (B, K, rows, W) float32, 0 to 1, that, put below each other, are (B, K, H, W). With a window they are on the
            CPU, so that the whole never has to fit on the device.
        """

        def run(pictures: Tensor) -> Tensor:
            found = _flipped(lambda views: model.probabilities(model(views).float()), pictures.to(device), self.flips)
            return found if self.window is None else found.cpu()

        def at_scale(pictures: Tensor) -> Iterator[Tensor]:
            return slide(run, pictures, self.window or pictures.shape[-2:], self.overlap, self.batch_size)

        if self.scales == (1.0,):
            yield from at_scale(images)
        else:
            resized = (torch.cat(list(at_scale(_resized(images, scale))), dim=-2) for scale in self.scales)
            yield _mean(_at_size(found, images.shape[-2:]) for found in resized)


def _mean(maps: Iterator[Tensor]) -> Tensor:
    """Average tensors one by one; the first is overwritten. Of equal ones the mean is exactly the same."""
    mean = next(maps)
    for count, found in enumerate(maps, start=2):
        mean.lerp_(found, 1 / count)
    return mean


def _flipped(run: Callable[[Tensor], Tensor], pictures: Tensor, flips: tuple[int, ...]) -> Tensor:
    """Average over all combinations of the flips, none of them included: two flips make four views."""
    views = chain.from_iterable(combinations(flips, count) for count in range(len(flips) + 1))
    return _mean(run(pictures.flip(axes)).flip(axes) for axes in views)


def _resized(images: Tensor, scale: float) -> Tensor:
    """Resize raw pixels; they stay raw pixels, so the model normalises them as ever."""
    size = [max(1, round(side * scale)) for side in images.shape[-2:]]
    if size == list(images.shape[-2:]):
        return images
    pixels = F.interpolate(images.float(), size, mode="bilinear", antialias=True)
    return pixels.round().clamp(0, 255).to(torch.uint8)


def _at_size(maps: Tensor, size: torch.Size) -> Tensor:
    return maps if maps.shape[-2:] == size else F.interpolate(maps, size, mode="bilinear", antialias=True)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_window(window: Any) -> tuple[int, int] | None:
    if window is None:
        return None
    sides = (window, window) if isinstance(window, int) else window
    fits = isinstance(sides, (tuple, list)) and len(sides) == 2 and all(isinstance(side, int) for side in sides)
    if not fits or min(sides) < 1:
        raise SegnbError(f"window is {window!r}; give one number of pixels or (height, width), 1 or more, such as 512.")
    return tuple(sides)


def _check_scales(scales: Any) -> tuple[float, ...]:
    factors = (scales,) if _is_number(scales) else scales
    if not isinstance(factors, (tuple, list)) or not factors:
        raise SegnbError(f"scales is {scales!r}; give one factor or several, such as (0.75, 1.0, 1.25).")
    for factor in factors:
        if not _is_number(factor) or not 0 < factor < float("inf"):
            raise SegnbError(f"scales has {factor!r}; a scale is a factor above 0, 1.0 is the picture's own size.")
    return tuple(float(factor) for factor in factors)


def _check_flips(flips: Any) -> tuple[int, ...]:
    names = (flips,) if isinstance(flips, str) else flips
    if not isinstance(names, (tuple, list)):
        raise SegnbError(f'flips is {flips!r}; give "horizontal", "vertical" or both in a tuple.')
    unknown = [name for name in names if name not in FLIPS]
    if unknown:
        raise SegnbError(f"unknown flip {unknown[0]!r}. {nearest(unknown[0], FLIPS)}")
    return tuple({FLIPS[name]: None for name in names})
