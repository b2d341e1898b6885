"""PSANet's mask, which mmcv-lite has not compiled, in plain loops; importing this puts it into mmcv.

The mask of a pixel has a number for each way to go from it. Those that stay on the map are laid over it, centred on the pixel.
Written from the paper: Zhao et al., ECCV 2018, section 3.3.
"""

from itertools import product

import mmcv_lite_shim  # noqa: F401, before mmcv.ops
from mmcv.ops import PSAMask


def lay_masks(masks, takes, size):
    """(B, rows·columns, h, w) -> (B, h·w, h, w): for each pixel what it takes from, or is given by, the pixels of dimension 1."""
    (rows, columns), (batch, _, height, width) = size, masks.shape
    laid = masks.new_zeros(batch, height * width, height, width)
    for y, x in product(range(height), range(width)):
        for to_y, to_x in product(range(height), range(width)):
            row, column = to_y - y + (rows - 1) // 2, to_x - x + (columns - 1) // 2
            if not (0 <= row < rows and 0 <= column < columns):
                continue
            number = masks[:, row * columns + column, y, x]
            if takes:
                laid[:, to_y * width + to_x, y, x] = number
            else:
                laid[:, y * width + x, to_y, to_x] = number
    return laid


PSAMask.forward = lambda self, masks: lay_masks(masks, self.psa_type == "collect", self.mask_size)
