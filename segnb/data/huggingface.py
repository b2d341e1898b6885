"""Data sets of Hugging Face: a table with a column of images and a column of masks, decoded row by row.

Library: Lhoest et al., EMNLP 2021 (demonstrations), https://arxiv.org/abs/2109.02846; https://huggingface.co/docs/datasets.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from segnb.data.folders import check_split
from segnb.data.optional import require
from segnb.data.sources import Contents, LazySource
from segnb.errors import SegnbError, nearest

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

PURPOSE = "SegmentationDataset.from_hf"


def read_hf(
    dataset: str | Dataset | DatasetDict, split: str, image: str, mask: str, classes: Sequence[str] | None
) -> Contents:
    """Find the pictures of a table; see `SegmentationDataset.from_hf`."""
    table = _find_table(dataset, split)
    for column in (image, mask):
        if column not in table.column_names:
            raise SegnbError(
                f"The data set has no column {column!r}: say image= and mask=. {nearest(column, table.column_names)}".rstrip()
            )
    names = classes if classes is not None else getattr(_innermost(table.features[mask]), "names", None)
    if names is None:
        raise SegnbError(
            f"The features of column {mask!r} name no classes: give classes=[...], the names of labels 0, 1, ..."
        )
    images, masks = _without_decoding(table, image), _without_decoding(table, mask)
    rows = range(len(table))
    return Contents([Cell(images, image, row) for row in rows], [Cell(masks, mask, row) for row in rows], names)


@dataclass(frozen=True, eq=False)
class Cell(LazySource):
    """One cell of a table.

    Attributes:
        table: a table with this column only.
        column: its name.
        row: its place from 0.
    """

    table: Dataset
    column: str
    row: int

    @property
    def title(self) -> str:
        """See `LazySource`."""
        return f"{self.column} {self.row}"

    @property
    def name(self) -> str:
        """See `LazySource`."""
        return f"{self.row:03d}"

    def read(self) -> Path | BinaryIO | np.ndarray:
        """Fetch the cell: an encoded picture, or an array of a nested list.

        Raises:
            SegnbError: the cell is empty.
        """
        value = self.table[self.row][self.column]
        if isinstance(value, dict) and value.get("bytes"):
            return io.BytesIO(value["bytes"])
        if isinstance(value, dict) and value.get("path"):
            return Path(value["path"])
        if value is None or isinstance(value, dict):
            raise SegnbError(f"{self.title} is empty: leave the row out, for example with dataset.filter(...).")
        return np.asarray(value)


def _find_table(dataset: str | Dataset | DatasetDict, split: str) -> Dataset:
    """Come from an id, or a dictionary of splits, to one table."""
    datasets = require("datasets", PURPOSE)
    if isinstance(dataset, str):
        dataset = _load(datasets, dataset, split)
    if isinstance(dataset, datasets.DatasetDict):
        check_split(split, list(dataset))
        dataset = dataset[split]
    if isinstance(dataset, (datasets.IterableDataset, datasets.IterableDatasetDict)):
        raise SegnbError("A streamed data set has no row numbers: load it without streaming=True.")
    if not isinstance(dataset, datasets.Dataset):
        raise SegnbError(
            f"{PURPOSE} takes an id such as 'owner/name' or a datasets.Dataset, not a {type(dataset).__name__}."
        )
    return dataset


def _load(datasets: Any, name: str, split: str) -> Any:
    """Load a data set from the hub or its cache."""
    try:
        return datasets.load_dataset(name, split=split)
    except Exception as error:  # network, hub, cache and file formats: each raises errors of its own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SegnbError(
            f"The data set {name!r} (split {split!r}) could not be loaded ({reason}). Look whether it is at "
            f"https://huggingface.co/datasets/{name} and the network is there; without one, call save_to_disk(folder) where "
            "there is, bring the folder here, and pass datasets.load_from_disk(folder)."
        ) from error


def _innermost(feature: Any) -> Any:
    """Find what the lists of lists of a column hold, such as ClassLabel with the names of a mask's labels."""
    while isinstance(feature, list) or hasattr(feature, "feature"):
        feature = feature[0] if isinstance(feature, list) else feature.feature
    return feature


def _without_decoding(table: Dataset, column: str) -> Dataset:
    """Keep one column, with pictures as the bytes of their files, and lists as arrays."""
    from datasets import Image

    alone = table.select_columns([column])
    if isinstance(alone.features[column], Image):
        return alone.with_format(None).cast_column(column, Image(decode=False))
    return alone.with_format("numpy", dtype=np.dtype(_innermost(alone.features[column]).dtype))
