"""The files of a run: what is written after each epoch, and how an unfinished run is found again.

runs/unet-resnet34-1a2b3c/
start/        the model with the weights that it came with, for run.save_config
best/         the model of the best epoch: segnb.load_model(run.path / "best")
last.pt       everything needed to go on after the last finished epoch
previous.pt   the same of the epoch before, in case the disk loses last.pt
history.csv   the scores of all epochs
result.json   how the run ended; absent while it runs, and after a crash
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segnb.errors import SegnbError
from segnb.files import write_atomically
from segnb.pretrained import WEIGHTS
from segnb.train.run import Run

LAST, PREVIOUS, RESULT, START, BEST = "last.pt", "previous.pt", "result.json", "start", "best"
HALF_WRITTEN = re.compile(r"\.\w+-[0-9a-f]{8}\.\w+")  # what `write_atomically` leaves if its process is killed


def choose_folder(out: str | Path | None, settings: dict[str, Any], resume: bool) -> Path:
    """Choose the folder of a run.

    Args:
        out: the user's choice, or None.
        settings: everything that shapes the run; names the folder if there was no choice.
        resume: whether a run with the same settings that never ended, or failed, may be gone on with.

    Returns:
        ``out``, or a folder under ``runs/`` that holds no run that was finished or stopped.
    """
    if out is not None:
        return Path(out)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:6]
    parts = (settings["model"].get(name) for name in ("arch", "encoder_name"))  # a network has no encoder
    stem = "-".join([part for part in parts if part] + [digest])
    count = 1
    while True:
        path = Path("runs") / (stem if count == 1 else f"{stem}-{count}")
        if not path.exists() or (resume and how_ended(path) in (None, "failed")):
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
        old = [path / LAST, path / PREVIOUS, path / BEST / WEIGHTS, path / RESULT] if not resume else []
        half = [
            file
            for place in (path, path / START, path / BEST)
            for file in place.glob(".*")
            if HALF_WRITTEN.fullmatch(file.name)
        ]
        for file in (*old, *half):
            file.unlink(missing_ok=True)
    except OSError as error:
        raise SegnbError(
            f"the run folder {str(path)!r} cannot be used ({error}): give a writable one with out=...."
        ) from error


def write_last(path: Path, checkpoint: dict[str, Any]) -> None:
    """Write the checkpoint of an epoch; the one before is kept."""

    def write(temporary: Path) -> None:
        torch.save(checkpoint, temporary)
        if (path / LAST).is_file():
            (path / LAST).replace(path / PREVIOUS)

    write_atomically(path / LAST, write)


def read_last(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Read the checkpoint of an earlier run, or the one before if it is damaged; None if there is none.

    No code in the files is run.

    Raises:
        SegnbError: no file is such a checkpoint, or the run had other settings.
    """
    problems: list[tuple[Path, Exception]] = []
    for file in (path / LAST, path / PREVIOUS):
        if not file.is_file():
            continue
        try:
            state = read_checked(file)
            check_same(path, state["settings"], settings)
        except SegnbError:
            raise
        except Exception as error:
            problems.append((file, error))
            continue
        if problems:
            warnings.warn(
                f"{str(path / LAST)!r} is damaged ({type(problems[0][1]).__name__}): the run goes on from the epoch before, "
                f"which {PREVIOUS} holds.",
                stacklevel=4,
            )
        return state
    if problems:
        file, error = problems[0]
        best = f"The best weights are in {str(path / BEST)!r}: segnb.load_model reads them. " if has_best(path) else ""
        raise SegnbError(
            f"{str(file)!r} cannot be read as a checkpoint ({type(error).__name__}); nothing in it was run. {best}"
            "Start afresh with resume=False, or give another folder with out=...."
        ) from error
    return None


def read_checked(file: Path) -> dict[str, Any]:
    """Read a checkpoint whose every byte is as it was written: `torch.load` looks at no checksum."""
    with zipfile.ZipFile(file) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} has another checksum than when it was written")
    return torch.load(file, map_location="cpu", weights_only=True)


def check_same(path: Path, before: dict[str, Any], settings: dict[str, Any]) -> None:
    """Refuse to go on with a run under other settings."""
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


def has_best(path: Path) -> bool:
    """Say whether the weights of a best epoch were written."""
    return (path / BEST / WEIGHTS).is_file()


def read_best(path: Path) -> dict[str, Tensor] | None:
    """Read the weights of the best epoch, or None if they were never written."""
    from safetensors.torch import load_file

    return load_file(path / BEST / WEIGHTS) if has_best(path) else None


def write_result(run: Run) -> None:
    """Write how the run ended; it then counts as ended, and the next one gets a folder of its own."""
    result = {"state": run.state, "message": run.message, "best": run.best, "history": run.history}
    write_atomically(run.path / RESULT, lambda temporary: temporary.write_text(json.dumps(result, indent=1)))


def how_ended(path: Path) -> str | None:
    """Say how the run in a folder ended: ``"finished"``, ``"stopped"``, ``"failed"``; None if it never did."""
    file = path / RESULT
    return json.loads(file.read_text()).get("state", "stopped") if file.is_file() else None
