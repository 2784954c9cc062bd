"""The lowest eigenvalue of a Hessian known by its products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal

NEGATIVE, POSITIVE = 1e-7, 1e-10  # part of the largest eigenvalue from which a sign is believed
SETTLED = 1e-3  # error, as a part of the largest eigenvalue, from which a value is called the lowest one
DENSE = 32  # unknowns up to which the matrix is formed


@dataclass(frozen=True)
class Lowest:
    """The lowest Ritz pair of a Krylov space.

    Attributes
    ----------
    value : float
        Never below the lowest eigenvalue (but for rounding): a negative value proves negative curvature.
    vector : array (n,)
        Of length one.
    error : float
        |H vector - value vector|: an eigenvalue lies within this distance of the value.
    scale : float
        Largest Ritz value by modulus, an estimate of |H|.
    products : int
    """

    value: float
    vector: np.ndarray
    error: float
    scale: float
    products: int

    @property
    def settled(self) -> bool:
        """Whether the value is an eigenvalue to a part of the largest."""
        return self.error <= SETTLED * self.scale

    @property
    def sign(self) -> int:
        """-1 or 1 where the value lies clear of zero, else 0.

        At a point where a gradient vanishes to 1e-8 of its scale only, a flat direction shows curvatures of either
        sign far above rounding. A value is an upper bound whatever its error, so that a negative one needs no margin
        for that.
        """
        if self.value < -NEGATIVE * self.scale:
            return -1
        return 1 if self.value > self.error + POSITIVE * self.scale else 0


def lowest_eigenvalue(
    product: Callable[[np.ndarray], np.ndarray],
    size: int,
    *,
    tol: float = 1e-6,
    max_products: int = 300,
    seed: int = 0,
) -> Lowest:
    """Approximate the lowest eigenpair of a symmetric matrix by Lanczos with full orthogonalisation.

    It stops where the error is below `tol` times the largest eigenvalue, after `max_products`, or where the Krylov
    space is exhausted. The start is random, so that no eigenvector is missed by symmetry.

    SciPy's `eigsh` wraps ARPACK, which gives no vector before it has converged; a look of a few products is what
    training wants at every stationary point.

    Up to 32 unknowns the matrix is formed, by one product with a stack of directions, and diagonalised.

    Source: G. Golub and C. Van Loan, Matrix Computations, 4th ed., chapter 10.
    """
    if size <= DENSE:
        values, vectors = np.linalg.eigh(product(np.eye(size)))
        return Lowest(float(values[0]), vectors[:, 0], 0.0, float(abs(values).max()), size)
    start = np.random.default_rng(seed).standard_normal(size)
    basis = [start / np.linalg.norm(start)]
    diagonal: list[float] = []
    beside: list[float] = []
    for count in range(1, min(max_products, size) + 1):
        image = product(basis[-1])
        diagonal.append(float(basis[-1] @ image))
        rows = np.array(basis)
        for _ in range(2):  # twice is enough (Kahan, Parlett)
            image = image - rows.T @ (rows @ image)
        norm = float(np.linalg.norm(image))
        scale = max(abs(value) for value in (*diagonal, *beside, norm))
        done = count in (max_products, size) or norm <= 1e-14 * scale
        if done or count % 5 == 0:
            values, vectors = eigh_tridiagonal(diagonal, beside)
            scale = float(abs(values).max())
            error = norm * abs(float(vectors[-1, 0]))
            if done or error <= tol * scale:
                break
        beside.append(norm)
        basis.append(image / norm)
    vector = np.array(basis).T @ vectors[:, 0]
    return Lowest(float(values[0]), vector / np.linalg.norm(vector), error, scale, count)
