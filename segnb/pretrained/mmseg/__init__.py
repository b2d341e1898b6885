"""Checkpoints of MMSegmentation."""

from segnb.pretrained.mmseg.reading import read_state_dict, recognises

__all__ = ["read_state_dict", "recognises"]
