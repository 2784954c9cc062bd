"""A sparse matrix from parts: nonzeros of blocks, each with its place, added where they meet."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
from scipy import sparse


class Assembly:
    """Collects nonzeros as CasADi vectors and where they go; `matrix` puts them there.

    Parameters
    ----------
    rows, columns : int
        Shape of the matrix.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.shape = (rows, columns)
        self._rows: list[np.ndarray] = []
        self._columns: list[np.ndarray] = []
        self._values: list[Any] = []

    def add(self, rows: Any, columns: Any, values: Any) -> None:
        """Add values, a CasADi vector or numbers, at rows and columns, arrays of int of one shape, C order.

        Products with blocks of zeros, as the curvature of |y|, come without nonzeros and add nothing.
        """
        if rows.size and values.numel():
            self._rows.append(np.ravel(rows))
            self._columns.append(np.ravel(columns))
            self._values.append(values)

    def add_blocks(self, pattern: ca.Sparsity, rows: np.ndarray, columns: np.ndarray, values: Any) -> None:
        """Add the nonzeros of equal blocks side by side: `rows (B, r)` and `columns (B, c)` say where block b lies."""
        at_row, at_column = (np.array(index, dtype=int) for index in pattern.get_triplet())
        self.add(rows[:, at_row], columns[:, at_column], values)

    def matrix(self) -> ca.MX:
        """Return the matrix; entries that several parts share are their sum."""
        if not self._rows:
            return ca.MX(*self.shape)
        rows, columns = np.concatenate(self._rows), np.concatenate(self._columns)
        keys, where = np.unique(columns * self.shape[0] + rows, return_inverse=True)  # column-major, as CasADi stores
        counts = np.bincount(keys // max(self.shape[0], 1), minlength=self.shape[1])
        pattern = ca.Sparsity(
            *self.shape, [0, *np.cumsum(counts).tolist()], (keys % max(self.shape[0], 1)).astype(int).tolist()
        )
        return ca.MX(pattern, _gathered(ca.vertcat(*(ca.MX(value) for value in self._values)), where))


def _gathered(values: ca.MX, where: np.ndarray) -> ca.MX:
    """Return the values that go to each of the entries 0, 1, ..; summed where several do, as few do."""
    shared = np.bincount(where) > 1
    if not shared.any():
        return values[np.argsort(where).tolist()]
    alone, together = (np.flatnonzero(which) for which in (~shared[where], shared[where]))
    rank = np.cumsum(shared) - 1  # of an entry among the shared ones
    adding = sparse.csc_array(
        (np.ones(len(together)), (rank[where[together]], np.arange(len(together)))), shape=(shared.sum(), len(together))
    )
    sums = ca.densify(as_casadi(adding) @ values[together.tolist()])
    place = len(alone) + rank
    place[where[alone]] = np.arange(len(alone))
    return ca.vertcat(values[alone.tolist()], sums)[place.tolist()]


def as_casadi(matrix: Any) -> ca.DM:
    """Return a SciPy sparse matrix as a CasADi one."""
    matrix = matrix.tocsc()
    matrix.sort_indices()
    rows, columns = matrix.shape
    sparsity = ca.Sparsity(rows, columns, matrix.indptr.tolist(), matrix.indices.tolist())
    return ca.DM(sparsity, matrix.data)
