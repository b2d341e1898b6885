"""INT8: weights and maps as 8-bit integers, whose scales are measured on pictures (post-training quantization).

        float32 map, all calibration pictures:   -3.1 ───────── 0 ───────── 2.9
                                                   └ scale = 3.1 / 127
        INT8:                                    -127 ───────── 0 ───────── 119

Multiplying bytes is several times as fast as multiplying floats, and the range of every map must be known beforehand: hence the
pictures. Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018,
https://arxiv.org/abs/1712.05877; done by NNCF, https://github.com/openvinotoolkit/nncf.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from segnb.errors import SegnbError
from segnb.exporting.quiet import import_silently, quiet
from segnb.exporting.tracing import reason_of

if TYPE_CHECKING:
    import openvino

    from segnb.data.datasets import SegmentationDataset

PICTURES = 300  # NNCF's own default: more hardly change the ranges


def quantize(
    network: openvino.Model, model: nn.Module, calibration: SegmentationDataset, raw_pixels: bool
) -> openvino.Model:
    """Make an INT8 network from a float32 one.

    Args:
        network: OpenVINO's graph of ``model``.
        model: says how pixels are normalised.
        calibration: pictures, of which up to 300 are used, spread evenly over the data set.
        raw_pixels: whether the network takes uint8 pixels.

    Returns:
        The INT8 network, the same for the same pictures.

    Raises:
        SegnbError: NNCF cannot quantise this graph.
    """
    nncf = import_silently("nncf")
    count = min(PICTURES, len(calibration))
    chosen = np.linspace(0, len(calibration) - 1, count).round().astype(int).tolist()

    def pixels(index: int) -> np.ndarray:
        image = calibration[index][0][None]
        return (image if raw_pixels else (image / 255 - model.mean) / model.std).numpy()

    try:
        with quiet(), _no_progress_bars():
            return nncf.quantize(network, nncf.Dataset(chosen, pixels), subset_size=count)
    except Exception as error:
        raise SegnbError(
            f"this model cannot be quantised: {reason_of(error)} Export it without calibration, or try another encoder."
        ) from error


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Silence the console on which NNCF draws a bar for each of its many steps."""
    import rich

    console = rich.get_console()
    before = console.quiet, console.is_jupyter
    console.quiet, console.is_jupyter = True, False
    try:
        yield
    finally:
        console.quiet, console.is_jupyter = before
