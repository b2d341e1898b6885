"""HRNet: MMSegmentation's has timm's names; its branches are read before timm's classifier widens them."""

from __future__ import annotations

from segnb.pretrained.mmseg.backbones.backbone import Backbone, Head, Tensors, count, published_size

# Width of the finest branch, blocks of the first stage, exchanges in the stages of 2, 3 and 4 branches.
SIZES = {
    "hrnet_w18_small_v2": {"width": 18, "blocks": 2, "exchanges": [1, 3, 2]},
    **{f"hrnet_w{w}": {"width": w, "blocks": 4, "exchanges": [1, 4, 3]} for w in (18, 30, 32, 40, 44, 48, 64)},
}


def read(given: Tensors, head: Head, name: str | None) -> Backbone:
    """Tell the width, and the small one from its blocks.

    Raises:
        UnknownSizeError: of another size.
    """
    wanted = {
        "width": len(given["stage4.0.branches.0.0.conv1.weight"]),
        "blocks": count(given, r"layer1\.(\d+)\."),
        "exchanges": [count(given, rf"stage{stage}\.(\d+)\.") for stage in (2, 3, 4)],
    }
    name = published_size(name, "an HRNet", wanted, SIZES)
    options = {"feature_location": "", "fuse_bilinearly": True}
    return Backbone(name, given, given["conv1.weight"].shape[1], options, stride=32)
