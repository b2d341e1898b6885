import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal.windows import gaussian

from segnb.errors import SegnbError
from segnb.prediction import predict
from segnb.prediction.windows import importance, slide, window_starts

OVERLAPS = st.floats(0, 0.95)


class Binary(torch.nn.Module):
    """One sigmoid channel, so that what ``answer`` says are the probabilities."""

    in_channels, num_classes, label_names = 3, 1, ["background", "thing"]
    multilabel, value_range = False, None
    palette = np.array([(0, 0, 0), (255, 255, 255)], np.uint8)

    def __init__(self, answer=lambda image: image[:, :1] / 255):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.answer, self.seen = answer, []

    def forward(self, image):
        self.seen.append(tuple(image.shape))
        return self.answer(image.float())

    def probabilities(self, logits):
        return logits


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def smooth(height, width):
    """A ramp from left to right: halving it and doubling it again changes little."""
    ramp = np.linspace(40, 200, width)[None, :, None].repeat(height, 0).repeat(3, 2)
    return ramp.astype(np.uint8)


@given(st.integers(1, 300), st.integers(1, 300), OVERLAPS)
def test_windows_cover_every_pixel_evenly_and_overlap_enough(size, window, overlap):
    window = min(size, window)
    starts = window_starts(size, window, overlap)
    assert starts[0] == 0
    assert starts[-1] == size - window
    gaps = np.diff(starts)
    assert (gaps >= 1).all()
    assert (gaps <= max(1, int(np.ceil(window * (1 - overlap))))).all()
    assert gaps.size == 0 or np.ptp(gaps) <= 1


def test_window_places_of_a_worked_example():
    assert window_starts(100, 40, 0.25) == [0, 30, 60]
    assert window_starts(101, 40, 0.25) == [0, 20, 40, 61]
    assert window_starts(100, 50, 0) == [0, 50]
    assert window_starts(40, 40, 0.9) == [0]


def test_importance_is_scipys_gaussian():
    expected = np.outer(gaussian(24, 3), gaussian(41, 41 / 8))
    np.testing.assert_allclose(importance(24, 41).numpy(), expected, rtol=1e-5)
    assert importance(1, 1).tolist() == [[1]]
    assert importance(2048, 2048).min() > 0


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    OVERLAPS,
    st.integers(1, 5),
    st.floats(0, 1, width=32),
)
def test_a_constant_stays_exactly_constant(size, window, overlap, batch_size, value):
    def run(pictures):
        return torch.full((len(pictures), 2, *pictures.shape[2:]), value)

    strips = list(slide(run, torch.zeros(1, 3, *size), window, overlap, batch_size))
    found = torch.cat(strips, dim=-2)
    assert found.shape == (1, 2, *size)
    assert (found == value).all()
    assert max(strip.shape[-2] for strip in strips) <= min(window[0], size[0])


@given(
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    OVERLAPS,
    st.integers(1, 5),
    st.integers(1, 3),
)
def test_it_is_the_weighted_mean_of_all_windows(size, window, overlap, batch_size, pictures):
    images = torch.rand(pictures, 1, *size, generator=torch.Generator().manual_seed(0))

    def run(crops):  # differs from window to window and within each
        return torch.cat([crops * crops.mean(dim=(2, 3), keepdim=True), crops.cumsum(3)], dim=1)

    found = torch.cat(list(slide(run, images, window, overlap, batch_size)), dim=-2)
    height, width = min(window[0], size[0]), min(window[1], size[1])
    weight = importance(height, width).double()
    total, sums = torch.zeros(size).double(), torch.zeros(pictures, 2, *size).double()
    for top, left in itertools.product(window_starts(size[0], height, overlap), window_starts(size[1], width, overlap)):
        area = (..., slice(top, top + height), slice(left, left + width))
        total[area] += weight
        sums[area] += weight * run(images[area]).double()
    torch.testing.assert_close(found.double(), sums / total, rtol=1e-4, atol=1e-5)


def away_from_seams(size, window, overlap, reach):
    """Pixels that no window sees within ``reach`` of an edge of its own, other than the picture's."""
    clean = np.ones(size, bool)
    places = [window_starts(*pair, overlap) for pair in zip(size, window, strict=True)]
    for top, left in itertools.product(*places):
        inner = np.zeros(size, bool)
        ends = [(start, start + side) for start, side in zip((top, left), window, strict=True)]
        rows, columns = (
            slice(start + reach * (start > 0), end - reach * (end < whole))
            for (start, end), whole in zip(ends, size, strict=True)
        )
        inner[rows, columns] = True
        seen = np.zeros(size, bool)
        seen[ends[0][0] : ends[0][1], ends[1][0] : ends[1][1]] = True
        clean &= inner | ~seen
    return clean


