"""Checkpoints of Hugging Face transformers: SegFormer, UPerNet and DPT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segnb.pretrained.checkpoint import Checkpoint


def read_folder(folder: Path, config: dict[str, Any]) -> Checkpoint:
    """Read a folder that transformers' ``save_pretrained`` wrote."""
    raise NotImplementedError
