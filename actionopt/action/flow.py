"""The Riemannian gradient flow `w' = -G(w)^{-1} g(w)`, integrated forward in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from actionopt.action.density.gradient_flow import GradientFlowDensity
from actionopt.action.march import INTERRUPTED, march
from actionopt.action.progress import progress_bar
from actionopt.action.scheme import make_grid, make_scheme
from actionopt.action.trajectory import Trajectory
from actionopt.errors import SolverError, unknown_name
from actionopt.metric.batched import BatchedMetric
from actionopt.metric.kinds import kind_of
from actionopt.problem import Problem, takes_problem

Velocity = Callable[[np.ndarray], np.ndarray]
COLLOCATION = {"implicit_midpoint": "midpoint", "gauss2": "gauss2", "radau3": "radau3", "radau5": "radau5"}
SOLVE_IVP = ("RK45", "RK23", "DOP853", "Radau", "BDF", "LSODA")


@takes_problem
def flow(
    problem: Problem,
    w0: Any = None,
    *,
    horizon: float | None = None,
    steps: int = 100,
    times: Any = None,
    method: str = "implicit_midpoint",
    metric: str = "layerwise",
    tol: float = 1e-11,
    progress: bool = False,
    throw: bool = True,
) -> Trajectory:
    """Integrate the gradient flow of a problem.

    Parameters
    ----------
    problem : Problem
    w0 : array (n,), optional
        Start; `problem.initial_weights()` where None.
    horizon : float
        Time to integrate over.
    steps : int
        Number of equal steps; or give the nodes as `times`.
    times : array (N+1,), optional
        Nodes, increasing; they replace horizon and steps.
    method : str
        "implicit_midpoint" (order 2) or "gauss2" (order 4), the minimisers of the two discrete actions; "euler" (the
        explicit layerwise step at each node) or "rk4"; or a method of `scipy.integrate.solve_ivp` ("DOP853",
        "Radau", ...), adaptive between the nodes with relative and absolute tolerance `tol / 10`, 1e-13 at least.
    metric : "layerwise", "joint" or "euclidean"
        Euclidean is the mass alone.
    tol : float
        Largest residual of the implicit equations, relative to the size of g; they are solved to rounding where
        that is smaller.
    progress : bool
        Show a progress bar on stderr.
    throw : bool
        Raise if the flow stops early; otherwise the trajectory so far comes back with its status.

    Returns
    -------
    Trajectory
        Its action measures how far the discrete trajectory is from the flow: zero to rounding for the implicit
        methods, and the error of the explicit ones otherwise, on the midpoint discretisation of the nodes.

    Raises
    ------
    InputError
        For weights, times or names that cannot be used.
    SolverError
        If energy or weights stop being finite, a step's equations are not solved, or Ctrl-C comes; with the trajectory
        so far.
    """
    kind_of(metric)
    if method not in (*COLLOCATION, "euler", "rk4", *SOLVE_IVP):
        raise unknown_name("method", method, (*COLLOCATION, "euler", "rk4", *SOLVE_IVP))
    start = problem.check_point(problem.initial_weights() if w0 is None else w0, "w0")
    grid = make_grid(horizon, steps, times)
    density = GradientFlowDensity(problem, metric)
    with progress_bar(len(grid) - 1, "flow", progress) as tick:
        if method in COLLOCATION:
            done = march(density.model, make_scheme(COLLOCATION[method], grid), start, tol=tol, tick=tick)
            points, problem_met, stats = done.points, done.failure, done.stats
            scheme_name = COLLOCATION[method]
        else:
            points, problem_met, stats = _explicit(problem, metric, grid, start, method, tol, tick)
            scheme_name = "midpoint"
    return _finish(density, scheme_name, grid, points, problem_met, {**stats, "method": method}, throw)


def flow_velocity(problem: Problem, metric: str = "layerwise") -> Velocity:
    """Return the function `w -> -G(w)^{-1} g(w)` for weights `(..., n)`."""

    def velocity(w: np.ndarray) -> np.ndarray:
        batch = np.atleast_2d(w)
        solved = BatchedMetric(problem, batch, metric=metric).solve(problem.gradient(batch))
        return -solved.reshape(w.shape)

    return velocity


def _explicit(
    problem: Problem,
    metric: str,
    grid: np.ndarray,
    start: np.ndarray,
    method: str,
    tol: float,
    tick: Callable[[], None],
) -> tuple[np.ndarray, str | None, dict[str, Any]]:
    """Step from node to node; returns the nodes reached, what stopped it, and counts."""
    velocity = flow_velocity(problem, metric)
    advance = {"euler": _euler, "rk4": _rk4}.get(method) or _adaptive(method, max(tol / 10, 1e-13))
    points = [start]
    try:
        for t, h in zip(grid[:-1], np.diff(grid), strict=True):
            trouble = None
            try:
                with np.errstate(over="ignore", invalid="ignore"):
                    point = advance(velocity, points[-1], h)
                    if not (np.isfinite(point).all() and np.isfinite(problem.energy(point))):
                        trouble = "weights or energy are not finite"
            except (ValueError, SolverError) as error:  # SciPy's own where an implicit method meets infinity
                trouble = str(error)
            if trouble:
                return np.array(points), f"{trouble} in the step from t = {t:.4g}", {"iterations": len(points) - 1}
            points.append(point)
            tick()
    except KeyboardInterrupt:
        return np.array(points), INTERRUPTED, {"iterations": len(points) - 1}
    return np.array(points), None, {"iterations": len(points) - 1}


def _euler(velocity: Velocity, w: np.ndarray, h: float) -> np.ndarray:
    return w + h * velocity(w)


def _rk4(velocity: Velocity, w: np.ndarray, h: float) -> np.ndarray:
    k1 = velocity(w)
    k2 = velocity(w + 0.5 * h * k1)
    k3 = velocity(w + 0.5 * h * k2)
    k4 = velocity(w + h * k3)
    return w + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)


def _adaptive(method: str, tol: float) -> Callable[[Velocity, np.ndarray, float], np.ndarray]:
    from scipy.integrate import solve_ivp  # a third of a second, which few runs need

    def advance(velocity: Velocity, w: np.ndarray, h: float) -> np.ndarray:
        solution = solve_ivp(lambda t, y: velocity(y), (0.0, h), w, method=method, rtol=tol, atol=tol, t_eval=[h])
        if not solution.success:
            raise SolverError(f"solve_ivp ({method}): {solution.message}")
        return solution.y[:, -1]

    return advance


def _finish(
    density: GradientFlowDensity,
    scheme_name: str,
    grid: np.ndarray,
    points: np.ndarray,
    failure: str | None,
    stats: dict[str, Any],
    throw: bool,
) -> Trajectory:
    scheme = make_scheme(scheme_name, grid)
    reached = int(np.searchsorted(scheme.nodes, len(points) - 1, side="right")) - 1
    if reached < 1 and failure == INTERRUPTED:
        raise KeyboardInterrupt
    if reached < 1:
        raise SolverError(f"the flow did not take its first step: {failure}. Take more steps or a shorter horizon")
    if reached < len(grid) - 1:
        scheme = make_scheme(scheme_name, grid[: reached + 1])
        points = points[: scheme.nodes[-1] + 1]
    status, message = _outcome(failure, float(scheme.times[-1]))
    trajectory = Trajectory.from_points(
        density,
        scheme,
        points,
        energy=density.problem.energy,
        success=failure is None,
        status=status,
        message=message,
        stats=stats,
        name=density.problem.name,
    )
    if failure is not None and throw:
        raise SolverError(message, trajectory)
    return trajectory


def _outcome(failure: str | None, time: float) -> tuple[str, str]:
    """Return status and message of a flow that reached `time`."""
    if failure is None:
        return "converged", "the flow reached its horizon"
    if failure == INTERRUPTED:
        return INTERRUPTED, f"interrupted at t = {time:.4g}; this is the flow so far. Continue from its last weights"
    advice = "Take more steps, a larger mass or an implicit method"
    return "diverged", f"the flow stopped at t = {time:.4g}: {failure}. {advice}"
