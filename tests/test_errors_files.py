"""Nearest names, shipped folders, and files that are whole or not there."""

import os
import stat

import pytest

from segnb import files
from segnb.errors import SegnbError, nearest
from segnb.files import resource, write_atomically

NAMES = ["unet", "fpn", "deeplabv3plus", "segformer"]


def test_the_error_is_a_value_error():
    assert issubclass(SegnbError, ValueError)


@pytest.mark.parametrize(
    ("word", "names", "offer"),
    [
        ("unett", NAMES, "Did you mean 'unet'?"),
        ("UNet", NAMES, "Did you mean 'unet'?"),
        ("resnet3", ["resnet34", "resnet32", "vit"], "Did you mean 'resnet34' or 'resnet32'?"),
        ("zzz", NAMES, "Choose from: deeplabv3plus, fpn, segformer, unet."),
        ("zzz", [f"name{i}" for i in range(13)], ""),
        ("zzz", [], ""),
        (None, NAMES, "Did you mean 'unet'?"),
    ],
)
def test_nearest_names(word, names, offer):
    assert nearest(word, names) == offer


def test_nearest_offers_at_most_count():
    assert nearest("aaab", ["aaaa", "aaac", "aaad"], count=1).count("'") == 2


def test_a_resource_is_found_in_a_wheel_before_a_checkout(tmp_path, monkeypatch):
    package = tmp_path / "segnb"
    monkeypatch.setattr(files, "PACKAGE", package)
    (tmp_path / "notebooks").mkdir()
    assert resource("notebooks") == tmp_path / "notebooks"
    (package / "_notebooks").mkdir(parents=True)
    assert resource("notebooks") == package / "_notebooks"


def test_a_missing_resource_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PACKAGE", tmp_path / "segnb")
    with pytest.raises(FileNotFoundError, match=r"'data_samples' is missing: reinstall"):
        resource("data_samples")


def test_writing_makes_the_folder_and_returns_the_path(tmp_path):
    path = write_atomically(str(tmp_path / "a" / "b.txt"), lambda file: file.write_text("whole"))
    assert path == tmp_path / "a" / "b.txt"
    assert path.read_text() == "whole"
    assert [file.name for file in path.parent.iterdir()] == ["b.txt"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "b.txt"
    path.write_text("old")

    def fail(file):
        assert file.suffix == ".txt"
        file.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["b.txt"]


def test_an_interrupt_leaves_nothing_behind(tmp_path):
    def interrupt(file):
        file.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "b.txt", interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_others_may_read_what_they_could_read_of_any_new_file(tmp_path):
    plain = tmp_path / "plain.txt"
    plain.write_text("")
    path = write_atomically(tmp_path / "b.txt", lambda file: file.write_text("whole"))
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
