"""What `fit` costs beside the bare training step, SMP + Lightning and SMP's own TrainEpoch; loading, validation, memory.

    python benchmarks/training.py [--data FOLDER] [--quick]

One U-Net without pretrained weights, one encoder, one batch size, cross-entropy + Dice, AdamW, one pipeline of augmentation;
in fit and in Lightning one cycle of learning rates, too. fit, the others and a bare loop (forward, loss, backward, step on a
batch in memory) take turns in one process, an epoch each, so that a noisy machine slows all; the first round warms up. The
clock runs from the start of an epoch to the end of its last step: validation and files are outside. The others normalise in
their data set and decode every picture in every epoch, as their users write it. Pictures are streets that segnb draws, or
those of FOLDER/images with label masks in FOLDER/masks.

On a CUDA device segnb and the bare loop train in bf16 and compiled, Lightning in fp16, TrainEpoch in float32, the only one it
has. What is measured on each kind of device is merged into benchmarks/results/training.json and .md. It takes some six minutes
on two cores. SMP + Lightning needs `pip install lightning`; without it its row is left out. --quick only shows that all of it
runs, with a few pictures; its numbers mean nothing and go nowhere but to --out.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import platform
import re
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import albumentations as A
import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from segmentation_models_pytorch.utils.train import TrainEpoch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import segnb
from segnb.data.folders import pair_files
from segnb.data.presets import preset
from segnb.data.samples import SCENES, draw_sample
from segnb.data.samples.writing import write_pair
from segnb.draw import IGNORE
from segnb.evaluation import evaluating, same_size_batches, validate
from segnb.files import write_atomically
from segnb.losses import get_loss
from segnb.train.setup import WORKERS

LR = 2e-3
RESULTS = Path(__file__).parent / "results"
CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
STATUS = Path("/proc/self/status")  # where Linux tells the memory of a process
MEMORY_EPOCHS = 2


class Setting(NamedTuple):
    """How much is measured; a GPU needs more of everything.

    Attributes:
        encoder: of the U-Net, a timm name.
        stored, size: (height, width) of the drawn pictures, and of what is trained on.
        pictures: drawn, a fifth of them for validation.
        repeats: how often each training picture stands in an epoch, as if it were another file.
        batch: pictures in a step.
        rounds: that count, after one to warm up.
    """

    encoder: str
    stored: tuple[int, int]
    size: tuple[int, int]
    pictures: int
    repeats: int
    batch: int
    rounds: int


SETTINGS = {
    "cpu": Setting("tf_efficientnet_lite0", (192, 288), (128, 192), pictures=160, repeats=1, batch=8, rounds=5),
    "cuda": Setting("resnet34", (512, 768), (512, 512), pictures=160, repeats=16, batch=16, rounds=5),
}


class Comparison(NamedTuple):
    """One row of the table: what of segnb's is compared with what, and what it means; a picture takes so many ms."""

    what: str
    part: str
    ours: str
    other: str
    goal: str
    meaning: str


COMPARISONS = (
    Comparison(
        "`fit` : bare training step", "training", "fit", "bare", "≥ 0.97",
        "a picture takes `fit` {ours:.1f} ms, the step alone {other:.1f} ms; the rest is reading, augmentation, logging.",
    ),
    Comparison(
        "`fit` : SMP + Lightning", "training", "fit", "Lightning", "≥ 1, GPU ≥ 1.5",
        "the same recipe with SMP's U-Net in Lightning takes {other:.1f} ms for a picture, `fit` {ours:.1f} ms.",
    ),
    Comparison(
        "`fit` : SMP's TrainEpoch", "training", "fit", "TrainEpoch", "≥ 1",
        "the same recipe with SMP's U-Net in SMP's own loop takes {other:.1f} ms for a picture, `fit` {ours:.1f} ms.",
    ),
    Comparison(
        "loading, `cache_mb=0` : plain data set", "loading", "no cache", "plain", "≥ 1",
        "a picture is decoded, checked and augmented in {ours:.2f} ms; PIL + albumentations decode, augment and normalise it in "
        "{other:.2f} ms.",
    ),
    Comparison(
        "loading, decoded before : plain data set", "loading", "cache", "plain", "≥ 1",
        "from the second epoch on a picture comes from memory and takes {ours:.2f} ms, nearly all of it augmentation.",
    ),
    Comparison(
        "`validate`, in memory : forward passes", "validation", "memory", "forward", "",
        "`validate` takes {ours:.1f} ms for a picture, its forward pass {other:.1f} ms; the rest is loss, label maps and counts.",
    ),
    Comparison(
        "`validate`, from the data set : forward passes", "validation", "read", "forward", "",
        "with reading, as after every epoch of `fit`, it takes {ours:.1f} ms for a picture.",
    ),
    Comparison(
        "peak memory of the process, `fit` : plain loop", "memory", "fit", "plain", "",
        "`fit` holds {ours:.0f} MiB where a plain loop holds {other:.0f}; it keeps decoded pictures and the best weights.",
    ),
    Comparison(
        "peak memory of the GPU, `fit` : plain loop", "GPU memory", "fit", "plain", "",
        "`fit` holds {ours:.0f} MiB where a plain loop holds {other:.0f}.",
    ),
)  # fmt: skip


