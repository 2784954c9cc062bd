"""The gradient flow of weights that stay on manifolds: `w' = -x_T(w)`, the tangent part of `x = G^{-1} g`.

Standard projection (Hairer, Lubich, Wanner, Geometric Numerical Integration, IV.4): a step of an explicit method on the
field as it stands off the manifold too, then a retraction; the order of the method is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from actionopt.backprop import forward_pass
from actionopt.errors import InputError, SolverError
from actionopt.metric.kinds import kind_of
from actionopt.metric.layer_metric import LayerMetric, finite_gradient
from actionopt.metric.tangent import Placed, retracted, tangent
from actionopt.problem import Problem

METHODS = ("euler", "rk4")


def march_on(
    problem: Problem,
    where: Placed,
    times: np.ndarray,
    start: np.ndarray,
    method: str,
    metric: str,
    tick: Callable[..., Any],
) -> tuple[np.ndarray, str | None]:
    """Return the weights at the times, and what stopped them early.

    Raises
    ------
    InputError
        If the method is not one of `METHODS`.
    """
    if method not in METHODS:
        raise InputError(f"on manifolds flow takes method='euler' or 'rk4', got {method!r}")
    points = [retracted(start, where)]
    for before, after in pairwise(times):
        try:
            moved = points[-1] + _increment(problem, where, points[-1], after - before, method, metric)
        except (InputError, SolverError) as error:
            return np.array(points), str(error)
        if not np.isfinite(moved).all():
            return np.array(points), "the weights are not finite; take smaller steps"
        points.append(retracted(moved, where))
        tick()
    return np.array(points), None


def _increment(problem: Problem, where: Placed, w: np.ndarray, h: float, method: str, metric: str) -> np.ndarray:
    first = _velocity(problem, where, w, metric)
    if method == "euler":
        return h * first
    second = _velocity(problem, where, w + 0.5 * h * first, metric)
    third = _velocity(problem, where, w + 0.5 * h * second, metric)
    fourth = _velocity(problem, where, w + h * third, metric)
    return h / 6.0 * (first + 2.0 * second + 2.0 * third + fourth)


def _velocity(problem: Problem, where: Placed, w: np.ndarray, metric: str) -> np.ndarray:
    kind = kind_of(metric)
    if kind.pulls_back:
        inverse = LayerMetric(problem, w, joint=kind.together)
        return -tangent(inverse.solve, w, inverse.solve(inverse.gradient), where)
    g = finite_gradient(problem, forward_pass(problem, w))
    return -tangent(lambda c: c / problem.mass, w, g / problem.mass, where)
