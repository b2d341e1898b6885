"""Colours, overlays and figures: what is painted, in numbers."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from segnb import draw
from segnb.errors import SegnbError


def open_png(data: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def test_palette_starts_with_okabe_ito_and_grows_without_changing():
    assert draw.palette(3).tolist() == [[0, 0, 0], [230, 159, 0], [86, 180, 233]]
    assert draw.palette(3).dtype == np.uint8
    many = draw.palette(255)
    assert many.shape == (255, 3)
    assert len({tuple(colour) for colour in many.tolist()}) == 255
    for n in (1, 8, 9, 20):
        assert (draw.palette(n) == many[:n]).all()


def test_palette_colours_stay_apart():
    lab = draw._oklab(draw.palette(32))
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=2) + np.eye(32)
    assert distance.min() > 0.1  # about five steps that an eye just sees


def test_palette_is_a_copy_of_its_own():
    draw.palette(4)[0] = 99
    assert draw.palette(4)[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("n", [0, -1, 256])
def test_palette_refuses_impossible_sizes(n):
    with pytest.raises(SegnbError, match=f"palette\\({n}\\): a palette has 1 to 255 colours"):
        draw.palette(n)


def test_oklab_of_white_and_red():
    assert draw._oklab(np.array([[255, 255, 255], [255, 0, 0]])) == pytest.approx(
        np.array([[1, 0, 0], [0.628, 0.2249, 0.1258]]), abs=2e-3
    )


def test_as_rgb():
    grey = np.array([[1, 2], [3, 4]], np.uint8)
    assert draw.as_rgb(grey)[1, 0].tolist() == [3, 3, 3]
    assert draw.as_rgb(grey[:, :, None])[0, 1].tolist() == [2, 2, 2]
    assert draw.as_rgb(np.dstack([grey, grey + 9]))[0, 1].tolist() == [2, 2, 2]
    five = np.arange(5, dtype=np.uint8)[None, None]
    assert draw.as_rgb(five).tolist() == [[[0, 1, 2]]]
    with pytest.raises(SegnbError, match=r"not \(2, 2\) float64"):
        draw.as_rgb(grey / 2)
    with pytest.raises(SegnbError, match=r"not \(1, 2, 2, 3\) uint8"):
        draw.as_rgb(np.zeros((1, 2, 2, 3), np.uint8))


def test_colourise_paints_labels_and_leaves_ignored_white():
    colours = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)
    painted = draw.colourise(np.array([[0, 1, 255]]), colours)
    assert painted.tolist() == [[[10, 20, 30], [40, 50, 60], [255, 255, 255]]]
    assert painted.dtype == np.uint8
    with pytest.raises(SegnbError, match="Labels run from 0 to 2, but the palette has 2 colours"):
        draw.colourise(np.array([[0, 2]]), colours)
    assert draw.colourise(np.full((2, 2), 255), colours).min() == 255


def test_overlay_blends_and_keeps_ignored_pixels():
    image = np.full((1, 3, 3), 100, np.uint8)
    labels = np.array([[0, 1, 255]], np.uint8)
    colours = np.array([[0, 0, 0], [200, 0, 101]], np.uint8)
    mixed = draw.overlay(image, labels, colours, 0.5)
    assert mixed.tolist() == [[[50, 50, 50], [150, 50, 101], [100, 100, 100]]]
    assert (draw.overlay(image, labels, colours, 0) == image).all()
    assert draw.overlay(image, labels, colours, 1)[0, :2].tolist() == colours.tolist()
    assert draw.overlay(image[:, :, 0], labels, colours, 0).shape == (1, 3, 3)
    with pytest.raises(SegnbError, match=r"The picture is \(1, 3\) \(H, W\), the labels are \(2, 3\)"):
        draw.overlay(image, np.zeros((2, 3), int), colours)


def sheet_items(count=3, prediction=False):
    image = np.full((30, 40, 3), 200, np.uint8)
    labels = np.zeros((30, 40), np.uint8)
    labels[10:20] = 1
    return [(image, labels, labels if prediction else None, f"picture {i}") for i in range(count)]


def test_contact_sheet_layout_and_legend():
    figure = draw.contact_sheet(sheet_items(3), draw.palette(2), ["_background_", "road"])
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 6
    assert len(figure.axes) == 8  # two items in a row, the last place stays empty
    assert [axes.get_title(loc="left") for axes in shown] == [t for i in range(3) for t in (f"picture {i}", "mask")]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["_background_", "road"]
    assert [tuple(patch.get_facecolor()[:3]) for patch in figure.legends[0].get_patches()] == [
        tuple(colour / 255) for colour in draw.palette(2)
    ]
    assert (shown[1].images[0].get_array() == draw.overlay(*sheet_items(1)[0][:2], draw.palette(2), 0.65)).all()
    assert open_png(draw.png_bytes(figure)).std() > 10


def test_contact_sheet_with_predictions_has_three_panels_in_a_row():
    figure = draw.contact_sheet(sheet_items(2, prediction=True), draw.palette(2), ["a", "b"])
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "picture 0", "mask", "prediction", "picture 1", "mask", "prediction",
    ]  # fmt: skip


def test_contact_sheet_without_truth_and_with_mixed_items():
    image, labels, _, _ = sheet_items(1)[0]
    figure = draw.contact_sheet([(image, None, labels, "only prediction")], draw.palette(2), ["a", "b"])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["only prediction", "prediction"]
    figure = draw.contact_sheet([(image, None, None, "a"), (image, labels, None, "b")], draw.palette(2), ["a", "b"])
    assert [len(axes.images) for axes in figure.axes] == [1, 0, 1, 1]


def test_contact_sheet_keeps_the_end_of_long_titles():
    image = np.zeros((60, 20, 1), np.uint8)
    figure = draw.contact_sheet([(image, None, None, "long_" * 20 + "007.png")], draw.palette(1), ["a"])
    title = figure.axes[0].get_title(loc="left")
    assert title.startswith("…")
    assert title.endswith("007.png")
    assert len(title) < 25


def test_contact_sheet_refuses_nothing_and_missing_names():
    with pytest.raises(SegnbError, match="contact_sheet was given no items"):
        draw.contact_sheet([], draw.palette(2), ["a", "b"])
    with pytest.raises(SegnbError, match="3 colours for 2 class names"):
        draw.contact_sheet(sheet_items(1), draw.palette(3), ["a", "b"])


def test_panels_show_each_picture_under_its_title():
    picture = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    figure = draw.panels({"photo": picture, "mask": picture[:, :, 0]})
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["photo", "mask"]
    assert np.array_equal(figure.axes[0].images[0].get_array(), picture)
    assert np.array_equal(figure.axes[1].images[0].get_array(), np.repeat(picture[:, :, :1], 3, axis=2))
    assert {axes.images[0].get_interpolation() for axes in figure.axes} == {"nearest"}
    rows = draw.panels(dict.fromkeys("abc", picture), columns=2).axes
    assert [axes.get_subplotspec().rowspan.start for axes in rows] == [0, 0, 1, 1]
    assert [len(axes.images) for axes in rows] == [1, 1, 1, 0]
    with pytest.raises(SegnbError, match="panels was given 0 pictures for 4 columns: give at least one of each"):
        draw.panels({})
    with pytest.raises(SegnbError, match="float64"):
        draw.panels({"photo": picture / 255})


def test_lines_plot_each_score_over_what_is_varied():
    axes = draw.lines([-1, 0, 1], {"IoU": [0.5, 1, 0.25], "Dice": [0.6, 1, 0.4]}, "pixels", "moved").axes[0]
    found = {line.get_label(): np.column_stack(line.get_data()).tolist() for line in axes.lines}
    assert found == {"IoU": [[-1, 0.5], [0, 1], [1, 0.25]], "Dice": [[-1, 0.6], [0, 1], [1, 0.4]]}
    assert (axes.get_xlabel(), axes.get_title(loc="left")) == ("pixels", "moved")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["IoU", "Dice"]
    assert axes.get_ylim()[0] < 0 < 1 < axes.get_ylim()[1]
    with pytest.raises(SegnbError, match="lines: 'IoU' has 1 values for 2 places"):
        draw.lines([0, 1], {"IoU": [1]}, "pixels", "moved")
    with pytest.raises(SegnbError, match="lines was given 0 lines: give 1 to 8"):
        draw.lines([0, 1], {}, "pixels", "moved")


def test_curves_draw_the_history_and_mark_the_best():
    history = [
        {"epoch": 1, "train_loss": 1.0, "valid_loss": 1.2, "miou": 0.2},
        {"epoch": 2, "train_loss": 0.7, "valid_loss": 0.9, "miou": 0.5},
        {"epoch": 3, "train_loss": 0.6, "valid_loss": 1.0, "miou": 0.4},
    ]
    left, right = draw.curves(history).axes
    assert [line.get_ydata().tolist() for line in left.lines] == [[1.0, 0.7, 0.6], [1.2, 0.9, 1.0]]
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["training", "validation"]
    assert right.lines[0].get_xydata().tolist() == [[1, 0.2], [2, 0.5], [3, 0.4]]
    assert right.lines[1].get_xydata().tolist() == [[2, 0.5]]
    assert right.texts[0].get_text() == "best 0.500"


def test_curves_with_nothing_known_yet():
    left, right = draw.curves([]).axes
    assert len(left.lines) == 0
    assert len(right.texts) == 0
    left, _ = draw.curves([{"epoch": 1, "train_loss": 0.5, "miou": float("nan")}]).axes
    assert len(left.lines) == 1


def test_confusion_is_normalised_by_row():
    figure = draw.confusion(np.array([[30, 10, 0], [0, 0, 0], [1, 0, 1]]), ["a", "b", "c"])
    axes = figure.axes[0]
    shares = axes.images[0].get_array().filled(np.nan)
    assert shares[0].tolist() == [0.75, 0.25, 0]
    assert np.isnan(shares[1]).all()
    assert [text.get_text() for text in axes.texts] == ["75%", "25%", "0%", "50%", "0%", "50%"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b", "c"]
    many = draw.confusion(np.eye(13), [str(i) for i in range(13)])
    assert len(many.axes[0].texts) == 0
    with pytest.raises(SegnbError, match=r"of 2 classes is \(2, 2\), not \(3, 3\)"):
        draw.confusion(np.eye(3), ["a", "b"])


def test_bars_leave_absent_classes_out_of_the_mean():
    axes = draw.bars([0.25, float("nan"), 0.75], ["a", "b", "c"], "IoU").axes[0]
    assert [patch.get_width() for patch in axes.patches] == [0.25, 0, 0.75]
    assert [text.get_text() for text in axes.texts] == ["0.250", "absent", "0.750"]
    assert axes.get_title(loc="left") == "IoU (mean 0.500)"
    assert draw.bars([float("nan")], ["a"], "IoU").axes[0].get_title(loc="left") == "IoU"
    with pytest.raises(SegnbError, match=r"bars: values of shape \(2,\) for 3 names"):
        draw.bars([1, 2], ["a", "b", "c"], "IoU")


def test_intervals_put_every_score_on_its_line():
    nan = float("nan")
    first, second = ([0.5, nan], [0.4, nan], [0.7, nan]), ([0.2, 0.9], [0.1, 0.8], [0.3, 1.0])
    figure = draw.intervals({"before": first, "after": second}, ["a", "b"], "IoU")
    axes = figure.axes[0]
    dots = {line.get_label(): np.column_stack(line.get_data()) for line in axes.lines}
    np.testing.assert_allclose(dots["before"], [[0.5, -0.175], [nan, 0.825]])
    np.testing.assert_allclose(dots["after"], [[0.2, 0.175], [0.9, 1.175]])
    lines = axes.collections[1].get_segments()
    np.testing.assert_allclose(lines, [[[0.1, 0.175], [0.3, 0.175]], [[0.8, 1.175], [1.0, 1.175]]])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["before", "after"]
    assert (axes.lines[0].get_color() != axes.lines[1].get_color()).any()


def test_intervals_need_three_values_for_each_name():
    with pytest.raises(SegnbError, match=r"intervals: 'before' has values of shape \(2, 1\) for 1 names"):
        draw.intervals({"before": ([0.5], [0.4])}, ["a"], "IoU")
    with pytest.raises(SegnbError, match="intervals was given 0 series: give 1 to 8"):
        draw.intervals({}, ["a"], "IoU")


def test_png_bytes_of_arrays_and_figures():
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    assert (open_png(draw.png_bytes(picture)) == picture).all()
    assert open_png(draw.png_bytes(picture[:, :, 0]))[2, 3].tolist() == [picture[2, 3, 0]] * 3
    assert open_png(draw.png_bytes(Figure(figsize=(2, 1)), dpi=50)).shape == (50, 100, 3)
    with pytest.raises(SegnbError, match="float64"):
        draw.png_bytes(picture / 255)


def test_a_notebook_keeps_few_colours_but_all_classes():
    labels = np.zeros((40, 40), np.uint8)
    labels[:2, :2] = 6  # a rare class
    photo = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    figure = draw.contact_sheet([(photo, labels, None, "one")], draw.palette(7), list("abcdefg"))
    small = figure._repr_png_()
    assert len(small) < 0.6 * len(draw.png_bytes(figure))
    shown = open_png(small)
    assert shown.shape == open_png(draw.png_bytes(figure)).shape
    assert len(np.unique(shown.reshape(-1, shown.shape[2]), axis=0)) <= 96
    assert np.abs(shown[..., :3].astype(int) - draw.palette(7)[6]).max(axis=2).min() <= 24  # its colour is there


def test_drawing_imports_neither_pyplot_nor_torch():
    code = (
        "import sys; from segnb import draw; draw.png_bytes(draw.curves([{'epoch': 1, 'train_loss': 1.0}])); "
        "print([name for name in ('matplotlib.pyplot', 'torch') if name in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