class PlainDataset(Dataset):
    """What an SMP user writes: read, augment, normalise."""

    def __init__(self, files: list[tuple[Path, Path]], transform: A.Compose) -> None:
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, mask = self.files[index]
        item = self.transform(image=np.array(Image.open(image).convert("RGB")), mask=np.array(Image.open(mask)))
        return item["image"], item["mask"].long()


class Pictures(NamedTuple):
    """The same pictures as segnb and as the others read them."""

    train: segnb.SegmentationDataset
    valid: segnb.SegmentationDataset
    uncached: segnb.SegmentationDataset  # the training pictures
    plain: PlainDataset  # the training pictures
    once: int  # so many of them are different


class EntropyAndDice(nn.Module):
    """The loss of the others, with a name as TrainEpoch wants it."""

    __name__ = "ce+dice"

    def __init__(self) -> None:
        super().__init__()
        self.entropy = nn.CrossEntropyLoss(ignore_index=IGNORE)
        self.dice = smp.losses.DiceLoss("multiclass", ignore_index=IGNORE)

    def forward(self, logits: Tensor, masks: Tensor) -> Tensor:
        """(B, K, H, W), (B, H, W) -> scalar."""
        return self.entropy(logits, masks) + self.dice(logits, masks)


class BareLoop:
    """Forward, loss, backward, step, with fit's memory layout and precision and nothing else."""

    def __init__(self, model: segnb.models.SegmentationModel) -> None:
        self.model = model.to(DEVICE, memory_format=torch.channels_last).train()
        self.forward = torch.compile(self.model) if CUDA else self.model
        self.optimizer = torch.optim.AdamW(self.model.parameter_groups(LR))
        self.loss = get_loss("ce+dice")

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Learn from a batch on the device."""
        with reduced_precision():
            logits = self.forward(images)
        self.loss(logits.float(), labels).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def epoch(self, batch: tuple[Tensor, Tensor], steps: int) -> float:
        """Learn from one batch again and again; return seconds."""
        images, labels = batch[0].to(DEVICE, memory_format=torch.channels_last), batch[1].to(DEVICE)
        began = now()
        for _ in range(steps):
            self.step(images, labels)
        return now() - began


class TakeTurns:
    """A callback of fit: times its epochs, and lets the others run theirs in between, every round another one first."""

    def __init__(self, others: dict[str, Callable[[], float]]) -> None:
        self.others = others
        self.order = list(others)
        self.seconds: dict[str, list[float]] = {name: [] for name in ("fit", *others)}

    def on_start(self, run: segnb.train.Run) -> None:
        """Start the clock."""
        self.began = now()

    def on_step(self, run: segnb.train.Run) -> None:
        """Stop the clock after the last step of an epoch."""
        if run.step == run.steps:
            self.seconds["fit"].append(now() - self.began)

    def on_epoch(self, run: segnb.train.Run) -> None:
        """Step aside."""
        for name in self.order:
            self.seconds[name].append(self.others[name]())
        self.order.append(self.order.pop(0))
        print(", ".join(f"{name} {values[-1]:.1f} s" for name, values in self.seconds.items()), flush=True)
        self.began = now()


def now() -> float:
    """Seconds, when the device has done what it was told."""
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter()


def reduced_precision() -> AbstractContextManager[Any]:
    """Fit's mixed precision: bf16 on a GPU, none on a CPU."""
    return torch.autocast(DEVICE.type, torch.bfloat16, enabled=CUDA)


def draw_pictures(folder: Path, setting: Setting) -> None:
    """Write streets as images/ and masks/."""
    seeds = range(setting.pictures)
    with ProcessPoolExecutor() as processes:
        drawn = processes.map(partial(draw_sample, "street", size=setting.stored), seeds, chunksize=2)
        for seed, sample in zip(seeds, drawn, strict=True):
            write_pair(folder, f"{seed:04d}", SCENES["street"], sample)


