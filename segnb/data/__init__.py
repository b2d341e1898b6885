"""Pictures and masks: data sets of the user's files, and the samples that travel with segnb.

Names are loaded when they are first used, so that the generators in ``samples`` work without torch.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "crops": ["BalancedCrop"],
        "datasets": ["SegmentationDataset", "load_sample"],
        "doctor": ["check_dataset"],
        "pipeline_code": ["as_code"],
        "presets": ["preset"],
        "splits": ["k_fold", "split"],
    },
)
