"""Bounds of eigenvalues of symmetric interval matrices: congruence with approximate eigenvectors, then Gershgorin.

For every symmetric A in an interval matrix and every matrix V, `A = V^-T B V^-1` with `B = V^T A V`, and
`y^T B y >= L |y|^2` with L the least eigenvalue of the comparison matrix of B: the lower ends of its diagonal, minus
the largest absolute values elsewhere. L is bounded from below by Collatz and Wielandt's quotient `min (C x)_i / x_i`,
x > 0. `|V y|^2` lies within `1 -+ |V^T V - I|` of `|y|^2`.
"""

from __future__ import annotations

import numpy as np

from actionopt.ops.interval import INTERVAL
from actionopt.ops.rounded import UNIT, Interval, as_interval, middle, point


def least_eigenvalue(matrix: Interval) -> np.ndarray:
    """Return lower bounds `(...)` of the eigenvalues of symmetric interval matrices `(..., n, n)`; -inf for none."""
    with np.errstate(all="ignore"):
        centre, radius = middle(matrix)
        centre = 0.5 * (centre + np.swapaxes(centre, -1, -2))
        known = np.isfinite(centre).all(axis=(-1, -2)) & np.isfinite(matrix.magnitude).all(axis=(-1, -2))
        _, vectors = np.linalg.eigh(np.where(known[..., None, None], centre, 0.0))
        stretch = stretching(vectors)
        together = _divided(comparison_bound(congruent(matrix, vectors)), stretch)
        if matrix.is_point:
            return np.where(known, together, -np.inf)
        # or the middle alone, less the spectral radius of the radii, which rotating them would enlarge
        radius = np.maximum(radius, np.swapaxes(radius, -1, -2)) + UNIT * abs(centre)
        apart = _divided(comparison_bound(congruent(point(centre), vectors)), stretch)
        apart = np.nextafter(apart - spectral_radius(radius), -np.inf)
        return np.where(known, np.fmax(together, apart), -np.inf)


def greatest_eigenvalue(matrix: Interval) -> np.ndarray:
    """Return upper bounds `(...)`; inf where nothing is known."""
    return -least_eigenvalue(-matrix)


def congruent(matrix: Interval, vectors: np.ndarray) -> Interval:
    """Return `V^T A V` for symmetric matrices, made symmetric."""
    half = INTERVAL.matmul(point(np.swapaxes(vectors, -1, -2)), matrix)
    found = INTERVAL.matmul(half, point(vectors))
    turned = INTERVAL.transpose(found)  # both enclose the same numbers
    return Interval(np.maximum(found.lo, turned.lo), np.minimum(found.hi, turned.hi))


def stretching(vectors: np.ndarray) -> np.ndarray:
    """Return a bound `(...)` of the norm of `V^T V - I`."""
    gram = INTERVAL.matmul(point(np.swapaxes(vectors, -1, -2)), point(vectors))
    return _row_sums((gram - np.eye(vectors.shape[-1])).magnitude).max(axis=-1)


def comparison_bound(matrix: Interval) -> np.ndarray:
    """Return a lower bound of the eigenvalues of the comparison matrix, and so of every matrix inside."""
    n = matrix.shape[-1]
    away = matrix.magnitude
    away[..., range(n), range(n)] = 0.0
    diagonal = matrix.lo[..., range(n), range(n)]
    comparison = -away
    comparison[..., range(n), range(n)] = diagonal
    sound = np.isfinite(comparison).all(axis=(-1, -2))
    _, vectors = np.linalg.eigh(np.where(sound[..., None, None], comparison, 0.0))
    x = abs(vectors[..., 0])
    x = np.maximum(x, 1e-9 * x.max(axis=-1, keepdims=True))
    best = np.full(matrix.shape[:-2], -np.inf)
    for weights in (x, np.ones_like(x)):
        pulled = INTERVAL.sum(point(away) * weights[..., None, :]).hi / weights
        pulled = np.nextafter(pulled, np.inf)
        best = np.fmax(best, np.nextafter(diagonal - pulled, -np.inf).min(axis=-1))
    return best


def spectral_radius(matrix: np.ndarray) -> np.ndarray:
    """Return an upper bound of the spectral radius of matrices `(..., n, n)` that are >= 0."""
    sound = np.isfinite(matrix).all(axis=(-1, -2))
    safe = np.where(sound[..., None, None], matrix, 0.0)
    x = np.ones(matrix.shape[:-1])
    best = _row_sums(safe).max(axis=-1)
    for _ in range(8):
        x = np.matmul(safe, x[..., None])[..., 0]
        top = x.max(axis=-1, keepdims=True)
        x = np.maximum(np.divide(x, top, out=np.ones_like(x), where=top > 0.0), 1e-9)
        quotient = _row_sums(safe * x[..., None, :] * (1.0 + UNIT)) / x
        best = np.minimum(best, np.nextafter(quotient.max(axis=-1), np.inf))
    return np.where(sound, best, np.inf)


def _row_sums(matrix: np.ndarray) -> np.ndarray:
    return matrix.sum(axis=-1) * (1.0 + (matrix.shape[-1] + 2) * UNIT)


def _divided(bound: np.ndarray, stretch: np.ndarray) -> np.ndarray:
    """Turn a bound of `y^T B y / |y|^2` into one of `x^T A x / |x|^2`, `x = V y`."""
    longest, shortest = np.nextafter(1.0 + stretch, 2.0), np.nextafter(1.0 - stretch, 0.0)
    shortest = np.where(shortest > 0.0, shortest, np.nan)
    return np.nextafter(np.where(bound >= 0.0, bound / longest, bound / shortest), -np.inf)


def spectral_norm(matrix: Interval) -> float:
    """Return an upper bound of the spectral norm of a matrix."""
    square = float(greatest_eigenvalue(INTERVAL.matmul(INTERVAL.transpose(matrix), matrix)))
    return float(np.sqrt(max(square, 0.0)) * (1.0 + 4.0 * UNIT))


def gram(rows: Interval) -> Interval:
    """Return `X^T X` `(..., n, n)` of rows `(..., p, n)`."""
    return INTERVAL.matmul(INTERVAL.transpose(as_interval(rows)), rows)
