"""The feature maps of an encoder as a figure: what is shown, in numbers."""

from __future__ import annotations

import numpy as np
import pytest

from segnb import draw
from segnb.errors import SegnbError


def test_feature_maps_shows_the_mean_strength_of_each_level():
    picture = np.full((8, 12, 3), 7, np.uint8)
    fine = np.stack([np.full((4, 6), 3.0), np.full((4, 6), -1.0)])
    coarse = np.arange(2 * 3).reshape(1, 2, 3).astype(np.float32)
    figure = draw.feature_maps(picture, [fine, coarse])
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert (shown[0] == picture).all()
    assert shown[1].tolist() == np.full((4, 6), 2.0).tolist()  # signs do not cancel
    assert shown[2].tolist() == coarse[0].tolist()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["picture", "c1: 2 × 4 × 6", "c2: 1 × 2 × 3"]


def test_feature_maps_of_five_levels_fill_two_rows():
    levels = [np.zeros((2, side, side)) for side in (16, 8, 4, 2, 1)]
    figure = draw.feature_maps(np.zeros((32, 32), np.uint8), levels)
    assert figure.axes[0].get_gridspec().get_geometry() == (2, 3)
    assert [len(axes.images) for axes in figure.axes] == [1] * 6


@pytest.mark.parametrize("maps", [[], [np.zeros((2, 4))], [np.zeros((1, 2, 4, 4))]])
def test_feature_maps_says_what_a_map_is(maps):
    with pytest.raises(SegnbError, match=r"\(channels, height, width\) of a single picture"):
        draw.feature_maps(np.zeros((8, 8, 3), np.uint8), maps)
