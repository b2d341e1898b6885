"""The confusion matrices of many pictures, in little memory: of 150 × 150 cells, a picture fills a hundred.

picture 0   cells [0, 1, 4]   pixels [900, 12, 88]        cell = true label · L + predicted label
picture 1   cells [0]         pixels [1000]
"""

from __future__ import annotations

import numpy as np


class CellCounts:
    """Counts, for each picture, how many pixels lie in each cell of its confusion matrix.

    Args:
        n_labels: number of labels, L.
    """

    def __init__(self, n_labels: int) -> None:
        self.n_labels = n_labels
        self._pictures: list[tuple[np.ndarray, np.ndarray]] = []

    def __len__(self) -> int:
        return len(self._pictures)

    def add(self, matrices: np.ndarray) -> None:
        """Add pictures.

        Args:
            matrices: integers (B, L, L), one matrix for each picture; rows are the truth, columns the prediction.
        """
        for matrix in matrices.reshape(len(matrices), self.n_labels**2):
            cells = np.flatnonzero(matrix)
            self._pictures.append((cells.astype(np.int32), matrix[cells].astype(np.int64)))

    def first(self, count: int) -> CellCounts:
        """Copy the first pictures.

        Args:
            count: how many.

        Returns:
            Their counts.
        """
        some = CellCounts(self.n_labels)
        some._pictures = self._pictures[:count]
        return some

    def matrix(self) -> np.ndarray:
        """Sum the pictures.

        Returns:
            int64 (L, L), rows are the truth, columns the prediction.
        """
        total = np.zeros(self.n_labels**2, np.int64)
        for cells, pixels in self._pictures:
            total[cells] += pixels
        return total.reshape(self.n_labels, self.n_labels)

    def pixels(self, true: int, predicted: int) -> np.ndarray:
        """Read one cell of every picture.

        Args:
            true: label of the truth.
            predicted: label of the prediction.

        Returns:
            int64 (N,), pixels of each picture.
        """
        cell = true * self.n_labels + predicted
        return np.array([pixels[cells == cell].sum() for cells, pixels in self._pictures], np.int64)

    def counts(self) -> np.ndarray:
        """Reduce every matrix to the four counts that scores are read off, see `segnb.metrics.scores`.

        Returns:
            int64 (N, 4, L): true positives, false positives, false negatives and true negatives of each picture and label.
        """
        found = np.zeros((len(self), 4, self.n_labels), np.int64)
        for one, (cells, pixels) in zip(found, self._pictures, strict=True):
            true, predicted = np.divmod(cells, self.n_labels)
            right = true == predicted
            np.add.at(one[0], true[right], pixels[right])
            np.add.at(one[1], predicted[~right], pixels[~right])
            np.add.at(one[2], true[~right], pixels[~right])
            one[3] = pixels.sum() - one[:3].sum(axis=0)
        return found
