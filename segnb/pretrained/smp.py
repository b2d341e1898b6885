"""Checkpoints of SMP, segmentation_models.pytorch: what `save_pretrained` wrote, and bare state dicts."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from segnb.decoders import DECODERS
from segnb.errors import SegnbError
from segnb.models import create_model
from segnb.pretrained import mit, smp_encoders
from segnb.pretrained.card import read_card
from segnb.pretrained.checkpoint import Checkpoint, read_weights, rename
from segnb.pretrained.layouts import as_kernel, split_readouts

SOURCE = "segmentation_models.pytorch"

# SMP's name of each tensor -> ours, as patterns tried in order. \1, \2 are layer numbers and the rest of the name.
ENCODER = [(r"^encoder\.(model\.)?", "encoder.backbone.")]
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
        (r"decoder\.blocks\.(\d+)\.block\.1\.", r"decoder.steps.\1.enlarge."),
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
    "pan": [
        (r"\.conv\.", ".0."),
        (r"\.bn\.", ".1."),
        (r"decoder\.fpa\.branch1\.", "decoder.attend.summarise."),
        (r"decoder\.fpa\.mid\.0\.", "decoder.attend.project."),
        (r"decoder\.fpa\.down1\.1\.", "decoder.attend.down.0."),
        (r"decoder\.fpa\.down2\.1\.", "decoder.attend.down.1."),
        (r"decoder\.fpa\.down3\.1\.", "decoder.attend.down.2.0."),
        (r"decoder\.fpa\.down3\.2\.", "decoder.attend.down.2.1."),
        (r"decoder\.fpa\.conv1\.", "decoder.attend.up.0."),
        (r"decoder\.fpa\.conv2\.", "decoder.attend.up.1."),
        *((rf"decoder\.gau{i}\.conv1\.", f"decoder.climb.{i - 1}.choose.") for i in (1, 2, 3)),
        *((rf"decoder\.gau{i}\.conv2\.", f"decoder.climb.{i - 1}.project.") for i in (1, 2, 3)),
        (r"segmentation_head\.0\.", "decoder.classify."),
    ],
    "pspnet": [
        (r"decoder\.psp\.blocks\.(\d)\.pool\.1\.", r"decoder.look.\1."),
        (r"decoder\.conv\.", "decoder.mix."),
        (r"segmentation_head\.0\.", "decoder.classify.1."),
    ],
    "deeplabv3": [
        (r"decoder\.(aspp|0)\.project\.", "decoder.pool.project.0."),  # numbers: older versions of SMP
        (r"decoder\.(aspp|0)\.", "decoder.pool."),
        (r"decoder\.(conv|1)\.", "decoder.refine.0."),
        (r"decoder\.(bn|2)\.", "decoder.refine.1."),
        (r"segmentation_head\.0\.", "decoder.classify."),
    ],
    "deeplabv3plus": [
        (r"decoder\.aspp\.0\.project\.", "decoder.pool.project.0."),
        (r"decoder\.aspp\.0\.", "decoder.pool."),
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
    "upernet": [
        (r"decoder\.feature_norms\.", "decoder.level_norms."),
        (r"decoder\.psp\.blocks\.(\d)\.1\.", r"decoder.pool.look.\1."),
        (r"decoder\.psp\.out_conv\.", "decoder.pool.mix."),
        (r"decoder\.fpn_lateral_blocks\.(\d)\.conv_norm_relu\.", r"decoder.project.\1."),
        (r"decoder\.fpn_conv_blocks\.", "decoder.refine."),
        (r"decoder\.fusion_block\.", "decoder.mix."),
        (r"segmentation_head\.0\.", "decoder.classify."),
    ],
    "dpt": [
        (r"decoder\.projection_blocks\.(\d)\.project\.0\.", r"decoder.tell.\1.both."),
        (r"decoder\.reassemble_blocks\.", "decoder.reassemble."),
        (r"\.project_to_out_channel\.", ".0."),
        (r"\.upsample\.", ".1."),
        (r"\.project_to_feature_dim\.", ".2."),
        (r"decoder\.fusion_blocks\.(\d)\.residual_conv_block1\.", r"decoder.refine.\1."),
        (r"decoder\.fusion_blocks\.(\d)\.residual_conv_block2\.", r"decoder.merge.\1.0."),
        (r"decoder\.fusion_blocks\.(\d)\.project\.", r"decoder.merge.\1.1."),
        (r"\.conv_1\.", ".1."),
        (r"\.batch_norm_1\.", ".2."),
        (r"\.conv_2\.", ".4."),
        (r"\.batch_norm_2\.", ".5."),
        (r"segmentation_head\.head\.([01])\.", r"decoder.mix.\1."),
        (r"segmentation_head\.head\.4\.", "decoder.classify.1."),
    ],
}


def convert(
    arch: str, tensors: dict[str, Tensor], encoder_name: str | None = None, encoder_depth: int = 5
) -> dict[str, Tensor]:
    """Rename the tensors of an SMP checkpoint to segnb's names.

    Args:
        arch: architecture, as in `create_model`.
        tensors: SMP's ``model.state_dict()``.
        encoder_name: SMP's, needed for its own encoders whose tensors have other names than timm's.
        encoder_depth: needed for the same: SMP keeps the layers that a shallower model leaves unused.

    Returns:
        A state dict for the segnb model of the same architecture, encoder, channels and classes.

    Raises:
        SegnbError: the architecture's keys are not known.
    """
    if arch not in KEYS:
        raise SegnbError(f"SMP's checkpoints of {arch!r} cannot be read yet; those of {', '.join(KEYS)} can.")
    renamed = {}
    if encoder_name is not None and smp_encoders.is_own(encoder_name, tensors):
        encoder = {name: tensor for name, tensor in tensors.items() if name.startswith("encoder.")}
        tensors = {name: tensor for name, tensor in tensors.items() if name not in encoder}
        renamed = smp_encoders.translate(encoder_name, encoder, encoder_depth)
    for name, tensor in (mit.from_smp(tensors, encoder_depth) if mit.is_from_smp(tensors) else tensors).items():
        if name.startswith("encoder."):
            renamed[rename(name, ENCODER)] = tensor
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
            turned[f"decoder.project.{level}.{kind}"] = as_kernel(tensor) if kind == "weight" else tensor
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


def _of_dilated_windows(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Turn DeepLab's ``pool.convs`` into windows and a summary; a separable window has its convolutions one level deeper."""
    separable = "decoder.pool.convs.1.0.0.weight" in tensors
    windows = [(r"convs\.([123])\.1\.", r"look.\1.2."), (r"convs\.([123])\.0\.([01])\.", r"look.\1.\2.")]
    patterns = [
        (r"convs\.4\.1\.", "summarise.1.0."),
        (r"convs\.4\.2\.", "summarise.1.1."),
        *(windows if separable else []),
        (r"convs\.", "look."),
    ]
    return {rename(name, patterns) if name.startswith("decoder.pool.") else name: t for name, t in tensors.items()}


