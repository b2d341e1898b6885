"""Forward pass and training step of every architecture beside SMP's and torchvision's: same encoder, weights and pictures.

    python benchmarks/speed.py [--only unet fpn] [--rounds 7] [--threads 2] [--no-onnx] [--clock cpu]

The other library makes a model with random weights; segnb reads its checkpoint with the code that users use. Then they take turns
in one process, so that a noisy machine slows all: the other's forward pass, segnb's, that of `segnb.optimize`, and
the training steps. Ratios are medians over the rounds of other / segnb, so above 1 segnb is faster. A profiler says where the
time goes. Some are exported to ONNX, plain and optimised, and ONNX Runtime runs both. What is measured is merged into
benchmarks/results/speed.json and .md; --only measures some again. All together take about ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import onnxruntime
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

import segnb
from segnb.files import write_atomically
from segnb.optimizing import layers
from segnb.pretrained.smp import ARCHITECTURES

RESULTS = Path(__file__).parent / "results"
BATCH = 2  # of the training step; forward passes are of one picture, as in an application
ONNX = ("unet", "fpn", "segformer", "upernet")
TORCHVISION = ("fcn_resnet50", "deeplabv3_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
# What the profiler calls the work, and what we call it; the first part that occurs in a name decides.
KINDS = {
    "batch_norm": "batch normalisation",
    "conv": "convolution",
    "layer_norm": "other normalisation",
    "group_norm": "other normalisation",
    "relu": "ReLU",
    "clamp_min": "ReLU",
    "upsample": "resizing",
    "cat": "joining",
    "pool": "pooling",
    "attention": "attention",
    "mm": "matrix products",
    "linear": "matrix products",
}


class Case(NamedTuple):
    """One row: the other library's model and segnb's with the same weights."""

    library: str
    encoder: str
    other: nn.Module
    ours: segnb.models.SegmentationModel
    size: int


def smp_case(arch: str) -> Case:
    """Build SMP's architecture and read it; DPT needs a plain transformer."""
    name = next(name for name, ours in ARCHITECTURES.items() if ours == arch)
    encoder, size = ("tu-vit_base_patch16_224", 224) if arch == "dpt" else ("resnet34", 256)
    other = getattr(smp, name)(encoder, encoder_weights=None, classes=1)
    with tempfile.TemporaryDirectory() as folder:
        other.save_pretrained(folder)
        ours = segnb.load_model(folder)
    return Case("SMP", encoder.removeprefix("tu-"), other, ours, size)


def torchvision_case(name: str) -> Case:
    """Build torchvision's model, with its auxiliary head if its published weights have one, and read it."""
    options = {} if name.startswith("lraspp") else {"aux_loss": True}
    other = getattr(torchvision.models.segmentation, name)(weights=None, weights_backbone=None, **options)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.pth"
        torch.save(other.state_dict(), file)
        ours = segnb.load_model(file)
    return Case("torchvision", name.split("_", 1)[1], other, ours, 256)


