"""The preconditioner of the discrete action: the time Laplacian times the metric **[ours]**.

The kinetic part of the Hessian is `Q^T W G Q`, with G a metric at every stage. With the weighted left inverse of Q in
time, `R = (Q^T W Q)^{-1} Q^T W`, the operator `R (W G)^{-1} R^T` is symmetric positive definite for every G, equals
the exact inverse where G is constant in time, and also where it varies if the end is free, for Q is then square.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded

from actionopt.action.density import Expansion
from actionopt.action.task import ActionTask


class TimeLaplacian:
    """Applies `R (W G)^{-1} R^T` to gradients `(K, n)`; components with free and with fixed end each have their R."""

    def __init__(self, task: ActionTask) -> None:
        free = task.free
        self.weights = task.scheme.weights[:, None]
        self.groups = []
        for end_is_free in (True, False):
            components = np.flatnonzero(free[-1] == end_is_free)
            if len(components):
                rows = np.arange(1, len(free) - (0 if end_is_free else 1))
                self.groups.append((components, rows, _TimeInverse(task, rows)))

    def solve(self, expansion: Expansion, residual: np.ndarray) -> np.ndarray:
        """Apply the preconditioner at an expansion to `residual (K, n)`, zero where X is fixed."""
        flux = np.empty((len(self.weights), residual.shape[1]))
        for components, rows, inverse in self.groups:
            flux[:, components] = inverse.transposed(residual[np.ix_(rows, components)])
        velocity = expansion.mass_solve(flux) / self.weights
        out = np.zeros_like(residual)
        for components, rows, inverse in self.groups:
            out[np.ix_(rows, components)] = inverse.apply(velocity[:, components])
        return out


class _TimeInverse:
    """`R = (Q^T W Q)^{-1} Q^T W` for the given free points, by a banded factorisation."""

    def __init__(self, task: ActionTask, rows: np.ndarray) -> None:
        scheme = task.scheme
        velocity = scheme.velocity[:, rows]
        self.velocity = velocity.tocsr()
        self.weighted_t = (velocity.T * scheme.weights).tocsr()
        self.weighted = self.weighted_t.T.tocsr()
        laplacian = (self.weighted_t @ velocity).todia()
        width = int(max(laplacian.offsets, default=0))
        banded = np.zeros((width + 1, len(rows)))
        dense_diagonals = laplacian.tocsr()
        for offset in range(width + 1):
            diagonal = dense_diagonals.diagonal(offset)
            banded[width - offset, offset:] = diagonal
        self.factor = cholesky_banded(banded)

    def apply(self, velocity: np.ndarray) -> np.ndarray:
        """R times `(M, m)`: the positions `(rows, m)` whose velocities are nearest."""
        return cho_solve_banded((self.factor, False), self.weighted_t @ velocity)

    def transposed(self, residual: np.ndarray) -> np.ndarray:
        """R^T times `(rows, m)`."""
        return self.weighted @ cho_solve_banded((self.factor, False), residual)
