"""A program around an exported file, short enough to read in class, that needs neither torch nor segnb.

It is put together from three parts: a heading, how the file's runtime is started, and the rest, which all runtimes share. What it
knows of the model (classes, colours, mean and standard deviation) it reads from the file.
"""

from __future__ import annotations

from pathlib import Path

from segnb.errors import SegnbError
from segnb.files import write_atomically

HEADING = '''"""Label every pixel of a picture with {file}; needs only NumPy and {runtime}, and Pillow for picture files.

    python {program} photo.jpg mask.png
"""

import json
import sys
from pathlib import Path

import numpy as np
'''

ONNX = '''import onnxruntime

FILE = Path(__file__).with_name({file!r})
SESSION = onnxruntime.InferenceSession(FILE, providers=["CPUExecutionProvider"])
ABOUT = SESSION.get_modelmeta().custom_metadata_map  # what the file says about itself


def logits_of(batch):
    """Pictures (B, channels, H, W) -> one map of numbers for each class (B, classes, H, W)."""
    return SESSION.run(["logits"], {{"image": batch}})[0]
'''

OPENVINO = '''
sys.modules["openvino_telemetry"] = None  # openvino would report over the network that it is used
import openvino  # noqa: E402

FILE = Path(__file__).with_name({file!r})
MODEL = openvino.Core().read_model(FILE)
ABOUT = MODEL.get_rt_info("segnb").value  # what the file says about itself
NETWORK = openvino.compile_model(MODEL, "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})


def logits_of(batch):
    """Pictures (B, channels, H, W) -> one map of numbers for each class (B, classes, H, W)."""
    return NETWORK({{"image": batch}})["logits"]
'''

REST = '''

NAMES, PALETTE = json.loads(ABOUT["label_names"]), np.array(json.loads(ABOUT["palette"]), np.uint8)
MEAN, STD = np.array([json.loads(ABOUT["mean"]), json.loads(ABOUT["std"])], np.float32)
MULTILABEL, RAW_PIXELS = json.loads(ABOUT["multilabel"]), ABOUT["input"].startswith("uint8")


def segment(pixels):
    """Pixels uint8 (H, W, channels) -> labels uint8 (H, W); of classes that may overlap (classes, H, W), 0 or 1."""
    image = pixels if RAW_PIXELS else (pixels.astype(np.float32) / 255 - MEAN) / STD
    logits = logits_of(np.ascontiguousarray(image.transpose(2, 0, 1)[None]))[0]
    if MULTILABEL:
        return (logits > 0).astype(np.uint8)
    if len(logits) == 1:  # binary: one logit, positive where the class is more likely than the background
        return (logits[0] > 0).astype(np.uint8)
    return logits.argmax(axis=0).astype(np.uint8)


def main(picture, mask):
    """Read a picture file, write its labels as a PNG; of classes that overlap one for each, ``mask-<class>.png``."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(Image.open(picture)).convert("L" if len(MEAN) == 1 else "RGB")
    labels = segment(np.atleast_3d(np.asarray(image)))
    for number, plane in enumerate(labels if MULTILABEL else [labels]):
        indexed = Image.fromarray(plane)  # the pixel values are the labels, the palette says how to show them
        indexed.putpalette([0, 0, 0, *PALETTE[number].tolist()] if MULTILABEL else PALETTE.flatten().tolist())
        target = Path(mask)
        indexed.save(target.with_stem(f"{target.stem}-{NAMES[number]}") if MULTILABEL else target)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
'''

RUNTIMES = {".onnx": ("ONNX Runtime", ONNX), ".xml": ("OpenVINO", OPENVINO)}


def write_runner(path: Path) -> Path:
    """Write the program beside an exported file.

    Args:
        path: the exported ``.onnx`` or ``.xml``.

    Returns:
        The program, ``<stem>_runner.py``.

    Raises:
        SegnbError: another format.
    """
    suffix = path.suffix.lower()
    if suffix not in RUNTIMES:
        raise SegnbError(
            f"{path.name!r} needs PyTorch to run, torch.export.load({path.name!r}).module(); a runner without it is written for "
            ".onnx and .xml."
        )
    runtime, start = RUNTIMES[suffix]
    program = path.with_name(f"{path.stem}_runner.py")
    filled = (HEADING + start).format(file=path.name, runtime=runtime, program=program.name)
    return write_atomically(program, lambda temporary: temporary.write_text(filled + REST, encoding="utf-8"))
