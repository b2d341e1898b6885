"""Plain vision transformers whose last blocks are run by a decoder: it lets tokens of its own join the patches there."""

from __future__ import annotations

from timm.models._features import FeatureGetterNet
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from segnb.errors import SegnbError


class WithNorm(FeatureGetterNet):
    """timm's reader of a transformer that keeps the norm behind the last block; timm takes it off, or applies it to all maps."""

    def __init__(self, *args, **keywords) -> None:  # noqa: ANN002, ANN003, whatever timm hands to its readers
        super().__init__(*args, **{**keywords, "norm": True})
        self.norm = False


def is_plain_transformer(backbone: nn.Module) -> bool:
    """Say whether a backbone is a row of equal blocks on patches, as timm builds it."""
    return isinstance(getattr(backbone, "model", None), VisionTransformer)


def take_last_blocks(backbone: nn.Module, count: int, name: str) -> tuple[nn.ModuleList, nn.Module]:
    """Take the last blocks of a plain transformer, and the norm behind them; its map is then that of the blocks that are left.

    Args:
        backbone: read by `WithNorm`, with a single map.
        count: how many.
        name: of the encoder, for the message.

    Returns:
        The blocks and the norm, which are no part of the backbone any more.

    Raises:
        SegnbError: there are not that many.
    """
    model = backbone.model
    left = len(model.blocks) - count if isinstance(count, int) else 0
    if left < 1 or count < 1:
        raise SegnbError(
            f"blocks={count!r}: {name!r} has {len(model.blocks)} blocks; give 1 to {len(model.blocks) - 1}."
        )
    last, norm = nn.ModuleList(model.blocks[left:]), model.norm
    model.blocks, model.norm = model.blocks[:left], nn.Identity()
    backbone.out_indices = [left - 1]
    return last, norm
