"""A problem's own time scale: how long its flow takes, and how many steps resolve it."""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp

from actionopt.action.flow import flow, flow_velocity
from actionopt.action.interrupts import unless_interrupted
from actionopt.action.trajectory import Trajectory
from actionopt.errors import InputError, SolverError
from actionopt.problem import Problem

SETTLED = 1e-3  # the flow has settled when it dissipates energy at this share of its fastest rate
DOUBLINGS = 24
STEPS = (25, 50, 100, 200, 400)
RESOLVED = 1e-3  # of the distance travelled


def settling_time(problem: Problem, w0: np.ndarray, metric: str = "layerwise") -> float:
    """Return the time in which the gradient flow from `w0 (n,)` settles, rounded to one digit.

    The flow is followed over spans that double, from the time in which it moves by a hundredth of its size, until the
    rate `g^T G^{-1} g` at which it loses energy is a thousandth of the fastest seen.

    Raises
    ------
    SolverError
        If the start is stationary or the flow cannot be followed.
    """
    velocity = flow_velocity(problem, metric)
    w, speed = w0, float(np.linalg.norm(velocity(w0)))
    if not np.isfinite(speed) or speed <= 1e-12 * (1.0 + float(np.linalg.norm(w0))):
        raise SolverError("the flow is stationary at its start and has no time scale: give a horizon or another start")
    span = total = 0.01 * (1.0 + float(np.linalg.norm(w0))) / speed
    fastest = 0.0
    for _ in range(DOUBLINGS):
        solution = solve_ivp(lambda t, y: velocity(y), (0.0, span), w, method="RK23", rtol=1e-2, atol=1e-4)
        if not solution.success:
            raise SolverError(f"the flow could not be followed to find its time scale: {solution.message}")
        w = solution.y[:, -1]
        rate = -float(problem.gradient(w) @ velocity(w))
        fastest = max(fastest, rate)
        if rate <= SETTLED * fastest:
            break
        span, total = total, 2.0 * total
    return float(f"{total:.0e}")


def resolved_flow(
    problem: Problem, w0: np.ndarray, horizon: float, metric: str = "layerwise", steps: int | None = None
) -> tuple[Trajectory, float | None]:
    """Follow the flow by the explicit metric step (Runge-Kutta 4), with enough steps.

    Parameters
    ----------
    problem : Problem
    w0 : array (n,)
    horizon : float
    metric : str
    steps : int, optional
        Number of steps; where None it doubles until the nodes move by less than a thousandth of the distance
        travelled.

    Returns
    -------
    (Trajectory, float or None)
        The flow, and how far its nodes moved at the last doubling relative to the distance travelled; None for given
        steps. Where the explicit step stays unstable the flow is by the implicit midpoint rule.
    """
    if steps is not None:
        return _follow(problem, w0, horizon, steps, metric), None
    coarse, change = None, np.inf
    for count in STEPS:
        fine = _explicit(problem, w0, horizon, count, metric)
        if fine is not None and coarse is not None:
            # a flow that rests is measured by its own size, down to rounding
            travelled = max(float(abs(fine.weights - w0).max()), 1e-9 * (1.0 + float(abs(w0).max())))
            change = float(abs(fine.weights[::2] - coarse.weights).max()) / travelled
            if change <= RESOLVED:
                return fine, change
        coarse = fine
    if coarse is not None:
        return coarse, change
    return _follow(problem, w0, horizon, STEPS[-1], metric), None


def _follow(problem: Problem, w0: np.ndarray, horizon: float, steps: int, metric: str) -> Trajectory:
    explicit = _explicit(problem, w0, horizon, steps, metric)
    if explicit is not None:
        return explicit
    return unless_interrupted(flow(problem, w0, horizon=horizon, steps=steps, metric=metric, throw=False))


def _explicit(problem: Problem, w0: np.ndarray, horizon: float, steps: int, metric: str) -> Trajectory | None:
    """Return the explicit flow, or None where it is unstable: not finite, or its energy rises."""
    try:
        found = flow(problem, w0, horizon=horizon, steps=steps, method="rk4", metric=metric, throw=False)
    except (InputError, SolverError):
        return None
    unless_interrupted(found)
    assert found.energy is not None
    rising = np.diff(found.energy) > 1e-9 * (abs(found.energy[0]) + 1e-300)
    return None if rising.any() or not found.success else found
