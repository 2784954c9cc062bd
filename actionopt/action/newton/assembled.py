"""The Hessian of a small system's discrete action, assembled and factorised: banded in time.

What is factorised is convex at every stage: with the stage Hessian `[[l_ww, l_wv], [l_vw, l_vv]]`, its Schur
complement `l_ww - l_wv l_vv^{-1} l_vw` loses its negative eigenvalues, which leaves the Gauss-Newton Hessian where
nothing else is positive. Where l is convex the factor is exact and conjugate gradients end after one product.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded

from actionopt.action.density.formula import LagrangianExpansion
from actionopt.action.discrete import ActionPoint, DiscreteAction
from actionopt.errors import SolverError


class AssembledHessian:
    """Preconditions with the factorised convex part of the Hessian of S_h."""

    def __init__(self, action: DiscreteAction) -> None:
        scheme, n = action.scheme, action.density.size
        per_stage = scheme.position.indptr[1]
        columns = scheme.position.indices.reshape(-1, per_stage)
        # rows of P and Q side by side: (M, points of an interval, 2)
        self.laws = np.stack([scheme.position.data, scheme.velocity.data], axis=-1).reshape(-1, per_stage, 2)
        self.weights = scheme.weights
        entries = (columns[..., None] * n + np.arange(n)).reshape(len(columns), -1)
        rows, self.width = entries[:, :, None], per_stage * n - 1
        offset = entries[:, None, :] - rows
        self.upper = offset >= 0
        self.places = (offset * action.free.size + rows)[self.upper]
        fixed = ~action.free.ravel()
        self.kept = np.where(fixed[rows] | fixed[entries[:, None, :]], 0.0, 1.0)[self.upper]
        self.fixed = fixed
        self.loose, self.length = bool(action.free[0].any()), scheme.times[-1] - scheme.times[0]
        self._last_free = action.free[-1]
        self._point: ActionPoint | None = None
        self._end: np.ndarray | None = None

    def solve(self, point: ActionPoint, residual: np.ndarray) -> np.ndarray:
        """Apply the inverse to `residual (K, n)`, zero where X is fixed."""
        if self._point is not point:
            self._point = point
            self._end = None if point.end is None else convex_matrix(point.end[2])
            self._factor = self._factorise(convex_part(point.expansion))  # type: ignore[arg-type]
        return np.asarray(cho_solve_banded((self._factor, True), residual.ravel()).reshape(residual.shape))

    def _factorise(self, convex: np.ndarray) -> np.ndarray:
        """Cholesky factor of the assembled stages; over long horizons rounding asks for a little more of `l_vv`."""
        n = convex.shape[-1] // 2
        for ridge in (0.0, 1e-10, 1e-8, 1e-6, 1e-4):
            convex[:, n:, n:] *= 1.0 + ridge
            if self.loose:  # nothing holds a path whose start is free: a little keeps it where it is
                convex[:, :n, :n] += max(ridge, 1e-10) / self.length**2 * convex[:, n:, n:]
            banded = self.banded(convex)
            if self._end is not None:
                self.add_last(banded, self._end)
            try:
                return cholesky_banded(banded, lower=True)
            except LinAlgError:
                continue
        raise SolverError(
            "the Hessian of the action could not be factorised, even its convex part: start from another guess, take "
            "more steps, or approach the horizon by continuation"
        )

    def banded(self, stage_hessians: np.ndarray) -> np.ndarray:
        """Lay stage Hessians `(M, 2n, 2n)` into lower banded storage, the identity where X is fixed."""
        stages, n = len(stage_hessians), stage_hessians.shape[-1] // 2
        blocks = stage_hessians.reshape(stages, 2, n, 2, n)
        local = np.einsum("m,mai,mijkl,mbk->majbl", self.weights, self.laws, blocks, self.laws, optimize=True)
        values = local.reshape(stages, self.width + 1, self.width + 1)[self.upper] * self.kept
        size = len(self.fixed)
        banded = np.bincount(self.places, values, minlength=(self.width + 1) * size).reshape(self.width + 1, size)
        banded[0, self.fixed] = 1.0
        return banded

    def add_last(self, banded: np.ndarray, matrix: np.ndarray) -> None:
        """Add a matrix `(n, n)` on the last point to lower banded storage, where it is free."""
        n, free = len(matrix), np.flatnonzero(self._last_free)
        first = banded.shape[1] - n
        for i in free:
            for j in free[free >= i]:
                banded[j - i, first + i] += matrix[i, j]


def convex_matrix(matrix: np.ndarray) -> np.ndarray:
    """Remove the negative part of a symmetric matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 0.0)) @ vectors.T


def convex_part(expansion: LagrangianExpansion) -> np.ndarray:
    """Stage Hessians `(M, 2n, 2n)` with the negative part of their Schur complement in v removed."""
    hessian = expansion.hessian
    n = hessian.shape[-1] // 2
    mixed = hessian[:, n:, :n]
    gauss_newton = mixed.swapaxes(-1, -2) @ np.linalg.solve(expansion.mass, mixed)
    values, vectors = np.linalg.eigh(hessian[:, :n, :n] - gauss_newton)
    out = hessian.copy()
    out[:, :n, :n] = gauss_newton + (vectors * np.maximum(values, 0.0)[:, None, :]) @ vectors.swapaxes(-1, -2)
    return out
