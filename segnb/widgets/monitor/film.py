"""The film of a training: what the model predicted for a few validation pictures after each epoch.

runs/unet-resnet34-1a2b3c/monitor/
picture-0.jpg        the photo, at most 320 pixels wide or high
truth-0.png          its mask: a grey value is a label, 255 is ignored
epoch-0007-0.png     what was predicted after epoch 7

Long trainings keep every second epoch, every fourth ...: a film has at most 240 frames, and the newest.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from segnb import draw
from segnb.files import write_atomically
from segnb.widgets import pictures

FOLDER = "monitor"
LONGEST = 320  # pixels of a picture's longer side
FRAMES = 240
PICTURES = 4
FRAME_FILE = re.compile(r"epoch-(\d{4,9})-(\d)\.png")

Picture = tuple[np.ndarray, np.ndarray, np.ndarray]  # image (H, W, C), truth (H, W), prediction (H, W), all uint8


class Film:
    """Predictions by epoch, in memory and in the folder of the run.

    Args:
        path: folder of the run; if it is not there, the film is kept in memory only.

    Attributes:
        examples: for each picture ``image`` (base64 text of a JPEG) and ``truth`` (of a PNG of labels).
        frames: for each kept epoch the predictions, as such PNGs, one for each picture.
    """

    def __init__(self, path: Path) -> None:
        self.folder = path / FOLDER if path.is_dir() else None
        self.examples: list[dict[str, str]] = []
        self.frames: dict[int, list[str]] = {}

    def read(self, epochs: int) -> None:
        """Read what an earlier part of the run left in its folder.

        Args:
            epochs: that the run has finished; frames of later ones are left out.
        """
        if self.folder is None or not self.folder.is_dir():
            return
        self.examples = _read_examples(self.folder)
        for epoch in sorted(_epochs_in(self.folder)):
            frame = [_read_labels(self._frame_file(epoch, place)) for place in range(len(self.examples))]
            fits = all(
                text is not None and _size(text) == _size(example["truth"])
                for text, example in zip(frame, self.examples, strict=True)
            )
            if epoch <= epochs and frame and fits:
                self.frames[epoch] = frame

    def clear(self) -> None:
        """Forget the film of another run in the same folder."""
        for file in list(self.folder.iterdir()) if self.folder is not None and self.folder.is_dir() else []:
            if FRAME_FILE.fullmatch(file.name) or re.fullmatch(r"(picture|truth)-\d\.(jpg|png)", file.name):
                file.unlink(missing_ok=True)

    def add(self, epoch: int, preview: Sequence[Picture], classes: int) -> None:
        """Keep the predictions of an epoch.

        Args:
            epoch: its number, from 1.
            preview: the first validation pictures.
            classes: how many labels there are.

        Raises:
            SegnbError: a label is none of the classes.
            OSError: the disk is full; the frame is kept in memory.
        """
        preview = preview[:PICTURES]
        if len(self.examples) != len(preview):
            self.examples = [_example(image, truth) for image, truth, _ in preview]
            self._write_examples()
        self.frames[epoch] = [
            _encode_labels(
                pictures.checked_labels(prediction, image, f"validation picture {place}", "prediction", classes)
            )
            for place, (image, _, prediction) in enumerate(preview, start=1)
        ]
        for place, text in enumerate(self.frames[epoch]):
            self._write(self._frame_name(epoch, place), text)
        self._thin(epoch)

    def last_frame(self) -> list[Picture]:
        """Decode the pictures with their newest predictions.

        Returns:
            One triple for each picture; a label that has no colour is possible in a damaged file only.
        """
        newest = self.frames[max(self.frames)] if self.frames else []
        return [
            (_decode(example["image"]), _decode(example["truth"]), _decode(text))
            for example, text in zip(self.examples, newest, strict=True)
        ]

    def _thin(self, newest: int) -> None:
        """Keep as many epochs as a film has frames, equally far apart, and the newest."""
        every = 2 ** max(0, math.ceil(math.log2(newest / FRAMES)))
        for epoch in [epoch for epoch in self.frames if (epoch - 1) % every and epoch != newest]:
            for place in range(len(self.frames.pop(epoch))):
                if self.folder is not None:
                    self._frame_file(epoch, place).unlink(missing_ok=True)

    def _write_examples(self) -> None:
        for place, example in enumerate(self.examples):
            self._write(f"picture-{place}.jpg", example["image"])
            self._write(f"truth-{place}.png", example["truth"])

    def _write(self, name: str, text: str) -> None:
        if self.folder is not None:
            content = base64.b64decode(text)
            write_atomically(self.folder / name, lambda temporary: temporary.write_bytes(content))

    def _frame_name(self, epoch: int, place: int) -> str:
        return f"epoch-{epoch:04d}-{place}.png"

    def _frame_file(self, epoch: int, place: int) -> Path:
        return self.folder / self._frame_name(epoch, place)


def _example(image: np.ndarray, truth: np.ndarray) -> dict[str, str]:
    photo = Image.fromarray(np.ascontiguousarray(draw.as_rgb(image)))
    small = photo.resize(_reduced(photo.size), Image.Resampling.BOX)
    return {"image": pictures.photo(np.asarray(small)), "truth": _encode_labels(truth)}


def _encode_labels(labels: np.ndarray) -> str:
    """(H, W) uint8 -> base64 text of a small PNG."""
    image = Image.fromarray(np.ascontiguousarray(labels))
    return pictures.label_map(np.asarray(image.resize(_reduced(image.size), Image.Resampling.NEAREST)))


def _reduced(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of a picture in the film."""
    scale = min(1.0, LONGEST / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _read_examples(folder: Path) -> list[dict[str, str]]:
    """Read photos and masks, as far as they fit each other."""
    examples = []
    for place in range(PICTURES):
        image = _read_picture(folder / f"picture-{place}.jpg", "JPEG", "RGB")
        truth = _read_labels(folder / f"truth-{place}.png")
        if image is None or truth is None or _size(image) != _size(truth):
            break
        examples.append({"image": image, "truth": truth})
    return examples


def _read_labels(file: Path) -> str | None:
    return _read_picture(file, "PNG", "L")


def _read_picture(file: Path, kind: str, mode: str) -> str | None:
    """Read a file of the film as base64 text; None if it is not there, or is something else."""
    try:
        content = file.read_bytes()
        with Image.open(io.BytesIO(content), formats=[kind]) as image:
            fits = image.mode == mode and max(image.size) <= LONGEST
            if fits:
                image.load()
    except (OSError, SyntaxError, ValueError):  # what PIL raises for a damaged file
        return None
    return base64.b64encode(content).decode("ascii") if fits else None


def _epochs_in(folder: Path) -> set[int]:
    found = (FRAME_FILE.fullmatch(file.name) for file in folder.iterdir())
    return {int(match[1]) for match in found if match}


def _size(text: str) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(text))).size


def _decode(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
