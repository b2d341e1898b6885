"""What the loss of a deeply supervised model looks at, as one forward pass."""

from __future__ import annotations

from torch import Tensor, nn

from segnb.models import SegmentationModel


class WithStages(nn.Module):
    """A model that returns everything its loss looks at: (B, C, H, W) -> [logits, *stages], each (B, classes, H, W).

    The training engine sees only what goes through `forward`.
    """

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute logits, then those of auxiliary heads and earlier stages."""
        outputs = self.model.forward_all(images)
        return [outputs.logits, *outputs.stages]
