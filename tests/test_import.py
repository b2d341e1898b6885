"""``import segnb`` costs nothing, and every public name is there when it is used."""

import subprocess
import sys

import segnb

HEAVY = ["torch", "timm", "matplotlib", "albumentations", "numpy", "anywidget", "accelerate"]


def test_import_loads_nothing_heavy():
    code = f"import sys, segnb; print([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_modules_without_a_model_need_no_torch():
    code = "import sys, segnb.errors, segnb.draw, segnb.files, segnb.cli; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_every_public_name_resolves():
    wanted = {"create_model", "list_models", "list_encoders", "SegmentationDataset", "load_sample", "fit", "evaluate"}
    wanted |= {"predict", "export", "save_model", "load_model", "explore", "doctor", "SegnbError"}
    assert wanted <= set(segnb.__all__)
    for name in segnb.__all__:
        found = getattr(segnb, name)
        assert callable(found), name
        assert found.__module__.startswith("segnb."), name  # a function, not a module that took its name
    assert set(segnb.__all__) <= set(dir(segnb))


def test_the_version_is_the_installed_one():
    from importlib.metadata import version

    assert segnb.__version__ == version("segnb")
