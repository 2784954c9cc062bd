"""CasADi's NLP solvers behind one door: names, quiet defaults, status with advice, multipliers of one sign, residuals.

    minimise f(x, p)   subject to   lbx <= x <= ubx,   lbg <= g(x, p) <= ubg

with the Lagrangian `f + lam_g^T g + lam_x^T x`: a multiplier is positive at an upper bound, negative at a lower one,
and of either sign at an equality.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import casadi as ca
import numpy as np

from actionopt.errors import InputError
from actionopt.nlp.plugins import (
    Derivatives,
    asks_for_output,
    cached_derivatives,
    check_limits,
    check_solver,
    default_options,
    explained,
    merged,
    silenced,
)

ADVICE = {
    "converged": "first-order conditions hold to the tolerance",
    "iteration limit": "more iterations (max_iterations=), a looser tol, or a start nearer to the answer may get there",
    "infeasible": "the solver found no point that satisfies the constraints: check bounds and fixed ends, "
    "or start nearer to a feasible point",
    "not finite": "a formula gave NaN or infinity at the start or at an iterate: start elsewhere, "
    "or keep it in range with bounds",
    "interrupted": "this is the last iterate, from which another run can go on",
    "stopped": "the solver could not improve further: loosen tol, scale the problem, start elsewhere, "
    "or try another solver",
}


@dataclass(frozen=True)
class Stages:
    """The stages of an optimal-control problem, as fatrop needs them by hand.

    Variables are ordered `x_0, u_0, x_1, u_1, ..`; constraints `x_1 - f_0(x_0, u_0), g_0, x_2 - f_1(x_1, u_1), g_1,
    ..`, where the next state enters with +1.

    Attributes
    ----------
    states, controls, constraints : tuple of int
        Sizes nx, nu, ng of every stage, the last one included.
    """

    states: tuple[int, ...]
    controls: tuple[int, ...]
    constraints: tuple[int, ...]

    def options(self, equality: np.ndarray) -> dict[str, Any]:
        """Return the options of CasADi's fatrop; `equality` tells which entries of g are equalities."""
        return {
            "structure_detection": "manual",
            "N": len(self.states) - 1,
            "nx": list(self.states),
            "nu": list(self.controls),
            "ng": list(self.constraints),
            "equality": [bool(entry) for entry in equality],
        }


@dataclass(frozen=True)
class NlpSolution:
    """Where a solver stopped.

    Attributes
    ----------
    x, lam_x : array (nx,)
        Point, and multipliers of its bounds.
    lam_g : array (ng,)
        Multipliers of the constraints.
    objective : float
    success : bool
        Whether the status is "converged".
    status : str
        "converged", "iteration limit", "infeasible", "not finite", "interrupted" or "stopped".
    message : str
        What happened, and what to do about it.
    stats : dict
        solver, solver_status (its own words), iterations, build_time and solve_time (seconds), and the residuals
        computed here at `x`: stationarity `max |d Lagrangian / dx|`, infeasibility (largest violation) and
        complementarity (largest multiplier times distance from its bound).
    """

    x: np.ndarray
    lam_x: np.ndarray
    lam_g: np.ndarray
    objective: float
    success: bool
    status: str
    message: str
    stats: dict[str, Any] = field(repr=False)


