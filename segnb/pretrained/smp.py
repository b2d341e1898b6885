"""Checkpoints of SMP, segmentation_models.pytorch: what `save_pretrained` wrote, and bare state dicts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from segnb.encoders import read_tensors
from segnb.errors import SegnbError
from segnb.pretrained.checkpoint import Checkpoint, rename

# SMP's name of each tensor -> ours, as patterns tried in order. \1, \2 are layer numbers and the rest of the name.
U_STEP = [
    (r"\.conv1\.", ".mix.0."),
    (r"\.conv2\.", ".mix.1."),
    (r"\.attention1\.attention\.", ".weigh_joined."),
    (r"\.attention2\.attention\.", ".weigh_mixed."),
    (r"\.cSE\.", ".weigh_channels."),
    (r"\.sSE\.", ".weigh_pixels."),
    (r"segmentation_head\.0\.", "decoder.classify."),
]
KEYS: dict[str, list[tuple[str, str]]] = {
    "unet": U_STEP,
    "unetplusplus": U_STEP,
    "linknet": [
        (r"decoder\.blocks\.(\d+)\.block\.0\.", r"decoder.steps.\1.narrow."),
        (r"decoder\.blocks\.(\d+)\.block\.1\.", r"decoder.steps.\1.double."),
        (r"decoder\.blocks\.(\d+)\.block\.2\.", r"decoder.steps.\1.widen."),
        (r"segmentation_head\.0\.", "decoder.classify."),
    ],
    "manet": [
        (r"decoder\.center\.center_conv\.", "decoder.attend.query."),
        (r"decoder\.center\.top_conv\.", "decoder.attend.key."),
        (r"decoder\.center\.bottom_conv\.", "decoder.attend.value."),
        (r"decoder\.center\.out_conv\.", "decoder.attend.mix."),
        (r"decoder\.blocks\.", "decoder.steps."),
        (r"\.hl_conv\.", ".project."),
        (r"\.SE_hl\.", ".weigh_by_coarse."),
        (r"\.SE_ll\.", ".weigh_by_skip."),
        *U_STEP,
    ],
    "fpn": [
        (r"decoder\.p5\.", "decoder.project.3."),
        (r"decoder\.p4\.skip_conv\.", "decoder.project.2."),
        (r"decoder\.p3\.skip_conv\.", "decoder.project.1."),
        (r"decoder\.p2\.skip_conv\.", "decoder.project.0."),
        *((rf"decoder\.seg_blocks\.{i}\.block\.(\d+)\.block\.", rf"decoder.branches.{3 - i}.\1.") for i in range(4)),
        (r"segmentation_head\.0\.", "decoder.classify.1."),
    ],
    "deeplabv3plus": [
        (r"decoder\.aspp\.0\.convs\.([123])\.0\.([01])\.", r"decoder.pool.look.\1.\2."),
        (r"decoder\.aspp\.0\.convs\.([123])\.1\.", r"decoder.pool.look.\1.2."),
        (r"decoder\.aspp\.0\.convs\.0\.", "decoder.pool.look.0."),
        (r"decoder\.aspp\.0\.convs\.4\.1\.", "decoder.pool.summarise.1.0."),
        (r"decoder\.aspp\.0\.convs\.4\.2\.", "decoder.pool.summarise.1.1."),
        (r"decoder\.aspp\.0\.project\.", "decoder.pool.project.0."),
        (r"decoder\.aspp\.1\.", "decoder.refine."),
        (r"decoder\.aspp\.2\.", "decoder.refine.2."),
        (r"decoder\.block1\.", "decoder.project."),
        (r"decoder\.block2\.0\.([01])\.", r"decoder.mix.\1."),
        (r"decoder\.block2\.1\.", "decoder.mix.2."),
        (r"segmentation_head\.0\.", "decoder.classify."),
    ],
    "segformer": [
        (r"decoder\.mlp_stage\.(\d+)\.linear\.", r"decoder.project.\1."),
        (r"decoder\.fuse_stage\.", "decoder.mix."),
        (r"segmentation_head\.0\.", "decoder.classify.1."),
    ],
}


def convert(arch: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of an SMP checkpoint to segnb's names.

    Args:
        arch: architecture, as in `create_model`.
        tensors: SMP's ``model.state_dict()``.

    Returns:
        A state dict for the segnb model of the same architecture, encoder, channels and classes.

    Raises:
        SegnbError: the architecture's keys are not known.
    """
    if arch not in KEYS:
        raise SegnbError(f"SMP's checkpoints of {arch!r} cannot be read yet; those of {', '.join(KEYS)} can.")
    renamed = {}
    for name, tensor in tensors.items():
        if name.startswith("encoder."):
            name = re.sub(r"^encoder\.(model\.)?", "encoder.backbone.", name)
            renamed[re.sub(r"\.features\.(\d+)\.(?=\w+$)", r".features_\1.", name)] = tensor  # VGG
        elif name.startswith("classification_head."):
            renamed[name.replace("classification_head.", "image_head.")] = tensor
        else:
            renamed[rename(name, KEYS[arch])] = tensor
    return AFTERWARDS.get(arch, dict)(renamed)


