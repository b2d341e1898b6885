"""What several tests share."""

import socket

import pytest
import torch
from hypothesis import settings
from squares import CLASSES, TINY, squares

from segnb.data import SegmentationDataset
from segnb.models import create_model

settings.register_profile("segnb", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("segnb")

# The models here are too small to share out: two threads only wait for each other.
torch.set_num_threads(1)


@pytest.fixture
def no_network(monkeypatch):
    """Whatever wants to reach out fails at once."""

    def refuse(*args, **kwargs):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def tiny():
    """Make a small model, the same each time."""

    def make(arch="unet", encoder_name=TINY, classes=CLASSES, **options):
        torch.manual_seed(0)
        return create_model(arch, encoder_name, None, classes=classes, **options)

    return make


@pytest.fixture(scope="session")
def square_data():
    """Train (16 pictures) and valid (4 pictures) of squares."""
    return SegmentationDataset(*squares(16), CLASSES), SegmentationDataset(*squares(4, seed=1), CLASSES)
