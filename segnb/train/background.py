"""Training in a thread, while the notebook goes on.

cell ── fit(background=True) ──▶ Run, at once          run.wait(), run.stop(), run.pause() from any later cell
             └── thread: the same loop as ever, showing itself in the cell that started it
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable

from segnb.errors import SegnbError
from segnb.train.run import Run

# The training engine and the random numbers belong to the process: two runs would disturb each other.
_engine = threading.Lock()


def reserve() -> None:
    """Take the training engine for one run; `release` gives it back.

    Raises:
        SegnbError: another run has it.
    """
    if not _engine.acquire(blocking=False):
        raise SegnbError(
            "a run is still training, perhaps in the background, and a process trains one at a time: wait for it with "
            "run.wait(), or end it with run.stop() and run.wait()."
        )


def release() -> None:
    """Give the training engine back."""
    _engine.release()


def start(run: Run, work: Callable[[], object]) -> None:
    """Do the work of a run in a thread; what it raises is kept for `Run.wait`.

    Args:
        run: whose work it is.
        work: trains, then releases the engine.
    """

    def inside() -> None:
        try:
            work()
        except BaseException as error:
            run.error = error

    # The copied context tells a notebook which cell the output belongs to.
    context = contextvars.copy_context()
    run.thread = threading.Thread(target=context.run, args=(inside,), name=f"segnb {run.path.name}", daemon=True)
    run.thread.start()
