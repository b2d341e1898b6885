"""Models as files: segnb's own folders, and the checkpoints of other libraries."""

from segnb.pretrained.folder import WEIGHTS, save_model, write_model
from segnb.pretrained.loading import load_model

__all__ = ["WEIGHTS", "load_model", "save_model", "write_model"]
