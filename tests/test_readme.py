"""The README tells the truth about files, models and commands."""

from __future__ import annotations

import re
from pathlib import Path

import torch

import segnb
from segnb.models import ARCHITECTURES
from segnb.networks import NETWORKS

ROOT = Path(__file__).parents[1]
ON_TRANSFORMERS = {"dpt": "vit_base_patch16_224", "eomt": "vit_small_patch14_reg4_dinov2"}
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(name):
    return re.search(rf"<!-- {name}:.*?-->\n(.*?)<!-- end -->", README, re.DOTALL)[1]


def test_model_table_is_the_registry():
    rows = re.findall(
        r"\| `(\w+)` \| \[[\w/.]+\]\(([\w/.]+)\) \| (\S+) \| ([\d.]+) M \| [\d.]+ \| (.+) \|", section("models")
    )
    assert [name for name, *_ in rows] == segnb.list_models()
    for name, file, paper, millions, proofs in rows:
        assert ARCHITECTURES[name].__module__.replace(".", "/") + ".py" == file
        assert paper in (ROOT / file).read_text(encoding="utf-8")
        assert max(float(share) for share in re.findall(r"\(([\de.+-]+)\)", proofs)) <= 1e-4
        with torch.device("meta"):
            encoder = () if name in NETWORKS else (ON_TRANSFORMERS.get(name, "resnet34"), None)
            model = segnb.create_model(name, *encoder)
        assert f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.1f}" == millions


def test_tree_names_every_module_and_nothing_else():
    named = set(re.findall(r"^  ([\w.]+)/?  ", section("tree"), re.MULTILINE))
    package = {path.name for path in (ROOT / "segnb").iterdir() if not path.name.startswith(("_", "."))}
    assert named == package
    folders = set(re.findall(r"^(\w+)/", section("tree"), re.MULTILINE))
    assert folders == {"segnb", "notebooks", "tests", "benchmarks", "data_samples"}
    assert all((ROOT / folder).is_dir() for folder in folders)


def test_the_example_uses_names_that_exist():
    example = re.search(r"## In ten lines\n\n```python\n(.*?)```", README, re.DOTALL)[1]
    assert len([line for line in example.splitlines() if line]) <= 10
    for name in re.findall(r"segnb\.(\w+)", example):
        assert hasattr(segnb, name), name


def test_make_targets_exist():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for target in re.findall(r"make (lab|demo|test|check)\b", README):
        assert target in targets


def test_pictures_are_in_the_repository():
    for url in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / url).is_file(), url
