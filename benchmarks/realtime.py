"""Frames per second of the networks made for speed, on a processor, beside what their papers claim for a graphics card.

    python benchmarks/realtime.py [--only bisenetv2 stdc] [--rounds 7] [--threads 2]

Every network reads one picture of 1024×512 with 19 classes, Cityscapes halved, in eval mode with random weights, as built and
after `segnb.optimize`; the two take turns in one process, so that a noisy machine slows both. What is measured is merged into
benchmarks/results/realtime.json and .md; --only measures some again. All together take a few minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from speed import CLOCKS, geometric_mean, ratio, take_turns

import segnb
from segnb.files import write_atomically
from segnb.networks import NETWORKS

RESULTS = Path(__file__).parent / "results"
SIZE, CLASSES = (512, 1024), 19
ON_ENCODERS = {"bisenetv1": "resnet18"}


class Claim(NamedTuple):
    """What a paper says: frames per second, on which card, for which picture, with which mIoU on the test set of Cityscapes."""

    fps: float
    card: str
    size: str
    miou: float
    source: str


CLAIMS = {
    "bisenetv1": Claim(105, "Titan XP (with Xception39)", "2048×1024", 68.4, "https://arxiv.org/abs/1808.00897"),
    "bisenetv2": Claim(156, "GTX 1080 Ti", "2048×1024", 72.6, "https://arxiv.org/abs/2004.02147"),
    "cgnet": Claim(50, "Tesla K80", "2048×1024", 64.8, "https://arxiv.org/abs/1811.08201"),
    "ddrnet": Claim(102, "RTX 2080 Ti", "2048×1024", 77.4, "https://arxiv.org/abs/2101.06085"),
    "erfnet": Claim(83, "Titan X", "640×360", 69.7, "https://doi.org/10.1109/TITS.2017.2750080"),
    "fastscnn": Claim(123.5, "Titan Xp", "2048×1024", 68.0, "https://arxiv.org/abs/1902.04502"),
    "icnet": Claim(30.3, "Titan X", "2048×1024", 70.6, "https://arxiv.org/abs/1704.08545"),
    "pidnet": Claim(93.2, "RTX 3090", "2048×1024", 78.6, "https://arxiv.org/abs/2206.02066"),
    "stdc": Claim(250.4, "GTX 1080 Ti", "1024×512", 71.9, "https://arxiv.org/abs/2104.13188"),
}


def build(arch: str) -> segnb.models.SegmentationModel:
    """Build a network with random weights; BiSeNet's context path is an encoder."""
    torch.manual_seed(0)
    encoder = (ON_ENCODERS[arch], None) if arch in ON_ENCODERS else ()
    return segnb.create_model(arch, *encoder, classes=CLASSES).eval()


def measure(arch: str, options: argparse.Namespace) -> dict[str, Any]:
    """Everything about one network."""
    model = build(arch)
    models, image = {"plain": model, "optimised": segnb.optimize(model)}, torch.randn(1, 3, *SIZE)
    with torch.inference_mode():
        calls = {name: partial(each, image) for name, each in models.items()}
        expected, found = (call() for call in calls.values())
        times = take_turns(calls, options.rounds, CLOCKS["wall"])
    counted = segnb.profile(model, SIZE, batch_sizes=())
    return {
        "parameters": counted.parameters,
        "multiply_adds": counted.multiply_adds,
        "fps": 1000 / statistics.median(times["plain"]),
        "fps_optimised": 1000 / statistics.median(times["optimised"]),
        "optimised_ratio": ratio(times, "plain", "optimised"),
        "difference": float((found - expected).abs().max() / expected.abs().max()),
        "claim": CLAIMS[arch]._asdict() if arch in CLAIMS else None,
        "machine": f"{platform.machine()}, {options.threads} threads, torch {torch.__version__}",
        "date": time.strftime("%Y-%m-%d"),
    }


def claimed(claim: dict[str, Any] | None) -> str:
    """Write what a paper says as three cells."""
    if claim is None:
        return "| | | "
    return (
        f"| {claim['fps']:g} on {claim['card']}, {claim['size']} | {claim['miou']:.1f} % | [paper]({claim['source']}) "
    )


def table(rows: dict[str, dict[str, Any]]) -> str:
    """All rows as Markdown, the fastest first."""
    lines = [
        f"| {arch} | {row['parameters'] / 1e6:.2f} M | {row['multiply_adds'] / 1e9:.1f} G | {row['fps']:.1f} "
        f"| **{row['fps_optimised']:.1f}** | {row['optimised_ratio']:.2f}× {claimed(row['claim'])}|"
        for arch, row in sorted(rows.items(), key=lambda item: -item[1]["fps_optimised"])
    ]
    newest = max(rows.values(), key=lambda row: row["date"])
    mean = geometric_mean(row["optimised_ratio"] for row in rows.values())
    return (
        "# Real-time networks on a processor\n\n"
        f"`python benchmarks/realtime.py` on {newest['machine']}, {newest['date']}: one picture of {SIZE[1]}×{SIZE[0]} pixels, "
        f"{CLASSES} classes, frames per second; medians of turns taken in one process. The last columns are the papers' own "
        "numbers, on other hardware and for other sizes (width×height); mIoU is on Cityscapes' test set.\n\n"
        "| network | parameters | multiply-adds | frames per second | optimised | faster by | the paper's frames per second "
        "| its mIoU | source |\n|---|---|---|---|---|---|---|---|---|\n"
        + "\n".join(lines)
        + f"\n\n`segnb.optimize` makes them {mean:.2f}× faster, geometric mean.\n"
    )


def main() -> None:
    """Measure what is asked for, merge it with what is known, print and write the table."""
    names = sorted([*NETWORKS, *ON_ENCODERS])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "realtime", help="without the suffix")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    stored = options.out.with_suffix(".json")
    rows = json.loads(stored.read_text()) if stored.exists() else {}
    for arch in options.only:
        rows[arch] = measure(arch, options)
        print(
            f"{arch}: {rows[arch]['fps']:.1f} frames per second, {rows[arch]['fps_optimised']:.1f} optimised",
            flush=True,
        )
        write_atomically(stored, lambda path: path.write_text(json.dumps(rows, indent=1)))
        write_atomically(options.out.with_suffix(".md"), lambda path: path.write_text(table(rows)))
    print(table(rows))


if __name__ == "__main__":
    main()
