"""A quadratic energy, E(w) = 1/2 w^T H w, whose flow and minimum-action paths are known in closed form.

Known answers, in the eigenbasis of H (eigenvalues lam_i, coordinates z_i) with mass 1 (an exercise in the calculus of
variations):

    flow:    w(t) = expm(-H t / mass) w(0)
    action:  S = sum_i lam_i (z_i(T) - exp(-lam_i T) z_i(0))^2 / (1 - exp(-2 lam_i T)), both ends fixed;

H = [[2, 0.5], [0.5, 1]] from (1, -1) to (0.5, 0.8) in T = 1.5: 2.0188818570.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import expm

import actionopt as ao

HESSIAN = ((2.0, 0.5), (0.5, 1.0))
POINTS = {"start": (1.0, -1.0), "end": (0.5, 0.8), "minimum": (0.0, 0.0)}
HORIZON, ACTION = 1.5, 2.0188818570


def build(hessian: Any = HESSIAN, mass: float = 1.0) -> ao.Problem:
    """Return the gradient flow `mass w' = -H w`; H is symmetric, of any size."""
    matrix = np.array(hessian, dtype=float)
    return ao.Problem(
        [ao.Parameter(len(matrix))],
        None,
        None,
        ao.CustomLoss(lambda ops, w, target: 0.5 * ops.sum(w * ops.matmul(w, matrix)), name="quadratic energy"),
        mass=mass,
        output_metric=None,
        name="quadratic",
    )


def exact_flow(start: Any, times: Any, hessian: Any = HESSIAN) -> np.ndarray:
    """Return the flow of mass 1 from `start (n,)` at `times (k,)`: `(k, n)`."""
    return np.stack([expm(-np.asarray(hessian) * t) @ start for t in times])


def exact_action(start: Any, end: Any, horizon: float, hessian: Any = HESSIAN) -> float:
    """Return the least action of mass 1 between two points `(n,)`, every eigenvalue of H being positive."""
    rates, vectors = np.linalg.eigh(hessian)
    decay = np.exp(-rates * horizon)
    gap = vectors.T @ np.asarray(end) - decay * (vectors.T @ np.asarray(start))
    return float(np.sum(rates * gap**2 / (1.0 - decay**2)))
