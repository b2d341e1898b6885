"""Models: an encoder, a decoder, one resize.

image ── normalise, if uint8 ── encoder ── c2…c5 ── decoder ── (B, K, H/4, W/4) ── one resize ──▶ logits (B, K, H, W)
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segnb.blocks import Stages, crop
from segnb.data.arguments import ONE_CLASS
from segnb.data.planes import plane_palette
from segnb.decoders import DECODERS as ON_ENCODERS
from segnb.decoders.pyramid.fcn import FCN
from segnb.draw import IGNORE, palette
from segnb.encoders import Encoder, Pixels
from segnb.errors import SegnbError, nearest
from segnb.heads import ImageHead
from segnb.networks import NETWORKS

ARCHITECTURES: dict[str, type[nn.Module]] = {**ON_ENCODERS, **NETWORKS}
DEFAULT_ENCODER = "resnet34"
AUXILIARY_STRIDE = 16
# The start of a parameter's name up to its first run of numbers; those inside a downsampling are not blocks.
NUMBERED_BLOCK = re.compile(r"(?:(?!downsample)[^.]*\.)*?\d+(?:\.\d+)*(?=\.)")


class Outputs(NamedTuple):
    """Everything that a model computes on the way, see `SegmentationModel.forward_all`.

    Attributes:
        logits: (B, classes, H, W), what the model itself returns.
        stages: logits of the auxiliary head and of earlier stages, each (B, classes, H, W); for training only.
        image_logits: (B, labels) of the image-level head, or None.
        features: the encoder's maps, fine to coarse.
        decoded: (B, width, h, w), the map that the decoder's last layer turns into logits.
        clues: what the decoder's own loss reads, by name; at the sizes that the decoder computes; empty without such a loss.
    """

    logits: Tensor
    stages: list[Tensor]
    image_logits: Tensor | None
    features: list[Tensor]
    decoded: Tensor
    clues: dict[str, Tensor]


class SegmentationModel(nn.Module):
    """Logits at the input's size, for any size.

    Args:
        encoder: gives a feature map for each stride, or none for a network with a backbone of its own.
        decoder: turns them into logits at a fraction of the input's size; its last layer is called ``classify``. With
            ``sees_picture`` it reads the normalised picture before the maps.
        classes: name of each logit channel; a single name is binary (one sigmoid channel).
        config: the arguments of `create_model` with which to build the same model again; they say whether it is multi-label.
        reads: positions, among the encoder's maps, of the ones that the decoder reads; by default all.
        auxiliary: a second decoder, for training only.
        auxiliary_stride: stride of the encoder's map that it reads.
        image_head: classifies the whole picture.

    Attributes:
        classes: names of the logit channels.
        multilabel: whether classes may overlap: each channel answers yes or no for itself (sigmoid).
        label_names: names of the labels 0, 1, ...; a binary model has two: background and its class.
        palette: (labels, 3) uint8, the colour of each label.
        value_range: (low, high), the stored values that are 0 and 255 to the model, as the data set had them that it was trained
            on; None if it only knows pictures of 8 bits. `predict` reads files by it.
        notes: where the weights come from and under which licence, as far as their file says.
        inference_only: whether it can be neither trained nor saved, see `segnb.optimize`.
    """

    inference_only = False

    def __init__(
        self,
        encoder: Encoder | Pixels,
        decoder: nn.Module,
        classes: Sequence[str],
        config: dict[str, Any],
        *,
        reads: Sequence[int] | None = None,
        auxiliary: nn.Module | None = None,
        auxiliary_stride: int = AUXILIARY_STRIDE,
        image_head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.auxiliary, self.image_head = encoder, decoder, auxiliary, image_head
        self.reads, self.auxiliary_stride = reads, auxiliary_stride
        self.sees_picture = getattr(decoder, "sees_picture", False)
        self.classes, self.config = list(classes), config
        self.multilabel = bool(config.get("multilabel"))
        self.label_names = ["background", *self.classes] if len(self.classes) == 1 else self.classes
        self.palette = (plane_palette if self.multilabel else palette)(len(self.label_names))
        self.value_range: tuple[float, float] | None = None
        self.notes: dict[str, str] = {}
        # Part of the graph, not of the weights: a checkpoint of another library has no such keys.
        self.register_buffer("mean", torch.tensor(encoder.mean).reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(encoder.std).reshape(1, -1, 1, 1), persistent=False)

    @property
    def num_classes(self) -> int:
        """Channels of the logits; 1 is binary."""
        return len(self.classes)

    @property
    def learns_by_own_loss(self) -> bool:
        """Whether the decoder's own loss takes the place of one on the logits, as where masks are matched to queries."""
        return getattr(self.decoder, "learns_by_own_loss", False)

    @property
    def in_channels(self) -> int:
        """Channels of the image."""
        return self.mean.shape[1]

    def forward(self, image: Tensor) -> Tensor:
        """Compute logits.

        Args:
            image: (B, in_channels, H, W); uint8 0..255 is raw pixels and normalised here, float is already normalised.

        Returns:
            (B, classes, H, W), unbounded.
        """
        image, size = self._prepare(image), image.shape[-2:]
        return self._at_size(self.decoder(self._read(image, self.encoder(image))), image, size)

    def forward_all(self, image: Tensor) -> Outputs:
        """Compute logits and everything on the way to them.

        Args:
            image: as in `forward`.

        Returns:
            The logits, those of auxiliary and earlier stages, of the image-level head, the encoder's maps, the decoder's map.
        """
        image, size = self._prepare(image), image.shape[-2:]
        features = self.encoder(image)
        decoded: list[Tensor] = []
        stage_by_stage = getattr(self.decoder, "forward_all", lambda levels: Stages([self.decoder(levels)], {}))
        with self.decoder.classify.register_forward_pre_hook(lambda _, inputs: decoded.append(inputs[0])):
            (*stages, last), clues = stage_by_stage(self._read(image, features))
        if self.auxiliary is not None:
            stages.append(self.auxiliary([features[self.encoder.levels.index(self.auxiliary_stride)]]))
        return Outputs(
            self._at_size(last, image, size),
            [self._at_size(stage, image, size) for stage in stages],
            None if self.image_head is None else self.image_head(features[len(self.encoder.levels) - 1]),
            features,
            decoded[-1],
            clues,
        )

    def own_loss(self, outputs: Outputs, labels: Tensor) -> Tensor:
        """Compute the loss that an architecture brings with it, from its `Outputs.clues`.

        Args:
            outputs: of `forward_all`.
            labels: (B, H, W), or (B, classes, H, W) for a multi-label model, at the picture's size; 255 is ignored.

        Returns:
            A scalar.

        Raises:
            SegnbError: the architecture has no loss of its own.
        """
        if not outputs.clues:
            raise SegnbError(
                f"{self.config.get('arch')!r} has no loss of its own: use one of segnb.losses on the logits."
            )
        if self.encoder.raw:  # its maps cover the padded picture
            height, width = labels.shape[-2:]
            rows, columns = self.encoder.padded_size(height, width)
            labels = F.pad(labels, (0, columns - width, 0, rows - height), value=IGNORE)
        return self.decoder.own_loss(outputs.clues, labels)

    def _prepare(self, image: Tensor) -> Tensor:
        """Check and normalise the image; pad it here if the decoder needs maps of whole patches."""
        if image.dim() != 4 or image.shape[1] != self.in_channels:
            raise SegnbError(
                f"the model got an image of shape {tuple(image.shape)}; it takes (batch, {self.in_channels}, height, width). "
                "Add a batch dimension with image[None], or create the model with in_channels=...."
            )
        if image.dtype == torch.uint8:
            image = (image.to(self.mean.dtype) / 255 - self.mean) / self.std
        elif not image.is_floating_point():
            raise SegnbError(
                f"the model got an image of {image.dtype}; give uint8 for raw pixels from 0 to 255, or normalised floats."
            )
        return self.encoder.pad(image) if self.encoder.raw else image

    def _read(self, image: Tensor, features: list[Tensor]) -> list[Tensor]:
        """Pick the maps that the decoder reads, after the picture if it sees that too."""
        chosen = features if self.reads is None else [features[position] for position in self.reads]
        return [image, *chosen] if self.sees_picture else chosen

    def _at_size(self, logits: Tensor, image: Tensor, size: torch.Size) -> Tensor:
        """Bring logits to the prepared image's size, and cut off what was padded."""
        # A graph serves all sizes, also those at which nothing is left to resize.
        if torch.compiler.is_compiling() or logits.shape[-2:] != image.shape[-2:]:
            align_corners = getattr(self.decoder, "align_corners", False)
            logits = F.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=align_corners)
        return crop(logits, *size) if self.encoder.raw else logits

    def freeze_encoder(self) -> None:
        """Keep the encoder as it is: no gradients, and in eval mode whatever `train` says (batch statistics, dropped paths)."""
        self.encoder.requires_grad_(False).eval()

    def unfreeze_encoder(self) -> None:
        """Let the encoder learn again; it takes on the mode of the model."""
        self.encoder.requires_grad_(True).train(self.training)

    @property
    def encoder_frozen(self) -> bool:
        """Whether no weight of the encoder learns."""
        parameters = list(self.encoder.parameters())
        return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)

    def train(self, mode: bool = True) -> SegmentationModel:
        """Switch between training and evaluation; a frozen encoder stays in evaluation."""
        super().train(mode)
        if self.encoder_frozen:
            self.encoder.eval()
        return self

    def parameter_groups(
        self,
        lr: float,
        encoder_lr: float | None = None,
        weight_decay: float = 0.01,
        layer_decay: float | None = None,
    ) -> list[dict[str, Any]]:
        """Sort the parameters for an optimiser, as in ``torch.optim.AdamW(model.parameter_groups(1e-3, 1e-4))``.

        Args:
            lr: learning rate of decoder and heads.
            encoder_lr: of the encoder; by default the same.
            weight_decay: of matrices and kernels; biases and normalisation layers are never decayed.
            layer_decay: 0 to 1; the encoder's last layer learns at ``encoder_lr`` times this, the one before at that times
                this again, and so on (Clark et al., ELECTRA, ICLR 2020, https://arxiv.org/abs/2003.10555; BEiT).

        Returns:
            Up to four groups, or two for each layer, with ``name``, ``params``, ``lr`` and ``weight_decay``; frozen parameters
            are in none.
        """
        layers = self.encoder_layers() if layer_decay is not None else {}
        depth = max(layers.values(), default=-1) + 1
        groups: dict[tuple[str, bool], dict[str, Any]] = {}
        for name, parameter in self.named_parameters():
            if not parameter.requires_grad:
                continue
            part, rate = "decoder", lr
            if name.startswith("encoder."):
                part, rate = "encoder", lr if encoder_lr is None else encoder_lr
            if name in layers:
                part, rate = f"encoder layer {layers[name]}", rate * layer_decay ** (depth - layers[name])
            decay = weight_decay if parameter.dim() > 1 else 0.0
            group = {"name": part, "params": [], "lr": rate, "weight_decay": decay}
            groups.setdefault((part, parameter.dim() > 1), group)["params"].append(parameter)
        return list(groups.values())

    def encoder_layers(self) -> dict[str, int]:
        """Number the encoder's layers by depth.

        A layer is a numbered block, such as ``layer1.0`` or ``blocks.3``; what has no number belongs to the layer before it,
        and all before the first block is layer 0, the stem.

        Returns:
            The layer of each of the encoder's parameters by the parameter's name, from 0.
        """
        layers: dict[str, int] = {}
        block, depth = "", 0
        for name, _ in self.encoder.named_parameters(prefix="encoder"):
            found = NUMBERED_BLOCK.match(name)
            if found and found[0] != block:
                block, depth = found[0], depth + 1
            layers[name] = depth
        return layers

    def labels(self, logits: Tensor) -> Tensor:
        """Turn logits (B, classes, H, W) into the most likely label of each pixel, (B, H, W) uint8.

        A multi-label model gives no (0) or yes (1, at least as likely as not) for each class, (B, classes, H, W).
        """
        if self.multilabel:
            return (logits > 0).to(torch.uint8)
        if self.num_classes == 1:
            return (logits[:, 0] > 0).to(torch.uint8)
        return logits.argmax(dim=1).to(torch.uint8)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Turn logits into probabilities of the same shape, 0 to 1: sigmoid if binary or multi-label, softmax otherwise."""
        return logits.sigmoid() if self.num_classes == 1 or self.multilabel else logits.softmax(dim=1)


def list_models() -> list[str]:
    """Names of the architectures that `create_model` builds."""
    return sorted(ARCHITECTURES)


def create_model(
    arch: str,
    encoder_name: str = DEFAULT_ENCODER,
    encoder_weights: str | None = "imagenet",
    in_channels: int = 3,
    classes: int | Sequence[str] = 1,
    *,
    multilabel: bool = False,
    encoder_depth: int = 5,
    encoder_output_indices: Sequence[int] | None = None,
    encoder_options: Mapping[str, Any] | None = None,
    auxiliary: bool | int = False,
    auxiliary_width: int | None = None,
    aux_params: Mapping[str, Any] | None = None,
    **decoder_options: Any,
) -> SegmentationModel:
    """Build a segmentation model.

    Args:
        arch: an architecture, see `list_models`.
        encoder_name: any timm backbone, see `list_encoders`; the architectures of ``segnb/networks/`` have one of their own,
            with random weights, and take none of the ``encoder_`` and ``aux`` keywords.
        encoder_weights: ``"imagenet"`` (timm's default tag), any timm tag, a local file, or None for random weights.
        in_channels: channels of the image.
        classes: number or names of the classes; 1 is binary (one sigmoid channel).
        multilabel: classes may overlap, so each has a yes or no of its own (one sigmoid channel for each of two or more); for
            data sets with ``multilabel=True``.
        encoder_depth: how often the encoder halves the picture, 3 to 5 (U-Net and its kin: 1 to 5); 4 ends at stride 16.
        encoder_output_indices: the backbone's own levels to read, instead of those that fit best; for plain transformers the
            numbers of the blocks.
        encoder_options: keywords for timm, such as ``{"drop_path_rate": 0.1}``; see also `Encoder`.
        auxiliary: add a second, training-only head on the map of stride 16, or of the stride given: 4, 8, 16, 32 (torchvision's
            ``aux_loss``); `fit` weighs it 0.4.
        auxiliary_width: channels before that head's classifier; by default a quarter of its map's.
        aux_params: add an image-level head: ``{"classes": 4, "pooling": "avg", "dropout": 0.2}``; its logits are in
            ``model.forward_all(image).image_logits``.
        **decoder_options: keywords of the architecture's class, for example ``decoder_channels`` of `UNet`.

    Returns:
        A model that takes (B, in_channels, H, W) and returns logits (B, classes, H, W), for any H and W.

    Raises:
        SegnbError: an unknown architecture, encoder or option (the nearest names are offered), or weights out of reach.

    Example:
        >>> model = segnb.create_model("unet", "tf_efficientnet_lite0", classes=["road", "car"])
    """
    if arch not in ARCHITECTURES:
        raise SegnbError(
            f"unknown architecture {arch!r}. {nearest(arch, ARCHITECTURES)} segnb.list_models() lists all."
        )
    decoder_class = ARCHITECTURES[arch]
    settings = check_options(arch, decoder_class, decoder_options)
    names = class_names(classes)
    if multilabel and len(names) == 1:
        raise SegnbError(f"multilabel=True with classes={classes!r}: {ONE_CLASS}")
    if not isinstance(in_channels, int) or in_channels < 1:
        raise SegnbError(f"in_channels={in_channels!r}: give the number of channels of your images, 1 or more.")
    if arch in NETWORKS:
        refuse_encoder(
            arch,
            encoder_name=None if encoder_name == DEFAULT_ENCODER else encoder_name,
            encoder_weights=None if encoder_weights == "imagenet" else encoder_weights,
            encoder_depth=None if encoder_depth == 5 else encoder_depth,
            encoder_output_indices=encoder_output_indices,
            encoder_options=encoder_options,
            auxiliary=auxiliary or None,
            auxiliary_width=auxiliary_width,
            aux_params=aux_params,
        )
        network = decoder_class([in_channels], len(names), **decoder_options)
        config = {"arch": arch, "in_channels": in_channels, "classes": names, **decoder_options}
        pixels = Pixels(in_channels, **getattr(decoder_class, "statistics", {}))
        return SegmentationModel(pixels, network, names, {**config, **({"multilabel": True} if multilabel else {})})
    wanted = decoder_strides(arch, decoder_class, encoder_depth, settings)
    output_stride = settings.get("encoder_output_stride", 32)
    if output_stride not in (8, 16, 32):
        raise SegnbError(f"encoder_output_stride={output_stride!r}: give 8, 16 or 32.")
    raw = getattr(decoder_class, "raw", False)
    aside = AUXILIARY_STRIDE if auxiliary is True else auxiliary
    if auxiliary and (raw or aside not in (4, 8, 16, 32) or aside > 2**encoder_depth):
        raise SegnbError(
            f"auxiliary={auxiliary!r}: {arch!r} with encoder_depth={encoder_depth} has no map of stride {aside} to spare."
        )
    strides = sorted({*wanted, aside}) if auxiliary else wanted
    encoder = Encoder(
        encoder_name,
        encoder_weights,
        in_channels,
        strides,
        output_stride=output_stride,
        indices=encoder_output_indices,
        raw=raw,
        lends_blocks=getattr(decoder_class, "takes_blocks", False),
        options=encoder_options,
    )
    reads = [encoder.levels.index(stride) for stride in wanted]
    more = decoder_facts(decoder_class, encoder, settings, multilabel)
    channels = [in_channels] if getattr(decoder_class, "sees_picture", False) else []
    channels += [encoder.channels[place] for place in reads]
    decoder = decoder_class(channels, len(names), **more, **decoder_options)
    given = {
        "multilabel": multilabel or None,
        "encoder_depth": None if encoder_depth == 5 else encoder_depth,
        "encoder_output_indices": encoder_output_indices,
        "encoder_options": encoder_options,
        "auxiliary": auxiliary or None,
        "auxiliary_width": auxiliary_width,
        "aux_params": aux_params,
    }
    return SegmentationModel(
        encoder,
        decoder,
        names,
        {
            "arch": arch,
            "encoder_name": encoder.name,
            "in_channels": in_channels,
            "classes": names,
            **{name: value for name, value in given.items() if value is not None},
            **decoder_options,
        },
        reads=reads if auxiliary else None,
        auxiliary=FCN([encoder.channels[encoder.levels.index(aside)]], len(names), width=auxiliary_width)
        if auxiliary
        else None,
        auxiliary_stride=aside,
        image_head=None if aux_params is None else make_image_head(encoder.channels[-1], aux_params),
    )


def decoder_facts(
    decoder_class: type[nn.Module], encoder: Encoder, settings: Mapping[str, Any], multilabel: bool
) -> dict[str, Any]:
    """Collect what an architecture must be told besides channels, classes and the user's options."""
    facts: dict[str, Any] = {}
    if encoder.raw:
        facts |= {"reductions": encoder.reductions, "prefix_tokens": encoder.prefix_tokens}
    if getattr(decoder_class, "takes_blocks", False):
        facts["last_blocks"] = encoder.lend_blocks(settings["blocks"])
    if getattr(decoder_class, "knows_multilabel", False):
        facts["multilabel"] = multilabel
    return facts


def refuse_encoder(arch: str, **given: Any) -> None:
    """Refuse keywords that make no sense for a network with a backbone of its own."""
    for name, value in given.items():
        if value is not None:
            raise SegnbError(
                f"{name}={value!r}: {arch!r} has a backbone of its own, which reads the picture; leave {name} out."
            )


def decoder_strides(
    arch: str, decoder_class: type[nn.Module], depth: int, settings: Mapping[str, Any]
) -> tuple[int, ...]:
    """Say which levels an architecture reads, given the encoder's depth and the architecture's options."""
    least = getattr(decoder_class, "least_depth", 3)
    if not isinstance(depth, int) or not least <= depth <= 5:
        raise SegnbError(f"encoder_depth={depth!r}: {arch!r} takes {least} to 5.")
    if hasattr(decoder_class, "strides_for"):
        return decoder_class.strides_for(depth, settings)
    return tuple(dict.fromkeys(min(stride, 2**depth) for stride in decoder_class.strides))


def make_image_head(in_channels: int, aux_params: Mapping[str, Any]) -> ImageHead:
    """Build the image-level head from SMP's ``aux_params``."""
    known = {"classes", "pooling", "dropout", "activation"}
    for name in aux_params:
        if name not in known:
            raise SegnbError(f"aux_params has no option {name!r}. {nearest(name, known)}")
    if "classes" not in aux_params:
        raise SegnbError("aux_params needs 'classes', the number of image-level labels.")
    if aux_params.get("activation") is not None:
        raise SegnbError("aux_params: models return logits; leave 'activation' out and apply it to image_logits.")
    return ImageHead(in_channels, **{name: value for name, value in aux_params.items() if name != "activation"})


def class_names(classes: int | Sequence[str]) -> list[str]:
    """Turn a number of classes into names, and refuse what cannot be classes."""
    if isinstance(classes, (int, np.integer)) and not isinstance(classes, bool) and 1 <= classes <= 254:
        return ["foreground"] if classes == 1 else [f"class {index}" for index in range(classes)]
    if not isinstance(classes, str) and isinstance(classes, Sequence) and 1 <= len(classes) <= 254:
        return [str(name) for name in classes]
    raise SegnbError(
        f"classes={classes!r}: give a number from 1 to 254, or a list of 1 to 254 names such as ['road', 'car']."
    )


def check_options(arch: str, decoder_class: type[nn.Module], options: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse an option that the architecture does not have; return all options with their values."""
    parameters = inspect.signature(decoder_class.__init__).parameters.values()
    known = {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.default is not inspect.Parameter.empty
    }
    common = [name for name in inspect.signature(create_model).parameters if name not in ("arch", "decoder_options")]
    for option in options:
        if option not in known:
            raise SegnbError(
                f"{arch!r} has no option {option!r}. {nearest(option, [*known, *common])} "
                f"Its options are {', '.join(known) or 'none'}."
            )
    return {**known, **options}