def class_names(masks: Path) -> list[str]:
    """Name the labels of a folder of masks by their numbers."""
    labels = {int(label) for mask in sorted(masks.iterdir()) for label in np.unique(np.array(Image.open(mask)))}
    count = max(labels - {IGNORE}, default=0) + 1
    if count < 2:
        sys.exit(f"{masks} holds only the labels {sorted(labels)}: give masks whose grey values are labels 0, 1, ...")
    return [f"label {number}" for number in range(count)]


def load_pictures(folder: Path, setting: Setting) -> Pictures:
    """Read a folder twice: as segnb does, and as the others' users do; the last fifth is for validation."""
    classes, pipeline = class_names(folder / "masks"), preset("medium", setting.size)
    files = list(zip(*pair_files(folder / "images", folder / "masks"), strict=True))
    once = len(files) * 4 // 5 // setting.batch * setting.batch  # whole batches: every step is as long
    if once == 0:
        sys.exit(f"{folder} has {len(files)} pictures: a batch of {setting.batch} needs more.")

    def read(files: list[tuple[Path, Path]], transform: A.Compose, **options: float) -> segnb.SegmentationDataset:
        images, masks = zip(*files, strict=True)
        return segnb.SegmentationDataset(images, masks, classes, transform, **options)

    shown = files[:once] * setting.repeats  # as so many files, which are decoded once each
    normalise = [A.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), A.ToTensorV2()]
    return Pictures(
        train=read(shown, pipeline),
        valid=read(files[once:], A.Compose([A.Resize(*setting.size)])),
        uncached=read(shown, pipeline, cache_mb=0),
        plain=PlainDataset(shown, A.Compose([*preset("medium", setting.size).transforms, *normalise])),
        once=once,
    )


class ClockedLoader(DataLoader):
    """Notes when an epoch begins: Lightning starts the workers before it calls any hook of the epoch."""

    def __iter__(self) -> Any:
        self.began = now()
        return super().__iter__()


def plain_loader(pictures: Pictures, setting: Setting) -> ClockedLoader:
    """Batch the pictures of an epoch as the others' users do, with as many workers as fit has."""
    workers = WORKERS if CUDA else 0
    return ClockedLoader(pictures.plain, setting.batch, shuffle=True, num_workers=workers, pin_memory=CUDA)


def make_train_epoch(model: nn.Module, loader: ClockedLoader) -> Callable[[], float]:
    """SMP's own loop, without metrics and bar; returns seconds."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    loop = TrainEpoch(model, EntropyAndDice(), [], optimizer, device=DEVICE.type, verbose=False)

    def epoch() -> float:
        loop.run(loader)
        return now() - loader.began

    return epoch


def make_lightning(model: nn.Module, loader: ClockedLoader, folder: Path) -> Callable[[], float]:
    """SMP's model in Lightning's trainer, without checkpoints and bar; returns seconds."""
    import lightning  # here, for it may be missing, and the processes whose memory is measured need none

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")

    class Module(lightning.LightningModule):
        """What Lightning's users write, and a clock."""

        def __init__(self) -> None:
            super().__init__()
            self.model, self.loss = model, EntropyAndDice()

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            images, masks = batch
            loss = self.loss(self.model(images), masks)
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self) -> dict[str, Any]:
            optimizer = torch.optim.AdamW(self.model.parameters(), lr=LR)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=len(loader))
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

        def on_train_batch_end(self, _: Any, batch: tuple[Tensor, Tensor], index: int) -> None:
            if index + 1 == len(loader):
                self.seconds = now() - loader.began

    module = Module()

    def epoch() -> float:
        trainer = lightning.Trainer(
            accelerator="gpu" if CUDA else "cpu",
            devices=1,
            precision="16-mixed" if CUDA else "32-true",
            max_epochs=1,
            logger=lightning.pytorch.loggers.CSVLogger(folder),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, loader)
        return module.seconds

    return epoch


def run_fit(
    model: nn.Module,
    pictures: Pictures,
    setting: Setting,
    folder: Path,
    *,
    epochs: int,
    callbacks: tuple[TakeTurns, ...] = (),
) -> None:
    """Train by segnb."""
    segnb.fit(
        model,
        pictures.train,
        pictures.valid,
        epochs,
        loss="ce+dice",
        lr=LR,
        batch_size=setting.batch,
        progressive=0,
        precision="bf16" if CUDA else "no",
        compile=CUDA,
        out=folder,
        resume=False,
        callbacks=callbacks,
    )