def _fine_to_coarse(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Turn SMP's linear layers, coarse first, into 1×1 convolutions, fine first."""
    levels = sum(bool(re.fullmatch(r"decoder\.project\.\d+\.bias", name)) for name in tensors)
    turned = {}
    for name, tensor in tensors.items():
        if match := re.fullmatch(r"decoder\.project\.(\d+)\.(weight|bias)", name):
            level, kind = levels - 1 - int(match[1]), match[2]
            turned[f"decoder.project.{level}.{kind}"] = tensor[..., None, None] if kind == "weight" else tensor
        else:
            turned[name] = tensor
    return turned


def _without_idle_attention(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out what U-Net's last step would weigh its skip with, if it had one: never trained."""
    steps = {int(match[1]) for name in tensors if (match := re.match(r"decoder\.blocks\.(\d+)\.", name))}
    idle = f"decoder.blocks.{max(steps, default=0)}.weigh_joined."
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(idle)}


def _into_climbs(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Turn UNet++'s ``blocks.x_{diagonal}_{size}``, deepest and coarsest first, into climbs, shallowest first.

    What SMP makes and never uses is left out: what the last step would weigh its skip with, a center block for VGG encoders.
    """
    sizes = {int(match[1]) for name in tensors if (match := re.match(r"decoder\.blocks\.x_\d_(\d)\.", name))}
    last, turned = max(sizes, default=0), {}
    for name, tensor in tensors.items():
        if match := re.match(r"decoder\.blocks\.x_(\d)_(\d)\.(.+)", name):
            diagonal, size, rest = int(match[1]), int(match[2]), match[3]
            if size < last:
                turned[f"decoder.climbs.{last - 1 - diagonal}.{size - diagonal}.{rest}"] = tensor
            elif not rest.startswith("weigh_joined."):
                turned[f"decoder.finish.{rest}"] = tensor
        elif not name.startswith("decoder.center."):
            turned[name] = tensor
    return turned


# What renaming alone cannot do.
AFTERWARDS: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    "unet": _without_idle_attention,
    "unetplusplus": _into_climbs,
    "segformer": _fine_to_coarse,
}
# SMP's class -> our architecture.
ARCHITECTURES = {
    "Unet": "unet",
    "UnetPlusPlus": "unetplusplus",
    "Linknet": "linknet",
    "MAnet": "manet",
    "FPN": "fpn",
    "DeepLabV3Plus": "deeplabv3plus",
    "Segformer": "segformer",
}
# What SMP always does and segnb, by default, does not.
SMP_DEFAULTS: dict[str, dict[str, Any]] = {
    "manet": {"scrambled_attention": True},
}
# Options that mean the same in both libraries are handed on; these are SMP's alone.
DROPPED = {"activation", "upsampling", "encoder_weights", "_model_class"}


def options_for(arch: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Find the options that SMP's weights need and its config does not say."""
    options = dict(SMP_DEFAULTS.get(arch, {}))
    if arch == "unet" and any(name.startswith("decoder.center.") for name in tensors):
        options["decoder_center_block"] = True
    return options


def read_folder(folder: Path, config: dict[str, Any]) -> Checkpoint:
    """Read a folder that SMP's ``model.save_pretrained`` wrote.

    Args:
        folder: holds ``model.safetensors`` or ``pytorch_model.bin``.
        config: content of its config.json.

    Raises:
        SegnbError: an architecture or encoder that segnb does not have.
    """
    kind = config["_model_class"]
    if kind not in ARCHITECTURES:
        raise SegnbError(
            f"{str(folder)!r} holds SMP's {kind}, which segnb does not have; it has {', '.join(ARCHITECTURES)}."
        )
    arch = ARCHITECTURES[kind]
    found = next(
        (folder / name for name in ("model.safetensors", "pytorch_model.bin") if (folder / name).is_file()), None
    )
    if found is None:
        raise SegnbError(f"{str(folder)!r} has SMP's config.json but neither model.safetensors nor pytorch_model.bin.")
    options = {name: value for name, value in config.items() if name not in DROPPED and value is not None}
    options["encoder_name"] = options["encoder_name"].removeprefix("tu-")
    if "decoder_use_batchnorm" in options:  # its name before SMP 0.5
        options["decoder_use_norm"] = options.pop("decoder_use_batchnorm")
    tensors = convert(arch, read_tensors(found))
    options = {"arch": arch, **options_for(arch, tensors), **options}
    return Checkpoint(options, tensors, notes={"source": "segmentation_models.pytorch"})


def read_state_dict(path: Path, tensors: dict[str, Tensor], config: dict[str, Any]) -> Checkpoint:
    """Read a bare ``model.state_dict()`` of SMP, given the keywords of `create_model` that it does not say.

    Raises:
        SegnbError: ``arch`` is not given.
    """
    if "arch" not in config:
        raise SegnbError(
            f"{str(path)!r} holds the weights of an SMP model but not its options: pass arch, encoder_name and, where they "
            "are not the usual ones, further options, as in segnb.load_model(path, arch='unet', encoder_name='resnet34')."
        )
    head = next(
        tensor for name, tensor in tensors.items() if name.startswith("segmentation_head.") and name.endswith("bias")
    )
    options = {"classes": len(head), **options_for(config["arch"], tensors), **config}
    options["encoder_name"] = options.get("encoder_name", "resnet34").removeprefix("tu-")
    return Checkpoint(options, convert(options["arch"], tensors), notes={"source": "segmentation_models.pytorch"})
