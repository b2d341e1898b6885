"""Exporters talk a lot, and some report their use to their makers; here they are silent."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

CHATTY = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export", "torch.utils.cpp_extension", "nncf")
TELEMETRY = "openvino_telemetry"


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings and log lines of exporters, which speak of their own inside."""
    loggers = {logging.getLogger(name): logging.getLogger(name).level for name in CHATTY}
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)


def import_silently(name: str) -> ModuleType:
    """Import openvino or nncf without their telemetry: by default both send an event over the network when they are imported.

    Args:
        name: of the module.

    Returns:
        The module. If the program has imported it before, it is as that program wanted it.
    """
    absent = object()
    before = sys.modules.get(TELEMETRY, absent)
    sys.modules[TELEMETRY] = None  # importing it fails then, which both are prepared for
    try:
        with quiet():
            return importlib.import_module(name)
    finally:
        if before is absent:
            del sys.modules[TELEMETRY]
        else:
            sys.modules[TELEMETRY] = before
