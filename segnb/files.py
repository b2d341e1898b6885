"""Where shipped files are, and how a file is written so that no half of it is ever seen."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

PACKAGE = Path(__file__).parent


def resource(folder: str) -> Path:
    """Find a folder that travels with segnb.

    Args:
        folder: ``"notebooks"`` or ``"data_samples"``.

    Returns:
        The folder inside the installed wheel, or the one beside the package in a checkout.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    for candidate in (PACKAGE / f"_{folder}", PACKAGE.parent / folder):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(
        f"segnb's own folder {folder!r} is missing: reinstall with pip install --force-reinstall segnb"
    )


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Write a file under a temporary name, then rename it, so that a crash leaves the old file or the new one.

    Args:
        path: the final name; its folder is made if it is missing.
        write: called with the temporary path (same suffix as ``path``), must create that file.

    Returns:
        The final path.

    Raises:
        OSError: the disk is full or not writable; nothing is left behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile.mkstemp: what it makes only its owner can read, even after it is renamed.
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_together(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Write a file and those that belong to it in a temporary folder, then move them, the named one last.

    Args:
        path: the final name; its folder is made if it is missing.
        write: called with a path of the same name in the temporary folder, must create that file; others that it writes beside it
            are moved, too.

    Returns:
        The final path.

    Raises:
        OSError: the disk is full or not writable; nothing temporary is left behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as folder:
        write(Path(folder) / path.name)
        for file in sorted(Path(folder).iterdir(), key=lambda file: file.name == path.name):
            file.replace(path.with_name(file.name))
    return path
