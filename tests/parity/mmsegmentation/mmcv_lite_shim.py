"""Lets ``import mmcv.ops`` work with mmcv-lite: operators in Python run, compiled ones raise when they are called."""

import importlib.machinery
import sys
import types


class Operators(types.ModuleType):
    """Stands for mmcv's compiled module."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def operator(*args, **options):
            raise NotImplementedError(f"mmcv's operator {name} is not compiled in mmcv-lite")

        operator.__name__ = name
        return operator


module = Operators("mmcv._ext")
module.__spec__ = importlib.machinery.ModuleSpec("mmcv._ext", None)
sys.modules["mmcv._ext"] = module
