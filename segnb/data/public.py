"""Named public data sets: where they are kept, how they are fetched, and what to do by hand where that fails.

Torchvision downloads with a progress bar and compares the checksum; a file that is there already is not fetched again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segnb.errors import SegnbError


@dataclass(frozen=True)
class PublicSet:
    """A data set that has a name and a home.

    Attributes:
        name: how it is called.
        folder: where its files lie below the root, as torchvision unpacks them.
        needed: folders in it, without which it is not there.
        source: where it comes from and what to unpack, for a reader who fetches it by hand.
    """

    name: str
    folder: str
    needed: Sequence[str]
    source: str

    def locate(self, root: str | Path | None, download: Callable[[Path], object] | None) -> Path:
        """Find the data set, and fetch it if it is missing and wanted.

        Args:
            root: the folder above ``folder``, or that folder itself; None for segnb's cache.
            download: fetches and unpacks everything below the root given; None if nothing is to be fetched.

        Returns:
            The folder that holds the data.

        Raises:
            SegnbError: it is missing, or could not be fetched.
        """
        root = cache_folder() if root is None else Path(root).expanduser()
        found = self._find(root)
        if found is None and download is not None:
            try:
                root.mkdir(parents=True, exist_ok=True)
                download(root)
            except (OSError, RuntimeError) as error:  # no network, no space, a wrong checksum
                raise SegnbError(
                    f"{self.name} could not be downloaded ({error}). By hand: {self._by_hand(root)}"
                ) from error
            found = self._find(root)
        if found is None:
            fetch = "" if download else "Pass download=True, or by hand: "
            raise SegnbError(f"{root} does not hold {self.name}. {fetch}{self._by_hand(root)}")
        return found

    def _find(self, root: Path) -> Path | None:
        """Look below the root, and at the root itself."""
        for folder in (root / self.folder, root):
            if all((folder / needed).is_dir() for needed in self.needed):
                return folder
        return None

    def _by_hand(self, root: Path) -> str:
        """Say what to put where."""
        return f"{self.source} so that there is the folder {root / self.folder / self.needed[0]}."


def cache_folder() -> Path:
    """Where downloads are kept: ``$XDG_CACHE_HOME/segnb``, by default ``~/.cache/segnb``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "segnb"
