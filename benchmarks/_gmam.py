"""The geometric minimum action method as published, written out by hand: the peer of `benchmarks/paths.py`.

M. Heymann and E. Vanden-Eijnden, The geometric minimum action method, Communications on Pure and Applied Mathematics
61, 1052-1117 (2008), section 3.1, for noise of strength one: points on a curve, central differences,

    d phi/d tau = lam^2 phi'' - lam (J - J^T) phi' - J^T b + lam lam' phi',    lam = |b| / |phi'|,

semi-implicit in phi'', and linear interpolation back to equal arc length after every step.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import solve_banded

Field = Callable[[np.ndarray], np.ndarray]


def action(points: np.ndarray, drift: Field) -> float:
    """Sum `|d| |b| - d . b` over the segments, b in their middles."""
    d, b = np.diff(points, axis=0), drift(0.5 * (points[1:] + points[:-1]))
    return float((np.linalg.norm(d, axis=1) * np.linalg.norm(b, axis=1) - (d * b).sum(axis=1)).sum())


def gmam(
    points: np.ndarray, drift: Field, jacobian: Field, *, step: float = 0.1, tol: float = 1e-8, most: int = 8000
) -> tuple[np.ndarray, int]:
    """Relax a curve `(N+1, n)` until no point moves faster than `tol`; return it and the number of steps."""
    count = len(points) - 1
    points = _even(points)
    for iteration in range(1, most + 1):
        b, slopes = drift(points), jacobian(points)
        first = 0.5 * count * (points[2:] - points[:-2])
        lam = np.zeros(count + 1)
        lam[1:-1] = np.linalg.norm(b[1:-1], axis=1) / np.linalg.norm(first, axis=1)
        lam[0], lam[-1] = 3 * lam[1] - 3 * lam[2] + lam[3], 3 * lam[-2] - 3 * lam[-3] + lam[-4]
        change = 0.5 * count * (lam[2:] - lam[:-2])
        inner, turned = lam[1:-1, None], slopes[1:-1]
        force = -inner * np.einsum("kij,kj->ki", turned - turned.swapaxes(1, 2), first)
        force -= np.einsum("kji,kj->ki", turned, b[1:-1])
        force += inner * change[:, None] * first
        weight = step * (lam[1:-1] * count) ** 2
        band = np.zeros((3, count - 1))
        band[1] = 1 + 2 * weight
        band[0, 1:], band[2, :-1] = -weight[:-1], -weight[1:]
        right = points[1:-1] + step * force
        right[0] += weight[0] * points[0]
        right[-1] += weight[-1] * points[-1]
        new = points.copy()
        new[1:-1] = solve_banded((1, 1), band, right)
        new = _even(new)
        moved = float(abs(new - points).max()) / step
        points = new
        if moved <= tol:
            return points, iteration
    return points, most


def _even(points: np.ndarray) -> np.ndarray:
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    places = np.linspace(0.0, arc[-1], len(points))
    return np.stack([np.interp(places, arc, column) for column in points.T], axis=-1)
