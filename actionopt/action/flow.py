"""The Riemannian gradient flow `w' = -G(w)^{-1} g(w)`, integrated forward in time and certified."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from actionopt.action.certificate.certificate import FlowCertificate, certify_flow
from actionopt.action.checkpoint import Checkpoint
from actionopt.action.clock import own_times
from actionopt.action.density.gradient_flow import GradientFlowDensity
from actionopt.action.ensemble.ensemble import Ensemble
from actionopt.action.ensemble.flows import may_stack, one_by_one, stacked_flows
from actionopt.action.explicit import EXPLICIT, INTERRUPTED, SOLVE_IVP, Course, flow_velocity, follow
from actionopt.action.march import March, march
from actionopt.action.on_manifolds import march_on
from actionopt.action.outcome import judged_flow
from actionopt.action.progress import progress_bar
from actionopt.action.scheme import Scheme, make_grid, make_scheme
from actionopt.action.system import names_of
from actionopt.action.trajectory import Trajectory
from actionopt.arrays import real_number
from actionopt.errors import InputError, SolverError, is_name, unknown_name
from actionopt.interrupts import uninterrupted
from actionopt.metric.kinds import kind_of
from actionopt.metric.tangent import Manifold, Placed, placed
from actionopt.problem import Problem, takes_problem

__all__ = ["COLLOCATION", "SOLVE_IVP", "flow", "flow_velocity"]

COLLOCATION = {"radau5": "radau5", "radau3": "radau3", "gauss2": "gauss2", "implicit_midpoint": "midpoint"}
METHODS = (*COLLOCATION, *EXPLICIT, *SOLVE_IVP)


@takes_problem
def flow(
    problem: Problem,
    w0: Any = None,
    *,
    horizon: float | None = None,
    steps: int = 100,
    times: Any = None,
    method: str = "radau5",
    metric: str = "layerwise",
    rate: Callable[[float], Any] | None = None,
    tol: float = 1e-11,
    certify: bool = True,
    manifolds: Iterable[Manifold] = (),
    progress: bool = False,
    checkpoint: Checkpoint | None = None,
    throw: bool = True,
) -> Any:
    """Integrate the gradient flow of a problem, from one start or many, and say how far from it the result is.

    Parameters
    ----------
    problem : Problem
    w0 : array (n,) or (S, n), optional
        Start, or S of them; `problem.initial_weights()` where None. Many are marched all at once, each as it would go
        alone, where the method's steps are fixed and the problem is small; else one after the other.
    horizon : float
        Time to integrate over.
    steps : int
        Number of equal steps; or give the nodes as `times`.
    times : array (N+1,), optional
        Nodes, increasing; they replace horizon and steps.
    method : str
        "radau5" or "radau3" (orders 5 and 3, L-stable: modes much faster than a step are gone after it), "gauss2" or
        "implicit_midpoint" (orders 4 and 2, not L-stable: such modes ring), each the minimiser of its discrete action;
        "euler" (the explicit layerwise step at each node) or "rk4"; or a method of `scipy.integrate.solve_ivp`
        ("DOP853", "Radau", ...), adaptive between the nodes with relative and absolute tolerance `tol / 10`, 1e-13 at
        least.
    metric : "layerwise", "joint" or "euclidean"
        Euclidean is the mass alone.
    rate : callable, optional
        `rate(t) >= 0`, as a learning-rate schedule: the flow is `w' = -rate(t) G^{-1} g`. It is the plain flow in its
        own time `int rate dt`, in which the trajectory is discretised and certified (`Trajectory.flow_times`).
    tol : float
        Largest residual of the implicit equations, relative to the size of g; they are solved to rounding where
        that is smaller.
    certify : bool
        Estimate the distance to the true flow, when it, the certificate, status or message is asked for: at most about
        the time of "rk4". False leaves it out, and the status then says that the horizon was reached.
    manifolds : iterable of Stiefel, Positive, Simplex or Ball
        Sets that weights of modules stay in; method is "euler" or "rk4" then. The flow is tangent to them, so its
        action and balance, which measure the distance to the free flow, are not small, and it is not certified.
    progress : bool
        Show a progress bar on stderr.
    checkpoint : actionopt.action.checkpoint.Checkpoint, optional
        File where an implicit method's march is kept every half minute, and gone on from.
    throw : bool
        Raise if the flow stops early; otherwise the trajectory so far comes back with its status. Of many, one that
        stops is told by its status alone: it is an error if all of them do.

    Returns
    -------
    Trajectory, or Ensemble (a list of S of them)
        `distance` is the estimated distance of each node to the true flow, in the metric, and `certificate` the action
        of a curve through the nodes in continuous time. Where the distance is no longer small beside the length of the
        trajectory the status is "underresolved" and `success` False; nothing is raised for that. `action` is the
        discrete action of the scheme, which says that the equations of an implicit method were solved, not how far
        they are from the flow.

    Raises
    ------
    InputError
        For weights, times, a rate, a tolerance or names that cannot be used.
    SolverError
        If energy or weights stop being finite, a step's equations are not solved, or Ctrl-C comes; with the trajectory
        so far.

    Notes
    -----
    Steps whose equations cannot be solved, as at a kink of relu, are taken in parts, and with explicit steps where no
    part can be solved; the message says how many.

    Examples
    --------
    >>> found = ao.flow(problem, w, horizon=1.0, steps=10)
    >>> bool(found.energy[-1] < found.energy[0]), bool(found.distance.max() < 1e-3)
    (True, True)
    """
    _check(method, metric, tol)
    manifolds = tuple(manifolds)
    start = problem.check_weights(problem.initial_weights() if w0 is None else w0, "w0")
    grid = make_grid(horizon, steps, times)
    clock = grid if rate is None else own_times(rate, grid)
    density = GradientFlowDensity(problem, metric)
    where = placed(problem, manifolds)
    if start.ndim == 2:

        def alone(w: np.ndarray) -> Trajectory:
            found: Trajectory = flow(
                problem,
                w,
                times=grid,
                method=method,
                metric=metric,
                rate=rate,
                tol=tol,
                certify=certify,
                manifolds=manifolds,
                throw=False,
            )
            return found

        scheme = make_scheme(COLLOCATION.get(method, "midpoint"), clock)
        with progress_bar(len(grid) - 1, "flows", progress) as tick:
            if where or not may_stack(density, method, scheme):
                runs = one_by_one(alone, start, grid)
            else:
                runs = stacked_flows(
                    density, scheme, start, method=method, tol=tol, certify=certify, times=grid, tick=tick
                )
        return _told(runs, len(start), throw)
    if start.ndim > 2:
        n = problem.size
        raise InputError(f"w0 must be one point ({n},), or many (S, {n}), got shape {start.shape}")
    if where:
        return _on_manifolds(density, where, clock, start, method, metric, progress, throw)
    with progress_bar(len(grid) - 1, "flow", progress) as tick:
        if method in COLLOCATION:
            scheme = make_scheme(COLLOCATION[method], clock)
            course: March | Course = march(density.model, scheme, start, tol=tol, tick=tick, checkpoint=checkpoint)
        else:
            scheme = make_scheme("midpoint", clock)
            course = follow(problem, metric, clock, start, method, tol, certify, tick)
    points, failure = np.array(course.points), course.failure
    if len(points) == 1 and failure == INTERRUPTED:
        raise KeyboardInterrupt
    scheme, points = scheme.up_to(points)
    trajectory = _evaluate(density, scheme, points, {**course.stats, "method": method})
    if rate is not None:
        trajectory = replace(trajectory, times=grid[: len(scheme.times)], flow_times=scheme.times)
    return _judge(trajectory, density, course, certify, throw)


def _told(runs: Ensemble, asked: int, throw: bool) -> Ensemble:
    """Raise where Ctrl-C came, or no run reached its horizon."""
    stopped = [run for run in runs if len(run.times) < len(runs.times)]
    if throw and (len(runs) < asked or any(run.status == INTERRUPTED for run in stopped)):
        raise SolverError(f"interrupted; {len(runs) - len(stopped)} of {asked} flows reached their horizon", runs)
    if throw and stopped and len(stopped) == asked:
        raise SolverError(f"none of {asked} flows reached its horizon; the first: {stopped[0].message}", runs)
    return runs


def _on_manifolds(
    density: GradientFlowDensity,
    where: Placed,
    clock: np.ndarray,
    start: np.ndarray,
    method: str,
    metric: str,
    progress: bool,
    throw: bool,
) -> Trajectory:
    """March on the manifolds; the trajectory is not certified."""
    with progress_bar(len(clock) - 1, "flow", progress) as tick:
        points, failure = march_on(density.problem, where, clock, start, method, metric, tick)
    scheme = make_scheme("midpoint", clock[: len(points)] if len(points) > 1 else clock[:2])
    trajectory = _evaluate(density, scheme, points if len(points) > 1 else np.repeat(points, 2, 0), {"method": method})
    status = "converged" if failure is None else "failed"
    message = failure or "on manifolds: the action measures the distance to the free flow"
    trajectory = replace(trajectory, success=failure is None, status=status, message=message)
    if failure is not None and throw:
        raise SolverError(message, trajectory)
    return trajectory


def _check(method: str, metric: str, tol: Any) -> None:
    kind_of(metric)
    if not is_name(method, METHODS):
        raise unknown_name("method", method, METHODS)
    if not 0.0 < real_number(tol) < np.inf:
        raise InputError(f"tol must be a positive, finite number, got {tol!r}")


def _evaluate(density: GradientFlowDensity, scheme: Scheme, points: np.ndarray, stats: dict[str, Any]) -> Trajectory:
    problem = density.problem
    with uninterrupted():
        return Trajectory.from_points(
            density, scheme, points, energy=problem.energy, stats=stats | names_of(problem), name=problem.name
        )


def _judge(
    trajectory: Trajectory,
    density: GradientFlowDensity,
    course: Course | March,
    certify: bool,
    throw: bool,
) -> Trajectory:
    """Give what was reached its status and message, certified when asked; raise where it stopped early."""

    def certified() -> FlowCertificate:
        clock = trajectory.discretisation.times
        if isinstance(course, March):
            return certify_flow(density, clock, trajectory.weights, errors=course.errors)
        last = course.nodes[-1] + 1
        times, weights = np.array(course.times[:last]), np.array(course.weights[:last])
        times[course.nodes] = clock
        return certify_flow(density, times, weights, np.array(course.nodes))

    found = judged_flow(trajectory, course.failure, certified if certify and len(trajectory.times) > 1 else None)
    if course.failure is not None and throw:
        raise SolverError(found.message, found)
    return found
