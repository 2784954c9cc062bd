"""One block of the metric, `G = D + K^T K`: of a group of weights, or of all together for the joint metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from actionopt.backprop import ForwardPass
from actionopt.metric.recursion import pulled_rows
from actionopt.metric.rows import Rows, total
from actionopt.problem import Problem


@dataclass(frozen=True)
class Block:
    """`G = R (I + K^T K) R` with R the square root of the mass and K the rows scaled by its inverse.

    Attributes
    ----------
    label : str
        The module, in tables and messages.
    weights : slice
        Where the block lies in the flat vector of weights.
    root : array (size,)
        R, square root of the mass.
    rows : sequence of Rows
        Pieces of K side by side; together they have as many columns as the block.
    """

    label: str
    weights: slice
    root: np.ndarray
    rows: Sequence[Rows]

    @property
    def size(self) -> int:
        """Number of weights."""
        return len(self.root)

    @property
    def rank(self) -> int:
        """Number of rows r of K, which bounds the rank of `K^T K`."""
        return self.rows[0].count if self.rows else 0

    @cached_property
    def columns(self) -> list[slice]:
        """Where the pieces lie in the block."""
        ends = accumulate((piece.size for piece in self.rows), initial=0)
        return [slice(start, stop) for start, stop in pairwise(ends)]

    @cached_property
    def square(self) -> float:
        """`|K|^2` in the norm of Frobenius, summed over all nodes: a bound on the largest eigenvalue of `K^T K`."""
        return float(sum(piece.square() for piece in self.rows))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Let NumPy see the block as its dense matrix."""
        return np.asarray(self.dense(), dtype=dtype)

    def at(self, node: int) -> Block:
        """Return the block of one node, of a block with one leading axis."""
        return replace(self, rows=[piece.at(node) for piece in self.rows])

    def heavier(self, factor: float) -> Block:
        """Return the block with all masses times a factor."""
        root = float(np.sqrt(factor))
        return Block(self.label, self.weights, self.root * root, [piece.scaled(1.0 / root) for piece in self.rows])

    def product(self, v: np.ndarray) -> np.ndarray:
        """Return `G v (..., size)`."""
        scaled = self.root * v
        return self.root * (scaled + self.pull(self.push(scaled))) if self.rank else self.root * scaled

    def push(self, v: np.ndarray) -> np.ndarray:
        """Return `K v (..., m, B)`."""
        if len(self.rows) == 1:
            return self.rows[0].push(v)
        return total(piece.push(v[..., cut]) for piece, cut in zip(self.rows, self.columns, strict=True))

    def pull(self, c: np.ndarray) -> np.ndarray:
        """Return `K^T c (..., size)`."""
        return self.rows[0].pull(c) if len(self.rows) == 1 else _joined([piece.pull(c) for piece in self.rows])

    def pull_push(self, c: np.ndarray) -> np.ndarray:
        """Return `K K^T c (..., m, B)`."""
        return self.rows[0].pull_push(c) if len(self.rows) == 1 else total(piece.pull_push(c) for piece in self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """`(m, B)`, the shape of a vector of rows."""
        return self.rows[0].shape[:2]

    def part(self, which: slice) -> Block:
        """Return the block with some of the m rows of every sample."""
        return Block(self.label, self.weights, self.root, [piece.part(which) for piece in self.rows])

    def push_pull(self, other: Block, c: np.ndarray) -> np.ndarray:
        """Return `K L^T c (..., m, B)` for a block of other rows of the same weights."""
        return total(piece.push_pull(others, c) for piece, others in zip(self.rows, other.rows, strict=True))

    def gram(self) -> np.ndarray:
        """Return `K K^T (..., r, r)`: the sum of the pieces' Grams."""
        return total(piece.gram() for piece in self.rows)

    def normal(self) -> np.ndarray:
        """Return `K^T K (..., size, size)`; several pieces are multiplied out for it."""
        if len(self.rows) == 1:
            return self.rows[0].normal()
        matrix = self.matrix()
        return matrix.swapaxes(-1, -2) @ matrix

    def matrix(self) -> np.ndarray:
        """Return `K (..., r, size)`."""
        return _joined([piece.matrix() for piece in self.rows])

    def dense(self) -> np.ndarray:
        """Return `G (..., size, size)`."""
        if not self.rank:
            return np.diag(self.root**2)
        return self.root[:, None] * (np.eye(self.size) + self.normal()) * self.root


def metric_blocks(
    problem: Problem,
    passed: ForwardPass,
    *,
    joint: bool,
    check: bool = True,
    factors: Sequence[np.ndarray] | None = None,
) -> list[Block]:
    """Return the blocks of the metric: one a group of weights, or one for all.

    Parameters
    ----------
    problem : Problem
    passed : ForwardPass
    joint : bool
        One block for all modules.
    check : bool
        Whether outputs that are not finite are an error, or give rows that are NaN.
    factors : sequence of arrays (..., m, B, d), optional
        What is pulled back from every cost in place of the output metric's factor.

    Raises
    ------
    InputError
        Naming the module whose output is not finite, or what is wrong with the output metric.
    """
    # rows keep the precision of what is pulled back
    root = _root(problem.mass, np.dtype(float) if factors is None else factors[0].dtype)
    found = zip(problem.groups, pulled_rows(problem, passed, check, together=joint, factors=factors), strict=True)
    blocks = [_scaled(Block(group.label, group.slice, root[group.slice], rows)) for group, rows in found if group.size]
    if joint and blocks:
        everything = [piece for block in blocks for piece in block.rows]
        return [Block("all modules", slice(0, problem.size), root, everything)]
    return blocks


def _root(mass: np.ndarray, dtype: Any) -> np.ndarray:
    """Return the square root of the mass; the same number everywhere, as a rule."""
    if len(mass) and (mass == mass[0]).all():
        return np.full(len(mass), np.sqrt(mass[0]), dtype=dtype)
    return np.sqrt(mass).astype(dtype, copy=False)


def _scaled(block: Block) -> Block:
    root = block.root
    if (root == root[0]).all():
        scaled = [piece.scaled(1.0 / float(root[0])) for piece in block.rows]
    else:
        scaled = [piece.scaled(1.0 / root[cut]) for piece, cut in zip(block.rows, block.columns, strict=True)]
    return Block(block.label, block.weights, root, scaled)


def _joined(pieces: list[np.ndarray]) -> np.ndarray:
    if len(pieces) == 1:
        return pieces[0]
    lead = np.broadcast_shapes(*(piece.shape[:-1] for piece in pieces))
    return np.concatenate([np.broadcast_to(piece, (*lead, piece.shape[-1])) for piece in pieces], axis=-1)
