"""Losses: (logits, labels) -> scalar.

    distribution.py      each pixel's probabilities     ce focal ohem
    region.py            overlap of regions             dice jaccard tversky mcc
    lovasz_extension.py  intersection over union        lovasz
    distance.py          distance of contours           boundary hausdorff
    matching.py          queries matched to segments    of maskformer, mask2former and eomt
    presence.py          which classes are there        of encnet
    detail.py            edges of all kinds             of stdc
    boundary_targets.py  contours                       of pidnet
    points.py, unsure_points.py                         where masks and logits are compared
    naming.py            sums of them by name           get_loss("0.7*dice+0.3*focal")

Every loss takes raw logits (B, K, H, W), and reads off the labels what kind of problem it is (`segnb.losses.batch`):
integers (B, H, W) with K = 1 are binary, with K > 1 multiclass; (B, K, H, W) of 0 and 1 is multilabel. Pixels labelled 255 do
not count: they have no influence and no gradient. A batch in which nothing counts gives exactly 0 with a gradient of 0.
"""

from segnb.losses.distance import boundary, hausdorff
from segnb.losses.distribution import cross_entropy, focal, ohem
from segnb.losses.lovasz_extension import lovasz
from segnb.losses.naming import LOSSES, Loss, WeightedSum, get_loss
from segnb.losses.region import dice, jaccard, mcc, tversky

__all__ = [
    "LOSSES",
    "Loss",
    "WeightedSum",
    "boundary",
    "cross_entropy",
    "dice",
    "focal",
    "get_loss",
    "hausdorff",
    "jaccard",
    "lovasz",
    "mcc",
    "ohem",
    "tversky",
]
