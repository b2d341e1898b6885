"""The code behind "Copy as code" in the painter: read the saved masks as a data set, and train on them."""

from __future__ import annotations

from pathlib import Path

READ = """\
import json
from pathlib import Path

import segnb

folder = Path({folder!r})
saved = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
data = segnb.SegmentationDataset(
    [folder / image for image in saved["images"].values()],
    [folder / f"{{name}}.png" for name in saved["images"]],
    saved["classes"],
    mask_values=[*range(len(saved["palette"])), 255],  # 255 is unlabelled, and ignored
    names=list(saved["images"]),
    palette=saved["palette"],{value_range}
)
"""
ASK = """\
import segnb

data = painter.dataset()  # painter is what segnb.paint returned; with folder="masks" the masks outlive the kernel
"""
SPLIT = "train, valid = segnb.split(data, 0.2)\n"
ONE = "train = valid = data  # one picture only: paint more to see how well it does on others\n"
TRAIN = """\
model = segnb.create_model("unet", "tf_efficientnet_lite0", in_channels=data.in_channels, classes=data.classes)
run = segnb.fit(model, train, valid, epochs=10)
"""


def training_code(folder: Path | None, painted: int, value_range: tuple[float, float] | None) -> str:
    """Write code that makes a data set of what is painted and trains on it.

    Args:
        folder: where the masks are saved; None if they live in memory only.
        painted: how many pictures have a mask.
        value_range: see `SegmentationDataset`.

    Returns:
        Lines of Python.
    """
    values = "" if value_range is None else f"\n    value_range={value_range!r},"
    data = ASK if folder is None else READ.format(folder=folder.as_posix(), value_range=values)
    return data + (SPLIT if painted > 1 else ONE) + TRAIN
