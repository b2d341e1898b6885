"""Split a data set so that both sides show every class and no patient, drive or video is on both.

    pictures ─▶ units ─────────────▶ classes of each ─▶ one of each class to every side ─▶ the rest, rarest class first
                (groups, or single       (U, L)
                 pictures)

A random split of 100 pictures with a class in 5 of them leaves that class out of the validation set every third time.
Iterative stratification (Sechidis et al., "On the Stratification of Multi-Label Data", ECML PKDD 2011,
https://doi.org/10.1007/978-3-642-23808-6_10, algorithm 1) deals out the rarest class first, because it has the fewest
ways to be dealt, each time to the side that still wants most of it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from tqdm.auto import tqdm

from segnb.data.datasets import SegmentationDataset
from segnb.errors import SegnbError

SLOW = 200  # pictures: from here on reading them takes long enough for a progress bar
TRIES = 20  # a deal that goes from class to class can end in a corner where another one, by luck, does not

Pair = tuple[SegmentationDataset, SegmentationDataset]


def split(
    data: SegmentationDataset,
    valid: float = 0.2,
    *,
    groups: Sequence[Hashable] | None = None,
    stratify: bool = True,
    seed: int = 0,
) -> Pair:
    """Split a data set into a training and a validation set.

    The same arguments always give the same split. Without groups, validation gets exactly ``round(valid * n)`` pictures
    (at least one, at most all but one); with them, as near to it as whole groups allow.

    Args:
        data: any data set; its transform stays with both parts.
        valid: share of the pictures to validate on, between 0 and 1.
        groups: one value for each picture, such as the patient or the drive; pictures of one group stay together. For
            names like ``patient7_slice03``: ``[name.split("_")[0] for name in data.names]``.
        stratify: look at all masks once, and give both sides each class in the same proportion; a class found in at
            least two pictures (or groups) is then on both sides wherever the sizes allow it. False: at random.
        seed: any integer from 0.

    Returns:
        (train, valid), each in the order of ``data``, together all of it.

    Raises:
        SegnbError: the share is out of range, there is one picture or group only, or groups do not fit the pictures.

    Example:
        >>> train, valid = segnb.split(data, 0.2, groups=[name.split("_")[0] for name in data.names])
    """
    if not 0 < valid < 1:
        raise SegnbError(f"valid={valid!r}: give the share of pictures to validate on, such as 0.2 for a fifth.")
    side = _deal(data, [1 - valid, valid], groups, stratify, seed)
    return data.subset(np.flatnonzero(side == 0)), data.subset(np.flatnonzero(side == 1))


def k_fold(
    data: SegmentationDataset,
    k: int = 5,
    *,
    groups: Sequence[Hashable] | None = None,
    stratify: bool = True,
    seed: int = 0,
) -> list[Pair]:
    """Split a data set k times, so that every picture is in one validation set.

    Args:
        data: see `split`.
        k: how many folds, 2 or more.
        groups: see `split`.
        stratify: see `split`.
        seed: see `split`.

    Returns:
        k pairs (train, valid).

    Raises:
        SegnbError: there are fewer pictures or groups than folds, or groups do not fit the pictures.

    Example:
        >>> scores = [segnb.evaluate(make_and_fit(train), valid).miou for train, valid in segnb.k_fold(data)]
    """
    if k < 2:
        raise SegnbError(f"k={k!r}: cross-validation needs at least 2 folds.")
    fold = _deal(data, [1 / k] * k, groups, stratify, seed)
    return [(data.subset(np.flatnonzero(fold != i)), data.subset(np.flatnonzero(fold == i))) for i in range(k)]


def _deal(
    data: SegmentationDataset, shares: list[float], groups: Sequence[Hashable] | None, stratify: bool, seed: int
) -> np.ndarray:
    """Choose a side for each picture: (N,) integers, 0 to len(shares) - 1."""
    unit = _units(groups, len(data))
    sizes = np.bincount(unit)
    if len(sizes) < len(shares):
        what = "images" if groups is None else "groups"
        raise SegnbError(f"{len(sizes)} {what} cannot be split into {len(shares)} parts: give more, or fewer parts.")
    pictures = _classes_in(data) if stratify else np.zeros((len(data), 0), np.int64)
    classes = np.zeros((len(sizes), pictures.shape[1]), np.int64)
    np.add.at(classes, unit, pictures)
    return _deal_units(classes, sizes, shares, np.random.default_rng(seed))[unit]


def _deal_units(classes: np.ndarray, sizes: np.ndarray, shares: list[float], random: np.random.Generator) -> np.ndarray:
    """Deal until all sides show every class that has enough units, or take the best of some deals: (U,) integers."""
    enough = (classes > 0).sum(axis=0) >= len(shares)
    best, most = np.zeros(0), -1
    for _ in range(TRIES):
        dealer = _Dealer(classes, sizes, shares, random)
        dealt, showing = dealer.deal(), int(dealer.shown[:, enough].sum())
        if showing > most:
            best, most = dealt, showing
        if most == enough.sum() * len(shares):
            break
    return best


def _units(groups: Sequence[Hashable] | None, count: int) -> np.ndarray:
    """Number what stays together: (N,) integers from 0 in the order of first appearance."""
    if groups is None:
        return np.arange(count)
    if len(groups) != count:
        raise SegnbError(f"{len(groups)} groups for {count} images: give one group for each image.")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups])


def _classes_in(data: SegmentationDataset) -> np.ndarray:
    """Read all masks: (N, L) integers, 1 where the picture shows the label."""
    found = np.zeros((len(data), len(data.label_names)), np.int64)
    for index in tqdm(range(len(data)), desc="reading masks", unit="image", disable=len(data) < SLOW, leave=False):
        found[index] = data.count(index) > 0
    return found


class _Dealer:
    """Deals units to sides, keeping count of what every side still wants.

    Args:
        classes: (U, L) how many pictures of each unit show each label.
        sizes: (U,) how many pictures each unit has.
        shares: the part of all pictures that each side should get; they sum to 1.
        random: breaks ties.
    """

    def __init__(
        self, classes: np.ndarray, sizes: np.ndarray, shares: Sequence[float], random: np.random.Generator
    ) -> None:
        self.classes, self.sizes, self.random = classes, sizes, random
        self.room = _round_to_sum(np.array(shares) * sizes.sum(), int(sizes.sum()))  # pictures wanted by each side
        self.wanted = np.outer(shares, classes.sum(axis=0))  # (sides, L) of them with each label
        self.side = np.full(len(sizes), -1)
        self.shown = np.zeros(self.wanted.shape, bool)  # (sides, L) labels that a side has already

    def deal(self) -> np.ndarray:
        """Give every unit a side: (U,) integers."""
        self._show_each_class_everywhere()
        while (left := self.classes[self.side < 0].sum(axis=0)).any():
            label = int(np.where(left > 0, left, left.max() + 1).argmin())
            for unit in self._waiting(label):
                self._give(unit, self._best_side(unit, self.wanted[:, label]))
        for unit in self._waiting():
            self._give(unit, self._best_side(unit, self.room))
        return self.side

    def _show_each_class_everywhere(self) -> None:
        """Give each side a unit of every class that has enough of them, the rarest class and the smallest side first."""
        units_with = (self.classes > 0).sum(axis=0)
        for label in np.argsort(units_with, kind="stable"):
            if units_with[label] < len(self.room):
                continue  # the ordinary rule gives it to the side with the largest share: to training
            for side in np.argsort(self.room, kind="stable"):
                units = self._waiting(label)[::-1]
                units = units[self.sizes[units] <= self.room[side]]
                if len(units) and not self.shown[side, label]:
                    newcomers = (self.classes[units] > 0)[:, ~self.shown[side]].sum(axis=1)
                    self._give(int(units[newcomers.argmax()]), int(side))

    def _waiting(self, label: int | None = None) -> np.ndarray:
        """List the units without a side, perhaps only those with a label: at random, but large ones first."""
        waiting = self.side < 0 if label is None else (self.side < 0) & (self.classes[:, label] > 0)
        units = self.random.permutation(np.flatnonzero(waiting))
        return units[np.argsort(-self.sizes[units], kind="stable")]  # small ones can still even out the rest

    def _best_side(self, unit: int, wish: np.ndarray) -> int:
        """Choose the side that wants it most, among those with room; then the one with most room."""
        fits, empty = self.room >= self.sizes[unit], ~np.isin(np.arange(len(self.room)), self.side)
        if (self.side < 0).sum() <= empty.sum():  # the last units, when groups were too large for some sides
            fits = empty
        elif not fits.any():
            return int(self.room.argmax())
        return max(np.flatnonzero(fits).tolist(), key=lambda side: (wish[side], self.room[side], self.random.random()))

    def _give(self, unit: int, side: int) -> None:
        self.side[unit] = side
        self.room[side] -= self.sizes[unit]
        self.wanted[side] -= self.classes[unit]
        self.shown[side] |= self.classes[unit] > 0


def _round_to_sum(parts: np.ndarray, total: int) -> np.ndarray:
    """Round to integers of at least 1 that sum to ``total``, the last part first."""
    cuts = np.rint(np.cumsum(parts[::-1])).astype(int)
    whole = np.maximum(np.diff(cuts, prepend=0), 1)[::-1]
    whole[whole.argmax()] += total - whole.sum()
    return whole