def time_training(model: nn.Module, pictures: Pictures, setting: Setting, folder: Path) -> dict[str, list[float]]:
    """Seconds of an epoch of each, in each round."""
    first = [pictures.train[index] for index in range(setting.batch)]
    batch = tuple(torch.stack(part) for part in zip(*first, strict=True))
    rival = partial(smp.Unet, f"tu-{setting.encoder}", encoder_weights=None, classes=model.num_classes)
    loader = plain_loader(pictures, setting)
    others = {
        "bare": partial(BareLoop(copy.deepcopy(model)).epoch, batch, len(loader)),
        "TrainEpoch": make_train_epoch(rival(), loader),
    }
    if find_spec("lightning"):
        others["Lightning"] = make_lightning(rival(), loader, folder / "lightning")
    turns = TakeTurns(others)
    run_fit(model, pictures, setting, folder / "fit", epochs=1 + setting.rounds, callbacks=(turns,))
    return {name: values[1:] for name, values in turns.seconds.items()}


def take_turns(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in each round, after one round to warm up; every round another one begins."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    for _ in range(1 + rounds):
        for name in order:
            began = now()
            calls[name]()
            seconds[name].append(now() - began)
        order.append(order.pop(0))
    return {name: values[1:] for name, values in seconds.items()}


def time_loading(pictures: Pictures, setting: Setting) -> dict[str, list[float]]:
    """Seconds to read and augment every training picture, one after the other in this process."""

    def read(data: Dataset) -> None:
        for index in range(pictures.once):
            data[index]

    sets = {"cache": pictures.train, "no cache": pictures.uncached, "plain": pictures.plain}
    return take_turns({name: partial(read, data) for name, data in sets.items()}, setting.rounds)


def time_validation(model: nn.Module, pictures: Pictures, setting: Setting) -> dict[str, list[float]]:
    """Seconds to validate as fit does, on batches in memory and from the data set, and of the forward passes alone."""
    loss = get_loss("ce+dice")

    def read() -> Iterator[tuple[Tensor, Tensor]]:
        items = (pictures.valid[index] for index in range(len(pictures.valid)))
        for images, labels in same_size_batches(items, setting.batch):
            yield torch.stack(images).contiguous(memory_format=torch.channels_last), torch.stack(labels)

    batches = list(read())

    def forward() -> None:
        with evaluating(model) as device:
            for images, _ in batches:
                model(images.to(device))

    calls = {
        "memory": lambda: validate(model, batches, loss),
        "read": lambda: validate(model, read(), loss),
        "forward": forward,
    }
    with reduced_precision():
        return take_turns(calls, setting.rounds)


def peak_memory(name: str, folder: Path, setting: Setting) -> dict[str, float]:
    """Train by fit or by a plain loop, in a process of its own, and look how much memory was held at once, in MiB."""
    pictures = load_pictures(folder, setting)
    model = segnb.create_model("unet", setting.encoder, encoder_weights=None, classes=pictures.train.classes)
    if name == "fit":
        with tempfile.TemporaryDirectory() as out:
            run_fit(model, pictures, setting, Path(out), epochs=MEMORY_EPOCHS)
    else:
        loop, loader = BareLoop(model), plain_loader(pictures, setting)
        for _ in range(MEMORY_EPOCHS):
            for images, labels in loader:
                loop.step(images.to(DEVICE, memory_format=torch.channels_last), labels.to(DEVICE))
    # Not the resource module: what it tells includes the process that started this one.
    found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text()) if STATUS.exists() else None
    peaks = {"memory": int(found[1]) / 1024} if found else {}
    return {**peaks, "GPU memory": torch.cuda.max_memory_allocated() / 2**20} if CUDA else peaks


def measure_memory(folder: Path, setting: Setting) -> dict[str, dict[str, float]]:
    """Peak memory of fit and of the plain loop, by kind of memory; some systems tell none."""
    peaks: dict[str, dict[str, float]] = {}
    for name in ("fit", "plain"):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            for kind, peak in process.submit(peak_memory, name, folder, setting).result().items():
                peaks.setdefault(kind, {})[name] = peak
    return peaks


