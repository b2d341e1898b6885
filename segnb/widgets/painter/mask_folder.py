"""The folder that a painter saves to: one index PNG for each mask, and ``classes.json`` that says what they mean.

    folder/
      a.png           grey values are the labels, 255 is unlabelled; shown in the colours of the palette
      classes.json    {"classes": [...], "palette": [...], "images": {"a": "photos/a.jpg"}, "empty": [], "done": ["a"]}
      images/a.png    only of images that are not files, if PNG holds them as they are

Each file is written under a temporary name and renamed, so that a crash leaves the old mask or the new one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segnb.data.folders import inside
from segnb.data.reading import read_image, read_mask
from segnb.data.sources import Source
from segnb.draw import IGNORE
from segnb.errors import SegnbError
from segnb.files import write_atomically

ABOUT = "classes.json"


class MaskFolder:
    """Masks of named pictures in a folder.

    Args:
        folder: where; made at the first mask.
        names: of the pictures.
        sources: their images.
        classes: names as a `SegmentationDataset` takes them.
        palette: (labels, 3) uint8.
        value_range: see `SegmentationDataset`.

    Attributes:
        path: of the folder.
        files: the mask of each picture.
        done: names of the pictures marked as done when the folder was opened.
        labelled: names of the pictures whose saved mask has a label somewhere.

    Raises:
        SegnbError: a name leads out of the folder, two pictures would share a mask, a mask would replace its image, or
            the folder holds masks of other classes.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        names: Sequence[str],
        sources: Sequence[Source],
        classes: Sequence[str],
        palette: np.ndarray,
        value_range: tuple[float, float] | None,
    ) -> None:
        self.path = Path(folder).expanduser()
        if self.path.exists() and not self.path.is_dir():
            raise SegnbError(f"folder={str(folder)!r} is a file: give a folder; it is made if it is missing")
        self._names, self._sources, self._value_range = list(names), sources, value_range
        self._classes, self._palette = list(classes), palette
        self.files = _mask_files(self.path, self._names)
        images = {Path(source).resolve() for source in sources if isinstance(source, (str, Path))}
        replaced = next((file for file in self.files if file.resolve() in images), None)
        if replaced is not None:
            raise SegnbError(f"The mask {str(replaced)!r} would replace an image: give another folder")
        about, mine = self._read_about(), set(self._names)
        self.done = [name for name in self._names if name in about["done"]]
        self._others = {  # pictures of the folder that are not in this queue: they stay there
            "images": {name: path for name, path in about["images"].items() if name not in mine},
            "empty": [name for name in about["empty"] if name not in mine],
            "done": [name for name in about["done"] if name not in mine],
        }
        saved = {name for name, file in zip(self._names, self.files, strict=True) if file.exists()}
        self.labelled = saved - set(about["empty"])

    def read(self, index: int, image: np.ndarray) -> np.ndarray | None:
        """Read a saved mask.

        Args:
            index: which picture.
            image: (H, W, C) uint8, its image.

        Returns:
            (H, W) integers as they are stored; None if there is no mask.

        Raises:
            SegnbError: it cannot be read, or belongs to another image of that name.
        """
        file, kept = self.files[index], self._image_file(index)
        if not file.exists():
            return None
        if not self._is_file(index) and kept.exists() and not np.array_equal(read_image(kept, str(kept)), image):
            raise SegnbError(f"{file} is the mask of another image, see {kept}: give another folder, or other names")
        return read_mask(file, str(file), colours=False)

    def write(self, index: int, labels: np.ndarray, done: Sequence[str]) -> Path:
        """Save a mask, and what the folder holds.

        Args:
            index: which picture.
            labels: (H, W) uint8.
            done: names of the pictures marked as done.

        Returns:
            The file.

        Raises:
            OSError: the disk is full or not writable; the old mask is still there.
        """
        if not self._is_file(index) and self._value_range is None:
            self._keep_image(index)
        picture = Image.fromarray(labels).convert("L")
        picture.putpalette(_colours(self._palette))
        new = not self.files[index].exists()
        write_atomically(self.files[index], lambda temporary: picture.save(temporary, format="PNG"))
        name, labelled = self._names[index], bool((labels != IGNORE).any())
        if new or labelled != (name in self.labelled):
            (self.labelled.add if labelled else self.labelled.discard)(name)
            self.write_about(done)
        return self.files[index]

    def write_about(self, done: Sequence[str]) -> None:
        """Save the names of classes, where the images are, and which pictures are done.

        Args:
            done: names of the pictures marked as done.
        """
        saved = [name for name, file in zip(self._names, self.files, strict=True) if file.exists()]
        about = {
            "classes": self._classes,
            "palette": self._palette.tolist(),
            "images": self._others["images"] | self.images(),
            "empty": self._others["empty"] + [name for name in saved if name not in self.labelled],
            "done": self._others["done"] + list(done),
        }
        text = json.dumps(about, indent=1, ensure_ascii=False)
        write_atomically(self.path / ABOUT, lambda temporary: temporary.write_text(text, encoding="utf-8"))

    def images(self) -> dict[str, str]:
        """Say where the images of the labelled masks are, by name; those that live in memory only are left out."""
        found = {name: self._image_path(i) for i, name in enumerate(self._names) if name in self.labelled}
        return {name: path for name, path in found.items() if path is not None}

    def _image_path(self, index: int) -> str | None:
        """Say where the image of a mask is, counted from the folder; None for one that lives in memory only."""
        if self._is_file(index):
            return Path(self._sources[index]).expanduser().absolute().as_posix()
        file = self._image_file(index)
        return file.relative_to(self.path).as_posix() if file.exists() else None

    def _is_file(self, index: int) -> bool:
        return isinstance(self._sources[index], (str, Path))

    def _image_file(self, index: int) -> Path:
        return inside(self.path / "images", f"{self._names[index]}.png", "The queue")

    def _keep_image(self, index: int) -> None:
        """Write an image that is no file beside its mask: the folder is then enough to train on."""
        file = self._image_file(index)
        if file.exists():
            return
        image = read_image(self._sources[index], self._names[index])
        if image.shape[2] in (1, 3):
            picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
            write_atomically(file, lambda temporary: picture.save(temporary, format="PNG"))

    def _read_about(self) -> dict[str, Any]:
        """Read where images are, which masks are empty, which are done; refuse a folder with masks of other classes."""
        file = self.path / ABOUT
        if not file.exists():
            return {"images": {}, "empty": [], "done": []}
        try:
            about: Any = json.loads(file.read_text(encoding="utf-8"))
            classes, known = (
                list(about["classes"]),
                {key: [str(name) for name in about[key]] for key in ("empty", "done")},
            )
            known["images"] = {str(name): str(image) for name, image in about["images"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise SegnbError(f"{file} is not what a painter wrote ({problem!r}): give another folder") from None
        if classes != self._classes:
            raise SegnbError(
                f"{file} tells of the classes {classes}, but classes={self._classes}: give the same, or another folder"
            )
        return known


def _mask_files(folder: Path, names: Sequence[str]) -> list[Path]:
    """Name the mask of each picture; two that differ by capitals only are one file on some systems."""
    seen: dict[str, str] = {}
    for name in names:
        if not name.strip(". ") or "\0" in name:
            raise SegnbError(f"A picture is called {name!r}, which cannot be a file's name: rename it")
        if name.casefold() in seen:
            other = seen[name.casefold()]
            raise SegnbError(f"Two pictures, {other!r} and {name!r}, would share one mask: rename one of them")
        seen[name.casefold()] = name
    return [inside(folder, f"{name}.png", "The queue") for name in names]


def _colours(palette: np.ndarray) -> bytes:
    """256 colours of an index PNG: those of the labels, white for what is unlabelled."""
    table = np.full((256, 3), 255, np.uint8)
    table[: len(palette)] = palette
    return table.tobytes()
