"""Does the energy still fall beyond an end whose first-order conditions hold?

Residuals are relative to their terms. Where these are huge, as far from the origin or in a narrow curved valley, small
residuals hide a long way down; and where there is no minimum, they vanish along the way to it. Either is seen by
looking: at energies farther along the way from the start, and at the end of Newton's step.
"""

from __future__ import annotations

import numpy as np

from actionopt.constrained.energy import Energy
from actionopt.constrained.scale import Terms
from actionopt.constrained.task import TrainTask
from actionopt.newton.krylov import krylov_path

FARTHER = (0.1, 0.3, 1.0, 3.0)  # how much farther along the way from the start the energy is looked at
FALLS = 1e-3  # part of the energy by which it falls where an end is none,
GAINED = 1e-9  # and of what has been gained on the way,
ROUNDING = 1e-13  # and of what the terms are worth at these weights
PRODUCTS = 6  # with the Hessian, for Newton's step
SHARES = (1.0, 0.3, 0.1, 0.03)  # of Newton's step that are tried


def falls_for_ever(task: TrainTask, w: np.ndarray, energy: float) -> bool:
    """Whether the energy falls on and on beyond the end, along the way from the start."""
    way = w - task.start
    if not _alone(task) or not way.any():
        return False
    with np.errstate(all="ignore"):
        energies = np.array([energy, *(task.problem.energy(w + t * way) for t in FARTHER)])
    return bool((np.diff(energies) <= 0).all() and energies[-1] < energy - FALLS * abs(energy))


def falls_by_newton(task: TrainTask, w: np.ndarray, terms: Terms) -> float:
    """By what part of itself a step by conjugate gradients lowers the energy, 0 where by next to none."""
    if not _alone(task):
        return 0.0
    with np.errstate(all="ignore"):
        point = Energy(task.problem)(w)
        slope = point.gradient
        if not slope.any() or not np.isfinite(slope).all():
            return 0.0
        path = krylov_path(slope, point.product, np.copy, radius=np.inf, tol=0.0, max_products=PRODUCTS)
        if path.legs[-1].alpha == np.inf:  # negative curvature, which is another's to judge
            return 0.0
        step = path.within(np.inf).direction
        fallen = point.value - min(float(np.nan_to_num(task.problem.energy(w + t * step), nan=np.inf)) for t in SHARES)
        gained = max(task.problem.energy(task.start) - point.value, 0.0)
    worth = float((terms.weights * abs(w)).max(initial=0.0))
    enough = FALLS * abs(point.value) + GAINED * gained + ROUNDING * worth
    return float(fallen / max(abs(point.value), fallen)) if fallen > enough else 0.0


def _alone(task: TrainTask) -> bool:
    """Whether the energy alone decides."""
    return not task.bounded and not task.constraints and task.penalty is None
