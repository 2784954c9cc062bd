"""Conjugate gradients on a block's system, preconditioned by a Cholesky factor: its own, an older one or none.

With its own factor the first iteration is the direct solution and further ones refine it, so one algorithm serves the
direct solvers, the reuse of a factorisation along a trajectory, and the solver that never forms a matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import blas, lapack

from actionopt.errors import SolverError
from actionopt.metric.forms import Form

OBSERVED = 6  # iterations after which convergence is projected
# on short vectors an update in place by BLAS takes a quarter of NumPy's time
UPDATES = {"f": (blas.saxpy, blas.sscal), "d": (blas.daxpy, blas.dscal)}
REMEDY = "give the problem a larger mass, or scale its data or output metric down"


class Factor:
    """Cholesky factor of a block's system.

    Raises
    ------
    SolverError
        If the matrix is not finite or not numerically positive definite; the message names the block and the remedy.
    """

    def __init__(self, form: Form) -> None:
        matrix = form.matrix()
        if not np.isfinite(np.diagonal(matrix)).all():  # no other entry of a Gram matrix is larger
            raise SolverError(f"{form.block.label}: the {form.name} matrix of its metric is not finite; {REMEDY}")
        # the upper triangle in Fortran's order is the lower one of the array at hand: no copy
        self.upper, failed = lapack.dpotrf(matrix.T, lower=0, clean=0, overwrite_a=1)
        if failed:
            raise SolverError(
                f"{form.block.label}: the {form.name} matrix of its metric ({len(matrix)} x {len(matrix)}) is not "
                f"numerically positive definite, Cholesky stopped at row {failed}; {REMEDY}"
            )

    def solve(self, b: np.ndarray) -> np.ndarray:
        """Return `A^{-1} b`, b `(size,)`."""
        return lapack.dpotrs(self.upper, b, lower=0)[0].reshape(b.shape).astype(b.dtype, copy=False)

    @property
    def logdet(self) -> float:
        """Logarithm of the determinant of the system's matrix."""
        return 2.0 * float(np.log(np.diagonal(self.upper)).sum())


@dataclass(frozen=True)
class Iterate:
    """Where conjugate gradients stopped.

    Attributes
    ----------
    y : array (size,)
        The system's solution.
    iterations : int
    error : float
        Bound on the relative error of the block's solution.
    converged : bool
    residual : array (size,)
        `b - A y`, as the recursion has it.
    """

    y: np.ndarray
    iterations: int
    error: float
    converged: bool
    residual: np.ndarray


def conjugate_gradients(
    form: Form,
    b: np.ndarray,
    cc: float,
    *,
    tol: float,
    limit: float,
    patient: bool = False,
    factor: Factor | None = None,
    starts: Sequence[np.ndarray] = (),
) -> Iterate:
    """Solve a block's system for the right-hand side `b (size,)`.

    Parameters
    ----------
    cc : float
        `c~ . c~` of the right-hand side, which the error is measured with.
    tol : float
        Bound on the relative error of the solution.
    limit : float
        Iterations it may take.
    patient : bool
        Whether it goes on to the limit, though its convergence does not promise to get there.
    factor : Factor, optional
        Preconditioner.
    starts : sequence of arrays (size,)
        Solutions of similar systems: the best of their combinations is the first guess.
    """
    y, residual = _first_guess(form, b, starts)
    axpy, scal = UPDATES[residual.dtype.char]
    squared = float(np.dot(residual, residual))
    # with a factor and no first guess there is nothing to measure before the first iteration
    error = form.error(cc, b, y, residual, squared) if factor is None or starts or not squared else np.inf
    reachable, first = (2.0 * tol) ** 2 * cc, np.inf  # no solution is longer than c~: above that square error > tol
    direction, previous, iteration = np.zeros_like(residual), np.inf, 0
    while error > tol and iteration < limit:
        preconditioned = residual if factor is None else factor.solve(residual)
        square = squared if factor is None else float(np.dot(residual, preconditioned))
        scal(square / previous, direction)
        axpy(preconditioned, direction)
        image = form.apply(direction)
        step = square / float(np.dot(direction, image))
        axpy(direction, y, a=step)
        axpy(image, residual, a=-step)
        previous, squared = square, float(np.dot(residual, residual))
        iteration += 1
        if squared <= reachable or iteration in (1, OBSERVED) or not iteration < limit:
            error = form.error(cc, b, y, residual, squared)
        if iteration == 1:
            first = error
        if not patient and iteration == OBSERVED and projected(first, error, tol) > limit:
            break
    return Iterate(y, iteration, error, error <= tol, residual)


def projected(first: float, last: float, tol: float) -> float:
    """Return how many iterations it takes in all if the error goes on falling as it did from 1 to `OBSERVED`."""
    if last <= tol:
        return OBSERVED
    if not last < first:
        return np.inf
    return 1 + (OBSERVED - 1) * float(np.log(tol / first) / np.log(last / first))


def _first_guess(form: Form, b: np.ndarray, starts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the solution's projection on earlier solutions, and its residual (Fischer 1998), as new arrays."""
    if not starts:
        return np.zeros_like(b), b.copy()
    basis = np.linalg.qr(np.stack(starts, axis=1))[0]
    images = np.stack([form.apply(direction) for direction in basis.T], axis=1)
    combination = np.linalg.solve(basis.T @ images, basis.T @ b)
    return basis @ combination, b - images @ combination
