"""The proximal step (minimising movement): one implicit step of the Riemannian gradient flow, as a constrained problem.

    minimise over (w, z)   E + |w - w_k|^2_G / (2 eta)   subject to   f_k(z_of(k), w_group(k)) - z_k = 0

G is the metric at w_k. Linearised (constraints and loss to first order, no curvature of z) it is a quadratic program
whose exact solution is the explicit step -eta G^{-1} g.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse

from actionopt.constrained.certify import certify, solution_of
from actionopt.constrained.lifted import Quadratic
from actionopt.constrained.quadratic import solve_linearized
from actionopt.constrained.solution import Solution
from actionopt.constrained.solvers import Casadi
from actionopt.constrained.task import TrainTask, check_start, make_task
from actionopt.errors import InputError, SolverError, is_name, unknown_name
from actionopt.metric.batched import METRICS
from actionopt.metric.layer_metric import LayerMetric
from actionopt.nlp import check_solver
from actionopt.problem import Problem, takes_problem


@takes_problem
def proximal_step(
    problem: Problem,
    w: Any,
    step_size: float,
    *,
    solver: str | None = None,
    linearized: bool = False,
    metric: str = "layerwise",
    formulation: str = "auto",
    throw: bool = True,
    tol: float = 1e-8,
    max_iterations: int = 1000,
    options: Mapping[str, Any] | None = None,
    time_limit: float = math.inf,
    bounds: Any = None,
    constraints: Any = (),
) -> Solution:
    """Take one implicit step `w_{k+1} = argmin E(w) + |w - w_k|^2_G / (2 step_size)` by a solver.

    Parameters
    ----------
    problem : Problem
    w : array (n,)
        Weights w_k, which G belongs to and the solver starts from.
    step_size : float
        eta > 0.
    solver : str, optional
        An NLP solver of CasADi, "ipopt" where None. The linearised problem takes a QP solver as well, and where None
        "qrqp", or "ipopt" for more than a thousand unknowns.
    linearized : bool
        Solve the quadratic program instead: its solution is the explicit step, that of `step` in the same metric.
    metric : "layerwise", "joint" or "euclidean"
        G, as in `step`: block diagonal over modules; all modules at once (which has no stages: not for fatrop); or the
        mass alone, with which this is the minimising movement of the energy and the linearised step is `-step_size /
        mass * gradient`.
    formulation : "auto", "lifted" or "condensed"
        As in `train`; the linearised problem is lifted.
    throw, tol, max_iterations, options, time_limit, bounds, constraints
        As in `train`. Constraints are linearised with the rest.

    Returns
    -------
    Solution
        `weights` are w_{k+1}; `gradient_norm` is that of E + the metric's term; the linearised problem's `multipliers`
        are the adjoints at w_k.

    Raises
    ------
    InputError
        If weights, step size, metric, solver or options cannot be used.
    SolverError
        If the solver stops early; its `result` is the Solution at the last iterate.

    Examples
    --------
    >>> found = ao.proximal_step(problem, w, 0.1)
    >>> bool(problem.energy(found.weights) < problem.energy(w))
    True
    """
    w = check_start(problem, w)
    if not is_name(metric, METRICS):
        raise unknown_name("metric", metric, METRICS)
    if isinstance(step_size, bool) or not (isinstance(step_size, Real) and 0 < step_size < np.inf):
        raise InputError(f"step_size must be a positive number, got {step_size!r}")
    if solver == "fatrop" and metric == "joint" and (linearized or formulation != "condensed"):
        raise InputError('metric "joint" couples all modules, so that there are no stages for "fatrop": use "ipopt"')
    if not linearized:
        check_solver(solver or "ipopt")
    task = make_task(
        problem,
        w,
        solver=solver or "ipopt",
        formulation=formulation,
        tol=tol,
        max_iterations=max_iterations,
        time_limit=time_limit,
        options=options,
        bounds=bounds,
        constraints=constraints,
        penalty=_metric_term(problem, w, float(step_size), metric),
    )
    solution = _linearized(task, solver) if linearized else Casadi().solve(task)
    if throw and not solution.success:
        raise SolverError(solution.message, solution)
    return solution


def _linearized(task: TrainTask, solver: str | None) -> Solution:
    """Solve the quadratic program; its certificate is its own: what lies beyond first order is none of its business."""
    trained = solve_linearized(task, solver)
    certificate = certify(task, trained)
    settled = solution_of(task, certificate, "linearized")
    nlp = trained.nlp
    return replace(settled, success=nlp.success, status=nlp.status, message=nlp.message, is_minimum=None)


def _metric_term(problem: Problem, w: np.ndarray, step_size: float, metric: str) -> Quadratic:
    """Return `|w - w_k|^2_G / (2 eta)`, its matrix sparse where G is block diagonal."""
    if metric == "euclidean":
        return Quadratic(sparse.diags_array(problem.mass / step_size, format="csc"), w)
    whole = LayerMetric(problem, w, joint=metric == "joint")
    matrix = sparse.lil_array((problem.size, problem.size))
    matrix.setdiag(problem.mass / step_size)
    for block in whole.blocks:
        matrix[block.weights, block.weights] = block.dense() / step_size
    return Quadratic(matrix.tocsc(), w)
