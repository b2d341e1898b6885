"""EncNet: find out what scene this is, and strengthen the channels that matter in it.

    c5 (B, C5, H/8, W/8) ── 3×3, 512 ── x ─┬─ x + x · weights ── classify ─▶ (B, classes, H/8, W/8)
    (dilated)                              │           ▲
                                           │           └ sigmoid ── linear ─┐
                                           └─ 1×1 ── 32 codewords ── scene ─┴─ detect: which classes are here?
                                                                             (for training only)

A codeword sums up how the pixels near it differ from it; the scene is the mean over all codewords.
Why: in a bedroom there are no cars. The second loss counts a small thing like a large one, which pixels do not.
Paper: Zhang et al., CVPR 2018, https://arxiv.org/abs/1803.08904, section 3.1 and figure 2.
Differs from the paper: the loss of what is present looks at c5 alone, not at c4 as well, as in MMSegmentation's weights.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segnb.blocks import ConvNormAct, Stages
from segnb.losses.presence import presence
from segnb.parts.attention import classifier
from segnb.parts.contexts import ContextEncoding


class EncNet(nn.Module):
    """Context encoding on one dilated level.

    Args:
        in_channels: channels of that level: (C5,).
        classes: channels of the returned logits.
        width: channels of the map and of the scene's description.
        codewords: how many the scene is described by.
        dropout: probability of dropping a whole channel before the classifier.
        encoder_output_stride: stride of the map: 8 as in the paper, or 16 or 32 for coarser and cheaper ones.
    """

    strides = (32,)
    presence_weight = 0.2

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        *,
        width: int = 512,
        codewords: int = 32,
        dropout: float = 0.1,
        encoder_output_stride: int = 8,
    ) -> None:
        super().__init__()
        (channels,) = in_channels
        self.narrow = ConvNormAct(channels, width)
        self.encode = ContextEncoding(width, codewords)
        self.detect = nn.Linear(width, classes)
        self.classify = classifier(width, classes, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Turn (c5,) into logits (B, classes, H/8, W/8)."""
        (coarse,) = features
        weighed, _ = self.encode(self.narrow(coarse))
        return self.classify(weighed)

    def forward_all(self, features: list[Tensor]) -> Stages:
        """The logits, and for each class whether it is anywhere in the picture: ``presence`` (B, classes)."""
        (coarse,) = features
        weighed, scene = self.encode(self.narrow(coarse))
        return Stages([self.classify(weighed)], {"presence": self.detect(scene)})

    def own_loss(self, clues: dict[str, Tensor], labels: Tensor) -> Tensor:
        """Compare the classes that were detected with those that are there; weighed as in the paper."""
        return self.presence_weight * presence(clues["presence"], labels)
