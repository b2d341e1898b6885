"""Flags on pictures, kept in a small file so that they outlive the kernel.

{"flagged": ["scene-003", "scene-010"]}     flags/<data>-<eight hexadecimal digits>.json
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from segnb.errors import SegnbError
from segnb.files import write_atomically

LOOKS = ("classes", "mask_values", "palette", "value_range")  # of a data set's origin: they do not tell which pictures


class Flags:
    """Names of flagged pictures in a JSON file; the file is made with the first flag.

    Args:
        path: of the file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().absolute()

    def read(self) -> list[str]:
        """Read the names.

        Returns:
            All names in the file; none if there is no file.

        Raises:
            SegnbError: the file holds something else, or cannot be read.
        """
        try:
            text = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as problem:
            raise SegnbError(
                f"The flags in {str(self.path)!r} cannot be read ({problem.strerror or problem}): give another file as flags="
            ) from problem
        try:
            names = json.loads(text)["flagged"]
        except (ValueError, KeyError, TypeError):
            names = None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise SegnbError(
                f'{str(self.path)!r} holds no flags: it should read {{"flagged": ["name", ...]}}; '
                "repair it, delete it, or give another file as flags="
            )
        return names

    def change(self, added: Iterable[str], removed: Collection[str]) -> None:
        """Set and remove flags; those of all other pictures stay as they are in the file.

        Args:
            added: names of pictures that are flagged now.
            removed: names of pictures that are flagged no more.

        Raises:
            SegnbError: the file cannot be written, or holds something else.
        """
        names = dict.fromkeys([*self.read(), *added])  # in order, each once
        text = json.dumps({"flagged": [name for name in names if name not in removed]}, ensure_ascii=False, indent=1)
        try:
            write_atomically(self.path, lambda temporary: temporary.write_text(text + "\n", encoding="utf-8"))
        except OSError as problem:
            raise SegnbError(
                f"The flags cannot be saved in {str(self.path)!r} ({problem.strerror or problem}): "
                "give a file that can be written as flags="
            ) from problem


def default_path(source: Any, names: Sequence[str]) -> Path:
    """Choose a file for the flags: the same one whenever the same data are opened in the same working directory.

    Args:
        source: a data set with an ``origin``, or anything else.
        names: of the pictures; they stand for a source without origin.

    Returns:
        A path in ``flags/`` under the working directory, where it can be written; the data may lie where it cannot.
    """
    origin = getattr(source, "origin", None)
    if origin is None:
        title, content = "pictures", list(names)
    else:
        title, content = _title(origin), {key: value for key, value in origin.items() if key not in LOOKS}
    text = json.dumps(content, sort_keys=True)
    digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    return Path("flags") / f"{title}-{digest}.json"


def _title(origin: dict[str, Any]) -> str:
    """Name a data set as its folder or sample is called, in characters that every file system takes."""
    place = next((origin[key] for key in ("root", "annotations", "images") if isinstance(origin.get(key), str)), "")
    parts = [str(origin[key]) for key in ("name", "part", "split") if isinstance(origin.get(key), str)]
    title = "-".join(parts) or Path(place).parent.name
    return re.sub(r"[^\w-]+", "-", title).strip("-")[:40] or "data"
