"""Packages that only some readers need."""

from __future__ import annotations

import importlib
from types import ModuleType

from segnb.errors import SegnbError


def require(module: str, purpose: str) -> ModuleType:
    """Import a package of the extra ``segnb[data]``.

    Args:
        module: its name to import, such as "tifffile" or "pycocotools.mask".
        purpose: what it is needed for, the beginning of a sentence.

    Returns:
        The module.

    Raises:
        SegnbError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise SegnbError(f'{purpose} needs {package}: pip install "segnb[data]" (or pip install {package}).') from error
