"""A quadratic energy, `E(w) = 1/2 w^T H w`, with paths and flow in closed form.

Source
------
An exercise in the calculus of variations.

Known answer
------------
In the eigenbasis of H (eigenvalues lam_i > 0, coordinates z_i), with mass 1:

    flow:    w(t) = expm(-H t) w(0)                                                              (`exact_flow`)
    action:  S = sum_i lam_i (z_i(T) - exp(-lam_i T) z_i(0))^2 / (1 - exp(-2 lam_i T))           (`exact_action`)

with both ends fixed. H = [[2, 0.5], [0.5, 1]] from (1, -1) to (0.5, 0.8) in T = 1.5: 2.0188818570.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import expm

import actionopt as ao

HESSIAN = ((2.0, 0.5), (0.5, 1.0))
POINTS = {"start": (1.0, -1.0), "end": (0.5, 0.8), "minimum": (0.0, 0.0)}
HORIZON, ACTION = 1.5, 2.0188818570
RUN = {"start": "start", "end": "end", "horizon": 1.5}  # what a report shows unless told otherwise


def build(hessian: Any = HESSIAN, mass: float = 1.0) -> ao.Problem:
    """Return the gradient flow `mass w' = -H w`; H is symmetric, of any size."""
    matrix = np.atleast_2d(np.array(hessian, dtype=float))
    if matrix.shape != matrix.T.shape or not np.array_equal(matrix, matrix.T):
        raise ao.InputError(f"hessian must be a symmetric matrix, got shape {matrix.shape}: {matrix.tolist()}")
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


def known(hessian: Any, mass: float) -> dict[str, float]:
    """Return the least energy, and the action of the path in `RUN`."""
    if mass != 1.0 or hessian is not HESSIAN:
        return {"energy": 0.0}
    return {"energy": 0.0, "path action": exact_action(POINTS["start"], POINTS["end"], RUN["horizon"])}


if __name__ == "__main__":
    from problems._main import main

    main(__file__, "action", "--start", "start", "--end", "end", "--horizon", str(HORIZON), "--scheme", "gauss2")