@pytest.mark.parametrize("overlap", [0, 0.3])
def test_a_local_model_says_the_same_away_from_seams(overlap):
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Conv2d(4, 1, 3, padding=1)]  # sees two pixels each way
    for layer in layers:
        torch.nn.init.constant_(layer.bias, 1)
        layer.weight.data = torch.randint(-2, 3, layer.weight.shape).float()  # whole numbers: no rounding, so exactly
    network = torch.nn.Sequential(*layers)
    model = Binary(lambda image: network(image) / 2**16)
    picture = noise(50, 70)
    whole = predict(model, picture).probabilities[0]
    slid = predict(model, picture, window=(20, 32), overlap=overlap).probabilities[0]
    clean = away_from_seams((50, 70), (20, 32), overlap, reach=2)
    assert 0.2 < clean.mean() < 0.9
    np.testing.assert_array_equal(slid[clean], whole[clean])
    assert (slid[~clean] != whole[~clean]).any()  # the seams are real


def patches(height, width, seed):
    """Coloured squares on noise: something for a network to see."""
    picture, random = noise(height, width, seed) // 3, np.random.default_rng(seed)
    for _ in range(12):
        top, left = random.integers(0, (height - 30, width - 30))
        picture[top : top + 30, left : left + 30] += random.integers(0, 160, 3).astype(np.uint8)
    return picture


def test_a_real_model_says_nearly_the_same_away_from_seams(tiny):
    model = tiny(classes=1).train()
    with torch.no_grad():  # so that batch normalisation lets something through
        for seed in range(0, 40, 2):
            pictures = [patches(96, 112, seed), patches(96, 112, seed + 1)]
            model(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2))
    picture = patches(192, 224, 99)
    whole = predict(model, picture).probabilities[0].astype(float)
    slid = predict(model, picture, window=160, overlap=0.5).probabilities[0].astype(float)
    clean = away_from_seams((192, 224), (160, 160), 0.5, reach=24)
    difference = np.abs(whole - slid)[clean] / whole.std()
    alike, shifted = (np.corrcoef(whole[clean], other[clean])[0, 1] for other in (slid, np.roll(slid, 2, axis=1)))
    assert difference.mean() < 0.03  # most of it is the rounding to float16
    assert alike > 0.998
    assert shifted < 0.95, shifted


def test_a_picture_smaller_than_the_window_is_taken_whole():
    model = Binary()
    found = predict(model, noise(9, 40), window=16)
    assert {shape[2:] for shape in model.seen} == {(9, 16)}
    np.testing.assert_array_equal(found.probabilities, predict(model, noise(9, 40)).probabilities)


def test_windows_share_batches():
    model = Binary()
    predict(model, noise(20, 40), window=10, overlap=0, batch_size=3)
    assert model.seen == [(3, 3, 10, 10), (1, 3, 10, 10)] * 2


