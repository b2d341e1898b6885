"""What a data set says about itself and about pictures that do not fit."""

from __future__ import annotations

from segnb.data.transforms import Transform
from segnb.data.wording import counted, listed


def describe_channels(count: int) -> str:
    """Write "3 channels (RGB)"."""
    return counted(count, "channel") + {1: " (grey)", 3: " (RGB)"}.get(count, "")


def describe_transform(transform: Transform | None) -> str:
    """Name a function by its name, a pipeline by its steps."""
    if transform is None:
        return "none"
    steps = getattr(transform, "transforms", None)
    if steps is None:
        return getattr(transform, "__name__", type(transform).__name__)
    return f"{type(transform).__name__}({listed([type(step).__name__ for step in steps])})"


def explain_sizes(image: str, image_shape: tuple[int, ...], mask: str, mask_shape: tuple[int, ...]) -> str:
    """Say that an image and its mask differ in size, and what may have happened."""
    height, width, channels = image_shape
    text = (
        f"{image} is {width} × {height} pixels but {mask} is {mask_shape[1]} × {mask_shape[0]}: make both the "
        "same size, resizing masks with nearest only."
    )
    if mask_shape == (width, height):
        return (
            f"{text} One may be turned: images are shown upright as EXIF says, so draw or save the mask upright, too."
        )
    if mask_shape == (width, channels):
        return f"{text} The image looks channels-first: give image.transpose(1, 2, 0)."
    return text
