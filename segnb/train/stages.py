"""What the loss of a deeply supervised model looks at, as one forward pass."""

from __future__ import annotations

from torch import Tensor, nn

from segnb.models import Outputs, SegmentationModel


class WithStages(nn.Module):
    """A model that returns everything its loss looks at: (B, C, H, W) -> `Outputs`.

    The training engine sees only what goes through `forward`.
    """

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Outputs:
        """Compute logits, those of auxiliary heads and earlier stages, and what a loss of the decoder's own reads."""
        return self.model.forward_all(images)
