"""The README's table of architectures: papers, proofs, sizes.

    python benchmarks/architectures.py [--notes FILE]

Runs the parity tests (about ten minutes), which note the largest difference between our logits and the reference's, as a share
of the largest logit; counts parameters and multiply-adds; writes benchmarks/results/architectures.json and README.md's table.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from segnb.files import write_atomically
from segnb.models import ARCHITECTURES, create_model
from segnb.networks import NETWORKS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "architectures.json"
LIBRARIES = {
    "smp": "SMP",
    "torchvision": "torchvision",
    "transformers": "transformers",
    "mmseg": "MMSegmentation",
}
# What parameters and multiply-adds are counted with.
ENCODERS = {"dpt": ("vit_base_patch16_224", 224), "eomt": ("vit_small_patch14_reg4_dinov2", 224)}
USUAL = ("resnet34", 256)


def run_tests() -> list[str]:
    """Run the parity tests; return what they note."""
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        options = ["-q", "-p", "no:nbval", "-o", "addopts=", "-m", "parity", "-n", "2"]
        command = [sys.executable, "-m", "pytest", *options, "tests/parity"]
        subprocess.run(command, cwd=ROOT, env={**os.environ, "SEGNB_PARITY_NOTES": str(notes)}, check=True)
        return notes.read_text().splitlines()


def architecture_of(test: str) -> str | None:
    """Find the architecture in the name of a test; those of MMSegmentation begin with it, and may name others later."""
    name = test.split("::", 1)[1].lower()
    if "test_mmseg" in test:
        return re.search(r"\[(\w+)", name)[1]
    known = sorted(ARCHITECTURES, key=len, reverse=True)
    return next((arch for arch in known if re.search(rf"[\[_-]{arch}([\]_0-9-]|$)", name)), None)


def differences(lines: list[str]) -> dict[str, dict[str, float]]:
    """Find for each architecture and library the largest difference that a test met."""
    found: dict[str, dict[str, float]] = collections.defaultdict(dict)
    for line in lines:
        test, difference = line.rsplit("\t", 1)
        library = next(name for name in LIBRARIES if f"test_{name}" in test)
        arch = architecture_of(test)
        if arch is not None:
            found[arch][library] = max(found[arch].get(library, 0.0), float(difference))
    return found


def measure(arch: str) -> dict[str, Any]:
    """Count parameters and multiply-adds on the meta device; binary, three channels."""
    encoder, side = ENCODERS.get(arch, USUAL)
    with torch.device("meta"):
        model = create_model(arch, *(() if arch in NETWORKS else (encoder, None))).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, 3, side, side, device="meta"))
    return {
        "encoder": None if arch in NETWORKS else encoder,
        "size": side,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "gmac": round(counter.get_total_flops() / 2e9, 2),
    }


def paper(arch: str) -> str:
    """Link of the paper, from the file's first lines."""
    text = sys.modules[ARCHITECTURES[arch].__module__].__doc__
    return re.search(r"Paper:.*?(https://\S+)", text, re.DOTALL)[1].rstrip(".,;)")


def table(results: dict[str, Any]) -> str:
    """Write the README's table."""
    rows = [
        "| name | file | paper | parameters | GMAC | same logits as, and reads the checkpoints of |",
        "|---|---|---|---|---|---|",
    ]
    for arch, entry in sorted(results.items()):
        file = ARCHITECTURES[arch].__module__.replace(".", "/") + ".py"
        proofs = ", ".join(f"{LIBRARIES[name]} ({value:.0e})" for name, value in sorted(entry["differences"].items()))
        short = file.removeprefix("segnb/").removeprefix("decoders/")
        size = f"{entry['parameters'] / 1e6:.1f} M | {entry['gmac']:.1f}"
        rows.append(f"| `{arch}` | [{short}]({file}) | {paper(arch)} | {size} | {proofs} |")
    return "\n".join(rows)


def main() -> None:
    """Measure, and write results and README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=Path, help="what a run of the tests with SEGNB_PARITY_NOTES=FILE has noted")
    notes = parser.parse_args().notes
    found = differences(run_tests() if notes is None else notes.read_text().splitlines())
    results = {arch: {**measure(arch), "differences": found[arch]} for arch in sorted(ARCHITECTURES)}
    write_atomically(RESULTS, lambda path: path.write_text(json.dumps(results, indent=1) + "\n"))
    write_readme(results)
    print(table(results))


def write_readme(results: dict[str, Any]) -> None:
    """Put the table into README.md."""
    readme = ROOT / "README.md"
    text = re.sub(
        r"(<!-- models:.*?-->\n).*?(\n<!-- end -->)",
        lambda match: match[1] + table(results) + match[2],
        readme.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    write_atomically(readme, lambda path: path.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    main()
