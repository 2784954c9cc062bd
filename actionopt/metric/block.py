"""One block of the metric, `G = D + K^T K`: a module's, or all modules' together for the joint metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from actionopt.metric.recursion import pulled_rows
from actionopt.metric.rows import Rows
from actionopt.problem import Problem


@dataclass(frozen=True)
class Block:
    """A diagonal plus pulled-back rows.

    Attributes
    ----------
    label : str
        The module, in tables and messages.
    weights : slice
        Where the block lies in the flat vector of weights.
    mass : array (size,)
        Diagonal D.
    rows : sequence of Rows
        Pieces of K side by side; together they have as many columns as the block.
    """

    label: str
    weights: slice
    mass: np.ndarray
    rows: Sequence[Rows]

    @property
    def size(self) -> int:
        return len(self.mass)

    @property
    def rank(self) -> int:
        """Number of rows r of K, which bounds the rank of `K^T K`."""
        return self.rows[0].count if self.rows else 0

    @cached_property
    def columns(self) -> list[slice]:
        """Where the pieces lie in the block."""
        ends = np.cumsum([piece.size for piece in self.rows])
        return [slice(int(end) - piece.size, int(end)) for end, piece in zip(ends, self.rows, strict=True)]

    def product(self, v: np.ndarray) -> np.ndarray:
        """Return `G v (..., size)`."""
        return self.mass * v + self.pull(self.push(v)) if self.rank else self.mass * v

    def push(self, v: np.ndarray) -> np.ndarray:
        """Return `K v (..., m, B)`."""
        return _sum([piece.product(v[..., cut]) for piece, cut in zip(self.rows, self.columns, strict=True)])

    def pull(self, c: np.ndarray) -> np.ndarray:
        """Return `K^T c (..., size)`."""
        pieces = [piece.transposed(c) for piece in self.rows]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=-1)

    def dual(self) -> np.ndarray:
        """Return `K D^{-1} K^T (..., r, r)`: the sum of the pieces' Grams."""
        inverse = 1.0 / self.mass
        return _sum([piece.gram(inverse[cut]) for piece, cut in zip(self.rows, self.columns, strict=True)])

    def normal(self) -> np.ndarray:
        """Return `K^T K (..., size, size)`; several pieces are multiplied out for it."""
        if len(self.rows) == 1:
            return self.rows[0].normal()
        matrix = self.matrix()
        return matrix.swapaxes(-1, -2) @ matrix

    def matrix(self) -> np.ndarray:
        """Return `K (..., r, size)`."""
        pieces = [piece.matrix() for piece in self.rows]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=-1)


def metric_blocks(problem: Problem, w: np.ndarray, *, joint: bool, check: bool = True) -> list[Block]:
    """Return the blocks of the metric at weights `w (..., n)`: one a module that has weights, or one for all.

    Raises
    ------
    InputError
        Naming the module whose output is not finite, or what is wrong with the output metric.
    """
    rows = pulled_rows(problem, w, check)
    parts = list(zip(problem.labels, problem.slices, rows, strict=True))
    if joint:
        everything = [piece for _, _, pieces in parts for piece in pieces]
        return [Block("all modules", slice(0, problem.size), problem.mass, everything)] if everything else []
    return [Block(label, cut, problem.mass[cut], pieces) for label, cut, pieces in parts if pieces]


def _sum(terms: list[np.ndarray]) -> np.ndarray:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
