"""Superpixels: small patches of similar pixels that follow the outlines in the picture, to be painted as wholes.

    picture ─ grid of cells ─▶ a centre each (colour, place) ─┬─▶ every pixel joins the nearest of 3 × 3 centres ─┐
                                                              └────── centres move to the mean of their pixels ◀──┘

Paper: Achanta et al., "SLIC Superpixels Compared to State-of-the-Art Superpixel Methods", IEEE TPAMI 2012,
https://doi.org/10.1109/TPAMI.2012.120, algorithm 1. Differs from the paper: a pixel looks at the centres of its own cell
and of the eight around it (Ren et al., gSLICr, https://arxiv.org/abs/1509.04232, section 3.2), which whole arrays can do;
pieces cut off from their superpixel join the nearest one that is whole.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage, sparse

COUNT = 800  # superpixels in a picture, unless their size is given
SMALLEST, BIGGEST = 5, 100  # pixels across; smaller ones would be too many for 16 bits
COMPACTNESS = (
    10.0  # colour distance, in CIELAB, that weighs as much as the distance between two centres (the paper's m)
)
ROUNDS = 5
LARGEST = 1024 * 1024  # pixels to work on; superpixels of larger pictures get outlines with steps


def usual_size(height: int, width: int) -> int:
    """Choose a size for a picture.

    Args:
        height: of the picture in pixels.
        width: of the picture in pixels.

    Returns:
        Pixels across with which it is cut into about `COUNT` superpixels.
    """
    return min(BIGGEST, max(SMALLEST, round((height * width / COUNT) ** 0.5)))


def superpixels(image: np.ndarray, across: int) -> np.ndarray:
    """Cut a picture into superpixels.

    Args:
        image: (H, W, 3) uint8.
        across: pixels from one side of a superpixel to the other, about; `SMALLEST` to `BIGGEST`.

    Returns:
        (H, W) uint16, the number of each pixel's superpixel; the same picture always gives the same ones.
    """
    height, width = image.shape[:2]
    scale = min(1.0, (LARGEST / (height * width)) ** 0.5)
    if scale < 1:
        size = (max(1, int(width * scale)), max(1, int(height * scale)))
        small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
        ids = superpixels(small, max(SMALLEST, round(across * scale)))
        rows, columns = (
            np.arange(whole) * part // whole for whole, part in ((height, ids.shape[0]), (width, ids.shape[1]))
        )
        return ids[rows[:, None], columns]
    return _whole_pieces(_cluster(image, across)).astype(np.uint16)


def _cluster(image: np.ndarray, across: int) -> np.ndarray:
    """SLIC's k-means over colour and place: (H, W) numbers."""
    import cv2

    height, width = image.shape[:2]
    down, right = -height % across, -width % across
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    lab = np.pad(lab, ((0, down), (0, right), (0, 0)), mode="edge")
    weight = COMPACTNESS / across
    place = np.indices(lab.shape[:2], np.float32).transpose(1, 2, 0) * weight
    pixels = np.concatenate([lab, place], axis=2)
    rows, columns = lab.shape[0] // across, lab.shape[1] // across
    cells = pixels.reshape(rows, across, columns, across, 5)
    centres = cells.mean(axis=(1, 3))
    for _ in range(ROUNDS):
        numbers = _assign(cells, centres)
        flat = numbers.ravel()
        count = np.bincount(flat, minlength=rows * columns)
        sums = [np.bincount(flat, cells[..., part].ravel(), rows * columns) for part in range(5)]
        means = np.stack(sums, axis=1) / np.maximum(count, 1)[:, None]
        centres = np.where(count[:, None] > 0, means, centres.reshape(-1, 5)).astype(np.float32)
        centres = centres.reshape(rows, columns, 5)
    return _assign(cells, centres).reshape(lab.shape[:2])[:height, :width]


def _assign(cells: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Give each pixel (rows, S, columns, S, 5) the number of the nearest centre (rows, columns, 5) among 3 × 3."""
    rows, columns = centres.shape[:2]
    padded = np.pad(centres, ((1, 1), (1, 1), (0, 0)), constant_values=np.inf)
    numbers = np.arange(rows * columns).reshape(rows, columns)
    best = np.full(cells.shape[:4], np.inf, np.float32)
    nearest = np.zeros(cells.shape[:4], np.int64)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            centre = padded[1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + columns]
            difference = cells - centre[:, None, :, None]
            distance = np.einsum("aibjk,aibjk->aibj", difference, difference)
            closer = distance < best
            np.copyto(best, distance, where=closer)
            np.copyto(nearest, (numbers + dy * columns + dx)[:, None, :, None], where=closer)
    return nearest


def _whole_pieces(ids: np.ndarray) -> np.ndarray:
    """Keep the largest connected piece of each superpixel; other pixels join the nearest piece that is kept."""
    places = np.arange(ids.size).reshape(ids.shape)
    beside, below = ids[:, 1:] == ids[:, :-1], ids[1:] == ids[:-1]
    start = np.concatenate([places[:, 1:][beside], places[1:][below]])
    end = np.concatenate([places[:, :-1][beside], places[:-1][below]])
    graph = sparse.coo_matrix((np.ones(len(start), bool), (start, end)), shape=(ids.size, ids.size))
    count, pieces = sparse.csgraph.connected_components(graph, directed=False)
    size = np.bincount(pieces, minlength=count)
    owner = np.zeros(count, np.int64)
    owner[pieces] = ids.ravel()
    largest = np.zeros(int(ids.max()) + 1, np.int64)
    by_size = np.argsort(size, kind="stable")
    largest[owner[by_size]] = by_size  # the last one written is the largest
    kept = (pieces == largest[ids.ravel()]).reshape(ids.shape)
    row, column = ndimage.distance_transform_edt(~kept, return_distances=False, return_indices=True)
    return ids[row, column]