class NlpSolver:
    """A nonlinear program, built once and solved from any start.

    Parameters
    ----------
    x, f, g : CasADi expressions
        Unknowns, objective and constraints (None where there are none).
    p : CasADi expression, optional
        Parameters, given anew at every solve.
    solver : str
        Name of an installed CasADi NLP plugin.
    tol : float
        Tolerance on the first-order conditions.
    max_iterations : int
    options : mapping, optional
        CasADi's options for the plugin, merged over the defaults; the solver's own go below its name, as in
        `{"ipopt": {"linear_solver": "mumps"}}`.
    equality : bool or array (ng,) of bool
        Which constraints will be given equal bounds; fatrop must know in advance.
    stages : Stages, optional
        Stage structure; fatrop needs it, others ignore it.
    derivatives : Derivatives, optional
        Jacobian and Hessian of known structure; CasADi's own where None.

    Raises
    ------
    InputError
        For a solver or an option that does not exist, or a tolerance or limit that is not positive.
    """

    def __init__(
        self,
        x: Any,
        f: Any,
        g: Any = None,
        p: Any = None,
        *,
        solver: str = "ipopt",
        tol: float = 1e-8,
        max_iterations: int = 1000,
        options: Mapping[str, Any] | None = None,
        equality: Any = True,
        stages: Stages | None = None,
        derivatives: Derivatives | None = None,
    ) -> None:
        began = time.perf_counter()
        check_solver(solver)
        check_limits(tol, max_iterations)
        g = type(x)(0, 1) if g is None else g
        p = type(x)(0, 1) if p is None else p
        chosen = merged(default_options(solver, tol, max_iterations), options)
        if solver == "fatrop":
            if stages is None:
                raise InputError("solver 'fatrop' needs the stages of an optimal-control problem: use 'ipopt' here")
            chosen = {**stages.options(np.broadcast_to(equality, (g.numel(),))), **chosen}
        if derivatives is not None:
            chosen = {**cached_derivatives(solver, x, f, g, p, derivatives), **chosen}
        self.name, self.tol, self.max_iterations = solver, tol, max_iterations
        self.quiet = not asks_for_output(options or {})
        with explained(solver), silenced(self.quiet):
            self.function = ca.nlpsol("nlp", solver, {"x": x, "f": f, "g": g, "p": p}, chosen)
        self._residual = _residual_function(x, f, g, p)
        self.build_time = time.perf_counter() - began

    def solve(
        self,
        x0: Any,
        p: Any = (),
        *,
        lbx: Any = -np.inf,
        ubx: Any = np.inf,
        lbg: Any = 0.0,
        ubg: Any = 0.0,
        lam_g0: Any = 0.0,
        lam_x0: Any = 0.0,
    ) -> NlpSolution:
        """Solve from `x0 (nx,)`; a solver that stops early says so in the status, it does not raise.

        Raises
        ------
        InputError
            If the start is not finite, bounds cross, or the solver does not take an option.
        """
        bounds = _Bounds(lbx, ubx, lbg, ubg)
        x0 = np.broadcast_to(np.asarray(x0, dtype=float), self.function.size_in("x0")[:1])
        if not np.isfinite(x0).all():
            raise InputError(f"the start must be finite, got {x0[~np.isfinite(x0)][0]} at entry {_first_bad(x0)}")
        p = np.asarray(p, dtype=float)
        began = time.perf_counter()
        with explained(self.name), silenced(self.quiet):
            out = self.function(x0=x0, p=p, lbx=lbx, ubx=ubx, lbg=lbg, ubg=ubg, lam_g0=lam_g0, lam_x0=lam_x0)
        solve_time = time.perf_counter() - began
        x, lam_x, lam_g = (out[key].full().reshape(-1) for key in ("x", "lam_x", "lam_g"))
        residuals = self._residuals(x, p, lam_x, lam_g, bounds)
        stats = self.function.stats()
        status = self._status(stats, residuals)
        return NlpSolution(
            x=x,
            lam_x=lam_x,
            lam_g=lam_g,
            objective=float(out["f"]),
            success=status == "converged",
            status=status,
            message=self._message(status, stats, residuals),
            stats={
                "solver": self.name,
                "solver_status": str(stats.get("return_status", stats.get("unified_return_status"))),
                "iterations": int(stats.get("iter_count", -1)),
                "build_time": self.build_time,
                "solve_time": solve_time,
                **residuals,
            },
        )

    def _residuals(
        self, x: np.ndarray, p: np.ndarray, lam_x: np.ndarray, lam_g: np.ndarray, bounds: _Bounds
    ) -> dict[str, float]:
        gradient, g = (out.full().reshape(-1) for out in self._residual(x, p, lam_g, lam_x))
        with np.errstate(invalid="ignore"):
            return {
                "stationarity": _largest(abs(gradient)),
                "infeasibility": _largest(bounds.violation(x, g)),
                "complementarity": _largest(bounds.complementarity(x, g, lam_x, lam_g)),
            }

    def _status(self, stats: dict[str, Any], residuals: dict[str, float]) -> str:
        own = f"{stats.get('return_status', '')} {stats.get('unified_return_status', '')}".lower()
        if not np.isfinite(list(residuals.values())).all() or any(k in own for k in ("nan", "invalid_number")):
            return "not finite"
        if stats.get("success") or max(residuals.values()) <= self.tol:
            return "converged"
        if "user_requested" in own or "nonipopt_exception" in own:  # the latter is Ctrl-C inside ipopt
            return "interrupted"
        if "infeasible" in own or "no_feasible" in own:
            return "infeasible"
        limited = "limit" in own or "maximum" in own or stats.get("iter_count", 0) >= self.max_iterations
        if limited:
            return "iteration limit"
        return "stopped" if residuals["infeasibility"] <= 1e-4 else "infeasible"

    def _message(self, status: str, stats: dict[str, Any], residuals: dict[str, float]) -> str:
        count = f" after {stats['iter_count']} iterations" if "iter_count" in stats else ""
        figures = ", ".join(f"{name} {value:.1e}" for name, value in residuals.items())
        return f"{self.name}: {status}{count} ({figures}); {ADVICE[status]}"


@dataclass(frozen=True)
class _Bounds:
    lbx: Any
    ubx: Any
    lbg: Any
    ubg: Any

    def __post_init__(self) -> None:
        for name, lower, upper in (("x", self.lbx, self.ubx), ("g", self.lbg, self.ubg)):
            if np.any(np.asarray(lower) > np.asarray(upper)):
                raise InputError(f"bounds on {name} cross: a lower bound lies above its upper bound")

    def violation(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        return np.concatenate([self.lbx - x, x - self.ubx, self.lbg - g, g - self.ubg])

    def complementarity(self, x: np.ndarray, g: np.ndarray, lam_x: np.ndarray, lam_g: np.ndarray) -> np.ndarray:
        """Return |multiplier| times the distance from its bound; from no bound at all that distance counts as 1."""
        pairs = ((x, lam_x, self.lbx, self.ubx), (g, lam_g, self.lbg, self.ubg))
        distances = [np.where(lam > 0, ub - at, at - lb) for at, lam, lb, ub in pairs]
        multipliers = abs(np.concatenate([lam_x, lam_g]))
        return multipliers * np.nan_to_num(np.concatenate(distances), nan=np.nan, posinf=1.0)


def _residual_function(x: Any, f: Any, g: Any, p: Any) -> ca.Function:
    lam_g, lam_x = type(x).sym("lam_g", g.numel()), type(x).sym("lam_x", x.numel())
    gradient = ca.gradient(f + ca.dot(lam_g, g), x) + lam_x
    return ca.Function("residual", [x, p, lam_g, lam_x], [gradient, g])


def _largest(values: np.ndarray) -> float:
    return float(max(values.max(initial=0.0), 0.0)) + 0.0 if not np.isnan(values).any() else np.nan


def _first_bad(values: np.ndarray) -> int:
    return int(np.argmax(~np.isfinite(values)))
