"""What exporting gives and costs: the time of one picture in every format, and the mean IoU that INT8 loses.

    python benchmarks/export.py [--only street] [--rounds 15] [--data ../shared/data/camvid]

A U-Net on MobileNetV2 learns the shipped streets from random weights, and another one CamVid; a third, on
tf_efficientnet_lite0, learns CamVid from ImageNet weights, which MobileNetV2 has not offline. Each is exported to ONNX,
torch.export, OpenVINO, and OpenVINO in INT8, calibrated on its training pictures; PyTorch and every file label the validation
pictures. The network of the first is then timed on one picture of 256×256: eager PyTorch in float32, the widely copied
`quantize_dynamic` recipe, and each file in its runtime take turns in one process, so that a noisy machine slows all. Ratios are
medians over the rounds of PyTorch / the other, so above 1 the other is faster. What is measured is merged into
benchmarks/results/export.json and .md; --only measures some again. All together take about twenty minutes on two cores.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import albumentations as A
import numpy as np
import torch
from speed import CLOCKS, ratio, take_turns
from torch import nn

import segnb
from segnb.data.wording import counted
from segnb.exporting.onnx_file import open_onnx
from segnb.exporting.openvino_file import open_openvino
from segnb.exporting.program import open_program
from segnb.files import write_atomically

RESULTS = Path(__file__).parent / "results"
SIZE = 256
CAMVID = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
CAMVID_SIZE = (192, 256)
FILES = {"ONNX": "model.onnx", "torch.export": "model.pt2", "OpenVINO": "model.xml", "OpenVINO INT8": "int8.xml"}
OPENERS = {"ONNX": open_onnx, "torch.export": open_program, "OpenVINO": open_openvino, "OpenVINO INT8": open_openvino}
RECIPE = "quantize_dynamic"
WANTED = {"ratio": 3.0, "loss": 0.005}


class Case(NamedTuple):
    """A data set and a network to learn it."""

    title: str
    encoder: str
    weights: str | None
    epochs: int


CASES = {
    "street": Case("street", "mobilenetv2_100", None, 40),
    "camvid": Case("CamVid", "mobilenetv2_100", None, 8),
    "camvid_lite0": Case("CamVid", "tf_efficientnet_lite0", "imagenet", 8),
}


def load(name: str, data: Path) -> tuple[segnb.SegmentationDataset, segnb.SegmentationDataset]:
    """Read training and validation pictures, neither augmented."""
    if name == "street":
        return segnb.load_sample("street")
    pipeline, values = A.Compose([A.Resize(*CAMVID_SIZE)]), range(len(CAMVID) + 1)  # one more: void, to be ignored
    return tuple(
        segnb.SegmentationDataset.from_folder(
            data / part / "images", data / part / "masks", CAMVID, pipeline, mask_values=values
        )
        for part in ("train", "val")
    )


def train(case: Case, sets: tuple[segnb.SegmentationDataset, ...], epochs: int, out: Path) -> nn.Module:
    """Learn the pictures and their mirror images."""
    torch.manual_seed(0)
    learnt, valid = sets
    model = segnb.create_model("unet", case.encoder, case.weights, classes=valid.classes)
    resize = [] if case.title == "street" else [A.Resize(*CAMVID_SIZE)]
    mirrored = learnt.with_transform(A.Compose([*resize, A.HorizontalFlip(p=0.5)]))
    segnb.fit(model, mirrored, valid, epochs, out=out, resume=False, progressive=0)
    return model.eval()


def export_all(
    model: nn.Module, sets: tuple[segnb.SegmentationDataset, ...], folder: Path
) -> dict[str, segnb.exporting.ExportReport]:
    """Write every format; INT8 may lose what it loses here, for the loss is what is measured."""
    learnt, valid = sets
    reports = {}
    for name, file in FILES.items():
        options = {"calibration": learnt, "max_drop": 1.0} if name == "OpenVINO INT8" else {}
        reports[name] = segnb.export(model, folder / file, size=(SIZE, SIZE), validation=valid, **options)
        print(f"  {name}: mIoU {reports[name].miou:.4f}, PyTorch {reports[name].torch_miou:.4f}", flush=True)
    return reports


def apply_recipe(model: nn.Module) -> nn.Module:
    """What is copied from answer to answer: one line that promises an INT8 network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that the function is old
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear, nn.Conv2d}, dtype=torch.qint8)


def examine_recipe(model: nn.Module, quantised: nn.Module, picture: torch.Tensor) -> dict[str, Any]:
    """Count what the recipe changed."""
    pairs = list(zip(model.modules(), quantised.modules(), strict=True))
    state = model.state_dict()
    return {
        "modules": len(pairs),
        "replaced": sum(type(before) is not type(after) for before, after in pairs),
        "convolutions": sum(isinstance(before, nn.Conv2d) for before, _ in pairs),
        "linear_layers": sum(isinstance(before, nn.Linear) for before, _ in pairs),
        "same_weights": all(torch.equal(state[name], tensor) for name, tensor in quantised.state_dict().items()),
        "same_logits": torch.equal(model(picture), quantised(picture)),
    }


