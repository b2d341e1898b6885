"""What the numbers or colours in masks mean, and what to say about those that mean nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segnb.data.wording import listed
from segnb.draw import IGNORE, palette
from segnb.errors import SegnbError

MaskValue = int | Sequence[int]

LARGEST = 2**31 - 1  # number in a mask: files hold up to 32 bits


class MaskValues:
    """What the numbers or colours in the masks of one data set mean.

    A mask pixel becomes one code: its number, or its colour as 0xRRGGBB. ``codes`` are those allowed, in ascending
    order, ``labels`` what they mean.

    Args:
        names: the name of each label.
        values: the number or the (R, G, B) colour of each label, and perhaps one more of pixels to ignore; None if
            masks hold the labels themselves.
        detected: the values were found in the masks, not given by the user.

    Attributes:
        are_colours: whether the values are colours.
        palette: (labels, 3) uint8, those colours, or else `draw.palette`.

    Raises:
        SegnbError: the values do not fit the names, or each other.
    """

    def __init__(self, names: list[str], values: Sequence[MaskValue] | None, *, detected: bool = False) -> None:
        n = len(names)
        entries = list(range(n)) if values is None else _check_mask_values(values, names)
        self.names, self.detected, self.given = names, detected, values is not None and not detected
        self.are_colours = isinstance(entries[0], tuple)
        self.palette = np.array(entries[:n], np.uint8) if self.are_colours else palette(n)
        meaning = dict(zip(map(_code, entries), [*range(n), IGNORE], strict=False))  # the entry to ignore may be absent
        if not self.are_colours:
            meaning.setdefault(IGNORE, IGNORE)
        self.codes = np.array(sorted(meaning))
        self.labels = np.array([meaning[code] for code in sorted(meaning)], np.uint8)
        self._are_labels = values is None
        self._of_bytes = None if self.are_colours or n == IGNORE else _table(meaning, n)

    def to_labels(self, stored: np.ndarray, title: str) -> np.ndarray:
        """Translate a mask.

        Args:
            stored: (H, W) numbers or (H, W, 3) uint8 colours. A number among colours is that grey.
            title: what to call the mask in an error.

        Returns:
            (H, W) uint8 labels, 255 where the pixel is to be ignored; the array given, if it holds them already.

        Raises:
            SegnbError: a value means nothing, or the mask has colours and the values are numbers.
        """
        if stored.ndim == 3 and not self.are_colours:
            found = [_as_colour(code) for code in np.unique(_to_codes(stored)).tolist()]
            raise SegnbError(
                f"{title} is a colour mask (with {listed(found)}): say which colour means which label with "
                f"mask_values=[(R, G, B), ...], one colour for each of the {len(self.names)} labels."
            )
        if stored.dtype == np.uint8 and stored.ndim == 2:
            labels = self._look_up(stored)
            if labels is not None:
                return labels
        codes = _to_codes(stored)
        if stored.ndim == 2 and self.are_colours:
            codes = codes.astype(np.int64) * 0x010101
        place = np.searchsorted(self.codes, codes).clip(max=len(self.codes) - 1)
        unknown = self.codes[place] != codes
        if unknown.any():
            raise SegnbError(self._explain_unknown(title, codes, unknown))
        return self.labels[place]

    def _look_up(self, stored: np.ndarray) -> np.ndarray | None:
        """Translate bytes (H, W) in a table, many times faster than a search; None if that does not say it all."""
        if self._are_labels and stored.max() < len(self.names):
            return stored
        if self._of_bytes is None:
            return None
        import cv2

        labels = cv2.LUT(stored, self._of_bytes)
        return None if (labels == len(self.names)).any() else labels

    def describe(self) -> str:
        """Say in a few words what the masks hold."""
        if self.detected:
            return f"0 and 255, where 255 means {self.names[1]}"
        if self.given:
            return f"one {'colour' if self.are_colours else 'value'} for each label, as mask_values says"
        return "labels as stored"

    def _explain_unknown(self, title: str, codes: np.ndarray, unknown: np.ndarray) -> str:
        """Name the codes (H, W) that mean nothing, say where the first one is, and what could be done."""
        bad, n = np.unique(codes[unknown]), len(self.names)
        row, column = np.argwhere(unknown)[0]
        kind = "colour" if self.are_colours else "value"
        words = [_as_colour(code) if self.are_colours else str(code) for code in bad.tolist()]
        found = f"{title} has the {kind}{'s' * (len(bad) > 1)} {listed(words)} (first at row {row}, column {column})"
        origin = _guess_origin(title, len(bad))
        if self.given:
            return (
                f"{found}, not listed in mask_values: list one {kind} for each of the {n} labels and, as one more "
                f"entry at the end, the one to ignore. {origin}"
            ).rstrip()
        if self.detected:
            return (
                f"{found}, while the masks looked at first hold only 0 and 255 (read as 255 = {self.names[1]!r}): "
                f"save all masks in one way, or say what the values mean with mask_values. {origin}"
            ).rstrip()
        expected = f"{found}, but {n} labels are numbered 0 to {n - 1} (255 = ignore)"
        return _advise(expected, np.unique(codes[codes != IGNORE]), n, origin)


def _check_mask_values(values: Sequence[MaskValue], names: list[str]) -> list[int | tuple[int, ...]]:
    """Bring mask_values to a list of numbers or a list of colours, or say what is wrong with them."""
    entries = [int(entry) if np.ndim(entry) == 0 else tuple(int(part) for part in entry) for entry in values]
    n = len(names)
    if len(entries) not in (n, n + 1):
        raise SegnbError(
            f"mask_values has {len(entries)} entries for {n} labels ({listed(names)}): give one for each label, "
            "in this order, and at most one more for pixels to ignore."
        )
    sizes = {len(entry) if isinstance(entry, tuple) else 0 for entry in entries}
    highest = 255 if sizes == {3} else LARGEST
    if sizes not in ({0}, {3}) or not all(0 <= part <= highest for part in np.ravel(entries)):
        raise SegnbError(
            f"mask_values={entries}: give whole numbers from 0 to {LARGEST} only, or colours (R, G, B) of 0 to 255 only."
        )
    if len(set(entries)) < len(entries):
        raise SegnbError(f"mask_values={entries} lists the same value twice: give each label a value of its own.")
    return entries


def _table(meaning: dict[int, int], n: int) -> np.ndarray:
    """The label of each byte, (256,) uint8; ``n``, which is no label, stands for bytes without a meaning."""
    return np.array([meaning.get(byte, n) for byte in range(256)], np.uint8)


def _code(entry: int | tuple[int, ...]) -> int:
    """A number stays; (R, G, B) becomes 0xRRGGBB."""
    return entry if isinstance(entry, int) else entry[0] << 16 | entry[1] << 8 | entry[2]


def _to_codes(stored: np.ndarray) -> np.ndarray:
    """(H, W) numbers stay; (H, W, 3) colours -> (H, W) of 0xRRGGBB."""
    if stored.ndim == 2:
        return stored
    red, green, blue = np.moveaxis(stored.astype(np.int32), 2, 0)
    return red << 16 | green << 8 | blue


def _as_colour(code: int) -> str:
    """0xRRGGBB -> "(R, G, B)"."""
    return str((code >> 16, code >> 8 & 255, code & 255))


def _guess_origin(title: str, count: int) -> str:
    """Say where ``count`` values that no one chose come from: from JPEG, or from smoothed edges."""
    if title.lower().endswith((".jpg", ".jpeg")):
        return "JPEG changes values: save masks as PNG."
    if count >= 8:
        return "Edges look smoothed (anti-aliased): draw masks without smoothing, or threshold them."
    return ""


def _advise(expected: str, numbers: np.ndarray, n: int, origin: str) -> str:
    """Complete the sentence on what was ``expected`` of a mask with these numbers in ascending order."""
    least, most = int(numbers[0]), int(numbers[-1])
    scattered = most > 2 * len(numbers)  # numbers of classes leave few gaps
    if least < 0:
        return f"{expected}: labels are never negative, so mark pixels to ignore with 255."
    if least > 0 and most == n:
        return (
            f"{expected}: 0 is absent, so they seem to be numbered from 1; then pass mask_values=range(1, {n + 1}), "
            f"otherwise name all {n + 1} labels in classes."
        )
    if origin and scattered:
        return f"{expected}. {origin}"
    stored = "the stored values in mask_values, one for each label and one more at the end for pixels to ignore"
    if most < IGNORE and not scattered:
        return f"{expected}: name all {most + 1} labels in classes, or list {stored}."
    return f"{expected}: list {stored}."