def test_pictures_share_batches_only_without_a_window():
    model = Binary()
    pictures = [noise(8, 8, seed) for seed in range(3)]
    windowed = predict(model, pictures, window=8)
    assert model.seen == [(1, 3, 8, 8)] * 3
    for one, other in zip(windowed, predict(model, pictures), strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
    assert model.seen[3:] == [(3, 3, 8, 8)]


def test_flips_are_averaged():
    def from_left_to_right(image):
        return torch.linspace(0, 1, image.shape[3]).expand(len(image), 1, *image.shape[2:])

    def bright_corner(image):
        answer = torch.zeros(len(image), 1, *image.shape[2:])
        answer[:, :, 0, 0] = 1
        return answer

    picture = noise(5, 9)
    np.testing.assert_allclose(predict(Binary(from_left_to_right), picture, flips="horizontal").probabilities, 0.5)
    unchanged = predict(Binary(from_left_to_right), picture, flips=("vertical",)).probabilities
    np.testing.assert_allclose(unchanged[0, 0], np.linspace(0, 1, 9), atol=1e-3)
    corners = predict(Binary(bright_corner), picture, flips=("horizontal", "vertical")).probabilities[0]
    expected = np.zeros((5, 9))
    expected[np.ix_([0, -1], [0, -1])] = 0.25
    np.testing.assert_array_equal(corners, expected)


@pytest.mark.parametrize("options", [{}, {"window": (4, 7)}, {"window": 6, "overlap": 0.5}])
def test_flips_change_nothing_for_a_model_that_does_not_mind(options):
    picture = noise(11, 17)
    plain = predict(Binary(), picture).probabilities
    flipped = predict(Binary(), picture, flips=("horizontal", "vertical"), **options).probabilities
    np.testing.assert_array_equal(flipped, plain)


def test_scale_one_is_the_identity(tiny):
    model, picture = tiny(), noise(40, 50)
    expected = predict(model, picture)
    for scales in (1.0, 1, (1.0,), [1]):
        found = predict(model, picture, scales=scales)
        np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    np.testing.assert_array_equal(predict(model, picture, scales=(1.0, 1.0)).probabilities, expected.probabilities)


def test_scales_are_averaged_at_the_pictures_size():
    def width(image):
        return torch.full((len(image), 1, *image.shape[2:]), image.shape[3] / 100)

    model = Binary(width)
    found = predict(model, noise(10, 20), scales=(0.5, 1, 1.25))
    assert [shape[2:] for shape in model.seen] == [(5, 10), (10, 20), (12, 25)]
    np.testing.assert_allclose(found.probabilities, (0.1 + 0.2 + 0.25) / 3, atol=1e-3)
    assert found.labels.shape == (10, 20)


def test_resizing_there_and_back_keeps_places():
    picture = smooth(20, 60)
    found = predict(Binary(), picture, scales=(0.5, 2.0)).probabilities[0]
    np.testing.assert_allclose(found[:, 4:-4], picture[:, 4:-4, 0] / 255, atol=0.01)


def test_all_together():
    model = Binary()
    picture = smooth(24, 40)
    found = predict(
        model, picture, window=16, overlap=0.5, scales=(0.5, 1.5), flips=("horizontal", "vertical"), batch_size=4
    )
    assert {shape[2:] for shape in model.seen} == {(12, 16), (16, 16)}
    windows = len(window_starts(20, 16, 0.5)) + len(window_starts(36, 16, 0.5)) * len(window_starts(60, 16, 0.5))
    assert sum(shape[0] for shape in model.seen) == 4 * windows
    np.testing.assert_allclose(found.probabilities[0][:, 4:-4], picture[:, 4:-4, 0] / 255, atol=0.01)


def test_the_same_with_several_classes(tiny):
    model = tiny(classes=["a", "b", "c"])
    found = predict(model, noise(40, 64), window=32, flips="horizontal", scales=(1.0, 1.5))
    assert found.probabilities.shape == (3, 40, 64)
    np.testing.assert_allclose(found.probabilities.astype(float).sum(0), 1, atol=3e-3)
    np.testing.assert_array_equal(found.confidence, found.probabilities.max(0))
    sure = np.sort(found.probabilities, 0)[-1] > np.sort(found.probabilities, 0)[-2]
    np.testing.assert_array_equal(found.labels[sure], found.probabilities.argmax(0)[sure])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, r"window is 0; give one number of pixels or \(height, width\), 1 or more"),
        ({"window": (64, -1)}, r"window is \(64, -1\)"),
        ({"window": (64, 64, 3)}, r"window is \(64, 64, 3\)"),
        ({"window": 64.0}, r"window is 64\.0"),
        ({"window": "64"}, r"window is '64'"),
        ({"overlap": 1}, r"overlap is 1; give the share of a window that its neighbours see, such as 0\.25"),
        ({"overlap": -0.1}, r"overlap is -0\.1"),
        ({"overlap": "half"}, r"overlap is 'half'"),
        ({"scales": 0}, r"scales has 0; a scale is a factor above 0"),
        ({"scales": (1, -2)}, r"scales has -2"),
        ({"scales": (float("inf"),)}, r"scales has inf"),
        ({"scales": ()}, r"scales is \(\); give one factor or several"),
        ({"scales": "big"}, r"scales is 'big'"),
        ({"flips": "horizontl"}, r"unknown flip 'horizontl'\. Did you mean 'horizontal'"),
        ({"flips": ("vertical", "h")}, r"unknown flip 'h'"),
        ({"flips": True}, r'flips is True; give "horizontal", "vertical" or both'),
        ({"batch_size": 0}, r"batch_size is 0; it must be 1 or more"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(SegnbError, match=message):
        predict(Binary(), noise(4, 4), **options)
