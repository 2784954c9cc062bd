"""The preconditioner of the discrete action: the time Laplacian times the metric **[ours]**.

The kinetic part of the Hessian is `Q^T W G Q`, with G a metric at every stage. With the weighted left inverse of Q in
time, `R = (Q^T W Q)^{-1} Q^T W`, the operator `R (W G)^{-1} R^T` is symmetric positive definite for every G, equals
the exact inverse where G is constant in time, and also where it varies if the end is free, for Q is then square.
"""

from __future__ import annotations

import numpy as np

from actionopt.action.density.density import Expansion
from actionopt.action.task import ActionTask


class TimeLaplacian:
    """Applies `R (W G)^{-1} R^T` to gradients `(K, n)`."""

    def __init__(self, task: ActionTask) -> None:
        self.weights = task.scheme.weights[:, None]
        self.inverse = TimeInverse(task)

    def solve(self, expansion: Expansion, residual: np.ndarray) -> np.ndarray:
        """Apply the preconditioner at an expansion to `residual (K, n)`, zero where X is fixed."""
        flux = self.inverse.transposed(residual)
        return self.inverse.apply(expansion.mass_solve(flux) / self.weights)


class TimeInverse:
    """`R = (Q^T W Q)^{-1} Q^T W`: the positions whose velocities are nearest to the given ones.

    With the end free it integrates velocities exactly. With the end fixed the quadrature of the velocities must
    vanish, so their mean is taken off first; the schemes integrate the velocity of their own pieces exactly, which
    makes that the projection that least squares asks for.
    """

    def __init__(self, task: ActionTask) -> None:
        scheme = task.scheme
        self.intervals = len(scheme.times) - 1
        self.degree = (len(scheme.points) - 1) // self.intervals
        self.weights = scheme.weights[:, None]
        self.fixed = ~task.free[-1]
        # velocities at the stages of an interval from the increments of its points: (N, degree, degree)
        laws = scheme.velocity.data.reshape(self.intervals, self.degree, self.degree + 1)[..., 1:]
        self.integrate = np.linalg.inv(laws)
        self.integrate_t = np.ascontiguousarray(self.integrate.swapaxes(1, 2))

    def apply(self, velocity: np.ndarray) -> np.ndarray:
        """R times `(M, n)`: positions `(K, n)`, zero at the start and where the end is fixed."""
        mean = (self.weights * velocity).sum(axis=0) / self.weights.sum()
        pieces = self._each(self.integrate, velocity - np.where(self.fixed, mean, 0.0))
        ends = np.cumsum(pieces[:, -1], axis=0)
        pieces[1:] += ends[:-1, None]
        out = np.zeros((velocity.shape[0] + 1, velocity.shape[1]))
        out[1:] = pieces.reshape(velocity.shape)
        out[-1, self.fixed] = 0.0
        return out

    def transposed(self, residual: np.ndarray) -> np.ndarray:
        """R^T times `(K, n)`, whose first row and fixed end are not looked at: `(M, n)`."""
        pieces = residual[1:].copy()
        pieces[-1, self.fixed] = 0.0
        pieces = pieces.reshape(self.intervals, self.degree, -1)
        later = np.cumsum(pieces.sum(axis=1)[::-1], axis=0)[::-1]
        pieces[:-1, -1] += later[1:]
        flux = self._each(self.integrate_t, pieces).reshape(len(self.weights), -1)
        mean = flux.sum(axis=0) / self.weights.sum()
        return flux - self.weights * np.where(self.fixed, mean, 0.0)

    def _each(self, matrices: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Multiply the rows of every interval by its matrix: `(N, degree, n)`."""
        rows = rows.reshape(self.intervals, self.degree, -1)
        return matrices * rows if self.degree == 1 else matrices @ rows
