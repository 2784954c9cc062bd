"""Training to a point that satisfies the first-order conditions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from actionopt.constrained.history import Moment
from actionopt.constrained.newton import NewtonOptions, train_newton
from actionopt.constrained.solution import Solution, solution_at
from actionopt.constrained.training import check_start, resolve_formulation, transcribe
from actionopt.errors import SolverError
from actionopt.problem import Problem, takes_problem


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
) -> Solution:
    """Minimise E over the weights with an NLP solver.

    Parameters
    ----------
    problem : Problem
    w0 : array (n,), optional
        Start; `problem.initial_weights()` where None. States start where the weights put them.
    solver : str
        "newton" (Newton's method on the energy itself, in NumPy: no program is built), "ipopt", "fatrop" (depth is the
        stage index: fastest for deep chains), "sqpmethod" or any other NLP solver that CasADi has installed.
    formulation : "auto", "lifted" or "condensed"
        Whether states are variables and layer equations constraints (multiple shooting in depth), or eliminated
        (single shooting; for few weights or many samples). "auto" is lifted, but condensed for ipopt where a module
        has more than 400 weights.
    throw : bool
        Whether a solver that stops early raises; otherwise the last iterate is returned with its status.
    tol : float
        Tolerance on the first-order conditions.
    max_iterations : int
    options : mapping, optional
        CasADi's options for the solver, such as `{"ipopt": {"linear_solver": "mumps"}}`.

    progress : bool
        Whether to show energy and gradient norm while "newton" works.
    callback : callable, optional
        Gets `.iteration`, `.energy`, `.gradient_norm`, `.seconds` and `.weights` after every iteration of "newton"; the
        run ends where it returns True.
    time_limit : float
        Seconds after which "newton" ends with the best weights so far.
    second_order : bool
        Whether "newton" also computes the lowest eigenvalue of the Hessian, and from it `is_minimum`.

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
    w0 = check_start(problem, w0)
    if solver == "newton":
        settings = NewtonOptions(tol, max_iterations, progress, callback, time_limit, second_order)
        solution = train_newton(problem, w0, formulation, options, settings)
    else:
        solution = _solve(problem, w0, solver, formulation, tol, max_iterations, options)
    if throw and not solution.success:
        raise SolverError(solution.message, solution)
    return solution


def _solve(
    problem: Problem,
    w0: Any,
    solver: str,
    formulation: str,
    tol: float,
    max_iterations: int,
    options: Mapping[str, Any] | None,
) -> Solution:
    """Train with one of CasADi's solvers."""
    formulation = resolve_formulation(problem, formulation, solver)
    transcription = transcribe(
        problem, formulation, solver=solver, tol=tol, max_iterations=max_iterations, options=options
    )
    return solution_at(problem, transcription.solve(w0), formulation)
