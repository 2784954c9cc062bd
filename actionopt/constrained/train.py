"""Training to a point that satisfies the first-order conditions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from actionopt.constrained.history import Moment
from actionopt.constrained.solution import Solution
from actionopt.constrained.solvers import make_solver
from actionopt.constrained.task import make_task
from actionopt.errors import InputError, SolverError
from actionopt.problem import Problem, takes_problem
from actionopt.starts import from_starts, start_points


@takes_problem
def train(
    problem: Problem,
    w0: Any = None,
    *,
    solver: str = "ipopt",
    formulation: str = "auto",
    throw: bool = True,
    tol: float = 1e-8,
    max_iterations: int = 1000,
    options: Mapping[str, Any] | None = None,
    progress: bool = False,
    callback: Callable[[Moment], Any] | None = None,
    time_limit: float = math.inf,
    second_order: bool = False,
    bounds: Any = None,
    constraints: Any = (),
    starts: Any = None,
) -> Solution:
    """Minimise E over the weights with an NLP solver, within bounds and subject to constraints.

    Parameters
    ----------
    problem : Problem
    w0 : array (n,), optional
        Start; `problem.initial_weights()` where None. States start where the weights put them.
    solver : str
        "newton" (Newton's method in NumPy: no program is built; bounds on any network, constraints on chains and
        control problems), "ipopt", "fatrop" (depth is the stage index), "sqpmethod" or any other NLP solver that CasADi
        has installed. "auto" is "newton", and "ipopt" for constraints on other networks, and where there are `options`.
    formulation : "auto", "lifted" or "condensed"
        Whether states are variables and layer equations constraints (multiple shooting in depth), or eliminated
        (single shooting; for few weights or many samples). "auto" is lifted, but condensed for ipopt where a module
        has more than 400 weights.
    throw : bool
        Whether a solver that stops early raises; otherwise the last iterate is returned with its status. Nothing is
        raised for a stationary point that turns out to be a saddle: `success` is False, `is_minimum` too.
    tol : float
        Tolerance on the first-order conditions, relative to the size of their terms
        (`actionopt/constrained/scale.py`): of the largest for the solver, of every weight's own for "converged".
    max_iterations : int
    options : mapping, optional
        CasADi's options for the solver, such as `{"ipopt": {"linear_solver": "mumps"}}`.
    progress : bool
        Whether to show energy and gradient norm after every iteration.
    callback : callable, optional
        Gets `.iteration`, `.energy`, `.gradient_norm`, `.seconds` and `.weights` after every iteration of "newton",
        ipopt, fatrop and the SQP methods; the run ends where it returns True.
    time_limit : float
        Seconds after which the solver ends, with the status "time limit".
    second_order : bool
        Whether to compute the lowest eigenvalue of the Hessian, along directions that bounds and constraints leave
        free. Without, an end is looked at by a few Hessian products, but for constraints: `is_minimum` and the message
        say what these show, exactly up to 32 weights. A saddle is no success.
    bounds : (low, high) or {module: (low, high)}, optional
        Bounds on the weights, numbers or arrays `(n,)`, of a module `(n_a,)`; None on a side is none.
    constraints : Constraint or sequence of Constraint
        Conditions on states of nodes and on weights of modules.
    starts : int or array (S, n), optional
        Train from so many `problem.initial_weights(seed)`, or from each of these points, in place of `w0`. The best end
        is returned; its `.starts` lists the distinct minima, and the starts that failed with their messages.

    Returns
    -------
    Solution

    Raises
    ------
    InputError
        If start, solver, formulation or options cannot be used.
    SolverError
        If the solver stops early, from every start where there are many; its `result` is the Solution at the last
        iterate, of the lowest energy.

    Examples
    --------
    >>> found = ao.train(problem, w)
    >>> found.status, bool(found.gradient_norm < 1e-6)
    ('converged', True)
    """
    if starts is not None:
        if w0 is not None:
            raise InputError("train takes w0, or many starts, not both")
        single: dict[str, Any] = {
            "solver": solver,
            "formulation": formulation,
            "tol": tol,
            "max_iterations": max_iterations,
            "options": options,
            "progress": progress,
            "callback": callback,
            "time_limit": time_limit,
            "second_order": second_order,
            "bounds": bounds,
            "constraints": constraints,
        }
        return _from_starts(problem, starts, throw, lambda w: train(problem, w, throw=False, **single))
    chosen = make_solver(solver)
    task = make_task(
        problem,
        w0,
        solver=solver,
        formulation=formulation,
        tol=tol,
        max_iterations=max_iterations,
        time_limit=time_limit,
        options=options,
        bounds=bounds,
        constraints=constraints,
        second_order=second_order,
        progress=progress,
        callback=callback,
    )
    solution = chosen.solve(task)
    moved_to_a_saddle = solution.status == "saddle" and solution.stats["iterations"] > 0  # a result, said in its status
    if throw and not solution.success and not moved_to_a_saddle:
        raise SolverError(solution.message, solution)
    return solution


def _from_starts(problem: Problem, starts: Any, throw: bool, solve: Callable[[np.ndarray], Solution]) -> Solution:
    """Train from every start and keep the best."""

    def given(points: Any) -> list[np.ndarray]:
        points = problem.check_weights(points, "starts")
        if points.ndim != 2:
            raise InputError(f"starts must be how many, or points (S, {problem.size}), got shape {points.shape}")
        return list(points)

    best, found = from_starts(
        solve,
        start_points("starts", starts, problem.initial_weights, given),
        value=lambda solution: solution.energy,
        place=lambda solution: solution.weights,
        usable=lambda solution: solution.success,
        message=lambda solution: f"{solution.status}: {solution.message}",
    )
    best = replace(best, starts=found)
    if throw and not best.success:
        raise SolverError(f"none of {len(found.values)} starts ended in a minimum; the lowest: {best.message}", best)
    return best
