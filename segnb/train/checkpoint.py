"""The files of a run: what is written after each epoch, and how an unfinished run is found again.

runs/unet-resnet34-1a2b3c/
best/         the model of the best epoch: segnb.load_model(run.path / "best")
last.pt       everything needed to go on after the last finished epoch
result.json   how the run ended; absent while it runs, and after a crash
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segnb.errors import SegnbError
from segnb.files import write_atomically
from segnb.pretrained import WEIGHTS
from segnb.train.run import Run

LAST, RESULT, BEST = "last.pt", "result.json", "best"


def choose_folder(out: str | Path | None, settings: dict[str, Any], resume: bool) -> Path:
    """Choose the folder of a run.

    Args:
        out: the user's choice, or None.
        settings: everything that shapes the run; names the folder if there was no choice.
        resume: whether a run with the same settings that never ended may be gone on with.

    Returns:
        ``out``, or a folder under ``runs/`` that holds no ended run.
    """
    if out is not None:
        return Path(out)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:6]
    stem = f"{settings['model']['arch']}-{settings['model']['encoder_name']}-{digest}"
    count = 1
    while True:
        path = Path("runs") / (stem if count == 1 else f"{stem}-{count}")
        if not path.exists() or (resume and not (path / RESULT).exists()):
            return path
        count += 1


def prepare_folder(path: Path, resume: bool) -> None:
    """Forget how an earlier run in the folder ended, and its checkpoint unless it is to be resumed.

    Raises:
        SegnbError: the folder cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
        if not resume:
            (path / LAST).unlink(missing_ok=True)
            (path / BEST / WEIGHTS).unlink(missing_ok=True)
            (path / RESULT).unlink(missing_ok=True)
    except OSError as error:
        raise SegnbError(
            f"the run folder {str(path)!r} cannot be used ({error}): give a writable one with out=...."
        ) from error


def write_last(path: Path, checkpoint: dict[str, Any]) -> None:
    """Write the checkpoint of an epoch."""
    write_atomically(path / LAST, lambda temporary: torch.save(checkpoint, temporary))


def read_last(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Read the checkpoint of an earlier run, or None if there is none. No code in the file is run.

    Raises:
        SegnbError: the file is not such a checkpoint, or the run had other settings.
    """
    file = path / LAST
    if not file.is_file():
        return None
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        before = state["settings"]
    except Exception as error:
        raise SegnbError(
            f"{str(file)!r} cannot be read as a checkpoint ({type(error).__name__}); nothing in it was run. "
            "Start afresh with resume=False, or give another folder with out=...."
        ) from error
    changed = [
        f"{key} was {before.get(key)!r} and is now {value!r}"
        for key, value in settings.items()
        if before.get(key) != value
    ]
    if changed:
        raise SegnbError(
            f"{path} holds a run with other settings: {'; '.join(changed)}. "
            "Give another folder with out=..., or start afresh with resume=False."
        )
    return state


def read_best(path: Path) -> dict[str, Tensor] | None:
    """Read the weights of the best epoch, or None if they were never written."""
    from safetensors.torch import load_file

    file = path / BEST / WEIGHTS
    return load_file(file) if file.is_file() else None


def write_result(run: Run) -> None:
    """Write how the run ended; it then counts as ended, and the next one gets a folder of its own."""
    result = {"state": run.state, "message": run.message, "best": run.best, "history": run.history}
    write_atomically(run.path / RESULT, lambda temporary: temporary.write_text(json.dumps(result, indent=1)))


def has_finished(path: Path) -> bool:
    """Say whether the folder holds a run that came to its end, by its epochs or its patience."""
    file = path / RESULT
    return file.is_file() and json.loads(file.read_text()).get("state") == "finished"
