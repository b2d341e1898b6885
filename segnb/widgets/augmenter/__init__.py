"""Build an albumentations pipeline by clicking, and see several draws of it."""

from segnb.widgets.augmenter.augmenter import Augmenter, augment

__all__ = ["Augmenter", "augment"]
