"""Decoders: a list of feature maps, fine to coarse, becomes logits. One file = one architecture."""

from __future__ import annotations

from torch import nn

from segnb.decoders.affinity.ann import ANN
from segnb.decoders.affinity.ccnet import CCNet
from segnb.decoders.affinity.danet import DANet
from segnb.decoders.affinity.dnlnet import DNLNet
from segnb.decoders.affinity.emanet import EMANet
from segnb.decoders.affinity.gcnet import GCNet
from segnb.decoders.affinity.isanet import ISANet
from segnb.decoders.affinity.nonlocalnet import NonLocalNet
from segnb.decoders.affinity.ocrnet import OCRNet
from segnb.decoders.affinity.psanet import PSANet
from segnb.decoders.pooling.apcnet import APCNet
from segnb.decoders.pooling.deeplabv3 import DeepLabV3
from segnb.decoders.pooling.deeplabv3plus import DeepLabV3Plus
from segnb.decoders.pooling.dmnet import DMNet
from segnb.decoders.pooling.encnet import EncNet
from segnb.decoders.pooling.lraspp import LRASPP
from segnb.decoders.pooling.pspnet import PSPNet
from segnb.decoders.pyramid.bisenetv1 import BiSeNetV1
from segnb.decoders.pyramid.dpt import DPT
from segnb.decoders.pyramid.fastfcn import FastFCN
from segnb.decoders.pyramid.fcn import FCN
from segnb.decoders.pyramid.fpn import FPN
from segnb.decoders.pyramid.linknet import LinkNet
from segnb.decoders.pyramid.manet import MANet
from segnb.decoders.pyramid.pan import PAN
from segnb.decoders.pyramid.segformer import SegFormer
from segnb.decoders.pyramid.segnext import SegNeXt
from segnb.decoders.pyramid.setr import SETR
from segnb.decoders.pyramid.unet import UNet
from segnb.decoders.pyramid.unetplusplus import UNetPlusPlus
from segnb.decoders.pyramid.upernet import UPerNet
from segnb.decoders.query.eomt import EoMT
from segnb.decoders.query.knet import KNet
from segnb.decoders.query.mask2former import Mask2Former
from segnb.decoders.query.maskformer import MaskFormer
from segnb.decoders.query.segmenter import Segmenter
from segnb.decoders.refine import PointRend

DECODERS: dict[str, type[nn.Module]] = {
    "unet": UNet,
    "unetplusplus": UNetPlusPlus,
    "linknet": LinkNet,
    "manet": MANet,
    "fpn": FPN,
    "pan": PAN,
    "pspnet": PSPNet,
    "deeplabv3": DeepLabV3,
    "deeplabv3plus": DeepLabV3Plus,
    "lraspp": LRASPP,
    "segformer": SegFormer,
    "upernet": UPerNet,
    "dpt": DPT,
    "bisenetv1": BiSeNetV1,
    "fcn": FCN,
    "apcnet": APCNet,
    "dmnet": DMNet,
    "encnet": EncNet,
    "nonlocalnet": NonLocalNet,
    "dnlnet": DNLNet,
    "gcnet": GCNet,
    "ccnet": CCNet,
    "danet": DANet,
    "emanet": EMANet,
    "isanet": ISANet,
    "ann": ANN,
    "ocrnet": OCRNet,
    "psanet": PSANet,
    "fastfcn": FastFCN,
    "setr": SETR,
    "maskformer": MaskFormer,
    "mask2former": Mask2Former,
    "eomt": EoMT,
    "segnext": SegNeXt,
    "pointrend": PointRend,
    "segmenter": Segmenter,
    "knet": KNet,
}
