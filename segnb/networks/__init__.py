"""Networks with a backbone of their own: the picture becomes logits. One file = one architecture.

They are decoders that read no encoder's map but the picture itself, already normalised.
"""

from __future__ import annotations

from torch import nn

from segnb.networks.bisenetv2 import BiSeNetV2
from segnb.networks.cgnet import CGNet
from segnb.networks.ddrnet import DDRNet
from segnb.networks.erfnet import ERFNet
from segnb.networks.fastscnn import FastSCNN
from segnb.networks.icnet import ICNet
from segnb.networks.pidnet import PIDNet
from segnb.networks.stdc import STDC

NETWORKS: dict[str, type[nn.Module]] = {
    "bisenetv2": BiSeNetV2,
    "cgnet": CGNet,
    "ddrnet": DDRNet,
    "erfnet": ERFNet,
    "fastscnn": FastSCNN,
    "icnet": ICNet,
    "pidnet": PIDNet,
    "stdc": STDC,
}
