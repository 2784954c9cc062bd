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
from actionopt.nlp.plugins import explained, merged, silenced
from actionopt.nlp.solver import NlpSolution
from actionopt.nlp.verdict import ADVICE

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
) -> NlpSolution:
    """Solve the quadratic program; `success` says whether the first-order conditions hold to `tol` of the data's scale.

    Raises
    ------
    InputError
        For a solver or an option that does not exist.
    """
    began = time.perf_counter()
    if solver not in installed_qp_solvers():
        raise unknown_name("QP solver", solver, installed_qp_solvers())
    chosen = merged({"error_on_fail": False, "print_time": False, **_QUIET.get(solver, {})}, options)
    with explained(solver), silenced(True):
        function = ca.conic("qp", solver, {"h": h.sparsity(), "a": a.sparsity()}, chosen)
        built = time.perf_counter()
        out = function(h=h, g=q, a=a, lba=0, uba=0)
    solved = time.perf_counter()
    x, lam = out["x"], out["lam_a"]
    residuals = {
        "stationarity": float(ca.norm_inf(h @ x + q + a.T @ lam)),
        "infeasibility": float(ca.norm_inf(a @ x)),
        "complementarity": 0.0,
    }
    scale = max(1.0, float(ca.norm_inf(q)), float(ca.norm_inf(x)))
    stats = function.stats()
    finite = np.isfinite(list(residuals.values())).all()
    status = "not finite" if not finite else "converged" if max(residuals.values()) <= tol * scale else "stopped"
    figures = ", ".join(f"{name} {value:.1e}" for name, value in residuals.items())
    return NlpSolution(
        x=x.full().reshape(-1),
        lam_x=out["lam_x"].full().reshape(-1),
        lam_g=lam.full().reshape(-1),
        objective=float(out["cost"]),
        success=status == "converged",
        status=status,
        message=f"{solver}: {status} ({figures}); {ADVICE[status]}",
        stats={
            "solver": solver,
            "solver_status": str(stats.get("return_status", stats.get("unified_return_status"))),
            "iterations": int(stats.get("iter_count", -1)),
            "build_time": built - began,
            "solve_time": solved - built,
            **residuals,
        },
    )


_QUIET: dict[str, dict[str, Any]] = {
    "qrqp": {"print_iter": False, "print_header": False},
    "ipqp": {"print_iter": False, "print_header": False},
    "osqp": {"osqp": {"verbose": False, "eps_abs": 1e-11, "eps_rel": 1e-11, "max_iter": 100_000}},
    "qpoases": {"printLevel": "none"},
    "proxqp": {"proxqp": {"eps_abs": 1e-11}},
}
