"""Presence loss: does the network know which classes are in the picture, wherever they are?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segnb.losses.batch import ratio, read


def presence(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of "this class is somewhere in this picture", the same for a small thing as for a large one.

    Args:
        logits: (B, K), one for each picture and class.
        labels: (B, H, W), 0 to K - 1 (0 or 1 if K = 1); or (B, K, H, W) of 0 and 1; integer, 255 is ignored: it is no class,
            and a picture in which nothing else is has no part in the mean.

    Returns:
        A scalar of at least 0.

    Raises:
        SegnbError: shapes, types or labels do not fit.

    Source: Zhang et al., CVPR 2018, https://arxiv.org/abs/1803.08904, section 3.1 ("semantic encoding loss").
    """
    logits = logits.float()
    batch = read(logits[..., None, None].expand(-1, -1, *labels.shape[-2:]), labels)
    known, counted = batch.known.flatten(2), batch.counted.flatten(2)  # (B, 1 or K, H·W)
    if batch.exclusive:
        present = torch.zeros_like(logits).scatter_reduce(1, known[:, 0], counted[:, 0], "amax")
    else:
        present = known.amax(dim=2).to(logits.dtype)
    answered = counted.amax(dim=2).expand_as(logits)
    losses = F.binary_cross_entropy_with_logits(logits, present, reduction="none")
    return ratio((losses * answered).sum(), answered.sum())
