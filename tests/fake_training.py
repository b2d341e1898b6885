"""A run that trains nothing: a loop that sleeps, with the attributes that a monitor reads. Used by the widget tests."""

from __future__ import annotations

import csv
import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LABELS = ["sky", "building", "road", "pavement", "tree", "car", "person", "pole"]
PALETTE = np.array(
    [[86, 180, 233], [150, 110, 90], [90, 90, 110], [204, 121, 167], [0, 158, 115], [230, 159, 0], [213, 94, 0],
     [240, 228, 66]], np.uint8,
)  # fmt: skip


def scene(seed: int, height: int = 128, width: int = 192) -> tuple[np.ndarray, np.ndarray]:
    """A picture of stripes and boxes with its labels: (height, width, 3) uint8 and (height, width) uint8."""
    random = np.random.default_rng(seed)
    labels = np.zeros((height, width), np.uint8)
    labels[height // 3 :] = 1
    labels[height // 2 :] = 3
    labels[int(height * 0.6) :] = 2
    for label, size in ((4, 34), (5, 22), (5, 18), (6, 8), (7, 3)):
        left = int(random.integers(0, width - size))
        bottom = int(height * random.uniform(0.55, 0.9))
        labels[max(0, bottom - size - 12) : bottom, left : left + size] = label
    shades = PALETTE[labels].astype(float) * 0.6 + 50 + random.normal(0, 10, (height, width, 1))
    shades += np.linspace(25, -25, height)[:, None, None]
    return shades.clip(0, 255).astype(np.uint8), labels


def guess(labels: np.ndarray, seed: int, wrong: float) -> np.ndarray:
    """A prediction: the truth shifted by a pixel, with blocks of other labels for a share ``wrong`` of the picture."""
    random = np.random.default_rng(seed)
    prediction = np.roll(labels, 1, axis=1)
    height, width = labels.shape
    for _ in range(int(60 * wrong)):
        top, left = random.integers(0, height - 16), random.integers(0, width - 20)
        prediction[top : top + 16, left : left + 20] = random.integers(len(LABELS))
    return prediction


@dataclass
class FakeRecipe:
    """What `segnb.fit` was given, as far as the monitor reads it."""

    epochs: int = 10
    lr: float | str = "auto"
    batch_size: int | str = "auto"
    accumulate: int = 1


class FakeData:
    """A data set of a run, as far as the monitor reads it; that of training also trains when it is called."""

    def __init__(self, count: int, part: str, call: object = None) -> None:
        self.count, self.call = count, call
        self.origin = {"reader": "load_sample", "name": "street", "part": part}

    def __len__(self) -> int:
        return self.count

    def __call__(self, monitor: object) -> FakeRun:
        return self.call(monitor)


class FakeRun:
    """What `segnb.fit` hands to its callbacks, without a model: ``FakeRun().train(monitor)``."""

    def __init__(self, epochs: int = 8, steps: int = 30, pause: float = 0.02) -> None:
        self.epochs, self.steps, self.step_seconds = epochs, steps, pause
        self.epoch, self.step, self.seconds = 1, 0, 0.0
        self.losses: list[float] = []
        self.lr = 0.0
        self.recipe = FakeRecipe(epochs, batch_size=8)
        self.settings = {
            "model": {"arch": "unet", "encoder_name": "resnet34", "in_channels": 3, "classes": LABELS},
            "batch_size": "auto",
        }
        self.train, self.valid = FakeData(8 * steps, "train", self.loop), FakeData(4, "valid")
        self.history: list[dict] = []
        self.best: dict | None = None
        self.monitor = "miou"
        self.label_names, self.palette = LABELS, PALETTE
        self.preview: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.path = Path("runs/street-unet")  # not made: a test that wants the files makes it
        self.message = ""
        self.state = "running"
        self._stop, self._pause, self._finish = threading.Event(), threading.Event(), threading.Event()

    @property
    def remaining(self) -> float:
        done = (self.epoch - 1) * self.steps + self.step
        return (self.epochs * self.steps - done) * self.step_seconds

    def stop(self) -> None:
        self._stop.set()

    def pause(self) -> None:
        self._pause.set()

    def resume(self) -> None:
        self._pause.clear()

    def finish(self) -> None:
        self._finish.set()
        self.resume()

    def loop(self, monitor: object) -> FakeRun:
        """Run the loop of sleeps, and call the monitor as `segnb.fit` does."""
        random = np.random.default_rng(0)
        monitor.on_start(self)
        for epoch in range(1, self.epochs + 1):
            self.epoch = epoch
            for step in range(1, self.steps + 1):
                self.step = step
                if self._stop.is_set():
                    return self.end(monitor, "stopped", f"stopped in epoch {self.epoch}")
                while self._pause.is_set() and not self._stop.is_set():
                    self.state = "paused"
                    time.sleep(0.02)
                self.state = "running"
                time.sleep(self.step_seconds)
                self.seconds += self.step_seconds
                x = len(self.losses) / self.steps
                self.lr = 4e-3 * float(np.sin(np.pi * (x + 1 / self.steps) / (self.epochs + 1 / self.steps)))
                self.losses.append(float(0.25 + 1.9 * np.exp(-x / 1.4) + random.normal(0, 0.09) * np.exp(-x / 6)))
                monitor.on_step(self)
                if self._finish.is_set():
                    break
            self.validate()
            monitor.on_epoch(self)
            if self._finish.is_set():
                return self.end(monitor, "finished", f"finished early, in epoch {self.epoch}")
        return self.end(monitor, "finished", "")

    def validate(self) -> None:
        good = 1 - np.exp(-self.epoch / 2.5)
        iou = [float(np.clip(good * level, 0, 1)) for level in (0.98, 0.9, 0.95, 0.8, 0.84, 0.75, 0.52)] + [
            float("nan")
        ]
        row = {
            "epoch": self.epoch, "train_loss": float(np.mean(self.losses[-self.step :])), "lr": self.lr, "iou": iou,
            "valid_loss": 0.32 + 1.6 * float(np.exp(-self.epoch / 1.5)), "miou": float(np.nanmean(iou)), "seconds": 1.0,
            "elapsed": self.seconds,
        }  # fmt: skip
        self.history.append(row)
        self.best = max(self.history, key=lambda epoch: epoch["miou"])
        scenes = [scene(seed) for seed in range(4)]
        self.preview = [
            (image, labels, guess(labels, seed, 0.6 * (1 - good))) for seed, (image, labels) in enumerate(scenes)
        ]

    def end(self, monitor: object, state: str, message: str) -> FakeRun:
        self.state, self.message = state, message
        monitor.on_end(self)
        return self

    def write(self) -> FakeRun:
        """Write what `segnb.fit` leaves in the folder of a run: the table of scores, and how it ended."""
        names = ("epoch", "train_loss", "valid_loss", "miou", "lr", "seconds", "elapsed")
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "history.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow([*names, *(f"iou {name}" for name in self.label_names)])
            table.writerows([*(row[name] for name in names), *row["iou"]] for row in self.history)
        if self.state in ("finished", "stopped", "failed"):
            (self.path / "result.json").write_text(json.dumps({"state": self.state, "message": self.message}))
        return self


class FakePrediction:
    """What `segnb.predict` returns, as far as a viewer reads it."""

    def __init__(self, seed: int = 0, height: int = 128, width: int = 192, truth: bool = True) -> None:
        self.image, labels = scene(seed, height, width)
        self.labels = guess(labels, seed, 0.2)
        self.truth = labels if truth else None
        self.name = f"scene-{seed:03d}"
        self.label_names, self.palette = LABELS, PALETTE


class FakeDataset:
    """A dataset as far as a viewer reads it."""

    def __init__(self, count: int = 12, height: int = 128, width: int = 192) -> None:
        self.count, self.size = count, (height, width)
        self.names = [f"scene-{seed:03d}" for seed in range(count)]
        self.places = list(range(count))
        self.label_names, self.palette = LABELS, PALETTE
        self.reads: list[int] = []

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        self.reads.append(index)
        return scene(self.places[index], *self.size)

    def subset(self, indices: list[int]) -> FakeDataset:
        other = FakeDataset(len(indices), *self.size)
        other.names = [self.names[index] for index in indices]
        other.places = [self.places[index] for index in indices]
        return other
