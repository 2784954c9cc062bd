"""The proximal step (minimising movement): one implicit step of the Riemannian gradient flow, as a constrained problem.

    minimise over (w, z)   E + |w - w_k|^2_G / (2 eta)   subject to   f_a(z_{a-1,b}, w_a) - z_{a,b} = 0

G is the metric at w_k. Linearised (constraints and loss to first order, no curvature of z) it is a quadratic program
whose exact solution is the explicit step -eta G^{-1} g.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import casadi as ca
import numpy as np
from scipy import sparse

from actionopt.constrained.quadratic import as_casadi, solve_linearized
from actionopt.constrained.solution import Solution, solution_at
from actionopt.constrained.training import check_start, resolve_formulation, transcribe
from actionopt.errors import InputError, SolverError, unknown_name
from actionopt.metric.batched import METRICS
from actionopt.metric.layer_metric import LayerMetric
from actionopt.nlp.plugins import check_limits
from actionopt.problem import Problem, takes_problem


@takes_problem
def proximal_step(
    problem: Problem,
    w: Any,
    step_size: float,
    *,
    solver: str | None = None,
    linearized: bool = False,
    metric: str = "euclidean",
    formulation: str = "auto",
    throw: bool = True,
    tol: float = 1e-8,
    max_iterations: int = 1000,
    options: Mapping[str, Any] | None = None,
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
    metric : "euclidean", "layerwise" or "joint"
        G, as in `step`: the mass alone, with which this is the minimising movement of the energy and the linearised
        step is `-step_size / mass * gradient`; block diagonal over modules; or all modules at once (which has no
        stages: not for fatrop).
    formulation : "auto", "lifted" or "condensed"
        As in `train`; the linearised problem is lifted.
    throw, tol, max_iterations, options
        As in `train`.

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
    """
    w = check_start(problem, w)
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    if isinstance(step_size, bool) or not (isinstance(step_size, Real) and 0 < step_size < np.inf):
        raise InputError(f"step_size must be a positive number, got {step_size!r}")
    check_limits(tol, max_iterations)
    if solver == "fatrop" and metric == "joint" and (linearized or formulation != "condensed"):
        raise InputError('metric "joint" couples all modules, so that there are no stages for "fatrop": use "ipopt"')
    term = _MetricTerm.at(problem, w, float(step_size), metric)
    if linearized:
        trained = solve_linearized(problem, w, term.matrix, solver, tol, max_iterations, options)
        solution = solution_at(problem, trained, "linearized", term.gradient(trained.weights))
    else:
        formulation = resolve_formulation(problem, formulation, solver or "ipopt")
        transcription = transcribe(
            problem,
            formulation,
            solver=solver or "ipopt",
            tol=tol,
            max_iterations=max_iterations,
            options=options,
            penalty=term,
        )
        trained = transcription.solve(w)
        solution = solution_at(problem, trained, formulation, term.gradient(trained.weights))
    if throw and not solution.success:
        raise SolverError(solution.message, solution)
    return solution


@dataclass(frozen=True)
class _MetricTerm:
    """`|w - w_k|^2_G / (2 eta)`; matrix is G/eta, sparse where G is block diagonal."""

    start: np.ndarray
    matrix: Any

    @classmethod
    def at(cls, problem: Problem, w: np.ndarray, step_size: float, metric: str) -> _MetricTerm:
        if metric == "euclidean":
            return cls(w, sparse.diags_array(problem.mass / step_size, format="csc"))
        blocks = LayerMetric(problem, w, joint=metric == "joint").blocks
        return cls(w, sparse.block_diag([block.dense() / step_size for block in blocks], format="csc"))

    def __call__(self, weights: list[ca.MX]) -> ca.MX:
        step = ca.vertcat(*weights) - self.start
        return 0.5 * ca.dot(step, ca.mtimes(as_casadi(self.matrix), step))

    def gradient(self, w: np.ndarray) -> np.ndarray:
        return self.matrix @ (w - self.start)
