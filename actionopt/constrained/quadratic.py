"""The linearised control problem: a quadratic program whose solution is the explicit step.

    minimise over (dw, dz)   dE/dz^T dz + dR/dw^T dw + dw^T M dw / 2
    subject to   A_k dz_of(k) + B_k dw_group(k) - dz_k = 0,   bounds and linearised constraints

R are the terms of E in the weights alone and M = G/eta. Eliminating dz by the adjoints leaves g^T dw + dw^T M dw / 2,
so that dw = -eta G^{-1} g, and the multipliers are the adjoints at the point of linearisation.
"""

from __future__ import annotations

import math
from typing import Any

import casadi as ca
import numpy as np

from actionopt.backprop import adjoints
from actionopt.constrained.graph import SymbolicNetwork, multiplier_sign
from actionopt.constrained.lifted import LiftedProgram
from actionopt.constrained.task import TrainTask
from actionopt.constrained.training import Trained, check_stages
from actionopt.nlp import Derivatives, NlpSolution, NlpSolver, is_nlp_solver, solve_qp

FEW = 1000  # unknowns up to which "qrqp" is taken; beyond, ipopt's linear solver is many times faster


def solve_linearized(task: TrainTask, solver: str | None) -> Trained:
    """Solve a task linearised at its start, with M its penalty's matrix.

    `solver` is a QP solver of CasADi, or an NLP solver, which is given the same program; None chooses by size, or
    "ipopt" where there are bounds or constraints.
    """
    problem, w = task.problem, task.start
    limited = task.bounded or bool(task.constraints)
    if solver is None:
        unknowns = problem.size + problem.samples * sum(place.size for place in problem.network.placed)
        solver = "qrqp" if unknowns <= FEW and not limited else "ipopt"
    sign = multiplier_sign(solver)
    program = LiftedProgram(SymbolicNetwork(problem), sign, constraints=task.constraints)
    at = program.point(w, adjoints(problem, w).states)
    given = program.derivatives
    gradient = ca.gradient(program.energy, program.x)
    outputs = [gradient, given.jacobian, program.equations]
    q, a, g = ca.Function("linearized", [program.x], outputs)(at)
    assert task.penalty is not None
    h = _in_weights(program, task.penalty.matrix)
    limits = program.limits(task.bounds)
    limits = {"lbx": limits["lbx"] - at, "ubx": limits["ubx"] - at, **_less(limits, g)}
    if is_nlp_solver(solver):
        solution = _as_nlp(program, task, solver, (h, q, a), limits)
    else:
        solution = solve_qp(h, q, a, solver=solver, tol=task.tol, options=task.options, limits=limits)
    x = at + solution.x
    return Trained(
        nlp=solution,
        weights=x[program.layout.weights],
        states=program.states_at(x),
        multipliers=program.multipliers(solution.lam_g),
        bounds_multipliers=solution.lam_x[program.layout.weights],
        constraint_multipliers=program.constraint_multipliers(solution.lam_g),
    )


def _less(limits: dict[str, np.ndarray], g: ca.DM) -> dict[str, np.ndarray]:
    """Return the limits of g less its values at the point of linearisation; the equations hold there."""
    at = g.full().reshape(-1)
    equations = limits["lbg"] == limits["ubg"]
    at[equations & (limits["lbg"] == 0.0) & (abs(at) < 1e-12 * (1.0 + abs(at).max(initial=0.0)))] = 0.0
    return {side: limits[side] - at for side in ("lbg", "ubg")}


def _in_weights(program: LiftedProgram, matrix: Any) -> ca.DM:
    """Place a matrix of the weights among all variables."""
    places, size = program.layout.weights, program.layout.size
    entries = matrix.tocoo()
    rows, columns = places[entries.coords[0]], places[entries.coords[1]]
    return ca.DM.triplet(rows.tolist(), columns.tolist(), ca.DM(entries.data), size, size)


def _as_nlp(
    program: LiftedProgram, task: TrainTask, solver: str, parts: tuple[ca.DM, ca.DM, ca.DM], limits: dict[str, Any]
) -> NlpSolution:
    h, q, a = parts
    if solver == "fatrop":
        check_stages(program.layout.stages, math.inf)
    step = ca.MX.sym("step", program.layout.size)
    lam_f, lam_g = ca.MX.sym("lam_f"), ca.MX.sym("lam_g", a.shape[0])
    value = 0.5 * ca.dot(step, ca.mtimes(h, step)) + ca.dot(q, step)
    nlp = NlpSolver(
        step,
        value,
        ca.mtimes(a, step),
        solver=solver,
        tol=task.tol,
        max_iterations=task.max_iterations,
        time_limit=task.time_limit,
        options=task.options,
        equality=limits["lbg"] == limits["ubg"],
        stages=program.layout.stages,
        derivatives=Derivatives(ca.MX(a), lam_f * h, lam_f, lam_g),
    )
    return nlp.solve(np.zeros(step.numel()), scale=task.scale, **limits)
