"""Forward steps of the flow: explicit ones, and SciPy's adaptive methods between the nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from actionopt.errors import SolverError
from actionopt.metric.batched import BatchedMetric
from actionopt.problem import Problem

Velocity = Callable[[np.ndarray], np.ndarray]
Advance = Callable[[Velocity, np.ndarray, float], tuple[np.ndarray, np.ndarray]]
SOLVE_IVP = ("RK45", "RK23", "DOP853", "Radau", "BDF", "LSODA")
EXPLICIT = ("euler", "rk4")
INTERRUPTED = "interrupted"


@dataclass
class Course:
    """How far steps from node to node came.

    Attributes
    ----------
    points : list of arrays (n,)
        The nodes reached.
    failure : str or None
        What stopped it; `INTERRUPTED` for Ctrl-C.
    times, weights : lists
        Every step that was taken, those between nodes included.
    nodes : list of int
        Where the nodes are among these.
    """

    points: list[np.ndarray]
    failure: str | None = None
    times: list[float] = field(default_factory=list)
    weights: list[np.ndarray] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)

    @property
    def stats(self) -> dict[str, Any]:
        """`iterations`: the steps from node to node."""
        return {"iterations": len(self.points) - 1}


def flow_velocity(problem: Problem, metric: str = "layerwise") -> Velocity:
    """Return the function `w -> -G(w)^{-1} g(w)` for weights `(..., n)`."""

    def velocity(w: np.ndarray) -> np.ndarray:
        batch = np.atleast_2d(w)
        solved = BatchedMetric(problem, batch, metric=metric).solve(problem.gradient(batch))
        return -solved.reshape(w.shape)

    return velocity


def follow(
    problem: Problem,
    metric: str,
    grid: np.ndarray,
    start: np.ndarray,
    method: str,
    tol: float,
    certify: bool,
    tick: Callable[[], None],
) -> Course:
    """Step from node to node by "euler", "rk4" or a method of `solve_ivp`; to `certify` it on steps short enough."""
    velocity = flow_velocity(problem, metric)
    advance = {"euler": _one(euler_step), "rk4": _one(rk4_step)}.get(method) or _adaptive(
        method, max(tol / 10, 1e-13), certify
    )
    course = Course([start], times=[float(grid[0])], weights=[start], nodes=[0])
    try:
        for t, h in zip(grid[:-1], np.diff(grid), strict=True):
            course.failure = _step(problem, velocity, advance, course, float(t), float(h))
            if course.failure:
                break
            tick()
    except KeyboardInterrupt:
        course.failure = INTERRUPTED
    return course


def euler_step(velocity: Velocity, w: np.ndarray, h: float) -> np.ndarray:
    """Euler's explicit step: the layerwise step itself."""
    return w + h * velocity(w)


def rk4_step(velocity: Velocity, w: np.ndarray, h: float) -> np.ndarray:
    """The classical Runge-Kutta step of order 4."""
    k1 = velocity(w)
    k2 = velocity(w + 0.5 * h * k1)
    k3 = velocity(w + 0.5 * h * k2)
    k4 = velocity(w + h * k3)
    return w + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)


def _step(problem: Problem, velocity: Velocity, advance: Advance, course: Course, t: float, h: float) -> str | None:
    """Go on by one step; returns what stopped it."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            offsets, weights = advance(velocity, course.points[-1], h)
            if not (np.isfinite(weights[-1]).all() and np.isfinite(problem.energy(weights[-1]))):
                return "weights or energy are not finite"
    except (ValueError, ArithmeticError, SolverError) as error:  # SciPy's own where an implicit method meets infinity
        return str(error)
    course.points.append(weights[-1])
    course.times.extend((t + offsets).tolist())
    course.weights.extend(weights)
    course.nodes.append(len(course.weights) - 1)
    return None


def _one(step: Callable[[Velocity, np.ndarray, float], np.ndarray]) -> Advance:
    return lambda velocity, w, h: (np.array([h]), step(velocity, w, h)[None])


def _adaptive(method: str, tol: float, certify: bool) -> Advance:
    from scipy.integrate import solve_ivp  # a third of a second, which few runs need

    dense = certify and method == "DOP853"  # its steps are longer than pieces of degree five can follow

    def advance(velocity: Velocity, w: np.ndarray, h: float) -> tuple[np.ndarray, np.ndarray]:
        solution: Any = solve_ivp(
            lambda t, y: velocity(y), (0.0, h), w, method=method, rtol=tol, atol=tol, dense_output=dense
        )
        if not solution.success:
            raise SolverError(f"solve_ivp ({method}): {solution.message}")
        times, weights = solution.t, solution.y.T
        if dense:
            thirds = (times[:-1, None] + np.diff(times)[:, None] * [1.0 / 3.0, 2.0 / 3.0]).ravel()
            order = np.argsort(np.concatenate([times, thirds]), kind="stable")
            times = np.concatenate([times, thirds])[order]
            weights = np.concatenate([weights, solution.sol(thirds).T])[order]
        return times[1:], weights[1:]

    return advance
