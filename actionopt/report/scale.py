"""A problem's own time scale: how long its flow takes, and how many steps resolve it; nothing here has units."""

from __future__ import annotations

import numpy as np

from actionopt.action.explicit import flow_velocity
from actionopt.action.flow import flow
from actionopt.action.trajectory import Trajectory
from actionopt.errors import InputError, SolverError
from actionopt.interrupts import unless_interrupted
from actionopt.problem import Problem

REST = 1e-6  # share of the energy that the weights could change by moving as far as they are large, at rest
ROUNDING = 1e-24  # energy, beside that of the initial weights, that is the square of rounding
SLOWED = 1e-3  # the flow has slowed when it dissipates energy at this share of its fastest rate
SETTLED = 1e-3  # and settled when its gradient, in the metric, is this share of its largest
DOUBLINGS = 24
STEPS_A_SPAN = 4  # implicit steps over a span that doubles the time
STEPS = (25, 50, 100, 200, 400)
SHORTEST = 1e-8  # first step of a stiff flow, as a share of its time
RESOLVED = 1e-3  # of the distance travelled


def at_rest(problem: Problem, w: np.ndarray, seed: int = 0) -> bool:
    """Whether `w (n,)` is a stationary point of the energy, in no units.

    Moved by their own size, the weights would change the energy by no more than a millionth of it; or the energy itself
    is rounding beside that of the initial weights.
    """
    with np.errstate(all="ignore"):
        energy, first = (abs(float(problem.energy(point))) for point in (w, problem.initial_weights(seed)))
    change = float(abs(problem.gradient(w)).max(initial=0.0)) * length_scale(problem, w)
    return change <= REST * energy or (np.isfinite(first) and energy <= ROUNDING * first)


def length_scale(problem: Problem, w: np.ndarray) -> float:
    """Return the largest entry of w, or where all are zero of the initial weights, or one."""
    sizes = (float(abs(point).max(initial=0.0)) for point in (w, problem.initial_weights(), np.ones(1)))
    return next(size for size in sizes if size > 0.0)


def settling_time(problem: Problem, w0: np.ndarray, metric: str = "layerwise") -> float:
    """Return the time in which the gradient flow from `w0 (n,)` slows down, rounded to one digit.

    The flow is followed by a few implicit steps over spans that double, from the time in which it moves by a hundredth
    of its size, until the rate `g^T G^{-1} g` at which it loses energy is a thousandth of the fastest seen. That is not
    to settle: on a slow manifold much may be left to lose (`settled`).

    Raises
    ------
    SolverError
        If the start is stationary or the flow cannot be followed.
    """
    velocity = flow_velocity(problem, metric)
    w, length = w0, length_scale(problem, w0)
    speed = float(abs(velocity(w0)).max())
    if not np.isfinite(speed) or at_rest(problem, w0):
        raise SolverError("the flow is stationary at its start and has no time scale: give a horizon or another start")
    span = total = 0.01 * length / speed
    fastest = dissipation(problem, w0, velocity(w0))
    for _ in range(DOUBLINGS):
        followed = flow(
            problem, w, horizon=span, steps=STEPS_A_SPAN, method="radau3", metric=metric, certify=False, throw=False
        )
        if not unless_interrupted(followed).success:
            raise SolverError(f"the flow could not be followed to find its time scale: {followed.message}", followed)
        w = followed.weights[-1]
        rate = dissipation(problem, w, velocity(w))
        fastest = max(fastest, rate)
        if rate <= SLOWED * fastest:
            break
        span, total = total, 2.0 * total
    return float(f"{total:.0e}")


def dissipation(problem: Problem, w: np.ndarray, velocity: np.ndarray) -> float:
    """Return the rate `g^T G^{-1} g` at which a flow loses energy."""
    return -float(problem.gradient(w) @ velocity)


def settled(problem: Problem, found: Trajectory, metric: str = "layerwise") -> bool:
    """Whether a flow has settled at its end: its gradient, in the metric, is a thousandth of its largest."""
    velocity = flow_velocity(problem, metric)
    losses = [dissipation(problem, w, velocity(w)) for w in found.weights[[0, len(found.times) // 10, -1]]]
    return losses[-1] <= SETTLED**2 * max(losses)


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
        steps. Where the explicit step is unstable or too coarse the flow is by the default method, which is L-stable;
        on `graded_times` where no steps are given.
    """
    if steps is not None:
        return _follow(problem, w0, horizon, steps, metric), None
    coarse, change = None, np.inf
    for count in STEPS:
        fine = _explicit(problem, w0, horizon, count, metric)
        if fine is not None and coarse is not None:
            # a flow that rests is measured by its own size, down to rounding
            travelled = max(float(abs(fine.weights - w0).max()), 1e-9 * length_scale(problem, w0))
            change = float(abs(fine.weights[::2] - coarse.weights).max()) / travelled
            if change <= RESOLVED:
                return fine, change
        coarse = fine
    if coarse is not None and coarse.success:
        return coarse, change
    return unless_interrupted(flow(problem, w0, times=graded_times(horizon), metric=metric, throw=False)), None


def graded_times(horizon: float) -> np.ndarray:
    """Return nodes that resolve a transient of any length: each step a twentieth of the time before it."""
    return np.append(0.0, np.geomspace(SHORTEST * horizon, horizon, STEPS[-1]))


def _follow(problem: Problem, w0: np.ndarray, horizon: float, steps: int, metric: str) -> Trajectory:
    explicit = _explicit(problem, w0, horizon, steps, metric)
    if explicit is not None and explicit.success:
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
    rising = np.diff(found.energy) > 1e-9 * abs(found.energy[0])
    return None if rising.any() or found.status == "diverged" else found
