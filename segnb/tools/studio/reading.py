"""The Python that makes the data of a studio again; pictures that are in memory only are written beside the notebook.

street, or files ─▶ the call that read them
arrays ───────────▶ lesson-data/train/images/00000.png, .../masks/00000.png ─▶ a call that reads these
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from segnb.draw import IGNORE
from segnb.errors import SegnbError
from segnb.files import write_atomically
from segnb.tools.studio.data import VALID, StudioData

if TYPE_CHECKING:
    from segnb.data.datasets import SegmentationDataset

WIDTH = 100  # characters: a longer call has one argument a line
READ = """\
folder = Path({folder!r})
{name} = segnb.SegmentationDataset(
    [folder / "images" / f"{{i:05d}}.png" for i in range({count})],
    [folder / "masks" / f"{{i:05d}}.png" for i in range({count})],
    {classes!r},
    mask_values={values!r},  # the labels as they are; {ignored} is ignored
    names={names!r},
    palette={palette!r},
)"""


def reading_code(data: StudioData, folder: str) -> str:
    """Write the Python that makes the two data sets again.

    Args:
        data: of the studio.
        folder: as the code shall call the one that `write_pictures` has written to.

    Returns:
        Lines that leave ``train`` and ``valid``.

    Raises:
        SegnbError: a transform has no text.
    """
    sets = _sets(data)
    origins = [getattr(one, "origin", None) for one in sets.values()]
    if [origin and (origin["reader"], origin.get("part")) for origin in origins] == [
        ("load_sample", "train"),
        ("load_sample", "valid"),
    ] and origins[0]["name"] == origins[1]["name"]:
        return "\n".join(_sample_code(data, origins[0]["name"]))
    lines = [line for name, one in sets.items() for line in _set_code(name, one, folder)]
    lines += [f"train, valid = segnb.split(data, {VALID})"] if data.whole is not None else []
    return "\n".join(["from pathlib import Path", "", *lines] if None in origins else lines)


def write_pictures(data: StudioData, folder: Path) -> None:
    """Write the pictures that are in memory only, without loss; those that are files stay where they are.

    Args:
        data: of the studio.
        folder: for them.

    Raises:
        SegnbError: they have neither one nor three channels, which PNG does not hold.
    """
    for name, one in _sets(data).items():
        if getattr(one, "origin", None) is None:
            _write_set(one, folder / name)


def _sets(data: StudioData) -> dict[str, SegmentationDataset]:
    return {"data": data.whole} if data.whole is not None else {"train": data.train, "valid": data.valid}


def _write_set(data: SegmentationDataset, folder: Path) -> None:
    for index in range(len(data)):
        image, labels = data.read(index)
        if image.shape[2] not in (1, 3):
            raise SegnbError(
                f"The pictures are in memory only and have {image.shape[2]} channels, which PNG does not hold: save them as "
                "TIFF files, and open the studio on a data set of these files."
            )
        for kind, pixels in (("images", image[:, :, 0] if image.shape[2] == 1 else image), ("masks", labels)):
            picture = Image.fromarray(pixels)
            write_atomically(folder / kind / f"{index:05d}.png", picture.save)


def _sample_code(data: StudioData, sample: str) -> list[str]:
    from segnb.data import load_sample

    lines = [f"train, valid = segnb.load_sample({sample!r})"]
    for name, one, full in zip(("train", "valid"), (data.train, data.valid), load_sample(sample), strict=True):
        lines += _subset_code(name, one.places) if one.places != full.places else []
        lines += _transform_code(name, one.transform)
    return lines


def _set_code(name: str, data: SegmentationDataset, folder: str) -> list[str]:
    origin = getattr(data, "origin", None)
    if origin is None:
        lines = [
            READ.format(
                folder=f"{folder}/{name}",
                name=name,
                count=len(data),
                classes=data.classes,
                values=[*range(len(data.label_names)), IGNORE],
                ignored=IGNORE,
                names=data.names,
                palette=data.palette.tolist(),
            )
        ]
    else:
        lines = [f"{name} = {_call_of(origin)}", *_subset_code(name, data.places)]
    return [*lines, *_transform_code(name, data.transform)]


def _call_of(origin: dict[str, Any]) -> str:
    options = dict(origin)
    reader = options.pop("reader")
    if reader == "load_sample":
        return f"segnb.load_sample({options['name']!r})[{('train', 'valid').index(options['part'])}]"
    method = "" if reader == "SegmentationDataset" else f".{reader}"
    return call(f"segnb.SegmentationDataset{method}", [], options)


def _subset_code(name: str, places: Sequence[int]) -> list[str]:
    first = range(len(places))
    return [f"{name} = {name}.subset({first if list(places) == list(first) else list(places)})"]


def _transform_code(name: str, transform: Any) -> list[str]:
    from segnb.data import as_code

    return [] if transform is None else [as_code(transform), f"{name} = {name}.with_transform(transform)"]


def call(function: str, arguments: Sequence[str], options: dict[str, Any]) -> str:
    """Write a call of a function, on several lines if it is long.

    Args:
        function: its name.
        arguments: those without a name, as text.
        options: those with one.

    Returns:
        Python code.
    """
    written = [*arguments, *(f"{name}={value!r}" for name, value in options.items())]
    line = f"{function}({', '.join(written)})"
    return line if len(line) <= WIDTH else f"{function}(\n    " + ",\n    ".join(written) + ",\n)"
