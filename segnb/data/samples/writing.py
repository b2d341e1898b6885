"""Write the samples that segnb ships: pictures, masks, classes.json, a contact sheet and the page that shows it.

What is written where:

    FOLDER/README.md  contact_sheet.jpg
    FOLDER/<name>/classes.json  {train,valid}/{images,masks}/NNN.{jpg,png}
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segnb.data.samples import SCENES, Scene, draw_sample

__all__ = ["shipped_seeds", "write_samples"]

FIRST_SEED = {"train": 0, "valid": 1000}  # far apart, so that no picture is in both
JPEG_QUALITY = 90
SHEET_WIDTH, TILE, GAP, TITLE = 1149, 150, 6, 30  # pixels: five street pictures fill a row
SHEET_QUALITY = 85
OPACITY = 0.65  # of the mask over the picture
INK = (40, 40, 45)


def shipped_seeds(name: str, part: str) -> range:
    """Give the seeds of the pictures in a shipped folder, in file order.

    Args:
        name: a key of SCENES.
        part: ``"train"`` or ``"valid"``.
    """
    return range(FIRST_SEED[part], FIRST_SEED[part] + SCENES[name].counts[part])


def write_samples(folder: str | Path) -> Path:
    """Draw all samples again and write them, with the contact sheet and its page.

    Args:
        folder: where to write; made if missing, files of the same names are replaced.

    Returns:
        The folder.
    """
    folder = Path(folder)
    for name, scene in SCENES.items():
        for part in FIRST_SEED:
            for number, seed in enumerate(shipped_seeds(name, part)):
                write_pair(folder / name / part, f"{number:03d}", scene, draw_sample(name, seed))
        write_about(folder / name / "classes.json", scene)
    contact_sheet().save(folder / "contact_sheet.jpg", quality=SHEET_QUALITY)
    (folder / "README.md").write_text(page(), encoding="utf-8")
    return folder


def write_pair(folder: Path, stem: str, scene: Scene, sample: tuple[np.ndarray, np.ndarray]) -> None:
    """Write one picture and its mask, an indexed PNG whose pixel values are the labels."""
    picture, labels = sample
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(folder / "images" / f"{stem}{scene.suffix}", quality=JPEG_QUALITY, optimize=True)
    mask = Image.fromarray(labels)
    mask.putpalette(scene.palette.tobytes())
    mask.save(folder / "masks" / f"{stem}.png", optimize=True)


def write_about(path: Path, scene: Scene) -> None:
    """Write what load_sample needs to know besides the pictures."""
    about = {
        "classes": scene.classes,
        "palette": scene.palette.tolist(),
        "about": scene.about,
        "in_channels": scene.in_channels,
    }
    path.write_text(json.dumps(about) + "\n", encoding="utf-8")


def contact_sheet() -> Image.Image:
    """Draw every scene: its name and legend, a row of validation pictures, and below each the same with its mask."""
    stretch = TITLE + 2 * (TILE + GAP)
    sheet = Image.new("RGB", (SHEET_WIDTH, stretch * len(SCENES)), "white")
    for number, (name, scene) in enumerate(SCENES.items()):
        draw_legend(ImageDraw.Draw(sheet), number * stretch, name, scene)
        top, width = number * stretch + TITLE, TILE * scene.size[1] // scene.size[0]
        for column, (picture, overlay) in enumerate(telling_pairs(name, (SHEET_WIDTH + GAP) // (width + GAP))):
            left = column * (width + GAP)
            sheet.paste(picture.resize((width, TILE), Image.Resampling.BICUBIC), (left, top))
            sheet.paste(overlay.resize((width, TILE), Image.Resampling.BICUBIC), (left, top + TILE + GAP // 2))
    return sheet


def draw_legend(pen: ImageDraw.ImageDraw, top: int, name: str, scene: Scene) -> None:
    """Write the scene's name and, behind squares of their colours, its classes."""
    font = ImageFont.load_default(size=17)
    pen.text((2, top + 5), name, INK, font)
    left = 90
    for title, colour in scene.colours.items():
        pen.rectangle((left, top + 9, left + 12, top + 21), colour)
        pen.text((left + 18, top + 5), title, INK, font)
        left += 42 + int(pen.textlength(title, font))


def telling_pairs(name: str, count: int) -> list[tuple[Image.Image, Image.Image]]:
    """Give the validation pictures that show most classes, each with its mask laid over it."""
    samples = [draw_sample(name, seed) for seed in shipped_seeds(name, "valid")]
    samples.sort(key=lambda sample: -len(np.unique(sample[1])))
    pairs = []
    for image, labels in samples[:count]:
        picture, mask = Image.fromarray(image).convert("RGB"), Image.fromarray(SCENES[name].palette[labels])
        pairs.append((picture, Image.blend(picture, mask, OPACITY)))
    return pairs


def page() -> str:
    """Write the Markdown page that shows the contact sheet."""
    scenes = "\n".join(
        f"| `{name}` | {scene.about} | {', '.join(scene.classes)} | {scene.counts['train']} + {scene.counts['valid']} "
        f"| {scene.size[0]} × {scene.size[1]} × {scene.in_channels} |"
        for name, scene in SCENES.items()
    )
    return PAGE.format(scenes=scenes)


PAGE = """# Sample data

Five small data sets for trying things out with no network. No camera took these pictures: segnb draws them itself, so
every mask is exact and nobody's face or licence plate is in them.

![Validation pictures of each scene, and the same with their masks](contact_sheet.jpg)

| name | what it shows | classes | train + valid | H × W × channels |
|---|---|---|---|---|
{scenes}

```python
import segnb

train, valid = segnb.load_sample("street")  # what lies in this folder
```

Need more of them, or larger ones? Every seed is another picture, and things grow with the picture:

```python
from segnb.data.samples import draw_sample

picture, labels = draw_sample("street", seed=4711, size=(512, 768))
```

Pictures are in `<name>/train|valid/images`, masks in `masks` under the same number: 8-bit PNGs whose pixel values are
the labels (their colours are only for looking). `classes.json` names the classes in label order.

This folder is written by `python -m segnb.data.samples data_samples`, this page included.
"""
