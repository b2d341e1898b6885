"""Colours for labels and plain figures: what is seen where no widget runs, on GitHub, in reports and in tests.

Figures are built on ``matplotlib.figure.Figure`` directly: no pyplot, so nothing global changes, no window opens, and a
figure is freed with its last reference.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as PlainFigure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from PIL import Image

from segnb.errors import SegnbError

IGNORE = 255  # the label of pixels that do not count

# Okabe and Ito, "Color Universal Design": eight colours that people with any colour vision tell apart.
OKABE_ITO = (
    (0, 0, 0),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
BLUE, VERMILLION = "#0072b2", "#d55e00"  # two of them, for lines and bars

# Linear RGB -> cone responses -> OKLab (Björn Ottosson), a space where distance is close to what the eye sees.
_RGB_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_CONES_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


class Figure(PlainFigure):
    """A figure that a notebook shows by itself: IPython knows only those of pyplot."""

    def _repr_png_(self) -> bytes:
        return few_colours(Image.open(io.BytesIO(png_bytes(self))).convert("RGB"))


def palette(n: int) -> np.ndarray:
    """Choose colours for labels: eight that are safe for colour-blind readers, then as different as possible.

    Args:
        n: how many, 1 to 255. The first colours do not depend on it.

    Returns:
        (n, 3) uint8 RGB.

    Raises:
        SegnbError: ``n`` is out of range.
    """
    if not 1 <= n <= IGNORE:
        raise SegnbError(f"palette({n}): a palette has 1 to 255 colours, for labels 0 to 254 (255 is ignored)")
    return _spread_colours(max(n, len(OKABE_ITO)))[:n].copy()


@lru_cache(maxsize=8)
def _spread_colours(n: int) -> np.ndarray:
    """Add to Okabe-Ito, one at a time, the colour of a grid that lies farthest from all chosen so far."""
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _oklab(grid)
    usable = (lab[:, 0] > 0.35) & (lab[:, 0] < 0.93)  # not one more black, nor the white of ignored pixels
    grid, lab = grid[usable], lab[usable]
    chosen = [np.array(colour, np.uint8) for colour in OKABE_ITO]
    distance = np.min([np.linalg.norm(lab - point, axis=1) for point in _oklab(np.array(chosen))], axis=0)
    while len(chosen) < n:
        farthest = int(distance.argmax())
        chosen.append(grid[farthest])
        distance = np.minimum(distance, np.linalg.norm(lab - lab[farthest], axis=1))
    return np.array(chosen)


def _oklab(colours: np.ndarray) -> np.ndarray:
    """(n, 3) uint8 sRGB -> (n, 3) OKLab."""
    srgb = colours / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _RGB_TO_CONES.T) @ _CONES_TO_LAB.T


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Show any picture on a screen.

    Args:
        image: (H, W) or (H, W, C) uint8. One or two channels are shown as grey, more than three by their first three.

    Returns:
        (H, W, 3) uint8.

    Raises:
        SegnbError: the array is no picture.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise SegnbError(f"A picture to draw is (H, W) or (H, W, C) uint8, not {image.shape} {image.dtype}")
    if image.ndim == 2:
        image = image[:, :, None]
    if image.shape[2] < 3:
        return np.repeat(image[:, :, :1], 3, axis=2)
    return image[:, :, :3]


def colourise(labels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Paint a label map.

    Args:
        labels: (H, W) integers, 0 to n - 1, or 255 for ignored pixels, which become white.
        palette: (n, 3) uint8.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        SegnbError: a label has no colour.
    """
    table = np.full((256, 3), 255, np.uint8)
    table[: len(palette)] = palette
    counted = labels[labels != IGNORE]
    if counted.size and not 0 <= counted.min() <= counted.max() < len(palette):
        raise SegnbError(
            f"Labels run from {counted.min()} to {counted.max()}, but the palette has {len(palette)} colours: "
            "give one colour for each label"
        )
    return table[labels]