def _fold_lone_norm(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make one convolution with a bias of the only one that SMP's UPerNet normalises with ``decoder_use_norm=False``."""
    conv, norm = "decoder.pool.mix.0", "decoder.pool.mix.1"
    if "decoder.mix.0.bias" not in tensors or f"{norm}.running_var" not in tensors:
        return tensors
    folded = {name: tensor for name, tensor in tensors.items() if not name.startswith(norm)}
    gain = tensors[f"{norm}.weight"] / (tensors[f"{norm}.running_var"] + 1e-5).sqrt()
    folded[f"{conv}.weight"] = tensors[f"{conv}.weight"] * gain[:, None, None, None]
    folded[f"{conv}.bias"] = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * gain
    return folded


def _of_vision_transformer(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put DPT's transformer where timm's wrapper of plain ones has it, without the classifier and what leads to it."""
    kept = {}
    for name, tensor in split_readouts(tensors).items():
        if not re.match(r"encoder\.backbone\.(norm|fc_norm|attn_pool|head)\.", name):
            kept[re.sub(r"^encoder\.backbone\.", "encoder.backbone.model.", name)] = tensor
    return kept


# What renaming alone cannot do.
AFTERWARDS: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    "unet": _without_idle_attention,
    "unetplusplus": _into_climbs,
    "segformer": _fine_to_coarse,
    "deeplabv3": _of_dilated_windows,
    "deeplabv3plus": _of_dilated_windows,
    "upernet": _fold_lone_norm,
    "dpt": _of_vision_transformer,
}
# SMP's class -> our architecture.
ARCHITECTURES = {
    "Unet": "unet",
    "UnetPlusPlus": "unetplusplus",
    "Linknet": "linknet",
    "MAnet": "manet",
    "FPN": "fpn",
    "PAN": "pan",
    "PSPNet": "pspnet",
    "DeepLabV3": "deeplabv3",
    "DeepLabV3Plus": "deeplabv3plus",
    "Segformer": "segformer",
    "UPerNet": "upernet",
    "DPT": "dpt",
}
# What SMP always does and segnb, by default, does not.
SMP_DEFAULTS: dict[str, dict[str, Any]] = {
    "manet": {"scrambled_attention": True},
    "fpn": {"align_corners": True},
    "pan": {"align_corners": True},
    "pspnet": {"align_corners": True, "encoder_depth": 3, "encoder_output_stride": 32},
    "deeplabv3": {"align_corners": True},
    "deeplabv3plus": {"align_corners": True},
    "segformer": {"align_corners": True},
    "upernet": {"align_corners": True},
    "dpt": {"align_corners": True},
}
# Architectures that dilate their encoder.
DILATED = {"deeplabv3", "deeplabv3plus", "pan"}
# Options that mean the same in both libraries are handed on; these are SMP's alone.
DROPPED = {"activation", "upsampling", "encoder_weights", "_model_class"}


def options_for(arch: str, tensors: Mapping[str, Tensor], depth: int) -> dict[str, Any]:
    """Find the options that SMP's weights need and its config does not say."""
    options = dict(SMP_DEFAULTS.get(arch, {}))
    if arch == "unet" and any(name.startswith("decoder.center.") for name in tensors):
        options["decoder_center_block"] = True
    if arch == "segformer":
        levels = sum(bool(re.fullmatch(r"decoder\.(project|mlp_stage)\..*bias", name)) for name in tensors)
        options["stem"] = levels == depth  # with one more at stride 2
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
    options = {name: value for name, value in config.items() if name not in DROPPED and value is not None}
    if "decoder_use_batchnorm" in options:  # its name before SMP 0.5
        options["decoder_use_norm"] = options.pop("decoder_use_batchnorm")
    tensors, depth = read_weights(folder, "SMP"), options.get("encoder_depth", 5)
    options = with_timm_name({"arch": arch, **options}, tensors)
    tensors = convert(arch, tensors, config["encoder_name"], depth)
    options = {**options_for(arch, tensors, depth), **options}
    if arch == "dpt":  # SMP counts levels, of stride 4 and more
        options["encoder_depth"] = options.get("encoder_depth", 4) + 1
    return Checkpoint(with_encoder_options(options), tensors, notes={"source": SOURCE, **read_card(folder)})


def with_timm_name(options: dict[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Name timm's encoder instead of SMP's, with the options that make it compute the same."""
    name = options.get("encoder_name", "resnet34")
    if not smp_encoders.is_own(name, tensors):
        return {**options, "encoder_name": name.removeprefix("tu-")}
    dilated = options["arch"] in DILATED and options.get("encoder_output_stride", 16) < 32
    name, settings = smp_encoders.twin(name, dilated)
    settings = {**settings, **options.get("encoder_options", {})}
    return {**options, "encoder_name": name, **({"encoder_options": settings} if settings else {})}


def with_encoder_options(options: dict[str, Any]) -> dict[str, Any]:
    """Gather what SMP hands on to timm, such as ``img_size``, in ``encoder_options``."""
    decoder = inspect.signature(DECODERS[options["arch"]]).parameters
    ours = {*inspect.signature(create_model).parameters, *decoder}
    for_timm = {name for name in options if name not in ours and not name.startswith(("decoder_", "encoder_"))}
    rest = {name: value for name, value in options.items() if name not in for_timm}
    # Encoders here take pictures of any size without being asked.
    settings = {name: options[name] for name in for_timm - {"dynamic_img_size", "strict_img_size"}}
    return {**rest, "encoder_options": {**rest.get("encoder_options", {}), **settings}} if settings else rest


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
    depth = config.get("encoder_depth", 5)
    options = {"classes": len(head), **options_for(config["arch"], tensors, depth), **config}
    name, depth = options.get("encoder_name", "resnet34"), options.get("encoder_depth", depth)
    converted = convert(options["arch"], tensors, name, depth)
    return Checkpoint(with_timm_name(options, tensors), converted, notes={"source": SOURCE})
