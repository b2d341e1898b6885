"""More than 8 bits and more than three bands: nothing is halved or dropped unasked, and the range is the user's choice."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageOps
from test_datasets import LABELS, PHOTO, one, refused, save

from segnb.data.reading import to_8_bits
from segnb.data.tiff import upright

RNG = np.random.default_rng(1)
DEEP = RNG.integers(0, 4096, (6, 8), np.uint16)
DEEP_COLOURS = RNG.integers(0, 4096, (6, 8, 3), np.uint16)
BANDS = RNG.integers(0, 256, (6, 8, 5), np.uint8)


def stretched(values, low, high):
    """Written out: low becomes 0, high 255, rounded, cut off on both sides."""
    return np.clip(np.round((values.astype(float) - low) * 255 / (high - low)), 0, 255).astype(np.uint8)


def write_tiff(path, array, **options):
    options = {"photometric": "minisblack", "planarconfig": "contig", **options}
    tifffile.imwrite(path, array, **options)
    return path


# mask_values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mask.png", "mask.tif"])
def test_16_bit_masks_are_mapped_to_labels(tmp_path, name):
    stored = np.array([0, 300, 65535], np.uint16)[LABELS]
    stored[5, 7] = 40_000
    expected = LABELS.copy()
    expected[5, 7] = 255
    data = one(mask=save(stored, tmp_path / name), mask_values=(0, 300, 65535, 40_000))
    assert (data.read(0)[1] == expected).all()
    refused(
        "has the value 40000 (first at row 5, column 7), not listed in mask_values",
        PHOTO,
        stored,
        mask_values=(0, 300, 65535),
    )


@given(arrays.arrays(np.uint16, (3, 4), elements=st.sampled_from([7, 256, 1007, 65535])))
def test_16_bit_masks_by_a_dictionary(stored):
    data = one(image=PHOTO[:3, :4], mask=stored, mask_values=(1007, 7, 65535, 256))
    meaning = {1007: 0, 7: 1, 65535: 2, 256: 255}
    assert data.read(0)[1].tolist() == [[meaning[value] for value in row] for row in stored.tolist()]


# value_range ----------------------------------------------------------------------------------------------------------


def test_range_is_stretched():
    values = np.array([[-5, 0, 10, 15, 20, 25, 1000]], np.int32)
    assert to_8_bits(values, (10, 20)).tolist() == [[0, 0, 0, 128, 255, 255, 255]]
    assert to_8_bits(np.array([np.nan, -np.inf, np.inf, 0.5]), (0, 1)).tolist() == [0, 0, 255, 128]
    assert to_8_bits(np.arange(256, dtype=np.uint8), (0, 255)).tolist() == list(range(256))


@given(
    arrays.arrays(np.uint16, st.integers(1, 30)),
    st.integers(0, 65534).flatmap(lambda low: st.tuples(st.just(low), st.integers(low + 1, 65535))),
)
def test_range_keeps_the_order(values, ends):
    result = to_8_bits(np.sort(values), ends).astype(int)
    assert (np.diff(result) >= 0).all()
    assert (result == stretched(np.sort(values), *ends)).all()


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_16_bit_grey(tmp_path, name):
    data = one(save(DEEP, tmp_path / name), value_range=(0, 4095))
    assert data.in_channels == 1
    assert (data.read(0)[0][:, :, 0] == stretched(DEEP, 0, 4095)).all()
    assert "values: 0 to 4095 become 0 to 255" in repr(data)
    assert data.subset([0]).value_range == data.value_range == (0, 4095)


@pytest.mark.parametrize("name", ["x.png", "x.tiff"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colours_are_in_order_and_not_halved(tmp_path, name, channels):
    """OpenCV writes blue first; a fourth channel is alpha."""
    colours = np.dstack([DEEP_COLOURS, DEEP])[:, :, :channels]
    order = [2, 1, 0, 3][:channels]
    assert cv2.imwrite(str(tmp_path / name), colours[:, :, order], [cv2.IMWRITE_TIFF_COMPRESSION, 8])
    image = one(tmp_path / name, value_range=(0, 4095)).read(0)[0]
    expected = colours if name == "x.tiff" and not marks_alpha(tmp_path / name) else DEEP_COLOURS
    assert (image == stretched(expected, 0, 4095)).all()


def marks_alpha(path):
    with tifffile.TiffFile(path) as file:
        return any(extra in (1, 2) for extra in file.pages[0].extrasamples)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint32, np.float32, np.float64])
def test_other_numbers(tmp_path, dtype):
    values = (
        (DEEP.astype(dtype) - np.asarray(2000, dtype)) if dtype != np.uint32 else DEEP.astype(dtype) + 3_000_000_000
    )
    low, high = float(values.min()) + 100, float(values.max()) - 100
    image = one(write_tiff(tmp_path / "x.tif", values), value_range=(low, high)).read(0)[0]
    assert (image[:, :, 0] == stretched(values, low, high)).all()


def test_arrays_of_any_type():
    assert (one(DEEP_COLOURS, value_range=(100, 3000)).read(0)[0] == stretched(DEEP_COLOURS, 100, 3000)).all()
    assert (one(PHOTO / 255, value_range=(0, 1)).read(0)[0] == PHOTO).all()
    assert (one(PHOTO, value_range=(50, 100)).read(0)[0] == stretched(PHOTO, 50, 100)).all()
    deep = one(np.dstack([DEEP_COLOURS, DEEP, DEEP]), value_range=(0, 4095))
    assert deep.in_channels == 5
    assert deep[0][0].shape == (5, 6, 8)


def test_users_array_stays_as_it_is():
    mine = DEEP.copy()
    one(mine, value_range=(0, 4095)).read(0)
    assert (mine == DEEP).all()


def test_more_than_8_bits_need_a_range(tmp_path):
    values = DEEP.copy()
    values.flat[:2] = 3, 4011
    values = values.clip(3, 4011)
    path = save(values, tmp_path / "x.png")
    message = refused(f"{path} holds uint16 values from 3 to 4011, segnb trains on 8 bits", path)
    assert "for example value_range=(0, 4095)" in message
    cv2.imwrite(str(path), DEEP_COLOURS)
    refused("x.png holds uint16 values from", path)
    refused("image 0 holds float64 values from 0 to 1, ", PHOTO / PHOTO.max())
    assert "value_range=(0, 1)" in refused("say which stored values become 0 and 255", PHOTO / PHOTO.max())
    assert "value_range=(-5.0, 7.5)" in refused("values from -5 to 7.5", np.array([[-5, 7.5]], np.float32))


@pytest.mark.parametrize(
    "value_range", [(1, 0), (3, 3), (0,), 5, "ab", (0, float("nan")), (0, float("inf")), (None, 1)]
)
def test_ranges_that_are_none(value_range):
    refused(f"value_range={value_range!r}: give two numbers (low, high)", value_range=value_range)


# Bands ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 4, 5, 8, 13])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_all_bands_are_read(tmp_path, count, dtype, planar, bigtiff):
    bands = RNG.integers(0, 256, (6, 8, count)).astype(dtype)
    stored = bands if planar == "contig" else np.moveaxis(bands, 2, 0)
    path = write_tiff(tmp_path / "x.tif", stored, planarconfig=planar, bigtiff=bigtiff)
    data = one(path, value_range=(0, 255) if dtype == np.uint16 else None)
    assert data.in_channels == count
    assert (data.read(0)[0] == bands).all()


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_byte_order_and_compression(tmp_path, byteorder, compression):
    path = write_tiff(tmp_path / "x.tif", BANDS.astype(np.uint16), byteorder=byteorder, compression=compression)
    assert (one(path, value_range=(0, 255)).read(0)[0] == BANDS).all()


def test_a_band_is_alpha_only_if_marked_so(tmp_path):
    four = np.dstack([PHOTO, PHOTO[:, :, 0]])
    for kind, expected in (("unassalpha", PHOTO), ("unspecified", four)):
        path = write_tiff(tmp_path / "x.tif", four, photometric="rgb", extrasamples=[kind])
        assert (one(path).read(0)[0] == expected).all()
        write_tiff(path, four.astype(np.uint16), photometric="rgb", extrasamples=[kind])
        assert (one(path, value_range=(0, 255)).read(0)[0] == expected).all()
    path = write_tiff(tmp_path / "x.tif", np.dstack([DEEP, DEEP]), extrasamples=["unassalpha"])
    assert one(path, value_range=(0, 4095)).in_channels == 1


def test_overviews_are_no_pages(tmp_path):
    """A cloud-optimised GeoTIFF carries smaller copies of itself."""
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(PHOTO, photometric="rgb")
        file.write(PHOTO[::2, ::2], photometric="rgb", subfiletype=1)
    assert (one(tmp_path / "x.tif").read(0)[0] == PHOTO).all()


def test_pages_of_bands_are_explained(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", np.moveaxis(BANDS, 2, 0), photometric="minisblack")
    message = refused("x.tif has 5 pages: save the one to use", tmp_path / "x.tif")
    assert 'tifffile.imwrite(path, bands, photometric="minisblack", planarconfig="separate")' in message


def test_without_tifffile(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    path = tmp_path / "x.tif"
    save(DEEP, path)
    assert one(path, value_range=(0, 4095)).in_channels == 1  # Pillow is enough
    monkeypatch.undo()
    write_tiff(path, BANDS)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    text = (
        f'{path} has 5 bands of 8 bits: reading it needs tifffile: pip install "segnb[data]" (or pip install tifffile).'
    )
    refused(text, path)


@pytest.mark.parametrize("predictor", [None, 2])
def test_lzw(tmp_path, predictor):
    """The usual compression of GeoTIFF."""
    path = write_tiff(tmp_path / "x.tif", BANDS.astype(np.uint16), compression="lzw", predictor=predictor)
    assert (one(path, value_range=(0, 255)).read(0)[0] == BANDS).all()


def test_lzw_without_imagecodecs(tmp_path):
    path = write_tiff(tmp_path / "x.tif", BANDS, compression="lzw")
    code = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "from segnb.data.reading import read_image\n"
        "from segnb.errors import SegnbError\n"
        "try: read_image(sys.argv[1], 'x.tif')\n"
        "except SegnbError as error: print(error)"
    )
    printed = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
    assert printed.startswith('x.tif is compressed: reading it needs imagecodecs: pip install "segnb[data]"')


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.1])
def test_truncated_bands_are_named(tmp_path, keep):
    path = write_tiff(tmp_path / "x.tif", RNG.integers(0, 256, (64, 64, 5), np.uint8))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    refused(f"{path} cannot be read as an image (", path)
    cv2.imwrite(str(tmp_path / "x.png"), RNG.integers(0, 65536, (64, 64, 3), np.uint16))
    path = tmp_path / "x.png"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    refused(f"{path} cannot be read as an image (", path, np.zeros((64, 64), np.uint8), value_range=(0, 65535))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_arrays_are_turned_as_pictures_are(tmp_path, orientation):
    picture = Image.fromarray(PHOTO)
    picture.getexif()[0x0112] = orientation
    assert (upright(PHOTO, orientation) == np.array(ImageOps.exif_transpose(picture))).all()
    path = write_tiff(tmp_path / "x.tif", BANDS, extratags=[(274, 3, 1, orientation, True)])
    expected = upright(BANDS, orientation)
    assert (one(path, np.zeros(expected.shape[:2], np.uint8)).read(0)[0] == expected).all()


# Masks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "name"), [(np.uint16, "m.png"), (np.uint16, "m.tif"), (np.int32, "m.tif")])
def test_deep_masks(tmp_path, dtype, name):
    labels = LABELS.astype(dtype)
    labels[0, 0] = 255
    path = save(labels, tmp_path / name)
    assert (one(mask=path).read(0)[1] == labels).all()
    refused("has the value 3", mask=save(labels + (labels == 2).astype(dtype), path))
    colours = [(0, 0, 0), (1, 1, 1), (2, 2, 2)]
    assert (one(mask=save(LABELS.astype(dtype), path), mask_values=colours).read(0)[1] == LABELS).all()


def test_masks_of_no_labels(tmp_path):
    path = write_tiff(tmp_path / "m.tif", LABELS.astype(np.float32))
    refused(f"{path} holds (6, 8) float32: a mask is (H, W) integers", mask=path)
    cv2.imwrite(str(tmp_path / "m.png"), DEEP_COLOURS)
    refused("m.png holds (6, 8, 3) uint16: a mask is (H, W) integers", mask=tmp_path / "m.png")
    refused("m.tif holds (6, 8, 5) uint8", mask=write_tiff(path, BANDS))
