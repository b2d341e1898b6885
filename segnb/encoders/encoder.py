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

import inspect
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segnb.blocks import crop
from segnb.encoders.blocks import WithNorm, is_plain_transformer, take_last_blocks
from segnb.encoders.convolutions import with_plain_padding, without_idle_dilation
from segnb.encoders.levels import choose_levels, given_levels
from segnb.encoders.names import check_name, timm_name
from segnb.encoders.necks import make_level_necks, make_level_norms
from segnb.encoders.sizes import ODD_SIZES, accepted_sizes, is_channels_last, map_shapes, reductions_of, shrunk
from segnb.encoders.taps import Tapped
from segnb.encoders.training import accept_one_picture, freeze_idle
from segnb.encoders.variants import CHANGES, change
from segnb.encoders.weights import build
from segnb.errors import SegnbError

# timm would report, each time, the classifier of the checkpoint that an encoder has no use for.
logging.getLogger("timm.models._builder").setLevel(logging.ERROR)

# Options that are not timm's.
TWEAKS = ("taps", "pad_windows", "padded_for", "level_norms", "level_necks", "own_sizes", *CHANGES)
# Keywords with which timm's transformers accept pictures of any size, tried in this order.
ANY_SIZE_OPTIONS: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})


class Encoder(nn.Module):
    """A timm backbone as a feature pyramid.

    Args:
        name: a timm model name, with or without a ``.tag``; or SegFormer's ``mit_b0`` to ``mit_b5``, or SegNeXt's ``mscan_t``,
            ``mscan_s``, ``mscan_b`` and ``mscan_l``.
        weights: ``"imagenet"`` (timm's default tag), another timm tag, a local file of weights, or None for random ones.
        in_channels: channels of the image; pretrained first convolutions are adapted, as timm does.
        strides: the requested levels, by the stride they have without dilation, ascending.
        output_stride: the largest stride that a returned map may have: kept by dilation where the backbone can (Yu and
            Koltun, ICLR 2016, https://arxiv.org/abs/1511.07122), by enlarging elsewhere.
        indices: the backbone's own levels to return, instead of the ones that fit the strides best.
        raw: return the maps at the sizes the backbone makes them, and after them its prefix tokens, (B, tokens, C) for each
            level, if it has any; the image must have a size that the backbone accepts, see `pad`.
        lends_blocks: whether `lend_blocks` will be called; the backbone must be a plain vision transformer then.
        options: keywords for timm; and ``dilate_first``: whether a dilated stage is dilated from its first convolution on
            (timm starts at the second block); ``layer_norm_eps``: of every layer normalisation; ``level_norms``: levels, by
            their stride, whose maps a layer normalisation over the channels follows; ``level_necks``: see
            `segnb.encoders.necks`; ``own_sizes``: whether levels keep the sizes that the backbone makes; ``taps`` and
            ``pad_windows``: see `Tapped`; ``padded_for``: see `with_plain_padding`; and those of
            `segnb.encoders.variants.CHANGES`.

    Attributes:
        name: the name with which to build the same encoder again, with the tag that was asked for.
        levels: the requested strides; ``strides``: those of the returned maps, where dilation or enlarging caps them.
        channels: channels of each returned map, as requested; 0 for a stride below 4 that the backbone lacks.
        reductions: stride of each level as the backbone makes it, before any resizing; 0 for a level that it lacks.
        prefix_tokens: number of tokens that follow each map if ``raw`` (class tokens, registers).
        native: (H, W) of the pictures that the backbone was made for.
        mean, std: the statistics the weights were trained with, one value per image channel, for pixels scaled to 0..1.

    Raises:
        SegnbError: the name is unknown, or the weights cannot be had; the message names the ways out.
    """

    def __init__(
        self,
        name: str,
        weights: str | None,
        in_channels: int,
        strides: Sequence[int],
        *,
        output_stride: int = 32,
        indices: Sequence[int] | None = None,
        raw: bool = False,
        lends_blocks: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.name, weights = check_name(name, weights)
        self.levels = tuple(strides)
        self.raw = raw
        source, own = timm_name(self.name)
        keywords = {"in_chans": in_channels, **own, **(options or {})}
        tweaks = {key: keywords.pop(key, None) for key in TWEAKS}
        if tweaks["taps"]:
            keywords["feature_cls"] = partial(Tapped, taps=tweaks["taps"], pad_windows=bool(tweaks["pad_windows"]))
        keywords, blueprint = plan(source, keywords)
        change(blueprint, tweaks)  # what sizes it accepts may depend on them
        self.native = native_size(blueprint)
        shapes = map_shapes(blueprint, in_channels, self.native)
        found = reductions_of(blueprint, shapes, self.native)
        levels = choose_levels(found, strides) if indices is None else given_levels(indices, found, strides, name)
        if output_stride < max(strides):
            if tweaks["taps"]:
                keywords["feature_cls"] = partial(keywords["feature_cls"], output_stride=output_stride)
            keywords, blueprint = plan(source, keywords, 32 if tweaks["taps"] else output_stride)
            change(blueprint, tweaks)
            shapes = map_shapes(blueprint, in_channels, self.native)
            found = reductions_of(blueprint, shapes, self.native)
        if not any(found[level] for level in levels if level is not None):
            raise SegnbError(
                f"encoder {name!r} has no map of stride {max(strides)} or less: give a larger encoder_depth, or another encoder."
            )
        used = sorted({level for level in levels if level is not None})
        keywords["out_indices"] = tuple(blueprint.feature_info.out_indices[level] for level in used)
        if lends_blocks:
            if not is_plain_transformer(blueprint):
                raise SegnbError(
                    f"encoder {name!r} is no plain vision transformer, whose last blocks the decoder takes over: choose another, "
                    "such as 'vit_small_patch14_reg4_dinov2'."
                )
            keywords["feature_cls"] = WithNorm
        backbone = with_plain_padding(build(source, weights, keywords), tweaks["padded_for"])
        change(backbone, tweaks)
        accept_one_picture(backbone)
        self.backbone = without_idle_dilation(backbone)
        self.positions = [None if level is None else used.index(level) for level in levels]
        self.channels = [0 if level is None else shapes[level][0] for level in levels]
        self.reductions = [0 if level is None else found[level] for level in levels]
        self.strides = tuple(
            (tweaks["own_sizes"] and reduction) or min(stride, output_stride)
            for stride, reduction in zip(strides, self.reductions, strict=True)
        )
        sizes = {level: channels for level, channels in zip(self.levels, self.channels, strict=True) if channels}
        self.level_norms = make_level_norms(self.backbone, sizes, tweaks["level_norms"])
        self.level_necks = make_level_necks(sizes, max(self.reductions), tweaks["level_necks"])
        self.requires_grad_()
        self.prefix_tokens = count_prefix_tokens(self.backbone)
        config = blueprint.pretrained_cfg
        self.mean = spread(config["mean"], in_channels)
        self.std = spread(config["std"], in_channels)
        self.channels_last = is_channels_last(blueprint)
        self.multiple, self.smallest, self.fixed_size = accepted_sizes(
            blueprint, in_channels, [shape[0] for shape in shapes], found, self.native
        )
        self.exact = self._exact_levels(blueprint, levels)

    def requires_grad_(self, requires_grad: bool = True) -> Encoder:
        """Let the encoder learn or not; what gets no gradient anyway never does."""
        super().requires_grad_(requires_grad)
        freeze_idle(self.backbone)
        return self

    def _finish(self, level: int, x: Tensor) -> Tensor:
        """Normalise the map of a level, and bring it to its size, if that is asked for."""
        name = f"stride{level}"
        for layers in (self.level_norms, self.level_necks):
            x = layers[name](x) if name in layers else x
        return x

    def _exact_levels(self, blueprint: nn.Module, levels: Sequence[int | None]) -> list[bool]:
        """Find the levels whose map has ⌈H/s⌉ × ⌈W/s⌉ pixels by itself, so that an exported graph need not ask."""
        if self.fixed_size:
            return [False] * len(levels)
        probes = ODD_SIZES if self.multiple == 1 else ((3 * self.multiple, 5 * self.multiple),)
        traces = [(probe, map_shapes(blueprint, len(self.mean), probe)) for probe in probes]
        return [
            level is not None
            and not self.level_necks
            and all(shapes[level][1:] == shrunk(probe, stride) for probe, shapes in traces)
            for level, stride in zip(levels, self.strides, strict=True)
        ]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Compute the pyramid of (B, in_channels, H, W): one (B, C_s, ⌈H/s⌉, ⌈W/s⌉) for each requested stride s."""
        padded = image if self.raw else self.pad(image)
        if self.fixed_size:
            padded = F.interpolate(image, size=self.fixed_size, mode="bilinear", align_corners=False)
        if self.raw:
            return self._forward_raw(padded)
        maps = self.backbone(padded)
        pyramid = []
        for level, stride, position, exact in zip(self.levels, self.strides, self.positions, self.exact, strict=True):
            rows, columns = shrunk(image.shape[-2:], stride)
            if position is None:
                pyramid.append(image.new_zeros(image.shape[0], 0, rows, columns))
                continue
            x = maps[position].permute(0, 3, 1, 2).contiguous() if self.channels_last else maps[position]
            x = self._finish(level, x)
            if self.fixed_size:
                x = F.interpolate(x, size=(rows, columns), mode="bilinear", align_corners=False)
            elif not exact:
                x = F.interpolate(x, size=shrunk(padded.shape[-2:], stride), mode="bilinear", align_corners=False)
            pyramid.append(x if padded is image else crop(x, rows, columns))
        return pyramid

    def _forward_raw(self, image: Tensor) -> list[Tensor]:
        """Return the maps, and then the prefix tokens, as the backbone makes them."""
        if not self.prefix_tokens:
            maps, tokens = self.backbone(image), []
        else:
            pairs = self.backbone.model.forward_intermediates(
                image, indices=self.backbone.out_indices, intermediates_only=True, return_prefix_tokens=True
            )
            maps, tokens = ([pair[part] for pair in pairs] for part in (0, 1))
        if self.channels_last:
            maps = [x.permute(0, 3, 1, 2).contiguous() for x in maps]
        kept = {level: place for level, place in zip(self.levels, self.positions, strict=True) if place is not None}
        finished = [self._finish(level, maps[place]) for level, place in kept.items()]
        return finished + [tokens[place] for place in kept.values() if tokens]

    def lend_blocks(self, count: int) -> tuple[nn.ModuleList, nn.Module]:
        """Hand over the last blocks and the norm behind them, see `take_last_blocks`; the map is that before them from now on."""
        return take_last_blocks(self.backbone, count, self.name)

    def pad(self, image: Tensor) -> Tensor:
        """Add rows and columns of zeros, below and to the right, up to a size that the backbone accepts."""
        height, width = image.shape[-2:]
        # With a multiple it is the same computation for every size, so that an exported graph serves all of them.
        if self.multiple > 1 or min(height, width) < self.smallest:
            rows, columns = self.padded_size(height, width)
            return F.pad(image, (0, columns - width, 0, rows - height))
        return image

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """(rows, columns) that `pad` makes of a picture of this size."""
        if self.multiple > 1:
            rows, columns = shrunk((height, width), self.multiple)
            return rows * self.multiple, columns * self.multiple
        return max(height, self.smallest), max(width, self.smallest)


def plan(name: str, keywords: Mapping[str, Any], output_stride: int = 32) -> tuple[dict[str, Any], nn.Module]:
    """Find the keywords that timm needs, by building the backbone without memory (on the meta device).

    Returns:
        The keywords, and the backbone on the meta device with every level that may be wanted.
    """
    strides: list[dict[str, Any]] = [{"output_stride": output_stride}] if output_stride < 32 else []
    failure: Exception | None = None
    for stride_option in [*strides, {}]:
        for size_option in ANY_SIZE_OPTIONS:
            options = {"features_only": True, **stride_option, **size_option, **keywords}
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


def native_size(blueprint: nn.Module) -> tuple[int, int]:
    """(H, W) of the pictures that the backbone was made for; for plain transformers a whole number of patches."""
    size, strides = blueprint.pretrained_cfg["input_size"][-2:], set(blueprint.feature_info.reduction())
    patch = strides.pop() if len(strides) == 1 else 1
    return tuple(side // patch * patch for side in size)


def count_prefix_tokens(backbone: nn.Module) -> int:
    """Number of tokens (class tokens, registers) that a transformer carries besides those of the patches."""
    model = getattr(backbone, "model", None)
    forward = getattr(model, "forward_intermediates", None)
    if forward is None or "return_prefix_tokens" not in inspect.signature(forward).parameters:
        return 0
    return int(getattr(model, "num_prefix_tokens", 0))


def spread(statistics: Sequence[float], in_channels: int) -> list[float]:
    """Give every image channel a statistic: RGB's own, their mean for one channel, RGB repeated for more."""
    if in_channels == 1:
        return [sum(statistics) / len(statistics)]
    return [float(statistics[channel % len(statistics)]) for channel in range(in_channels)]
