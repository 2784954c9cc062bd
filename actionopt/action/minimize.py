"""Minimising a discretised action: the one entry to all solvers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from actionopt.action.certificate.certificate import certify_flow
from actionopt.action.density.gradient_flow import GradientFlowDensity
from actionopt.action.discrete import DiscreteAction
from actionopt.action.examine import Looks, found_and_examined
from actionopt.action.free_horizon import is_free, over_horizons
from actionopt.action.guess import GuessInterrupted, first_guess, random_guess
from actionopt.action.lagrangian import Lagrangian
from actionopt.action.newton.solve import make_density
from actionopt.action.outcome import judged_minimiser
from actionopt.action.progress import progress_bar
from actionopt.action.scheme import make_grid, make_scheme
from actionopt.action.solvers import make_solver
from actionopt.action.system import System, names_of
from actionopt.action.task import ActionTask, Limits, make_task
from actionopt.action.trajectory import Trajectory
from actionopt.action.verdict import CAUTIONS
from actionopt.errors import InputError, SolverError
from actionopt.memory import check_memory
from actionopt.problem import Problem
from actionopt.starts import from_starts, start_points


def minimize_action(
    what: Problem | Lagrangian,
    start: Any,
    end: Any = None,
    *,
    horizon: float | tuple[float, float] | None = None,
    steps: int = 100,
    times: Any = None,
    scheme: str = "midpoint",
    solver: str = "auto",
    formulation: str = "condensed",
    metric: str = "layerwise",
    guess: Any = None,
    bounds: tuple[Any, Any] | None = None,
    constraint: Callable[..., Any] | None = None,
    start_constraint: Callable[..., Any] | None = None,
    end_constraint: Callable[..., Any] | None = None,
    second_order: bool | None = None,
    escape: bool | None = None,
    tol: float = 1e-8,
    max_iterations: int = 1000,
    options: dict[str, Any] | None = None,
    progress: bool = False,
    certify: bool = True,
    throw: bool = True,
    starts: Any = None,
) -> Trajectory:
    """Find a trajectory of least action.

    Parameters
    ----------
    what : Problem or Lagrangian
        A problem stands for the action `int 1/2 |w' + G^{-1} g|^2_G dt` of its Riemannian gradient flow.
    start : array (n,)
        Where the trajectory starts; NaN components are free, all of them where None.
    end : array (n,), optional
        Where it ends; free where None, and NaN components are free. A free end of a gradient flow gives the flow
        itself, with zero action.
    horizon, steps : float, int
        Length of time and number of equal steps; or give the nodes as `times (N+1,)`. Of a Lagrangian the horizon may
        be free: bounds (shortest, longest), for CasADi's solvers; `stats["horizon_held"]` says whether it ends at one.
    scheme : "midpoint", "gauss2", "radau3" or "radau5"
        Order 2, 4, 3 or 5; the last two are L-stable, for systems with modes much faster than a step.
    solver : "auto", "newton", "ipopt", "fatrop" or another CasADi NLP solver
        "newton" minimises over the whole trajectory in NumPy and takes no constraints; "auto" is ipopt where there
        are constraints or the formulation is lifted, newton otherwise (it was the fastest at every size measured).
    formulation : "condensed" or "lifted"
        Lifted keeps states and adjoints of every time node as variables (CasADi solvers, problems only).
    metric : "layerwise", "joint" or "euclidean"
        Metric of a problem's flow; euclidean is the mass alone.
    guess : optional
        "flow", "line", a Trajectory, or points `(N+1, n)` at the nodes or `(K, n)` at the scheme's points. By default
        the flow where the end is free and there is one, the straight line otherwise.
    bounds : (lower, upper), optional
        Bounds on every node; the Lagrangian's own where None.
    constraint : callable, optional
        Path constraint `constraint(ops, w, v)` or `(ops, w, v, t)`, components <= 0; the Lagrangian's own where None.
        On positions alone it holds at nodes and stages, and along the curve or the status says so; with v at stages.
    start_constraint, end_constraint : callable, optional
        `(ops, w)` with components that vanish at the first and at the last node.
    second_order : bool, optional
        Compute the lowest eigenvalue of the second variation. By default where that costs little: for Lagrangians and
        small problems in a constant metric, without constraints but bounds.
    escape : bool, optional
        Leave saddles along their lowest mode, and try other guesses beside the line: for drifts that leave an
        attractor, and between constraints that stop the line. By default where no guess is given.
    tol : float
        Largest residual of the first-order conditions at which to stop, relative to the size of their terms.
    max_iterations : int
    options : dict, optional
        Options of a CasADi solver.
    progress : bool
        Show progress on stderr.
    certify : bool
        Estimate how far a flow, the minimiser of a free end, is from the true one (`.certificate`, `.distance`), when
        one of these, status or message is asked for: at about the price of an rk4 flow on the same nodes.
    throw : bool
        Raise if the solver stops early or on a saddle; otherwise the best trajectory comes back with its status. A
        minimum comes back in any case: "underresolved" or "horizon too short" are its statuses where it may not be
        what one looks for, and `success` is then False.
    starts : int or sequence of guesses, optional
        Minimise from so many guesses, the default one and others bent at random, or from each of these, in place of
        `guess`. The least action is returned; its `.starts` lists the distinct minima, and the starts that failed.

    Returns
    -------
    Trajectory
        A stationary path. `is_minimum` says whether it is a *local* minimum, where that was computed; other guesses may
        end lower. The status is "converged" only for a path that is no saddle, keeps its constraints along the curve,
        whose own action the grid resolves, and which, out of an attractor, a longer horizon would not improve by more
        than 1 % (asked without a guess).

    Raises
    ------
    InputError
        For input that cannot be used.
    SolverError
        If the status is not "converged"; its `result` is the best trajectory so far.

    Examples
    --------
    >>> well = ao.Drift(1, lambda ops, x: x - x**3)
    >>> path = ao.minimize_action(well, [-1.0], [0.0], horizon=8.0, steps=80, throw=False)
    >>> bool(0.5 < path.action < 0.51)                   # 1/2 as the time grows
    True
    """
    options_of_one: dict[str, Any] = {
        "scheme": scheme,
        "solver": solver,
        "formulation": formulation,
        "metric": metric,
        "bounds": bounds,
        "constraint": constraint,
        "start_constraint": start_constraint,
        "end_constraint": end_constraint,
        "second_order": second_order,
        "escape": escape,
        "tol": tol,
        "max_iterations": max_iterations,
        "options": options,
        "progress": progress,
        "certify": certify,
    }
    if starts is not None:
        if guess is not None:
            raise InputError("minimize_action takes a guess, or many starts, not both")
        laid = make_scheme(scheme, make_grid(1.0 if is_free(horizon) else horizon, steps, times))
        task = make_task(what, start, end, laid, bounds, constraint, metric)

        def solve(guess: Any) -> Trajectory:
            on = {"horizon": horizon, "steps": steps, "times": times, "guess": guess, "throw": False}
            return minimize_action(what, start, end, **on, **options_of_one)

        return _from_starts(task, starts, throw, solve)
    if times is None and is_free(horizon):
        found = over_horizons(
            minimize_action, what, start, end, horizon=horizon, steps=steps, guess=guess, options=options_of_one
        )
        return _given(found, throw, found.success)
    began = time.perf_counter()
    if not isinstance(what, (Problem, Lagrangian)):
        raise InputError(f"expected a Problem or a Lagrangian, got {type(what).__name__}")
    limits = Limits(tol, max_iterations)
    grid = make_grid(horizon, steps, times)
    check_memory(
        f"a path of {len(grid)} nodes with {what.size} coordinates", 4.0 * len(grid) * what.size, "take fewer steps"
    )
    laid = make_scheme(scheme, grid)
    task = make_task(
        what,
        start,
        end,
        laid,
        bounds,
        constraint,
        metric,
        start_constraint=start_constraint,
        end_constraint=end_constraint,
    )
    chosen = make_solver(task, solver, formulation, options)
    try:
        points = first_guess(task, guess)
    except GuessInterrupted as interrupt:
        reached = _guess_so_far(task, interrupt.points, began)
        if throw:
            raise SolverError(reached.message, reached) from None
        return reached
    action = DiscreteAction(make_density(task, small=True), task)
    guessed = time.perf_counter() - began
    with progress_bar(None, f"action ({chosen.name})", progress) as tick:
        looks = Looks(second_order, around=guess is None if escape is None else escape)
        solution = found_and_examined(chosen, action, points, looks, limits, tick)
    density = action.density if isinstance(what, Lagrangian) else make_density(task)
    stats = {**solution.stats, "solver": chosen.name, "guess_time": guessed}
    if action.end_cost is not None:
        stats["end_cost"] = action.end_cost.at(solution.points[-1])[0]
    trajectory = Trajectory.from_points(
        density,
        task.scheme,
        solution.points,
        energy=_energy(task.what),
        forces=solution.forces,
        success=solution.success,
        status=solution.status,
        message=solution.message,
        stats=stats | names_of(task.what),
        name=task.what.name,
    )
    if certify and isinstance(task.what, Problem) and np.isnan(task.end).all() and not task.constrained:
        flow_density, least = GradientFlowDensity(task.what, task.metric), trajectory
        trajectory = judged_minimiser(least, lambda: certify_flow(flow_density, least.times, least.weights))
    return _given(trajectory, throw, solution.success)


def _given(trajectory: Trajectory, throw: bool, success: bool) -> Trajectory:
    """Return a trajectory, or raise where it is no minimum and `throw`."""
    if throw and not success and trajectory.status not in CAUTIONS:
        raise SolverError(trajectory.message, trajectory)
    return trajectory


def _guess_so_far(task: ActionTask, points: np.ndarray, began: float) -> Trajectory:
    """Return what Ctrl-C left of the flow that was to be the first guess, at the nodes it reached."""
    scheme, points = task.scheme.up_to(points)
    if len(points) == 1:
        raise KeyboardInterrupt
    message = (
        f"interrupted in its first guess, the flow, at t = {scheme.times[-1]:.4g}; this is the flow so far. Continue "
        "from its last weights"
    )
    return Trajectory.from_points(
        make_density(task),
        scheme,
        points,
        energy=_energy(task.what),
        success=False,
        status="interrupted",
        message=message,
        stats={"iterations": 0, "guess_time": time.perf_counter() - began},
        name=task.what.name,
    )


def _energy(what: System) -> Callable[[np.ndarray], Any] | None:
    return what.energy if what.has_energy else None


def _from_starts(task: ActionTask, starts: Any, throw: bool, solve: Callable[[Any], Trajectory]) -> Trajectory:
    """Minimise from every guess and keep the least action."""

    def given(guesses: Any) -> list[Any]:
        if isinstance(guesses, (str, Trajectory)) or not isinstance(guesses, Iterable):
            raise InputError(f"starts must be how many, or a sequence of guesses, got {type(guesses).__name__}")
        return list(guesses)

    best, found = from_starts(
        solve,
        start_points("starts", starts, lambda seed: random_guess(task, seed) if seed else None, given),
        value=lambda path: path.action,
        place=lambda path: path.points,
        usable=lambda path: path.status in ("converged", *CAUTIONS),
        message=lambda path: f"{path.status}: {path.message}",
    )
    best = replace(best, starts=found)
    if throw and not found.minima:
        raise SolverError(f"none of {len(found.values)} starts ended in a minimum; the lowest: {best.message}", best)
    return best
