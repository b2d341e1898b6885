"""Every architecture can learn by heart: eight street scenes, a small encoder, a bounded number of steps."""

import albumentations as A
import pytest
import torch
from building import build_any, training_loss

import segnb
from segnb.losses import get_loss
from segnb.metrics import ConfusionMatrix
from segnb.models import list_models

STEPS, LR = 240, 1e-2
LRS = {"knet": 4e-3, "maskformer": 5e-3, "mask2former": 3e-3, "eomt": 3e-3}  # of transformer layers
CROP = (48, 64)
# What is learnt by heart must not be thinner than a pixel of the logits: crops are enlarged for those of stride 8.
OF_STRIDE_8 = ("nonlocalnet", "dnlnet", "gcnet", "ccnet", "danet", "emanet", "isanet", "ann", "apcnet", "dmnet")
OF_STRIDE_8 += ("psanet", "encnet", "fastfcn", "segnext")
NETWORKS_OF_STRIDE_8 = ("bisenetv1", "bisenetv2", "cgnet", "ddrnet", "fastscnn", "icnet", "pidnet", "stdc")
SIZES = dict.fromkeys(("fcn", "lraspp", "pspnet", "deeplabv3", *OF_STRIDE_8, *NETWORKS_OF_STRIDE_8), (128, 176))
SIZES |= dict.fromkeys(("maskformer", "mask2former"), (96, 128))
SIZES["segmenter"] = (160, 220)  # normalised over the classes, its logits tell no edge within a patch
# Narrow decoders, where the papers' are made for large encoders.
OPTIONS = {
    "bisenetv1": {"width": 32},
    "bisenetv2": {"width": 16},
    "deeplabv3": {"decoder_channels": 48},
    "deeplabv3plus": {"decoder_channels": 48},
    "knet": {"width": 64},
    "eomt": {"queries": 20, "blocks": 2},
    "mask2former": {"layers": 2},
    "dpt": {"encoder_name": "test_vit", "decoder_intermediate_channels": (32,) * 4, "decoder_fusion_channels": 48},
    "fpn": {"decoder_pyramid_channels": 64, "decoder_segmentation_channels": 64},
    "pointrend": {
        "decoder_options": {"decoder_pyramid_channels": 64, "decoder_segmentation_channels": 64},
        "width": 64,
        "points": 1000,
        "train_points": 500,
    },
    "pspnet": {"psp_out_channels": 64},
    "segformer": {"decoder_segmentation_channels": 64},
    "segmenter": {"width": 64, "encoder_output_stride": 8, "drop_path": 0.0},
    "unetplusplus": {"decoder_channels": (64, 48, 32, 24, 16)},
    "upernet": {"decoder_channels": 48},
    **{arch: {"width": 64} for arch in (*OF_STRIDE_8, "ocrnet", "setr")},
    "psanet": {"width": 64, "mask_size": 21},
}


def eight_scenes(size):
    train, _ = segnb.load_sample("street")
    data = train.subset(range(8)).with_transform(A.Compose([A.CenterCrop(*CROP), A.Resize(*size)]))
    images, labels = zip(*(data[index] for index in range(8)), strict=True)
    return torch.stack(images), torch.stack(labels), train.classes


def miou(model, images, labels):
    counts = ConfusionMatrix(model.num_classes)
    with torch.no_grad():
        counts.update(model.eval()(images).argmax(1), labels)
    return counts.miou()


# One of each family in every run; the others take minutes, and belong to `make parity`.
ALWAYS = ("unet", "deeplabv3plus", "segformer", "ocrnet", "maskformer", "fastscnn")
EACH = [arch if arch in ALWAYS else pytest.param(arch, marks=pytest.mark.long) for arch in list_models()]


@pytest.mark.parametrize("arch", EACH)
def test_it_learns_eight_scenes_by_heart(arch):
    images, labels, classes = eight_scenes(SIZES.get(arch, (64, 88)))
    torch.manual_seed(0)
    model, loss = build_any(arch, classes=classes, **OPTIONS.get(arch, {})), get_loss("ce+dice")
    rate = LRS.get(arch, LR)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=STEPS)
    best = 0.0
    for step in range(1, STEPS + 1):
        outputs = model.train().forward_all(images)
        training_loss(model, outputs, labels, loss).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 20 == 0:
            best = max(best, miou(model, images, labels))
            if best >= 0.9:
                return
    pytest.fail(f"{arch} reached an mIoU of {best:.3f} after {STEPS} steps")
