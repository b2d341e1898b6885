"""Build an environment with Colab's versions: its kernel and its ipywidgets 7, seen in a classic notebook of the same age.

    python tests/browser/colab.py .cache/colab

Colab's own page is not to be had; Notebook 6.5 shows widgets with the same manager of ipywidgets 7. The versions stand in
colab.txt. torch is left out, since it is several gigabytes: a kernel there runs every widget on arrays, and no model.
Without Python 3.13 nothing is built, and the tests that need the environment are skipped.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

PINS = Path(__file__).with_name("colab.txt")
PYTHON = (3, 13)


def find_python() -> str | None:
    """Find the Python that Colab has, on the PATH or among those of pyenv."""
    name = f"python{PYTHON[0]}.{PYTHON[1]}"
    installed = sorted(Path.home().glob(f".pyenv/versions/{PYTHON[0]}.{PYTHON[1]}.*/bin/{name}"))
    for candidate in (shutil.which(name), *map(str, reversed(installed))):
        # pyenv puts a stand-in on the PATH that only works once a version is chosen
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def build(folder: Path) -> None:
    """Make the environment; an unfinished one is never left under its name.

    Args:
        folder: where it goes.
    """
    python = find_python()
    if python is None:
        print(f"Python {PYTHON[0]}.{PYTHON[1]} was not found: the tests on Colab's versions will be skipped")
        return
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([python, "-m", "venv", folder], check=True)
    try:
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-q", "-r", PINS], check=True)
    except BaseException:
        shutil.rmtree(folder)
        raise


if __name__ == "__main__":
    build(Path(sys.argv[1]))
