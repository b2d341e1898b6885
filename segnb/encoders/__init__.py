"""Any timm backbone seen as one feature map per requested stride."""

from segnb.encoders import mscan  # noqa: F401, importing it makes its backbones known to timm
from segnb.encoders.catalogue import list_encoders
from segnb.encoders.encoder import Encoder
from segnb.encoders.pixels import Pixels
from segnb.encoders.weights import OFFLINE_ENCODER, read_content, read_tensors

__all__ = ["OFFLINE_ENCODER", "Encoder", "Pixels", "list_encoders", "read_content", "read_tensors"]
