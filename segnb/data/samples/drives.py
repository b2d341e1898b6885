"""Drives through streets: frames that a camera takes one after the other show nearly the same.

    one wide scene  ├────────────────────────────┤
    frame 0         ├──────────────────┤
    frame 1          ├──────────────────┤             a few pixels further, with noise of its own
    frame 2           ├──────────────────┤

The oldest way to fool oneself: such frames are dealt out at random, and each validation frame has neighbours in training.
"""

from __future__ import annotations

import numpy as np

from segnb.data.samples import draw_sample
from segnb.data.samples.formats import Picture

SIZE = (96, 128)  # height and width of a frame, pixels
STEP = 4  # pixels that the camera moves from frame to frame
NOISE = 3.0  # grey levels
FIRST_SEED = 5000  # scenes that no shipped sample shows


def draw_drives(drives: int, frames: int) -> list[Picture]:
    """Draw some drives; the same arguments always give the same pixels.

    Args:
        drives: how many, each through a street of its own.
        frames: of each drive.

    Returns:
        Name, image (96, 128, 3) and labels (96, 128) of the scene "street" for each frame, as "drive07-frame2".
    """
    height, width = SIZE
    pictures = []
    for drive in range(drives):
        scene, labels = draw_sample("street", FIRST_SEED + drive, (height, width + STEP * (frames - 1)))
        noise = np.random.default_rng(drive)
        for frame in range(frames):
            seen = slice(STEP * frame, STEP * frame + width)
            noisy = scene[:, seen] + noise.normal(0, NOISE, (height, width, 1))
            image = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
            pictures.append((f"drive{drive:02d}-frame{frame}", image, labels[:, seen]))
    return pictures
