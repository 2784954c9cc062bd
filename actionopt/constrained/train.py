"""Training to a point that satisfies the first-order conditions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from actionopt.constrained.backpropagated import simulate
from actionopt.constrained.certify import Certificate, certify, solution_of, unresolved
from actionopt.constrained.history import Moment
from actionopt.constrained.newton import NewtonOptions, train_newton
from actionopt.constrained.scale import cost_slopes, terms_at
from actionopt.constrained.solution import Solution
from actionopt.constrained.task import TrainTask, check_start, is_limited, make_task
from actionopt.constrained.training import solve_casadi
from actionopt.errors import InputError, SolverError
from actionopt.nlp import check_solver
from actionopt.problem import Problem, takes_problem

COARSE = 100  # times tol: what "newton", which does not go on at the scale of single weights, is held to for each
REFINED = 3  # how often a solve goes on at a smaller scale where a weight's own terms are smaller than the largest


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
) -> Solution:
    """Minimise E over the weights with an NLP solver, within bounds and subject to constraints.

    Parameters
    ----------
    problem : Problem
    w0 : array (n,), optional
        Start; `problem.initial_weights()` where None. States start where the weights put them.
    solver : str
        "newton" (Newton's method in NumPy: no program is built; no bounds or constraints), "ipopt", "fatrop" (depth is
        the stage index), "sqpmethod" or any other NLP solver that CasADi has installed. "auto" is "newton", and "ipopt"
        where there are bounds or constraints.
    formulation : "auto", "lifted" or "condensed"
        Whether states are variables and layer equations constraints (multiple shooting in depth), or eliminated
        (single shooting; for few weights or many samples). "auto" is lifted, but condensed for ipopt where a module
        has more than 400 weights.
    throw : bool
        Whether a solver that stops early raises; otherwise the last iterate is returned with its status.
    tol : float
        Tolerance on the first-order conditions, relative to the size of their terms
        (`actionopt/constrained/scale.py`): of the largest for the solver, of every weight's own for "converged".
    max_iterations : int
    options : mapping, optional
        CasADi's options for the solver, such as `{"ipopt": {"linear_solver": "mumps"}}`.
    progress : bool
        Whether to show energy and gradient norm while "newton" works.
    callback : callable, optional
        Gets `.iteration`, `.energy`, `.gradient_norm`, `.seconds` and `.weights` after every iteration of "newton"; the
        run ends where it returns True.
    time_limit : float
        Seconds after which the solver ends, with the status "time limit".
    second_order : bool
        Whether to compute the lowest eigenvalue of the Hessian, along directions that bounds and constraints leave
        free, and from it `is_minimum`. A start that is stationary is looked at in any case: a saddle is no success.
    bounds : (low, high) or {module: (low, high)}, optional
        Bounds on the weights, numbers or arrays `(n,)`, of a module `(n_a,)`; None on a side is none.
    constraints : Constraint or sequence of Constraint
        Conditions on states of nodes and on weights of modules.

    Returns
    -------
    Solution

    Raises
    ------
    InputError
        If start, solver, formulation or options cannot be used.
    SolverError
        If the solver stops early; its `result` is the Solution at the last iterate.
    """
    if solver == "auto":
        solver = "ipopt" if is_limited(problem, bounds, constraints) else "newton"
    if solver == "newton":
        if is_limited(problem, bounds, constraints):
            raise InputError("solver 'newton' takes no bounds or constraints: solver='ipopt' does")
        settings = NewtonOptions(tol, max_iterations, progress, callback, time_limit, second_order)
        w0 = check_start(problem, w0)
        solution = train_newton(problem, w0, formulation, options, settings)
        solution = _resolved(problem, w0, solution, tol)
    else:
        check_solver(solver)
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
        )
        solution = solve(task, second_order=second_order)
    if throw and not solution.success:
        raise SolverError(solution.message, solution)
    return solution


def solve(task: TrainTask, *, second_order: bool = False) -> Solution:
    """Solve a task by one of CasADi's solvers and certify where it ended.

    Where a weight's residual is small beside the largest terms but not beside its own, the solve goes on from there at
    the scale of its own.
    """
    with np.errstate(all="ignore"):  # what is not finite is named
        certificate = _refined(task)
        return solution_of(task, certificate, task.formulation, ask_second_order=second_order)


def _refined(task: TrainTask) -> Certificate:
    trained, transcription = solve_casadi(task)
    certificate = certify(task, trained)
    scale = task.scale
    for _ in range(REFINED):
        if trained.nlp.status != "converged" or not certificate.worst > task.tol:
            break
        scale *= max(0.1 * task.tol / certificate.worst, 1e-6)
        again = transcription.solve(trained, scale)
        better = certify(task, again)
        if not better.worst < certificate.worst:
            break
        certificate = better.going_on_from(trained.nlp, task)
        trained = certificate.trained
    return certificate


def _resolved(problem: Problem, w0: np.ndarray, solution: Solution, tol: float) -> Solution:
    """Hold every weight's gradient against its own terms, and add what belongs to every result."""
    filled = replace(solution, states=simulate(problem, solution.weights), bounds_multipliers=np.zeros(problem.size))
    if not solution.success:
        return filled
    slopes = cost_slopes(problem, w0)
    terms = terms_at(problem, w0, slopes).at_least(terms_at(problem, solution.weights, slopes))
    relative = terms.relative(problem.gradient(solution.weights))
    worst = float(np.max(relative, initial=0.0))
    filled = replace(filled, stats={**solution.stats, "relative_residual": worst})
    if worst <= COARSE * tol:
        return filled
    message = unresolved(problem, relative, "newton", solution.stats["iterations"])
    return replace(filled, success=False, status="unresolved", message=message, is_minimum=None)
