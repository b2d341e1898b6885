"""Runs inside MMSegmentation's environment: builds its models, gives them the weights of weights.py, writes what they answer.

    python make.py OUT [METHOD ...]

Each method becomes OUT/METHOD.npz: the names and shapes of its tensors and the logits of one image, every fourth pixel.
"""

import json
import sys
from pathlib import Path

import mmcv_lite_shim  # noqa: F401, before mmseg
import mmseg
import numpy as np
import psa_mask  # noqa: F401, before a model is built
import torch
from backbones import BACKBONES, HEADS, VIT, put_backbone
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from weights import make_image, make_tensor

CONFIGS = Path(mmseg.__file__).parent / ".mim" / "configs"
CLASSES = 5
METHODS = {
    "nonlocalnet": "nonlocal_net/nonlocal_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "dnlnet": "dnlnet/dnl_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "gcnet": "gcnet/gcnet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "ccnet": "ccnet/ccnet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "danet": "danet/danet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "emanet": "emanet/emanet_r50-d8_4xb2-80k_cityscapes-512x1024.py",
    "isanet": "isanet/isanet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "ann": "ann/ann_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "apcnet": "apcnet/apcnet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "dmnet": "dmnet/dmnet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "ocrnet": "ocrnet/ocrnet_hr18_4xb2-40k_cityscapes-512x1024.py",
    "segmenter": "segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512.py",
    "knet": "knet/knet-s3_r50-d8_upernet_8xb2-adamw-80k_ade20k-512x512.py",
    "knet-pspnet": "knet/knet-s3_r50-d8_pspnet_8xb2-adamw-80k_ade20k-512x512.py",
    "knet-fcn": "knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py",
    "knet-deeplabv3": "knet/knet-s3_r50-d8_deeplabv3_8xb2-adamw-80k_ade20k-512x512.py",
    "fcn": "fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "fcn-linear": "segmenter/segmenter_vit-s_fcn_8xb1-160k_ade20k-512x512.py",
    "pspnet": "pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "deeplabv3": "deeplabv3/deeplabv3_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "deeplabv3plus": "deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "deeplabv3plus-18": "deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py",
    "upernet": "upernet/upernet_r50_4xb2-40k_cityscapes-512x1024.py",
    "segformer": "segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py",
    "psanet": "psanet/psanet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "encnet": "encnet/encnet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "fastfcn": "fastfcn/fastfcn_r50-d32_jpu_psp_4xb2-80k_cityscapes-512x1024.py",
    "fastfcn-aspp": "fastfcn/fastfcn_r50-d32_jpu_aspp_4xb2-80k_cityscapes-512x1024.py",
    "fastfcn-enc": "fastfcn/fastfcn_r50-d32_jpu_enc_4xb2-80k_cityscapes-512x1024.py",
    "setr": "setr/setr_vit-l_mla_8xb1-80k_cityscapes-768x768.py",
    "setr-naive": "setr/setr_vit-l_naive_8xb1-80k_cityscapes-768x768.py",
    "setr-pup": "setr/setr_vit-l_pup_8xb1-80k_cityscapes-768x768.py",
    "setr-mla-vit": "setr/setr_vit-l_mla_8xb1-80k_cityscapes-768x768.py",
    "setr-pup-vit": "setr/setr_vit-l_pup_8xb1-80k_cityscapes-768x768.py",
    "fpn": "sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py",
    "segnext": "segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512.py",
    "segnext-b": "segnext/segnext_mscan-b_1xb16-adamw-160k_ade20k-512x512.py",
    "pointrend": "point_rend/pointrend_r50_4xb2-80k_cityscapes-512x1024.py",
    "cgnet": "cgnet/cgnet_fcn_4xb8-60k_cityscapes-512x1024.py",
    "erfnet": "erfnet/erfnet_fcn_4xb4-160k_cityscapes-512x1024.py",
    "ddrnet": "ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py",
    "pidnet": "pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py",
    "pidnet-l": "pidnet/pidnet-l_2xb6-120k_1024x1024-cityscapes.py",
    "bisenetv1": "bisenetv1/bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024.py",
    "bisenetv2": "bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py",
    "fastscnn": "fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py",
    "stdc": "stdc/stdc1_4xb12-80k_cityscapes-512x1024.py",
    "stdc-2": "stdc/stdc2_4xb12-80k_cityscapes-512x1024.py",
    "icnet": "icnet/icnet_r50-d8_4xb2-80k_cityscapes-832x832.py",
    "icnet-18": "icnet/icnet_r18-d8_4xb2-80k_cityscapes-832x832.py",
    "maskformer": "maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512.py",
    "mask2former": "mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py",
    "mask2former-swin": "mask2former/mask2former_swin-t_8xb2-160k_ade20k-512x512.py",
}
# A plain ResNet of four levels under heads that come with another backbone.
RESNET = {"type": "ResNetV1c", "depth": 50, "norm_cfg": {"type": "BN"}, "style": "pytorch", "contract_dilation": True}
LEVELS = [256, 512, 1024, 2048]


