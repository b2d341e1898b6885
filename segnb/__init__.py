"""segnb: image segmentation in the notebook. Build, train, see and ship models.

Names are loaded when they are first used, so that ``import segnb`` costs nothing.
"""

from __future__ import annotations

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "data": ["SegmentationDataset", "check_dataset", "k_fold", "load_sample", "split"],
        "encoders": ["list_encoders"],
        "errors": ["SegnbError"],
        "evaluation": ["evaluate"],
        "exporting": ["export"],
        "models": ["create_model", "list_models"],
        "optimizing": ["optimize"],
        "prediction": ["predict"],
        "pretrained": ["load_model", "save_model"],
        "profiling": ["profile"],
        "system": ["doctor"],
        "tools.building": ["build"],
        "tools.inspecting": ["inspect"],
        "tools.painting": ["paint"],
        "tools.studio": ["studio"],
        "train": ["find_lr", "fit", "search"],
        "widgets": ["augment", "explore"],
    },
)