def overlay(image: np.ndarray, labels: np.ndarray, palette: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """Lay the colours of the labels over the picture.

    Args:
        image: (H, W) or (H, W, C) uint8.
        labels: (H, W) integers; pixels labelled 255 keep the picture as it is.
        palette: (n, 3) uint8.
        opacity: 0 shows the picture only, 1 the colours only.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        SegnbError: sizes differ or a label has no colour.
    """
    picture = as_rgb(image)
    if picture.shape[:2] != labels.shape:
        raise SegnbError(f"The picture is {picture.shape[:2]} (H, W), the labels are {labels.shape}: make them equal")
    mixed = picture * np.float32(1 - opacity) + colourise(labels, palette) * np.float32(opacity)
    return np.where((labels == IGNORE)[:, :, None], picture, (mixed + 0.5).astype(np.uint8))


def contact_sheet(
    items: Sequence[tuple[np.ndarray, np.ndarray | None, np.ndarray | None, str]],
    palette: np.ndarray,
    class_names: Sequence[str],
) -> Figure:
    """Lay out pictures beside their masks and predictions, with a legend of the classes.

    Args:
        items: (image, labels or None, prediction or None, title) each; arrays as for `overlay`.
        palette: (n, 3) uint8 colours of the labels.
        class_names: n names, in the order of the labels.

    Returns:
        A figure with the panels of one item side by side; two items in a row where an item has at most two panels.

    Raises:
        SegnbError: there is nothing to draw, or colours and names differ in number.
    """
    if not items:
        raise SegnbError("contact_sheet was given no items: give at least one (image, labels, prediction, title)")
    if len(palette) != len(class_names):
        raise SegnbError(f"{len(palette)} colours for {len(class_names)} class names: give one colour for each name")
    panels = ["image"]
    panels += ["mask"] if any(item[1] is not None for item in items) else []
    panels += ["prediction"] if any(item[2] is not None for item in items) else []
    across = 1 if len(panels) == 3 else min(2, len(items))
    down = -(-len(items) // across)

    aspect = float(np.median([image.shape[0] / image.shape[1] for image, *_ in items]))
    panel_width = (2.9 if len(panels) == 3 else 2.3) / max(1.0, aspect**0.5)  # inches; portraits are narrower
    panel_height = panel_width * aspect + 0.24
    width = panel_width * len(panels) * across
    legend_columns = _legend_columns(class_names, width)
    legend_height = 0.15 + 0.2 * -(-len(class_names) // legend_columns)
    height = panel_height * down + legend_height
    figure = Figure(figsize=(width, height))
    grid = figure.subplots(
        down,
        across * len(panels),
        squeeze=False,
        gridspec_kw={
            "left": 0.005, "right": 0.995, "wspace": 0.02, "hspace": 0.24 / (panel_height - 0.24),
            "bottom": legend_height / height, "top": 1 - 0.24 / height,
        },
    )  # fmt: skip
    for axes in grid.flat:
        axes.axis("off")
    for number, (image, labels, prediction, title) in enumerate(items):
        row, first = number // across, number % across * len(panels)
        content = {"image": None, "mask": labels, "prediction": prediction}
        for axes, panel in zip(grid[row, first:], panels, strict=False):
            if panel == "image":
                axes.imshow(as_rgb(image))
                axes.set_title(_shorten(title, int(panel_width * 14)), fontsize=8, loc="left", pad=3)
            elif content[panel] is not None:
                axes.imshow(overlay(image, content[panel], palette, 0.65), interpolation="nearest")
                axes.set_title(panel, fontsize=8, loc="left", pad=3, color="0.4")
    _class_legend(figure, palette, class_names, legend_columns)
    return figure


def _shorten(title: str, longest: int) -> str:
    """Keep the end of a long title: file names differ there."""
    return title if len(title) <= longest else "…" + title[-longest + 1 :]


def _legend_columns(names: Sequence[str], width: float) -> int:
    """Count how many legend entries fit side by side in ``width`` inches of 8 point text."""
    entry = 0.45 + 0.07 * max(len(name) for name in names)
    return max(1, min(len(names), int(width / entry)))


def _class_legend(figure: Figure, colours: np.ndarray, names: Sequence[str], columns: int) -> None:
    """Put coloured squares with the class names along the bottom edge."""
    squares = [Patch(facecolor=colour / 255, edgecolor="0.5", linewidth=0.5) for colour in np.asarray(colours)]
    legend = figure.legend(
        squares,
        ["class"] * len(names),  # the names follow: matplotlib leaves out an entry that starts with _, as _background_
        loc="lower center",
        bbox_to_anchor=(0.5, 0),
        ncols=columns,
        frameon=False,
        fontsize=8,
        handlelength=1,
        handleheight=1,
        borderaxespad=0.2,
        labelspacing=0.35,
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)


def heat(values: np.ndarray, image: np.ndarray | None = None) -> np.ndarray:
    """Colour a map of strengths: dark where nothing is, bright at its largest value.

    Args:
        values: (h, w), none below 0; only their proportions matter.
        image: (H, W) or (H, W, C) uint8 to lay the colours over; the map is enlarged to its size, its places keep sharp edges.

    Returns:
        uint8 RGB, (h, w, 3), or (H, W, 3) over an image.

    Raises:
        SegnbError: the map has another number of axes, or negative values.
    """
    values = np.asarray(values, np.float32)
    if values.ndim != 2 or not (values >= 0).all():
        raise SegnbError(f"heat was given values of shape {values.shape}: give (height, width), none below 0")
    shares = values / max(values.max(), np.finfo(np.float32).tiny)
    colours = (mpl.colormaps["magma"](shares)[:, :, :3] * 255).round().astype(np.uint8)
    if image is None:
        return colours
    picture = as_rgb(image)
    enlarged = Image.fromarray(colours).resize(picture.shape[1::-1], Image.Resampling.NEAREST)
    return (picture * np.float32(0.35) + np.asarray(enlarged) * np.float32(0.65)).round().astype(np.uint8)


def panels(pictures: Mapping[str, np.ndarray], columns: int = 4) -> Figure:
    """Show pictures of one size side by side.

    Args:
        pictures: (H, W) or (H, W, C) uint8 as `as_rgb` takes them, by title; a title may have several lines.
        columns: how many stand in a row, at most.

    Returns:
        A figure; single pixels keep sharp edges.

    Raises:
        SegnbError: there are no pictures or columns, or an array is no picture.
    """
    if not pictures or columns < 1:
        raise SegnbError(f"panels was given {len(pictures)} pictures for {columns} columns: give at least one of each")
    shown = {title: as_rgb(picture) for title, picture in pictures.items()}
    height, width = next(iter(shown.values())).shape[:2]
    across = min(columns, len(shown))
    down = -(-len(shown) // across)
    panel = 6.8 / max(2, across)  # inches: one picture alone must not fill the screen
    heading = 0.05 + 0.14 * max(len(title.splitlines()) for title in shown)
    figure = Figure(figsize=(panel * across, (panel * height / width + heading) * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (title, picture) in zip(grid.flat, shown.items(), strict=False):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(title, fontsize=8, loc="left", pad=3)
    return figure


def lines(x: Sequence[float], values: Mapping[str, Sequence[float]], xlabel: str, title: str) -> Figure:
    """Plot how scores change with one thing that is varied.

    Args:
        x: n values of what is varied.
        values: n scores from 0 to 1 each, by name; one to eight of them.
        xlabel: what is varied, with its unit.
        title: what is to be seen.

    Returns:
        A figure with one line for each name.

    Raises:
        SegnbError: x and scores differ in number, or there are no or too many lines to tell apart.
    """
    if not 1 <= len(values) <= len(OKABE_ITO):
        raise SegnbError(f"lines was given {len(values)} lines: give 1 to {len(OKABE_ITO)}, one colour for each")
    colours = np.roll(palette(len(OKABE_ITO)), -5, axis=0) / 255  # BLUE and VERMILLION first
    figure = Figure(figsize=(6.5, 3.2), layout="constrained")
    axes = figure.subplots()
    for colour, marker, (name, scores) in zip(colours, "os^Dv<>p", values.items(), strict=False):
        if len(scores) != len(x):
            raise SegnbError(
                f"lines: {name!r} has {len(scores)} values for {len(x)} places; give one value for each place"
            )
        axes.plot(x, scores, color=colour, marker=marker, markersize=4, label=name)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel(xlabel)
    axes.set_ylim(-0.02, 1.02)  # a line at 0 or 1 is seen whole
    axes.legend(frameon=False, fontsize=8)
    _quiet(axes)
    return figure


def curves(history: Sequence[Mapping[str, object]]) -> Figure:
    """Plot how training went: loss on the left, mean IoU on the right, by epoch.

    Args:
        history: one mapping per epoch with "epoch", and "train_loss", "valid_loss", "miou" where they are known.

    Returns:
        A figure; the best mean IoU is marked.
    """
    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    marker = "o" if len(epochs) <= 30 else None
    for key, name, colour in (("train_loss", "training", BLUE), ("valid_loss", "validation", VERMILLION)):
        values = np.array([row.get(key, np.nan) for row in history], float)
        if np.isfinite(values).any():
            left.plot(epochs, values, color=colour, marker=marker, markersize=4, label=name)
    if left.lines:
        left.legend(frameon=False)
    miou = np.array([row.get("miou", np.nan) for row in history], float)
    right.plot(epochs, miou, color=VERMILLION, marker=marker, markersize=4)
    right.set_ylim(0, 1)
    if np.isfinite(miou).any():
        best = int(np.nanargmax(miou))
        right.plot(epochs[best], miou[best], "o", color=VERMILLION, markersize=9, fillstyle="none")
        right.annotate(
            f"best {miou[best]:.3f}",
            (epochs[best], miou[best]),
            xytext=(0, 9 if miou[best] < 0.85 else -18),
            textcoords="offset points",
            ha="right" if best > 0 else "left",
        )
    for axes, title in ((left, "loss"), (right, "mean IoU (validation)")):
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _quiet(axes)
    return figure


def confusion(matrix: np.ndarray, names: Sequence[str]) -> Figure:
    """Draw a confusion matrix, each row as shares of its true class.

    Args:
        matrix: (n, n) pixel counts, rows are the truth, columns the prediction.
        names: n class names.

    Returns:
        A heat map; shares in per cent stand in the cells of up to 12 classes. A class that never occurs has a grey row.

    Raises:
        SegnbError: matrix and names differ in size.
    """
    matrix = np.asarray(matrix, float)
    n = len(names)
    if matrix.shape != (n, n):
        raise SegnbError(f"A confusion matrix of {n} classes is ({n}, {n}), not {matrix.shape}")
    total = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, total, out=np.full_like(matrix, np.nan), where=total > 0)
    side = min(10.0, 2.6 + 0.48 * n)
    figure = Figure(figsize=(side + 0.8, side * 0.95), layout="constrained")
    axes = figure.subplots()
    colours = mpl.colormaps["Blues"].with_extremes(bad="0.92")
    heat = axes.imshow(share, cmap=colours, vmin=0, vmax=1)
    axes.set_xticks(range(n), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(n), names, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="minor", length=0)
    if n <= 12:
        for (row, column), value in np.ndenumerate(share):
            if np.isfinite(value):
                ink = "white" if value > 0.55 else "0.2"
                axes.text(column, row, f"{value:.0%}", ha="center", va="center", fontsize=8, color=ink)
    figure.colorbar(heat, ax=axes, format=lambda value, _: f"{value:.0%}", shrink=0.8, label="share of the true class")
    return figure


def bars(values: Sequence[float], names: Sequence[str], title: str) -> Figure:
    """Draw one score per class as horizontal bars, with their mean.

    Args:
        values: n scores, 0 to 1; NaN for a class that does not occur.
        names: n class names, drawn from top to bottom.
        title: what the scores are, such as "IoU".

    Returns:
        A figure; classes that do not occur are marked "absent" and left out of the mean.

    Raises:
        SegnbError: values and names differ in number.
    """
    scores = np.asarray(values, float)
    if scores.shape != (len(names),):
        raise SegnbError(f"bars: values of shape {scores.shape} for {len(names)} names; give one value for each name")
    places = np.arange(len(names))
    figure = Figure(figsize=(6.5, 0.8 + 0.27 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.barh(places, np.nan_to_num(scores), color=BLUE, height=0.7)
    for place, score in zip(places, scores, strict=True):
        known = np.isfinite(score)
        axes.text(
            (score if known else 0) + 0.01,
            place,
            f"{score:.3f}" if known else "absent",
            va="center",
            fontsize=8,
            color="black" if known else "0.5",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},  # readable where the line of the mean passes
        )
    heading = title
    if np.isfinite(scores).any():
        mean = np.nanmean(scores)
        axes.axvline(mean, color=VERMILLION, linestyle="--", linewidth=1, zorder=0.5)
        heading += f" (mean {mean:.3f})"
    axes.set_title(heading, loc="left", fontsize=10)
    axes.set_yticks(places, names, fontsize=8)
    axes.set_xlim(0, 1.09)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.invert_yaxis()
    _quiet(axes)
    axes.grid(visible=False, axis="y")
    return figure


def intervals(series: Mapping[str, Sequence[np.ndarray]], names: Sequence[str], title: str) -> Figure:
    """Compare scores of classes, each with the interval in which it may lie.

    Args:
        series: (scores, low, high), each (n,) from 0 to 1, by what they are of; one to eight of them. NaN, a class that does
            not occur, is left out.
        names: n class names, drawn from top to bottom.
        title: what the scores are, such as "IoU with its 95 % interval".

    Returns:
        A figure: a dot for each score on a line from low to high, one colour for each entry of the series.

    Raises:
        SegnbError: values and names differ in number, or there are no or too many series to tell apart.
    """
    if not 1 <= len(series) <= len(OKABE_ITO):
        raise SegnbError(f"intervals was given {len(series)} series: give 1 to {len(OKABE_ITO)}, one colour for each")
    for which, values in series.items():
        if np.shape(values) != (3, len(names)):
            raise SegnbError(
                f"intervals: {which!r} has values of shape {np.shape(values)} for {len(names)} names; give scores, low and "
                "high, with one value each for each name"
            )
    colours = np.roll(palette(len(OKABE_ITO)), -5, axis=0) / 255  # BLUE and VERMILLION first
    places = np.arange(len(names))
    step = 0.7 / len(series)
    figure = Figure(figsize=(6.5, 1.0 + (0.15 + 0.15 * len(series)) * len(names)), layout="constrained")
    axes = figure.subplots()
    for number, (which, (scores, low, high)) in enumerate(series.items()):
        beside = places + step * (number - (len(series) - 1) / 2)
        axes.hlines(beside, low, high, color=colours[number], linewidth=4, alpha=0.4)
        axes.plot(scores, beside, "o", color=colours[number], markersize=5, label=which)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_yticks(places, names, fontsize=8)
    axes.set_xlim(-0.02, 1.02)  # a dot at 0 or 1 is seen whole
    axes.invert_yaxis()
    _quiet(axes)
    figure.legend(loc="outside upper right", ncols=len(series), frameon=False, fontsize=8)
    return figure


def reliability(confidence: np.ndarray, accuracy: np.ndarray, share: np.ndarray) -> Figure:
    """Draw how often a model is right against how sure it is, and below it how many pixels are how sure.

    Args:
        confidence: (bins,) mean confidence of each bin, 0 to 1; NaN for an empty bin.
        accuracy: (bins,) share of its pixels that are right, 0 to 1; NaN for an empty bin.
        share: (bins,) share of all pixels that lie in the bin, 0 to 1.

    Returns:
        A figure; the gap to the diagonal, averaged over the pixels, is the expected calibration error in its title.
    """
    gap = np.abs(confidence - accuracy)
    figure = Figure(figsize=(4.2, 4.8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="calibrated")
    known = np.isfinite(gap)
    upper.vlines(
        confidence[known], accuracy[known], confidence[known], color=VERMILLION, linewidth=4, alpha=0.35, label="gap"
    )
    upper.plot(confidence[known], accuracy[known], color=BLUE, marker="o", markersize=4, label="model")
    upper.set_ylim(0, 1)
    upper.set_ylabel("share that is right")
    upper.legend(frameon=False, fontsize=8, loc="upper left")
    error = np.nansum(gap * share) if known.any() else np.nan
    upper.set_title(f"expected calibration error {error:.3f}", loc="left", fontsize=10)
    edges = np.linspace(0, 1, len(share) + 1)
    lower.bar(edges[:-1], np.nan_to_num(share), width=np.diff(edges), align="edge", color=BLUE, edgecolor="white")
    lower.set_xlim(0, 1)
    lower.set_xlabel("confidence")
    lower.set_ylabel("pixels")
    lower.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    for axes in (upper, lower):
        _quiet(axes)
    return figure


def class_shares(
    shares: Sequence[float],
    pictures: Sequence[int],
    names: Sequence[str],
    palette: np.ndarray,
    sizes: Sequence[tuple[int, int]],
) -> Figure:
    """Draw how much there is of each class in a data set, and how large its pictures are.

    Args:
        shares: n shares of all pixels, 0 to 1.
        pictures: in how many pictures each class is.
        names: n class names, drawn from top to bottom.
        palette: (n, 3) uint8 colours of the classes.
        sizes: (height, width) of each picture.

    Returns:
        Bars on a logarithmic scale, on which a rare class is still seen; and a dot for each size, larger if it is frequent.
    """
    places = np.arange(len(names))
    figure = Figure(figsize=(9, max(3, 0.8 + 0.27 * len(names))), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    left.barh(places, np.maximum(shares, 1e-9), color=np.asarray(palette) / 255, edgecolor="0.5", height=0.7)
    labels = [
        f"{name} ({share:.2%}, {count} pictures)" for name, share, count in zip(names, shares, pictures, strict=True)
    ]
    left.set_yticks(places, labels, fontsize=8)
    left.set_xscale("log")
    left.set_xlim(min([share for share in shares if share > 0], default=0.1) / 3, 1)
    left.set_title("share of the pixels", loc="left", fontsize=10)
    left.invert_yaxis()
    unique, count = np.unique(np.reshape(sizes, (-1, 2)), axis=0, return_counts=True)
    right.scatter(unique[:, 1], unique[:, 0], s=20 + 200 * count / max(len(sizes), 1), color=BLUE, alpha=0.5)
    right.set_title("sizes of the pictures", loc="left", fontsize=10)
    right.set_xlabel("width in pixels")
    right.set_ylabel("height in pixels")
    right.margins(0.2)
    for axes in (left, right):
        _quiet(axes)
    left.grid(visible=False, axis="y")
    return figure


def feature_maps(image: np.ndarray, maps: Sequence[np.ndarray]) -> Figure:
    """Show a picture and what an encoder makes of it: how strongly each place of each level answers.

    Args:
        image: (H, W) or (H, W, C) uint8.
        maps: (channels, h, w) of each level, fine to coarse; shown is the mean over the channels of the absolute values.

    Returns:
        A figure: the picture and, after it, the levels c1, c2, ..., each with its shape and with colours of its own range.

    Raises:
        SegnbError: there are no maps, or one has another number of axes.
    """
    if not maps or any(np.ndim(one) != 3 for one in maps):
        raise SegnbError(
            f"feature_maps was given maps of the shapes {[np.shape(one) for one in maps]}: give at least one, each "
            "(channels, height, width) of a single picture"
        )
    panels = [("picture", as_rgb(image))]
    panels += [
        (f"c{level}: {' × '.join(map(str, one.shape))}", np.abs(one).mean(axis=0)) for level, one in enumerate(maps, 1)
    ]
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    width = 2.3  # inches
    figure = Figure(
        figsize=(width * across, (width * image.shape[0] / image.shape[1] + 0.24) * down), layout="constrained"
    )
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (title, panel) in zip(grid.flat, panels, strict=False):
        axes.imshow(panel, cmap="magma", interpolation="nearest", aspect="auto")  # rounded sizes fill the same place
        axes.set_title(title, fontsize=8, loc="left", pad=3)
    return figure


def _quiet(axes: Axes) -> None:
    """Leave the data as the loudest thing in the plot."""
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def png_bytes(figure_or_array: PlainFigure | np.ndarray, dpi: int = 110) -> bytes:
    """Encode a figure or a picture as a PNG file.

    Args:
        figure_or_array: a figure, or (H, W) or (H, W, C) uint8 as `as_rgb` takes it.
        dpi: dots per inch, for figures.

    Returns:
        The bytes of the file.

    Raises:
        SegnbError: the array is no picture.
    """
    file = io.BytesIO()
    if isinstance(figure_or_array, PlainFigure):
        FigureCanvasAgg(figure_or_array).print_figure(file, format="png", dpi=dpi, facecolor="white")
    else:
        Image.fromarray(as_rgb(figure_or_array)).save(file, format="PNG")
    return file.getvalue()


def few_colours(image: Image.Image) -> bytes:
    """Encode a picture as a PNG of 96 colours, a few times smaller: a saved notebook keeps every picture it shows.

    Args:
        image: RGB.

    Returns:
        The bytes of the file.
    """
    # Maximum coverage keeps the colours of rare classes, which a median cut would merge; dithering would not compress.
    few = image.quantize(96, method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    file = io.BytesIO()
    few.save(file, format="PNG", optimize=True)
    return file.getvalue()