def walk(node, change):
    """Apply a change to every dictionary of a config."""
    if isinstance(node, dict):
        change(node)
        for value in node.values():
            walk(value, change)
    elif isinstance(node, (list, tuple)):
        for value in node:
            walk(value, change)


def simplify(node):
    """No SyncBN, no download, few classes."""
    if node.get("type") == "SyncBN":
        node["type"] = "BN"
    if "num_classes" in node and node.get("type") != "STDCHead":  # which tells edge from no edge
        node["num_classes"] = CLASSES
    for key in ("pretrained", "init_cfg"):
        node.pop(key, None)
    if node.get("requires_grad") is False:  # a norm that is not trained has weights all the same
        node["requires_grad"] = True


def put_setr(model_config, *, on_transformer):
    """Put the heads of SETR on a small transformer, or on four levels that halve, where they expect those of a large one."""
    model_config.backbone = RESNET
    channels, steps, early = LEVELS, 5, (1, 1, 2)  # up to the picture's size from stride 32, as 4 steps do from 16
    if on_transformer:
        reads_class_token = "neck" not in model_config
        model_config.backbone = {**VIT, "interpolate_mode": "bilinear", "with_cls_token": reads_class_token}
        channels, steps, early = [VIT["embed_dims"]] * 4, 4, (2, 2, 2)
    if "neck" in model_config:
        model_config.neck["in_channels"] = channels
        return
    model_config.decode_head["in_channels"] = channels[-1]
    if model_config.decode_head["num_convs"] > 1:
        model_config.decode_head["num_convs"] = steps
    for head, width, most in zip(model_config.auxiliary_head, channels, early, strict=False):
        head["in_channels"] = width
        head["num_convs"] = min(head["num_convs"], most)


def draw_parts(pictures, groups, channels, parts, device=None):
    """What SegNeXt's factorisation starts from; there new random numbers for every picture, in segnb always these."""
    drawn = torch.from_numpy(np.random.default_rng(0).random((1, channels, parts), dtype=np.float32))
    return torch.nn.functional.normalize(drawn, dim=1).repeat(pictures * groups, 1, 1)


def sum_up_then_enlarge(head):
    """Let a mask classifier answer as in segnb: logarithms of scores, enlarged; MMSegmentation enlarges each mask."""

    def predict(features, metas, _):
        samples = [SegDataSample(metainfo={**meta, "batch_input_shape": meta["img_shape"]}) for meta in metas]
        classes, masks = head(features, samples)
        scores = torch.einsum("bqk,bqhw->bkhw", classes[-1].softmax(-1)[..., :-1], masks[-1].sigmoid())
        return torch.nn.functional.interpolate(scores.clamp(min=1e-6).log(), metas[0]["img_shape"], mode="bilinear")

    head.predict = predict


def build(method):
    """A model with the weights that follow from its names."""
    of = method if method in METHODS else method.partition("-")[0]
    model_config = Config.fromfile(CONFIGS / {**HEADS, **METHODS}[of]).model
    walk(model_config, simplify)
    model_config.pop("data_preprocessor", None)
    if method in ("segmenter", "fcn-linear"):
        model_config.backbone["patch_bias"] = True  # as in the released weights; version 1.2 dropped it
    if method == "ocrnet":
        model_config.backbone = RESNET
        for head in model_config.decode_head:
            head["in_channels"] = LEVELS
        model_config.decode_head[0]["channels"] = sum(LEVELS)
    if method.startswith("setr"):
        put_setr(model_config, on_transformer=method.endswith("-vit"))
    if method in BACKBONES:
        put_backbone(model_config, method)
    model = MODELS.build(model_config).eval()
    if method.partition("-")[0] in ("maskformer", "mask2former"):
        sum_up_then_enlarge(model.decode_head)
    if method.startswith("segnext"):
        model.decode_head.hamburger.ham._build_bases = draw_parts
    if method == "setr":  # a transformer's maps are of one size; others are brought to that of the finest
        for project in model.neck.mla.channel_proj:
            project.register_forward_hook(
                lambda _, __, x: torch.nn.functional.interpolate(x, (16, 24), mode="bilinear")
            )
    state = {
        name: torch.from_numpy(make_tensor(name, tuple(t.shape))) if t.is_floating_point() else t
        for name, t in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model


def main():
    """Build, answer, write."""
    out, *wanted = sys.argv[1:]
    Path(out).mkdir(parents=True, exist_ok=True)
    init_default_scope("mmseg")
    for method in wanted or [*METHODS, *BACKBONES]:
        model = build(method)
        size = BACKBONES[method][2] if method in BACKBONES else (64, 96)
        with torch.no_grad():
            logits = model.encode_decode(torch.from_numpy(make_image(*size)), [{"img_shape": size, "ori_shape": size}])
        shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
        parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        np.savez_compressed(
            Path(out) / f"{method}.npz",
            shapes=np.array(json.dumps(shapes)),
            parameters=parameters,
            size=size,
            logits=logits[0, :, ::4, ::4].numpy(),
        )
        print(f"{method}: {parameters:,} parameters, logits of size {logits.abs().max():.3g}")


main()
