"""The smallest task worth learning: bright squares on dark noise. Arrays only, no files."""

import numpy as np

TINY = "test_efficientnet"  # timm's own test models: a full pyramid in a million parameters
CLASSES = ["ground", "square"]


def squares(count, seed=0, size=48, channels=3):
    """``count`` pictures (size, size, channels) uint8 and label maps (size, size) uint8, one square in each."""
    random = np.random.default_rng(seed)
    images, masks = [], []
    for _ in range(count):
        side = int(random.integers(size // 4, size // 2))
        top, left = random.integers(0, size - side, 2)
        mask = np.zeros((size, size), np.uint8)
        mask[top : top + side, left : left + side] = 1
        noise = random.integers(0, 90, (size, size, channels))
        images.append((noise + 140 * mask[:, :, None]).astype(np.uint8))
        masks.append(mask)
    return images, masks
