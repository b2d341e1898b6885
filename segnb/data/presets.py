"""Six pipelines of augmentation to start from, and any pipeline written out as the code that makes it.

    geometry ─▶ crop or pad to one size ─▶ light and colour ─▶ camera (blur, noise) ─▶ uint8, labels as they were

What holds for all: masks follow with nearest, so no label is invented; what comes in from outside the picture is black
and its label 255, which does not count (albumentations would label it 0, a class); pixels stay uint8 and are not
normalised, which the model does; light comes after the crop, where there are fewer pixels to change. The strengths are
those common in the field: scales 0.5 to 2 as in DeepLab (Chen et al., 2018, https://arxiv.org/abs/1606.00915), then the
photometric changes of SSD (Liu et al., ECCV 2016, https://arxiv.org/abs/1512.02325, section 2.2).
"""

from __future__ import annotations

from collections.abc import Callable

import albumentations as A

from segnb.draw import IGNORE
from segnb.errors import SegnbError, nearest

Size = tuple[int, int]


def preset(name: str, size: Size) -> A.Compose:
    """Make a pipeline of augmentation for `SegmentationDataset.with_transform`.

    Args:
        name: "light", "medium" or "heavy" for photos, by how much they change; "medical", "aerial" or "industrial".
        size: (height, width) of what comes out, always: larger pictures are cropped, smaller ones padded.

    Returns:
        The pipeline, for pictures of 1 or 3 channels ("light", "medical", "aerial" and "industrial": of any number).
        ``print(as_code(pipeline))`` shows it as code to copy and change.

    Raises:
        SegnbError: there is no such preset, or the size is no pair of positive numbers.

    Example:
        >>> train = train.with_transform(preset("medium", (256, 256)))
    """
    if name not in PRESETS:
        raise SegnbError(f"There is no preset {name!r}. {nearest(name, PRESETS)}")
    if not (isinstance(size, (tuple, list)) and len(size) == 2 and all(int(side) >= 1 for side in size)):
        raise SegnbError(f"size={size!r}: give (height, width) in pixels, such as (256, 256).")
    return A.Compose(PRESETS[name]((int(size[0]), int(size[1]))))


def light(size: Size) -> list[A.BasicTransform]:
    """Nothing that could hurt: for large data sets, and to see whether augmentation helps at all."""
    return [
        _crop(size),
        A.HorizontalFlip(),  # gravity tells up from down in photos, nothing tells left from right
        A.RandomBrightnessContrast(brightness_limit=0.1, contrast_limit=0.1),
    ]


def medium(size: Size) -> list[A.BasicTransform]:
    """The usual recipe for photos: scale, crop, flip, light and colour."""
    return [
        A.RandomScale(scale_limit=(-0.5, 1.0), p=1.0),  # half to double: things are near and far
        _crop(size),
        A.HorizontalFlip(),
        A.ColorJitter(brightness=0.25, contrast=0.25, saturation=0.25, hue=0.05, p=0.8),
    ]


def heavy(size: Size) -> list[A.BasicTransform]:
    """For little data and long training: another view, another light, a worse camera, something in front."""
    return [
        A.RandomScale(scale_limit=(-0.5, 1.0), p=1.0),
        A.Affine(rotate=(-15, 15), shear=(-5, 5), fill_mask=IGNORE),
        A.Perspective(scale=(0.02, 0.08), fill_mask=IGNORE, p=0.3),
        _crop(size),
        A.HorizontalFlip(),
        A.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
        A.RandomGamma(gamma_limit=(70, 140), p=0.3),
        A.OneOf([A.GaussianBlur(sigma_limit=(0.5, 1.5)), A.MotionBlur(blur_limit=(3, 7))], p=0.2),
        A.GaussNoise(std_range=(0.01, 0.05), p=0.3),
        A.ImageCompression(quality_range=(50, 95), p=0.2),
        # No one can label what is hidden, so the labels under the black holes do not count.
        A.CoarseDropout(num_holes_range=(1, 4), fill_mask=IGNORE, p=0.3),
    ]


def medical(size: Size) -> list[A.BasicTransform]:
    """Scans and slices: the patient lies and breathes a little differently, the scanner is another."""
    return [
        # No flip: it would put the heart on the right and make a left lung of a right one, under the old label.
        A.Affine(scale=(0.9, 1.1), translate_percent=(-0.05, 0.05), rotate=(-10, 10), fill_mask=IGNORE, p=0.8),
        A.ElasticTransform(alpha=40, sigma=8, fill_mask=IGNORE, p=0.3),  # soft tissue moves by a few pixels
        _crop(size),
        # Grey values are measurements (density, uptake): only as far as two scanners differ, and no colour changes.
        A.RandomBrightnessContrast(brightness_limit=0.08, contrast_limit=0.1),
        A.RandomGamma(gamma_limit=(90, 110), p=0.3),
        A.GaussNoise(std_range=(0.005, 0.02), p=0.3),
    ]


def aerial(size: Size) -> list[A.BasicTransform]:
    """Seen straight from above: there is no up, and a pixel is always about as many metres; any number of bands."""
    return [
        A.RandomScale(
            scale_limit=(-0.2, 0.25), p=0.5
        ),  # flying height varies little, and size tells a car from a lorry
        A.D4(),  # all eight symmetries of the square, without interpolation; before the crop, which they may lay across
        _crop(size),
        # Haze, season and sun; each band for itself would turn meadow into water, so all bands alike.
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2),
        A.RandomGamma(gamma_limit=(80, 125), p=0.3),
        A.GaussNoise(std_range=(0.005, 0.02), p=0.2),
    ]


def industrial(size: Size) -> list[A.BasicTransform]:
    """Inspection: a fixed camera looks at a surface, the lamp ages, the belt shakes."""
    return [
        # No shrinking and next to no blur: a scratch one pixel wide would vanish and its label stay.
        A.Affine(translate_percent=(-0.03, 0.03), rotate=(-3, 3), fill_mask=IGNORE),
        _crop(size),
        A.HorizontalFlip(),  # a scratch has no direction; take the flips out where parts bear letters
        A.VerticalFlip(),
        A.RandomBrightnessContrast(brightness_limit=0.15, contrast_limit=0.15),
        A.RandomGamma(gamma_limit=(85, 118), p=0.3),
        A.GaussNoise(std_range=(0.005, 0.02), p=0.3),
    ]


PRESETS: dict[str, Callable[[Size], list[A.BasicTransform]]] = {
    "light": light,
    "medium": medium,
    "heavy": heavy,
    "medical": medical,
    "aerial": aerial,
    "industrial": industrial,
}


def _crop(size: Size) -> A.RandomCrop:
    """Bring any picture to one size without changing its scale."""
    return A.RandomCrop(*size, pad_if_needed=True, fill_mask=IGNORE)