def measure(folder: Path, setting: Setting) -> dict[str, Any]:
    """Everything on this machine."""
    torch.manual_seed(0)
    pictures = load_pictures(folder, setting)
    model = segnb.create_model("unet", setting.encoder, encoder_weights=None, classes=pictures.train.classes)
    # Other data sets than those that train: on a GPU worker processes would inherit what they hold decoded.
    loading = time_loading(load_pictures(folder, setting), setting)
    with tempfile.TemporaryDirectory() as out:
        training = time_training(model, pictures, setting, Path(out))
    device = torch.cuda.get_device_name() if CUDA else platform.machine()
    return {
        "machine": f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "date": time.strftime("%Y-%m-%d"),
        "setting": setting._asdict(),
        "pictures": {"training": len(pictures.train), "loading": pictures.once, "validation": len(pictures.valid)},
        "training": training,
        "loading": loading,
        "validation": time_validation(model, pictures, setting),
        **measure_memory(folder, setting),
    }


def values(comparison: Comparison, found: dict[str, Any]) -> tuple[float, float, str, float]:
    """Both medians with their unit, and their ratio, the median over the rounds; milliseconds are those of a picture."""
    part = found[comparison.part]
    ours, other = part[comparison.ours], part[comparison.other]
    if comparison.part in ("memory", "GPU memory"):
        return ours, other, "MiB", ours / other
    milliseconds = (1000 * statistics.median(seconds) / found["pictures"][comparison.part] for seconds in (ours, other))
    return *milliseconds, "ms", statistics.median(b / a for a, b in zip(ours, other, strict=True))


def section(found: dict[str, Any]) -> str:
    """What one kind of device showed, as Markdown."""
    table, meanings = [], []
    for comparison in COMPARISONS:
        if comparison.other not in found.get(comparison.part, {}):
            if comparison.other == "Lightning":
                meanings.append(f"- {comparison.what}: left out, for `lightning` is not installed.")
            continue
        ours, other, unit, ratio = values(comparison, found)
        shown = [f"{each:.0f} MiB" if unit == "MiB" else f"{1000 / each:.1f} pictures/s" for each in (ours, other)]
        table.append(f"| {comparison.what} | {shown[0]} | {shown[1]} | **{ratio:.3f}** | {comparison.goal} |")
        meanings.append(f"- {comparison.what}: {comparison.meaning.format(ours=ours, other=other)}")
    setting = Setting(**found["setting"])
    return (
        f"## {found['machine']}\n\n"
        f"{found['date']}; U-Net + {setting.encoder}, {setting.size[1]}×{setting.size[0]}, batch {setting.batch}, "
        f"{found['pictures']['training']} pictures in an epoch, {setting.rounds} rounds.\n\n"
        "| what | segnb | the other | ratio | goal |\n|---|---|---|---|---|\n"
        + "\n".join(table)
        + "\n\n"
        + "\n".join(meanings)
        + "\n"
    )


def report(results: dict[str, dict[str, Any]]) -> str:
    """All kinds of device as Markdown."""
    return (
        "# What training costs\n\n"
        "`python benchmarks/training.py`: medians of turns taken in one process; a ratio is segnb's number over the other's, the "
        "median over the rounds. More pictures per second are better, more memory is worse. On a GPU segnb and the bare step are "
        "compiled and run in bf16, Lightning in fp16, TrainEpoch in float32, the only one it has.\n\n"
        + "\n".join(section(found) for found in results.values())
    )


def main() -> None:
    """Measure, merge with what is known, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="with images/ and masks/; by default streets are drawn"
    )
    parser.add_argument("--quick", action="store_true", help="a few pictures, one round: does everything run?")
    parser.add_argument(
        "--out", type=Path, help="without the suffix; by default benchmarks/results/training, if not --quick"
    )
    options = parser.parse_args()
    setting = SETTINGS[DEVICE.type]
    if options.quick:
        setting = setting._replace(stored=(96, 144), size=(64, 96), pictures=6, repeats=1, batch=2, rounds=1)
    with tempfile.TemporaryDirectory() as scratch:
        if options.data is None:
            draw_pictures(Path(scratch), setting)
        found = measure(options.data or Path(scratch), setting)
    out = options.out or (None if options.quick else RESULTS / "training")
    results = {}
    if out is not None and out.with_suffix(".json").exists():
        results = json.loads(out.with_suffix(".json").read_text())
    results[DEVICE.type] = found
    print(report(results))
    if out is not None:
        write_atomically(out.with_suffix(".json"), lambda path: path.write_text(json.dumps(results, indent=1)))
        write_atomically(out.with_suffix(".md"), lambda path: path.write_text(report(results)))


if __name__ == "__main__":
    main()
