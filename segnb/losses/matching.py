"""The set loss of mask classification: each true segment is matched to one query, and teaches it class and mask.

    queries   class logits (Q, K + 1), masks (Q, h, w) ──┐
                                                         ├─ costs (Q, S) ─ Hungarian ─ pairs ─▶ class + mask + Dice
    segments  one for each class that is there (S, H, W) ┘                 │
                                                                           └ the others learn "no object"

Labels that are ignored belong to no segment, and each sum over a mask leaves them out. Between pixels a label is the mean of
those neighbours that count, so that what is ignored has no influence there either.
Paper: Cheng, Schwing and Kirillov, "MaskFormer", NeurIPS 2021, https://arxiv.org/abs/2107.06278, sections 3.3 and 4.2; the
matching is that of Carion et al., "DETR", ECCV 2020, https://arxiv.org/abs/2005.12872, section 3.1.
Differs from the paper: ignored pixels are not background of every segment but do not count, and a picture in which nothing counts
teaches nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segnb.draw import IGNORE
from segnb.losses.batch import ratio
from segnb.losses.checking import check_values
from segnb.losses.points import random_points, read_at, uncertain_points

LEFT_OUT = -100  # in place of a class: a query that learns nothing
ALPHA, GAMMA = 0.25, 2.0  # of the focal loss, Lin et al., ICCV 2017, https://arxiv.org/abs/1708.02002

Product = Callable[[Tensor, Tensor], Tensor]


def all_pairs(first: Tensor, second: Tensor) -> Tensor:
    """Sum products over places for every pair of rows: (Q, P), (S, P) -> (Q, S)."""
    return first @ second.mT


def row_by_row(first: Tensor, second: Tensor) -> Tensor:
    """Sum products over places for rows that belong together: (N, P), (N, P) -> (N,)."""
    return (first * second).sum(dim=1)


class Segments(NamedTuple):
    """What is in one picture.

    Attributes:
        classes: (S,), the class of each segment.
        masks: (S, H, W) of 0.0 and 1.0.
        counted: (S, H, W), 1.0 where the label counts.
        known: whether any label of the picture counts.
    """

    classes: Tensor
    masks: Tensor
    counted: Tensor
    known: bool


def find_segments(labels: Tensor, classes: int) -> Segments:
    """Make one segment of each class that is in a picture.

    Args:
        labels: (H, W), 0 to classes - 1 (0 or 1 if there is one class); or (K, H, W) of 0 and 1; 255 is ignored.
        classes: their number.
    """
    overlapping = labels.dim() == 3
    counts = labels != IGNORE
    if labels.device.type == "cpu":
        check_values(torch.where(counts, labels, 0), 2 if overlapping or classes == 1 else classes)
    if overlapping:
        masks = labels == 1
        present = masks.flatten(1).any(dim=1).nonzero()[:, 0]
        masks, counted = masks[present], counts[present]
    else:
        values = labels[counts].unique()
        values = values[values == 1] if classes == 1 else values
        masks = labels == values[:, None, None]
        present, counted = values - int(classes == 1), counts.expand_as(masks)
    return Segments(present, masks.float(), counted.float(), bool(counts.any()))


@dataclass(frozen=True)
class SetLoss:
    """The loss of all layers of queries, (class logits, mask logits, labels) -> scalar.

    Attributes:
        class_weight: factor of the cross-entropy of the classes, in the loss and in the matching.
        mask_weight: factor of the loss of each place of a mask.
        dice_weight: factor of the Dice loss of a mask.
        focal: whether a place's loss is the focal one, instead of the binary cross-entropy.
        points: places at which masks are compared, no more than the labels have pixels; None compares all pixels.
        no_object_weight: weight of queries without a segment in the cross-entropy of the classes.
    """

    class_weight: float
    mask_weight: float
    dice_weight: float
    focal: bool = False
    points: int | None = None
    no_object_weight: float = 0.1

    def __call__(self, class_logits: Tensor, mask_logits: Tensor, labels: Tensor) -> Tensor:
        """Add up the losses of all layers; each is matched anew.

        Args:
            class_logits: (L, B, Q, K + 1), the last for "no object".
            mask_logits: (L, B, Q, h, w).
            labels: (B, H, W), or (B, K, H, W) of 0 and 1; 255 is ignored.

        Returns:
            A scalar; 0 with a gradient of 0 if no label counts.

        Raises:
            SegnbError: a label is outside the classes.
        """
        pictures = [find_segments(one, class_logits.shape[-1] - 1) for one in labels.long()]
        layers = zip(class_logits, mask_logits, strict=True)
        return torch.stack([self.layer(classes.float(), masks.float(), pictures) for classes, masks in layers]).sum()

    def layer(self, class_logits: Tensor, mask_logits: Tensor, pictures: list[Segments]) -> Tensor:
        """Match and compare the queries of one layer, (B, Q, K + 1) and (B, Q, h, w)."""
        found = zip(class_logits, mask_logits, pictures, strict=True)
        pairs = [self.match(classes, masks, segments) for classes, masks, segments in found]
        loss = self.class_weight * self.class_loss(class_logits, pictures, pairs)
        if not any(len(queries) for queries, _ in pairs):
            return loss + 0 * mask_logits.sum()
        masks = torch.cat([masks[queries] for masks, (queries, _) in zip(mask_logits, pairs, strict=True)])
        matched = list(zip(pictures, pairs, strict=True))
        truth = torch.cat([segments.masks[order] for segments, (_, order) in matched])
        counted = torch.cat([segments.counted[order] for segments, (_, order) in matched])
        if self.points is None:
            masks = F.interpolate(masks.unsqueeze(1), truth.shape[-2:], mode="bilinear", align_corners=False)
            places = masks.flatten(1), truth.flatten(1), counted.flatten(1)
        else:
            places = at_points(masks, truth, counted, uncertain_points(masks, self.places(truth)))
        mask, dice = self.compare(*places, row_by_row)
        return loss + (self.mask_weight * mask + self.dice_weight * dice).sum() / sum(len(p.classes) for p in pictures)

    @torch.no_grad()
    def match(self, class_logits: Tensor, mask_logits: Tensor, segments: Segments) -> tuple[Tensor, Tensor]:
        """Match segments to queries at the least cost (Kuhn, Naval Research Logistics 1955).

        Args:
            class_logits: (Q, K + 1) of one picture.
            mask_logits: (Q, h, w).
            segments: what is there.

        Returns:
            The matched queries and the segment of each, two vectors of the smaller number of both.
        """
        from scipy.optimize import linear_sum_assignment

        if not len(segments.classes):
            return segments.classes, segments.classes
        costs = self.costs(class_logits, mask_logits, segments)
        largest = torch.finfo(costs.dtype).max  # diverged predictions are matched last, and stop nothing
        pairs = linear_sum_assignment(costs.nan_to_num(largest, largest, -largest).cpu().numpy())
        queries, order = (torch.as_tensor(part, device=costs.device) for part in pairs)
        return queries, order

    def costs(self, class_logits: Tensor, mask_logits: Tensor, segments: Segments) -> Tensor:
        """Compute what each pair would cost, (Q, S): the losses, with minus the probability in place of its logarithm."""
        if self.points is None:
            shape = mask_logits.shape[-2:]
            truth, counted = (F.interpolate(x.unsqueeze(1), shape) for x in (segments.masks, segments.counted))
            places = mask_logits.flatten(1), truth.flatten(1), counted.flatten(1)
        else:
            points = random_points(1, self.places(segments.masks), mask_logits)
            places = at_points(mask_logits, segments.masks, segments.counted, points)
        mask, dice = self.compare(*places, all_pairs)
        chances = class_logits.softmax(dim=1)[:, segments.classes]
        return self.mask_weight * mask + self.dice_weight * dice - self.class_weight * chances

    def compare(self, logits: Tensor, truth: Tensor, counted: Tensor, product: Product) -> tuple[Tensor, Tensor]:
        """Compare masks with segments, each over its places.

        Args:
            logits: (Q, P).
            truth: (S, P), 0 to 1.
            counted: (S, P), how much each place counts, 0 to 1.
            product: `all_pairs`, or `row_by_row` where Q is S.

        Returns:
            The mean loss of a place, and the Dice loss, both (Q, S), or (S,) row by row.
        """
        inside, outside = truth * counted, (1 - truth) * counted
        chances = logits.sigmoid()
        if_inside, if_outside = F.softplus(-logits), F.softplus(logits)
        if self.focal:
            if_inside = ALPHA * (1 - chances) ** GAMMA * if_inside
            if_outside = (1 - ALPHA) * chances**GAMMA * if_outside
        places = ratio(product(if_inside, inside) + product(if_outside, outside), counted.sum(dim=1))
        both = product(chances, counted) + inside.sum(dim=1)
        return places, 1 - (2 * product(chances, inside) + 1) / (both + 1)

    def class_loss(self, class_logits: Tensor, pictures: list[Segments], pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Compute the weighted mean of the cross-entropy of all queries, (B, Q, K + 1) -> scalar."""
        no_object = class_logits.shape[-1] - 1
        wanted = torch.full(class_logits.shape[:2], no_object, device=class_logits.device)
        for row, segments, (queries, order) in zip(wanted, pictures, pairs, strict=True):
            row[queries] = segments.classes[order]
            if not segments.known:
                row[:] = LEFT_OUT
        losses = F.cross_entropy(class_logits.mT, wanted, ignore_index=LEFT_OUT, reduction="none")
        weights = (wanted != LEFT_OUT) * torch.where(wanted == no_object, self.no_object_weight, 1.0)
        return ratio((losses * weights).sum(), weights.sum())

    def places(self, masks: Tensor) -> int:
        """Number of points at which to compare with segments (S, H, W)."""
        return min(self.points or 0, masks.shape[-2] * masks.shape[-1])


def at_points(masks: Tensor, truth: Tensor, counted: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Read logits, segments and what counts at points, each (N, P); a segment between pixels is the mean of those that count."""
    weights = read_at(counted, points)
    return read_at(masks, points), ratio(read_at(truth, points), weights).clamp(max=1), weights
