"""Other backbones of MMSegmentation under heads that come with a ResNet; small ones where sizes are all that differs."""

import sys
import types

FOUR = (0, 1, 2, 3)
DILATED = {
    "depth": 50,
    "dilations": (1, 1, 2, 4),
    "strides": (1, 2, 1, 1),
    "style": "pytorch",
    "contract_dilation": True,
    "norm_cfg": {"type": "BN"},
}
PCPVT = {
    "embed_dims": [64, 128, 320, 512],
    "num_heads": [1, 2, 5, 8],
    "patch_sizes": [4, 2, 2, 2],
    "strides": [4, 2, 2, 2],
    "mlp_ratios": [8, 8, 4, 4],
    "out_indices": FOUR,
    "qkv_bias": True,
    "depths": [3, 4, 6, 3],
    "sr_ratios": [8, 4, 2, 1],
    "norm_after_stage": False,
}
SVT = {
    **PCPVT,
    "embed_dims": [64, 128, 256, 512],
    "num_heads": [2, 4, 8, 16],
    "mlp_ratios": [4, 4, 4, 4],
    "depths": [2, 2, 10, 4],
    "windiow_sizes": [7, 7, 7, 7],
    "norm_after_stage": True,
}
TRANSFORMER = {
    "embed_dims": 128,
    "num_layers": 4,
    "num_heads": 2,
    "out_indices": FOUR,
    "norm_cfg": {"type": "LN", "eps": 1e-6},
}
VIT = {
    "type": "VisionTransformer",
    "img_size": (48, 48),
    "patch_bias": True,  # as in the released weights; version 1.2 dropped it
    "qkv_bias": True,
    **TRANSFORMER,
}
BEIT = {"type": "BEiT", "img_size": (64, 64), **TRANSFORMER}
NECKS = {
    "upernet-vit": {
        "type": "MultiLevelNeck",
        "in_channels": [128] * 4,
        "out_channels": 128,
        "scales": [4, 2, 1, 0.5],
    },
    "upernet-beit": {
        "type": "Feature2Pyramid",
        "embed_dim": 128,
        "rescales": [4, 2, 1, 0.5],
        "norm_cfg": {"type": "BN"},
    },
}
# Of heads that make.py has no case for.
HEADS = {"upernet": "upernet/upernet_r50_4xb2-40k_cityscapes-512x1024.py"}
# The backbone, channels of its four maps, height and width of the picture; sizes at which maps have odd sides where that matters.
BACKBONES = {
    "ocrnet-hrnet18": (None, None, (70, 90)),
    "ocrnet-mit": (
        {
            "type": "MixVisionTransformer",
            "embed_dims": 32,
            "num_layers": [2, 2, 2, 2],
            "num_heads": [1, 2, 5, 8],
        },
        [32, 64, 160, 256],
        (70, 90),
    ),
    "ocrnet-swin": (
        {"type": "SwinTransformer", "embed_dims": 24, "depths": [2, 2, 2, 2], "num_heads": [2, 2, 4, 4]},
        [24, 48, 96, 192],
        (62, 90),
    ),
    "ocrnet-convnext": (
        {
            "type": "mmpretrain.ConvNeXt",
            "arch": {"depths": [1, 1, 2, 1], "channels": [12, 16, 24, 32]},
            "out_indices": list(FOUR),
            "layer_scale_init_value": 1.0,
            "gap_before_final_norm": False,
        },
        [12, 16, 24, 32],
        (64, 96),
    ),
    "ocrnet-pcpvt": ({"type": "PCPVT", **PCPVT}, PCPVT["embed_dims"], (62, 90)),
    "ocrnet-svt": ({"type": "SVT", **SVT}, SVT["embed_dims"], (112, 90)),
    "gcnet-vit": ({**VIT, "final_norm": True}, [128] * 4, (70, 90)),
    "upernet-vit": ({**VIT, "final_norm": True}, [128] * 4, (64, 96)),
    "upernet-deit": (VIT, [128] * 4, (70, 90)),
    "gcnet-beit": (BEIT, [128] * 4, (64, 64)),
    "gcnet-mae": ({**BEIT, "type": "MAE"}, [128] * 4, (64, 64)),
    "upernet-beit": (BEIT, [128] * 4, (64, 64)),
    "gcnet-mobilenetv2": (
        {
            "type": "MobileNetV2",
            "strides": (1, 2, 2, 1, 1, 1, 1),
            "dilations": (1, 1, 1, 2, 2, 4, 4),
            "out_indices": (1, 2, 4, 6),
        },
        [24, 32, 96, 320],
        (70, 90),
    ),
    **{
        f"gcnet-mobilenetv3-{arch}": (
            {
                "type": "MobileNetV3",
                "arch": arch,
                "out_indices": layers,
                "norm_cfg": {"type": "BN", "eps": 0.001},
            },
            channels,
            (70, 90),
        )
        for arch, layers, channels in (
            ("large", (3, 6, 12, 16), [24, 40, 112, 960]),
            ("small", (1, 3, 8, 12), [16, 24, 48, 576]),
        )
    },
    "gcnet-resnext": ({"type": "ResNeXt", "groups": 32, "base_width": 4, **DILATED}, [256, 512, 1024, 2048], (64, 96)),
    "gcnet-resnest": ({"type": "ResNeSt", "stem_channels": 64, **DILATED}, [256, 512, 1024, 2048], (64, 96)),
}


def put_backbone(model_config, case):
    """Replace the backbone in the config of a model, and tell the heads the channels."""
    backbone, channels, _ = BACKBONES[case]
    if backbone is None:
        return
    if backbone["type"].startswith("mmpretrain."):
        for name in ("torchvision", "torchvision.ops", "torchvision.ops.boxes"):
            sys.modules[name] = types.ModuleType(name)  # imported there for a metric
        import mmpretrain.models  # noqa: F401, makes the backbone known
    model_config.backbone = backbone
    if case in NECKS:
        model_config.neck = NECKS[case]
    heads = model_config.decode_head if isinstance(model_config.decode_head, list) else [model_config.decode_head]
    for head in [*heads, *([model_config.auxiliary_head] if "auxiliary_head" in model_config else [])]:
        if isinstance(head["in_index"], (list, tuple)):
            head["in_channels"] = channels
        else:
            head["in_channels"] = channels[head["in_index"]]
    if len(heads) > 1:
        heads[0]["channels"] = sum(channels)  # OCRNet's first guess keeps all of them
