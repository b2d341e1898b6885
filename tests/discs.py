"""The smallest multi-label task worth learning: a red and a blue disc that overlap. Arrays only, no files."""

import numpy as np

DISCS = ["red", "blue"]


def discs(count, seed=0, size=48):
    """``count`` pictures (size, size, 3) uint8 and planes (2, size, size) uint8, one disc of each class in each."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    images, masks = [], []
    for _ in range(count):
        radius = random.integers(size // 6, size // 4)
        row, column = random.integers(size // 3, 2 * size // 3, 2)
        shift = random.integers(-radius, radius + 1, 2)  # so that they overlap
        centres = [(row, column), (row + shift[0], column + shift[1])]
        planes = np.array([(rows - r) ** 2 + (columns - c) ** 2 <= radius**2 for r, c in centres])
        image = random.integers(0, 60, (size, size, 3))
        image[:, :, 0] += 150 * planes[0]
        image[:, :, 2] += 150 * planes[1]
        images.append(image.astype(np.uint8))
        masks.append(planes.astype(np.uint8))
    return images, masks
