"""Every backbone of timm, and MSCAN, as an encoder under FPN: does it build, run, learn, at its own size and at another?

    python benchmarks/encoders.py ["resnet*"] [--part 1/2] [--write]

Each name is built with random weights; two pictures go forward and backward at the size the backbone was made for and at
160×224. Small backbones (half a billion multiply-adds) are really computed, larger ones run on PyTorch's meta device: all
operations, shapes and gradients, but no numbers. What was tried is kept in benchmarks/results/encoders.jsonl, so that the run
(about two hours on two cores) can be cut off and continued. `--write` makes benchmarks/results/encoders.md of it, and
segnb/encoders/catalogue.json, which `segnb.list_encoders` reads.
"""

from __future__ import annotations

import argparse
import collections
import fnmatch
import json
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

import segnb
from segnb.encoders.catalogue import CATALOGUE
from segnb.files import write_atomically
from segnb.models import create_model

RESULTS = Path(__file__).parent / "results"
TRIED = RESULTS / "encoders.jsonl"
OTHER_SIZE = (160, 224)
REALLY = 5e8  # multiply-adds up to which numbers are computed
SECONDS = 300


def try_out(model: torch.nn.Module, size: tuple[int, int], device: str) -> dict[str, Any]:
    """Run two pictures forward and backward; say what went wrong, or how many parameters learn nothing."""
    try:
        model.zero_grad()
        model.train()
        image = torch.randn(2, 3, *size, device=device)
        logits = model(image)
        if logits.shape != (2, 2, *size):
            return {"error": f"logits of shape {tuple(logits.shape)}"}
        logits.square().mean().backward()
        grads = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
        if device == "cpu" and not all(torch.isfinite(grad).all() for grad in [logits, *grads] if grad is not None):
            return {"error": "NaN or infinite numbers"}
        return {"idle": sum(grad is None for grad in grads)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160] if str(error) else ''}"}


def multiply_adds(model: torch.nn.Module, size: tuple[int, int]) -> float:
    """Count the multiply-adds of one picture on the meta device; 0 where the counter fails."""
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model.eval()(torch.empty(1, 3, *size, device="meta"))
    except AssertionError:  # it cannot follow modules that return several tensors (PiT with distillation)
        return 0
    return counter.get_total_flops() / 2


def strides_of(name: str) -> list[int]:
    """Strides of all maps that a backbone has; FPN reads those from 4 on only."""
    with torch.device("meta"):
        return sorted(set(timm.create_model(name, features_only=True).feature_info.reduction()))


def examine(name: str) -> dict[str, Any]:
    """Build a backbone under FPN and try it at both sizes."""
    began = time.perf_counter()
    found: dict[str, Any] = {"name": name}
    options = {"classes": 2, "decoder_pyramid_channels": 32, "decoder_segmentation_channels": 32}
    try:
        with torch.device("meta"):
            model = create_model("fpn", name, None, **options)
        encoder = model.encoder
        found["parameters"] = sum(parameter.numel() for parameter in encoder.backbone.parameters())
        found["strides"] = strides_of(name)
        native = tuple(encoder.native)
        found["size"], found["fixed"] = native, encoder.fixed_size is not None
        found["computed"] = multiply_adds(model, native) <= REALLY
        if found["computed"]:
            model = create_model("fpn", name, None, **options)
        device = "cpu" if found["computed"] else "meta"
        found["own"], found["other"] = try_out(model, native, device), try_out(model, OTHER_SIZE, device)
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip()[:240]}"
        found["own"] = found["other"] = {"error": reason}
    found["seconds"] = round(time.perf_counter() - began, 1)
    return found


def give_up(*_: object) -> None:
    """Stop a backbone that takes too long."""
    raise TimeoutError(f"not done in {SECONDS} s")


def read_tried() -> dict[str, dict[str, Any]]:
    """What earlier runs found, by name."""
    lines = TRIED.read_text().splitlines() if TRIED.exists() else []
    return {entry["name"]: entry for entry in map(json.loads, lines)}


def write(tried: dict[str, dict[str, Any]]) -> None:
    """Write the table and the catalogue."""
    total = len(tried)
    passed = {when: [e for e in tried.values() if "error" not in e[when]] for when in ("own", "other")}
    computed = sum(entry.get("computed", False) for entry in tried.values())
    idle = [entry["name"] for entry in passed["own"] if entry["own"]["idle"]]
    failures = collections.defaultdict(list)
    for entry in tried.values():
        for when in ("own", "other"):
            if "error" in entry[when]:
                failures[entry[when]["error"]].append(f"`{entry['name']}` ({when} size)")
    text = (
        f"# Every backbone of timm {timm.__version__}, and MSCAN, as an encoder under FPN\n\n"
        f"`python benchmarks/encoders.py --write`, torch {torch.__version__}, segnb {segnb.__version__}. A picture or two went "
        f"forward and backward; {computed} of {total} really computed, the larger ones on the meta device (operations, "
        "shapes and gradients).\n\n"
        "| picture | pass | share |\n|---|---|---|\n"
        f"| the backbone's own size | {len(passed['own'])} of {total} | {len(passed['own']) / total:.1%} |\n"
        f"| {OTHER_SIZE[0]}×{OTHER_SIZE[1]} | {len(passed['other'])} of {total} | {len(passed['other']) / total:.1%} |\n\n"
        f"Backbones with parameters that get no gradient: {len(idle)}{': ' + ', '.join(idle) if idle else ''}.\n\n"
        "## What does not work, and why\n\n"
        + ("\n".join(f"- {reason}: {', '.join(names)}" for reason, names in failures.items()) or "Everything works.")
        + "\n"
    )
    facts = {e["name"]: [e["parameters"], e["strides"]] for e in passed["own"] if "error" not in e["other"]}
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(fact)}" for name, fact in sorted(facts.items()))
    write_atomically(RESULTS / "encoders.md", lambda path: path.write_text(text))
    write_atomically(CATALOGUE, lambda path: path.write_text(f"{{\n{lines}\n}}\n"))
    print(text)


def main() -> None:
    """Try what was not tried yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="*")
    parser.add_argument("--part", default="1/1", help="which part of the names, to run several processes side by side")
    parser.add_argument("--write", action="store_true", help="only write the table and the catalogue")
    options = parser.parse_args()
    if options.write:
        write(read_tried())
        return
    warnings.simplefilter("ignore")
    torch.set_flush_denormal(True)  # deep backbones with random weights make numbers so small that CPUs crawl
    signal.signal(signal.SIGALRM, give_up)
    place, parts = map(int, options.part.split("/"))
    done = read_tried()
    names = [name for name in fnmatch.filter(timm.list_models(), options.pattern) if name not in done]
    for name in names[place - 1 :: parts]:
        signal.alarm(SECONDS)
        found = examine(name)
        signal.alarm(0)
        with TRIED.open("a") as file:
            file.write(json.dumps(found) + "\n")
        errors = {when: found[when]["error"] for when in ("own", "other") if "error" in found[when]}
        print(f"{name}: {found['seconds']} s {errors or 'works'}", flush=True)


if __name__ == "__main__":
    main()