def logits_of(output: Any) -> list[Tensor]:
    """The logits of any of the libraries, the auxiliary ones second."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        return [output["out"], *([output["aux"]] if "aux" in output else [])]
    return [output.logits, *output.stages]


def training_step(model: nn.Module, image: Tensor, target: Tensor) -> Callable[[], None]:
    """Forward, loss, backward and AdamW's step; with an auxiliary head, segnb and torchvision compute that too."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    forward = model.forward_all if getattr(model, "auxiliary", None) is not None else model

    def step() -> None:
        main, *auxiliary = logits_of(forward(image))
        loss = F.binary_cross_entropy_with_logits(main, target.expand_as(main))
        for logits in auxiliary:
            loss = loss + 0.4 * F.binary_cross_entropy_with_logits(logits, target.expand_as(logits))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def take_turns(
    calls: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Milliseconds of each call in each round, after one round to warm up.

    A turn is two calls, the second of which is timed: the first finds caches and memory as another model left them, which is
    nobody's use. Every round another one begins.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    for _ in range(rounds + 1):
        for name in order:
            calls[name]()
            began = clock()
            calls[name]()
            times[name].append(1000 * (clock() - began))
        order.append(order.pop(0))
    return {name: values[1:] for name, values in times.items()}


def ratio(times: dict[str, list[float]], other: str, ours: str) -> float:
    """How many times as long the other takes: median over the rounds."""
    return statistics.median(a / b for a, b in zip(times[other], times[ours], strict=True))


def profiled(call: Callable[[], object], runs: int = 3) -> dict[str, float]:
    """Milliseconds of one call by kind of work, as the profiler sees it."""
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(runs):
            call()
    shares: dict[str, float] = {}
    for event in recorded.key_averages():
        kind = next((kind for part, kind in KINDS.items() if part in event.key), "the rest")
        shares[kind] = shares.get(kind, 0) + event.self_cpu_time_total / 1000 / runs
    return shares


def multiply_adds(model: nn.Module, image: Tensor) -> float:
    """Multiply-adds of a forward pass, in 10⁹; step by step, for the counter does not know oneDNN's operators."""
    available, layers.AVAILABLE = layers.AVAILABLE, False
    try:
        with FlopCounterMode(display=False) as counter:
            model(image)
    finally:
        layers.AVAILABLE = available
    return counter.get_total_flops() / 2e9


def measure_onnx(models: dict[str, nn.Module], image: Tensor, options: argparse.Namespace) -> dict[str, float]:
    """Export the models and let ONNX Runtime take turns with them."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    calls = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models.items():
            report = segnb.export(model, Path(folder) / f"{name}.onnx", size=(64, 96))
            session = onnxruntime.InferenceSession(report.path.read_bytes(), settings)
            calls[name] = lambda session=session: session.run(None, {"image": image.numpy()})
    times = take_turns(calls, options.rounds, CLOCKS[options.clock])
    return {"onnx_plain_ms": statistics.median(times["plain"]), "onnx_ratio": ratio(times, "plain", "optimised")}


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Everything about one architecture."""
    torch.manual_seed(0)
    case = torchvision_case(name) if name in TORCHVISION else smp_case(name)
    other, ours = case.other.eval(), case.ours.eval()
    models = {"other": other, "ours": ours, "fast": segnb.optimize(ours)}
    image = torch.randn(1, 3, case.size, case.size)
    clock = CLOCKS[options.clock]
    with torch.inference_mode():
        calls = {key: partial(model, image) for key, model in models.items()}
        expected, *found = (logits_of(call())[0] for call in calls.values())
        forward = take_turns(calls, options.rounds, clock)
        where_to = {"other": profiled(calls["other"]), "optimised": profiled(calls["fast"])}
        work = [multiply_adds(model, image) for model in models.values()]
        onnx = (
            measure_onnx({"plain": ours, "optimised": models["fast"]}, image, options) if name in options.onnx else {}
        )
    batch = torch.randn(BATCH, 3, case.size, case.size)
    target = (torch.rand(BATCH, 1, case.size, case.size) > 0.5).float()
    steps = {key: training_step(model, batch, target) for key, model in (("other", other), ("ours", ours))}
    training = take_turns(steps, max(3, options.rounds // 2), clock)
    return {
        "library": case.library,
        "encoder": case.encoder,
        "size": case.size,
        "difference": float(max((each - expected).abs().max() for each in found) / expected.abs().max()),
        "other_ms": statistics.median(forward["other"]),
        "forward_ratio": ratio(forward, "other", "ours"),
        "optimised_ratio": ratio(forward, "other", "fast"),
        "training_ms": statistics.median(training["other"]),
        "training_ratio": ratio(training, "other", "ours"),
        "multiply_adds": work,
        "profile": where_to,
        **onnx,
        "machine": f"{platform.machine()}, {options.threads} threads, torch {torch.__version__}, {options.clock} clock",
        "date": time.strftime("%Y-%m-%d"),
    }


def where(row: dict[str, Any]) -> str:
    """Say what the other library's time is spent on that ours is not: the kinds with the largest differences."""
    before, after = row["profile"]["other"], row["profile"]["optimised"]
    gains = {kind: before[kind] - after.get(kind, 0) for kind in before}
    named = [kind for kind in sorted(gains, key=gains.get, reverse=True) if gains[kind] > 0.02 * sum(before.values())]
    parts = [f"{kind} {before[kind]:.0f} → {after.get(kind, 0):.0f} ms" for kind in named[:4]]
    plain, _, fast = row["multiply_adds"]
    less = f" ({plain:.1f} → {fast:.1f} G multiply-adds)" if fast < 0.98 * plain else ""
    return ", ".join(parts) + less


def geometric_mean(values: Iterable[float]) -> float:
    """The mean for ratios."""
    logarithms = [math.log(value) for value in values]
    return math.exp(statistics.mean(logarithms))


def table(rows: dict[str, dict[str, Any]]) -> str:
    """All rows as Markdown, with the means over SMP's architectures."""
    lines = []
    for name, row in rows.items():
        onnx = f"{row['onnx_ratio']:.2f}× of {row['onnx_plain_ms']:.0f} ms" if "onnx_ratio" in row else ""
        lines.append(
            f"| {name} | {row['library']} | {row['encoder']}, {row['size']}² | {row['other_ms']:.0f} ms "
            f"| {row['forward_ratio']:.2f}× | **{row['optimised_ratio']:.2f}×** | {row['training_ms']:.0f} ms "
            f"| {row['training_ratio']:.2f}× | {onnx} | {row['difference']:.0e} | {where(row)} |"
        )
    of_smp = [row for row in rows.values() if row["library"] == "SMP"]
    means = "".join(
        f"- {label}, geometric mean over {len(of_smp)} of SMP's architectures: {geometric_mean(r[key] for r in of_smp):.2f}×.\n"
        for label, key in (
            ("Forward pass", "forward_ratio"),
            ("Forward pass after `segnb.optimize`", "optimised_ratio"),
            ("Training step", "training_ratio"),
        )
        if of_smp
    )
    return (
        "# Speed against SMP and torchvision\n\n"
        f"`python benchmarks/speed.py` on {row['machine']}, {row['date']}. Forward passes of one picture, training steps of "
        f"{BATCH}; × is how many times faster segnb is, the median of turns taken in one process. ONNX Runtime: the optimised "
        "model's file against the plain one's. Difference: of the logits, the largest, relative to the largest logit. Last "
        "column: the time of the other's forward pass that the optimised one does not need, as the profiler sees it.\n\n"
        "| architecture | other | encoder | its forward | segnb | optimised | its training step | segnb | ONNX Runtime "
        "| difference | where it goes |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
        + "\n".join(lines)
        + "\n\n"
        + means
    )


def main() -> None:
    """Measure what is asked for, merge it with what is known, print and write the table."""
    names = [*ARCHITECTURES.values(), *TORCHVISION]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--rounds", type=int, default=7, help="of forward passes; half as many of training steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: with one thread, on a busy machine")
    parser.add_argument("--no-onnx", dest="onnx", action="store_const", const=(), default=ONNX)
    parser.add_argument("--out", type=Path, default=RESULTS / "speed", help="without the suffix")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    stored = options.out.with_suffix(".json")
    rows = json.loads(stored.read_text()) if stored.exists() else {}
    for name in options.only:
        row = rows[name] = measure(name, options)
        print(
            f"{name}: forward {row['forward_ratio']:.2f}×, optimised {row['optimised_ratio']:.2f}×, "
            f"training {row['training_ratio']:.2f}× of {row['library']}",
            flush=True,
        )
        ordered = {name: rows[name] for name in names if name in rows}
        write_atomically(stored, lambda path, rows=ordered: path.write_text(json.dumps(rows, indent=1)))
        write_atomically(options.out.with_suffix(".md"), lambda path, rows=ordered: path.write_text(table(rows)))
    print(table(ordered))


if __name__ == "__main__":
    main()
