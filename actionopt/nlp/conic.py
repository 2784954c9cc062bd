"""Equality-constrained quadratic programs by CasADi's QP solvers.

minimise 1/2 x^T H x + q^T x   subject to   A x = 0,       Lagrangian  1/2 x^T H x + q^T x + lam^T A x
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import casadi as ca
import numpy as np

from actionopt.errors import unknown_name
from actionopt.nlp.plugins import explained, merged
from actionopt.nlp.silence import silenced
from actionopt.nlp.solver import NlpSolution
from actionopt.nlp.verdict import ADVICE, Bounds, Residuals, largest

# commercial ones, whose adaptors complain where they are not installed, and the detour over an NLP solver
_UNSUITABLE = {"cplex", "gurobi", "mosek", "nlpsol", "xpress"}


def installed_qp_solvers() -> list[str]:
    """List the QP solvers that CasADi can load here."""
    entries = (entry.split("::") for entry in ca.CasadiMeta.plugins().split(";"))
    names = sorted(name for kind, name in entries if kind == "Conic" and name not in _UNSUITABLE)
    return [name for name in names if ca.has_conic(name)]


def solve_qp(
    h: ca.DM,
    q: ca.DM,
    a: ca.DM,
    *,
    solver: str = "qrqp",
    tol: float = 1e-8,
    options: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
) -> NlpSolution:
    """Solve the quadratic program; `success` says whether the first-order conditions hold to `tol` of the data's scale.

    `limits` are `lbx`, `ubx`, `lbg`, `ubg` where x has bounds or `a x` is not to be zero. The program that the solver
    sees is divided by |q|, so that a program times a number is the same program.

    Raises
    ------
    InputError
        For a solver or an option that does not exist.
    """
    began = time.perf_counter()
    if solver not in installed_qp_solvers():
        raise unknown_name("QP solver", solver, installed_qp_solvers())
    size = float(ca.norm_inf(q)) or 1.0
    given = {"lbx": -np.inf, "ubx": np.inf, "lbg": 0.0, "ubg": 0.0, **(limits or {})}
    chosen = merged({"error_on_fail": False, "print_time": False, **_QUIET.get(solver, {})}, options)
    with explained(solver), silenced(True):
        function = ca.conic("qp", solver, {"h": h.sparsity(), "a": a.sparsity()}, chosen)
        built = time.perf_counter()
        out = function(
            h=h / size, g=q / size, a=a, lbx=given["lbx"], ubx=given["ubx"], lba=given["lbg"], uba=given["ubg"]
        )
    solved = time.perf_counter()
    x = out["x"].full().reshape(-1)
    lam_x, lam_g = (size * out[key].full().reshape(-1) for key in ("lam_x", "lam_a"))
    bounds = Bounds(**given)
    gradient, g = (value.full().reshape(-1) for value in (h @ ca.DM(x) + q, a @ ca.DM(x)))
    pulled = (a.T @ ca.DM(lam_g)).full().reshape(-1)
    residuals = Residuals(
        stationarity=largest(abs(gradient + pulled + lam_x)),
        infeasibility=largest(bounds.violation(x, g)),
        complementarity=largest(bounds.complementarity(x, g, lam_x, lam_g)),
        scale=size,
        relative_infeasibility=largest(bounds.violation(x, g)) / max(1.0, float(ca.norm_inf(x))),
    )
    stats = function.stats()
    status = "not finite" if not np.isfinite(residuals.worst) else "converged" if residuals.worst <= tol else "stopped"
    return NlpSolution(
        x=x,
        lam_x=lam_x,
        lam_g=lam_g,
        objective=size * float(out["cost"]),
        success=status == "converged",
        status=status,
        message=f"{solver}: {status} ({residuals}); {ADVICE[status]}",
        stats={
            "solver": solver,
            "solver_status": str(stats.get("return_status", stats.get("unified_return_status"))),
            "iterations": int(stats.get("iter_count", -1)),
            "build_time": built - began,
            "solve_time": solved - built,
            **residuals.stats(),
        },
    )


_QUIET: dict[str, dict[str, Any]] = {
    "qrqp": {"print_iter": False, "print_header": False},
    "ipqp": {"print_iter": False, "print_header": False},
    "osqp": {"osqp": {"verbose": False, "eps_abs": 1e-11, "eps_rel": 1e-11, "max_iter": 100_000}},
    "qpoases": {"printLevel": "none"},
    "proxqp": {"proxqp": {"eps_abs": 1e-11}},
}
