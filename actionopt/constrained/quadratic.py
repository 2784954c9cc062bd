"""The linearised control problem: a quadratic program whose solution is the explicit step.

    minimise over (dw, dz)   dE/dz_L^T dz_L + dR/dw^T dw + dw^T M dw / 2
    subject to   A_{a,b} dz_{a-1,b} + B_{a,b} dw_a - dz_{a,b} = 0

R are the terms of E in the weights alone and M = G/eta. Eliminating dz by the adjoints leaves g^T dw + dw^T M dw / 2,
so that dw = -eta G^{-1} g, and the multipliers are the adjoints at the point of linearisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import casadi as ca
import numpy as np

from actionopt.backprop import adjoints
from actionopt.constrained.graph import multiplier_sign, state_sizes
from actionopt.constrained.training import LiftedProgram, Trained
from actionopt.nlp import Derivatives, NlpSolution, NlpSolver, is_nlp_solver, solve_qp
from actionopt.problem import Problem

FEW = 1000  # unknowns up to which "qrqp" is taken; beyond, ipopt's linear solver is many times faster


def solve_linearized(
    problem: Problem,
    w: np.ndarray,
    matrix: Any,
    solver: str | None,
    tol: float,
    max_iterations: int,
    options: Mapping[str, Any] | None,
) -> Trained:
    """Solve the problem linearised at `w (n,)`, with M = `matrix`, a SciPy sparse matrix `(n, n)`.

    `solver` is a QP solver of CasADi, or an NLP solver, which is given the same program; None chooses by size.
    """
    if solver is None:
        unknowns = problem.size + problem.samples * sum(state_sizes(problem))
        solver = "qrqp" if unknowns <= FEW else "ipopt"
    program = LiftedProgram.of(problem, None, multiplier_sign(solver))
    at = program.point(w, adjoints(problem, w).states)
    gradient = ca.gradient(program.energy, program.x)
    q, a = ca.Function("linearized", [program.x], [gradient, program.derivatives.jacobian])(at)
    h = _in_weights(program, matrix)
    if is_nlp_solver(solver):
        settings = {"solver": solver, "tol": tol, "max_iterations": max_iterations, "options": options}
        solution = _as_nlp(program, h, q, a, settings)
    else:
        solution = solve_qp(h, q, a, solver=solver, tol=tol, options=options)
    return Trained(solution, w + program.weights(solution.x), program.multipliers(solution.lam_g))


def as_casadi(matrix: Any) -> ca.DM:
    """Return a SciPy sparse matrix as a CasADi one."""
    matrix = matrix.tocsc()
    matrix.sort_indices()
    rows, columns = matrix.shape
    sparsity = ca.Sparsity(rows, columns, matrix.indptr.tolist(), matrix.indices.tolist())
    return ca.DM(sparsity, matrix.data)


def _in_weights(program: LiftedProgram, matrix: Any) -> ca.DM:
    """Place a matrix of the weights among all variables."""
    places = program.weights(np.arange(program.x.numel(), dtype=float)).astype(int)
    entries = matrix.tocoo()
    size = program.x.numel()
    rows, columns = places[entries.coords[0]], places[entries.coords[1]]
    return ca.DM.triplet(rows.tolist(), columns.tolist(), ca.DM(entries.data), size, size)


def _as_nlp(program: LiftedProgram, h: ca.DM, q: ca.DM, a: ca.DM, settings: dict[str, Any]) -> NlpSolution:
    step = ca.MX.sym("step", program.x.numel())
    lam_f, lam_g = ca.MX.sym("lam_f"), ca.MX.sym("lam_g", a.shape[0])
    value = 0.5 * ca.dot(step, ca.mtimes(h, step)) + ca.dot(q, step)
    derivatives = Derivatives(ca.MX(a), lam_f * h, lam_f, lam_g)
    nlp = NlpSolver(step, value, ca.mtimes(a, step), stages=program.stages, derivatives=derivatives, **settings)
    return nlp.solve(np.zeros(step.numel()))
