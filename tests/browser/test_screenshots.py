"""Pictures of the tools for the README and the notebooks: SEGNB_SCREENSHOTS=notebooks saves them in that folder."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_everywhere import SETUP, TOOLS

pytestmark = pytest.mark.browser

LIMIT = 150_000  # bytes of a picture
STREETS = """
import fake_training
from segnb.data.samples import SCENES, draw_sample

def street(seed, height=256, width=384):
    return draw_sample("street", seed, (height, width))

fake_training.scene = street  # before others import it
fake_training.PALETTE[:] = list(SCENES["street"].colours.values())
"""
SHOWN = {
    "explore": "tool = explore(FakeDataset(60, 256, 384))\ntool.opacity = 0.7\ntool",
    "monitor": "tool = TrainingMonitor()\nFakeRun(epochs=12, steps=30, pause=0.003).train(tool);",
    "augment": """tool = Augmenter(FakeDataset(8, 256, 384))
tool.add("HorizontalFlip", p=0.5)
tool.add("Affine")
tool.add("RandomBrightnessContrast")
tool""",
    "build": "from segnb.tools.building import build\ntool = build('unet', 'resnet34', classes=LABELS)\ntool",
    "inspect": "tool = make_inspector(6, height=256, width=384)\ntool.left = 'truth'\ntool",
    "paint": """from fake_training import PALETTE
pairs = [scene(seed) for seed in range(4)]
tool = Painter([image for image, _ in pairs], LABELS, palette=PALETTE, masks=[pairs[0][1], None, None, None])
tool""",
    "studio": "from segnb.tools.studio import studio\nstudio((FakeDataset(48, 256, 384), FakeDataset(12, 256, 384)))",
}


@pytest.mark.parametrize("tool", TOOLS, ids=[tool.name for tool in TOOLS])
def test_screenshot(open_notebook, tool, tmp_path):
    folder = Path(os.environ.get("SEGNB_SCREENSHOTS", tmp_path))
    notebook = open_notebook([STREETS, SETUP, SHOWN.get(tool.name, tool.cell)])
    notebook.page.set_viewport_size({"width": 1280, "height": 1400})
    notebook.run_all()
    root = notebook.page.locator(tool.selector).first
    root.wait_for()
    notebook.wait_idle(60)
    notebook.page.wait_for_timeout(1500)  # pictures are decoded, thumbnails fetched
    for theme in ("Dark", "Light"):
        notebook.page.evaluate(
            f"window.jupyterapp.commands.execute('apputils:change-theme', {{ theme: 'JupyterLab {theme}' }})"
        )
        notebook.page.wait_for_timeout(800)
        save_small(root.screenshot(), folder / f"{tool.name}-{theme.lower()}.png")
    light, dark = (
        np.asarray(Image.open(folder / f"{tool.name}-{theme}.png").convert("L")) for theme in ("light", "dark")
    )
    assert light.shape == dark.shape
    assert light[4, 4] > 200 > 60 > dark[4, 4]  # the tool's own ground follows the theme
    assert notebook.console_errors() == []


def save_small(picture: bytes, path: Path) -> None:
    """Save a PNG with as many colours as fit into the limit."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    for colours in (256, 128, 64, 32):
        file = io.BytesIO()
        image.quantize(colours, dither=Image.Dither.NONE).save(file, format="PNG", optimize=True)
        if file.tell() <= LIMIT:
            break
    path.write_bytes(file.getvalue())
