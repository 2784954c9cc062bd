"""Newton's method across the path: hyperplanes frozen, a banded Cholesky factor, a line search on the action."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded

from actionopt.paths.mesh import Hyperplanes, Path, action_of, evaluate
from actionopt.paths.system import System

LONGEST = 0.15  # step at a point, relative to the length of the path
ARMIJO = 1e-4
HALVINGS, RETRIES = 7, 4
NOISE = 1e-13  # changes of the action, relative to its scale, below which they are rounding
FIRST_SHIFT, GROWTH = 1e-3, 4.0


@dataclass(frozen=True)
class Stationary:
    """What Newton's method ended with.

    Attributes
    ----------
    path : Path
        With its Hessian.
    planes : Hyperplanes
        Across the path it started from.
    gradient_norm : float
        Largest entry of the gradient across the path, times the length of the path over the scale of its action.
    status : str
        "converged", "stalled" or "iteration limit".
    iterations : int
    """

    path: Path
    planes: Hyperplanes
    gradient_norm: float
    status: str
    iterations: int

    @property
    def converged(self) -> bool:
        """Whether the gradient is below the tolerance."""
        return self.status == "converged"


def solve(system: System, points: np.ndarray, fixed: np.ndarray, *, tol: float, max_iterations: int = 60) -> Stationary:
    """Make the action stationary from `points (2N+1, n)`, the ends and those numbered in `fixed` staying.

    The path may end on a saddle of the action: `lowest` in `second_variation.py` tells.
    """
    fixed = np.union1d(fixed, [0, len(points) - 1])
    planes = Hyperplanes.across(points, fixed)
    path = evaluate(system, points, hessian=True)
    if planes.width == 0 or len(planes.free) == 0:
        return Stationary(path, planes, 0.0, "converged", 0)
    shift, status, iteration = 0.0, "iteration limit", 0
    for iteration in range(max_iterations + 1):
        gradient = planes.reduce(path.gradient)
        if relative(path, gradient) <= tol:
            status = "converged"
            break
        if iteration == max_iterations:
            break
        moved = None
        band = planes.assemble(path)
        for _ in range(RETRIES):
            step, shift = _step(band, gradient, shift)
            moved = _search(system, path, planes, gradient, step)
            if moved is not None:
                break
            shift = max(FIRST_SHIFT, GROWTH**3 * shift)
        if moved is None:
            status = "stalled"
            break
        path = evaluate(system, moved.points, hessian=True)
    return Stationary(path, planes, relative(path, planes.reduce(path.gradient)), status, iteration)


def relative(path: Path, gradient: np.ndarray) -> float:
    """Return the largest entry of a gradient, times the length of the path over the scale of its action."""
    if not np.isfinite(path.action):
        return np.inf
    return float(abs(gradient).max(initial=0.0)) * path.length / max(path.gross, np.finfo(float).tiny)


def _step(band: np.ndarray, gradient: np.ndarray, shift: float) -> tuple[np.ndarray, float]:
    """Return the Newton step `(len(free), n-1)`, its Hessian shifted until it is positive definite, and the shift."""
    diagonal = np.abs(band[0]) + 1e-12 * np.abs(band[0]).max()
    shift = 0.0 if shift < FIRST_SHIFT else shift / GROWTH
    while True:
        shifted = band.copy()
        shifted[0] += shift * diagonal
        try:
            factor = cholesky_banded(shifted, lower=True, check_finite=False)
            step = cho_solve_banded((factor, True), -gradient.ravel(), check_finite=False)
        except LinAlgError:
            step = np.array(np.nan)
        if np.isfinite(step).all():
            return step.reshape(gradient.shape), shift
        if not np.isfinite(band).all() or shift > 1e12:
            return -gradient / diagonal.reshape(gradient.shape), shift
        shift = max(FIRST_SHIFT, GROWTH * shift)


def _search(system: System, path: Path, planes: Hyperplanes, gradient: np.ndarray, step: np.ndarray) -> Path | None:
    """Return the path at the first step length that lowers the action enough, None where none does."""
    longest = float(np.linalg.norm(step, axis=1).max())
    size = min(1.0, LONGEST * path.length / max(longest, np.finfo(float).tiny))
    slope = float((gradient * step).sum())
    noise = NOISE * path.gross
    before = relative(path, gradient)
    for _ in range(HALVINGS):
        points = planes.move(path.points, size * step)
        if not action_of(system, points) <= path.action + noise:
            size *= 0.5
            continue
        moved = evaluate(system, points)
        if moved.action <= path.action + ARMIJO * size * slope:
            return moved
        # where the action is settled to rounding the gradient decides
        if moved.action <= path.action + noise and relative(moved, planes.reduce(moved.gradient)) < 0.7 * before:
            return moved
        size *= 0.5
    return None
