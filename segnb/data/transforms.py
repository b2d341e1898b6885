"""What a data set needs of an albumentations transform: labels stay labels, pixels stay uint8, dice are fresh."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segnb.errors import SegnbError

Transform = Callable[..., Mapping[str, Any]]

NEAREST = (0, 6)  # cv2.INTER_NEAREST and cv2.INTER_NEAREST_EXACT: the only ones that invent no labels


def check_transform(transform: Transform | None) -> None:
    """Refuse a transform that would mix labels, and repair what a seed does to a pipeline.

    Args:
        transform: an albumentations transform or pipeline, any ``transform(image=, mask=) -> {"image":, "mask":}``,
            or None.

    Raises:
        SegnbError: it cannot be called, or a step resizes masks with something else than nearest.
    """
    if transform is None:
        return
    if not callable(transform):
        raise SegnbError(
            f"transform is a {type(transform).__name__}: give an albumentations pipeline, such as A.Compose([...]), "
            "or a function transform(image=, mask=) that returns a dictionary with both."
        )
    for step in _steps(transform):
        method = getattr(step, "mask_interpolation", None)
        if method is not None and method not in NEAREST:
            raise SegnbError(
                f"{type(step).__name__} has mask_interpolation={method}, which blends labels into ones that mean "
                "something else: leave mask_interpolation out, or set it to cv2.INTER_NEAREST."
            )
    seed = getattr(transform, "seed", None)
    if seed is not None:
        seed_transform(transform, seed)


def seed_transform(transform: Transform | None, seed: int) -> None:
    """Make an albumentations transform repeatable from here on.

    Albumentations 2.0 gives every step of a seeded pipeline a generator of its own with the same seed, so that all
    steps throw the same dice: whatever is flipped is always also rotated. Here all steps share one generator.

    Args:
        transform: the transform; left as it is if it has no random state that can be set.
        seed: any integer from 0.
    """
    if hasattr(transform, "set_random_state"):
        transform.set_random_state(np.random.default_rng(seed), random.Random(seed))  # noqa: S311 (no secret)


def apply_transform(
    transform: Transform | None, image: np.ndarray, labels: np.ndarray, name: str
) -> tuple[Tensor, Tensor]:
    """Transform a picture with its labels and hand both over as tensors.

    Args:
        transform: see `check_transform`; ``ToTensorV2`` at its end is welcome but not needed.
        image: (H, W, C) uint8. The transform may write into it.
        labels: (H, W) uint8, or (K, H, W) of overlapping classes, which the transform gets as one mask (H, W, K): that way
            all planes move together.
        name: what to call the picture in an error.

    Returns:
        image (C, H', W') uint8 and labels (H', W') int64 or (K, H', W') uint8.

    Raises:
        SegnbError: the transform failed, or returned something else than such a pair.
    """
    planes = labels.ndim == 3
    if transform is None:
        return _image_tensor(image), torch.from_numpy(labels) if planes else torch.from_numpy(labels).long()
    try:
        result = transform(image=image, mask=np.ascontiguousarray(labels.transpose(1, 2, 0)) if planes else labels)
        new_image, new_labels = _image_tensor(result["image"]), _labels_tensor(result["mask"])
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".rstrip(".")
        raise SegnbError(f"The transform fails on image {name!r} of shape {image.shape}: {reason}.") from error
    if new_image.dtype != torch.uint8:
        raise SegnbError(
            f"The transform turns images into {new_image.dtype}: leave out A.Normalize and A.ToFloat, because data "
            "sets hand over uint8 and the model normalises by itself."
        )
    if new_labels.is_floating_point() or new_labels.shape[2:] != labels.shape[:1] * planes or new_labels.ndim < 2:
        wanted = f"(H, W, {len(labels)}), a plane for each class, of" if planes else "(H, W)"
        raise SegnbError(
            f"The transform turns masks into {tuple(new_labels.shape)} {new_labels.dtype}: keep {wanted} integers."
        )
    if new_image.shape != (image.shape[2], *new_labels.shape[:2]):
        raise SegnbError(
            f"The transform turns image {name!r} into (channels, height, width) {tuple(new_image.shape)} and its mask "
            f"into {tuple(new_labels.shape)}: both must have one size, and the image its {image.shape[2]} channels."
        )
    return new_image, new_labels.permute(2, 0, 1).to(torch.uint8).contiguous() if planes else new_labels.long()


def _steps(transform: Transform) -> Iterator[Transform]:
    """Walk through a pipeline and all that it is nested of."""
    yield transform
    for step in getattr(transform, "transforms", None) or ():
        yield from _steps(step)


def _image_tensor(image: np.ndarray | Tensor) -> Tensor:
    """(H, W, C) or (H, W) array -> (C, H, W) tensor; what is a tensor already (ToTensorV2) stays."""
    if isinstance(image, Tensor):
        return image
    if image.ndim == 2:  # some transforms drop a single channel
        image = image[:, :, None]
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))  # NumPy is faster at this than torch


def _labels_tensor(labels: np.ndarray | Tensor) -> Tensor:
    """(H, W) array -> tensor; a mirrored view (``mask[:, ::-1]``) has negative strides, which torch refuses."""
    return labels if isinstance(labels, Tensor) else torch.from_numpy(np.ascontiguousarray(labels))
