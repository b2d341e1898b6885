"""What `widgets.py` runs: functions in the page, which measure, and cells in the kernel, which show something to be measured."""

from __future__ import annotations

MOVE_SLIDER = """async ({ selector, moves }) => {
    const input = document.querySelector(selector);
    const canvases = [...input.closest(".segnb").querySelectorAll(".segnb-canvas")].filter((canvas) => canvas.offsetParent);
    const ask = window.requestAnimationFrame;
    const frame = () => new Promise((done) => ask.call(window, done));
    const spent = [];
    let longest = 0;
    window.requestAnimationFrame = (draw) => ask.call(window, (now) => {
        const start = performance.now();
        draw(now);
        for (const canvas of canvases) canvas.getContext("2d").getImageData(0, 0, 1, 1); // waits for what was asked of the canvas
        longest = Math.max(longest, performance.now() - start);
    });
    const [low, high] = [Number(input.min), Number(input.max)];
    for (let i = 0; i < moves; i += 1) {
        longest = 0;
        input.value = low + ((high - low) * ((i * 7) % moves)) / moves;
        input.dispatchEvent(new Event("input", { bubbles: true }));
        await frame();
        await frame();
        spent.push(longest);
    }
    window.requestAnimationFrame = ask;
    return { spent, canvas: [canvases[0].width, canvases[0].height] };
}"""

FIRST_PICTURE = """async ({ cell, run }) => {
    // From the arrival of the widget in the output to the first photo on its canvas.
    const { shell, commands } = window.jupyterapp;
    const notebook = shell.currentWidget.content;
    notebook.activeCellIndex = cell;
    const draw = CanvasRenderingContext2D.prototype.drawImage;
    const drawn = new Promise((done) => {
        CanvasRenderingContext2D.prototype.drawImage = function (...all) {
            draw.apply(this, all);
            if (this.canvas.isConnected && this.canvas.classList.contains("segnb-canvas")) {
                this.getImageData(0, 0, 1, 1);
                done(performance.now());
            }
        };
    });
    const output = notebook.widgets[cell].node.querySelector(".jp-OutputArea");
    const shown = new Promise((done) => {
        const watcher = new MutationObserver((changes) => {
            if (!changes.some((change) => change.addedNodes.length)) return;
            watcher.disconnect();
            done(performance.now());
        });
        commands.execute("notebook:clear-cell-output");
        setTimeout(() => watcher.observe(output, { childList: true, subtree: true }), 200);
    });
    await new Promise((done) => setTimeout(done, 400));
    const asked = performance.now();
    commands.execute("notebook:run-cell");
    const [display, picture] = [await shown, await drawn];
    CanvasRenderingContext2D.prototype.drawImage = draw;
    return { display: picture - display, cell: picture - asked };
}"""

SCROLL = """async ({ selector, frames }) => {
    const box = document.querySelector(selector);
    const tasks = [];
    const watcher = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((entry) => entry.duration)));
    watcher.observe({ entryTypes: ["longtask"] });
    const gaps = [];
    let last = performance.now();
    for (let i = 0; i < frames; i += 1) {
        box.scrollTop += box.clientHeight * (i % 20 === 19 ? 40 : 0.4); // a wheel, and now and then a jump
        await new Promise(requestAnimationFrame);
        gaps.push(performance.now() - last);
        last = performance.now();
    }
    await new Promise((done) => setTimeout(done, 500));
    watcher.disconnect();
    return { gaps, tasks, scrolled: box.scrollTop };
}"""


# Cells

VIEWER = """
from fake_training import FakePrediction
from segnb.widgets import explore
predictions = [FakePrediction(seed, {side}, {side}) for seed in range({count})]
"""

INSPECTOR = """
import numpy as np
from scipy.ndimage import gaussian_filter
from fake_inspecting import FakePictures, make_inspector

def probability(self, index, label):
    sure = gaussian_filter((self.picture(index)["prediction"] == label).astype(np.float32), 6)
    return np.clip(sure + np.random.default_rng(index).normal(0, 0.01, sure.shape), 0, 1)  # a model is never that smooth

FakePictures.probability = probability
inspector = make_inspector({count}, height={side}, width={side})
inspector.label, inspector.layer = 2, "probability"
"""

FOLDER_OF_MANY = """
import os, tempfile
from pathlib import Path
import segnb
from PIL import Image
from fake_training import LABELS, scene
folder = Path(tempfile.mkdtemp(dir="."))
for part in ("images", "masks"):
    (folder / part).mkdir()
for number in range({pictures}):
    for part, layer, suffix in (("images", 0, "jpg"), ("masks", 1, "png")):
        path = folder / part / f"scene-{{number:05d}}.{{suffix}}"
        if number < 50:
            Image.fromarray(scene(number)[layer]).save(path)
        else:
            os.link(folder / part / f"scene-{{number % 50:05d}}.{{suffix}}", path)
data = segnb.SegmentationDataset.from_folder(folder / "images", folder / "masks", LABELS)
len(data)
"""

TRAINING = """
import json, time, types
import numpy as np
import fake_training
from segnb.widgets import TrainingMonitor

matrix = np.random.default_rng(0).random((400, 400))

def step(_seconds=0):
    for _ in range(8):
        matrix @ matrix

class Timed:
    def __init__(self, callback):
        self.callback, self.seconds = callback, 0.0
    def __getattr__(self, name):
        def timed(run):
            start = time.perf_counter()
            getattr(self.callback, name)(run)
            self.seconds += time.perf_counter() - start
        return timed

fake_training.time = types.SimpleNamespace(sleep=step)  # steps that work
nobody = types.SimpleNamespace(**dict.fromkeys(("on_start", "on_step", "on_epoch", "on_end"), lambda run: None))
took = []
for _ in range(3):
    for name, callback in (("alone", nobody), ("watched", TrainingMonitor())):
        watched, start = Timed(callback), time.perf_counter()
        fake_training.FakeRun(epochs=4, steps=60).train(watched)
        took.append((name, time.perf_counter() - start, watched.seconds))
print("TOOK", json.dumps(took))
"""