def measure_speed(model: nn.Module, folder: Path, rounds: int) -> dict[str, Any]:
    """Let PyTorch, the recipe and every file take turns on one picture."""
    picture = torch.randn(1, model.in_channels, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    pixels: np.ndarray = picture.numpy()
    model = copy.deepcopy(model).cpu().requires_grad_(False)
    quantised = apply_recipe(model)
    calls: dict[str, Callable[[], object]] = {
        "PyTorch": partial(model, picture),
        RECIPE: partial(quantised, picture),
        **{name: partial(OPENERS[name](folder / file), pixels) for name, file in FILES.items()},
    }
    with torch.no_grad():
        times = take_turns(calls, rounds, CLOCKS["wall"])
        recipe = examine_recipe(model, quantised, picture)
    return {
        "ms": {name: statistics.median(values) for name, values in times.items()},
        "ratio": {name: ratio(times, "PyTorch", name) for name in calls},
        "recipe": recipe,
        "rounds": rounds,
    }


def measure(name: str, epochs: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train, export and judge one case; the first is also timed."""
    case, sets = CASES[name], load(name, options.data)
    print(f"{case.title}, {case.encoder}: {counted(epochs, 'epoch')}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = train(case, sets, epochs, folder / "run")
        reports = export_all(model, sets, folder)
        found = {
            "encoder": case.encoder,
            "epochs": epochs,
            "pictures": len(sets[1]),
            "torch_miou": reports["ONNX"].torch_miou,
            "miou": {format_name: report.miou for format_name, report in reports.items()},
            "agreement": {format_name: report.agreement for format_name, report in reports.items()},
            "size_mb": {format_name: report.size_mb for format_name, report in reports.items()},
            "machine": f"{platform.machine()}, {counted(torch.get_num_threads(), 'core')}, torch {torch.__version__}",
            "date": time.strftime("%Y-%m-%d"),
        }
        if name == "street":
            found["speed"] = measure_speed(model, folder, options.rounds)
    return found


def speed_lines(found: dict[str, Any]) -> Iterable[str]:
    """Table of times, and what became of the recipe."""
    speed, recipe = found["speed"], found["speed"]["recipe"]
    yield f"U-Net + {found['encoder']}, one picture of {SIZE}×{SIZE}, {found['machine']}, {found['date']}.\n"
    yield "| | ms | × PyTorch | MB |\n|---|---|---|---|"
    for name, ms in speed["ms"].items():
        size = f"{found['size_mb'][name]:.1f}" if name in found["size_mb"] else ""
        yield f"| {name} | {ms:.1f} | {speed['ratio'][name]:.2f} | {size} |"
    reached = speed["ratio"]["OpenVINO INT8"]
    goal = verdict(reached >= WANTED["ratio"])
    yield f"\n- INT8 is {reached:.1f}× as fast as eager PyTorch; {WANTED['ratio']:g}× is wanted: {goal}."
    yield (
        f"- `{RECIPE}` replaced {recipe['replaced']} of {recipe['modules']} modules ({recipe['convolutions']} convolutions, "
        f"{recipe['linear_layers']} linear layers); weights {equal(recipe['same_weights'])}, logits "
        f"{equal(recipe['same_logits'])}."
    )


def quality_lines(results: dict[str, dict[str, Any]]) -> Iterable[str]:
    """Table of mean IoU."""
    names = list(FILES)
    yield f"\n| data | encoder | epochs | PyTorch | {' | '.join(names)} | INT8 loses | same labels |"
    yield "|---" * (len(names) + 6) + "|"
    for case, found in results.items():
        lost = found["torch_miou"] - found["miou"]["OpenVINO INT8"]
        scores = " | ".join(f"{found['miou'][name]:.4f}" for name in names)
        yield (
            f"| {CASES[case].title} ({found['pictures']}) | {found['encoder']} | {found['epochs']} | {found['torch_miou']:.4f} | "
            f"{scores} | {100 * lost:+.2f} points: {verdict(lost <= WANTED['loss'])} | "
            f"{found['agreement']['OpenVINO INT8']:.1%} |"
        )
    yield f"\nWanted: at most {100 * WANTED['loss']:g} points of mIoU lost. In brackets: validation pictures."


def verdict(reached: bool) -> str:
    """Say whether a goal was met."""
    return "reached" if reached else "missed"


def equal(same: bool) -> str:
    """Say whether the recipe changed something."""
    return "bit by bit the same" if same else "changed"


def write(results: dict[str, dict[str, Any]], folder: Path) -> None:
    """Print the tables, and write them with the numbers."""
    lines = ["# Exported files against eager PyTorch\n", "`python benchmarks/export.py`\n"]
    if "street" in results:
        lines += speed_lines(results["street"])
    lines += quality_lines(results)
    text = "\n".join(lines) + "\n"
    write_atomically(folder / "export.json", lambda path: path.write_text(json.dumps(results, indent=1)))
    write_atomically(folder / "export.md", lambda path: path.write_text(text))
    print(text)


def main() -> None:
    """Measure the cases and merge them into the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--epochs", type=int, help="of every case; by default 40 on streets and 8 on CamVid")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data/camvid")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()
    if options.only != ["street"] and not options.data.is_dir():
        sys.exit(
            f"CamVid is not at {options.data}: give its folder with --data (train and val, each with images and masks)."
        )
    stored = options.out / "export.json"
    results = json.loads(stored.read_text()) if stored.exists() else {}
    for name in options.only:
        results[name] = measure(name, options.epochs or CASES[name].epochs, options)
        write({case: results[case] for case in CASES if case in results}, options.out)


if __name__ == "__main__":
    main()
