"""Weights that need no file: every tensor follows from its name and shape, the same on both sides of a comparison."""

import zlib

import numpy as np


def make_tensor(name, shape):
    """A tensor as it could stand in a trained model: float32, or int64 for a count of batches."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    last = name.rpartition(".")[2]
    if last == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if last == "running_var":
        return random.uniform(0.5, 2, shape).astype(np.float32)
    if last == "running_mean":
        return (0.3 * random.standard_normal(shape)).astype(np.float32)
    if last == "weight" and len(shape) == 1:
        return (1 + 0.1 * random.standard_normal(shape)).astype(np.float32)
    if len(shape) > 1:  # a kernel: keeps the size of what goes through it
        return (random.standard_normal(shape) * np.sqrt(1.2 / np.prod(shape[1:]))).astype(np.float32)
    return np.asarray(0.3 * random.standard_normal(shape), np.float32)


def make_image(height=64, width=96):
    """(1, 3, height, width) float32: patches and noise, since noise alone averages out."""
    random = np.random.default_rng(0)
    patches = random.standard_normal((1, 3, -(-height // 16), -(-width // 16))).repeat(16, 2).repeat(16, 3)
    patches = patches[..., :height, :width]
    return (3 * patches + random.standard_normal((1, 3, height, width))).astype(np.float32)
