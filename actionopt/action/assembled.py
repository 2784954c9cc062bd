"""The Hessian of a small system's discrete action, assembled and factorised: banded in time, exact.

For few coordinates the 2n products that give the Hessian of l at every stage are one batched call, and a banded
Cholesky factorisation makes Newton's step direct: conjugate gradients end after one product.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded
from scipy.sparse import block_diag, csr_array, eye_array, kron, vstack

from actionopt.action.discrete import ActionPoint, DiscreteAction


class AssembledNewton:
    """Preconditions with the factorised Hessian, shifted by the time Laplacian where it is not positive definite."""

    def __init__(self, action: DiscreteAction) -> None:
        n, scheme = action.density.size, action.scheme
        self.free = np.flatnonzero(action.free)
        identity = eye_array(n, format="csr")
        self.stack = vstack([kron(scheme.position, identity), kron(scheme.velocity, identity)], format="csr")[
            :, self.free
        ]
        self.velocity = self.stack[len(scheme.stages) * n :]
        self.weights = scheme.weights
        self._point: ActionPoint | None = None

    def solve(self, point: ActionPoint, residual: np.ndarray) -> np.ndarray:
        """Apply the inverse of the (shifted) Hessian at a point to `residual (K, n)`."""
        if self._point is not point:
            self._point = point
            self._factor = self._factorise(point)
        out = np.zeros(residual.size)
        out[self.free] = cho_solve_banded((self._factor, False), residual.ravel()[self.free])
        return out.reshape(residual.shape)

    def _factorise(self, point: ActionPoint) -> np.ndarray:
        hessian = self.assemble(point)
        shift, growth = 0.0, 1e-3
        kinetic = None
        while True:
            try:
                return cholesky_banded(_banded(hessian if kinetic is None else hessian + shift * kinetic))
            except LinAlgError:
                kinetic = self._kinetic(point) if kinetic is None else kinetic
                shift = growth if shift == 0.0 else 4.0 * shift

    def assemble(self, point: ActionPoint) -> csr_array:
        """Return the Hessian of S_h in the free entries, sparse."""
        blocks = stage_hessians(point) * self.weights[:, None, None]
        n = blocks.shape[-1] // 2
        w, v = slice(0, n), slice(n, 2 * n)
        rows = [[block_diag(blocks[:, a, b], format="csr") for b in (w, v)] for a in (w, v)]
        half = len(self.weights) * n
        position, velocity = self.stack[:half], self.stack[half:]
        return csr_array(
            position.T @ (rows[0][0] @ position + rows[0][1] @ velocity)
            + velocity.T @ (rows[1][0] @ position + rows[1][1] @ velocity)
        )

    def _kinetic(self, point: ActionPoint) -> csr_array:
        """`Q^T W l_vv Q`, positive definite."""
        n = point.points.shape[-1]
        mass = stage_hessians(point)[:, n:, n:] * self.weights[:, None, None]
        return csr_array(self.velocity.T @ (block_diag(mass, format="csr") @ self.velocity))


def stage_hessians(point: ActionPoint) -> np.ndarray:
    """Hessian of l in (w, v) at every stage, `(M, 2n, 2n)`, by 2n products in one batch."""
    stages, n = point.expansion.w.shape
    directions = np.broadcast_to(np.eye(2 * n)[:, None], (2 * n, stages, 2 * n))
    force, momentum = point.expansion.product(directions[..., :n], directions[..., n:])
    return np.moveaxis(np.concatenate([force, momentum], axis=-1), 0, -1)


def _banded(matrix: csr_array) -> np.ndarray:
    """Upper banded storage of a symmetric sparse matrix."""
    rows, columns = matrix.nonzero()
    width = int((columns - rows).max(initial=0))
    banded = np.zeros((width + 1, matrix.shape[0]))
    upper = columns >= rows
    banded[width + rows[upper] - columns[upper], columns[upper]] = np.asarray(
        matrix[rows[upper], columns[upper]]
    ).ravel()
    return banded
