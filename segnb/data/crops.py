"""Crops that find the rare: a random crop of a large picture mostly shows what there is most of.

    labels (H, W) ─▶ which are there? ─▶ throw one, by weight ─▶ throw one of its pixels ─▶ a crop with that pixel in it

For "anything but background", albumentations has ``A.CropNonEmptyMaskIfExists(height, width, ignore_values=[255])``.
What it lacks is here: to choose the class first, so that a pole counts as much as a road with a thousand times its
pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import albumentations as A
import numpy as np

from segnb.draw import IGNORE
from segnb.errors import SegnbError


class BalancedCrop(A.RandomCrop):
    """Cut out a part of the picture that shows a class thrown at random, each class with its own weight.

    The pixel thrown lies anywhere in the crop, not in its middle: a network soon learns that the middle is rare. A
    picture smaller than the crop is padded with black, its mask with 255 (ignored). A picture with nothing but ignored
    pixels is cropped anywhere.

    Args:
        height: of the crop in pixels.
        width: of the crop in pixels.
        class_weights: how much more often one class is thrown than another, one number from 0 for each label;
            ``check_dataset(train).class_weights`` throws rare ones more often. None: all that the picture shows alike.
        p: probability of cropping at all; pictures of different sizes do not fit into one batch, so leave it at 1.

    Raises:
        SegnbError: a weight is negative or not finite, or all are 0; when called, a label has no weight.

    Example:
        >>> train = train.with_transform(A.Compose([BalancedCrop(256, 256), A.HorizontalFlip()]))
    """

    def __init__(self, height: int, width: int, class_weights: Sequence[float] | None = None, p: float = 1.0) -> None:
        super().__init__(height, width, pad_if_needed=True, fill=0, fill_mask=IGNORE, p=p)
        self.class_weights = None if class_weights is None else [float(weight) for weight in class_weights]
        if class_weights is not None and not _are_weights(self.class_weights):
            raise SegnbError(
                f"class_weights={self.class_weights}: give one number from 0 for each label, and not only zeros."
            )

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        """Tell albumentations the arguments that make this crop again, without those of `RandomCrop` that are fixed."""
        return "height", "width", "class_weights"

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Choose where to cut; albumentations calls this.

        Args:
            params: has the ``shape`` of the image.
            data: has the ``mask``, (H, W) integers, or (H, W, K) of classes that may overlap.

        Returns:
            "crop_coords" (left, top, right, bottom) in the padded picture, and "pad_params".
        """
        chosen = super().get_params_dependent_on_data(params, data)
        pixel = self._throw_pixel(data["mask"])
        if pixel is None:
            return chosen
        padding = chosen["pad_params"] or {"pad_top": 0, "pad_bottom": 0, "pad_left": 0, "pad_right": 0}
        height = params["shape"][0] + padding["pad_top"] + padding["pad_bottom"]
        width = params["shape"][1] + padding["pad_left"] + padding["pad_right"]
        top = self._throw_start(pixel[0] + padding["pad_top"], self.height, height)
        left = self._throw_start(pixel[1] + padding["pad_left"], self.width, width)
        return {**chosen, "crop_coords": (left, top, left + self.width, top + self.height)}

    def _throw_pixel(self, labels: np.ndarray) -> tuple[int, int] | None:
        """Throw a class, then a pixel of it: (row, column); None if there is none to throw."""
        if labels.ndim == 3:
            there = np.flatnonzero((labels == 1).any(axis=(0, 1))).tolist()
        else:
            there = [int(label) for label in np.unique(labels) if label != IGNORE]
        weights = [self._weight(label) for label in there]
        if not any(weights):
            return None
        label = self.py_random.choices(there, weights)[0]
        rows, columns = np.nonzero(labels[:, :, label] == 1 if labels.ndim == 3 else labels == label)
        place = self.py_random.randrange(len(rows))
        return int(rows[place]), int(columns[place])

    def _weight(self, label: int) -> float:
        if self.class_weights is None:
            return 1.0
        if label >= len(self.class_weights):
            raise SegnbError(
                f"BalancedCrop met label {label} but has {len(self.class_weights)} class_weights: give one for each label."
            )
        return self.class_weights[label]

    def _throw_start(self, pixel: int, length: int, total: int) -> int:
        """Throw where a stretch of ``length`` starts that covers ``pixel`` and stays within ``total``."""
        return self.py_random.randint(max(0, pixel - length + 1), min(pixel, total - length))


def _are_weights(weights: list[float]) -> bool:
    return all(np.isfinite(weight) and weight >= 0 for weight in weights) and any(weights)
