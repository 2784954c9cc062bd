"""The layerwise metric of dense layers as Kronecker products: cheap to build and to invert, not exact."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.linalg import eigh
from scipy.sparse.linalg import LinearOperator

from actionopt.backprop import ForwardPass, forward_pass
from actionopt.errors import InputError
from actionopt.metric.dense_rows import DenseRows
from actionopt.metric.recursion import pulled_rows
from actionopt.metric.rows import Rows
from actionopt.problem import Problem

EXACT = 300  # weights up to which a module that is not dense gets its exact block
_TINY = np.finfo(float).tiny


class KroneckerMetric(LinearOperator):  # type: ignore[misc]  # SciPy is not typed
    """An approximation of the layerwise metric, `G_a = D_a + S_a (x) Z_a` for a dense layer.

    Parameters
    ----------
    problem : Problem
    w : array (n,)
        Weights.
    damping : float or array (n,), optional
        D, the problem's mass where None. A dense layer takes the mean over its weights.
    relative : float
        Further damping, as a part of each block's mean eigenvalue.
    passed : ForwardPass, optional
        At the same weights, if it is there already.
    factors : sequence of arrays (m, B, d), optional
        Rows of the output metric of every cost; `problem.output_metric` where None.

    Attributes
    ----------
    blocks : list
        One a piece of weights: Kronecker products for dense layers (also inside residual, parallel and chained
        modules), an exact block for other modules of at most 300 weights, the damping alone for larger ones.

    Raises
    ------
    InputError
        If the weights do not fit, or there is no positive damping.

    Notes
    -----
    The rows of a dense layer are outer products, `delta_ib (x) [z_b, 1]`, and
    `1/B sum_ib delta delta^T (x) [z,1][z,1]^T` is replaced by the product of the sums,
    `S = 1/B sum_ib delta_ib delta_ib^T` and `Z = 1/B sum_b [z_b,1][z_b,1]^T`. It is exact for one sample with one row,
    and where delta does not depend on the sample. Both factors are diagonalised, so the damping is added exactly:
    `(S (x) Z + d)^{-1} = (U (x) V) diag(1/(s_i z_j + d)) (U (x) V)^T`.

    Source: J. Martens and R. Grosse, Optimizing neural networks with Kronecker-factored approximate curvature,
    ICML 2015. The sum over all rows of the output metric in place of sampled ones is ours.
    """

    def __init__(
        self,
        problem: Problem,
        w: Any,
        *,
        damping: Any = None,
        relative: float = 0.0,
        passed: ForwardPass | None = None,
        factors: Sequence[np.ndarray] | None = None,
    ) -> None:
        super().__init__(np.dtype(float), (problem.size, problem.size))
        w = problem.check_point(w)
        damped = np.broadcast_to(problem.mass if damping is None else np.asarray(damping, dtype=float), w.shape)
        if not ((damped > 0).all() or ((damped >= 0).all() and relative > 0)):
            raise InputError(f"damping must be positive, got {damped.min()}")
        passed = forward_pass(problem, w) if passed is None else passed
        self.damping = damped
        self.blocks: list[tuple[slice, _Block]] = []
        pieces = pulled_rows(problem, passed, factors=factors)
        for cut, rows in zip(problem.slices, pieces, strict=True):
            start = cut.start
            for piece in rows:
                own = slice(start, start + piece.size)
                start = own.stop
                if piece.size and (block := _block(piece, damped[own], relative)) is not None:
                    self.blocks.append((own, block))
        covered = np.zeros(problem.size, dtype=bool)
        for own, _ in self.blocks:
            covered[own] = True
        self.rest = np.where(damped > 0, damped, 1.0)  # of what no block covers
        self.rest[covered] = 1.0

    def solve(self, c: np.ndarray) -> np.ndarray:
        """Return `G^{-1} c` for `c (n,)`."""
        x = c / self.rest
        for own, block in self.blocks:
            x[own] = block.solve(c[own])
        return x

    def _matvec(self, v: np.ndarray) -> np.ndarray:
        v = np.asarray(v, dtype=float).reshape(-1)
        out = self.rest * v
        for own, block in self.blocks:
            out[own] = block.product(v[own])
        return out

    def _adjoint(self) -> KroneckerMetric:
        return self

    _transpose = _adjoint


class _Block(ABC):
    """Some weights' own metric."""

    @abstractmethod
    def product(self, v: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def solve(self, c: np.ndarray) -> np.ndarray: ...


def _block(rows: Rows, damping: np.ndarray, relative: float) -> _Block | None:
    if isinstance(rows, DenseRows):
        return _Kronecker(rows, float(damping.mean()), relative)
    if rows.size > EXACT:
        return None
    normal = rows.normal()
    return _Exact(normal + np.diag(damping + relative * np.trace(normal) / rows.size + _TINY))


class _Exact(_Block):
    """A small matrix and its eigenvectors."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix = matrix
        self.values, self.vectors = eigh(matrix)

    def product(self, v: np.ndarray) -> np.ndarray:
        return self.matrix @ v

    def solve(self, c: np.ndarray) -> np.ndarray:
        return self.vectors @ ((self.vectors.T @ c) / self.values)


class _Kronecker(_Block):
    """`S (x) Z + d` in the eigenvectors of both factors; weights are `[W row by row, b]`."""

    def __init__(self, rows: DenseRows, damping: float, relative: float) -> None:
        self.offset = rows.offset is not None
        flat = rows.delta.reshape(-1, rows.delta.shape[-1])
        z = rows.z if rows.offset is None else np.hstack([rows.z, np.full((len(rows.z), 1), rows.offset)])
        outputs, self.left = eigh(flat.T @ flat)
        inputs, self.right = eigh(z.T @ z / len(z))
        values = np.multiply.outer(outputs.clip(0.0), inputs.clip(0.0))
        self.values = values + damping + relative * values.mean() + _TINY

    def product(self, v: np.ndarray) -> np.ndarray:
        return self._in_eigenvectors(v, self.values)

    def solve(self, c: np.ndarray) -> np.ndarray:
        return self._in_eigenvectors(c, 1.0 / self.values)

    def _in_eigenvectors(self, v: np.ndarray, factor: np.ndarray) -> np.ndarray:
        table = self._table(v)
        table = self.left @ (factor * (self.left.T @ table @ self.right)) @ self.right.T
        if not self.offset:
            return table.ravel()
        return np.concatenate([table[:, :-1].ravel(), table[:, -1]])

    def _table(self, v: np.ndarray) -> np.ndarray:
        """Lay weights `[W row by row, b]` out as `(out, in + 1)`."""
        out, width = self.left.shape[0], self.right.shape[0]
        if not self.offset:
            return v.reshape(out, width)
        cut = out * (width - 1)
        return np.hstack([v[:cut].reshape(out, width - 1), v[cut:, None]])
