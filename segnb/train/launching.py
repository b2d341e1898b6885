"""`fit(..., processes=2)`: copies of this process train, and their result comes back through the run's folder.

    this process ─┬─ fork ─▶ process 0 ─▶ train ─▶ runs/unet-…/ ─▶ weights, history ─▶ model and Run of this process
                  └─ fork ─▶ process 1 ─▶ train ─▶ (writes nothing)

The copies are made by accelerate's notebook launcher. They start with everything that is in memory: model, data and functions
need no file. What they change stays theirs.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

import torch
from accelerate import notebook_launcher
from accelerate.state import AcceleratorState
from accelerate.utils import patch_environment

from segnb.errors import SegnbError
from segnb.files import write_atomically
from segnb.models import SegmentationModel
from segnb.train import checkpoint
from segnb.train.processes import handling
from segnb.train.run import Run

INSTEAD = (
    "Write the run into a file with run.save_config('run.yaml'), after a fit of one epoch if need be, and run "
    "accelerate launch --num_processes {processes} -m segnb train run.yaml"
)


def launch(train: Callable[[], Run], processes: int) -> Path:
    """Call a function in several copies of this process at once.

    Args:
        train: trains in one process of many, which find each other through accelerate.
        processes: how many.

    Returns:
        The run's folder.

    Raises:
        SegnbError: this process cannot be copied; or what ended the training in one of the copies.
    """
    check_can_fork(processes)
    with tempfile.TemporaryDirectory(prefix="segnb-") as folder:
        report = Path(folder)
        work = told(train, report, sys.stdout)
        AcceleratorState._reset_state(reset_partial_state=True)  # the copies must not believe to be alone
        try:
            # Not shown: on a machine without a GPU the launcher says that it starts "2 CUDAs".
            with (
                without_logs("torch.distributed.elastic"),
                patch_environment(**environment()),
                redirect_stdout(StringIO()),
            ):
                notebook_launcher(work, num_processes=processes, use_port=str(free_port()))
        except Exception as error:
            # An interrupt ends the launcher with an error, but the copies stop in good order.
            if not (report / "run.json").exists():
                raise failure(report, error, processes) from error
        return Path(json.loads((report / "run.json").read_text())["path"])


def check_can_fork(processes: int) -> None:
    """Say what stands against copying this process, if something does."""
    reason, gpus = None, torch.cuda.device_count()
    if not hasattr(os, "fork") or sys.platform == "darwin":
        reason = f"on {sys.platform} a process that uses PyTorch cannot be copied"
    elif torch.cuda.is_initialized():
        reason = "this process has used the GPU, and its copies could not: restart the kernel and use none before fit"
    elif gpus and processes > gpus:
        reason = f"there are {gpus} GPUs, and each process needs one of its own"
    elif "google.colab" in sys.modules and gpus < 2:
        reason = "Colab starts several processes on several GPUs only"
    if reason is not None:
        raise SegnbError(f"processes={processes}: {reason}. {INSTEAD.format(processes=processes)}")


def environment() -> dict[str, str]:
    """Tell accelerate to use several processes on a CPU, which it does not by itself, and to look for them on this machine."""
    if torch.cuda.is_available():
        return {}
    loopback = {"gloo_socket_ifname": "lo"} if sys.platform == "linux" else {}
    return {"accelerate_use_cpu": "yes", **loopback}


def told(train: Callable[[], Run], report: Path, output: TextIO) -> Callable[[], None]:
    """Let a process leave word of its run or its error, and print where the user looks."""

    def work() -> None:
        sys.stdout = output
        # The copies inherit the state of a pool of threads that they do not have; asked for more than one, it would hang.
        torch.set_num_threads(1)
        index = int(os.environ.get("RANK", "0"))
        with handling(signal.SIG_IGN):  # before and after the training, which stops in good order, files are written
            try:
                run = train()
            except BaseException as error:
                leave(report / f"error-{index}.json", {"message": str(error), "ours": isinstance(error, SegnbError)})
                raise
            if index == 0:
                leave(report / "run.json", {"path": str(run.path.resolve())})
        if run.interrupted:
            output.flush()
            # The result would wait to be asked for, which a launcher that was interrupted, too, never does.
            os._exit(1)

    return work


def leave(file: Path, content: dict[str, Any]) -> None:
    """Write a small file."""
    write_atomically(file, lambda temporary: temporary.write_text(json.dumps(content)))


def failure(report: Path, error: Exception, processes: int) -> Exception:
    """Find out what ended the training: the first process with an error of its own, not one that missed another."""
    files = sorted(report.glob("error-*.json"), key=lambda file: file.stat().st_mtime_ns)
    told_errors = [json.loads(file.read_text()) for file in files]
    own = [told_error for told_error in told_errors if "another process of this run" not in told_error["message"]]
    for told_error in own or told_errors:
        if told_error["ours"]:
            return SegnbError(told_error["message"])
        return RuntimeError(f"one of {processes} processes failed: {told_error['message']}")
    return SegnbError(
        f"processes={processes} could not train from here ({str(error).strip().splitlines()[0]}). "
        f"{INSTEAD.format(processes=processes)}"
    )


def free_port() -> int:
    """Find a port of this machine through which the copies can find each other."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def without_logs(name: str) -> Iterator[None]:
    """Keep a library from repeating an error in its log."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def bring_back(path: Path, model: SegmentationModel, run: Run) -> Run:
    """Read the result of a run that other processes made.

    Args:
        path: its folder.
        model: gets the weights of the best epoch, in eval mode.
        run: gets history, best epoch and messages.

    Returns:
        The run.
    """
    result = json.loads((path / checkpoint.RESULT).read_text())
    run.path, run.state, run.message = path, result["state"], result["message"]
    if (path / checkpoint.LAST).is_file():
        last = checkpoint.read_checked(path / checkpoint.LAST)
        run.history, run.losses, run.settings = last["history"], last["losses"], last["settings"]
        run.epochs, run.steps, run.best = last["epochs"], last["steps"], last["history"][last["best"]]
        run.recipe = replace(run.recipe, batch_size=last["batch_size"])
        run.epoch, run.step = len(run.history), run.steps
        run.continue_from(run.history[-1]["elapsed"])
        model.load_state_dict(checkpoint.read_best(path))
    run.stop_clock()
    model.eval()
    return run
